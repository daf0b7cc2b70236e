//! Host programs to nodes: one that builds, where the runtime builds, and one that runs. Puts their environment
//! together: `.env` files, then the addresses devctl knows, then `env` of `devctl.toml`, then the shell.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use indexmap::IndexMap;

use super::known::Known;
use super::select::{active, is_active};
use super::{Health, Need, Node, PortClaim, Selection, Until, task};
use crate::driver::Work;
use crate::driver::process::{BuildSpec, EnvSource, EnvVar, Program, Runtime, Spec};
use crate::manifest::compose::Container;
use crate::manifest::{DEFAULT_READY_TIMEOUT, Manifest, OnTimeout, Ready, ReadyProbe, Service};
use crate::name::NodeId;
use crate::probe;

/// Where host programs are reached.
const LOOPBACK: &str = "127.0.0.1";

/// How long one run of an `exec` check may take.
const EXEC_LIMIT: Duration = Duration::from_secs(5);

/// What the environments of all programs have in common.
pub(super) struct Environment<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) selection: &'a Selection,
    pub(super) shell: &'a BTreeMap<String, String>,
}

/// What stands for a program's port in its command, its arguments, its environment and its checks: a replica that takes
/// its port by an option could not be told it otherwise.
const PORT: &str = "${PORT}";

/// The nodes of a program, or of one of its replicas. All replicas run what is built once.
pub(super) fn nodes(environment: &Environment<'_>, service: &Service, needs: Vec<Need>) -> Vec<Node> {
    let env = environment.of(service);
    let port = env.get("PORT").filter(|_| service.port.is_some()).map(|var| var.value.clone());
    let fill = |text: &String| port.as_ref().map_or_else(|| text.clone(), |port| text.replace(PORT, port));
    let fill_all = |words: &[String]| words.iter().map(fill).collect::<Vec<_>>();
    let mut nodes = Vec::new();
    let mut service_needs = Vec::new();
    let program = match service.runtime {
        Runtime::Rust => {
            let base = service.name.base();
            let build = BuildSpec {
                service: base.clone(),
                runtime: service.runtime,
                dir: service.dir.clone(),
                bin: service.bin.clone(),
                env: env.clone(),
            };
            let id = NodeId::Build(base.clone());
            service_needs.push(Need::new(id.clone(), Until::Completed));
            if service.name == base {
                nodes.push(task(id, Work::Build(build)));
            }
            Program::Built
        }
        Runtime::Exec => Program::Argv(fill_all(service.command.as_deref().unwrap_or_default())),
    };
    service_needs.extend(needs);
    let spec = Spec {
        service: service.name.clone(),
        program,
        args: fill_all(&service.args),
        dir: service.dir.clone(),
        env,
        port: service.port,
        stop_signal: service.stop_signal,
        pty: service.pty,
        listen: service.listen,
    };
    nodes.push(Node {
        id: NodeId::Service(service.name.clone()),
        work: Work::Process(spec),
        needs: service_needs,
        probe: probe(service).map(|probe| filled(probe, fill_all)),
        ready_timeout: service.ready.as_ref().map_or(DEFAULT_READY_TIMEOUT, |ready| ready.timeout),
        on_timeout: service.ready.as_ref().map_or(OnTimeout::default(), |ready| ready.on_timeout),
        health: health(service).map(|health| Health { probe: filled(health.probe, fill_all), ..health }),
        restart: service.restart,
        stop_grace: service.stop_grace,
        ports: service.port.map(|port| PortClaim { ip: IpAddr::from([127, 0, 0, 1]), port }).into_iter().collect(),
        addresses: address(service).into_iter().collect(),
        watch: service.watch.clone(),
    });
    nodes
}

/// A probe with the port in its command, where it is one.
fn filled(probe: probe::Spec, fill: impl Fn(&[String]) -> Vec<String>) -> probe::Spec {
    match probe {
        probe::Spec::Exec { argv, timeout } => probe::Spec::Exec { argv: fill(&argv), timeout },
        other => other,
    }
}

