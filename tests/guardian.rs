//! Nothing survives devctl: it is killed in every way there is, alone, with its guardian and after it, and nothing of the
//! run is left, or the next command says what is.
//!
//! Every wait is for an event: the guardian ends when its work is done.

#![cfg(unix)]

mod support;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use devctl::os::process::{self, Identity, Kill};
use devctl::os::{boot, process::own};
use devctl::state::lock::Lock;
use serde_json::{Value, json};
use support::{Devctl, Engine, Infra, Project, Signal, cargo, gone, processes_of_run, sql, until};

/// The children of the Ctrl+C matrix: a plain one, one with a grandchild in a shell's background, one with a grandchild in
/// a session of its own, and one that ignores every request.
const FOUR: &str = r#"
[project]
name = "@name@"

[services.plain]
dir     = "."
runtime = "exec"
command = ["sleep", "600"]

[services.grand]
dir     = "."
runtime = "exec"
command = ["sh", "-c", "sleep 601 & wait"]

[services.setsid]
dir     = "."
runtime = "exec"
command = ["sh", "-c", "setsid sleep 602 & exec sleep 603"]

[services.stubborn]
dir     = "."
runtime = "exec"
command = ["sh", "-c", "trap '' TERM INT HUP; echo deaf; while :; do sleep 604; done"]
"#;

fn four() -> Project {
    let project = Project::empty();
    project.write("devctl.toml", FOUR);
    project
}

/// Brings the four up. Their grandchildren are there, and the stubborn one is deaf.
fn up(project: &Project) -> (Devctl, String) {
    let mut devctl = project.up_ready(&[]);
    let run = devctl.run_id();
    devctl.wait_for("the stubborn one's word", |event| event["line"] == "deaf");
    until("all of them are there", || {
        let there = processes_of_run(&run);
        let missing: Vec<u32> =
            (600..=604).filter(|n| !there.iter().any(|p| p.command.ends_with(&format!("sleep {n}")))).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} of {there:?}")) }
    });
    (devctl, run)
}

fn file(project: &Project, name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(project.root().join(".devctl").join(name)).ok()?;
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}")))
}

