//! A small project of a test's own: its files, names and ports are shared with no other test, and nothing of it outlives
//! the test.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::devctl::{Devctl, Finished};
use super::engine::Engine;
use super::ports::{self, Port};
use super::processes::{Process, processes_of_run, processes_with};
use super::variable;

/// The manifest of a project unless the test brings its own. `@name@` is the project's name, `@port:x@` a port of the
/// project's own that `Project::port("x")` tells, `@bin:x@` a binary of the workspace.
const MANIFEST: &str = r#"
[project]
name = "@name@"

[containers]
compose = ["compose.yml"]

[services.api]
dir        = "."
runtime    = "exec"
command    = ["@bin:backend@"]
port       = @port:api@
groups     = ["api"]
depends_on = { db = "ready", redis = "ready" }
ready      = { http = "/api/health" }
env        = { JWT_SECRET = "a-secret-of-the-tests-with-32-characters", TABLE_TOKEN_SECRET = "another-secret-of-the-tests-with-32-chars" }

[services.gateway]
dir        = "."
runtime    = "exec"
command    = ["@bin:ws-gateway@"]
port       = @port:gateway@
groups     = ["ws"]
depends_on = { redis = "ready", api = "ready" }
ready      = { http = "/ws/health" }
env        = { JWT_SECRET = "a-secret-of-the-tests-with-32-characters", TABLE_TOKEN_SECRET = "another-secret-of-the-tests-with-32-chars" }
"#;

/// The Compose file of a project unless the test brings its own: the one of this repository, but for names and ports.
const COMPOSE: &str = r#"
name: @name@

services:
  db:
    image: pgvector/pgvector:pg16
    environment:
      POSTGRES_DB: menu_ops
      POSTGRES_USER: postgres
      POSTGRES_PASSWORD: postgres
    ports:
      - "127.0.0.1:@port:db@:5432"
    volumes:
      - pgdata:/var/lib/postgresql/data
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U postgres -d menu_ops"]
      interval: 10s
      timeout: 5s
      retries: 5
      start_period: 10s

  redis:
    image: redis:7-alpine
    command: ["redis-server", "--appendonly", "yes", "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"]
    ports:
      - "127.0.0.1:@port:redis@:6379"
    volumes:
      - redisdata:/data
    healthcheck:
      test: ["CMD", "redis-cli", "ping"]
      interval: 10s
      timeout: 5s
      retries: 5
      start_period: 5s

volumes:
  pgdata:
    name: @name@_pgdata
  redisdata:
    name: @name@_redisdata
"#;

/// What of the shell's environment devctl gets in a test; all else could change what it does.
const PASSED_ON: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "XDG_CACHE_HOME",
    "PIP_INDEX_URL",
    "PIP_CONFIG_FILE",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
];

/// The variable by which whatever a test started can be found, should devctl lose it.
const MARK: &str = "TEST_PROJECT";

/// What stands behind the services of the Compose file in a test whose body is the same for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Infra {
    /// Containers.
    Docker,
    /// Embedded servers.
    Embedded,
}

impl Infra {
    /// The arguments of `devctl up`.
    pub(crate) fn args(self) -> [&'static str; 2] {
        match self {
            Self::Docker => ["--driver", "docker"],
            Self::Embedded => ["--driver", "embedded"],
        }
    }

    /// Whether the test can run here: containers need an engine.
    pub(crate) fn available(self) -> bool {
        match self {
            Self::Docker => Engine::for_test().is_some(),
            Self::Embedded => true,
        }
    }
}

/// A project in a folder of its own. Dropped, it takes its processes, containers, networks and volumes along.
#[derive(Debug)]
pub(crate) struct Project {
    folder: tempfile::TempDir,
    name: String,
    ports: RefCell<BTreeMap<String, Port>>,
    /// The runs that were started here, so that their processes can be found again.
    runs: RefCell<Vec<String>>,
}

impl Project {
    /// The whole stack: `db`, `redis`, `api`, `gateway`.
    pub(crate) fn whole() -> Self {
        Self::with(MANIFEST, COMPOSE)
    }

    /// A project with a manifest and a Compose file of the test's own; `@…@` is replaced as in the whole stack.
    pub(crate) fn with(manifest: &str, compose: &str) -> Self {
        let project = Self::empty();
        project.write("devctl.toml", manifest);
        project.write("compose.yml", compose);
        project
    }

