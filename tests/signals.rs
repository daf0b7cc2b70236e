//! Signals at random moments of start-up: whenever the end comes, nothing of the run is left, data survive, and the exit
//! code tells whether everything had been ready.
//!
//! The moments come from a seed that is printed; `DEVCTL_TEST_SEED` repeats them, as far as a machine repeats itself.

#![cfg(unix)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use support::{Devctl, Finished, Infra, Project, Signal, sql, variable};

/// The moments for all rounds of a test, and where they came from.
struct Moments {
    seed: u64,
    random: StdRng,
}

impl Moments {
    fn new() -> Self {
        let seed = match variable("DEVCTL_TEST_SEED") {
            Some(seed) => seed.parse().expect("DEVCTL_TEST_SEED is a number"),
            None => rand::random(),
        };
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        // Not by `eprintln!`: a test runner that is killed would take it along.
        drop(writeln!(std::io::stderr(), "{test}: DEVCTL_TEST_SEED={seed}"));
        Self { seed, random: StdRng::seed_from_u64(seed) }
    }

    /// Sleeps for a random part of `most`. The one place where to sleep is the point.
    fn sleep(&mut self, most: Duration) -> Duration {
        let moment = most.mul_f64(self.random.random_range(0.0..1.0));
        std::thread::sleep(moment);
        moment
    }
}

/// One way to end a start-up.
#[derive(Clone, Copy, Debug)]
struct Blow {
    signal: Signal,
    twice: bool,
}

/// The blows of all rounds in turn: mostly Ctrl+C, single and double, and the others in between.
const BLOWS: [Blow; 5] = [
    Blow { signal: Signal::SIGINT, twice: false },
    Blow { signal: Signal::SIGINT, twice: true },
    Blow { signal: Signal::SIGTERM, twice: false },
    Blow { signal: Signal::SIGINT, twice: true },
    Blow { signal: Signal::SIGHUP, twice: false },
];

/// Makes a row that must survive all that follows.
const WITNESS: &str = "CREATE TABLE witness (word text); INSERT INTO witness VALUES ('alive')";

impl Blow {
    /// What is wrong with the end of a run; nothing, it is to be hoped.
    fn complaints(self, project: &Project, finished: &Finished) -> Vec<String> {
        let mut complaints = Vec::new();
        let began = finished.find("run_started", None);
        let run = began.and_then(|event| event["run"].as_str()).unwrap_or("none");
        complaints.extend(project.left_of(run).into_iter().map(|left| format!("left: {left}")));

        let ready = finished.find("stack_ready", None).is_some();
        let code = if ready { 0 } else { 128 + self.signal as i32 };
        if finished.code != Some(code) {
            complaints.push(format!("the exit code should be {code} and is {:?}", finished.code));
        }
        if finished.killed_by.is_some() && !finished.events.is_empty() {
            // Before devctl can catch a signal it may die of it, having done nothing.
            complaints.push("the signal was not caught".to_owned());
        }
        if began.is_some() {
            match finished.find("receipt", None) {
                None => complaints.push("there is no receipt".to_owned()),
                Some(receipt) if receipt["left"] != serde_json::json!([]) => {
                    complaints.push(format!("the receipt says that something is left: {}", receipt["left"]));
                }
                Some(receipt) if receipt["kept"] != serde_json::json!([]) => {
                    complaints.push(format!("the receipt says that something was there before: {}", receipt["kept"]));
                }
                Some(_) => {}
            }
        }
        if let Some(killing) = finished.find("killing", None).filter(|_| !self.twice) {
            complaints.push(format!("killed what would have stopped by itself: {killing}"));
        }
        if let Some(failed) = finished.find("failed", None) {
            complaints.push(format!("a failure where there was only a signal: {failed}"));
        }
        complaints
    }
}

/// Ends a run that is ready.
fn end(project: &Project, mut devctl: Devctl) {
    let run = devctl.run_id();
    devctl.signal(Signal::SIGINT);
    devctl.wait_exit().expect_code(0).clean_receipt();
    project.assert_nothing_left(&run);
}

