//! Finding the engine as the docker command line finds it, and telling apart why it cannot be had.
//!
//! The environment comes in as a map; files read are Docker's own (`config.json`, contexts). Nothing is changed.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::errors::Error as Call;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::Error;
use super::{Docker, Inner};
use crate::os::files;

/// How long an engine may take to say who it is. A healthy one takes a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The client timeout of ordinary calls; creating a container on a loaded machine may take many seconds.
pub(super) const CALL: Duration = Duration::from_mins(2);

/// The oldest API that devctl speaks: Engine 20.10.
const OLDEST: (u32, u32) = (1, 41);

#[cfg(unix)]
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
#[cfg(not(unix))]
const DEFAULT_HOST: &str = "npipe:////./pipe/docker_engine";

type Env = BTreeMap<String, String>;

/// Who named the engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Default,
    Variable,
    Context(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default socket"),
            Self::Variable => f.write_str("DOCKER_HOST"),
            Self::Context(name) => write!(f, "the Docker context `{name}`"),
        }
    }
}

/// Where an engine should listen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    origin: Origin,
    /// The address as it was written, for messages.
    host: String,
    address: Address,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    Pipe(String),
    Tcp { authority: String, tls: Option<Tls> },
}

/// Where an engine listens that devctl can make requests of its own to, without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

/// The files of a TLS client.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tls {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Tls {
    fn in_folder(folder: &Path) -> Self {
        Self { ca: folder.join("ca.pem"), cert: folder.join("cert.pem"), key: folder.join("key.pem") }
    }

    /// The first file that is not there. bollard reads key and certificate in the middle of the handshake, where a
    /// missing one becomes an error that names nothing.
    fn missing(&self) -> Option<&Path> {
        [&self.ca, &self.cert, &self.key].into_iter().find(|path| !files::is_file(path)).map(PathBuf::as_path)
    }
}

/// Connects and asks the engine who it is.
pub(super) async fn connect(env: &Env) -> Result<Docker, Error> {
    connect_to(&resolve(env, DEFAULT_HOST)?, env, PATIENCE).await
}

/// The same, and looks at it meanwhile: engines run other programs to say who they are, which takes longer than a look.
/// What is wrong with the engine as such is told before what is wrong with the look.
pub(super) async fn connect_and_look<T>(
    env: &Env,
    look: impl AsyncFnOnce(&bollard::Docker) -> Result<T, Error>,
) -> Result<(Docker, T), Error> {
    let endpoint = resolve(env, DEFAULT_HOST)?;
    let client = open(&endpoint, env)?;
    let (docker, seen) =
        futures_util::try_join!(identify(client.clone(), &endpoint, env, PATIENCE), async { Ok(look(&client).await) })?;
    Ok((docker, seen?))
}

async fn connect_to(endpoint: &Endpoint, env: &Env, patience: Duration) -> Result<Docker, Error> {
    identify(open(endpoint, env)?, endpoint, env, patience).await
}

