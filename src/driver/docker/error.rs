//! What the engine could not do, or why it could not be asked, in words that tell the cases apart.
//!
//! The engine says most things in prose with an HTTP status; this file is the only one that reads that prose. It knows
//! nothing of connections: those are diagnosed in `connect.rs`.

use std::error::Error as StdError;

use bollard::errors::Error as Call;

use super::connect;
use crate::advice::{Advice, Blame};

/// What the engine could not do, or why it could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A container was asked for in a run without an engine.
    #[error("this run has no Docker Engine")]
    NotConnected,

    /// There is neither an engine's socket nor a `docker` or `dockerd` program.
    #[error("no Docker Engine is installed: there is no `{socket}`, and neither `docker` nor `dockerd` in PATH")]
    NotInstalled {
        /// The socket that was looked for.
        socket: String,
        /// The socket of an engine that is not the default one, where there is one.
        elsewhere: Option<String>,
    },

    /// Docker is installed, and nothing listens on its socket.
    #[error("the Docker Engine is installed but not running: `{socket}`: {reason}")]
    NotRunning {
        /// The socket that was tried.
        socket: String,
        /// What happened when it was tried.
        reason: String,
        /// The socket of an engine that is not the default one, where there is one.
        elsewhere: Option<String>,
    },

    /// The socket is there and this user may not use it.
    #[error("permission denied on the Docker Engine's socket `{socket}`")]
    PermissionDenied {
        /// The socket.
        socket: String,
    },

    /// `DOCKER_HOST` or a context points to where no engine listens.
    #[error("{origin} points to `{host}`, where no Docker Engine answers: {reason}")]
    HostUnreachable {
        /// Who named the host: `DOCKER_HOST` or a context.
        origin: String,
        /// The host as it was named.
        host: String,
        /// What happened when it was tried.
        reason: String,
    },

    /// `DOCKER_HOST` or a context says something that cannot be used.
    #[error("{origin} names `{host}`, which devctl cannot use: {reason}")]
    BadHost {
        /// Who named the host.
        origin: String,
        /// The host as it was named.
        host: String,
        /// What is wrong with it.
        reason: String,
        /// What to do instead.
        hint: String,
    },

    /// The Docker context that is asked for does not exist or cannot be read.
    #[error("the Docker context `{name}`, named by {origin}, cannot be used: {reason}")]
    BadContext {
        /// The context's name.
        name: String,
        /// Who named it: `DOCKER_CONTEXT` or `config.json`.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },

    /// Docker's own configuration file cannot be read.
    #[error("Docker's configuration `{path}` cannot be read: {reason}")]
    BadConfig {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The engine is older than the first that devctl supports.
    #[error(
        "the Docker Engine {version} at `{host}` speaks API {api}, and devctl needs API 1.41 (Engine 20.10) or newer"
    )]
    TooOld {
        /// Where it listens.
        host: String,
        /// The engine's version.
        version: String,
        /// The engine's API version.
        api: String,
    },

    /// Something listens, and it is not an engine.
    #[error("what listens on `{host}` is not a Docker Engine: {reason}")]
    NotAnEngine {
        /// Where it listens.
        host: String,
        /// What it answered.
        reason: String,
    },

    /// Something listens and does not answer.
    #[error("the Docker Engine at `{host}` does not answer: nothing came back within {seconds} s")]
    NoAnswer {
        /// Where it listens.
        host: String,
        /// How long devctl waited.
        seconds: u64,
    },

    /// The engine went away in the middle of the run.
    #[error("the Docker Engine went away while devctl wanted to {doing}: {reason}")]
    Gone {
        /// What devctl wanted to do.
        doing: String,
        /// What happened on the connection.
        reason: String,
    },

    /// The engine took longer to answer than the call may take.
    #[error("the Docker Engine did not answer in time when devctl wanted to {doing}")]
    TimedOut {
        /// What devctl wanted to do.
        doing: String,
    },

    /// The engine refused, for a reason that devctl does not know better than the engine.
    #[error("the Docker Engine could not {doing}: {message}")]
    Refused {
        /// What devctl wanted to do.
        doing: String,
        /// The engine's words.
        message: String,
    },

    /// The engine's answer could not be understood.
    #[error("the Docker Engine's answer to `{doing}` could not be understood")]
    BadAnswer {
        /// What devctl wanted to do.
        doing: String,
        /// What was wrong with the answer.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },

    /// The image is not on the engine and may not be pulled, or went away before its container was created.
    #[error("the image `{image}` is not on the Docker Engine{}", if *.may_pull { "" } else { ", and its pull policy is `never`" })]
    ImageMissing {
        /// The image's reference.
        image: String,
        /// Whether the policy lets it be pulled.
        may_pull: bool,
    },

    /// No registry has the image.
    #[error("the image `{image}` is not on the Docker Engine and no registry has it: {message}")]
    ImageNotFound {
        /// The image's reference.
        image: String,
        /// The engine's words.
        message: String,
    },

    /// The registry cannot be reached.
    #[error("the image `{image}` is not on the Docker Engine and its registry cannot be reached: {message}")]
    RegistryUnreachable {
        /// The image's reference.
        image: String,
        /// The engine's words.
        message: String,
    },

    /// The registry wants credentials.
    #[error("the registry refuses to give the image `{image}` without credentials: {message}")]
    Unauthorized {
        /// The image's reference.
        image: String,
        /// The engine's words.
        message: String,
    },

    /// The pull failed for another reason: a full disk, a rate limit, no build for the platform.
    #[error("the image `{image}` could not be pulled: {message}")]
    PullFailed {
        /// The image's reference.
        image: String,
        /// The engine's words.
        message: String,
    },

    /// The build of an image failed.
    #[error(
        "the image `{image}` could not be built{}: {message}",
        .step.as_ref().map_or_else(String::new, |step| format!(" at the step `{step}`"))
    )]
    BuildFailed {
        /// The image's reference.
        image: String,
        /// The step that failed, as the Dockerfile has it.
        step: Option<String>,
        /// The builder's words.
        message: String,
        /// The last lines of what the build printed.
        output: Vec<String>,
    },

    /// What the build works on is not there or cannot be read.
    #[error("the image cannot be built: {problem}")]
    BadBuildContext {
        /// What is wrong.
        problem: String,
    },

    /// The build asks for something that neither of the engine's builders can do by itself.
    #[error("`{what}` needs the BuildKit of `docker buildx`, which is not installed")]
    NeedsBuildx {
        /// The key.
        what: &'static str,
    },

    /// A hook of a service failed.
    #[error("the {kind} hook of `{container}` ended with exit code {code}: `{command}`")]
    HookFailed {
        /// `post_start` or `pre_stop`.
        kind: &'static str,
        /// The container.
        container: String,
        /// The command.
        command: String,
        /// Its exit code.
        code: i32,
    },

    /// A container is to share something of another that is not there.
    #[error("`{container}` cannot share {what} with the service `{service}`: it has no container")]
    NothingToShare {
        /// The container.
        container: String,
        /// What: `the network`, `volumes`.
        what: &'static str,
        /// The service.
        service: String,
    },

    /// The engine is too old for something that the file asks for.
    #[error("`{container}`: {what} needs Docker Engine {engine} (API {api}) or newer")]
    EngineTooOld {
        /// The container.
        container: String,
        /// What is asked for, by its key.
        what: &'static str,
        /// The first engine that has it.
        engine: &'static str,
        /// The first API that has it.
        api: &'static str,
    },

    /// An external network or volume is not there.
    #[error("the external {kind} `{name}` does not exist")]
    ExternalMissing {
        /// `network` or `volume`.
        kind: &'static str,
        /// Its name.
        name: String,
    },

    /// A network of that name is somebody else's.
    #[error("the network `{name}` exists and belongs to {owner}")]
    ForeignNetwork {
        /// The network's name.
        name: String,
        /// Whose it is: a project, or nobody known.
        owner: String,
    },

    /// The network cannot be removed: containers are attached to it.
    #[error("the network `{name}` is still used by {}", .users.join(", "))]
    NetworkInUse {
        /// The network's name.
        name: String,
        /// The containers.
        users: Vec<String>,
    },

    /// The volume cannot be removed: containers mount it.
    #[error("the volume `{name}` is still used by {}", .users.join(", "))]
    VolumeInUse {
        /// The volume's name.
        name: String,
        /// The containers.
        users: Vec<String>,
    },

    /// A container of that name is somebody else's.
    #[error("the container name `{name}` is taken by a container of {owner}")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose the container is: a project, or nobody known.
        owner: String,
    },

    /// A port that the container publishes is taken.
    #[error(
        "the container `{container}` cannot start: port {} is taken{}",
        .port.map_or_else(|| "that it publishes".to_owned(), |port| port.to_string()),
        .owner.as_ref().map_or_else(String::new, |owner| format!(" by {owner}"))
    )]
    PortTaken {
        /// The container that wanted it.
        container: String,
        /// The port, where the engine named it.
        port: Option<u16>,
        /// The container that has it, where it is one.
        owner: Option<String>,
        /// The engine's words.
        message: String,
    },

    /// The engine does not accept the container's configuration.
    #[error("the Docker Engine does not accept the configuration of `{container}`: {message}")]
    BadContainer {
        /// The container.
        container: String,
        /// The engine's words.
        message: String,
    },

    /// The container could not be started.
    #[error("the container `{container}` could not be started: {message}")]
    StartFailed {
        /// The container.
        container: String,
        /// The engine's words.
        message: String,
    },

    /// There is no such container.
    #[error("there is no container `{container}`")]
    NoSuchContainer {
        /// The name or id that was asked for.
        container: String,
    },

    /// The container is there and does not run.
    #[error("the container `{container}` is not running")]
    NotUp {
        /// The container.
        container: String,
    },

    /// The terminal of devctl could not be used for a shell.
    #[error("the terminal could not be used")]
    Terminal {
        /// What happened.
        #[source]
        source: std::io::Error,
    },
}

