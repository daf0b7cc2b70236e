//! Manifest and selection to stack.

use std::collections::BTreeMap;

use indexmap::{IndexMap, IndexSet};

use super::containers::Project;
use super::programs::{self, Environment};
use super::select::select;
use super::{Infra, Need, Node, PortClaim, ResolveError, Selection, Stack, Until, embedded, graph, replicas};
use crate::driver::Work;
use crate::manifest::Manifest;
use crate::name::{NodeId, ServiceName};

/// Makes the stack of the selected services. `shell` is the environment devctl was started with.
pub fn resolve(
    manifest: &Manifest,
    selection: &Selection,
    infra: Infra,
    shell: &BTreeMap<String, String>,
) -> Result<Stack, ResolveError> {
    let selected = select(manifest, selection)?;
    let containers = || manifest.compose.services.values().filter(|c| selected.contains(&c.name));
    let provided = containers().find_map(|container| Some((container, container.provider.as_ref()?)));
    if let Some((container, provider)) = provided.filter(|_| infra != Infra::Expected) {
        let kind = provider.kind.clone().unwrap_or_default();
        return Err(ResolveError::Provider { service: container.name.clone(), kind });
    }
    if infra == Infra::Embedded {
        embedded::check(containers())?;
    }
    let project = Project { name: &manifest.project, compose: &manifest.compose };
    let mut nodes: IndexMap<NodeId, Node> = IndexMap::new();
    let all_of = |on: &ServiceName| match (manifest.services.get(on), manifest.compose.services.get(on)) {
        (Some(program), _) => replicas::names(program, selection).collect(),
        (None, Some(container)) if infra == Infra::Docker => {
            let scale = replicas::of_container(container, selection);
            (1..=scale).map(|number| on.replica(number)).collect()
        }
        (None, _) => vec![on.clone()],
    };
    let mut scaled_to_none = Vec::new();
    let mut described = BTreeMap::new();
    for container in containers() {
        let scale = replicas::of_container(container, selection);
        let needs = container.depends_on.iter().map(|(on, need)| (on, need.until, need.restart));
        let needs = kept_needs(needs, &selected, all_of);
        if infra == Infra::Docker {
            described.insert(container.name.clone(), container.clone());
        }
        if scale == 0 {
            scaled_to_none.push(container.name.clone());
        }
        let added = match infra {
            Infra::Docker if scale == 0 => Vec::new(),
            Infra::Docker => {
                replicas::check_container(container, scale)?;
                project.nodes(container, &needs, scale)?
            }
            Infra::Embedded if scale != 1 => {
                return Err(ResolveError::ScaledContainer { service: container.name.clone() });
            }
            Infra::Embedded => embedded::nodes(&manifest.root, container, needs)?,
            Infra::Expected => vec![embedded::expected(container, needs)],
        };
        for node in added {
            add(&mut nodes, node);
        }
    }
    let environment = Environment { manifest, selection, shell };
    let ports = replicas::ports(manifest, selection, &|_| true)?;
    for program in manifest.services.values().filter(|program| selected.contains(&program.name)) {
        let needs = program.depends_on.iter().map(|need| (&need.on, need.until, need.restart));
        let needs = kept_needs(needs, &selected, all_of);
        for name in replicas::names(program, selection) {
            let replica = replicas::replica(program, name, &ports)?;
            for node in programs::nodes(&environment, &replica, needs.clone()) {
                add(&mut nodes, node);
            }
        }
    }
    check_ports(&nodes)?;
    Ok(Stack {
        project: manifest.project.clone(),
        root: manifest.root.clone(),
        nodes: graph::order(nodes),
        scaled_to_none,
        described,
    })
}

/// The needs on services of this run, on all replicas of each; what others would bring is theirs to bring.
fn kept_needs<'a>(
    needs: impl Iterator<Item = (&'a ServiceName, Until, bool)>,
    selected: &IndexSet<&ServiceName>,
    all_of: impl Fn(&ServiceName) -> Vec<ServiceName>,
) -> Vec<Need> {
    needs
        .filter(|(on, ..)| selected.contains(on))
        .flat_map(|(on, until, restart)| {
            all_of(on).into_iter().map(move |on| Need { on: NodeId::Service(on), until, restart })
        })
        .collect()
}

/// Adds a node that may be there already. An image that one service wants pulled always is pulled always.
fn add(nodes: &mut IndexMap<NodeId, Node>, node: Node) {
    let Some(there) = nodes.get_mut(&node.id) else {
        nodes.insert(node.id.clone(), node);
        return;
    };
    if let (Work::Image(there), Work::Image(image)) = (&mut there.work, node.work) {
        there.pull = there.pull.stricter(image.pull);
        there.platform = there.platform.take().or(image.platform);
        there.build = there.build.take().or(image.build);
    }
}

/// The manifest's check leaves out services of different profiles; here both may have been asked for.
fn check_ports(nodes: &IndexMap<NodeId, Node>) -> Result<(), ResolveError> {
    let mut claims: Vec<(&ServiceName, PortClaim)> = Vec::new();
    for node in nodes.values() {
        let NodeId::Service(name) = &node.id else { continue };
        for port in &node.ports {
            let meets = |other: &PortClaim| {
                let ips_meet = other.ip == port.ip || other.ip.is_unspecified() || port.ip.is_unspecified();
                ips_meet && other.port == port.port
            };
            if let Some((first, _)) = claims.iter().find(|(first, other)| *first != name && meets(other)) {
                let (first, second) = ((*first).clone(), name.clone());
                return Err(ResolveError::PortTwice { first, second, port: port.port });
            }
            claims.push((name, *port));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
