//! Containers to nodes: images, networks, volumes, and for each service one node that creates its container and one
//! that starts it. Names and labels are those of Docker Compose, so that either tool finds what the other made.

use std::collections::BTreeMap;

use super::known::{Known, endpoint};
use super::{Need, Node, OnTimeout, PortClaim, Restart, Until, hash, task};
use crate::driver::{Work, docker};
use crate::manifest::compose::{Compose, Container, ContainerDependency, Healthcheck, Mount, PullPolicy, Source};
use crate::manifest::{DEFAULT_READY_TIMEOUT, DEFAULT_STOP_GRACE};
use crate::name::{NodeId, ProjectName};
use crate::probe;

/// The version of Docker Compose whose rules for names, labels and hashes are followed. It is written to the label
/// `com.docker.compose.version`, which Compose itself reads for no decision.
const COMPOSE_VERSION: &str = "2.40.3";

/// What the nodes of a project's containers have in common.
pub(super) struct Project<'a> {
    pub(super) name: &'a ProjectName,
    pub(super) compose: &'a Compose,
}

impl Project<'_> {
    /// The nodes of one container, those it needs first. Some may be there already, from another container.
    pub(super) fn nodes(&self, container: &Container, needs: Vec<Need>) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut create_needs = Vec::new();
        let mut add = |node: Node, create_needs: &mut Vec<Need>| {
            create_needs.push(Need::new(node.id.clone(), Until::Completed));
            nodes.push(node);
        };
        add(image(container), &mut create_needs);
        for key in network_keys(container) {
            let spec = self.network(key);
            add(task(NodeId::Network(spec.name.as_str().into()), Work::Network(spec)), &mut create_needs);
        }
        for mount in &container.mounts {
            if let Source::Volume(key) = &mount.source {
                let spec = self.volume(key);
                let need = Need::new(NodeId::Volume(spec.name.as_str().into()), Until::Completed);
                if !create_needs.contains(&need) {
                    add(task(need.on.clone(), Work::Volume(spec)), &mut create_needs);
                }
            }
        }
        let spec = self.container(container);
        let create_id = NodeId::Create(container.name.clone());
        let start = docker::StartSpec {
            name: spec.name.clone(),
            service: container.name.clone(),
            healthcheck: spec.healthcheck.clone(),
            tty: container.tty,
        };
        nodes.push(Node { needs: create_needs, ..task(create_id.clone(), Work::Create(Box::new(spec))) });

        let mut service_needs = vec![Need::new(create_id, Until::Completed)];
        service_needs.extend(needs);
        nodes.push(Node {
            id: NodeId::Service(container.name.clone()),
            work: Work::Container(start),
            needs: service_needs,
            probe: probe(container),
            ready_timeout: DEFAULT_READY_TIMEOUT,
            on_timeout: OnTimeout::default(),
            // The engine's healthcheck goes on by itself, and nothing follows from it.
            health: None,
            // The engine restarts containers itself, as the Compose file tells it.
            restart: Restart::default(),
            stop_grace: container.stop_grace_period.unwrap_or(DEFAULT_STOP_GRACE),
            ports: ports(container),
            addresses: addresses(container),
            watch: None,
        });
        nodes
    }

    fn network(&self, key: &str) -> docker::NetworkSpec {
        let said = self.compose.networks.get(key);
        let external = said.is_some_and(|network| network.external);
        let name = self.resource_name(key, said.and_then(|network| network.name.as_deref()), external);
        let user_labels = said.map(|network| network.labels.clone()).unwrap_or_default();
        let mut spec = docker::NetworkSpec {
            name,
            driver: said.and_then(|network| network.driver.clone()),
            driver_opts: said.map(|network| network.driver_opts.clone()).unwrap_or_default(),
            internal: said.is_some_and(|network| network.internal),
            attachable: said.is_some_and(|network| network.attachable),
            labels: user_labels.clone(),
            external,
        };
        if !external {
            let hash = hash::network(&spec, &user_labels);
            compose_label(&mut spec.labels, "network", key);
            self.resource_labels(&mut spec.labels, hash);
        }
        spec
    }

    fn volume(&self, key: &str) -> docker::VolumeSpec {
        let said = self.compose.volumes.get(key);
        let external = said.is_some_and(|volume| volume.external);
        let name = self.resource_name(key, said.and_then(|volume| volume.name.as_deref()), external);
        let user_labels = said.map(|volume| volume.labels.clone()).unwrap_or_default();
        let mut spec = docker::VolumeSpec {
            name,
            driver: said.and_then(|volume| volume.driver.clone()),
            driver_opts: said.map(|volume| volume.driver_opts.clone()).unwrap_or_default(),
            labels: user_labels.clone(),
            external,
        };
        if !external {
            let hash = hash::volume(&spec, &user_labels);
            compose_label(&mut spec.labels, "volume", key);
            self.resource_labels(&mut spec.labels, hash);
        }
        spec
    }

    fn resource_labels(&self, labels: &mut BTreeMap<String, String>, hash: String) {
        compose_label(labels, "project", self.name.as_str());
        compose_label(labels, "version", COMPOSE_VERSION);
        compose_label(labels, "config-hash", hash);
    }

    fn resource_name(&self, key: &str, said: Option<&str>, external: bool) -> String {
        match said {
            Some(name) => name.to_owned(),
            None if external => key.to_owned(),
            None => format!("{}_{key}", self.name),
        }
    }

    fn container(&self, container: &Container) -> docker::ContainerSpec {
        let name = container.container_name.clone().unwrap_or_else(|| format!("{}-{}-1", self.name, container.name));
        docker::ContainerSpec {
            service: Some(container.name.clone()),
            image: container.image.clone(),
            command: container.command.clone(),
            entrypoint: container.entrypoint.clone(),
            environment: container
                .environment
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
                .collect(),
            ports: container
                .ports
                .iter()
                .map(|port| docker::PortBinding {
                    host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
                    host_port: port.published,
                    container_port: port.target,
                    protocol: port.protocol.clone(),
                })
                .collect(),
            expose: container
                .expose
                .iter()
                .map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") })
                .collect(),
            mounts: container.mounts.iter().map(|mount| self.mount(mount)).collect(),
            networks: network_keys(container)
                .into_iter()
                .map(|key| docker::NetworkAttachment {
                    name: self.network(key).name,
                    aliases: aliases(container, key, &name),
                })
                .collect(),
            network_mode: container.network_mode.clone(),
            healthcheck: container.healthcheck.as_ref().map(healthcheck),
            labels: self.container_labels(container),
            restart: container.restart.as_deref().map(|policy| match policy.split_once(':') {
                Some((policy, count)) => (policy.to_owned(), count.parse().ok()),
                None => (policy.to_owned(), None),
            }),
            user: container.user.clone(),
            working_dir: container.working_dir.clone(),
            hostname: container.hostname.clone(),
            init: container.init,
            stop_signal: container.stop_signal.clone(),
            stop_grace_period: container.stop_grace_period,
            tty: container.tty,
            stdin_open: container.stdin_open,
            privileged: container.privileged,
            read_only: container.read_only,
            cap_add: container.cap_add.clone(),
            cap_drop: container.cap_drop.clone(),
            extra_hosts: container.extra_hosts.iter().map(|(host, ip)| format!("{host}:{ip}")).collect(),
            sysctls: container.sysctls.clone(),
            ulimits: container
                .ulimits
                .iter()
                .map(|(name, limit)| match *limit {
                    crate::manifest::compose::Ulimit::Single(both) => (name.clone(), both, both),
                    crate::manifest::compose::Ulimit::Pair(soft, hard) => (name.clone(), soft, hard),
                })
                .collect(),
            shm_size: container.shm_size,
            mem_limit: container.mem_limit,
            platform: container.platform.clone(),
            name,
        }
    }

    fn mount(&self, mount: &Mount) -> docker::Mount {
        let source = match &mount.source {
            Source::Volume(key) => docker::MountSource::Volume(self.volume(key).name),
            Source::Anonymous => docker::MountSource::Anonymous,
            Source::Bind { path, .. } => docker::MountSource::Bind(path.clone()),
            Source::Tmpfs => docker::MountSource::Tmpfs,
        };
        docker::Mount { source, target: mount.target.clone(), read_only: mount.read_only }
    }

    fn container_labels(&self, container: &Container) -> BTreeMap<String, String> {
        let mut labels = container.labels.clone();
        let files: Vec<String> = self.compose.files.iter().map(|file| file.display().to_string()).collect();
        for (name, value) in [
            ("project", self.name.to_string()),
            ("service", container.name.to_string()),
            ("oneoff", "False".to_owned()),
            ("container-number", "1".to_owned()),
            ("config-hash", hash::service(container)),
            ("depends_on", container.depends_on.iter().map(depends_on).collect::<Vec<_>>().join(",")),
            ("project.working_dir", self.compose.working_dir.display().to_string()),
            ("project.config_files", files.join(",")),
            ("version", COMPOSE_VERSION.to_owned()),
        ] {
            compose_label(&mut labels, name, value);
        }
        labels
    }
}