fn ended_at_any_moment(infra: Infra, rounds: usize) {
    if !infra.available() {
        return;
    }
    let mut moments = Moments::new();
    let project = Project::whole();
    let devctl = project.up_ready(&infra.args());
    sql(&project.database_url(), WITNESS).expect("the database is ready");
    end(&project, devctl);
    let data = project.data(infra);
    assert_eq!(data.len(), 2, "{data:?}");

    // How long a warm start takes here and now, and a bit more: some signals shall come when all is ready.
    let start = Instant::now();
    let devctl = project.up_ready(&infra.args());
    let warm = start.elapsed().mul_f64(1.2);
    end(&project, devctl);

    for (round, blow) in BLOWS.into_iter().cycle().take(rounds).enumerate() {
        let devctl = project.up(&infra.args());
        let moment = moments.sleep(warm);
        devctl.signal(blow.signal);
        let second = blow.twice.then(|| {
            // Anywhere in a teardown, which is shorter than a start.
            let moment = moments.sleep(warm / 3);
            devctl.signal(blow.signal);
            moment
        });
        let finished = devctl.wait_exit();
        let mut complaints = blow.complaints(&project, &finished);
        if project.data(infra) != data {
            complaints.push(format!("the data were {data:?} and are {:?}", project.data(infra)));
        }
        assert!(
            complaints.is_empty(),
            "seed {}, round {round}, {blow:?} after {moment:?} and {second:?}: {complaints:#?}\n{}",
            moments.seed,
            finished.told()
        );
    }

    let devctl = project.up_ready(&infra.args());
    let word = sql(&project.database_url(), "SELECT word FROM witness").expect("the database is ready");
    assert_eq!(word.as_deref(), Some("alive"), "the data have survived");
    end(&project, devctl);
}

#[test]
fn nothing_is_left_whenever_a_signal_comes_on_docker() {
    ended_at_any_moment(Infra::Docker, 30);
}

#[test]
fn nothing_is_left_whenever_a_signal_comes_embedded() {
    ended_at_any_moment(Infra::Embedded, 20);
}

/// A container whose first process hears nothing until it has become Redis: a signal before that is lost.
const DEAF: &str = r#"
name: @name@
services:
  redis:
    image: redis:7-alpine
    entrypoint: ["sh", "-c", "sleep 1; exec redis-server"]
    ports: ["127.0.0.1:@port:redis@:6379"]
"#;

#[test]
fn a_container_that_cannot_hear_yet_is_asked_again() {
    if !Infra::Docker.available() {
        return;
    }
    let project = Project::with("[project]\nname = \"@name@\"\n[containers]\ncompose = [\"compose.yml\"]\n", DEAF);
    let mut devctl = project.up(&Infra::Docker.args());
    let run = devctl.run_id();
    devctl.wait_node("started", "redis");
    devctl.signal(Signal::SIGINT);
    let finished = devctl.wait_exit().expect_code(130);
    finished.clean_receipt();
    assert_eq!(finished.find("killing", None), None, "{}", finished.told());
    let stopped = finished.find("stopped", Some("redis")).expect("it was started");
    assert_eq!(stopped["exit"]["code"], 0, "{}", finished.told());
    project.assert_nothing_left(&run);
}

/// Takes a moment to end, and says that it was given one. Its log is what is looked at.
const SLOW: &str = r"#!/bin/sh
trap 'i=0; while [ $i -lt 30 ]; do sleep 0.02; i=$((i+1)); done; echo ended as it should; exit 0' TERM
echo up
while :; do sleep 0.02; done
";

/// `devctl up | tee log`, and one Ctrl+C that ends `tee` as well: devctl notices that nobody reads any more while it
/// stops. That must not count as somebody who insists.
#[test]
fn a_reader_that_goes_away_hurries_nothing() {
    let project = Project::empty();
    let manifest =
        "[project]\nname = \"@name@\"\n[services.slow]\ndir = \".\"\nruntime = \"exec\"\ncommand = \"./slow\"\n";
    project.write("devctl.toml", manifest);
    project.script("slow", SLOW);
    let mut command = project.command(&["up", "--format", "json"]);
    let mut devctl =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).spawn().expect("it is built");
    let mut lines = BufReader::new(devctl.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    let first = lines.find(|line| line.contains(r#""event":"run_started""#)).expect("it begins");
    let run =
        serde_json::from_str::<serde_json::Value>(&first).expect("JSON")["run"].as_str().expect("a name").to_owned();
    project.remember(run.clone());
    lines.find(|line| line.contains(r#""line":"up""#)).expect("it has set its trap");
    drop(lines);

    let pid = nix::unistd::Pid::from_raw(i32::try_from(devctl.id()).expect("process ids are small"));
    nix::sys::signal::kill(pid, Signal::SIGINT).expect("it is ours");
    let status = devctl.wait().expect("it is our child");
    assert_eq!(status.code(), Some(0), "{status}");
    project.assert_nothing_left(&run);
    let log = std::fs::read_to_string(project.root().join(".devctl/logs/slow.log")).expect("the service has a log");
    assert!(log.contains("ended as it should"), "it was not given its time:\n{log}");
}
