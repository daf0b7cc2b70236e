//! Containers to nodes: images, networks, volumes, and for each service one node that creates its container and one
//! that starts it. Names and labels are those of Docker Compose, so that either tool finds what the other made.

mod body;
mod files;
mod images;
mod mounts;
mod networks;
mod resources;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::known::{Known, endpoint, question};
use super::{Need, Node, OnTimeout, PortClaim, ResolveError, Restart, Until, hash, task};
use crate::driver::{Work, docker};
use crate::manifest::compose::{Compose, Container, ContainerDependency, HashDialect, Hook};
use crate::manifest::{DEFAULT_READY_TIMEOUT, DEFAULT_STOP_GRACE};
use crate::name::{NodeId, ProjectName, ServiceName};
use crate::probe::{self, Protocol};

/// The version of Docker Compose whose rules for names, labels and hashes are followed. It is written to the label
/// `com.docker.compose.version`, which Compose itself reads for no decision.
const COMPOSE_VERSION: &str = "2.40.3";

/// The label by which a later run can say which part of a service changed.
const CONFIG_KEYS: &str = "dev.devctl.config-keys";

/// How long a healthcheck may take that says nothing of it: what the engine gives it.
const CHECK_LIMIT: Duration = Duration::from_secs(30);

/// What the nodes of a project's containers have in common.
pub(super) struct Project<'a> {
    pub(super) name: &'a ProjectName,
    pub(super) compose: &'a Compose,
}

impl Project<'_> {
    /// The nodes of a service, those it needs first: one container for each of `scale` replicas. Some nodes may be there
    /// already, from another service.
    pub(super) fn nodes(&self, container: &Container, needs: &[Need], scale: u32) -> Result<Vec<Node>, ResolveError> {
        let mut nodes = Vec::new();
        let mut create_needs = Vec::new();
        let mut add = |node: Node, create_needs: &mut Vec<Need>| {
            create_needs.push(Need::new(node.id.clone(), Until::Completed));
            nodes.push(node);
        };
        add(self.image(container), &mut create_needs);
        for image in images::mounted_images(container) {
            add(image, &mut create_needs);
        }
        for key in networks::keys(container) {
            let spec = self.network(key);
            add(task(NodeId::Network(spec.name.as_str().into()), Work::Network(spec)), &mut create_needs);
        }
        for mount in &container.mounts {
            if let Some(key) = mount.volume_key() {
                let spec = self.volume(key);
                let need = Need::new(NodeId::Volume(spec.name.as_str().into()), Until::Completed);
                if !create_needs.contains(&need) {
                    add(task(need.on.clone(), Work::Volume(spec)), &mut create_needs);
                }
            }
        }
        for service in shared_with(container) {
            // Only where this run has it: whether it is there anyway is seen when the container is created.
            let needed = needs.iter().find(|need| need.on.service().is_some_and(|name| name.as_str() == service));
            if let Some(name) = needed.and_then(|need| need.on.service()) {
                create_needs.push(Need::new(NodeId::Create(name.clone()), Until::Completed));
            }
        }
        for number in 1..=scale {
            nodes.extend(self.replica(container, &create_needs, needs, number)?);
        }
        Ok(nodes)
    }

    /// The nodes that create and start one replica of a service.
    fn replica(
        &self,
        container: &Container,
        create_needs: &[Need],
        needs: &[Need],
        number: u32,
    ) -> Result<[Node; 2], ResolveError> {
        let mut spec = self.container(container)?;
        spec.renumber(number);
        let name = container.name.replica(number);
        let create_id = NodeId::Create(name.clone());
        let start = docker::StartSpec {
            name: spec.name.clone(),
            service: name.clone(),
            healthcheck: spec.body.healthcheck.clone(),
            tty: container.tty,
            files: self.written_files(container)?,
            post_start: container.post_start.iter().map(hook).collect(),
            pre_stop: container.pre_stop.iter().map(hook).collect(),
            is_named: spec.is_named,
        };
        let create = Node { needs: create_needs.to_vec(), ..task(create_id.clone(), Work::Create(Box::new(spec))) };
        let probe = probe(container, self.is_awaited(container));
        let mut service_needs = vec![Need::new(create_id, Until::Completed)];
        if number > 1 && container.ports.iter().any(|port| port.published.is_some() && port.fixed().is_none()) {
            // Two that look for a free port of one range at once may both find the same.
            service_needs.push(Need::new(NodeId::Service(container.name.replica(number - 1)), Until::Started));
        }
        service_needs.extend_from_slice(needs);
        let start = Node {
            id: NodeId::Service(name),
            work: Work::Container(start),
            needs: service_needs,
            // What a web server listens on is for its configuration to say: that is guessed by its image.
            on_timeout: match &probe {
                Some(probe::Spec::Server { protocol: Protocol::Web, .. }) => OnTimeout::Warn,
                Some(_) | None => OnTimeout::default(),
            },
            probe,
            ready_timeout: DEFAULT_READY_TIMEOUT,
            // The engine's healthcheck goes on by itself, and nothing follows from it.
            health: None,
            // The engine restarts containers itself, as the Compose file tells it.
            restart: Restart::default(),
            stop_grace: container.stop_grace_period.unwrap_or(DEFAULT_STOP_GRACE),
            ports: ports(container),
            addresses: addresses(container),
            watch: None,
        };
        Ok([create, start])
    }

    /// Whether another service of the files waits for this one's health.
    fn is_awaited(&self, container: &Container) -> bool {
        let mut needs = self.compose.services.values().flat_map(|other| &other.depends_on);
        needs.any(|(on, need)| *on == container.name && need.until == Until::Ready)
    }

    fn container_labels(&self, container: &Container) -> HashMap<String, String> {
        let mut labels: HashMap<String, String> = container.labels.clone().into_iter().collect();
        let files: Vec<String> = self.compose.files.iter().map(|file| file.display().to_string()).collect();
        for (name, value) in [
            ("project", self.name.to_string()),
            ("service", container.name.to_string()),
            ("oneoff", "False".to_owned()),
            ("container-number", "1".to_owned()),
            ("config-hash", hash::service(container, HashDialect::V2)),
            (
                "depends_on",
                container.depends_on.iter().map(|(on, need)| depends_on(on, need)).collect::<Vec<_>>().join(","),
            ),
            ("project.working_dir", self.compose.working_dir.display().to_string()),
            ("project.config_files", files.join(",")),
            ("version", COMPOSE_VERSION.to_owned()),
        ] {
            compose_label(&mut labels, name, value);
        }
        labels.insert(CONFIG_KEYS.to_owned(), hash::key_digests(container));
        labels
    }
}