fn compose_label(labels: &mut BTreeMap<String, String>, name: &str, value: impl Into<String>) {
    labels.insert(format!("com.docker.compose.{name}"), value.into());
}

fn depends_on(need: &ContainerDependency) -> String {
    let condition = match need.until {
        Until::Started => "service_started",
        Until::Ready => "service_healthy",
        Until::Completed => "service_completed_successfully",
    };
    format!("{}:{condition}:{}", need.on, need.restart)
}

fn image(container: &Container) -> Node {
    let spec = docker::ImageSpec {
        reference: container.image.clone(),
        platform: container.platform.clone(),
        pull: match container.pull_policy {
            None | Some(PullPolicy::Missing) => docker::PullPolicy::Missing,
            Some(PullPolicy::Always) => docker::PullPolicy::Always,
            Some(PullPolicy::Never) => docker::PullPolicy::Never,
        },
    };
    task(NodeId::Image(container.image.as_str().into()), Work::Image(spec))
}

/// The networks of a container by key. The first is the primary one: Compose takes them by name.
fn network_keys(container: &Container) -> Vec<&str> {
    if container.network_mode.is_some() {
        return Vec::new();
    }
    let mut keys: Vec<&str> = container.networks.iter().map(|network| network.key.as_str()).collect();
    if keys.is_empty() {
        keys.push("default");
    }
    keys.sort_unstable();
    keys
}

