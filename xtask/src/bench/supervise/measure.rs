//! The measurements, each of one tool.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};

use super::super::figures::Figures;
use super::family::Cost;
use super::peers::{CtrlC, Way};
use super::session::{How, LIMIT, Session, Tool};
use super::watch::What;

/// How many bytes of lines are printed.
const FLOOD: u64 = 200_000_000;

/// How many crashes are measured; devctl's own pause before the last of them is 4 s, and pitchfork's are longer.
const CRASHES: usize = 4;

/// The kinds of child, and the job of the workload that is one.
pub(super) const KINDS: [(&str, &str); 4] =
    [("plain", "run"), ("grand", "grand"), ("setsid", "setsid"), ("stub", "stub")];

/// The ways to end.
pub(super) const ENDS: [&str; 4] = ["SIGTERM", "Ctrl+C", "Ctrl+C twice", "SIGKILL"];

/// One tool's figures.
pub(super) struct Entry<'a> {
    pub(super) tool: &'a Tool,
    pub(super) start: Figures,
    pub(super) stop: Figures,
    pub(super) cost: Option<Cost>,
    pub(super) idle: Option<f64>,
    pub(super) blocks: Flood,
    pub(super) lines: Flood,
    pub(super) crash: Figures,
    pub(super) thousand: Thousand,
    /// What is left, in the order of `ENDS`.
    pub(super) matrix: Vec<Left>,
}

/// Figures of one flood.
#[derive(Default)]
pub(super) struct Flood {
    /// Seconds.
    pub(super) processor: Figures,
    /// Seconds of the one that prints.
    pub(super) writer: Figures,
    pub(super) peak: f64,
    pub(super) printed: u64,
    pub(super) in_files: u64,
}

/// Figures of 1,000 processes.
#[derive(Default)]
pub(super) struct Thousand {
    pub(super) start: Figures,
    pub(super) stop: Figures,
    pub(super) cost: Option<Cost>,
    pub(super) idle: Option<f64>,
}

/// What was left after one way to end.
pub(super) struct Left {
    pub(super) kinds: Vec<String>,
    /// Seconds until the tool had ended; `None` where it had not after 25.
    pub(super) took: Option<f64>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(tool: &'a Tool) -> Self {
        Self {
            tool,
            start: Figures::default(),
            stop: Figures::default(),
            cost: None,
            idle: None,
            blocks: Flood::default(),
            lines: Flood::default(),
            crash: Figures::default(),
            thousand: Thousand::default(),
            matrix: Vec::new(),
        }
    }

    /// Measures something. What a peer cannot do is said and left out; what devctl cannot do ends the benchmark.
    pub(super) fn attempt(&mut self, what: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        match what(self) {
            Err(error) if self.tool.peer.program() != "devctl" => {
                eprintln!("FAILED: {error:#}");
                Ok(())
            }
            done => done,
        }
    }

    /// Whether it is measured with 1,000 processes: devctl, and the one peer that is near it.
    pub(super) fn is_of_thousand(&self) -> bool {
        matches!(self.tool.peer.name(), "devctl" | "devctl up -d" | "mprocs")
    }
}

impl Entry<'_> {
    /// Whether signals end it: a command of its own is no way of the matrix, and a terminal hears what a pipe hears.
    pub(super) fn is_of_matrix(&self) -> bool {
        matches!(self.tool.peer.ctrl_c(), CtrlC::Group | CtrlC::Process(_))
    }
}

/// What all measurements need.
pub(super) struct Bench<'a> {
    pub(super) workload: &'a Path,
}