/// The way out when there is no engine to be had.
const EMBEDDED: &str = "run PostgreSQL and Redis without Docker: `devctl up --driver embedded`";

impl Advice for Error {
    fn blame(&self) -> Blame {
        match self {
            Self::NotInstalled { .. }
            | Self::NotRunning { .. }
            | Self::PermissionDenied { .. }
            | Self::HostUnreachable { .. }
            | Self::BadHost { .. }
            | Self::BadContext { .. }
            | Self::BadConfig { .. }
            | Self::TooOld { .. }
            | Self::NotAnEngine { .. }
            | Self::NoAnswer { .. }
            | Self::Gone { .. }
            | Self::TimedOut { .. }
            | Self::Refused { .. }
            | Self::ImageMissing { .. }
            | Self::ImageNotFound { .. }
            | Self::RegistryUnreachable { .. }
            | Self::Unauthorized { .. }
            | Self::PullFailed { .. }
            | Self::ExternalMissing { .. }
            | Self::ForeignNetwork { .. }
            | Self::NetworkInUse { .. }
            | Self::VolumeInUse { .. }
            | Self::NameTaken { .. }
            | Self::PortTaken { .. }
            | Self::NeedsBuildx { .. }
            | Self::EngineTooOld { .. }
            | Self::Terminal { .. } => Blame::Environment,
            Self::BadContainer { .. } | Self::BadBuildContext { .. } => Blame::Configuration,
            Self::StartFailed { .. }
            | Self::BuildFailed { .. }
            | Self::HookFailed { .. }
            | Self::NothingToShare { .. }
            | Self::NoSuchContainer { .. }
            | Self::NotUp { .. } => Blame::Service,
            Self::NotConnected | Self::BadAnswer { .. } => Blame::Bug,
        }
    }

