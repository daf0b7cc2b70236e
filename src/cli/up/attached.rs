//! The terminal of a foreground run: what keys and Ctrl+Z mean for it, and how it is left behind.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::supervisor::Supervisor;
use crate::error::Error;
use crate::event::Signal;
use crate::os::console::{Console, Happening, Key};
use crate::os::launcher::Link;
use crate::os::signals::Passed;
use crate::report::{self, Format, Steer, Steering};
use crate::state::StateDir;

/// What the keys do, in one line.
const KEYS: &str = "keys: d detaches and stops nothing · q or Ctrl+C stops everything · Ctrl+Z gives you the shell";

/// How long the reporter may take to put the screen in order. A terminal that is stopped (Ctrl+S) must not keep anybody.
const PATIENCE: Duration = Duration::from_millis(800);

/// The terminal that a run is shown on, where there is one with a launcher.
pub(super) struct Terminal {
    /// How the run is shown.
    pub(super) format: Format,
    console: Option<Console>,
    steer: UnboundedSender<Steer>,
    /// The reporter's end, until there is a reporter.
    steering: Option<Steering>,
}

impl Terminal {
    /// The terminal behind `link`, and the signals that are passed on by it.
    pub(super) fn behind(link: Option<Link>, format: Format) -> Result<(Self, Option<Passed>), Error> {
        let heard = link.map(Link::listen).transpose();
        let heard = heard.map_err(|error| Error::io("cannot listen to the launcher", error))?;
        let (console, passed) = heard.map(Console::new).unzip();
        let (steer, steering) = report::steering();
        Ok((Self { format, console, steer, steering: Some(steering) }, passed))
    }

    /// The reporter's end. There is one reporter in a run.
    pub(super) fn steering(&mut self) -> Steering {
        self.steering.take().unwrap_or_else(|| report::steering().1)
    }

    /// Begins to read keys where the run is shown live; answers whether it is.
    pub(super) fn read_keys(&mut self) -> bool {
        let Some(console) = &mut self.console else { return false };
        if !report::is_live(self.format) {
            return false;
        }
        console.read_keys();
        // In the background, the shell's prompt would be in the way of lines that move.
        steer(&self.steer, Steer::Resume { live: !console.in_background() });
        true
    }

    /// Does what is asked for at the terminal for as long as the run lasts: ends of it go to `ask`, and what is
    /// stopping already cannot be left running.
    pub(super) async fn serve(
        &mut self,
        state: &StateDir,
        ask: &UnboundedSender<Signal>,
        supervisor: &Supervisor,
    ) -> Infallible {
        let Self { console, steer: to, .. } = self;
        let Some(console) = console else { return std::future::pending().await };
        loop {
            match console.next().await {
                // Where nobody listens any more, the run is over.
                Happening::Key(Key::Quit) => {
                    let _ = ask.send(Signal::Int);
                }
                Happening::Key(Key::Help) => steer(to, Steer::Say(KEYS.to_owned())),
                Happening::Key(Key::Detach) if supervisor.is_stopping() => {
                    steer(to, Steer::Say("the stack is going down: there is nothing to leave running".to_owned()));
                }
                Happening::Key(Key::Detach) => {
                    if detach(console, to, state, ask).await {
                        supervisor.has_left().await;
                    }
                }
                Happening::Stopping => {
                    let (done, paused) = oneshot::channel();
                    steer(to, Steer::Pause(done));
                    // In time or not, the user has pressed Ctrl+Z.
                    let _ = tokio::time::timeout(PATIENCE, paused).await;
                    console.may_stop();
                }
                Happening::Shown { foreground } => steer(to, Steer::Resume { live: foreground }),
            }
        }
    }
}

/// Leaves the terminal to the shell; answers whether it did. The run goes on as it is, with nobody to print to.
async fn detach(
    console: &mut Console,
    to: &UnboundedSender<Steer>,
    state: &StateDir,
    ask: &UnboundedSender<Signal>,
) -> bool {
    let path = state.path().join("supervisor.log");
    let errors = match OpenOptions::new().create(true).append(true).open(&path) {
        Ok(errors) => errors,
        Err(error) => {
            steer(to, Steer::Say(format!("cannot detach: cannot write `{}`: {error}", path.display())));
            return false;
        }
    };
    let text = format!(
        "\
detached; devctl (pid {}) keeps the stack running
  devctl attach   shows it again
  devctl logs -f  follows its logs
  devctl down     stops it",
        std::process::id()
    );
    let (done, left) = oneshot::channel();
    steer(to, Steer::Leave(text, done));
    let _ = tokio::time::timeout(PATIENCE, left).await;
    if console.detach(&errors).is_err() {
        // Neither here nor there: nobody would ever see it again.
        let _ = ask.send(Signal::Hup);
        return false;
    }
    true
}

fn steer(to: &UnboundedSender<Steer>, steer: Steer) {
    // A reporter that is gone has asked for the end of the run already.
    let _ = to.send(steer);
}
