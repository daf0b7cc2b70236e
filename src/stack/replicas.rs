//! Programs that run several times at once: how many there are, what they are called, and which ports they have.
//!
//! The first replica is the service as it is described; the others differ from it by name and port. Whether a port is
//! free is not known here; whoever asks brings the answer along.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::{ResolveError, Selection};
use crate::manifest::compose::{Container, Port, Published};
use crate::manifest::{MAX_SCALE, Manifest, ReadyProbe, Service};
use crate::name::ServiceName;

/// How many ports after the declared one are looked at, where no range is named.
const NEXT: u16 = 1000;

/// Finds a port for each replica that has none yet, and forgets those of replicas that are no more. `is_free` tells
/// whether a server could listen on a port of this machine now; it is not asked about ports that are kept.
pub fn assign_ports(
    manifest: &Manifest,
    selection: &mut Selection,
    is_free: impl Fn(u16) -> bool,
) -> Result<(), ResolveError> {
    selection.ports = ports(manifest, selection, &is_free)?;
    Ok(())
}

/// The names of a program's replicas, in their order.
pub(super) fn names(service: &Service, selection: &Selection) -> impl Iterator<Item = ServiceName> {
    let scale = selection.scale.get(&service.name).copied().unwrap_or(service.scale);
    (1..=scale).map(|number| service.name.replica(number))
}

/// How many containers a service has.
pub(super) fn of_container(container: &Container, selection: &Selection) -> u32 {
    let said = || u32::try_from(container.replicas()).unwrap_or_default();
    selection.scale.get(&container.name).copied().unwrap_or_else(said)
}

/// Makes sure that a service can have so many containers.
pub(super) fn check_container(container: &Container, scale: u32) -> Result<(), ResolveError> {
    if scale < 2 {
        return Ok(());
    }
    if let Some(name) = &container.container_name {
        return Err(ResolveError::OneName { service: container.name.clone(), name: name.clone(), scale });
    }
    if let Some(port) = container.ports.iter().find_map(|port| too_few(port, scale)) {
        return Err(ResolveError::OnePort { service: container.name.clone(), port, scale });
    }
    Ok(())
}

/// The first of the ports of the host that are too few for so many containers.
fn too_few(port: &Port, scale: u32) -> Option<u16> {
    let (first, last) = port.published.as_ref().and_then(Published::range)?;
    (u32::from(last - first) + 1 < scale).then_some(first)
}

/// The ports of all replicas but the first ones.
pub(super) fn ports(
    manifest: &Manifest,
    selection: &Selection,
    is_free: &dyn Fn(u16) -> bool,
) -> Result<BTreeMap<ServiceName, u16>, ResolveError> {
    check(manifest, selection)?;
    let containers = manifest.compose.services.values();
    let published = containers.flat_map(|container| container.ports.iter().filter_map(Port::fixed));
    let declared = manifest.services.values().filter_map(|service| service.port);
    let mut taken: BTreeSet<u16> = published.chain(declared).collect();
    let mut ports = BTreeMap::new();
    let others = || {
        let with_port = manifest.services.values().filter(|service| service.port.is_some());
        with_port.flat_map(|service| names(service, selection).skip(1).map(move |name| (service, name)))
    };
    // All that are kept before the first that is new: a new one must not take what another has.
    for (_, name) in others() {
        if let Some(port) = selection.ports.get(&name)
            && taken.insert(*port)
        {
            ports.insert(name, *port);
        }
    }
    for (service, name) in others() {
        if ports.contains_key(&name) {
            continue;
        }
        let range = range(service);
        let free = range.clone().find(|port| !taken.contains(port) && is_free(*port));
        let no_port = || ResolveError::NoFreePort { service: name.clone(), first: *range.start(), last: *range.end() };
        let port = free.ok_or_else(no_port)?;
        taken.insert(port);
        ports.insert(name, port);
    }
    Ok(ports)
}

/// The description of a replica: the service's own, with its name and its port.
pub(super) fn replica(
    service: &Service,
    name: ServiceName,
    ports: &BTreeMap<ServiceName, u16>,
) -> Result<Service, ResolveError> {
    let mut replica = service.clone();
    if name == service.name {
        return Ok(replica);
    }
    let own = ports.get(&name).copied();
    let checks = replica.ready.as_mut().map(|ready| &mut ready.probe).into_iter();
    for check in checks.chain(replica.health.as_mut().map(|health| &mut health.probe)) {
        match check {
            ReadyProbe::Http { port, .. } | ReadyProbe::Tcp { port } => match own {
                Some(own) if service.port == Some(*port) => *port = own,
                Some(_) | None => {
                    return Err(ResolveError::SharedCheck { service: service.name.clone(), port: *port });
                }
            },
            ReadyProbe::Exec { .. } | ReadyProbe::Log { .. } => {}
        }
    }
    replica.name = name;
    replica.port = own;
    Ok(replica)
}

fn range(service: &Service) -> RangeInclusive<u16> {
    service.port_range.clone().unwrap_or_else(|| {
        let port = service.port.unwrap_or_default();
        port.saturating_add(1)..=port.saturating_add(NEXT)
    })
}

fn check(manifest: &Manifest, selection: &Selection) -> Result<(), ResolveError> {
    for (name, scale) in &selection.scale {
        let service = name.clone();
        if manifest.compose.services.contains_key(name) {
            if *scale > MAX_SCALE {
                return Err(ResolveError::Scale { service, scale: *scale });
            }
            continue;
        }
        if !manifest.services.contains_key(name) {
            return Err(ResolveError::UnknownService {
                name: service,
                known: manifest.compose.services.keys().chain(manifest.services.keys()).cloned().collect(),
            });
        }
        if !(1..=MAX_SCALE).contains(scale) {
            return Err(ResolveError::Scale { service, scale: *scale });
        }
    }
    Ok(())
}