async fn identify(
    client: bollard::Docker,
    endpoint: &Endpoint,
    env: &Env,
    patience: Duration,
) -> Result<Docker, Error> {
    let asked = tokio::time::timeout(patience, client.version()).await;
    let host = endpoint.host.clone();
    let version = match asked {
        Err(_) | Ok(Err(Call::RequestTimeoutError)) => {
            return Err(Error::NoAnswer { host, seconds: patience.as_secs() });
        }
        Ok(Err(error)) => return Err(diagnose(&error, endpoint, env)),
        Ok(Ok(version)) => version,
    };
    let name = version.version.unwrap_or_else(|| "of unknown version".to_owned());
    let Some(text) = version.api_version else {
        return Err(Error::NotAnEngine { host, reason: "it names no API version".to_owned() });
    };
    let Some(api) = parse_api(&text) else {
        return Err(Error::NotAnEngine { host, reason: format!("it names the API version `{text}`") });
    };
    if api < OLDEST {
        return Err(Error::TooOld { host, version: name, api: text });
    }
    let description = format!("Docker Engine {} (API {text})", name.split('+').next().unwrap_or(&name));
    let plain = match &endpoint.address {
        Address::Unix(path) => Some(Plain::Unix(path.clone())),
        Address::Tcp { authority, tls: None } => Some(Plain::Tcp(authority.clone())),
        Address::Tcp { tls: Some(_), .. } | Address::Pipe(_) => None,
    };
    Ok(Docker { inner: std::sync::Arc::new(Inner { client, api, description, host, plain }) })
}

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Makes the client. Only TLS files are looked at here; nothing is sent.
fn open(endpoint: &Endpoint, env: &Env) -> Result<bollard::Docker, Error> {
    let version = bollard::API_DEFAULT_VERSION;
    let timeout = CALL.as_secs();
    let made = match &endpoint.address {
        Address::Unix(path) => {
            // Looked at first, for its reason: the client says "not found" for a folder that may not be read as well.
            if let Err(error) = std::fs::metadata(path) {
                return Err(absent(endpoint, &error, env));
            }
            open_unix(&path.to_string_lossy(), timeout, version)
        }
        Address::Pipe(name) => open_pipe(name, timeout, version),
        Address::Tcp { authority, tls: None } => {
            bollard::Docker::connect_with_http(&format!("tcp://{authority}"), timeout, version)
        }
        Address::Tcp { authority, tls: Some(tls) } => {
            if let Some(path) = tls.missing() {
                return Err(bad_host(
                    &endpoint.origin,
                    &endpoint.host,
                    format!("its TLS file `{}` is not there", path.display()),
                    "put ca.pem, cert.pem and key.pem where DOCKER_CERT_PATH or the context says",
                ));
            }
            let address = format!("tcp://{authority}");
            bollard::Docker::connect_with_ssl(&address, &tls.key, &tls.cert, &tls.ca, timeout, version)
        }
    };
    made.map_err(|error| {
        bad_host(&endpoint.origin, &endpoint.host, error.to_string(), "check the address and its TLS files")
    })
}

#[cfg(unix)]
fn open_unix(path: &str, timeout: u64, version: &bollard::ClientVersion) -> Result<bollard::Docker, Call> {
    bollard::Docker::connect_with_unix(path, timeout, version)
}

#[cfg(not(unix))]
fn open_unix(path: &str, _: u64, _: &bollard::ClientVersion) -> Result<bollard::Docker, Call> {
    Err(Call::UnsupportedURISchemeError { uri: format!("unix://{path}") })
}

#[cfg(windows)]
fn open_pipe(name: &str, timeout: u64, version: &bollard::ClientVersion) -> Result<bollard::Docker, Call> {
    bollard::Docker::connect_with_named_pipe(name, timeout, version)
}

#[cfg(not(windows))]
fn open_pipe(name: &str, _: u64, _: &bollard::ClientVersion) -> Result<bollard::Docker, Call> {
    Err(Call::UnsupportedURISchemeError { uri: format!("npipe://{name}") })
}

/// Says why the first call failed.
fn diagnose(error: &Call, endpoint: &Endpoint, env: &Env) -> Error {
    if let Some(io) = io_error(error) {
        return absent(endpoint, io, env);
    }
    let reason = match error {
        Call::DockerResponseServerError { status_code, message } => {
            format!("it answers HTTP {status_code} {}", first_line(message))
        }
        Call::JsonDataError { .. } | Call::JsonSerdeError { .. } => "its answer is not an engine's".to_owned(),
        other => innermost(other),
    };
    Error::NotAnEngine { host: endpoint.host.clone(), reason }
}

/// Says why there is nothing to connect to.
fn absent(endpoint: &Endpoint, error: &io::Error, env: &Env) -> Error {
    let host = endpoint.host.clone();
    let reason = plain(error);
    match (&endpoint.address, &endpoint.origin, error.kind()) {
        (Address::Unix(path), _, io::ErrorKind::PermissionDenied) => {
            Error::PermissionDenied { socket: path.display().to_string() }
        }
        (Address::Unix(path), Origin::Default, _) => {
            let socket = path.display().to_string();
            let elsewhere = other_socket(env);
            if error.kind() == io::ErrorKind::NotFound && !is_installed(env) {
                Error::NotInstalled { socket, elsewhere }
            } else {
                Error::NotRunning { socket, reason, elsewhere }
            }
        }
        (Address::Pipe(name), Origin::Default, _) => {
            if is_installed(env) {
                Error::NotRunning { socket: name.clone(), reason, elsewhere: None }
            } else {
                Error::NotInstalled { socket: name.clone(), elsewhere: None }
            }
        }
        (Address::Unix(_) | Address::Pipe(_) | Address::Tcp { .. }, origin, _) => {
            Error::HostUnreachable { origin: origin.to_string(), host, reason }
        }
    }
}

