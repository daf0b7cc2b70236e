//! Ports, looked at before anything starts: whoever holds one that a service wants is named.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use super::docker::Docker;
use crate::advice::{Advice, Blame};
use crate::name::ServiceName;
use crate::os::{clock, ports, process};

/// How long a port may take to be free once whoever held it is gone, and how often it is tried.
const LAST_LOOK: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);

/// A port that a service is about to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The service.
    pub service: ServiceName,
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// Whether the service is one of those that `--skip-docker` leaves to others.
    pub infrastructure: bool,
}

/// A port that somebody holds already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Who wants it.
    pub claim: Claim,
    /// Who has it.
    pub by: Holder,
}

/// Who holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A container, and its Compose project where it has one.
    Container(String, Option<String>),
    /// A process.
    Process(ports::Owner),
    /// Somebody who cannot be seen from here.
    Unknown,
}

/// Ports that are taken; all of them, so that they can be freed in one go.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct PortsTaken(pub Vec<Taken>);

fn lines(taken: &[Taken]) -> String {
    taken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port {} for `{}` is taken by {}", self.claim.port, self.claim.service, self.by)
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Container(name, Some(project)) => write!(f, "container {name} (project {project})"),
            Self::Container(name, None) => write!(f, "container {name}"),
            Self::Process(owner) => write!(f, "{owner}"),
            Self::Unknown => f.write_str("somebody who cannot be seen from here"),
        }
    }
}

impl Advice for PortsTaken {
    fn blame(&self) -> Blame {
        Blame::Environment
    }

    fn hints(&self) -> Vec<String> {
        // One hint for each of those who hold ports, and each of them once.
        let mut hints = Vec::new();
        for Taken { claim, by } in &self.0 {
            let hint = match by {
                Holder::Container(_, Some(project)) => format!("stop it: `docker compose -p {project} stop`"),
                Holder::Container(name, None) => format!("stop it: `docker stop {name}`"),
                Holder::Process(owner) => owner.how_to_stop(claim.port).unwrap_or_else(|| who_is_it(claim.port)),
                Holder::Unknown => who_is_it(claim.port),
            };
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        let named = |infrastructure: bool| {
            let claims = self.0.iter().map(|taken| &taken.claim).filter(|claim| claim.infrastructure == infrastructure);
            claims.map(|claim| format!("`{}`", claim.service)).collect::<Vec<_>>().join(", ")
        };
        let (programs, infrastructure) = (named(false), named(true));
        if !programs.is_empty() {
            hints.push(format!("or give {programs} another `port` in devctl.toml"));
        }
        if !infrastructure.is_empty() {
            hints.push(format!("or publish another port for {infrastructure} in the Compose file"));
            hints.push("or, where it is the very service you want to use: `devctl up --skip-docker`".to_owned());
        }
        hints
    }
}

fn who_is_it(port: u16) -> String {
    if cfg!(target_os = "linux") {
        format!("see who it is: `sudo ss -ltnp 'sport = :{port}'`")
    } else if cfg!(windows) {
        format!("see who it is: `netstat -ano -p TCP | findstr :{port}`")
    } else {
        format!("see who it is: `sudo lsof -nP -iTCP:{port} -sTCP:LISTEN`")
    }
}

/// Finds the claims that cannot be met. A run that uses no engine has `None`; where Docker's proxy seems to hold a port,
/// the engine that `env` leads to is asked all the same whose it is.
pub async fn check(
    claims: Vec<Claim>,
    engine: Option<&Docker>,
    env: &BTreeMap<String, String>,
) -> Result<(), PortsTaken> {
    let asked = OnceCell::new();
    let busy = claims.into_iter().filter(|claim| !ports::is_free(claim.ip, claim.port));
    let taken = join_all(busy.map(async |claim| {
        let owners = ports::owners(claim.port);
        if owners.iter().any(|owner| owner.pid == Some(process::own_id())) {
            // Held by devctl itself for a service with `listen = true`, and handed to it again.
            return None;
        }
        let owner = owners.into_iter().next();
        let engine = match engine {
            None if owner.as_ref().is_none_or(may_be_docker_proxy) => {
                asked.get_or_init(async || Docker::connect(env).await.ok()).await.as_ref()
            }
            known => known,
        };
        let container = match engine {
            Some(engine) => engine.publisher(claim.port).await,
            None => None,
        };
        let by = match container {
            Some(found) => Holder::Container(found.container, found.project),
            None => owner.map_or(Holder::Unknown, Holder::Process),
        };
        Some(Taken { claim, by })
    }))
    .await;
    let taken: Vec<Taken> = taken.into_iter().flatten().collect();
    if taken.is_empty() { Ok(()) } else { Err(PortsTaken(taken)) }
}

/// Which ports of services that were stopped cannot be bound again, and who holds them: somebody whom none of the nets
/// has caught, and who got the socket from the service. A line for each. What devctl itself listens on in the place of
/// its services does not count.
pub async fn still_held(claims: Vec<Claim>, engine: Option<&Docker>) -> Vec<String> {
    let held = |claim: &Claim| {
        let is_devctl = |owner: &ports::Owner| owner.pid == Some(process::own_id());
        !ports::is_free(claim.ip, claim.port) && !ports::owners(claim.port).iter().any(is_devctl)
    };
    // The kernel closes the sockets of a process after its end can be seen.
    let give_up = clock::now() + LAST_LOOK;
    let mut claims: Vec<Claim> = claims;
    loop {
        claims.retain(held);
        if claims.is_empty() || clock::now() >= give_up {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let lines = claims.into_iter().map(async |claim| {
        let container = match engine {
            Some(engine) => engine.publisher(claim.port).await,
            None => None,
        };
        let by = match container {
            Some(found) => Holder::Container(found.container, found.project),
            None => ports::owners(claim.port).into_iter().next().map_or(Holder::Unknown, Holder::Process),
        };
        format!("port {} of `{}`, held by {by}", claim.port, claim.service)
    });
    join_all(lines).await
}

/// Whether a container may be behind it. The proxy is root's, so that other users do not see its name.
fn may_be_docker_proxy(owner: &ports::Owner) -> bool {
    owner.is_docker_proxy() || owner.command.is_none()
}