    fn hints(&self) -> Vec<String> {
        let embedded = || EMBEDDED.to_owned();
        let elsewhere = |socket: &Option<String>| {
            socket.as_ref().map(|s| format!("an engine's socket is at `{s}`: `export DOCKER_HOST=unix://{s}`"))
        };
        match self {
            // What a build or a hook printed is shown beside it.
            Self::NotConnected
            | Self::BadAnswer { .. }
            | Self::Refused { .. }
            | Self::Terminal { .. }
            | Self::BuildFailed { .. }
            | Self::HookFailed { .. } => Vec::new(),
            Self::NotInstalled { elsewhere: other, .. } => elsewhere(other)
                .into_iter()
                .chain([embedded(), "or install Docker Engine 20.10 or newer".to_owned()])
                .collect(),
            Self::NotRunning { elsewhere: other, .. } => {
                elsewhere(other).into_iter().chain([start_engine().to_owned(), embedded()]).collect()
            }
            Self::PermissionDenied { .. } => vec![
                "let your user use it: `sudo usermod -aG docker $USER`, then log in again".to_owned(),
                "or run devctl with `sudo`".to_owned(),
                embedded(),
            ],
            Self::HostUnreachable { origin, .. } if origin == "DOCKER_HOST" => {
                vec!["`unset DOCKER_HOST` to use the default engine, or correct it".to_owned(), embedded()]
            }
            Self::HostUnreachable { .. } => vec![
                start_engine().to_owned(),
                "or use the default engine: `docker context use default`".to_owned(),
                embedded(),
            ],
            Self::BadHost { hint, .. } => vec![hint.clone(), embedded()],
            Self::BadContext { .. } => {
                vec!["`docker context ls` lists the contexts there are".to_owned(), embedded()]
            }
            Self::BadConfig { path, .. } => vec![format!("correct `{path}`"), embedded()],
            Self::TooOld { .. } => vec!["upgrade Docker Engine to 20.10 or newer".to_owned(), embedded()],
            Self::NotAnEngine { .. } => {
                vec!["check `DOCKER_HOST` and `docker context show`".to_owned(), embedded()]
            }
            Self::NoAnswer { .. } | Self::TimedOut { .. } | Self::Gone { .. } => when_gone(),
            Self::ImageMissing { image, may_pull } => {
                if *may_pull {
                    vec![format!("`docker pull {image}`")]
                } else {
                    vec![format!("`docker pull {image}`, or allow devctl to: `pull_policy: missing`")]
                }
            }
            Self::ImageNotFound { image, .. } => vec![
                format!("check the name and the tag of `{image}`"),
                "if the image is private: `docker login`, then `docker pull` it; devctl does not pass credentials on yet"
                    .to_owned(),
            ],
            Self::RegistryUnreachable { image, .. } => vec![
                "check the network and the engine's proxy settings".to_owned(),
                format!("or bring the image by file: `docker load`, or `docker import`, then tag it `{image}`"),
                embedded(),
            ],
            Self::Unauthorized { image, .. } => vec![format!(
                "`docker login`, then `docker pull {image}`; devctl does not pass credentials on yet, but uses what is pulled"
            )],
            Self::PullFailed { image, .. } => vec![format!("`docker pull {image}` shows the same in full")],
            Self::BadBuildContext { .. } => {
                vec!["check `context` and `dockerfile` under `build:`".to_owned()]
            }
            Self::NeedsBuildx { what } => {
                vec!["install Docker's buildx plugin".to_owned(), format!("or do without `{what}`")]
            }
            Self::EngineTooOld { what, .. } => vec![format!("upgrade the engine, or do without {what}")],
            Self::NothingToShare { service, .. } => vec![format!("start it first: `devctl up {service}`")],
            Self::ExternalMissing { kind, name } => {
                vec![format!("`docker {kind} create {name}`, or drop `external: true`")]
            }
            Self::ForeignNetwork { name, .. } => vec![
                format!("use it as it is: `external: true` and `name: {name}` under `networks:`"),
                format!("or remove it: `docker network rm {name}`"),
            ],
            Self::NetworkInUse { users, .. } | Self::VolumeInUse { users, .. } => {
                vec![format!("`docker rm -f {}`", users.join(" "))]
            }
            Self::NameTaken { name, .. } => vec![
                format!("`docker rm -f {name}` removes it"),
                "or give this project another name: `name` under `[project]` in devctl.toml".to_owned(),
            ],
            Self::PortTaken { port, owner, .. } => match (port, owner) {
                (_, Some(_)) => vec!["stop that container, or publish another port".to_owned()],
                (Some(port), None) => vec![
                    if cfg!(windows) {
                        format!("see who has it: `netstat -ano -p TCP | findstr :{port}`")
                    } else {
                        format!("see who has it: `lsof -nP -iTCP:{port} -sTCP:LISTEN`")
                    },
                    "or publish another port".to_owned(),
                ],
                (None, None) => vec!["publish another port".to_owned()],
            },
            Self::BadContainer { .. } => vec!["`devctl config` shows what was sent".to_owned()],
            Self::StartFailed { container, .. } => vec![format!("`docker inspect {container}` shows what was asked for")],
            Self::NoSuchContainer { .. } | Self::NotUp { .. } => vec!["start it: `devctl up`".to_owned()],
        }
    }
}