impl Bench<'_> {
    fn job(&self, name: &str, words: &[&str]) -> (String, Vec<String>) {
        let own = [self.workload.display().to_string(), "SOCKET".to_owned(), "NAME".to_owned()];
        (name.to_owned(), own.into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect())
    }

    fn trivial<'a>(&self, tool: &'a Tool, count: usize) -> anyhow::Result<(Session<'a>, Duration)> {
        let jobs: Vec<_> = (0..count).map(|n| self.job(&format!("w{n}"), &["run"])).collect();
        let mut session = Session::start(tool, self.workload, &jobs, false, How::default())?;
        let words = session.watch.all(What::Start, count, LIMIT);
        let words = session.explain(words)?;
        let last = words.iter().map(|word| word.at).max().context("somebody started")?;
        let took = since(last, session.began);
        Ok((session, took))
    }

    /// 10 processes: start, memory, stop; with `idle` their processor time as well.
    pub(super) fn ten(&self, entry: &mut Entry<'_>, idle: bool) -> anyhow::Result<()> {
        let (mut session, took) = self.trivial(entry.tool, 10)?;
        entry.start.add(took);
        // What was to be done at the start is done.
        std::thread::sleep(Duration::from_secs(2));
        entry.cost = Some(session.family()?.cost());
        if idle {
            entry.idle = Some(idle_of(&session)?);
        }
        entry.stop.add(stop(&mut session)?);
        Ok(())
    }

    /// 1,000 processes.
    pub(super) fn thousand(&self, entry: &mut Entry<'_>, idle: bool) -> anyhow::Result<()> {
        let (mut session, took) = self.trivial(entry.tool, 1000)?;
        entry.thousand.start.add(took);
        std::thread::sleep(Duration::from_secs(2));
        entry.thousand.cost = Some(session.family()?.cost());
        if idle {
            entry.thousand.idle = Some(idle_of(&session)?);
        }
        entry.thousand.stop.add(stop(&mut session)?);
        Ok(())
    }

    /// 200 MB of lines, in large writes and in one write for each line.
    pub(super) fn flood(&self, entry: &mut Entry<'_>) -> anyhow::Result<()> {
        for (how, flood) in [("blocks", &mut entry.blocks), ("lines", &mut entry.lines)] {
            let jobs = [self.job("flood", &[how, &FLOOD.to_string()])];
            let mut session = Session::start(entry.tool, self.workload, &jobs, false, How::default())?;
            let words = session.watch.all(What::Start, 1, LIMIT);
            session.explain(words)?;
            // Those who wait for readiness first say so a moment later.
            std::thread::sleep(Duration::from_secs(1));
            let (before, lines) = (session.family()?, session.lines());
            let used = before.processor();
            let began = SystemTime::now();
            session.watch.go();
            let words = session.watch.all(What::Done, 1, 3 * LIMIT);
            let done = session.explain(words)?;
            flood.writer.add(since(done[0].at, began));
            // It has kept everything when it has nothing to do any more.
            let quiet_for = Duration::from_millis(500);
            let end = Instant::now() + 3 * LIMIT;
            let (mut last, mut at) = (-1.0, Instant::now());
            while at.elapsed() < quiet_for && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(50));
                let now = before.processor();
                if now > last {
                    (last, at) = (now, Instant::now());
                }
                flood.peak = flood.peak.max(before.cost().rss);
            }
            flood.processor.add(Duration::from_secs_f64(last - used));
            flood.printed = session.lines() - lines;
            flood.in_files = entry.tool.peer.logs(session.folder(), "flood").iter().map(|path| lines_of(path)).sum();
        }
        Ok(())
    }

    /// From a crash to the next life of the same process, by their own clocks.
    pub(super) fn crashes(&self, entry: &mut Entry<'_>) -> anyhow::Result<()> {
        let is_devctl = entry.tool.peer.program() == "devctl";
        if is_devctl && entry.tool.peer.way() != Way::Pipe {
            return Ok(());
        }
        let how = if is_devctl { How { more: &["--format", "json"], keep: true } } else { How::default() };
        let mut session = Session::start(entry.tool, self.workload, &[self.job("crash", &["crash"])], true, how)?;
        let words = session.watch.all(What::Start, 1, LIMIT);
        session.explain(words)?;
        for crash in 0..CRASHES {
            // Some restart only what has lived for a second.
            std::thread::sleep(Duration::from_millis(1200));
            session.watch.go();
            let crashed = session.watch.all(What::Crash, 1, LIMIT);
            let crashed = session.explain(crashed)?[0].at;
            let Ok(next) = session.watch.all(What::Start, 1, Duration::from_secs(20)) else {
                eprintln!("SKIPPED: {} did not start it again within 20 s", entry.tool.peer.name());
                return Ok(());
            };
            let mut took = since(next[0].at, crashed);
            if is_devctl {
                let text = session.text();
                let events = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
                let pause = events.filter(|event| event["event"] == "restarting").nth(crash);
                let pause = pause.context("devctl says each restart")?["delay_ms"].as_u64().context("and its pause")?;
                took = took.saturating_sub(Duration::from_millis(pause));
            }
            entry.crash.add(took);
        }
        Ok(())
    }

    /// Four kinds of child, and each way to end: who is left 2.5 s after the tool has ended, or after 25 s.
    pub(super) fn matrix(&self, entry: &mut Entry<'_>) -> anyhow::Result<()> {
        entry.matrix.clear();
        for end in ENDS {
            let jobs = KINDS.map(|(kind, job)| self.job(kind, &[job]));
            let mut session = Session::start(entry.tool, self.workload, &jobs, false, How::default())?;
            let words = session.watch.all(What::Start, KINDS.len(), LIMIT);
            session.explain(words)?;
            std::thread::sleep(Duration::from_millis(500));
            let main = session.main()?;
            let began = Instant::now();
            match end {
                "SIGTERM" => kill(main, Signal::SIGTERM)?,
                "SIGKILL" => kill(main, Signal::SIGKILL)?,
                _ => session.ctrl_c()?,
            }
            if end == "Ctrl+C twice" {
                std::thread::sleep(Duration::from_millis(700));
                // One that has ended already needs no second.
                drop(session.ctrl_c());
            }
            let ended = session.ended(main, Duration::from_secs(25));
            let took = ended.then(|| began.elapsed().as_secs_f64());
            let mut left: BTreeMap<String, bool> = KINDS.map(|(kind, _)| (kind.to_owned(), true)).into();
            let until = Instant::now() + Duration::from_millis(2500);
            while let Some(word) = session.watch.next(until.saturating_duration_since(Instant::now())) {
                if word.what == What::Gone {
                    left.insert(word.name, false);
                }
                if session.watch.running() == 0 {
                    break;
                }
            }
            let kinds = KINDS.iter().filter(|(kind, _)| left[*kind]).map(|(kind, _)| (*kind).to_owned()).collect();
            entry.matrix.push(Left { kinds, took });
        }
        Ok(())
    }
}

fn since(at: SystemTime, began: SystemTime) -> Duration {
    at.duration_since(began).unwrap_or_default()
}

/// Processor time over 10 s, in percent of one.
fn idle_of(session: &Session<'_>) -> anyhow::Result<f64> {
    let family = session.family()?;
    let before = family.processor();
    std::thread::sleep(Duration::from_secs(10));
    Ok((family.processor() - before) * 10.0)
}

/// Ctrl+C until the last workload is gone.
fn stop(session: &mut Session<'_>) -> anyhow::Result<Duration> {
    let began = SystemTime::now();
    session.ctrl_c()?;
    let gone = session.watch.gone(LIMIT);
    let gone = session.explain(gone)?;
    Ok(since(gone, began))
}

fn lines_of(path: &Path) -> u64 {
    std::fs::read(path).map_or(0, |text| memchr::memchr_iter(b'\n', &text).count() as u64)
}