    /// The whole stack with its manifest changed: each pair is a text of it and what stands there instead.
    #[track_caller]
    pub(crate) fn changed(changes: &[(&str, &str)]) -> Self {
        let (mut manifest, mut compose) = (MANIFEST.to_owned(), COMPOSE.to_owned());
        for (from, to) in changes {
            assert!(manifest.contains(from) || compose.contains(from), "`{from}` is in neither file of the project");
            manifest = manifest.replace(from, to);
            compose = compose.replace(from, to);
        }
        Self::with(&manifest, &compose)
    }

    /// A folder and a name, and no file yet.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("devctl-test-").tempdir().expect("a temporary folder can be made");
        // An embedded server that drops root must be able to walk through.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("the folder is ours");
        let name = folder.path().file_name().expect("it has a name").to_string_lossy().to_lowercase();
        let name = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        Self { folder, name, ports: RefCell::default(), runs: RefCell::default() }
    }

    /// The project's name, unlike any other.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A port of this project, by the name the test gives it.
    pub(crate) fn port(&self, name: &str) -> u16 {
        self.ports.borrow_mut().entry(name.to_owned()).or_insert_with(Port::reserve).number()
    }

    /// The address of a service that speaks HTTP: `url("api", "/api/health")`.
    pub(crate) fn url(&self, port: &str, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port(port))
    }

    /// The connection string of the database, from the host.
    pub(crate) fn database_url(&self) -> String {
        format!("postgresql://postgres:postgres@127.0.0.1:{}/menu_ops", self.port("db"))
    }

    /// Writes a file of the project, replacing `@name@`, `@port:x@` and `@bin:x@`.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.root().join(path);
        std::fs::create_dir_all(file.parent().expect("it is in the folder")).expect("the folder is ours");
        std::fs::write(file, self.fill(text)).expect("the folder is ours");
    }

    /// Writes an executable file of the project: a service that misbehaves as the test wants.
    pub(crate) fn script(&self, path: &str, text: &str) {
        self.write(path, text);
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.root().join(path), executable).expect("the file was just written");
    }

    fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('@') {
            filled.push_str(before);
            let Some((word, next)) = after.split_once('@') else {
                rest = after;
                filled.push('@');
                continue;
            };
            let value = match word.split_once(':') {
                None if word == "name" => Some(self.name.clone()),
                Some(("port", name)) => Some(self.port(name).to_string()),
                Some(("bin", name)) => Some(binary(name).display().to_string()),
                None | Some(_) => None,
            };
            if let Some(value) = value {
                filled.push_str(&value);
                rest = next;
            } else {
                filled.push('@');
                rest = after;
            }
        }
        filled + rest
    }

    /// devctl with arguments, in this project's folder and with an environment that is the same everywhere.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devctl"));
        command.args(args).current_dir(self.root()).env_clear().envs(self.environment());
        command
    }

    /// The environment that devctl gets in a test. `MARK` is passed on to whatever it starts.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, String)> {
        let ours = [("LANG", "C.UTF-8".to_owned()), (MARK, self.name.clone())];
        PASSED_ON.into_iter().filter_map(|name| Some((name, variable(name)?))).chain(ours)
    }

    /// Starts `devctl up --format json …`.
    pub(crate) fn up(&self, args: &[&str]) -> Devctl {
        Devctl::spawn(self.command(&[&["up", "--format", "json"], args].concat()))
    }

    /// Starts `devctl up` and waits until the whole stack is ready.
    #[track_caller]
    pub(crate) fn up_ready(&self, args: &[&str]) -> Devctl {
        let mut devctl = self.up(args);
        self.remember(devctl.run_id());
        devctl.wait_event("stack_ready");
        devctl
    }

    /// Remembers a run, so that its processes end with the test.
    pub(crate) fn remember(&self, run: String) {
        self.runs.borrow_mut().push(run);
    }

    /// Runs devctl to its end.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        Devctl::spawn(self.command(args)).wait_exit()
    }

    /// Runs devctl to its end and gives what it printed, byte by byte; for output that is no JSON.
    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("cargo built the binary")
    }

    /// Runs devctl to its end with a text on its standard input.
    pub(crate) fn output_of(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("cargo built the binary");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("devctl reads its standard input");
        drop(stdin);
        child.wait_with_output().expect("it is our child")
    }

    /// Runs devctl to its end, which must be a good one, and gives what it printed on standard output.
    #[track_caller]
    pub(crate) fn printed(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.output(args);
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "`devctl {}`: {status}\n{stdout}\n{stderr}", args.join(" "));
        stdout.into_owned()
    }

    /// What lives on when a run is over: the volumes, or the data folders, of the databases.
    pub(crate) fn data(&self, infra: Infra) -> Vec<String> {
        let mut data = match infra {
            Infra::Docker => {
                let engine = Engine::for_test().expect("a test of containers runs only where there is an engine");
                engine.volumes(&format!("com.docker.compose.project={}", self.name))
            }
            Infra::Embedded => {
                let folders = std::fs::read_dir(self.root().join(".devctl/data")).into_iter().flatten().flatten();
                folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
            }
        };
        data.sort();
        data
    }

    /// Whatever was started in this project, devctl and its guardian too, and still runs.
    pub(crate) fn processes(&self) -> Vec<Process> {
        processes_with(&format!("{MARK}={}", self.name))
    }

    /// What of a run is left: processes, containers, networks, listeners on the project's ports.
    pub(crate) fn left_of(&self, run: &str) -> Vec<String> {
        let mut processes = processes_of_run(run);
        let others: Vec<_> = self.processes().into_iter().filter(|process| !processes.contains(process)).collect();
        processes.extend(others);
        let mut left: Vec<String> =
            processes.into_iter().map(|p| format!("process {} ({})", p.pid, p.command)).collect();
        if let Some(engine) = engine_if_any() {
            left.extend(engine.left_of_run(run));
            left.extend(engine.left_of_project(&self.name));
        }
        for (name, port) in self.ports.borrow().iter() {
            if !ports::is_free(port.number()) {
                left.push(format!("a listener on port {} ({name})", port.number()));
            }
        }
        left
    }

    /// Fails if anything of a run is left.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self, run: &str) {
        let left = self.left_of(run);
        assert!(left.is_empty(), "run {run} left something behind: {left:#?}");
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let of_runs = self.runs.borrow().iter().flat_map(|run| processes_of_run(run)).collect::<Vec<_>>();
        for process in self.processes().into_iter().chain(of_runs) {
            // Gone since we looked: so much the better.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        Engine::remove_project(&self.name);
    }
}

