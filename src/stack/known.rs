//! Servers that devctl knows by their image: `PostgreSQL` and Redis. From what a Compose file says of such a container
//! it knows credentials and port, hence how to ask it for readiness, its address, and how to run it without Docker.

use std::net::IpAddr;

use url::Url;

use super::ResolveError;
use crate::driver::embedded::Server;
use crate::manifest::compose::{Container, MountKind, Port};
use crate::probe::{self, Protocol};

/// A server that devctl knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// `PostgreSQL`.
    Postgres { user: String, password: String, database: String },
    /// Redis, or what speaks its protocol.
    Redis { password: Option<String>, port: u16 },
}

/// Where a port of a container is reached from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

impl Endpoint {
    /// The host to connect to: a listener on every address is reached on loopback.
    pub(super) fn host(self) -> String {
        match self.ip {
            ip if !ip.is_unspecified() => ip.to_string(),
            IpAddr::V4(_) => "127.0.0.1".to_owned(),
            IpAddr::V6(_) => "::1".to_owned(),
        }
    }

    /// The host as people write it.
    pub(super) fn shown_host(self) -> String {
        match self.ip {
            ip if ip.is_unspecified() || ip.is_loopback() => "localhost".to_owned(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        }
    }
}

/// The address of this machine at which a published port is bound.
pub(super) fn endpoint(port: &Port) -> Option<Endpoint> {
    let ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok()).unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let port = port.fixed().filter(|_| port.protocol == "tcp")?;
    Some(Endpoint { ip, port })
}

/// The image's name without registry, `library/`, tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let name = match name.split_once('/') {
        Some((registry, rest)) if registry.contains(['.', ':']) || registry == "localhost" => rest,
        Some(_) | None => name,
    };
    let name = name.strip_prefix("library/").unwrap_or(name);
    name.split(':').next().unwrap_or(name)
}

/// The question for a server that devctl knows by its image and needs no credentials for, where it is published.
pub(super) fn question(container: &Container) -> Option<probe::Spec> {
    let (protocol, target) = match repository(&container.image) {
        "mysql" | "mysql/mysql-server" | "mariadb" | "percona" => (Protocol::Mysql, 3306),
        "mongo" | "mongodb/mongodb-community-server" => (Protocol::Mongo, 27017),
        "rabbitmq" => (Protocol::Amqp, 5672),
        "nats" => (Protocol::Nats, 4222),
        "nginx" | "httpd" | "caddy" | "nginxinc/nginx-unprivileged" => {
            let target = if container.image.contains("unprivileged") { 8080 } else { 80 };
            (Protocol::Web, target)
        }
        _ => return None,
    };
    let at = container.ports.iter().filter(|port| port.target == target).find_map(endpoint)?;
    Some(probe::Spec::Server { protocol, host: at.host(), port: at.port })
}

impl Known {
    /// Recognises the server of a container.
    pub(super) fn of(container: &Container) -> Option<Self> {
        let get = |name: &str| container.environment.get(name).cloned().flatten();
        match repository(&container.image) {
            "postgres" | "pgvector/pgvector" | "postgis/postgis" | "timescale/timescaledb" => {
                // Credentials in a file of the container are out of our sight.
                let in_files = ["POSTGRES_USER_FILE", "POSTGRES_PASSWORD_FILE", "POSTGRES_DB_FILE"];
                if in_files.iter().any(|name| get(name).is_some()) {
                    return None;
                }
                let user =
                    get("POSTGRES_USER").filter(|user| !user.is_empty()).unwrap_or_else(|| "postgres".to_owned());
                let database = get("POSTGRES_DB").filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
                Some(Self::Postgres { user, password: get("POSTGRES_PASSWORD").unwrap_or_default(), database })
            }
            "redis" | "valkey/valkey" | "redis/redis-stack-server" => {
                let args = container.command.as_deref().unwrap_or_default();
                let after =
                    |option: &str| args.windows(2).rev().find(|pair| pair[0] == option).map(|pair| pair[1].clone());
                let port = after("--port").and_then(|port| port.parse().ok()).unwrap_or(6379);
                Some(Self::Redis { password: after("--requirepass").filter(|text| !text.is_empty()), port })
            }
            _ => None,
        }
    }

    /// The port in the container.
    pub(super) fn target(&self) -> u16 {
        match self {
            Self::Postgres { .. } => 5432,
            Self::Redis { port, .. } => *port,
        }
    }

    /// Where the server of this container is reached, if it is.
    pub(super) fn endpoint(&self, container: &Container) -> Option<Endpoint> {
        container.ports.iter().filter(|port| port.target == self.target()).find_map(endpoint)
    }

    /// How it is asked whether it is ready.
    pub(super) fn probe(&self, at: Endpoint) -> probe::Spec {
        match self.clone() {
            Self::Postgres { user, password, database } => {
                probe::Spec::Postgres { host: at.host(), port: at.port, user, password, database }
            }
            Self::Redis { password, .. } => probe::Spec::Redis { host: at.host(), port: at.port, password },
        }
    }

    /// Its connection string.
    pub(super) fn url(&self, at: Endpoint) -> String {
        let host = at.shown_host();
        match self {
            Self::Postgres { user, password, database } => {
                with_credentials(&format!("postgresql://{host}:{}", at.port), user, password, database)
            }
            Self::Redis { password, .. } => with_credentials(
                &format!("redis://{host}:{}", at.port),
                "",
                password.as_deref().unwrap_or_default(),
                "",
            ),
        }
    }

