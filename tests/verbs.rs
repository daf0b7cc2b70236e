//! The verbs on containers, on a real engine: on containers that no devctl made, found by their labels, as `docker compose`
//! would leave them. Where that is installed, what it says of the same project is compared.
#![cfg(unix)]
#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "this is test code, helpers among it")]

mod engine;
mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use devctl::driver::docker::Docker;
use engine::IMAGE;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use serde_json::Value;
use support::{Engine, Project, Terminal, until};

const MANIFEST: &str = r#"
[project]
name = "@name@"

[containers]
compose = ["compose.yml"]

[services.program]
command = ["sleep", "1000"]
"#;

const COMPOSE: &str = r#"
name: @name@

services:
  web:
    image: dkt-busybox:latest
    command: ["sleep", "1000"]
    init: true
    environment: { GREETING: hello }
    ports: ["127.0.0.1:@port:web@:80"]
    volumes: ["data:/data"]
    depends_on: { db: { condition: service_healthy, restart: true } }
  db:
    image: dkt-busybox:latest
    command: ["sleep", "1000"]
    init: true
    healthcheck: { test: ["CMD", "true"], interval: 1s }
  job:
    image: dkt-busybox:latest
    command: ["true"]

volumes:
  data:
"#;

/// A program that ends when it is asked to, and says how.
const OBEDIENT: &str = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done";

/// A project whose containers a test makes itself.
struct Lab {
    engine: Engine,
    project: Project,
}

impl Lab {
    fn open() -> Option<Self> {
        static IMAGE_IS_THERE: OnceLock<()> = OnceLock::new();
        let engine = Engine::for_test()?;
        IMAGE_IS_THERE.get_or_init(|| {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let docker = Docker::connect(&devctl::os::env::all()).await.unwrap();
                engine::have_image(&engine::raw(&docker)).await;
            });
        });
        let project = Project::with(MANIFEST, COMPOSE);
        let label = |key: &str, value: &str| format!("--label=com.docker.compose.{key}={value}");
        let (ours, name) = (label("project", project.name()), format!("{}_default", project.name()));
        engine.docker(&["network", "create", &ours, &label("network", "default"), &name]);
        Some(Self { engine, project })
    }

    fn name(&self, service: &str, number: u32) -> String {
        format!("{}-{service}-{number}", self.project.name())
    }

    /// Makes a container with the labels that Compose would give it, and does not start it.
    fn create(&self, service: &str, number: u32, depends_on: &str, options: &[&str], command: &[&str]) -> String {
        let name = self.name(service, number);
        let files = self.project.root().join("compose.yml").display().to_string();
        let labels = [
            ("project", self.project.name()),
            ("service", service),
            ("oneoff", "False"),
            ("container-number", &number.to_string()),
            ("config-hash", "0123"),
            ("depends_on", depends_on),
            ("project.config_files", &files),
            ("project.working_dir", &self.project.root().display().to_string()),
        ]
        .map(|(key, value)| format!("--label=com.docker.compose.{key}={value}"));
        let network = format!("--network={}_default", self.project.name());
        let mut arguments = vec!["create", "--init", "--name", &name, &network];
        arguments.extend(labels.iter().map(String::as_str));
        arguments.extend(options);
        arguments.push(IMAGE);
        arguments.extend(command);
        self.engine.docker(&arguments).trim().to_owned()
    }

    fn start(&self, service: &str, number: u32, options: &[&str], command: &[&str]) -> String {
        let id = self.create(service, number, "", options, command);
        self.engine.docker(&["start", &id]);
        id
    }

    fn web(&self) -> String {
        self.start("web", 1, &[], &["sleep", "1000"])
    }

    fn inspect(&self, name: &str, format: &str) -> String {
        self.engine.docker(&["inspect", "--format", format, name]).trim().to_owned()
    }

    fn state(&self, name: &str) -> String {
        self.inspect(name, "{{.State.Status}}")
    }

    /// Runs devctl, whose exit code must be `code`, and gives what it printed on standard output and on standard error.
    #[track_caller]
    fn devctl(&self, code: i32, args: &[&str]) -> (String, String) {
        told(code, args, &self.project.output(args))
    }

    fn out(&self, args: &[&str]) -> String {
        self.devctl(0, args).0
    }
}

#[track_caller]
fn told(code: i32, args: &[&str], output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "`devctl {}`:\n{out}\n{error}", args.join(" "));
    (out, error)
}

/// `docker compose`, where it is installed.
struct Peer;

impl Peer {
    fn find() -> Option<Self> {
        let there = Command::new("docker").args(["compose", "version"]).output();
        if there.is_ok_and(|output| output.status.success()) {
            return Some(Self);
        }
        let required = support::variable("DEVCTL_TEST_REQUIRE_COMPOSE").is_some_and(|required| required == "1");
        assert!(!required, "DEVCTL_TEST_REQUIRE_COMPOSE=1, but there is no `docker compose`");
        drop(writeln!(std::io::stderr(), "SKIPPED: there is no `docker compose` to compare with"));
        None
    }

