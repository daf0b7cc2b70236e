//! Which services of a Compose file a command is about, and what of the file belongs to them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::canonical::{Form, Value};
use super::{Compose, Container, FileObject, Network, Volume};
use crate::name::ServiceName;

/// Why services cannot be selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// There is no such service.
    #[error("there is no service `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// The services there are.
        known: Vec<String>,
    },
    /// A service needs one that no active profile brings.
    #[error("`{service}` needs `{on}`, which is in no active profile")]
    BehindProfile {
        /// Who needs it.
        service: ServiceName,
        /// What is needed.
        on: ServiceName,
        /// The profiles that would bring it.
        profiles: Vec<String>,
    },
}

impl crate::advice::Advice for SelectionError {
    fn blame(&self) -> crate::advice::Blame {
        crate::advice::Blame::Configuration
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown { known, .. } if known.is_empty() => Vec::new(),
            Self::Unknown { name, known } => {
                match crate::manifest::suggest::closest(name, known.iter().map(String::as_str)) {
                    Some(right) => vec![format!("did you mean `{right}`?")],
                    None => vec![format!("the services are {}", known.join(", "))],
                }
            }
            Self::BehindProfile { profiles, .. } => {
                profiles.iter().map(|profile| format!("add `--profile {profile}`")).collect()
            }
        }
    }
}

/// The selected services of a project, by name, and what of the file they use.
#[derive(Clone, Debug)]
pub struct Selected<'a> {
    compose: &'a Compose,
    project: &'a str,
    /// The services, by name.
    pub services: BTreeMap<&'a str, Container>,
}

impl Compose {
    /// Selects services as Compose does: those of no profile or an active one, or where `names` are given, these and what
    /// they need. The profiles of a named service are active with it.
    pub fn select<'a>(
        &'a self,
        project: &'a str,
        profiles: &[String],
        names: &[String],
    ) -> Result<Selected<'a>, SelectionError> {
        let by_name: BTreeMap<&str, &Container> =
            self.services.iter().map(|(name, service)| (name.as_str(), service)).collect();
        let is_on = |service: &Container, profiles: &[String]| {
            service.profiles.is_empty()
                || profiles.iter().any(|profile| profile == "*" || service.profiles.contains(profile))
        };
        let mut active = profiles.to_vec();
        for name in names {
            let service = by_name.get(name.as_str()).ok_or_else(|| SelectionError::Unknown {
                name: name.clone(),
                known: by_name.keys().map(|name| (*name).to_owned()).collect(),
            })?;
            if !is_on(service, profiles) {
                active.extend(service.profiles.iter().cloned());
            }
        }
        let enabled: BTreeSet<&str> =
            by_name.iter().filter(|(_, service)| is_on(service, &active)).map(|(name, _)| *name).collect();
        for name in &enabled {
            let service = by_name[name];
            for (on, need) in &service.depends_on {
                if let (Some(needed), true) = (by_name.get(on.as_str()), need.required)
                    && !enabled.contains(on.as_str())
                {
                    let (service, on) = (service.name.clone(), on.clone());
                    return Err(SelectionError::BehindProfile { service, on, profiles: needed.profiles.clone() });
                }
            }
        }
        let mut services: BTreeMap<&str, Container> =
            enabled.iter().map(|name| (*name, by_name[name].clone())).collect();
        if !names.is_empty() {
            let mut wanted: BTreeSet<String> = BTreeSet::new();
            let mut open: Vec<String> = names.to_vec();
            while let Some(name) = open.pop() {
                let Some(service) = services.get(name.as_str()) else { continue };
                if wanted.insert(name) {
                    open.extend(service.depends_on.keys().map(ToString::to_string));
                }
            }
            services.retain(|name, _| wanted.contains(*name));
            for service in services.values_mut() {
                service.depends_on.retain(|on, _| wanted.contains(on.as_str()));
            }
        }
        Ok(Selected { compose: self, project, services })
    }
}

