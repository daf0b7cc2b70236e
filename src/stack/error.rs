//! Why no stack can be made of a manifest and a selection, each of them right by itself.

use crate::advice::{Advice, Blame};
use crate::manifest::MAX_SCALE;
use crate::manifest::suggest::{choices, closest, listed};
use crate::name::ServiceName;

/// Why the selected part of the manifest makes no stack.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A service was asked for that the files do not have.
    #[error("there is no service `{name}`")]
    UnknownService {
        /// What was asked for.
        name: ServiceName,
        /// What there is.
        known: Vec<ServiceName>,
    },
    /// A group was asked for that no program belongs to.
    #[error("no service belongs to the group `{name}`")]
    UnknownGroup {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A profile was asked for that no container has.
    #[error("no container has the profile `{name}`")]
    UnknownProfile {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A service needs one that only an inactive profile brings.
    #[error("`{needed_by}` needs `{service}`, which is behind {}", behind(.profiles))]
    BehindProfile {
        /// The service behind the profile.
        service: ServiceName,
        /// The one that needs it.
        needed_by: ServiceName,
        /// The profiles that bring it.
        profiles: Vec<String>,
    },
    /// Containers that no embedded server can stand for.
    #[error("without Docker there is nothing to run {} with", with_images(.services))]
    NoEmbedded {
        /// The containers and their images.
        services: Vec<(ServiceName, String)>,
    },
    /// A container asks for what its embedded server cannot do.
    #[error("`{service}` cannot run without Docker: {what}")]
    NotEmbeddable {
        /// The container.
        service: ServiceName,
        /// What cannot be done.
        what: String,
    },
    /// A container that publishes no port, so that an embedded server would not know where to listen.
    #[error("`{service}` publishes no port for {target}, so an embedded server would not know where to listen")]
    NoPort {
        /// The container.
        service: ServiceName,
        /// The port in the container.
        target: u16,
    },
    /// A secret or config that only Swarm could give to a service.
    #[error("the {kind} `{key}` of `{service}` has `{what}`, which needs Swarm")]
    SwarmFile {
        /// The service.
        service: ServiceName,
        /// `secret` or `config`.
        kind: &'static str,
        /// Its key.
        key: String,
        /// What cannot be done.
        what: &'static str,
    },
    /// A secret or config is held by a variable that is not set.
    #[error("the {kind} `{key}` of `{service}` is the variable `{variable}`, which is not set")]
    VariableOfFile {
        /// The service.
        service: ServiceName,
        /// `secret` or `config`.
        kind: &'static str,
        /// Its key.
        key: String,
        /// The variable.
        variable: String,
    },
    /// A secret or config cannot be written into a container that lets nothing be written.
    #[error("the {kind} `{key}` cannot be written into `{service}`, which is `read_only`")]
    FileInReadOnly {
        /// The service.
        service: ServiceName,
        /// `secret` or `config`.
        kind: &'static str,
        /// Its key.
        key: String,
    },
    /// A replica was named where a service is meant.
    #[error("`{name}` is a replica of `{}`", .name.base())]
    Replica {
        /// What was asked for.
        name: ServiceName,
    },
    /// A number of replicas that cannot be.
    #[error("`{service}` cannot run {scale} times at once")]
    Scale {
        /// The service.
        service: ServiceName,
        /// What was asked for.
        scale: u32,
    },
    /// A container was asked for more than once, without an engine that could run it.
    #[error("`{service}` cannot run several times without Docker")]
    ScaledContainer {
        /// The container.
        service: ServiceName,
    },
    /// A service of a Compose file is not a container but the business of another program.
    #[error("`{service}` is run by a provider (`{kind}`), which devctl does not start yet")]
    Provider {
        /// The service.
        service: ServiceName,
        /// The provider, as the file names it.
        kind: String,
    },
    /// Several containers would all have one name.
    #[error("`{service}` cannot have {scale} containers: its `container_name` says that the only one is `{name}`")]
    OneName {
        /// The service.
        service: ServiceName,
        /// The name that the file gives.
        name: String,
        /// How many containers were asked for.
        scale: u32,
    },
    /// Several containers would all publish one port.
    #[error("`{service}` cannot have {scale} containers: each would publish port {port}")]
    OnePort {
        /// The service.
        service: ServiceName,
        /// The port of the host.
        port: u16,
        /// How many containers were asked for.
        scale: u32,
    },
    /// Replicas that would all be asked on one port.
    #[error("the replicas of `{service}` would all be asked on port {port}")]
    SharedCheck {
        /// The service.
        service: ServiceName,
        /// The port that its check names.
        port: u16,
    },
    /// No port is left for a replica.
    #[error("there is no free port for `{service}` between {first} and {last}")]
    NoFreePort {
        /// The replica.
        service: ServiceName,
        /// The first port that was looked at.
        first: u16,
        /// The last one.
        last: u16,
    },
    /// Two selected services that listen on the same port.
    #[error("`{first}` and `{second}` both listen on port {port}")]
    PortTwice {
        /// The one.
        first: ServiceName,
        /// The other.
        second: ServiceName,
        /// The port.
        port: u16,
    },
}

fn behind(profiles: &[String]) -> String {
    let names = listed(profiles.iter().map(String::as_str));
    if profiles.len() == 1 { format!("the profile {names}") } else { format!("the profiles {names}") }
}

fn with_images(services: &[(ServiceName, String)]) -> String {
    services.iter().map(|(name, image)| format!("`{name}` ({image})")).collect::<Vec<_>>().join(", ")
}

fn choose(name: &str, known: &[&str]) -> Vec<String> {
    let mut hints = Vec::new();
    if let Some(right) = closest(name, known.iter().copied()) {
        hints.push(format!("did you mean `{right}`?"));
    }
    if !known.is_empty() {
        hints.push(choices(known.iter().copied()));
    }
    hints
}

impl Advice for ResolveError {
    fn blame(&self) -> Blame {
        match self {
            Self::UnknownService { .. }
            | Self::UnknownGroup { .. }
            | Self::UnknownProfile { .. }
            | Self::BehindProfile { .. }
            | Self::NoEmbedded { .. }
            | Self::NotEmbeddable { .. }
            | Self::NoPort { .. }
            | Self::SwarmFile { .. }
            | Self::VariableOfFile { .. }
            | Self::FileInReadOnly { .. }
            | Self::Replica { .. }
            | Self::Scale { .. }
            | Self::ScaledContainer { .. }
            | Self::Provider { .. }
            | Self::OneName { .. }
            | Self::OnePort { .. }
            | Self::SharedCheck { .. }
            | Self::NoFreePort { .. }
            | Self::PortTwice { .. } => Blame::Configuration,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::UnknownService { name, known } => {
                choose(name.as_str(), &known.iter().map(ServiceName::as_str).collect::<Vec<_>>())
            }
            Self::SwarmFile { kind, .. } => {
                let choice =
                    if *kind == "secret" { "`file` or `environment`" } else { "`file`, `environment` or `content`" };
                vec![format!("say what it holds: {choice}")]
            }
            Self::VariableOfFile { variable, .. } => {
                vec![format!("`export {variable}=…`, or set it in `.env`")]
            }
            Self::FileInReadOnly { kind, .. } => vec![format!("let a file hold it: `file` of the {kind}")],
            Self::UnknownGroup { name, known } | Self::UnknownProfile { name, known } => {
                choose(name, &known.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Self::BehindProfile { service, profiles, .. } => {
                let mut hints: Vec<String> =
                    profiles.iter().map(|profile| format!("activate it: `--profile {profile}`")).collect();
                hints.push(format!("or name the service too: `devctl up {service} …`"));
                hints
            }
            Self::NoEmbedded { services } => {
                let images = ["postgres", "pgvector/pgvector", "redis"];
                let mut hints = vec![
                    "run it on a Docker Engine: `--driver docker`".to_owned(),
                    "run it by other means and use `--skip-docker`".to_owned(),
                ];
                if let [(name, _)] = services.as_slice() {
                    hints.push(format!("leave `{name}` out: name the services you want, or give it `profiles: […]`"));
                } else {
                    hints.push("leave them out: name the services you want, or give them `profiles: […]`".to_owned());
                }
                hints.push(format!("the images that run without Docker are {}", listed(images)));
                hints
            }
            Self::NotEmbeddable { .. } => vec![
                "run it on a Docker Engine: `--driver docker`".to_owned(),
                "run it by other means and use `--skip-docker`".to_owned(),
            ],
            Self::NoPort { target, .. } => vec![
                format!("publish it in the Compose file: `ports: [\"127.0.0.1:{target}:{target}\"]`"),
                "run it on a Docker Engine: `--driver docker`".to_owned(),
            ],
            Self::Replica { name } => {
                vec![format!("name the service, all of whose replicas run: `{}`", name.base())]
            }
            Self::Scale { service, scale: 0 } => vec![format!("stop it: `devctl stop {service}`")],
            Self::Scale { .. } => vec![format!("choose a number from 1 to {MAX_SCALE}")],
            Self::ScaledContainer { .. } => vec!["run it on a Docker Engine: `--driver docker`".to_owned()],
            Self::Provider { service, .. } => vec![
                format!("bring up the others: name them, or give `{service}` `profiles: […]`"),
                "run it by `docker compose`".to_owned(),
            ],
            Self::OneName { service, .. } => {
                vec![format!(
                    "take `container_name` of `{service}` out of the Compose file, and its containers are numbered"
                )]
            }
            Self::OnePort { port, scale, .. } => vec![
                format!(
                    "publish a range of ports, one for each: `\"{port}-{}:…\"`",
                    u32::from(*port).saturating_add(*scale).saturating_sub(1)
                ),
                "or leave it to the engine, and `devctl port` says which it took: publish only the container's port"
                    .to_owned(),
            ],
            Self::SharedCheck { .. } => {
                vec!["let its checks ask its own port: `tcp = true`, `http`, or an `exec` with `${PORT}`".to_owned()]
            }
            Self::NoFreePort { service, .. } => vec![
                format!("name other ports for `{0}` in devctl.toml: `port_range = \"8100-8199\"`", service.base()),
                format!("or run fewer of `{}`", service.base()),
            ],
            Self::PortTwice { second, .. } => {
                vec![format!("give `{second}` another port, or start only one of the two")]
            }
        }
    }
}