    /// Runs it on a project in its folder.
    #[track_caller]
    fn run(&self, lab: &Lab, folder: &Path, args: &[&str]) -> Output {
        let Self = self;
        let files = lab.project.root().join("compose.yml");
        let mut compose = Command::new("docker");
        compose.args(["compose", "-f"]).arg(files).args(args).current_dir(folder).stdin(Stdio::null());
        compose.output().unwrap()
    }

    #[track_caller]
    fn out(&self, lab: &Lab, args: &[&str]) -> String {
        let output = self.run(lab, lab.project.root(), args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`docker compose {}`: {error}", args.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().collect()
}

#[test]
fn exec_passes_streams_variables_and_exit_codes() {
    let Some(lab) = Lab::open() else { return };
    lab.web();
    let (out, error) = lab.devctl(7, &["exec", "-T", "web", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((out.as_str(), error.as_str()), ("out\n", "err\n"));
    let args = [
        "exec",
        "-e",
        "A=1 2",
        "-e",
        "B=",
        "-w",
        "/data",
        "-u",
        "1000",
        "web",
        "sh",
        "-c",
        "echo $A/$B/$(pwd)/$(id -u)",
    ];
    assert_eq!(lab.out(&args), "1 2///data/1000\n");
    // Flags behind the service belong to the command.
    assert_eq!(lab.out(&["exec", "web", "echo", "-T", "--index", "2"]), "-T --index 2\n");
    lab.devctl(126, &["exec", "web", "no-such-program"]);

    let input = "0123456789abcdef".repeat(64 * 1024);
    let counted = lab.project.output_of(&["exec", "-T", "web", "wc", "-c"], &input);
    assert_eq!(String::from_utf8_lossy(&counted.stdout).trim(), input.len().to_string(), "{counted:?}");
    let large = lab.project.output(&["exec", "-T", "web", "dd", "if=/dev/zero", "bs=65536", "count=300"]);
    assert_eq!((large.status.code(), large.stdout.len()), (Some(0), 65536 * 300));

    lab.devctl(0, &["exec", "-d", "web", "touch", "/tmp/behind"]);
    until("what runs behind one's back", || {
        let there = lab.project.output(&["exec", "web", "test", "-e", "/tmp/behind"]);
        if there.status.success() { Ok(()) } else { Err("not yet".to_owned()) }
    });
}

#[test]
fn exec_takes_the_container_that_is_meant() {
    let Some(lab) = Lab::open() else { return };
    for number in [2, 1] {
        lab.start("web", number, &["--env", &format!("NUMBER={number}")], &["sleep", "1000"]);
    }
    assert_eq!(lab.out(&["exec", "web", "sh", "-c", "echo $NUMBER"]), "1\n");
    assert_eq!(lab.out(&["exec", "--index", "2", "web", "sh", "-c", "echo $NUMBER"]), "2\n");
    let (_, error) = lab.devctl(1, &["exec", "--index", "3", "web", "true"]);
    assert!(error.contains("the service `web` is not running (container 3 of it)"), "{error}");
}

#[test]
fn what_is_not_there_is_told_apart() {
    let Some(lab) = Lab::open() else { return };
    lab.web();
    lab.create("job", 1, "", &[], &["true"]);
    for (code, args, part) in [
        (2, &["exec", "wbe", "true"][..], "did you mean `web`?"),
        (2, &["port", "wbe", "80"], "there is no service `wbe`"),
        (2, &["cp", "wbe:/x", "."], "there is no service `wbe`"),
        (2, &["stop", "wbe"], "there is no service `wbe`"),
        (2, &["ps", "-q", "wbe"], "there is no service `wbe`"),
        (1, &["exec", "job", "true"], "the service `job` is not running"),
        (1, &["port", "db", "80"], "the service `db` is not running"),
        (1, &["port", "web", "81"], "has no port 81/tcp"),
        (2, &["exec", "program", "true"], "`program` is a program of this machine, not a container"),
        (2, &["top", "program"], "`program` is a program of this machine, not a container"),
        (2, &["cp", "a", "b"], "neither end of the copy is in a container"),
        (2, &["rm"], "there is nobody to ask"),
        (2, &["restart", "--build", "web"], "`--build` is for the programs of one that does"),
        (2, &["ps", "--format", "{{.Nmae}}"], "there is no field `Nmae`"),
        (2, &["push", "-q", "web"], "devctl does not push images"),
        (2, &["wait", "--down-project", "--for", "ready"], "`--down-project` waits for the end of containers"),
    ] {
        let (_, error) = lab.devctl(code, args);
        assert!(error.contains(part), "{args:?}: {error}");
    }
    let mut away = lab.project.command(&["exec", "web", "true"]);
    let (_, error) = told(3, &["exec"], &away.env("DOCKER_HOST", "unix:///nowhere.sock").output().unwrap());
    assert!(error.contains("/nowhere.sock"), "{error}");

    // Without files, by the name alone; and without either.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut named = lab.project.command(&["exec", "web", "echo", "there"]);
    named.current_dir(elsewhere.path()).env("COMPOSE_PROJECT_NAME", lab.project.name());
    assert_eq!(told(0, &["exec"], &named.output().unwrap()).0, "there\n");
    let mut lost = lab.project.command(&["exec", "web", "true"]);
    told(2, &["exec"], &lost.current_dir(elsewhere.path()).output().unwrap());
}

/// Whether the terminal does what a shell expects of it: lines, echo, signals.
fn is_cooked(terminal: &Terminal) -> bool {
    terminal.modes().local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
}

#[test]
fn exec_has_a_real_terminal() {
    let Some(lab) = Lab::open() else { return };
    lab.web();
    let mut terminal = Terminal::start(&lab.project, &["exec", "web", "sh"]);
    terminal.wait_text("#");
    assert!(!is_cooked(&terminal));
    // The texts that are waited for are not on the line that is typed.
    terminal.type_in("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.05; done; echo siz''ed\r");
    terminal.wait_text("sized");
    terminal.type_in("until [ \"$(stty size)\" = '30 100' ]; do sleep 0.05; done; echo resiz''ed\r");
    terminal.resize(100, 30);
    terminal.wait_text("resized");
    // Ctrl+C is the shell's.
    terminal.type_in("echo rea''dy; sleep 1000\r");
    terminal.wait_text("ready");
    terminal.interrupt();
    terminal.wait_text("^C");
    terminal.type_in("echo interrup''ted\r");
    terminal.wait_text("interrupted");
    terminal.type_in("exit 5\r");
    assert_eq!(terminal.wait_exit(), Some(5));
    assert!(is_cooked(&terminal));
}

#[test]
fn exec_gives_the_terminal_back_when_it_is_killed() {
    let Some(lab) = Lab::open() else { return };
    lab.web();
    let mut terminal = Terminal::start(&lab.project, &["exec", "web", "sh"]);
    terminal.wait_text("#");
    kill(Pid::from_raw(terminal.pid()), Signal::SIGTERM).unwrap();
    assert_eq!(terminal.wait_exit(), Some(143));
    assert!(is_cooked(&terminal));
}

#[test]
fn ctrl_p_ctrl_q_leaves_the_command_running() {
    let Some(lab) = Lab::open() else { return };
    let id = lab.web();
    let mut terminal = Terminal::start(&lab.project, &["exec", "web", "sh", "-c", "echo ready; exec sleep 4321"]);
    terminal.wait_text("ready");
    terminal.type_in("\x10");
    terminal.type_in("\x11");
    terminal.wait_text("the command runs on in");
    assert_eq!(terminal.wait_exit(), Some(0));
    assert!(is_cooked(&terminal));
    assert!(lab.engine.docker(&["top", &id]).contains("sleep 4321"));
}

/// What is below a folder: paths, kinds, modes and contents.
fn tree(root: &Path) -> String {
    fn add(root: &Path, path: &Path, text: &mut String) {
        use std::os::unix::fs::PermissionsExt as _;
        let mut entries: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            let found = std::fs::symlink_metadata(&entry).unwrap();
            let shown = entry.strip_prefix(root).unwrap().display();
            if found.is_symlink() {
                writeln!(text, "{shown} -> {}", std::fs::read_link(&entry).unwrap().display()).unwrap();
                continue;
            }
            write!(text, "{shown} {:o}", found.permissions().mode()).unwrap();
            if found.is_dir() {
                text.push_str("/\n");
                add(root, &entry, text);
            } else {
                writeln!(text, " {:?}", std::fs::read_to_string(&entry).unwrap()).unwrap();
            }
        }
    }
    let mut text = String::new();
    add(root, root, &mut text);
    text
}

/// What a copy out of a container may find on this machine.
fn targets() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("f"), "old").unwrap();
    std::os::unix::fs::symlink("d", folder.path().join("dl")).unwrap();
    std::os::unix::fs::symlink("f", folder.path().join("fl")).unwrap();
    folder
}

const SOURCES: &str = "mkdir -p /s/sub && echo one > /s/one && chmod 640 /s/one && ln /s/one /s/hard && ln -s one \
                       /s/link && ln -s /s/sub /s/dirlink && echo two > /s/sub/two && chmod 555 /s/sub";

#[test]
fn cp_out_of_a_container_ends_where_dockers_does() {
    let Some(lab) = Lab::open() else { return };
    let id = lab.web();
    lab.engine.docker(&["exec", &id, "sh", "-c", SOURCES]);
    let copy = |args: &[&str]| {
        let folder = targets();
        let args = [&["cp"], args].concat();
        let mut devctl = lab.project.command(&args);
        devctl.current_dir(folder.path()).env("COMPOSE_PROJECT_NAME", lab.project.name());
        (devctl.output().unwrap().status.code(), tree(folder.path()))
    };
    for (args, path, content) in [
        (&["web:/s/one", "d"][..], "d/one", "one\n"),
        (&["web:/s/one", "new"], "new", "one\n"),
        (&["web:/s", "new"], "new/sub/two", "two\n"),
        (&["web:/s/.", "d"], "d/sub/two", "two\n"),
    ] {
        let (code, seen) = copy(args);
        assert!(
            code == Some(0) && seen.contains(&format!("{path} ")) && seen.contains(&format!("{content:?}")),
            "{seen}"
        );
    }
    let (code, seen) = copy(&["web:/s", "f"]);
    assert_eq!((code, seen), (Some(1), tree(targets().path())), "a folder does not become a file");
    let Some(peer) = Peer::find() else { return };
    for args in [
        &["web:/s", "d"][..],
        &["web:/s/.", "d"],
        &["web:/s", "new"],
        &["web:/s/.", "new"],
        &["web:/s", "f"],
        &["web:/s/one", "d"],
        &["web:/s/one", "f"],
        &["web:/s/one", "fl"],
        &["web:/s/one", "dl"],
        &["web:/s/one", "new"],
        &["web:/s/one", "new/"],
        &["web:/s/one", "x/y"],
        &["web:/s/link", "d"],
        &["-L", "web:/s/link", "d"],
        &["-L", "web:/s/link", "new"],
        &["web:/s/dirlink", "d"],
        &["-L", "web:/s/dirlink", "d"],
        &["web:/s/dirlink/", "d"],
        &["web:/s/dirlink/.", "d"],
        &["web:/nosuch", "d"],
        &["web:s/one", "."],
    ] {
        let folder = targets();
        let theirs = peer.run(&lab, folder.path(), &[&["cp"], args].concat());
        assert_eq!(copy(args), (theirs.status.code(), tree(folder.path())), "{args:?}");
    }
}

#[test]
fn cp_into_a_container_ends_where_dockers_does() {
    let Some(lab) = Lab::open() else { return };
    let id = lab.web();
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).unwrap();
    std::fs::create_dir_all(folder.path().join("src/sub")).unwrap();
    write("src/one", "one\n");
    write("src/sub/two", "two\n");
    std::os::unix::fs::symlink("one", folder.path().join("src/link")).unwrap();
    std::os::unix::fs::symlink("src", folder.path().join("dirlink")).unwrap();
    let prepare = "rm -rf /t; mkdir -p /t/d; echo old > /t/f; ln -s d /t/dl; ln -s f /t/fl";
    let list = "cd /t; find . | sort | while read -r f; do stat -c '%n %a %u %g %N' \"$f\"; test -d \"$f\" || cat \"$f\"; done";
    let seen = || lab.engine.docker(&["exec", &id, "sh", "-c", list]);
    let copy = |args: &[&str]| {
        lab.engine.docker(&["exec", &id, "sh", "-c", prepare]);
        let mut devctl = lab.project.command(&[&["cp"], args].concat());
        devctl.current_dir(folder.path()).env("COMPOSE_PROJECT_NAME", lab.project.name());
        (devctl.output().unwrap().status.code(), seen())
    };
    let (code, there) = copy(&["src/.", "web:/t/d"]);
    assert!(code == Some(0) && there.contains("./d/sub/two") && there.contains("two\n"), "{there}");
    let (code, there) = copy(&["src/one", "web:/t/f"]);
    assert!(code == Some(0) && there.contains("one\n") && !there.contains("old\n"), "{there}");
    assert_eq!(copy(&["src", "web:/t/f"]).0, Some(1));
    if let Some(peer) = Peer::find() {
        for args in [
            &["src/one", "web:/t/d"][..],
            &["src/one", "web:/t/f"],
            &["src/one", "web:/t/new"],
            &["src/one", "web:/t/new/"],
            &["src/one", "web:/t/dl"],
            &["src/one", "web:/t/fl"],
            &["src/one", "web:/t/x/y"],
            &["src", "web:/t/d"],
            &["src/.", "web:/t/d"],
            &["src/", "web:/t/new"],
            &["src/.", "web:/t/new"],
            &["src", "web:/t/f"],
            &["src/link", "web:/t/d"],
            &["-L", "src/link", "web:/t/d"],
            &["dirlink", "web:/t/d"],
            &["dirlink/", "web:/t/d"],
            &["dirlink/.", "web:/t/d"],
            &["-L", "dirlink", "web:/t/d"],
            &["-a", "src", "web:/t/d"],
            &["nosuch", "web:/t/d"],
        ] {
            lab.engine.docker(&["exec", &id, "sh", "-c", prepare]);
            let theirs = peer.run(&lab, folder.path(), &[&["cp"], args].concat());
            let theirs = (theirs.status.code(), seen());
            assert_eq!(copy(args), theirs, "{args:?}");
        }
    }

