//! The signals that end a run, read by one thread that never waits for work.

use std::io;

use tokio::sync::mpsc;

use crate::event::Signal;

/// The stream of signals that ask devctl to stop.
pub struct Signals {
    /// One message for each signal. ctrlc counts them in a semaphore, so that the second of two quick ones is not lost.
    arrived: mpsc::UnboundedReceiver<()>,
    /// A signal arrived and was not told yet.
    untold: bool,
    which: Which,
}

impl Signals {
    /// Installs the handlers (ctrlc: SIGINT, SIGTERM, SIGHUP; Ctrl+C and Ctrl+Break on Windows). Once per process,
    /// inside the runtime.
    pub fn install() -> io::Result<Self> {
        let (sender, arrived) = mpsc::unbounded_channel();
        // ctrlc comes first: the listeners of tokio call the handler they find, ctrlc would replace theirs.
        ctrlc::set_handler(move || {
            // The run is over where nobody listens.
            let _ = sender.send(());
        })
        .map_err(io::Error::other)?;
        Ok(Self { arrived, untold: false, which: Which::listen()? })
    }

    /// The next signal, and which it was. Every signal is told: the first asks, the second insists. Cancelling loses
    /// none.
    pub async fn recv(&mut self) -> Signal {
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
