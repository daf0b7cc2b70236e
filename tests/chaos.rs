//! Chaos: whatever is killed, stopped, interrupted, filled up or set back, and whenever, afterwards nothing is left, no
//! record lies, and the next `up` works.
//!
//! Each schedule is made of a seed. A failure prints its seed: `DEVCTL_CHAOS_SEED=N DEVCTL_CHAOS_RUNS=1` does the same
//! again, as far as the machine does; without a seed they are different ones each time. `DEVCTL_CHAOS_RUNS` says how
//! many.

#![cfg(unix)]

#[path = "chaos/arena.rs"]
mod arena;
#[path = "chaos/disk.rs"]
mod disk;
#[path = "chaos/engine.rs"]
mod engine;
#[path = "chaos/schedule.rs"]
mod schedule;
#[path = "chaos/socket.rs"]
mod socket;
#[path = "failures/stub.rs"]
mod stub;
mod support;
#[path = "chaos/wall_clock.rs"]
mod wall_clock;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use devctl::os::process::{self, Kill};
use devctl::state::StateDir;
use devctl::state::lock::Lock;

use arena::Arena;
use schedule::{Dice, Schedule};
use support::{Devctl, Project, variable};

/// How many schedules there are where nobody says otherwise.
const RUNS: u64 = 200;

/// How many happen side by side. They wait most of the time.
const SIDE_BY_SIDE: u64 = 6;

/// How many failures it takes to stop.
const ENOUGH: usize = 3;

fn number(name: &str) -> Option<u64> {
    variable(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

/// Not by `eprintln!`: the test runner would swallow it, unless the test fails.
fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// The first seed.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    // Short, to be typed.
    number("DEVCTL_CHAOS_SEED").unwrap_or_else(|| Dice::new(u64::from(now.subsec_nanos())).next() >> 32)
}

#[test]
fn whatever_happens_nothing_is_left_and_the_next_up_works() {
    let runs = number("DEVCTL_CHAOS_RUNS").unwrap_or(RUNS);
    let first = seed();
    say(&format!("chaos: {runs} schedules: DEVCTL_CHAOS_SEED={first} DEVCTL_CHAOS_RUNS={runs}"));
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(runs) {
            scope.spawn(|| {
                #[cfg(target_os = "linux")]
                let disks = disk::separate();
                #[cfg(not(target_os = "linux"))]
                let disks = false;
                let mut arena = Arena::new(disks);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let enough =
                        failures.lock().is_ok_and(|failures: std::sync::MutexGuard<Vec<_>>| failures.len() >= ENOUGH);
                    if n >= runs || enough {
                        return;
                    }
                    let schedule = Schedule::new(first + n);
                    if schedule.small_disk && !disks {
                        say(&format!("SKIPPED: seed {} needs a small disk, which this user may not mount", first + n));
                        continue;
                    }
                    #[cfg(target_os = "linux")]
                    let clocks = wall_clock::Clock::new().is_some();
                    #[cfg(not(target_os = "linux"))]
                    let clocks = false;
                    if schedule.own_clock && !clocks {
                        say(&format!("SKIPPED: seed {} needs a clock of its own: Linux, and a C compiler", first + n));
                        continue;
                    }
                    let Err(panic) = catch_unwind(AssertUnwindSafe(|| arena.run(&schedule))) else { continue };
                    let why = panic.downcast_ref::<String>().cloned();
                    let why = why.or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()));
                    let failure = format!("{schedule}{}\n{}", why.unwrap_or_default(), arena.told());
                    say(&format!("chaos: FAILED\n{failure}"));
                    failures.lock().expect("nobody panics with it").push(failure);
                    arena = Arena::new(disks);
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panics with it");
    say(&format!("chaos: {} schedules in {:.0?}", next.load(Ordering::Relaxed).min(runs), began.elapsed()));
    assert!(failures.is_empty(), "{} schedules failed:\n{}", failures.len(), failures.join("\n"));
}

/// A container, and a program that needs it.
const COMPOSE: &str = r#"
name: @name@
services:
  redis:
    image: redis:7-alpine
    ports: ["127.0.0.1:@port:redis@:6379"]
"#;

const MANIFEST: &str = r#"
[project]
name = "@name@"

[containers]
compose = ["compose.yml"]
driver = "docker"

[services.setsid]
command = ["@stub@", "kind", "setsid"]
depends_on = { redis = "ready" }
"#;

/// How often the engine goes and comes: each time takes seconds.
#[cfg(target_os = "linux")]
const ENGINE_RUNS: u64 = 5;

#[cfg(target_os = "linux")]
#[test]
fn an_engine_goes_and_comes_and_nothing_is_left() {
    let mut engine = match engine::OwnEngine::start() {
        Ok(engine) => engine,
        Err(why) => return say(&format!("SKIPPED: no Docker Engine of the test's own: {why}")),
    };
    let first = seed();
    for seed in (first..).take(usize::try_from(ENGINE_RUNS).expect("a few")) {
        say(&format!("chaos: the engine goes and comes: DEVCTL_CHAOS_SEED={seed}"));
        let project = Project::with(&MANIFEST.replace("@stub@", &stub::path().display().to_string()), COMPOSE);
        let host = engine.host();
        let devctl = |args: &[&str]| {
            let mut command = project.command(args);
            command.env("DOCKER_HOST", &host);
            Devctl::spawn(command)
        };
        let mut dice = Dice::new(seed);
        let detached: &[&str] = if dice.once_in(2) { &["--detach"] } else { &[] };
        let mut typed = devctl(&[&["up", "--format", "json"], detached].concat());
        let when = dice.below(20);
        let (meanwhile, pause) = (dice.below(5), Duration::from_millis(dice.next() % 1000));
        say(&format!("  {detached:?}, at event {when}, then {meanwhile} for {pause:?}"));
        typed.listen(Duration::from_millis(500), |events| events.len() >= when);
        engine.go();
        let supervisor = Lock::holder(&StateDir::of(project.root())).ok().flatten();
        let supervisor = supervisor.filter(|holder| !holder.guardian).and_then(|holder| holder.process());
        let hit = |kill: Kill| supervisor.is_some_and(|supervisor| process::signal(supervisor, kill));
        match meanwhile {
            0 => drop(hit(Kill::Kill)),
            1 => drop(hit(Kill::Term)),
            // Whatever it can do without an engine.
            2 => drop(devctl(&["down"]).wait_exit()),
            3 => drop(devctl(&["ps"]).wait_exit()),
            _ => {}
        }
        typed.listen(pause, |_| false);
        engine.come();
        arena::begun(&project);
        let nothing_is_left = || {
            let down = devctl(&["down"]).wait_exit();
            let told = down.told();
            assert_eq!(down.code, Some(0), "{told}\n{}", engine.log());
            assert_eq!(engine.left_of(project.name()), [] as [String; 0], "{told}");
            support::until("nobody is left", || {
                let left = project.processes();
                if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
            });
            assert!(!project.root().join(".devctl/run.json").exists(), "{told}");
            devctl(&["ps", "--format", "json"]).wait_exit().expect_code(0);
        };
        nothing_is_left();
        typed.wait_exit();
        devctl(&["up", "-d", "--format", "json"]).wait_exit().expect_code(0);
        nothing_is_left();
    }
}
