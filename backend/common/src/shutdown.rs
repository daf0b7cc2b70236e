//! Stopping on a signal: the first SIGTERM or SIGINT asks for a graceful end, the second one cuts it short.

use std::io;

use tokio_util::sync::CancellationToken;

/// The wish to stop, shared by everything that has to end. Clones are the same wish.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    hurry: CancellationToken,
}

impl Shutdown {
    /// Makes one that only [`Shutdown::request`] fires, for servers started in-process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes one that the signals of this process fire.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let mut signals = Signals::install()?;
        let target = shutdown.clone();
        tokio::spawn(async move {
            let name = signals.next().await;
            tracing::info!(signal = name, "stopping");
            target.request();
            let name = signals.next().await;
            tracing::warn!(signal = name, "second signal, not waiting any longer");
            target.hurry.cancel();
        });
        Ok(shutdown)
    }

    /// Asks everything to stop gracefully.
    pub fn request(&self) {
        self.stop.cancel();
    }

    /// Whether a stop was asked for.
    pub fn is_requested(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until a stop is asked for.
    pub async fn requested(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until there is no more time to be graceful.
    pub async fn hurried(&self) {
        self.hurry.cancelled().await;
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(windows)]
struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    stop: tokio::signal::windows::CtrlBreak,
}

#[cfg(windows)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c};
        Ok(Self { interrupt: ctrl_c()?, stop: ctrl_break()? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl+C",
            _ = self.stop.recv() => "Ctrl+Break",
        }
    }
}