fn compose_label(labels: &mut HashMap<String, String>, name: &str, value: impl Into<String>) {
    labels.insert(format!("com.docker.compose.{name}"), value.into());
}

fn depends_on(on: &ServiceName, need: &ContainerDependency) -> String {
    format!("{on}:{}:{}", ContainerDependency::condition(need.until), need.restart)
}

fn hook(hook: &Hook) -> docker::Hook {
    docker::Hook {
        argv: hook.command.clone().unwrap_or_default(),
        user: hook.user.clone(),
        privileged: hook.privileged,
        working_dir: hook.working_dir.clone(),
        env: body::environment(&hook.environment),
    }
}

/// The services whose containers must be there before one of this service can be created.
fn shared_with(container: &Container) -> BTreeSet<&str> {
    let modes = [&container.network_mode, &container.ipc, &container.pid];
    let modes = modes.into_iter().filter_map(|mode| mode.as_deref()?.strip_prefix("service:"));
    let first = |text: &'_ String| -> usize { text.find(':').unwrap_or(text.len()) };
    let volumes = container.volumes_from.iter().map(|from| &from[..first(from)]).filter(|from| *from != "container");
    let links = container.links.iter().map(|link| &link[..first(link)]);
    modes.chain(volumes).chain(links).collect()
}

/// How a container's readiness is decided: by its own protocol where devctl speaks it well enough to know better, else by
/// its healthcheck, else by one question in its protocol. `awaited`: whether another service waits for its health.
fn probe(container: &Container, awaited: bool) -> Option<probe::Spec> {
    known_probe(container)
        .or_else(|| healthcheck(container))
        // The image may have one of its own, and where it has none, that is what is wrong.
        .or_else(|| awaited.then_some(probe::Spec::Container))
        .or_else(|| question(container))
}

/// The file's healthcheck, as devctl runs it itself.
fn healthcheck(container: &Container) -> Option<probe::Spec> {
    let check = container.healthcheck.as_ref().filter(|check| !check.disable)?;
    let argv = match check.test.as_slice() {
        [kind, ..] if kind == "NONE" => return None,
        [kind, line] if kind == "CMD-SHELL" => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        [kind, argv @ ..] if kind == "CMD" && !argv.is_empty() => argv.to_vec(),
        // The image's own, which only the engine knows, or what only the engine can make out.
        _ => return Some(probe::Spec::Container),
    };
    let timeout = check.timeout.filter(|limit| !limit.is_zero()).unwrap_or(CHECK_LIMIT);
    Some(probe::Spec::Healthcheck { argv, timeout, pause: check.start_interval.filter(|pause| !pause.is_zero()) })
}

/// The probe of a server that devctl knows and that can be reached from this machine.
pub(super) fn known_probe(container: &Container) -> Option<probe::Spec> {
    let known = Known::of(container)?;
    Some(known.probe(known.endpoint(container)?))
}

/// The ports of this machine that a container takes.
pub(super) fn ports(container: &Container) -> Vec<PortClaim> {
    container.ports.iter().filter_map(endpoint).map(|at| PortClaim { ip: at.ip, port: at.port }).collect()
}

/// Where people reach a container.
pub(super) fn addresses(container: &Container) -> Vec<String> {
    let known = Known::of(container);
    container
        .ports
        .iter()
        .filter_map(|port| Some((port, endpoint(port)?)))
        .map(|(port, at)| match &known {
            Some(known) if known.target() == port.target => known.url(at),
            Some(_) | None => {
                let scheme = match port.app_protocol.as_deref() {
                    Some("http") => "http://",
                    Some("https") => "https://",
                    Some(_) | None => "",
                };
                format!("{scheme}{}:{}", at.shown_host(), at.port)
            }
        })
        .collect()
}
