//! How readiness is decided: one file for each kind of probe, and the cadence at which probes are made.
//!
//! A probe asks the service itself, in its own protocol, on the port its users will use. [`until_ready`] repeats it
//! until it has a final answer; the limit of time is the engine's business, who drops the future.

mod cadence;
mod container;
mod exec;
mod healthcheck;
mod http;
mod log;
mod opening;
mod owner;
mod postgres;
mod redis;
mod server;
mod tcp;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use self::cadence::Cadence;
use self::owner::Proof;
pub use self::server::Protocol;
use crate::driver::Control;
use crate::logs::Hub;
use crate::name::ServiceName;

/// What to ask, and of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A query on the target database, over TCP.
    Postgres {
        /// The host to connect to: `127.0.0.1`.
        host: String,
        /// The published port.
        port: u16,
        /// The user.
        user: String,
        /// The password.
        password: String,
        /// The database that must answer.
        database: String,
    },
    /// `PING`.
    Redis {
        /// The host.
        host: String,
        /// The published port.
        port: u16,
        /// The password, where there is one.
        password: Option<String>,
    },
    /// An HTTP request that must be answered with 2xx.
    Http {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The path, with its leading `/`.
        path: String,
    },
    /// A connection.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A command that must end with exit code 0, run where the workload runs.
    Exec {
        /// The program and its arguments.
        argv: Vec<String>,
        /// How long one run may take.
        timeout: Duration,
    },
    /// A line of the workload's output that must match.
    Log {
        /// A regular expression.
        pattern: String,
    },
    /// The container's healthcheck must pass, run by devctl or by the engine.
    Healthcheck {
        /// The program and its arguments.
        argv: Vec<String>,
        /// How long one run may take.
        timeout: Duration,
        /// The pause between two runs, where the file says one for the time before it passes.
        pause: Option<Duration>,
    },
    /// The engine's own healthcheck must say healthy.
    Container,
    /// One question in the protocol of a server that needs no credentials for it.
    Server {
        /// The protocol.
        protocol: Protocol,
        /// The host.
        host: String,
        /// The published port.
        port: u16,
    },
}

impl Spec {
    /// The probe's kind, as the manifest and the events name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres { .. } => "postgres",
            Self::Redis { .. } => "redis",
            Self::Http { .. } => "http",
            Self::Tcp { .. } => "tcp",
            Self::Exec { .. } => "exec",
            Self::Log { .. } => "log",
            Self::Healthcheck { .. } => "healthcheck",
            Self::Container => "container",
            Self::Server { protocol, .. } => protocol.kind(),
        }
    }
}

/// What a probe may use besides the network.
#[derive(Clone)]
pub struct Context {
    /// The service that is probed.
    pub service: ServiceName,
    /// The workload, where devctl runs it. `None` with `--skip-docker`: then nobody's ownership can be proven.
    pub control: Option<Arc<dyn Control>>,
    /// The logs, for `log` probes.
    pub logs: Hub,
    /// When the workload was started, where that is known: for a `log` probe, lines printed earlier belong to an
    /// earlier start and prove nothing.
    pub since: Option<jiff::Timestamp>,
}

/// A final answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does what it is for.
    Ready,
    /// It never will, however long one waits: wrong password, missing database, a stranger on the port.
    Never {
        /// One line: what was asked and what came back.
        message: String,
        /// What to do about it.
        hints: Vec<String>,
    },
}

/// What a single probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It does what it is for.
    Ready,
    /// Not now; asked again, it may be.
    NotYet(String),
    /// It never will, however long one waits.
    Never {
        /// One line: what was asked and what came back.
        message: String,
        /// What to do about it.
        hints: Vec<String>,
    },
}

/// What a probe over the network found. Only where somebody took the connection is there anybody to identify.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    /// Nobody took the connection, and why.
    Unreached(String),
    /// Somebody took the connection, and this came of it.
    Reached(Attempt),
}

/// How long one probe over the network may take, so that a server that hangs never hangs devctl.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);

/// Probes until there is a final answer, at the cadence of `cadence.rs`, and sooner where the workload prints something:
/// most servers say a word at the very moment they are ready. `on_change` gets the last answer each time it
/// differs from the one before. Drop the future to stop.
///
/// Not to be called for a container before the engine says that it is started: Docker's proxy takes connections earlier,
/// the first packet it passes on finds no network there, and the kernel looks for it again only a second later.
pub async fn until_ready(spec: &Spec, cx: &Context, on_change: impl FnMut(&str) + Send) -> Verdict {
    if let Spec::Log { pattern } = spec {
        return log::until_match(pattern, cx, on_change).await;
    }
    let proof = Proof::default();
    let printed = cx.logs.printed(&cx.service);
    repeat(Cadence::of(spec), &printed, on_change, || ask(spec, cx, &proof)).await
}

/// Probes once, and says what is missing. A network probe takes two seconds at most.
pub async fn attempt(spec: &Spec, cx: &Context) -> Attempt {
    ask(spec, cx, &Proof::default()).await
}

