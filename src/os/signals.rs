//! The signals that end a run, read by one thread that never waits for work: those that reach this process, and those
//! that its launcher passes on.

use std::io;

use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::event::Signal;

/// What a launcher passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// A signal that may have reached this process too.
    Signal(Signal),
    /// Ctrl+\, which this process does not listen to itself.
    Quit,
    /// There is no launcher any more: the shell has killed it, or somebody has.
    Gone,
    /// There is no launcher any more, and no terminal: we left.
    Detached,
}

/// All that a launcher passes on.
pub type Passed = UnboundedReceiver<Pass>;

/// The stream of signals that ask devctl to stop.
pub struct Signals {
    direct: Direct,
    passed: Option<Passed>,
    counts: Counts,
    /// Whether a hang-up is somebody else's.
    detached: bool,
}

impl Signals {
    /// Installs the handlers. Once per process, inside the runtime.
    pub fn install() -> io::Result<Self> {
        Self::install_with(None)
    }

    /// [`Signals::install`], with what a launcher passes on.
    pub fn install_with(passed: Option<Passed>) -> io::Result<Self> {
        Ok(Self { direct: Direct::install()?, passed, counts: Counts::default(), detached: false })
    }

    /// The next signal, and which it was. Every signal is told: the first asks, the second insists. One that reached the
    /// launcher as well is told once. Cancelling loses none.
    pub async fn recv(&mut self) -> Signal {
        loop {
            let pass = tokio::select! {
                signal = self.direct.recv() => {
                    let hung_up = self.detached && signal == Signal::Hup;
                    if !hung_up && self.counts.direct(signal) {
                        return signal;
                    }
                    continue;
                }
                pass = next(&mut self.passed) => pass,
            };
            match pass {
                Pass::Signal(signal) => {
                    if self.counts.passed(signal) {
                        return signal;
                    }
                }
                Pass::Quit => return Signal::Int,
                Pass::Gone => {
                    self.passed = None;
                    self.counts.settle();
                    return Signal::Hup;
                }
                Pass::Detached => {
                    self.passed = None;
                    self.counts.settle();
                    self.detached = true;
                }
            }
        }
    }
}

async fn next(passed: &mut Option<Passed>) -> Pass {
    match passed {
        Some(passed) => passed.recv().await.unwrap_or(Pass::Gone),
        None => std::future::pending().await,
    }
}

/// How often each signal came on either way. Ctrl+C and `kill -INT -PGID` come on both, `kill PID` on one: the greater
/// count is how often it was sent, without any guess about time.
#[derive(Debug, Default)]
struct Counts([Count; 3]);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    direct: u32,
    passed: u32,
}

impl Counts {
    /// Counts a signal that came here; answers whether it is news.
    fn direct(&mut self, signal: Signal) -> bool {
        let count = self.of(signal);
        count.direct += 1;
        count.direct > count.passed
    }

    /// Counts a signal that was passed on; answers whether it is news.
    fn passed(&mut self, signal: Signal) -> bool {
        let count = self.of(signal);
        count.passed += 1;
        count.passed > count.direct
    }

    /// Nothing is passed on any more: whatever comes is news.
    fn settle(&mut self) {
        for count in &mut self.0 {
            count.direct = count.direct.max(count.passed);
        }
    }

    fn of(&mut self, signal: Signal) -> &mut Count {
        match signal {
            Signal::Int => &mut self.0[0],
            Signal::Term => &mut self.0[1],
            Signal::Hup => &mut self.0[2],
        }
    }
}

/// The signals that reach this process: SIGINT, SIGTERM and SIGHUP; Ctrl+C and Ctrl+Break on Windows.
struct Direct {
    /// One message for each signal. ctrlc counts them in a semaphore, so that the second of two quick ones is not lost.
    arrived: mpsc::UnboundedReceiver<()>,
    /// A signal arrived and was not told yet.
    untold: bool,
    which: Which,
}

impl Direct {
    fn install() -> io::Result<Self> {
        let (sender, arrived) = mpsc::unbounded_channel();
        // ctrlc comes first: the listeners of tokio call the handler they find, ctrlc would replace theirs.
        ctrlc::set_handler(move || {
            // The run is over where nobody listens.
            let _ = sender.send(());
        })
        .map_err(io::Error::other)?;
        Ok(Self { arrived, untold: false, which: Which::listen()? })
    }

    /// The next signal, and which it was. Cancelling loses none.
    async fn recv(&mut self) -> Signal {
        if !self.untold {
            if self.arrived.recv().await.is_none() {
                // Never: the handler lives as long as the process.
                std::future::pending::<()>().await;
            }
            self.untold = true;
        }
        let signal = self.which.told().await;
        self.untold = false;
        signal
    }
}
/// Which signal it was; ctrlc cannot say.
#[cfg(unix)]
struct Which {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
    last: Signal,
}

#[cfg(unix)]
impl Which {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
            last: Signal::Int,
        })
    }

    async fn told(&mut self) -> Signal {
        // tokio tells several quick signals of one kind as one, so a message may be missing: then it was the last kind
        // again.
        let wait = std::time::Duration::from_millis(50);
        let told = tokio::time::timeout(wait, async {
            tokio::select! {
                biased;
                _ = self.term.recv() => Signal::Term,
                _ = self.int.recv() => Signal::Int,
                _ = self.hup.recv() => Signal::Hup,
            }
        });
        self.last = told.await.unwrap_or(self.last);
        self.last
    }
}

/// Windows tells no kinds that would matter here.
#[cfg(not(unix))]
struct Which;

#[cfg(not(unix))]
impl Which {
    #[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    #[expect(clippy::unused_async, reason = "the Unix twin waits")]
    async fn told(&mut self) -> Signal {
        Signal::Int
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what comes, `d` here and `p` passed on; answers which of it is news.
    fn news(signals: &[(char, Signal)]) -> String {
        let mut counts = Counts::default();
        let mut is_news = |way, signal| match way {
            'd' => counts.direct(signal),
            _ => counts.passed(signal),
        };
        signals.iter().map(|&(way, signal)| if is_news(way, signal) { '!' } else { '.' }).collect()
    }

    #[test]
    fn a_signal_that_comes_both_ways_is_told_once() {
        use Signal::{Int, Term};
        for (signals, told) in [
            (&[('d', Int), ('p', Int)][..], "!."),
            (&[('p', Int), ('d', Int)], "!."),
            (&[('p', Int), ('p', Int), ('d', Int), ('d', Int)], "!!.."),
            (&[('d', Int), ('p', Int), ('d', Int), ('p', Int)], "!.!."),
            // The kernel tells two quick signals of one kind as one, on either way.
            (&[('d', Int), ('p', Int), ('p', Int)], "!.!"),
            // Only one of the two was meant.
            (&[('p', Term), ('p', Term)], "!!"),
            (&[('d', Term), ('d', Term)], "!!"),
            (&[('p', Int), ('d', Term), ('d', Int)], "!!."),
        ] {
            assert_eq!(news(signals), told, "{signals:?}");
        }
    }
}