/// Why a call failed on its way, in the fewest words: the client wraps the system's own in several of its kind.
pub(super) fn reason(error: &Call) -> String {
    io_error(error).map_or_else(|| innermost(error), plain)
}

/// The reason without the number that the standard library adds.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

/// The operating system's error in a chain of errors, where there is one that tells something.
fn io_error(error: &Call) -> Option<&io::Error> {
    if let Call::IOError { err } = error {
        return Some(err);
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.raw_os_error().is_some()
        {
            return Some(io);
        }
        cause = error.source();
    }
    None
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(120).collect()
}

/// Whether there is a Docker program in PATH, which tells "not installed" from "not running".
fn is_installed(env: &Env) -> bool {
    let Some(path) = env.get("PATH") else { return false };
    let names = if cfg!(windows) { ["docker.exe", "dockerd.exe"] } else { ["docker", "dockerd"] };
    std::env::split_paths(path).any(|folder| names.iter().any(|name| files::is_file(&folder.join(name))))
}

/// The socket of a rootless engine or of Docker Desktop, which the docker command line finds through contexts only.
fn other_socket(env: &Env) -> Option<String> {
    let runtime = env.get("XDG_RUNTIME_DIR").map(|dir| Path::new(dir).join("docker.sock"));
    let desktop = env.get("HOME").map(|home| Path::new(home).join(".docker/run/docker.sock"));
    [runtime, desktop].into_iter().flatten().find(|path| path.exists()).map(|path| path.display().to_string())
}

/// Decides which engine is meant: `DOCKER_HOST`, then `DOCKER_CONTEXT`, then the current context, then the default.
fn resolve(env: &Env, default: &str) -> Result<Endpoint, Error> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    if let Some(host) = set("DOCKER_HOST") {
        return address(Origin::Variable, host, client_tls(env)?);
    }
    let config = config_folder(env);
    let named = match (set("DOCKER_CONTEXT"), &config) {
        (Some(name), _) => Some((name.clone(), "DOCKER_CONTEXT".to_owned())),
        (None, Some(folder)) => current_context(&folder.join("config.json"))?,
        (None, None) => None,
    };
    match named.filter(|(name, _)| name != "default") {
        Some((name, origin)) => context(&name, &origin, config.as_deref()),
        None => address(Origin::Default, default, client_tls(env)?),
    }
}