async fn ask(spec: &Spec, cx: &Context, proof: &Proof) -> Attempt {
    let control = cx.control.as_deref();
    let (reply, port) = match spec {
        Spec::Postgres { host, port, user, password, database } => {
            let question = postgres::Question { host, port: *port, user, password, database };
            (postgres::ask(question, control.is_some()).await, *port)
        }
        Spec::Redis { host, port, password } => (redis::ask(host, *port, password.as_deref()).await, *port),
        Spec::Http { host, port, path } => (http::ask(host, *port, path).await, *port),
        Spec::Tcp { host, port } => (tcp::ask(host, *port, control).await, *port),
        Spec::Exec { argv, timeout } => return exec::ask(argv, *timeout, control).await,
        Spec::Log { pattern } => return log::ask(pattern, cx),
        Spec::Healthcheck { argv, timeout, .. } => return healthcheck::ask(argv, *timeout, control).await,
        Spec::Container => return container::ask(control).await,
        Spec::Server { protocol, host, port } => (server::ask(*protocol, host, *port).await, *port),
    };
    match reply {
        Reply::Unreached(answer) => Attempt::NotYet(answer),
        Reply::Reached(answer) => proof.check(answer, port, &cx.service, control).await,
    }
}

/// Asks until the answer is final.
async fn repeat<F: Future<Output = Attempt>>(
    cadence: Cadence,
    printed: &Notify,
    mut on_change: impl FnMut(&str),
    mut ask: impl FnMut() -> F,
) -> Verdict {
    let mut last = None;
    for failed in 0u32.. {
        match ask().await {
            Attempt::Ready => return Verdict::Ready,
            Attempt::Never { message, hints } => return Verdict::Never { message, hints },
            Attempt::NotYet(answer) => {
                if last.as_ref() != Some(&answer) {
                    on_change(&answer);
                    last = Some(answer);
                }
            }
        }
        pause(cadence.shortest(failed), cadence.pause(failed), printed).await;
    }
    unreachable!("four thousand million probes at 250 ms take 34 years")
}

/// Pauses for `longest`; once `shortest` is over, only until the workload prints something.
async fn pause(shortest: Duration, longest: Duration, printed: &Notify) {
    let end = Instant::now() + longest;
    sleep(shortest).await;
    // That nothing was printed is no news.
    let _ = timeout_at(end, printed.notified()).await;
}

/// `host:port`, with brackets around an IPv6 address.
fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What a command, a healthcheck or a server said, as part of one line: its last line that says anything, cut short.
fn last_line(output: &str) -> Option<String> {
    let plain = anstream::adapter::strip_str(output).to_string();
    let line = plain.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let mut short: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
    if line.chars().count() > 200 {
        short.push('…');
    }
    Some(short)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn not_yet(answer: &str) -> Attempt {
        Attempt::NotYet(answer.to_owned())
    }

    async fn run(attempts: Vec<Attempt>) -> (Verdict, Vec<String>) {
        let mut left = VecDeque::from(attempts);
        let mut changes = Vec::new();
        let cadence = Cadence::of(&Spec::Tcp { host: String::new(), port: 1 });
        let verdict = repeat(
            cadence,
            &Notify::new(),
            |answer| changes.push(answer.to_owned()),
            || std::future::ready(left.pop_front().expect("a final answer ends the questions")),
        )
        .await;
        assert!(left.is_empty(), "asked until the final answer");
        (verdict, changes)
    }

    #[tokio::test]
    async fn only_changed_answers_are_told() {
        let attempts = vec![not_yet("a"), not_yet("a"), not_yet("b"), not_yet("b"), not_yet("a"), Attempt::Ready];
        assert_eq!(run(attempts).await, (Verdict::Ready, vec!["a".into(), "b".into(), "a".into()]));
    }

    #[tokio::test]
    async fn a_final_answer_ends_the_questions() {
        let never = Attempt::Never { message: "no".into(), hints: vec!["do".into()] };
        let verdict = Verdict::Never { message: "no".into(), hints: vec!["do".into()] };
        assert_eq!(run(vec![not_yet("a"), never]).await, (verdict, vec!["a".into()]));
    }

    #[tokio::test]
    async fn output_cuts_a_pause_short() {
        let printed = Notify::new();
        printed.notify_one();
        let hour = Duration::from_hours(1);
        let paused = tokio::time::timeout(Duration::from_secs(30), pause(Duration::ZERO, hour, &printed)).await;
        assert!(paused.is_ok(), "what was printed before the pause counts");
        let (paused, ()) =
            tokio::join!(tokio::time::timeout(Duration::from_secs(30), pause(Duration::ZERO, hour, &printed)), async {
                printed.notify_one();
            },);
        assert!(paused.is_ok(), "and what is printed meanwhile");
    }

    // Checked by the compiler: the engine spawns what it gets.
    const _: fn(&Spec, &Context) = |spec, cx| {
        fn is_send(_: impl Send) {}
        is_send(until_ready(spec, cx, |_| {}));
    };

    #[test]
    fn the_last_line_that_says_anything_is_shown() {
        let table = [
            ("", None),
            ("\n \n", None),
            ("one\ntwo\n\n", Some("two")),
            ("\x1b[31mred\x1b[0m\r\n", Some("red")),
            ("a\x07b", Some("ab")),
        ];
        for (output, line) in table {
            assert_eq!(last_line(output).as_deref(), line, "{output:?}");
        }
        assert_eq!(last_line(&"x".repeat(300)).map(|line| line.chars().count()), Some(201));
    }
}