    /// The variable by which programs look for it.
    pub(super) fn variable(&self) -> &'static str {
        match self {
            Self::Postgres { .. } => "DATABASE_URL",
            Self::Redis { .. } => "REDIS_URL",
        }
    }
}

fn with_credentials(base: &str, user: &str, password: &str, path: &str) -> String {
    let Ok(mut url) = Url::parse(base) else { return base.to_owned() };
    // Both setters fail only for URLs without a host, and `base` has one.
    let _ = url.set_username(user);
    if !password.is_empty() {
        let _ = url.set_password(Some(password));
    }
    if !path.is_empty() {
        url.set_path(path);
    }
    url.into()
}

/// The embedded server that can stand for a container. `None` where there is none for its image.
pub(super) fn server(container: &Container) -> Option<Result<Server, ResolveError>> {
    if !matches!(repository(&container.image), "postgres" | "pgvector/pgvector" | "redis") {
        return None;
    }
    let fail = |what: String| Some(Err(ResolveError::NotEmbeddable { service: container.name.clone(), what }));
    let Some(known) = Known::of(container) else {
        return fail("its credentials are in a file of the container".to_owned());
    };
    if let Some(mount) = container.mounts.iter().find(|mount| mount.kind == MountKind::Bind) {
        return fail(format!("it mounts a folder of the host at `{}`", mount.target));
    }
    if container.entrypoint.is_some() {
        return fail("it has an `entrypoint` of its own".to_owned());
    }
    let command = container.command.as_deref().unwrap_or_default();
    Some(match known {
        Known::Postgres { user, password, database } => match postgres_settings(command) {
            Ok(settings) => Ok(Server::Postgres { user, password, database, settings }),
            Err(word) => return fail(format!("the argument `{word}` of its command")),
        },
        Known::Redis { .. } => match redis_args(command) {
            Ok(args) => Ok(Server::Redis { args }),
            Err(word) => return fail(format!("the argument `{word}` of its command")),
        },
    })
}

/// The settings of `postgres -c name=value …`.
fn postgres_settings(command: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut settings = Vec::new();
    let mut words = command.iter();
    if command.first().is_some_and(|word| word == "postgres") {
        words.next();
    }
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next().filter(|_| word == "-c").ok_or_else(|| word.clone())?,
            Some(setting) => setting,
            None => return Err(word.clone()),
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| word.clone())?;
        // `--log-statement` and `log_statement` are the same setting.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

/// The arguments of `redis-server …`, without those that devctl decides itself.
fn redis_args(command: &[String]) -> Result<Vec<String>, String> {
    let rest = match command.first().map(String::as_str) {
        Some("redis-server") => &command[1..],
        Some(word) if !word.starts_with("--") => return Err(word.to_owned()),
        Some(_) | None => command,
    };
    if let Some(file) = rest.first().filter(|word| !word.starts_with("--")) {
        // A configuration file lies in the image or in a mount, where an embedded server does not see it.
        return Err(file.clone());
    }
    let mut args = Vec::new();
    let mut ours = false;
    for word in rest {
        if word.starts_with("--") {
            ours = matches!(word.as_str(), "--port" | "--bind" | "--dir" | "--daemonize" | "--protected-mode");
        }
        if !ours {
            args.push(word.clone());
        }
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn images_are_known_whatever_stands_before_and_behind_their_name() {
        for (image, expected) in [
            ("postgres", "postgres"),
            ("postgres:16-alpine", "postgres"),
            ("library/redis@sha256:00", "redis"),
            ("registry.example/library/postgres:16", "postgres"),
            ("localhost:5000/pgvector/pgvector:pg16", "pgvector/pgvector"),
            ("localhost/redis:7", "redis"),
            ("someone/redis", "someone/redis"),
        ] {
            assert_eq!(repository(image), expected, "{image}");
        }
    }

    #[test]
    fn settings_of_postgres() {
        let settings = postgres_settings(&words("postgres -c shared_buffers=1MB -cfsync=off --log-statement=all"));
        let expected = [("shared_buffers", "1MB"), ("fsync", "off"), ("log_statement", "all")];
        assert_eq!(settings, Ok(expected.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec()));
        for bad in ["sh -c x", "postgres -p 5433", "postgres -c", "postgres -c fsync"] {
            assert!(postgres_settings(&words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn arguments_of_redis() {
        let args = redis_args(&words("redis-server --appendonly yes --port 6390 --save 60 1 --bind 0.0.0.0 ::"));
        assert_eq!(args, Ok(words("--appendonly yes --save 60 1")));
        assert_eq!(redis_args(&[]), Ok(vec![]));
        assert_eq!(redis_args(&words("--maxmemory 1mb")), Ok(words("--maxmemory 1mb")));
        for bad in ["redis-server /etc/redis.conf", "sh -c x"] {
            assert!(redis_args(&words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn connection_strings_escape_what_must_be_escaped() {
        let at = Endpoint { ip: [127, 0, 0, 1].into(), port: 5432 };
        let known = |password: &str| Known::Postgres {
            user: "postgres".to_owned(),
            password: password.to_owned(),
            database: "menu_ops".to_owned(),
        };
        assert_eq!(known("postgres").url(at), "postgresql://postgres:postgres@localhost:5432/menu_ops");
        assert_eq!(known("p@ss/w:d").url(at), "postgresql://postgres:p%40ss%2Fw%3Ad@localhost:5432/menu_ops");
        let redis = |password: Option<&str>| Known::Redis { password: password.map(str::to_owned), port: 6379 };
        assert_eq!(redis(None).url(at), "redis://localhost:5432");
        assert_eq!(redis(Some("x")).url(at), "redis://:x@localhost:5432");
    }
}
