//! `devctl guard`: the guardian of a run. It waits for the end of its standard input, which is the end of the run's
//! supervisor, and takes down what that one could not.
//!
//! Until then it is one thread that reads: no runtime, no connection, next to no memory of its own. It holds the
//! project's lock while it works, so that an `up` that comes meanwhile waits instead of adopting what is being stopped.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::last_run;
use crate::advice::Blame;
use crate::control::socket;
use crate::driver::claim::{self, Claim};
use crate::driver::docker::Docker;
use crate::driver::guardian::{Watch, Word};
use crate::driver::process::{self, Lost, Patience};
use crate::error::Error;
use crate::event::millis;
use crate::name::ServiceName;
use crate::os::{apart, clock, env, files};
use crate::state::StateDir;
use crate::state::guardian_log::Deed;
use crate::state::last_run::LastRun;
use crate::state::lock::{Attempt, Holder, Lock};
use crate::state::record::Record;

/// Take down a run whose devctl was killed; devctl starts this itself
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Args {}

/// How often to look at a lock that the dead supervisor has not given back yet.
const LOCK: Duration = Duration::from_millis(5);

/// How often containers are looked for and removed: the engine may be carrying out what the dead run asked of it.
const ROUNDS: u32 = 3;

/// Watches until the run is over, and ends it where it was not said to be.
pub(super) fn run() -> Result<u8, Error> {
    apart::name_this_process(c"devctl");
    let Some(watch) = last_word(io::stdin().lock())? else { return Ok(0) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("cannot start the guardian's runtime", error))?;
    runtime.block_on(take_down(&watch, &env::all()));
    Ok(0)
}

/// Reads to the end. Answers what is to be taken down: nothing after a goodbye.
fn last_word(mut input: impl io::BufRead) -> Result<Option<Watch>, Error> {
    let mut last = None;
    let mut line = String::new();
    loop {
        line.clear();
        // What cannot be read any more has ended.
        if input.read_line(&mut line).unwrap_or(0) == 0 {
            return Ok(last);
        }
        match serde_json::from_str(&line) {
            Ok(Word::Watch(watch)) => last = Some(watch),
            Ok(Word::Goodbye) => return Ok(None),
            // Half a line is the last breath of a supervisor that was killed while it wrote.
            Err(_) if !line.ends_with('\n') => {}
            Err(error) => {
                let message = format!("`devctl guard` is started by devctl itself: {error}");
                return Err(Error::new(Blame::Configuration, message).hint("you want `devctl up`"));
            }
        }
    }
}

/// Takes the run down and writes down what was done.
async fn take_down(watch: &Watch, env: &BTreeMap<String, String>) {
    let began = clock::now();
    let state = StateDir::of(&watch.root);
    // A project that was deleted meanwhile is not made anew; its processes are there all the same.
    let there = files::is_dir(state.path());
    let lock = if there { hold(&state, watch).await } else { Hold::Unheld };
    match &lock {
        Hold::Others => return,
        Hold::Ours(lock) => socket::clear(&watch.root, lock),
        Hold::Unheld => {}
    }
    let record = Record::read(&state).filter(|record| record.run == watch.run.0.as_str());
    let runs = watch.runs();
    let lost = match &record {
        Some(record) => last_run::lost(record),
        None => Lost::default(),
    };
    // The record may be of an earlier moment where the disk is full.
    let lost = Lost { runs: runs.clone(), ..lost };
    let (swept, engine) = tokio::join!(process::sweep(&lost, Patience::GUARDIAN), reach(watch, env));
    let mut deed = Deed {
        run: watch.run.0.to_string(),
        at: clock::timestamp().to_string(),
        processes: swept.stopped,
        spared: watch.spare,
        left: swept.left,
        ..Deed::default()
    };
    let processes_only = deed.left.len();
    match engine {
        None => {}
        Some(Ok(_)) if watch.spare => {}
        Some(Ok(engine)) => remove(&engine, watch, record.as_ref(), &mut deed).await,
        Some(Err(away)) => deed.left.push(format!("perhaps containers and networks: {away}")),
    }
    // A container that is left holds its ports itself.
    let containers_gone = !watch.spare && deed.left.len() == processes_only;
    let claims = record.as_ref().map(|record| ports(record, containers_gone)).unwrap_or_default();
    deed.left.extend(claim::still_held(claims, None).await);
    deed.elapsed_ms = millis(clock::now().duration_since(began));
    if there {
        write_down(&state, record, &deed);
    }
    drop(lock);
}