    // Archives on standard input and output.
    lab.engine.docker(&["exec", &id, "sh", "-c", prepare]);
    let archive = lab.project.output(&["cp", "web:/t", "-"]).stdout;
    let names = |bytes: &[u8]| {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&archive).len(), 5, "{:?}", names(&archive));
    let mut into = lab.project.command(&["cp", "-", "web:/data"]);
    let mut into = into.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    into.stdin.take().unwrap().write_all(&archive).unwrap();
    assert!(into.wait().unwrap().success());
    assert_eq!(lab.engine.docker(&["exec", &id, "cat", "/data/t/f"]), "old\n");
}

#[test]
fn a_copy_goes_into_every_container_of_a_service() {
    let Some(lab) = Lab::open() else { return };
    let ids = [1, 2].map(|number| lab.start("web", number, &[], &["sleep", "1000"]));
    lab.project.write("note", "read me");
    lab.devctl(0, &["cp", "note", "web:/data/"]);
    for id in &ids {
        assert_eq!(lab.engine.docker(&["exec", id, "cat", "/data/note"]), "read me");
    }
    lab.devctl(0, &["cp", "--index", "2", "note", "web:/data/second"]);
    lab.engine.docker(&["exec", &ids[1], "test", "-e", "/data/second"]);
    lab.engine.docker(&["exec", &ids[0], "test", "!", "-e", "/data/second"]);
}

