//! Why a service is as it is: from what was gathered about it to what is wrong, the evidence for that, and what to type.
//!
//! A pure function over plain data: who gathers it, and where from, is decided elsewhere, so that a running stack, one
//! that ended and one that was killed are explained alike.

mod cause;
mod exit;
mod meant;
mod path;
mod pattern;
mod text;

#[cfg(test)]
mod tests;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Serialize;

pub use self::cause::{Cause, Kind, Quote};
pub use self::exit::ExitFacts;
pub use self::path::{Link, concerned};
pub use self::text::text;
use super::words;
use crate::event::Failure;
use crate::logs::read::Life;
use crate::os::ports::Owner;
use crate::state::last_run::End;
use crate::state::record::ServiceRecord;

/// Everything that is known of a service when somebody asks why.
#[derive(Clone, Debug)]
pub struct Case {
    /// The service.
    pub service: String,
    /// When it was asked.
    pub now: Timestamp,
    /// The run that is spoken of.
    pub run: Run,
    /// The services of that run.
    pub services: IndexMap<String, ServiceRecord>,
    /// What else failed in it.
    pub failures: IndexMap<String, Failure>,
    /// What was found out about services: of the one that is asked for, and of those it waits for.
    pub found: IndexMap<String, Found>,
    /// What the service needs, as the project's files have it.
    pub needs: Vec<String>,
    /// Whether its health is checked once it is ready.
    pub checked: bool,
    /// How long it took to be ready in the run before, in milliseconds.
    pub earlier_ready_ms: Option<u64>,
    /// What the guardian of a killed run did.
    pub deed: Option<String>,
}

/// What was found out about a service by looking.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What its last life left in its log.
    pub life: Life,
    /// What the life before left there.
    pub before: Life,
    /// Its ports, and who listens on each now.
    pub ports: Vec<(u16, Vec<Owner>)>,
}

/// The run that is spoken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// There was none yet.
    None,
    /// It goes on.
    Up {
        /// Whether it is being taken down.
        stopping: bool,
    },
    /// It is over.
    Over {
        /// How it ended.
        end: End,
        /// When, RFC 3339, where that is known.
        ended: Option<String>,
    },
}

/// Why a service is as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The service.
    pub service: String,
    /// What it is doing: a state as `devctl ps` has it, or `never_ran`, or `left_out` where the run does not have it.
    pub state: String,
    /// All of it in one sentence.
    pub summary: String,
    /// Whether nothing is wrong.
    pub well: bool,
    /// Whether the run goes on.
    pub running: bool,
    /// How the run ended, where it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// When it ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// How many milliseconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ago_ms: Option<u64>,
    /// When the service was started, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// For how many milliseconds it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_ms: Option<u64>,
    /// Milliseconds from its start to its readiness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<u64>,
    /// What is known of its health.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<&'static str>,
    /// How often it was started again.
    pub restarts: u32,
    /// When it will be started again, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_start: Option<String>,
    /// In how many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_start_ms: Option<u64>,
    /// Each way from it to something that it waits for in the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<Vec<Link>>,
    /// What the last probe said that did not find it ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_probe: Option<String>,
    /// How it ended the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<ExitFacts>,
    /// What is likely wrong, the likeliest first.
    pub causes: Vec<Cause>,
}

/// Explains.
#[must_use]
pub fn explain(case: &Case) -> Explanation {
    let known = case.services.get(&case.service);
    let record = known.cloned().unwrap_or_default();
    let running = matches!(case.run, Run::Up { .. });
    let (end, ended) = match &case.run {
        Run::Over { end, ended } => (Some(*end), ended.clone()),
        Run::None | Run::Up { .. } => (None, None),
    };
    let state = match (&case.run, known) {
        (Run::None, _) => "never_ran",
        (Run::Up { .. } | Run::Over { .. }, None) => "left_out",
        (Run::Up { .. } | Run::Over { .. }, Some(record)) => record.phase.as_str(),
    };
    let waits_for = path::paths(case);
    let causes = cause::causes(case, &waits_for);
    let is_up = running && matches!(state, "ready" | "late" | "unhealthy" | "starting" | "probing");
    let since = record.since.clone().filter(|_| is_up);
    let well = causes.is_empty() && matches!(state, "ready" | "done" | "starting" | "probing") && running;
    let health = (state == "ready" && running).then_some(if case.checked {
        "its health is checked, and passes"
    } else {
        "nobody checks its health once it is ready; `health` in devctl.toml does"
    });
    let health = if state == "unhealthy" { Some("its health is checked, and fails") } else { health };
    Explanation {
        service: case.service.clone(),
        state: state.to_owned(),
        summary: summary(case, state, &record, &waits_for),
        well,
        running,
        end,
        ended_ago_ms: ended.as_deref().and_then(|ended| passed(case.now, ended)),
        ended,
        up_ms: since.as_deref().and_then(|since| passed(case.now, since)),
        since,
        ready_ms: record.ready_ms.filter(|_| !matches!(state, "failed" | "restarting" | "waiting")),
        health,
        restarts: record.restarts,
        next_start_ms: record.next_start.as_deref().and_then(|next| left(case.now, next)).filter(|_| running),
        next_start: record.next_start.clone().filter(|_| running),
        waits_for,
        last_probe: last_probe(state, &record),
        last_exit: record.last_exit.as_ref().map(ExitFacts::of),
        causes,
    }
}