fn len(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

fn rows(project: &Project) -> Vec<Value> {
    let text = project.printed(&["ps", "--format", "json"]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_killed_supervisor_leaves_none_of_four_kinds_of_children() {
    let project = four();
    let (devctl, run) = up(&project);
    let there = processes_of_run(&run).len();
    devctl.kill_and_wait_for_guardian();
    project.assert_nothing_left(&run);
    assert_eq!(file(&project, "run.json"), None, "nothing is left to know of");
    assert!(!project.root().join(".devctl/control.sock").exists(), "nobody will ever answer there");
    let deed = file(&project, "guardian.log").expect("it says what it did");
    assert_eq!((&deed["run"], len(&deed["left"])), (&json!(run), 0), "{deed:#}");
    // Those that the kernel told of devctl's death may be gone before the guardian looks; the deaf one is not.
    let told = len(&deed["processes"]);
    assert!((1..=there).contains(&told), "{there} were there: {deed:#}");

    let last = file(&project, "last-run.json").expect("the run before is known");
    assert_eq!((&last["run"], &last["end"]), (&json!(run), &json!("killed")));
    assert_eq!(last["services"]["plain"]["phase"], "ready", "{last:#}");

    // It is told until somebody begins anew.
    let word = "the last run was killed; its guardian stopped ";
    let ps = project.printed(&["ps"]);
    assert!(ps.starts_with("nothing of this project runs\n") && ps.contains(word), "{ps}");
    let (devctl, run) = up(&project);
    let told = |event: &Value| event["message"].as_str().is_some_and(|message| message.starts_with(word));
    let mut devctl = devctl;
    devctl.wait_for("word of the guardian", told);
    devctl.kill_and_wait_for_guardian();
    project.assert_nothing_left(&run);
    let down = project.printed(&["down"]);
    assert!(down.starts_with(word) && down.ends_with("0 left\n"), "{down}");
    let again = project.printed(&["down"]);
    assert_eq!(again, "nothing of this project runs; 0 left\n", "it is told once");
}

#[test]
fn a_guardian_ends_with_an_ordinary_run_and_is_no_part_of_it() {
    let project = four();
    let (mut devctl, run) = up(&project);
    let guardian = devctl.guardian();
    for ignored in [Kill::Int, Kill::Term, Kill::Hup, Kill::Quit] {
        assert!(process::signal(guardian, ignored));
    }
    assert!(processes_of_run(&run).iter().all(|process| process.pid.unsigned_abs() != guardian.pid));
    assert_ne!(process::look(guardian.pid).map(|p| p.session), process::look(devctl.pid()).map(|p| p.session));
    devctl.signal(Signal::SIGTERM);
    devctl.wait_node("stopped", "plain");
    // The one that ignores the first is not waited for.
    devctl.signal(Signal::SIGTERM);
    let finished = devctl.wait_exit().expect_code(0);
    assert_eq!(finished.clean_receipt()["processes"], 4, "{}", finished.told());
    assert!(!process::lives(guardian), "it was waited for");
    project.assert_nothing_left(&run);
    assert_eq!(file(&project, "guardian.log"), None, "it had nothing to do");
    let last = file(&project, "last-run.json").expect("the run before is known");
    assert_eq!((&last["run"], &last["end"]), (&json!(run), &json!("done")));
    assert_eq!(last["services"]["plain"]["last_exit"]["signal"], 15, "{last:#}");
}

#[test]
fn a_guardian_that_is_killed_is_followed_by_another() {
    let project = four();
    let (devctl, run) = up(&project);
    let mut guardian = devctl.guardian();
    for _ in 0..3 {
        assert!(process::signal(guardian, Kill::Kill));
        guardian = devctl.guardian_but(Some(guardian));
    }
    assert_eq!(processes_of_run(&run).len(), 7, "nobody else noticed");
    devctl.kill_and_wait_for_guardian();
    project.assert_nothing_left(&run);
}

#[test]
fn a_guardian_that_is_stopped_keeps_no_run_from_ending() {
    let project = four();
    let (devctl, run) = up(&project);
    let guardian = devctl.guardian();
    let pid = nix::unistd::Pid::from_raw(guardian.pid.cast_signed());
    nix::sys::signal::kill(pid, Signal::SIGSTOP).expect("it is ours");
    devctl.signal(Signal::SIGTERM);
    devctl.signal(Signal::SIGTERM);
    devctl.wait_exit().expect_code(0).clean_receipt();
    project.assert_nothing_left(&run);
}

#[test]
fn what_both_leave_is_shown_by_ps_and_ended_by_down() {
    let project = four();
    let (devctl, run) = up(&project);
    devctl.kill_with_guardian();
    // The system asks the leaders to stop (Linux); the others it does not reach.
    let stubborn = until("only the deaf are left", || {
        let rows = rows(&project);
        let pid = rows.iter().find(|row| row["service"] == "stubborn").and_then(|row| row["pid"].as_u64());
        if rows.iter().any(|row| row["service"] == "plain") && cfg!(target_os = "linux") {
            return Err(format!("{rows:#?}"));
        }
        assert!(rows.iter().all(|row| row["state"] == "orphaned"), "{rows:#?}");
        assert!(rows.iter().any(|row| row["service"] == "setsid"), "{rows:#?}");
        pid.ok_or_else(|| format!("{rows:#?}"))
    });
    let ps = project.printed(&["ps"]);
    for word in ["orphaned", &format!("pid {stubborn}"), "the last run was killed\n", "`devctl down`"] {
        assert!(ps.contains(word), "no `{word}` in\n{ps}");
    }
    let down = project.printed(&["down"]);
    assert!(down.contains(" of a run that was killed\n") && down.ends_with("0 left\n"), "{down}");
    project.assert_nothing_left(&run);
    assert_eq!(file(&project, "last-run.json").expect("the run before is known")["end"], "killed");
    assert_eq!(rows(&project), Vec::<Value>::new());
}

#[test]
fn a_guardian_that_is_stopped_at_work_goes_on_for_whoever_waits() {
    let project = four();
    let (devctl, run) = up(&project);
    let guardian = devctl.guardian();
    devctl.signal(Signal::SIGKILL);
    let state = devctl::state::StateDir::of(project.root());
    // The stubborn one keeps it busy for a second.
    until("the guardian is at work", || match Lock::holder(&state) {
        Ok(Some(holder)) if holder.guardian => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(process::signal(guardian, Kill::Stop));
    let down = project.run(&["down"]);
    down.expect_code(0);
    gone(guardian);
    project.assert_nothing_left(&run);
}

#[test]
fn a_supervisor_that_dies_while_it_is_asked_to_stop_is_nobody_elses() {
    let project = four();
    // The lock of somebody who is dead, and whose files the system has not closed yet.
    let mut dead = Command::new("true").spawn().expect("every Unix has true");
    let pid = dead.id();
    dead.wait().expect("it is our child");
    project.write(".devctl/lock", &format!("{{\"pid\":{pid},\"run\":\"00000000000a\"}}\n"));
    let lock = std::fs::File::open(project.root().join(".devctl/lock")).expect("it was just written");
    lock.lock().expect("nobody else is there");
    let mut down = Devctl::spawn(project.command(&["down"]));
    // It says nothing; meanwhile it has looked, unless the machine is very busy.
    down.listen(std::time::Duration::from_millis(200), |_| false);
    drop(lock);
    down.wait_exit().expect_code(0);
}

#[test]
fn ps_asks_the_supervisor_where_there_is_no_room_for_its_record() {
    let project = four();
    let (devctl, run) = up(&project);
    // Nothing can be written there any more.
    let record = project.root().join(".devctl/run.json");
    until("the record is a folder", || {
        drop(std::fs::remove_file(&record));
        std::fs::create_dir(&record).map_err(|error| error.to_string())
    });
    let rows = rows(&project);
    let names: Vec<&str> = rows.iter().filter_map(|row| row["service"].as_str()).collect();
    assert_eq!(names, ["plain", "grand", "setsid", "stubborn"]);
    assert!(rows.iter().all(|row| row["state"] == "ready" && row["pid"].is_u64()), "{rows:#?}");
    std::fs::remove_dir(&record).expect("it is empty");
    devctl.kill_and_wait_for_guardian();
    project.assert_nothing_left(&run);
}

#[test]
fn what_both_leave_is_ended_by_the_next_up() {
    let project = four();
    let (devctl, first) = up(&project);
    devctl.kill_with_guardian();
    let (mut devctl, run) = up(&project);
    assert_eq!(processes_of_run(&first), []);
    devctl.wait_for("word of it", |event| {
        event["message"]
            .as_str()
            .is_some_and(|message| message.contains("the last run was killed; stopped what it left"))
    });
    devctl.kill_and_wait_for_guardian();
    project.assert_nothing_left(&run);
}

#[test]
fn an_up_that_comes_while_the_guardian_works_waits_for_it() {
    let project = four();
    let (devctl, first) = up(&project);
    devctl.signal(Signal::SIGKILL);
    // The stubborn one keeps its guardian busy for a second.
    let (devctl, run) = up(&project);
    assert_eq!(processes_of_run(&first), []);
    devctl.kill_and_wait_for_guardian();
    project.assert_nothing_left(&run);
}

#[test]
fn a_project_that_was_deleted_is_not_made_anew() {
    let project = four();
    let (devctl, run) = up(&project);
    let guardian = devctl.guardian();
    devctl.signal(Signal::SIGSTOP);
    std::fs::remove_dir_all(project.root()).expect("the folder is ours");
    devctl.signal(Signal::SIGKILL);
    gone(guardian);
    project.assert_nothing_left(&run);
    assert!(!project.root().exists());
}

/// A service that leaves its socket to a process that no net can catch: a session, a parent and an environment of its own.
const HEIR: &str = r#"
[project]
name = "@name@"

[services.api]
dir     = "."
runtime = "exec"
command = ["@stub@", "heir", "@port:api@"]
port    = @port:api@
"#;

#[test]
fn a_port_that_cannot_be_bound_again_is_left_and_its_holder_named() {
    for killed in [false, true] {
        let project = Project::empty();
        project.write("devctl.toml", &HEIR.replace("@stub@", stub()));
        let mut devctl = project.up_ready(&[]);
        devctl.wait_for("the heir's word", |event| event["line"].as_str().is_some_and(|l| l.starts_with("sleeper ")));
        let heir =
            devctl.events().iter().find_map(|event| event["line"].as_str()?.strip_prefix("sleeper ")?.parse().ok());
        let heir = process::look(heir.expect("it was said")).expect("it runs for an hour").id;
        let left = if killed {
            devctl.kill_and_wait_for_guardian();
            assert!(file(&project, "run.json").is_some(), "the next `up` or `down` has to know");
            file(&project, "guardian.log").expect("it says what it did")["left"].clone()
        } else {
            devctl.signal(Signal::SIGTERM);
            devctl.wait_exit().expect_code(1).event("receipt")["left"].clone()
        };
        assert!(process::signal(heir, Kill::Kill), "it was caught after all: {left}");
        let wanted = format!("port {} of `api`, held by pid {} (", project.port("api"), heir.pid);
        assert!(len(&left) == 1 && left[0].as_str().is_some_and(|line| line.starts_with(&wanted)), "{left}");
        gone(heir);
    }
}

/// The stub of misbehaving services, built where it is not or is out of date.
fn stub() -> &'static str {
    static STUB: OnceLock<String> = OnceLock::new();
    STUB.get_or_init(|| {
        let output = cargo(&["build", "--quiet", "--example", "stub"]).output().expect("cargo runs, it runs this test");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the stub does not build:\n{error}");
        let debug = std::path::Path::new(env!("CARGO_BIN_EXE_devctl")).parent().expect("the binary is in a folder");
        debug.join("examples/stub").display().to_string()
    })
}

/// A database that devctl runs itself, and nothing else.
const DATABASE: &str = r#"
name: @name@
services:
  db:
    image: pgvector/pgvector:pg16
    environment: { POSTGRES_DB: menu_ops, POSTGRES_USER: postgres, POSTGRES_PASSWORD: postgres }
    ports: ["127.0.0.1:@port:db@:5432"]
    volumes: ["pgdata:/var/lib/postgresql/data"]
volumes: { pgdata: { name: "@name@_pgdata" } }
"#;

const COMPOSE_ONLY: &str = "[project]\nname = \"@name@\"\n[containers]\ncompose = [\"compose.yml\"]\n";

#[test]
fn an_embedded_database_goes_with_its_supervisor_and_keeps_its_data() {
    let project = Project::with(COMPOSE_ONLY, DATABASE);
    let mut devctl = project.up_ready(&Infra::Embedded.args());
    let run = devctl.run_id();
    sql(&project.database_url(), "CREATE TABLE witness (word text); INSERT INTO witness VALUES ('alive')")
        .expect("it is");
    devctl.kill_and_wait_for_guardian();
    project.assert_nothing_left(&run);
    let mut devctl = project.up_ready(&Infra::Embedded.args());
    let run = devctl.run_id();
    let word = sql(&project.database_url(), "SELECT word FROM witness").expect("the database is ready");
    assert_eq!(word.as_deref(), Some("alive"));
    devctl.signal(Signal::SIGTERM);
    devctl.wait_exit().expect_code(0).clean_receipt();
    project.assert_nothing_left(&run);
}

/// A container, and a program that needs it.
const REDIS: &str = r#"
name: @name@
services:
  redis:
    image: redis:7-alpine
    ports: ["127.0.0.1:@port:redis@:6379"]
  second:
    image: redis:7-alpine
    ports: ["127.0.0.1:@port:second@:6379"]
    depends_on: [redis]
"#;

const WITH_PROGRAM: &str = r#"
[project]
name = "@name@"

[containers]
compose = ["compose.yml"]

[services.daemon]
dir        = "."
runtime    = "exec"
command    = ["sh", "-c", "setsid sleep 605 & exec sleep 606"]
depends_on = { redis = "ready" }
"#;

#[test]
fn containers_and_networks_go_with_their_supervisor() {
    let Some(_) = Engine::for_test() else { return };
    let project = Project::with(WITH_PROGRAM, REDIS);
    for args in [&["--driver", "docker"][..], &["--driver", "docker", "--keep"]] {
        let mut devctl = project.up_ready(args);
        let run = devctl.run_id();
        devctl.kill_and_wait_for_guardian();
        let deed = file(&project, "guardian.log").expect("it says what it did");
        assert_eq!((len(&deed["containers"]), len(&deed["left"])), (2, 0), "{deed:#}");
        assert_eq!(file(&project, "run.json"), None);
        if args.contains(&"--keep") {
            // They are left as that run would have left them: stopped.
            let rows = rows(&project);
            assert!(rows.len() == 2 && rows.iter().all(|row| row["state"] == "exited"), "{rows:#?}");
            assert_eq!(processes_of_run(&run), []);
            let down = project.printed(&["down"]);
            assert!(down.ends_with("0 left\n"), "{down}");
        }
        project.assert_nothing_left(&run);
    }
}

#[test]
fn containers_that_are_to_be_spared_run_on_and_are_taken_over() {
    let Some(engine) = Engine::for_test() else { return };
    let project = Project::with(WITH_PROGRAM, REDIS);
    let mut devctl = project.up_ready(&["--driver", "docker"]);
    let run = devctl.run_id();
    let record = std::fs::read_to_string(project.root().join(".devctl/run.json")).expect("it runs");
    let host = serde_json::from_str::<Value>(&record).expect("JSON")["engine"].clone();
    devctl.kill_with_guardian();
    // What the supervisor of a run says that was detached with `--keep`.
    let watch = |spare: bool| json!({"watch": {"root": project.root(), "run": run, "engine": host, "spare": spare}});
    guard(&project, &[watch(false), watch(true)]);
    assert_eq!(processes_of_run(&run), []);
    let running = |engine: Engine| {
        let found = engine.containers(&format!("com.docker.compose.project={}", project.name()));
        found.iter().filter(|container| container.state == "running").count()
    };
    assert_eq!(running(engine), 2);
    let ps = project.printed(&["ps"]);
    assert!(ps.contains("and left its containers running\n") && ps.contains("`devctl up` takes over"), "{ps}");
    let mut devctl = project.up_ready(&["--driver", "docker"]);
    assert_eq!(devctl.wait_node("starting", "redis")["action"], "adopt");
    devctl.signal(Signal::SIGTERM);
    devctl.wait_exit().expect_code(0).clean_receipt();
    project.assert_nothing_left(&run);
}

/// Runs a guardian to its end, with a supervisor that says these words and dies.
#[track_caller]
fn guard(project: &Project, words: &[Value]) {
    let mut command = project.command(&["guard"]);
    let mut guardian = command.stdin(Stdio::piped()).spawn().expect("it is built");
    let mut pipe = guardian.stdin.take().expect("it is piped");
    for word in words {
        writeln!(pipe, "{word}").expect("it reads");
    }
    drop(pipe);
    assert!(guardian.wait().expect("it is our child").success());
}

/// A stranger, who has nothing to do with devctl.
struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        use std::os::unix::process::CommandExt as _;
        // A leader of its own group; of a session it is none, which a record cannot know.
        Self(Command::new("sleep").arg("607").process_group(0).spawn().expect("every Unix has sleep"))
    }

    fn id(&self) -> Identity {
        process::look(self.0.id()).expect("it was just started").id
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn forge(project: &Project, run: &str, boot: Option<&str>, id: Identity) {
    let service =
        json!({"phase": "ready", "pid": id.pid, "start": id.start, "ours": true, "restarts": 0, "addresses": []});
    let record = json!({
        "run": run, "pid": 1, "boot": boot, "project": project.name(), "driver": "none",
        "began": "2026-11-20T09:00:00Z", "services": {"plain": service}
    });
    project.write(".devctl/run.json", &record.to_string());
}

#[test]
fn an_id_that_was_used_again_is_a_strangers() {
    let project = four();
    let boot = boot::id();
    let another = Some("00000000-0000-0000-0000-000000000000").filter(|_| boot.is_some());
    for (run, boot, earlier) in [("00000000000a", boot.as_deref(), 1), ("00000000000b", another, 0)] {
        if boot.is_none() {
            continue;
        }
        let stranger = Stranger::new();
        let id = stranger.id();
        let written = Identity { start: id.start - earlier, ..id };
        forge(&project, run, boot, written);
        assert_eq!(rows(&project), Vec::<Value>::new());
        let ps = project.printed(&["ps"]);
        let how =
            if earlier == 0 { "the last run was up when the machine went down\n" } else { "the last run was killed\n" };
        assert!(ps.contains(how), "{ps}");
        guard(&project, &[json!({"watch": {"root": project.root(), "run": run}})]);
        assert!(process::lives(id), "the guardian has killed a stranger: {run}");
        forge(&project, run, boot, written);
        let down = project.printed(&["down"]);
        assert!(down.ends_with("0 left\n"), "{down}");
        assert!(process::lives(id), "`down` has killed a stranger: {run}");
    }
    // The forgery is good enough otherwise: the right start of the right machine is believed.
    let mut meant = Stranger::new();
    forge(&project, "00000000000c", boot.as_deref(), meant.id());
    let rows = rows(&project);
    assert_eq!((&rows[0]["state"], &rows[0]["pid"]), (&json!("orphaned"), &json!(meant.0.id())), "{rows:#?}");
    project.printed(&["down"]);
    assert!(meant.0.wait().is_ok_and(|status| !status.success()));
}

#[test]
fn a_lock_of_somebody_who_is_gone_is_nobodys() {
    let project = four();
    // As a devctl leaves it that was killed, and whose id a stranger has by now.
    let stranger = Stranger::new();
    let holder = json!({"pid": stranger.0.id(), "run": "0123456789ab", "start": 1, "boot": boot::id()});
    project.write(".devctl/lock", &holder.to_string());
    assert!(own().is_some());
    let down = project.printed(&["down"]);
    assert_eq!(down, "nothing of this project runs; 0 left\n");
    assert!(process::lives(stranger.id()));
    for garbage in ["", "{", "\0\0\0\0", "[1, 2]"] {
        for file in ["lock", "run.json", "last-run.json", "guardian.log"] {
            std::fs::write(project.root().join(".devctl").join(file), garbage).expect("the folder is ours");
        }
        assert_eq!(project.printed(&["ps"]), "nothing of this project runs\n", "{garbage:?}");
        assert_eq!(project.printed(&["down"]), "nothing of this project runs; 0 left\n", "{garbage:?}");
    }
}