#[test]
fn containers_stop_and_start_in_the_order_of_their_needs() {
    let Some(lab) = Lab::open() else { return };
    let check = ["--health-cmd=true", "--health-interval=1s"];
    lab.create("db", 1, "", &check, &["sh", "-c", OBEDIENT]);
    lab.create("web", 1, "db:service_healthy:true", &[], &["sh", "-c", OBEDIENT]);
    lab.create("other", 1, "", &[], &["sh", "-c", OBEDIENT]);
    let (db, web, other) = (lab.name("db", 1), lab.name("web", 1), lab.name("other", 1));
    let at = |name: &str, what: &str| -> jiff::Timestamp {
        lab.inspect(name, &format!("{{{{.State.{what}}}}}")).parse().unwrap()
    };

    // What is needed is started too, and is healthy first.
    let out = lab.out(&["start", "web"]);
    assert_eq!(out, format!("started {db}\nstarted {web}\n"));
    assert_eq!((lab.state(&web).as_str(), lab.state(&other).as_str()), ("running", "created"));
    assert_eq!(lab.inspect(&db, "{{.State.Health.Status}}"), "healthy");
    assert!(lab.out(&["start"]).contains(&format!("{db} is running already\n")));
    assert_eq!(lab.state(&other), "running");

    // A restart of what is needed restarts what needs it, where the label says so.
    let before = ["db", "web", "other"].map(|service| at(&lab.name(service, 1), "StartedAt"));
    lab.devctl(0, &["restart", "-t", "20", "db"]);
    let after = ["db", "web", "other"].map(|service| at(&lab.name(service, 1), "StartedAt"));
    assert!(after[0] > before[0] && after[1] > after[0] && after[2] == before[2], "{before:?} {after:?}");
    lab.devctl(0, &["restart", "--no-deps", "db"]);
    assert_eq!(at(&web, "StartedAt"), after[1]);

    let out = lab.out(&["stop"]);
    assert_eq!(lines(&out), lines(&format!("stopped {web}\nstopped {db}\nstopped {other}")));
    assert!(at(&web, "FinishedAt") < at(&db, "FinishedAt"), "web needs db");
    assert_eq!(lab.devctl(0, &["stop"]).1, "nothing of that runs\n");
    let line: Value = serde_json::from_str(lab.out(&["start", "db", "--format", "json"]).trim()).unwrap();
    assert_eq!((line["outcome"].as_str(), line["container"].as_str()), (Some("started"), Some(db.as_str())));
}