impl Selected<'_> {
    /// The names of the services, those that others need before these.
    pub fn in_order(&self) -> Vec<&str> {
        fn visit<'s>(all: &'s Selected<'_>, name: &'s str, out: &mut Vec<&'s str>, on_the_way: &mut Vec<&'s str>) {
            if out.contains(&name) || on_the_way.contains(&name) {
                return;
            }
            let Some(service) = all.services.get(name) else { return };
            on_the_way.push(name);
            for on in service.depends_on.keys() {
                visit(all, on.as_str(), out, on_the_way);
            }
            on_the_way.pop();
            out.push(name);
        }
        let mut out = Vec::new();
        for name in self.services.keys() {
            visit(self, name, &mut out, &mut Vec::new());
        }
        out
    }

    /// The networks that the services join, by key.
    pub fn networks(&self) -> BTreeMap<&str, Network> {
        let keys = self.services.values().flat_map(|service| service.networks.keys());
        keys.map(|key| (key.as_str(), self.compose.network(self.project, key))).collect()
    }

    /// The volumes that the services mount, by key.
    pub fn volumes(&self) -> BTreeMap<&str, Volume> {
        let mounts = self.services.values().flat_map(|service| &service.mounts);
        mounts
            .filter_map(|mount| Some((mount.volume_key()?, self.compose.volume(self.project, mount.volume_key()?))))
            .collect()
    }

    /// The secrets that the services and the builds of their images are given, by key.
    pub fn secrets(&self) -> BTreeMap<&str, FileObject> {
        let of_builds =
            self.services.values().filter_map(|service| service.build.as_ref()).flat_map(|build| &build.secrets);
        let all = self.services.values().flat_map(|service| &service.secrets).chain(of_builds);
        let keys: BTreeSet<&str> = all.filter_map(|reference| reference.source.as_deref()).collect();
        self.objects(&self.compose.secrets, &keys)
    }

    /// The configs that the services are given, by key.
    pub fn configs(&self) -> BTreeMap<&str, FileObject> {
        let all = self.services.values().flat_map(|service| &service.configs);
        let keys: BTreeSet<&str> = all.filter_map(|reference| reference.source.as_deref()).collect();
        self.objects(&self.compose.configs, &keys)
    }

    fn objects<'s>(
        &'s self,
        objects: &'s indexmap::IndexMap<String, FileObject>,
        keys: &BTreeSet<&str>,
    ) -> BTreeMap<&'s str, FileObject> {
        let used = objects.iter().filter(|(key, _)| keys.contains(key.as_str()));
        used.map(|(key, object)| (key.as_str(), object.named(self.project, key))).collect()
    }

    /// The model as `docker compose config` shows it.
    pub fn canonical(&self, form: Form) -> Value {
        let mut services = Value::of(&self.services, form);
        for name in self.services.keys() {
            // The labels are shown, and the files that they are of are not.
            services.get_mut(name).and_then(|service| service.remove("label_file"));
        }
        let mut top =
            vec![("name".to_owned(), Value::Text(self.project.to_owned())), ("services".to_owned(), services)];
        for (name, value) in [
            ("networks", Value::of(&self.networks(), form)),
            ("volumes", Value::of(&self.volumes(), form)),
            ("secrets", Value::of(&self.secrets(), form)),
            ("configs", Value::of(&self.configs(), form)),
        ] {
            if value != Value::Map(Vec::new()) {
                top.push((name.to_owned(), value));
            }
        }
        if let Value::Map(extensions) = Value::of(&self.compose.extensions, form) {
            top.extend(extensions);
        }
        if matches!(form, Form::Json(_)) {
            // Of the top level alone, Compose makes a map before it writes it.
            top.sort_by(|a, b| a.0.cmp(&b.0));
        }
        Value::Map(top)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    fn compose(yaml: &str) -> Compose {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("devctl.toml"), "containers.compose = \"c.yml\"\n").unwrap();
        fs::write(folder.path().join("c.yml"), yaml).unwrap();
        crate::manifest::load(folder.path(), &BTreeMap::new()).unwrap().compose
    }

    const FILE: &str = "
name: p
services:
  web: {image: x, depends_on: {db: {condition: service_started}, cache: {condition: service_started, required: false}}}
  db: {image: x, volumes: ['data:/d']}
  cache: {image: x, profiles: [fast], volumes: ['cache:/c']}
  tool: {image: x, profiles: [tools], network_mode: none}
  helper: {image: x, profiles: [tools], network_mode: none}
volumes: {data: , cache: , unused: }
";

    #[test]
    fn services_are_selected_by_profiles_and_names() {
        let compose = compose(FILE);
        let select = |profiles: &[&str], names: &[&str]| {
            let [profiles, names] =
                [profiles, names].map(|list| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
            let selected = compose.select("p", &profiles, &names).unwrap();
            let volumes: Vec<String> = selected.volumes().keys().map(|key| (*key).to_owned()).collect();
            (selected.in_order().join(" "), volumes.join(" "))
        };
        let some = |services: &str, volumes: &str| (services.to_owned(), volumes.to_owned());
        assert_eq!(select(&[], &[]), some("db web", "data"));
        assert_eq!(select(&["fast"], &[]), some("cache db web", "cache data"));
        assert_eq!(select(&["*"], &[]), some("cache db helper tool web", "cache data"));
        assert_eq!(select(&[], &["db"]), some("db", "data"));
        assert_eq!(select(&[], &["tool"]), some("tool", ""));
        assert!(matches!(compose.select("p", &[], &["wbe".to_owned()]), Err(SelectionError::Unknown { .. })));
    }

    #[test]
    fn a_need_behind_a_profile_is_told_with_what_brings_it() {
        use crate::advice::Advice;
        let compose = compose("name: p\nservices: {a: {image: x, depends_on: [b]}, b: {image: x, profiles: [q]}}\n");
        let error = compose.select("p", &[], &[]).unwrap_err();
        assert_eq!(error.to_string(), "`a` needs `b`, which is in no active profile");
        assert_eq!(error.hints(), ["add `--profile q`"]);
    }
}
