//! Host programs to nodes: one that builds, where the runtime builds, and one that runs. Puts their environment
//! together: `.env` files, then the addresses devctl knows, then `env` of `devctl.toml`, then the shell.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use indexmap::IndexMap;

use super::known::Known;
use super::select::is_active;
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

/// The nodes of a program.
pub(super) fn nodes(environment: &Environment<'_>, service: &Service, needs: Vec<Need>) -> Vec<Node> {
    let env = environment.of(service);
    let mut nodes = Vec::new();
    let mut service_needs = Vec::new();
    let program = match service.runtime {
        Runtime::Rust => {
            let build = BuildSpec {
                service: service.name.clone(),
                runtime: service.runtime,
                dir: service.dir.clone(),
                bin: service.bin.clone(),
                env: env.clone(),
            };
            let id = NodeId::Build(service.name.clone());
            service_needs.push(Need::new(id.clone(), Until::Completed));
            nodes.push(task(id, Work::Build(build)));
            Program::Built
        }
        Runtime::Exec => Program::Argv(service.command.clone().unwrap_or_default()),
    };
    service_needs.extend(needs);
    let spec = Spec {
        service: service.name.clone(),
        program,
        args: service.args.clone(),
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
        probe: probe(service),
        ready_timeout: service.ready.as_ref().map_or(DEFAULT_READY_TIMEOUT, |ready| ready.timeout),
        on_timeout: service.ready.as_ref().map_or(OnTimeout::default(), |ready| ready.on_timeout),
        health: health(service),
        restart: service.restart,
        stop_grace: service.stop_grace,
        ports: service.port.map(|port| PortClaim { ip: IpAddr::from([127, 0, 0, 1]), port }).into_iter().collect(),
        addresses: address(service).into_iter().collect(),
        watch: service.watch.clone(),
    });
    nodes
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
        env
    }

    /// `DATABASE_URL` and `REDIS_URL`: of the server the program says it needs, else of the first there is. Servers
    /// that this run leaves out count too; somebody else may run them.
    fn known_addresses(&self, service: &Service) -> IndexMap<&'static str, String> {
        let containers = &self.manifest.compose.services;
        let active = |container: &&Container| {
            is_active(container, self.selection) || self.selection.services.contains(&container.name)
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