#[test]
fn a_start_says_what_it_waited_for_in_vain() {
    let Some(lab) = Lab::open() else { return };
    lab.create("db", 1, "", &[], &["sh", "-c", "exit 3"]);
    lab.create("web", 1, "db:service_completed_successfully:false", &[], &["sleep", "1000"]);
    let (out, error) = lab.devctl(1, &["start"]);
    assert_eq!(out, format!("started {}\n", lab.name("db", 1)));
    assert!(error.contains("`web` cannot start") && error.contains("has ended with exit code 3"), "{error}");
    assert_eq!(lab.state(&lab.name("web", 1)), "created");
}

#[test]
fn a_restart_tells_of_a_configuration_that_has_changed() {
    let Some(lab) = Lab::open() else { return };
    lab.start("job", 1, &[], &["sh", "-c", OBEDIENT]);
    // Its hash is none that a file could have.
    let (_, error) = lab.devctl(0, &["restart", "job"]);
    assert!(error.starts_with("job: ") && error.contains("`devctl up -d job` does"), "{error}");
}

#[test]
fn signals_pauses_and_removals() {
    let Some(lab) = Lab::open() else { return };
    let id = lab.start(
        "web",
        1,
        &[],
        &["sh", "-c", "trap 'echo told > /tmp/told' USR1; echo up; while :; do sleep 0.05; done"],
    );
    let name = lab.name("web", 1);
    until("the trap", || if lab.engine.docker(&["logs", &id]).contains("up") { Ok(()) } else { Err(String::new()) });
    assert_eq!(lab.out(&["kill", "-s", "USR1", "web"]), format!("signalled {name}\n"));
    until("the signal", || {
        let there = lab.project.output(&["exec", "web", "cat", "/tmp/told"]);
        if there.stdout == b"told\n" { Ok(()) } else { Err(format!("{there:?}")) }
    });

    lab.devctl(0, &["pause", "web"]);
    assert_eq!(lab.state(&name), "paused");
    assert_eq!(lab.out(&["ps", "--status", "paused", "--services"]), "web\n");
    lab.devctl(0, &["unpause"]);
    assert_eq!(lab.state(&name), "running");
    let (_, error) = lab.devctl(3, &["unpause"]);
    assert!(error.contains("is not paused"), "{error}");

    assert_eq!(lab.devctl(0, &["rm", "-f"]).1, "no stopped containers\n");
    assert_eq!(lab.out(&["kill"]), format!("killed {name}\n"));
    assert_eq!(lab.inspect(&name, "{{.State.ExitCode}}"), "137");
    assert_eq!(lab.devctl(0, &["kill"]).1, "no container to kill\n");
    lab.engine.docker(&["start", &id]);
    let (out, _) = lab.devctl(0, &["rm", "-fsv", "web"]);
    assert!(out.ends_with(&format!("Going to remove {name}\n")), "{out}");
    assert!(lab.engine.containers(&format!("com.docker.compose.project={}", lab.project.name())).is_empty());
}