/// What the last probe said, where that says something of now: once a service is ready it does not any more.
fn last_probe(state: &str, record: &ServiceRecord) -> Option<String> {
    match state {
        "failed" => record.failure.as_ref()?.last_probe.clone(),
        "starting" | "probing" | "late" => record.last_probe.clone(),
        "restarting" => record.last_probe.clone().filter(|_| record.ready_ms.is_none()),
        _ => None,
    }
}

/// All of it in one sentence.
fn summary(case: &Case, state: &str, record: &ServiceRecord, waits_for: &[Vec<Link>]) -> String {
    let name = &case.service;
    let message = record.failure.as_ref().map_or("", |failure| failure.message.lines().next().unwrap_or_default());
    let reason = match message.strip_prefix(&format!("`{name}` ")) {
        Some(rest) => format!("{name} {rest}"),
        None if message.is_empty() => format!("{name} failed"),
        None => format!("{name} failed: {message}"),
    };
    if let Run::Over { end, .. } = case.run {
        return match state {
            "left_out" => format!("{name} was not part of the last run, which {}", how_it_ended(end)),
            "failed" => reason,
            "done" => format!("{name} did its work and ended well; the last run {}", how_it_ended(end)),
            "waiting" => format!("{name} never started; the last run {}", how_it_ended(end)),
            "stopped" => format!("{name} was stopped with the last run, which {}", how_it_ended(end)),
            other => format!("{name} was {other} when the last run {}", how_it_ended(end)),
        };
    }
    let since = record.since.as_deref().and_then(|since| passed(case.now, since));
    let time = |before: &str| since.map(|ms| format!("{before}{}", words::duration(ms))).unwrap_or_default();
    match state {
        "never_ran" => format!("{name} never ran here"),
        "left_out" => format!("{name} is not part of the run: it began without it"),
        "waiting" if waits_for.is_empty() => format!("{name} waits for its turn"),
        "waiting" => format!("{name} waits for {}", words::comma(firsts(waits_for))),
        "starting" => format!("{name} is being started"),
        "probing" => format!("{name} runs and is not ready yet{}", time(", after ")),
        "ready" => format!("{name} is ready{}", time(", up ")),
        "unhealthy" => format!("{name} runs and fails the checks of its health{}", time(", up ")),
        "late" => format!("{name} was not ready in time, and the run went on without it{}", time("; up ")),
        "restarting" => match record.next_start.as_deref().and_then(|next| left(case.now, next)) {
            Some(ms) if ms > 0 => format!("{name} ended, and is started again in {}", words::seconds(ms)),
            Some(_) | None => format!("{name} is about to be started again"),
        },
        "failed" => reason,
        "done" => format!("{name} did its work and ended well"),
        "stopping" | "killing" => format!("{name} is being stopped"),
        "stopped" => format!("{name} is stopped"),
        other => format!("{name} is {other}"),
    }
}

/// The first steps of several ways, each once.
fn firsts(paths: &[Vec<Link>]) -> Vec<&str> {
    let mut firsts: Vec<&str> = Vec::new();
    for link in paths.iter().filter_map(|path| path.first()) {
        if !firsts.contains(&link.node.as_str()) {
            firsts.push(&link.node);
        }
    }
    firsts
}

/// How a run ended, in words that follow "the last run".
pub fn how_it_ended(end: End) -> &'static str {
    match end {
        End::Done => "was taken down",
        End::Interrupted => "was interrupted before everything was ready",
        End::Failed => "failed",
        End::Killed => "was killed",
        End::PowerOff => "ended with the machine",
    }
}

/// Milliseconds since a moment. A clock that was set back in between must not make nonsense of it.
fn passed(now: Timestamp, then: &str) -> Option<u64> {
    let then: Timestamp = then.parse().ok()?;
    u64::try_from(now.duration_since(then).as_millis().max(0)).ok()
}

/// Milliseconds until a moment; 0 where it has passed.
fn left(now: Timestamp, then: &str) -> Option<u64> {
    let then: Timestamp = then.parse().ok()?;
    u64::try_from(then.duration_since(now).as_millis().max(0)).ok()
}