fn config_folder(env: &Env) -> Option<PathBuf> {
    let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    set("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(Path::new(set(home)?).join(".docker")))
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

fn current_context(path: &Path) -> Result<Option<(String, String)>, Error> {
    let bad = |reason: String| Error::BadConfig { path: path.display().to_string(), reason };
    let text = match files::read(path) {
        Ok(text) => text,
        // A user without a configuration, or one whose configuration is another user's (sudo), has the default.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(error) => return Err(bad(error.to_string())),
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let config: Config = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    Ok(config.current_context.filter(|name| !name.is_empty()).map(|name| (name, format!("`{}`", path.display()))))
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Endpoints", default)]
    endpoints: BTreeMap<String, MetaEndpoint>,
}

#[derive(Deserialize)]
struct MetaEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// The folder of a context is named by the hash of its name.
fn context_folder(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads a context.
fn context(name: &str, origin: &str, config: Option<&Path>) -> Result<Endpoint, Error> {
    let bad = |reason: String| Error::BadContext { name: name.to_owned(), origin: origin.to_owned(), reason };
    let folder = config.ok_or_else(|| bad("there is no home folder to look for it".to_owned()))?.join("contexts");
    let hash = context_folder(name);
    let path = folder.join("meta").join(&hash).join("meta.json");
    let text = files::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => bad("there is no such context".to_owned()),
        _ => bad(format!("`{}`: {error}", path.display())),
    })?;
    let meta: Meta = serde_json::from_str(&text).map_err(|error| bad(format!("`{}`: {error}", path.display())))?;
    let endpoint = meta.endpoints.get("docker").ok_or_else(|| bad("it has no Docker endpoint".to_owned()))?;
    let origin = Origin::Context(name.to_owned());
    let folder = folder.join("tls").join(&hash).join("docker");
    let tls = files::is_dir(&folder).then(|| Tls::in_folder(&folder));
    if endpoint.skip_tls_verify {
        return Err(bad_host(
            &origin,
            &endpoint.host,
            "it asks to skip the check of the engine's certificate".to_owned(),
            "give the context a CA: `docker context update NAME --docker host=…,ca=…,cert=…,key=…`",
        ));
    }
    address(origin, &endpoint.host, tls)
}

/// The TLS files that the environment asks for, by the rules of the docker command line.
fn client_tls(env: &Env) -> Result<Option<Tls>, Error> {
    let set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
    if !set("DOCKER_TLS_VERIFY") {
        return if set("DOCKER_TLS") {
            Err(bad_host(
                &Origin::Variable,
                env.get("DOCKER_HOST").map_or("", String::as_str),
                "DOCKER_TLS asks for TLS without a check of the engine's certificate".to_owned(),
                "`export DOCKER_TLS_VERIFY=1` and put ca.pem into DOCKER_CERT_PATH",
            ))
        } else {
            Ok(None)
        };
    }
    let folder = env.get("DOCKER_CERT_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    Ok(folder.or_else(|| config_folder(env)).map(|folder| Tls::in_folder(&folder)))
}

fn bad_host(origin: &Origin, host: &str, reason: String, hint: &str) -> Error {
    Error::BadHost { origin: origin.to_string(), host: host.to_owned(), reason, hint: hint.to_owned() }
}

/// Reads an address as `-H` of the docker command line does.
fn address(origin: Origin, host: &str, tls: Option<Tls>) -> Result<Endpoint, Error> {
    let host = host.trim();
    let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
    let address = match scheme {
        "unix" => {
            let path = if rest.is_empty() { "/var/run/docker.sock" } else { rest };
            Address::Unix(PathBuf::from(path))
        }
        "npipe" if cfg!(windows) => Address::Pipe(rest.to_owned()),
        "tcp" | "http" | "https" => {
            let tls = if scheme == "http" { None } else { tls };
            if scheme == "https" && tls.is_none() {
                let hint = "`export DOCKER_TLS_VERIFY=1` and DOCKER_CERT_PATH=… with ca.pem, cert.pem and key.pem";
                return Err(bad_host(&origin, host, "it needs TLS files and none are named".to_owned(), hint));
            }
            Address::Tcp { authority: authority(&origin, host, rest, tls.is_some())?, tls }
        }
        "ssh" => {
            let hint = format!(
                "open a tunnel: `ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock {}` and `export \
                 DOCKER_HOST=unix:///tmp/docker.sock`",
                rest.trim_end_matches('/')
            );
            return Err(bad_host(&origin, host, "devctl does not speak ssh".to_owned(), &hint));
        }
        other => {
            let reason = format!("`{other}` is no scheme of a Docker Engine's address");
            return Err(bad_host(&origin, host, reason, "write `unix:///path/to/docker.sock` or `tcp://host:port`"));
        }
    };
    Ok(Endpoint { origin, host: host.to_owned(), address })
}

/// Host and port, with the port that Docker takes for granted.
fn authority(origin: &Origin, host: &str, rest: &str, tls: bool) -> Result<String, Error> {
    let bad = |reason: &str| bad_host(origin, host, reason.to_owned(), "write `tcp://host:port`");
    let url = url::Url::parse(&format!("tcp://{rest}")).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.path(), "" | "/") {
        return Err(bad("devctl does not use an engine under a path"));
    }
    let name = url.host_str().filter(|name| !name.is_empty()).ok_or_else(|| bad("it names no host"))?;
    Ok(format!("{name}:{}", url.port().unwrap_or(if tls { 2376 } else { 2375 })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn tcp(authority: &str) -> Address {
        Address::Tcp { authority: authority.to_owned(), tls: None }
    }

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        for (host, expected) in [
            ("unix:///run/x.sock", Address::Unix("/run/x.sock".into())),
            ("unix://", Address::Unix("/var/run/docker.sock".into())),
            ("tcp://10.0.0.1:2375", tcp("10.0.0.1:2375")),
            ("tcp://engine.test", tcp("engine.test:2375")),
            ("tcp://[::1]:99", tcp("[::1]:99")),
            ("engine.test:99", tcp("engine.test:99")),
            ("http://engine.test:99/", tcp("engine.test:99")),
        ] {
            let endpoint = resolve(&env(&[("DOCKER_HOST", host)]), DEFAULT_HOST).unwrap();
            assert_eq!(endpoint.address, expected, "{host}");
            assert_eq!(endpoint.origin, Origin::Variable);
        }
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_with_the_reason() {
        for (pairs, reason) in [
            (&[("DOCKER_HOST", "ssh://me@box")][..], "does not speak ssh"),
            (&[("DOCKER_HOST", "ftp://box")], "`ftp` is no scheme"),
            (&[("DOCKER_HOST", "tcp://")], "host"),
            (&[("DOCKER_HOST", "tcp://box:99999")], "port"),
            (&[("DOCKER_HOST", "tcp://box/engine")], "under a path"),
            (&[("DOCKER_HOST", "https://box")], "TLS files"),
            (&[("DOCKER_HOST", "tcp://box"), ("DOCKER_TLS", "1")], "without a check"),
        ] {
            let error = resolve(&env(pairs), DEFAULT_HOST).unwrap_err();
            assert!(matches!(error, Error::BadHost { .. }), "{error:?}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn tls_files_come_from_the_environment_and_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let env = env(&[("DOCKER_HOST", "tcp://box"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", path)]);
        let endpoint = resolve(&env, DEFAULT_HOST).unwrap();
        let tls = Some(Tls::in_folder(folder.path()));
        assert_eq!(endpoint.address, Address::Tcp { authority: "box:2376".to_owned(), tls });
        let error = open(&endpoint, &env).unwrap_err();
        assert!(error.to_string().contains("ca.pem` is not there"), "{error}");
    }

    /// Writes a context as `docker context create` does.
    fn write_context(config: &Path, name: &str, endpoint: &str) {
        let hash = context_folder(name);
        let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{endpoint}}}}}"#);
        files::write_atomic(&config.join("contexts/meta").join(hash).join("meta.json"), &text, false).unwrap();
    }

    #[test]
    fn contexts_are_found_as_docker_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().to_str().unwrap();
        write_context(folder.path(), "lab", r#"{"Host":"unix:///run/lab.sock","SkipTLSVerify":false}"#);
        write_context(folder.path(), "other", r#"{"Host":"tcp://other.test:2375"}"#);
        let of = |pairs: &[(&str, &str)]| {
            let mut env = env(pairs);
            env.insert("DOCKER_CONFIG".to_owned(), config.to_owned());
            resolve(&env, "unix:///default.sock").map(|endpoint| endpoint.host)
        };
        assert_eq!(of(&[]).unwrap(), "unix:///default.sock", "no config.json");
        files::write_atomic(&folder.path().join("config.json"), r#"{"currentContext":"lab","auths":{}}"#, true)
            .unwrap();
        assert_eq!(of(&[]).unwrap(), "unix:///run/lab.sock");
        assert_eq!(of(&[("DOCKER_CONTEXT", "other")]).unwrap(), "tcp://other.test:2375");
        assert_eq!(of(&[("DOCKER_CONTEXT", "default")]).unwrap(), "unix:///default.sock");
        assert_eq!(of(&[("DOCKER_CONTEXT", "other"), ("DOCKER_HOST", "unix:///h")]).unwrap(), "unix:///h");
        let error = of(&[("DOCKER_CONTEXT", "nope")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the Docker context `nope`, named by DOCKER_CONTEXT, cannot be used: there is no such context"
        );
        files::write_atomic(&folder.path().join("config.json"), "{", true).unwrap();
        assert!(matches!(of(&[]).unwrap_err(), Error::BadConfig { .. }));
    }

    #[test]
    fn contexts_that_would_skip_the_certificate_check_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_context(folder.path(), "lax", r#"{"Host":"tcp://lax.test:2376","SkipTLSVerify":true}"#);
        let env = env(&[("DOCKER_CONFIG", folder.path().to_str().unwrap()), ("DOCKER_CONTEXT", "lax")]);
        let error = resolve(&env, DEFAULT_HOST).unwrap_err();
        assert!(error.to_string().contains("skip the check"), "{error}");
    }

    #[test]
    fn the_reasons_for_no_engine_are_told_apart() {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};

        let empty = tempfile::tempdir().unwrap();
        let full = tempfile::tempdir().unwrap();
        std::fs::write(full.path().join("docker"), "").unwrap();
        let without = env(&[("PATH", empty.path().to_str().unwrap())]);
        let with = env(&[("PATH", full.path().to_str().unwrap())]);
        let default = address(Origin::Default, "unix:///run/e.sock", None).unwrap();
        let named = address(Origin::Variable, "unix:///run/e.sock", None).unwrap();
        let remote = address(Origin::Context("lab".to_owned()), "tcp://box:1", None).unwrap();
        let told = |endpoint: &Endpoint, kind: io::ErrorKind, env: &Env| {
            absent(endpoint, &io::Error::from(kind), env).to_string()
        };
        for (endpoint, kind, env, expected) in [
            (&default, NotFound, &without, "no Docker Engine is installed: there is no `/run/e.sock`"),
            (
                &default,
                NotFound,
                &with,
                "the Docker Engine is installed but not running: `/run/e.sock`: there is no such",
            ),
            (
                &default,
                ConnectionRefused,
                &without,
                "the Docker Engine is installed but not running: `/run/e.sock`: conn",
            ),
            (&default, PermissionDenied, &without, "permission denied on the Docker Engine's socket `/run/e.sock`"),
            (&named, PermissionDenied, &with, "permission denied on the Docker Engine's socket `/run/e.sock`"),
            (
                &named,
                NotFound,
                &with,
                "DOCKER_HOST points to `unix:///run/e.sock`, where no Docker Engine answers: there",
            ),
            (
                &remote,
                ConnectionRefused,
                &with,
                "the Docker context `lab` points to `tcp://box:1`, where no Docker Engine",
            ),
        ] {
            let said = told(endpoint, kind, env);
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[cfg(unix)]
    mod sockets {
        use super::*;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio::net::UnixListener;

        async fn failure(path: &Path) -> Error {
            let endpoint = address(Origin::Variable, &format!("unix://{}", path.display()), None).unwrap();
            connect_to(&endpoint, &Env::new(), Duration::from_millis(300)).await.map(|_| ()).unwrap_err()
        }

        /// Answers every request with the same bytes.
        fn answering(path: &Path, answer: &'static str) {
            let listener = UnixListener::bind(path).unwrap();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }

        #[tokio::test]
        async fn a_socket_without_a_listener_is_refused_at_once() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("e.sock");
            drop(UnixListener::bind(&path).unwrap());
            let error = failure(&path).await;
            assert!(error.to_string().ends_with("where no Docker Engine answers: connection refused"), "{error}");
        }

        #[tokio::test]
        async fn a_socket_that_hangs_does_not_hang_devctl() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("e.sock");
            let _listener = UnixListener::bind(&path).unwrap();
            assert!(matches!(failure(&path).await, Error::NoAnswer { .. }));
        }

        #[tokio::test]
        async fn an_engine_that_is_too_old_is_named_with_its_versions() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("e.sock");
            answering(
                &path,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 44\r\nConnection: close\r\n\r\n\
                 {\"Version\":\"19.03.15\",\"ApiVersion\":\"1.40\"}  ",
            );
            let error = failure(&path).await.to_string();
            assert!(error.starts_with("the Docker Engine 19.03.15 at `unix://"), "{error}");
            assert!(error.ends_with("speaks API 1.40, and devctl needs API 1.41 (Engine 20.10) or newer"), "{error}");
        }

        #[tokio::test]
        async fn what_is_not_an_engine_is_said_to_be_none() {
            for (answer, reason) in [
                ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", "not an engine's"),
                ("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope", "HTTP 404 nope"),
                ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", "no API version"),
                ("SSH-2.0-OpenSSH_9.2\r\n", ""),
            ] {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("e.sock");
                answering(&path, answer);
                let error = failure(&path).await;
                assert!(matches!(error, Error::NotAnEngine { .. }), "{error:?}");
                assert!(error.to_string().contains(reason), "{error}");
            }
        }
    }
}