#[test]
fn lists_are_those_of_compose() {
    let Some(lab) = Lab::open() else { return };
    let port = format!("127.0.0.1:{}:80", lab.project.port("web"));
    let ids = [
        lab.start("web", 1, &["--publish", &port, "--expose", "81"], &["sleep", "1000"]),
        lab.start("web", 2, &[], &["sleep", "1000"]),
        lab.start("job", 1, &[], &["sh", "-c", "exit 3"]),
        lab.create("db", 1, "", &[], &["true"]),
    ];
    lab.engine.docker(&["wait", &ids[2]]);
    assert_eq!(lab.out(&["port", "web", "80"]), format!("127.0.0.1:{}\n", lab.project.port("web")));
    assert_eq!(lab.out(&["port", "web", "81"]), ":0\n");
    assert_eq!(lines(&lab.out(&["ps", "-q"])), ids[..2].iter().map(String::as_str).collect());
    assert_eq!(lines(&lab.out(&["ps", "-aq"])), ids.iter().map(String::as_str).collect());
    assert_eq!(lab.out(&["ps", "--services"]), "web\n");
    let template = "{{.Name}} {{.State}} {{.ExitCode}}";
    let names = ["db-1 created 0", "job-1 exited 3", "web-1 running 0", "web-2 running 0"];
    let expected = names.map(|name| format!("{}-{name}\n", lab.project.name())).concat();
    assert_eq!(lab.out(&["ps", "-a", "--format", template]), expected);
    let json: Value = serde_json::from_str(&lab.out(&["ps", "--format", "json", "web"])).unwrap();
    let first = json.as_array().unwrap().iter().find(|row| row["Name"] == lab.name("web", 1)).unwrap();
    assert_eq!((&first["service"], &first["Service"]), (&Value::from("web"), &Value::from("web")));
    assert_eq!((&first["State"], &first["Publishers"][0]["TargetPort"]), (&Value::from("running"), &Value::from(80)));
    let (table, _) = lab.devctl(0, &["ps", "-a", "--status", "exited"]);
    assert!(table.contains("job") && !table.contains("web"), "{table}");

    let json: Value = serde_json::from_str(&lab.out(&["images", "--format", "json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 4);
    assert_eq!((&json[0]["Repository"], &json[0]["Tag"]), (&Value::from("dkt-busybox"), &Value::from("latest")));
    let filter = format!("name=^{}$", lab.project.name());
    let all: Value = serde_json::from_str(&lab.out(&["ls", "-a", "--format", "json", "--filter", &filter])).unwrap();
    assert_eq!(all[0]["Status"], "created(1), exited(1), running(2)");
    assert_eq!(all[0]["ConfigFiles"], lab.project.root().join("compose.yml").display().to_string());
    let stats: Value =
        serde_json::from_str(lab.out(&["stats", "--no-stream", "--format", "json", "web"]).lines().next().unwrap())
            .unwrap();
    assert!(stats["CPUPerc"].as_str().unwrap().ends_with('%') && stats["PIDs"] != "0", "{stats}");

    let (_, error) = lab.devctl(0, &["pull", "--policy", "missing"]);
    assert_eq!(error, format!("{IMAGE} is there\n"));

    let Some(peer) = Peer::find() else { return };
    for args in [
        &["port", "web", "80"][..],
        &["port", "--index", "1", "web", "80"],
        &["ps", "--services"],
        &["ps", "-a", "--format", template],
        &["ps", "-a", "--status", "exited", "--format", "{{.ID}} {{.Service}} {{.Health}} {{.Image}}"],
        &["ps", "--format", "{{.Service}} {{.Ports}} {{.Networks}}"],
        &["ls", "--filter", &filter],
        &["ls", "-a", "--filter", &filter, "--format", "json"],
        &["volumes", "-q"],
    ] {
        assert_eq!(lab.out(args), peer.out(&lab, args), "{args:?}");
    }
    for args in [&["ps", "-q"][..], &["ps", "-aq"], &["images", "-q"]] {
        assert_eq!(lines(&lab.out(args)), lines(&peer.out(&lab, args)), "{args:?}");
    }
    // In no order there.
    let listed = |text: &str| -> BTreeSet<String> {
        let list: Vec<Value> = serde_json::from_str(text).unwrap();
        list.iter().map(Value::to_string).collect()
    };
    let images = ["images", "--format", "json"];
    assert_eq!(listed(&lab.out(&images)), listed(&peer.out(&lab, &images)));
    // Times pass between the two; who runs does not change.
    let who = |text: &str| -> Vec<String> {
        let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let head = cells(text.lines().next().unwrap());
        let pid = head.iter().position(|title| title == "PID").unwrap();
        let rows = text.lines().skip(1).map(cells);
        rows.map(|row| format!("{} {} {} {}", row[0], row[1], row[pid], row.last().unwrap())).collect()
    };
    let (ours, theirs) = (lab.out(&["top"]), peer.out(&lab, &["top"]));
    assert_eq!(who(&ours), who(&theirs));
    assert_eq!(ours.lines().next(), theirs.lines().next());
}

#[test]
fn events_tell_what_happened_to_the_services_that_are_asked_for() {
    let Some(lab) = Lab::open() else { return };
    let web = lab.web();
    lab.start("job", 1, &[], &["true"]);
    lab.engine.docker(&["kill", &web]);
    lab.engine.docker(&["wait", &web]);
    let seen = |text: &str| -> Vec<(String, String, String)> {
        let part = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
        let event = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
        let events = text.lines().map(event);
        events.map(|event| (part(&event, "action"), part(&event, "service"), part(&event, "id"))).collect()
    };
    let out = lab.out(&["events", "--json", "--since", "1h", "--until", "0s", "web"]);
    let actions: Vec<(String, String, String)> = seen(&out);
    for action in ["create", "start", "kill", "die"] {
        assert!(actions.contains(&(action.to_owned(), "web".to_owned(), web.clone())), "{out}");
    }
    assert!(actions.iter().all(|(_, service, _)| service == "web"), "{out}");
    let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["type"], &first["attributes"]["image"]), (&Value::from("container"), &Value::from(IMAGE)));
    assert!(!out.contains("com.docker.compose"), "{out}");
    let text = lab.out(&["events", "--since", "1h", "--until", "0s", "job"]);
    assert!(text.contains(" container start ") && text.contains(&format!("name={}", lab.name("job", 1))), "{text}");
}

#[test]
fn wait_passes_the_exit_code_of_a_container_on() {
    let Some(lab) = Lab::open() else { return };
    let command = ["sh", "-c", "until test -e /tmp/go; do sleep 0.05; done; exit 3"];
    let id = lab.start("job", 1, &[], &command);
    let mut waiting = lab.project.command(&["wait", "--for", "exit", "job"]);
    let mut waiting = waiting.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(waiting.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("waiting for the end of {}\n", lab.name("job", 1)));
    lab.engine.docker(&["exec", &id, "touch", "/tmp/go"]);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("container \"{id}\" exited with status code 3\n"));
    let (_, error) = lab.devctl(1, &["wait", "--for", "exit", "job"]);
    assert!(error.contains("no container of job runs"), "{error}");
}

