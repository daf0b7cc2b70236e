//! What whoever sits at the terminal asks of the reporter, besides what the run tells it.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// Something to do with the screen.
#[derive(Debug)]
pub enum Steer {
    /// Takes live lines off the screen and prints nothing more; answers when that is done.
    Pause(oneshot::Sender<()>),
    /// Prints again, first what has happened meanwhile.
    Resume {
        /// Whether live lines are shown: not where the shell prints in between.
        live: bool,
    },
    /// Says something to whoever pressed a key.
    Say(String),
    /// Says this as the last and ends, while the run goes on; answers when the screen is done with.
    Leave(String, oneshot::Sender<()>),
}

/// The reporter's end.
#[derive(Debug)]
pub struct Steering(UnboundedReceiver<Steer>);

impl Steering {
    /// What is asked for next; waits for ever where nobody can ask any more. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Steer {
        match self.0.recv().await {
            Some(steer) => steer,
            None => std::future::pending().await,
        }
    }
}

/// The two ends: who asks, and the reporter.
pub fn steering() -> (UnboundedSender<Steer>, Steering) {
    let (ask, asked) = unbounded_channel();
    (ask, Steering(asked))
}