/// What to do about an engine that went away.
pub fn when_gone() -> Vec<String> {
    vec![restart_engine().to_owned(), EMBEDDED.to_owned()]
}

fn start_engine() -> &'static str {
    if cfg!(target_os = "macos") {
        "start it: `open -a Docker`"
    } else if cfg!(windows) {
        "start Docker Desktop"
    } else {
        "start it: `sudo systemctl start docker`"
    }
}

fn restart_engine() -> &'static str {
    if cfg!(target_os = "linux") {
        "see what it does: `sudo systemctl status docker`; start it again: `sudo systemctl restart docker`"
    } else {
        "restart Docker Desktop"
    }
}

impl Error {
    /// What to do so that an engine answers, for whoever needs that engine and no other way out.
    pub fn how_to_reach(&self) -> Vec<String> {
        self.hints().into_iter().filter(|hint| hint != EMBEDDED).collect()
    }

    /// Words a failed call of which nothing special is known.
    pub(super) fn from_call(doing: impl Into<String>, error: Call) -> Self {
        let doing = doing.into();
        match error {
            Call::DockerResponseServerError { message, .. } | Call::DockerStreamError { error: message } => {
                Self::Refused { doing, message: message.trim().to_owned() }
            }
            Call::RequestTimeoutError => Self::TimedOut { doing },
            other if is_connection(&other) => Self::Gone { reason: connect::reason(&other), doing },
            other => Self::BadAnswer { doing, source: Box::new(other) },
        }
    }
}