#[test]
fn run_makes_a_container_for_one_command() {
    let Some(lab) = Lab::open() else { return };
    let (out, _) = lab.devctl(4, &["run", "--rm", "-T", "job", "sh", "-c", "echo out; echo err >&2; exit 4"]);
    assert_eq!(out, "out\n");
    let input = "0123456789abcdef".repeat(64 * 1024);
    let counted = lab.project.output_of(&["run", "--rm", "-T", "job", "wc", "-c"], &input);
    assert_eq!(String::from_utf8_lossy(&counted.stdout).trim(), input.len().to_string(), "{counted:?}");
    let large = lab.project.output(&["run", "--rm", "-T", "job", "dd", "if=/dev/zero", "bs=65536", "count=300"]);
    assert_eq!((large.status.code(), large.stdout.len()), (Some(0), 65536 * 300));
    let label = format!("com.docker.compose.project={}", lab.project.name());
    assert!(lab.engine.containers(&label).is_empty(), "--rm leaves nothing");

    let args = [
        "run",
        "-d",
        "--no-deps",
        "-e",
        "A=1",
        "-u",
        "1000",
        "-w",
        "/data",
        "-l",
        "team=a",
        "-v",
        "/unnamed",
        "web",
        "sleep",
        "1000",
    ];
    let id = lab.out(&args).trim().to_owned();
    let told = |format: &str| lab.inspect(&id, format);
    assert_eq!(told(r#"{{index .Config.Labels "com.docker.compose.oneoff"}}"#), "True");
    assert_eq!(told(r#"{{index .Config.Labels "team"}} {{.Config.User}} {{.Config.WorkingDir}}"#), "a 1000 /data");
    let slug = told(r#"{{index .Config.Labels "com.docker.compose.slug"}}"#);
    assert_eq!(told("{{.Name}}"), format!("/{}-web-run-{}", lab.project.name(), &slug[..12]));
    assert_eq!(told("{{len .HostConfig.PortBindings}}"), "0");
    let env = told("{{json .Config.Env}}");
    assert!(env.contains("\"A=1\"") && env.contains("\"GREETING=hello\""), "{env}");
    // It is the project's, and none of the service.
    assert_eq!(lab.out(&["ps", "-q"]), "");
    assert_eq!(lab.out(&["ps", "-aq"]).trim(), id);
    if let Some(peer) = Peer::find() {
        assert_eq!(peer.out(&lab, &["ps", "-aq", "--no-trunc"]).trim(), id);
    }
    let (_, error) = lab.devctl(2, &["run", "program"]);
    assert!(error.contains("`program` is a program of this machine"), "{error}");
    lab.engine.docker(&["rm", "-f", &id]);
}

#[test]
fn run_starts_what_is_needed_first() {
    let Some(lab) = Lab::open() else { return };
    lab.create("db", 1, "", &["--health-cmd=true", "--health-interval=1s"], &["sh", "-c", OBEDIENT]);
    let (out, _) = lab.devctl(0, &["run", "--rm", "-T", "web", "echo", "there"]);
    assert_eq!(out, "there\n");
    assert_eq!(lab.inspect(&lab.name("db", 1), "{{.State.Health.Status}}"), "healthy");
}

#[test]
fn run_hands_signals_on() {
    let Some(lab) = Lab::open() else { return };
    let script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let mut running = lab.project.command(&["run", "--rm", "-T", "job", "sh", "-c", script]);
    let mut running = running.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(running.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    kill(Pid::from_raw(i32::try_from(running.id()).unwrap()), Signal::SIGINT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), running.wait().unwrap().code()), ("caught\n", Some(9)));
}

#[test]
fn ctrl_p_ctrl_q_leaves_a_run_running() {
    let Some(lab) = Lab::open() else { return };
    let mut terminal = Terminal::start(&lab.project, &["run", "--name", &lab.name("left", 1), "job", "sh"]);
    terminal.wait_text("#");
    terminal.type_in("\x10");
    terminal.type_in("\x11");
    terminal.wait_text("the command runs on in");
    assert_eq!(terminal.wait_exit(), Some(0));
    assert!(is_cooked(&terminal));
    assert_eq!(lab.state(&lab.name("left", 1)), "running");
}

#[test]
fn run_has_a_real_terminal() {
    let Some(lab) = Lab::open() else { return };
    let mut terminal = Terminal::start(&lab.project, &["run", "--rm", "job", "sh"]);
    terminal.wait_text("#");
    terminal.type_in("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.05; done; echo siz''ed\r");
    terminal.wait_text("sized");
    terminal.type_in("exit 6\r");
    assert_eq!(terminal.wait_exit(), Some(6));
    assert!(is_cooked(&terminal));
    assert!(lab.engine.containers(&format!("com.docker.compose.project={}", lab.project.name())).is_empty());
}