fn aliases(container: &Container, key: &str, container_name: &str) -> Vec<String> {
    let mut aliases = vec![container_name.to_owned(), container.name.to_string()];
    let said = container.networks.iter().find(|network| network.key == key).and_then(|n| n.aliases.as_ref());
    for alias in said.into_iter().flatten() {
        if !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    aliases
}

fn healthcheck(check: &Healthcheck) -> docker::Healthcheck {
    docker::Healthcheck {
        test: if check.disable { Some(vec!["NONE".to_owned()]) } else { check.test.clone() },
        interval: check.interval,
        timeout: check.timeout,
        retries: check.retries,
        start_period: check.start_period,
        start_interval: check.start_interval,
    }
}

/// How a container's readiness is decided: by its own protocol where devctl speaks it, else by its healthcheck.
fn probe(container: &Container) -> Option<probe::Spec> {
    known_probe(container).or_else(|| has_healthcheck(container).then_some(probe::Spec::Container))
}

/// The probe of a server that devctl knows and that can be reached from this machine.
pub(super) fn known_probe(container: &Container) -> Option<probe::Spec> {
    let known = Known::of(container)?;
    Some(known.probe(known.endpoint(container)?))
}

fn has_healthcheck(container: &Container) -> bool {
    container.healthcheck.as_ref().is_some_and(|check| {
        !check.disable && check.test.as_ref().is_some_and(|test| test.first().is_none_or(|word| word != "NONE"))
    })
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