/// Whether the project is ours to take down.
enum Hold {
    /// It is, and nobody else may begin meanwhile.
    Ours(Lock),
    /// It cannot be locked; the run is to be taken down all the same.
    Unheld,
    /// Another devctl was quicker, and looks after it.
    Others,
}

async fn hold(state: &StateDir, watch: &Watch) -> Hold {
    let run = watch.run.0.as_str();
    let holder = Holder { guardian: true, ..Holder::this(run) };
    loop {
        match Lock::take_to_tidy_up(state, &holder) {
            Ok(Attempt::Held(lock)) => return Hold::Ours(lock),
            // The supervisor itself, whose files the kernel closes one after the other.
            Ok(Attempt::Taken(Some(holder))) if holder.run == run && !holder.guardian => {
                tokio::time::sleep(LOCK).await;
            }
            Ok(Attempt::Taken(_)) => return Hold::Others,
            // A full disk, a folder that became read-only.
            Err(_) => return Hold::Unheld,
        }
    }
}

/// The ports that services of the run listened on and that should be free now: those of its containers only where
/// these are gone.
fn ports(record: &Record, containers_gone: bool) -> Vec<Claim> {
    let listened = record.services.iter().filter(|(_, service)| service.ours && service.ready_ms.is_some());
    let ended = listened.filter(|(_, service)| containers_gone || service.container.is_none());
    ended
        .filter_map(|(name, service)| Some((name.parse::<ServiceName>().ok()?, service)))
        .flat_map(|(name, service)| service.ports.iter().map(move |port| (name.clone(), *port)))
        .map(|(service, port)| Claim { service, ip: Ipv4Addr::LOCALHOST.into(), port, infrastructure: false })
        .collect()
}

/// The engine that the run used. `None` where it used none.
async fn reach(watch: &Watch, env: &BTreeMap<String, String>) -> Option<Result<Docker, crate::driver::docker::Error>> {
    let host = watch.engine.as_deref()?;
    Some(Docker::connect_again(env, host).await)
}

/// Stops and removes the run's containers and networks, and looks whether they are gone.
async fn remove(engine: &Docker, watch: &Watch, record: Option<&Record>, deed: &mut Deed) {
    let runs = watch.runs();
    let started: Vec<String> = record.map(last_run::started_containers).unwrap_or_default();
    for round in 1..=ROUNDS {
        let done = engine.take_down(&runs, &started, watch.keep).await;
        deed.containers.extend(done.containers);
        deed.networks.extend(done.networks);
        let mut left = Vec::new();
        for run in &runs {
            left.extend(if watch.keep { engine.left_running(run).await } else { engine.leftovers(run).await });
        }
        if left.is_empty() && done.failed.is_empty() {
            return;
        }
        if round == ROUNDS {
            deed.left.extend(done.failed);
            deed.left.extend(left);
        }
    }
}

/// Leaves word of it all, as far as the disk takes it. A run of which nothing is left is forgotten; one that left
/// something, on purpose or not, is for the next `up` or `down` to look after.
fn write_down(state: &StateDir, record: Option<Record>, deed: &Deed) {
    // Nobody is there to be told of a full disk. The next command looks for itself.
    let _ = deed.write(state);
    let Some(record) = record else { return };
    let may_forget = deed.left.is_empty() && !(deed.spared && last_run::containers(&record).next().is_some());
    let _ = LastRun::of_dead(record).write(state);
    if may_forget {
        let _ = Record::clear(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_a_goodbye_means_nothing_to_do() {
        let watch = |spare| format!("{{\"watch\":{{\"root\":\"/p\",\"run\":\"0123456789ab\",\"spare\":{spare}}}}}\n");
        let spared = |text: String| last_word(text.as_bytes()).unwrap().map(|watch| watch.spare);
        assert_eq!(spared(String::new()), None);
        assert_eq!(spared(watch(false)), Some(false));
        assert_eq!(spared(watch(false) + &watch(true)), Some(true));
        assert_eq!(spared(watch(false) + "{\"watch\":{\"ro"), Some(false), "killed while it wrote");
        assert_eq!(spared(watch(true) + "\"goodbye\"\n"), None);
        assert_eq!(spared(watch(true) + "\"goodbye\""), None);
    }

    #[test]
    fn somebody_who_types_it_is_told() {
        let error = last_word(&b"hello\n"[..]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