fn probe(service: &Service) -> Option<probe::Spec> {
    match &service.ready {
        Some(Ready { probe, timeout, .. }) => Some(spec(probe, EXEC_LIMIT.min(*timeout))),
        None => service.port.map(|port| probe::Spec::Tcp { host: LOOPBACK.to_owned(), port }),
    }
}

/// `limit` is how long one run of a command may take.
fn spec(probe: &ReadyProbe, limit: Duration) -> probe::Spec {
    let host = LOOPBACK.to_owned();
    match probe {
        ReadyProbe::Http { port, path } => probe::Spec::Http { host, port: *port, path: path.clone() },
        ReadyProbe::Tcp { port } => probe::Spec::Tcp { host, port: *port },
        ReadyProbe::Exec { argv } => probe::Spec::Exec { argv: argv.clone(), timeout: limit },
        ReadyProbe::Log { pattern } => probe::Spec::Log { pattern: pattern.clone() },
    }
}

fn health(service: &Service) -> Option<Health> {
    let said = service.health.as_ref()?;
    Some(Health {
        probe: spec(&said.probe, said.timeout),
        interval: said.interval,
        timeout: said.timeout,
        retries: said.retries,
        action: said.action,
    })
}

fn address(service: &Service) -> Option<String> {
    let port = service.port?;
    let speaks_http = matches!(&service.ready, Some(Ready { probe: ReadyProbe::Http { .. }, .. }));
    Some(if speaks_http { format!("http://localhost:{port}") } else { format!("localhost:{port}") })
}

impl Environment<'_> {
    /// The environment of a program besides what the shell gives all programs.
    fn of(&self, service: &Service) -> IndexMap<String, EnvVar> {
        let mut env: IndexMap<String, EnvVar> = IndexMap::new();
        let mut set = |name: &str, value: String, source: EnvSource| {
            env.insert(name.to_owned(), EnvVar { value, source });
        };
        for file in &self.manifest.env_files {
            for (name, value) in &file.vars {
                set(name, value.clone(), EnvSource::File(file.path.clone()));
            }
        }
        for (name, value) in self.known_addresses(service) {
            set(name, value, EnvSource::Devctl);
        }
        if let Some(port) = service.port {
            set("PORT", port.to_string(), EnvSource::Devctl);
        }
        for (name, value) in &service.env {
            set(name, value.clone(), EnvSource::Manifest);
        }
        for (name, var) in &mut env {
            if let Some(value) = self.shell.get(name) {
                *var = EnvVar { value: value.clone(), source: EnvSource::Shell };
            }
        }
        if let (Some(port), 2..) = (service.port, service.name.number()) {
            // Whatever says `PORT` elsewhere means the first one.
            env.insert("PORT".to_owned(), EnvVar { value: port.to_string(), source: EnvSource::Devctl });
        }
        if let Some(port) = env.get("PORT").filter(|_| service.port.is_some()).map(|var| var.value.clone()) {
            for var in env.values_mut().filter(|var| var.source == EnvSource::Manifest) {
                var.value = var.value.replace(PORT, &port);
            }
        }
        env
    }

    /// `DATABASE_URL` and `REDIS_URL`: of the server the program says it needs, else of the first there is. Servers
    /// that this run leaves out count too; somebody else may run them.
    fn known_addresses(&self, service: &Service) -> IndexMap<&'static str, String> {
        let containers = &self.manifest.compose.services;
        let active = |container: &&Container| {
            is_active(container, &active(self.manifest, self.selection))
                || self.selection.services.contains(&container.name)
        };
        let needed = service.depends_on.iter().filter_map(|need| containers.get(&need.on));
        let mut addresses = IndexMap::new();
        for container in needed.chain(containers.values().filter(active)) {
            if let Some(known) = Known::of(container)
                && let Some(at) = known.endpoint(container)
            {
                addresses.entry(known.variable()).or_insert_with(|| known.url(at));
            }
        }
        addresses
    }
}
