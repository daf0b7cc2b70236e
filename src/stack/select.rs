//! Which services a run brings up: those that were asked for and what they need.

use indexmap::IndexSet;

use super::{ResolveError, Selection};
use crate::manifest::Manifest;
use crate::manifest::compose::Container;
use crate::name::ServiceName;

/// The services of the run. A need on any other is dropped.
pub(super) fn select<'a>(
    manifest: &'a Manifest,
    selection: &Selection,
) -> Result<IndexSet<&'a ServiceName>, ResolveError> {
    check_names(manifest, selection)?;
    let containers = &manifest.compose.services;
    let active = active(manifest, selection);
    let programs = &manifest.services;
    let all = containers.keys().chain(programs.keys());
    let everything = selection.services.is_empty() && selection.groups.is_empty();
    let asked_for = |name: &ServiceName| {
        selection.services.contains(name)
            || programs
                .get(name)
                .is_some_and(|program| program.groups.iter().any(|group| selection.groups.contains(group)))
    };
    let seeds: IndexSet<&ServiceName> = if everything {
        all.clone().filter(|name| containers.get(*name).is_none_or(|c| is_active(c, &active))).collect()
    } else {
        all.clone().filter(|name| asked_for(name)).collect()
    };
    if selection.no_deps {
        return Ok(seeds);
    }
    let mut selected = seeds.clone();
    let mut next = 0;
    while let Some(name) = selected.get_index(next).copied() {
        next += 1;
        if let Some(container) = containers.get(name) {
            for (on, need) in &container.depends_on {
                // The manifest was checked: what is not there is not required.
                let Some((on, needed)) = containers.get_key_value(on) else { continue };
                if seeds.contains(on) || is_active(needed, &active) {
                    selected.insert(on);
                } else if need.required {
                    return Err(behind_profile(name, needed));
                }
            }
        }
        if let Some(program) = programs.get(name) {
            for need in &program.depends_on {
                if let Some((on, needed)) = containers.get_key_value(&need.on) {
                    if !seeds.contains(on) && !is_active(needed, &active) {
                        return Err(behind_profile(name, needed));
                    }
                    selected.insert(on);
                } else if let Some((on, _)) = programs.get_key_value(&need.on)
                    && selection.groups.is_empty()
                {
                    selected.insert(on);
                }
            }
        }
    }
    Ok(all.filter(|name| selected.contains(*name)).collect())
}

fn behind_profile(needed_by: &ServiceName, needed: &Container) -> ResolveError {
    ResolveError::BehindProfile {
        service: needed.name.clone(),
        needed_by: needed_by.clone(),
        profiles: needed.profiles.clone(),
    }
}

/// The profiles that are active: those of the project and of this run. A service that is named and behind a profile
/// brings its profiles with it, as in Compose.
pub(super) fn active<'a>(manifest: &'a Manifest, selection: &'a Selection) -> IndexSet<&'a String> {
    let mut active: IndexSet<&String> = manifest.profiles.iter().chain(&selection.profiles).collect();
    let named = selection.services.iter().filter_map(|name| manifest.compose.services.get(name));
    let behind: Vec<&Container> = named.filter(|container| !is_active(container, &active)).collect();
    active.extend(behind.into_iter().flat_map(|container| &container.profiles));
    active
}

/// Whether a container takes part without being named.
pub(super) fn is_active(container: &Container, active: &IndexSet<&String>) -> bool {
    container.profiles.is_empty()
        || active.iter().any(|profile| *profile == "*" || container.profiles.contains(profile))
}

fn check_names(manifest: &Manifest, selection: &Selection) -> Result<(), ResolveError> {
    let containers = &manifest.compose.services;
    for name in &selection.services {
        if name.number() > 1 && manifest.services.contains_key(&name.base()) {
            return Err(ResolveError::Replica { name: name.clone() });
        }
        if !containers.contains_key(name) && !manifest.services.contains_key(name) {
            let known = containers.keys().chain(manifest.services.keys()).cloned().collect();
            return Err(ResolveError::UnknownService { name: name.clone(), known });
        }
    }
    let groups: IndexSet<&String> = manifest.services.values().flat_map(|program| &program.groups).collect();
    if let Some(name) = selection.groups.iter().find(|group| !groups.contains(group)) {
        let known = groups.into_iter().cloned().collect();
        return Err(ResolveError::UnknownGroup { name: name.clone(), known });
    }
    let profiles: IndexSet<&String> = containers.values().flat_map(|container| &container.profiles).collect();
    if let Some(name) = selection.profiles.iter().find(|profile| *profile != "*" && !profiles.contains(profile)) {
        let known = profiles.into_iter().cloned().collect();
        return Err(ResolveError::UnknownProfile { name: name.clone(), known });
    }
    Ok(())
}
