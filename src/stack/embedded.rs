//! Containers to nodes where no engine runs them: embedded servers, or servers that should be there already.

use std::path::Path;

use super::containers::{addresses, known_probe, ports};
use super::known::{self, Known};
use super::{Need, Node, OnTimeout, PortClaim, ResolveError, Restart, RestartPolicy, Until, task};
use crate::driver::Work;
use crate::driver::embedded::{Package, Server, Spec};
use crate::manifest::compose::Container;
use crate::manifest::{DEFAULT_READY_TIMEOUT, DEFAULT_STOP_GRACE};
use crate::name::NodeId;
use crate::probe;

/// The containers for which there is no embedded server, all at once.
pub(super) fn check<'a>(containers: impl Iterator<Item = &'a Container>) -> Result<(), ResolveError> {
    let services: Vec<_> = containers
        .filter(|container| known::server(container).is_none())
        .map(|container| (container.name.clone(), container.image.clone()))
        .collect();
    if services.is_empty() { Ok(()) } else { Err(ResolveError::NoEmbedded { services }) }
}

/// The nodes of an embedded server.
pub(super) fn nodes(root: &Path, container: &Container, needs: Vec<Need>) -> Result<Vec<Node>, ResolveError> {
    let name = &container.name;
    let no_embedded = || ResolveError::NoEmbedded { services: vec![(name.clone(), container.image.clone())] };
    let server = known::server(container).ok_or_else(no_embedded)??;
    let known = Known::of(container).ok_or_else(no_embedded)?;
    let target = known.target();
    let at = known.endpoint(container).ok_or_else(|| ResolveError::NoPort { service: name.clone(), target })?;
    // A container that publishes on every address does so behind the engine's own door; a bare server stays at home.
    let ip = at.host().parse().unwrap_or(at.ip);
    let package = match server {
        Server::Postgres { .. } => Package::Postgres,
        Server::Redis { .. } => Package::Redis,
    };
    let install = NodeId::Install(
        match package {
            Package::Postgres => "postgres",
            Package::Redis => "redis",
        }
        .into(),
    );
    let spec = Spec {
        service: name.clone(),
        data: root.join(".devctl").join("data").join(name.as_str()),
        ip,
        port: at.port,
        server,
    };
    let mut service_needs = vec![Need::new(install.clone(), Until::Completed)];
    service_needs.extend(needs);
    let service = Node {
        id: NodeId::Service(name.clone()),
        work: Work::Embedded(spec),
        needs: service_needs,
        probe: Some(known.probe(at)),
        ready_timeout: DEFAULT_READY_TIMEOUT,
        on_timeout: OnTimeout::default(),
        health: None,
        restart: restart(container),
        stop_grace: container.stop_grace_period.unwrap_or(DEFAULT_STOP_GRACE),
        ports: vec![PortClaim { ip, port: at.port }],
        addresses: vec![known.url(at)],
        watch: None,
    };
    Ok(vec![task(install, Work::Install(package)), service])
}

/// What the engine would do when the container ends; here it is devctl that does it.
fn restart(container: &Container) -> Restart {
    let default = Restart::default();
    match container.restart.as_deref().map(|policy| policy.split_once(':').unwrap_or((policy, ""))) {
        Some(("always" | "unless-stopped", _)) => Restart { policy: RestartPolicy::Always, ..default },
        Some(("on-failure", max)) => {
            Restart { policy: RestartPolicy::OnFailure, max: max.parse().unwrap_or(default.max), ..default }
        }
        Some(_) | None => default,
    }
}

/// The node of a container that somebody else runs.
pub(super) fn expected(container: &Container, needs: Vec<Need>) -> Node {
    let ports = ports(container);
    let tcp = || {
        let port = container.ports.iter().find_map(known::endpoint)?;
        Some(probe::Spec::Tcp { host: port.host(), port: port.port })
    };
    Node {
        id: NodeId::Service(container.name.clone()),
        work: Work::Expected,
        needs,
        probe: known_probe(container).or_else(tcp),
        ready_timeout: DEFAULT_READY_TIMEOUT,
        on_timeout: OnTimeout::default(),
        health: None,
        restart: Restart::default(),
        stop_grace: DEFAULT_STOP_GRACE,
        ports,
        addresses: addresses(container),
        watch: None,
    }
}
