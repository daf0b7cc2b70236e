//! The guardian of a run: a small devctl apart that takes the run down when its supervisor is killed. This is the
//! supervisor's side: it starts one, tells it what it has to know, starts another when it dies, and says goodbye.
//!
//! The guardian waits for the end of a pipe. The kernel closes it when the supervisor ends, however it ends; only after
//! a goodbye does that mean nothing. What the guardian does then is in `cli/guard.rs`.

use std::io::{self, PipeWriter, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Child;
use tokio::task::JoinHandle;

use super::process::Processes;
use crate::name::RunId;
use crate::os::process::{self, Identity, Kill};

/// The command of the guardian.
pub const COMMAND: &str = "guard";

/// How long a guardian may take to leave after goodbye. It has nothing to do any more; one that was stopped
/// (SIGSTOP) cannot even do that, and is killed.
const LEAVE: Duration = Duration::from_secs(1);

/// The pause before another guardian is started, doubled while they die or cannot be started.
const AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(10));

/// What a guardian has to know about its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The project's folder, absolute.
    pub root: PathBuf,
    /// The run.
    pub run: RunText,
    /// Runs that it has taken over.
    #[serde(default)]
    pub adopted: Vec<RunText>,
    /// The address of the Docker Engine, where the run uses one.
    #[serde(default)]
    pub engine: Option<String>,
    /// Whether its containers are stopped and not removed (`--keep`).
    #[serde(default)]
    pub keep: bool,
    /// Whether its containers are to run on: detached with `--keep`.
    #[serde(default)]
    pub spare: bool,
}

impl Watch {
    /// The run and those it has taken over.
    pub fn runs(&self) -> Vec<RunId> {
        std::iter::once(&self.run).chain(&self.adopted).map(|run| run.0.clone()).collect()
    }
}

/// A run's id as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunText(pub RunId);

impl TryFrom<String> for RunText {
    type Error = crate::name::NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<RunText> for String {
    fn from(run: RunText) -> Self {
        run.0.to_string()
    }
}

/// A line that a supervisor writes to its guardian.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// What to watch over. The last one counts.
    Watch(Watch),
    /// The run is over and has taken everything down itself.
    Goodbye,
}

/// A run's guardian. Dropped without a goodbye it acts, as if devctl had been killed.
#[derive(Debug)]
pub struct Guardian {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    watch: Watch,
    /// The guardian that there is.
    guardian: Option<Identity>,
    /// Our end of its pipe.
    pipe: Option<PipeWriter>,
    /// Whether the run is over: nobody is started any more.
    over: bool,
}

impl Guardian {
    /// Starts a guardian, and sees to it that there is one from now on.
    pub async fn start(processes: &Processes, watch: Watch) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::new(State { watch, guardian: None, pipe: None, over: false }) });
        let child = shared.begin(processes).await?;
        let keeper = tokio::spawn(keep(Arc::clone(&shared), processes.clone(), child));
        Ok(Self { shared, keeper })
    }

    /// Whether the containers of the run are to live on when devctl is killed: it is detached, with `--keep`.
    pub fn spare(&self, spare: bool) {
        self.update(|watch| watch.spare = spare);
    }

    /// Changes what the guardian knows.
    pub fn update(&self, change: impl FnOnce(&mut Watch)) {
        let mut state = self.shared.lock();
        change(&mut state.watch);
        state.tell();
    }

    /// Sends the guardian away, and waits until it is gone: a run that is over leaves nobody behind.
    pub async fn goodbye(mut self) {
        {
            let mut state = self.shared.lock();
            state.over = true;
            if let Some(pipe) = &mut state.pipe {
                // One that is dead has nothing to do either.
                let _ = say(pipe, &Word::Goodbye);
            }
            state.pipe = None;
        }
        // The keeper waits for it, and ends.
        if tokio::time::timeout(LEAVE, &mut self.keeper).await.is_err() {
            let guardian = self.shared.lock().guardian;
            if let Some(guardian) = guardian {
                process::signal(guardian, Kill::Kill);
            }
            // Killed it is gone at once; what a broken kernel holds on to is not waited for.
            let _ = tokio::time::timeout(LEAVE, &mut self.keeper).await;
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.keeper.abort();
        let mut state = self.shared.lock();
        // The end of the pipe is what it waits for.
        (state.pipe, state.over) = (None, true);
    }
}

impl Shared {
    /// Starts a guardian and tells it everything.
    async fn begin(&self, processes: &Processes) -> io::Result<Child> {
        let apart = processes.apart(&[COMMAND]).await?;
        let mut state = self.lock();
        // It is not reaped before the keeper waits for it, so its id is its own.
        state.guardian = apart.child.id().and_then(process::look).map(|found| found.id);
        state.pipe = Some(apart.pipe);
        if state.over {
            if let Some(mut pipe) = state.pipe.take() {
                let _ = say(&mut pipe, &Word::Goodbye);
            }
        } else {
            state.tell();
        }
        Ok(apart.child)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self) {
        if let Some(pipe) = &mut self.pipe {
            // It may be dead: then the next one is told.
            let _ = say(pipe, &Word::Watch(self.watch.clone()));
        }
    }
}

/// Writes one line: far less than a pipe holds, so that this never waits.
fn say(pipe: &mut PipeWriter, word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_string(word).expect("a word is plain data");
    line.push('\n');
    pipe.write_all(line.as_bytes())
}

/// Waits for the end of the guardian and starts another, until the run is over.
async fn keep(shared: Arc<Shared>, processes: Processes, first: Child) {
    let mut child = Some(first);
    let mut pause = AGAIN.0;
    loop {
        if let Some(mut guardian) = child.take() {
            let began = tokio::time::Instant::now();
            // Fails where somebody else has reaped it, which means as well that it is gone.
            let _ = guardian.wait().await;
            shared.lock().guardian = None;
            if began.elapsed() > AGAIN.1 {
                pause = AGAIN.0;
            }
        }
        if shared.lock().over {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN.1);
        // Where none can be started now, one is tried for again.
        child = shared.begin(&processes).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lines_that_an_older_guardian_reads_too() {
        let run = |id: &str| RunText(id.parse().unwrap());
        let watch = Watch {
            root: "/p".into(),
            run: run("0123456789ab"),
            adopted: vec![run("ba9876543210")],
            engine: Some("unix:///var/run/docker.sock".to_owned()),
            keep: true,
            spare: false,
        };
        assert_eq!(watch.runs(), [run("0123456789ab").0, run("ba9876543210").0]);
        for word in [Word::Watch(watch), Word::Goodbye] {
            let line = serde_json::to_string(&word).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Word>(&line).unwrap(), word);
        }
        let short = r#"{"watch":{"root":"/p","run":"0123456789ab"}}"#;
        assert!(matches!(serde_json::from_str(short), Ok(Word::Watch(Watch { keep: false, spare: false, .. }))));
        assert!(serde_json::from_str::<Word>(r#"{"watch":{"root":"/p","run":"../../x"}}"#).is_err());
    }
}