/// The engine where this test process has used one; a test of something else must not fail for want of it.
fn engine_if_any() -> Option<Engine> {
    static ANY: OnceLock<Option<Engine>> = OnceLock::new();
    if variable("DEVCTL_TEST_REQUIRE_DOCKER").is_some_and(|required| required == "1") {
        return Engine::for_test();
    }
    *ANY.get_or_init(Engine::for_test)
}

/// Cargo, as if called from a shell in this repository. What cargo tells a test by its environment must not reach it: some
/// build scripts (ring's) run again when it differs, and with them half of the dependencies are compiled anew.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".to_owned()));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let settings = ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_INCREMENTAL"].contains(&&*text)
            || ["CARGO_BUILD_", "CARGO_NET_", "CARGO_HTTP_", "CARGO_PROFILE_", "CARGO_REGISTR"]
                .iter()
                .any(|p| text.starts_with(p));
        if (text.starts_with("CARGO") && !settings) || text == "LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
    command
}

/// A binary of the workspace: the one that the environment names (`DEVCTL_TEST_BIN_BACKEND`), or built now.
pub(crate) fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let wanted = format!("DEVCTL_TEST_BIN_{}", name.to_uppercase().replace('-', "_"));
    if let Some(path) = variable(&wanted) {
        return path.into();
    }
    BUILT.get_or_init(|| {
        let mut cargo = cargo(&["build", "--quiet", "--workspace", "--bins"]);
        let output = cargo.output().expect("cargo runs, it runs this test");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the services of the tests do not build:\n{error}");
    });
    let folder = Path::new(env!("CARGO_BIN_EXE_devctl")).parent().expect("the binary is in a folder");
    let path = folder.join(name);
    assert!(path.exists(), "`{}` was not built", path.display());
    path
}