/// Whether a call failed on its way, so that nothing is known of the engine's opinion.
pub(super) fn is_connection(error: &Call) -> bool {
    matches!(
        error,
        Call::IOError { .. }
            | Call::HyperLegacyError { .. }
            | Call::HyperResponseError { .. }
            | Call::SocketNotFoundError(_)
            | Call::RequestTimeoutError
    )
}

/// The status of an answer that was a refusal.
pub(super) fn status(error: &Call) -> Option<u16> {
    match error {
        Call::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Whether the thing asked for is not there.
pub(super) fn is_absent(error: &Call) -> bool {
    status(error) == Some(404)
}

/// Tells apart why a pull failed. The engine passes on what the registry or the network said, in prose.
pub(super) fn pull(image: &str, error: Call) -> Error {
    let message = match error {
        Call::DockerResponseServerError { message, .. } | Call::DockerStreamError { error: message } => {
            message.trim().to_owned()
        }
        other => return Error::from_call(format!("pull the image `{image}`"), other),
    };
    let image = image.to_owned();
    let text = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&[
        "dial tcp",
        "no such host",
        "connection refused",
        "network is unreachable",
        "no route to host",
        "i/o timeout",
        "tls handshake timeout",
        "deadline exceeded",
        "client.timeout exceeded",
        "request canceled",
        "proxyconnect",
        ": eof",
    ]) {
        Error::RegistryUnreachable { image, message }
    } else if says(&["pull access denied", "manifest unknown", "not found", "name unknown", "does not exist"]) {
        // A registry answers the same to "no such image" and to "not for you", so this is tested first.
        Error::ImageNotFound { image, message }
    } else if says(&["unauthorized", "authentication required", "no basic auth", "denied", "403 forbidden"]) {
        Error::Unauthorized { image, message }
    } else {
        Error::PullFailed { image, message }
    }
}

/// Whether the engine could not start a container because a port is taken.
pub(super) fn is_port_taken(message: &str) -> bool {
    let text = message.to_lowercase();
    text.contains("address already in use")
        || text.contains("port is already allocated")
        || text.contains("ports are not available")
        || text.contains("only one usage of each socket address")
}

/// Which of the published ports the engine means: the one that stands after a `:` and before no digit.
pub(super) fn port_in(message: &str, published: &[u16]) -> Option<u16> {
    let named = |port: &u16| {
        let needle = format!(":{port}");
        message
            .match_indices(&needle)
            .any(|(at, found)| !message[at + found.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    published.iter().copied().find(named).or(match published {
        [only] => Some(*only),
        _ => None,
    })
}

/// Names the project of a container or network by its labels.
pub(super) fn owner(labels: Option<&std::collections::HashMap<String, String>>) -> String {
    match labels.and_then(|labels| labels.get(super::observe::PROJECT)) {
        Some(project) => format!("the project `{project}`"),
        None => "no project".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status_code: u16, message: &str) -> Call {
        Call::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn failed_pulls_are_told_apart() {
        let kind = |message: &str| match pull("app:1", refusal(500, message)) {
            Error::RegistryUnreachable { .. } => "unreachable",
            Error::ImageNotFound { .. } => "not found",
            Error::Unauthorized { .. } => "unauthorized",
            Error::PullFailed { .. } => "failed",
            other => panic!("{other}"),
        };
        for (message, expected) in [
            (r#"Get "https://registry.test/v2/": dial tcp: lookup registry.test: no such host"#, "unreachable"),
            (r#"Get "https://registry.test/v2/": dial tcp 10.0.0.1:443: i/o timeout"#, "unreachable"),
            (r#"Get "https://registry.test/v2/": net/http: TLS handshake timeout"#, "unreachable"),
            (r#"Get "https://registry.test/v2/": proxyconnect tcp: EOF"#, "unreachable"),
            (r#"Get "https://registry.test/v2/": EOF"#, "unreachable"),
            ("manifest for app:1 not found: manifest unknown: manifest unknown", "not found"),
            (
                "pull access denied for app, repository does not exist or may require 'docker login': denied: requested \
                 access to the resource is denied",
                "not found",
            ),
            (r#"Get "https://registry.test/v2/app": unauthorized: authentication required"#, "unauthorized"),
            (r#"Head "https://registry.test/v2/app/manifests/1": no basic auth credentials"#, "unauthorized"),
            ("toomanyrequests: You have reached your pull rate limit", "failed"),
            ("no matching manifest for linux/arm64/v8 in the manifest list entries", "failed"),
            ("write /var/lib/docker/tmp/x: no space left on device", "failed"),
        ] {
            assert_eq!(kind(message), expected, "{message}");
        }
    }

    #[test]
    fn the_taken_port_is_found_in_the_engines_prose() {
        // As Engine 20.10, Engine 28 and Docker Desktop word it.
        for message in [
            "driver failed programming external connectivity on endpoint a-db-1 (6f6543c2): Error starting userland \
             proxy: listen tcp4 127.0.0.1:5432: bind: address already in use",
            "driver failed programming external connectivity on endpoint a-db-1 (6f6543c2): Bind for 0.0.0.0:5432 \
             failed: port is already allocated",
            "failed to set up container networking: driver failed programming external connectivity on endpoint a \
             (6f): failed to bind host port for 127.0.0.1:5432:172.18.0.2:6379/tcp: address already in use",
            "Ports are not available: exposing port TCP 0.0.0.0:5432 -> 127.0.0.1:0: listen tcp 0.0.0.0:5432: bind: \
             address already in use",
        ] {
            assert!(is_port_taken(message), "{message}");
            assert_eq!(port_in(message, &[543, 54320, 5432]), Some(5432), "{message}");
        }
        assert!(!is_port_taken("OCI runtime create failed: exec: \"nope\": executable file not found in $PATH"));
        assert_eq!(port_in("port is already allocated", &[80]), Some(80));
        assert_eq!(port_in("port is already allocated", &[80, 81]), None);
    }

    #[test]
    fn every_way_without_an_engine_names_the_way_out() {
        let s = String::new;
        for error in [
            Error::NotInstalled { socket: s(), elsewhere: None },
            Error::NotRunning { socket: s(), reason: s(), elsewhere: None },
            Error::PermissionDenied { socket: s() },
            Error::HostUnreachable { origin: "DOCKER_HOST".into(), host: s(), reason: s() },
            Error::HostUnreachable { origin: "the Docker context `x`".into(), host: s(), reason: s() },
            Error::BadHost { origin: s(), host: s(), reason: s(), hint: s() },
            Error::BadContext { name: s(), origin: s(), reason: s() },
            Error::BadConfig { path: s(), reason: s() },
            Error::TooOld { host: s(), version: s(), api: s() },
            Error::NotAnEngine { host: s(), reason: s() },
            Error::NoAnswer { host: s(), seconds: 5 },
            Error::RegistryUnreachable { image: s(), message: s() },
        ] {
            assert!(error.hints().iter().any(|hint| hint.contains("--driver embedded")), "{error}");
            assert_eq!(error.blame(), Blame::Environment, "{error}");
        }
    }
}
