//! The end of a container, watched: the engine's own restarts, and those of somebody who uses `docker restart`, are lives
//! of one container that goes on.
//!
//! What ended because somebody told it to may be about to be started again; what ended by itself, or because devctl said
//! so, is not waited for.

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error as Call;
use bollard::query_parameters::{EventsOptionsBuilder, WaitContainerOptionsBuilder};
use futures_util::StreamExt;
use tokio::sync::watch;

use super::running::{Look, PAUSE, look};
use super::{Docker, output};
use crate::event::Exit;
use crate::logs::{LogSink, Stream as LogStream};

/// How long the engine may say nothing more of a container that somebody stopped, before it is taken for stopped for
/// good. Between the two halves of a restart it is silent for a fifth of that on a busy machine.
const SILENCE: Duration = Duration::from_secs(1);

/// What became of a container so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate {
    /// How often somebody else has started it again.
    pub(super) lives: u32,
    /// How it ended, once it has.
    pub(super) end: Option<Exit>,
}

/// Watches a container until its end. `restarts` is how often the engine has restarted it so far; `asked` tells when
/// devctl wants it to end.
pub(super) async fn watch(
    docker: Docker,
    id: String,
    logs: LogSink,
    fate: watch::Sender<Fate>,
    asked: watch::Receiver<bool>,
    mut restarts: i64,
) {
    let exit = loop {
        let code = wait(&docker, &id).await;
        let by_somebody = match look(&docker, &id, code).await {
            Look::Ended { exit, began } => {
                let back = tokio::select! {
                    biased;
                    () = told(asked.clone()) => false,
                    back = comes_back(&docker, &id, began.as_deref()) => back,
                };
                if !back {
                    break exit;
                }
                true
            }
            Look::EngineGone(reason) => {
                // In the log too: whoever reads that later must not take its end for the container's.
                let why = format!("the Docker Engine went away: {reason}");
                logs.write(LogStream::Stderr, format!("devctl: {why}\n").as_bytes()).await;
                break Exit { lost: Some(why), ..Exit::default() };
            }
            // The engine counts the restarts that it makes by itself, and from 0 again when somebody else makes one.
            Look::Lives { restarts: now } => {
                let by_somebody = code.is_some() && now <= restarts;
                restarts = now;
                by_somebody
            }
        };
        if by_somebody {
            logs.write(LogStream::Stderr, b"devctl: the container was restarted by somebody else\n").await;
            fate.send_modify(|fate| fate.lives += 1);
        } else {
            // The engine is about to restart it, or the connection was lost and the container was not.
            tokio::time::sleep(PAUSE).await;
        }
    };
    fate.send_modify(|fate| fate.end = Some(exit));
}

/// Ends when devctl wants the container to end.
async fn told(mut asked: watch::Receiver<bool>) {
    if asked.wait_for(|asked| *asked).await.is_err() {
        // Nobody is left who could.
        std::future::pending::<()>().await;
    }
}

/// Waits until a container stops. `None` where the engine could not say how. The engine answers at once when it has
/// stopped already, so a container that ends right after its start is not missed.
async fn wait(docker: &Docker, id: &str) -> Option<i32> {
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let mut answers = Box::pin(docker.client().wait_container(id, Some(options)));
    let code = match answers.next().await? {
        Ok(answer) => answer.status_code,
        // Any code but 0 is an error to the client.
        Err(Call::DockerContainerWaitError { code, .. }) => code,
        Err(_) => return None,
    };
    i32::try_from(code).ok()
}

/// Whether somebody starts a container again that has just ended. The engine keeps its last events and tells them again:
/// asked for those since `began`, when the life that ended began, it says who ended it.
async fn comes_back(docker: &Docker, id: &str, began: Option<&str>) -> bool {
    let Some(since) = began.and_then(|stamp| output::since(stamp, Duration::ZERO)) else { return false };
    let one = |key: &str, values: &[&str]| (key.to_owned(), values.iter().map(|v| (*v).to_owned()).collect());
    let filters: HashMap<String, Vec<String>> = HashMap::from([
        one("type", &["container"]),
        one("container", &[id]),
        one("event", &["kill", "die", "stop", "start", "destroy"]),
    ]);
    let options = EventsOptionsBuilder::default().since(&since).filters(&filters).build();
    let mut events = Box::pin(docker.client().events(Some(options)));
    let (mut killed, mut died) = (false, false);
    loop {
        match tokio::time::timeout(SILENCE, events.next()).await {
            Ok(Some(Ok(event))) => match event.action.as_deref() {
                Some("kill") => killed = true,
                // By itself: nobody said a word to it.
                Some("die") if !killed => return false,
                Some("die") => died = true,
                // The first start is that of the life that ended.
                Some("start") if died => return true,
                Some("destroy") => return false,
                Some(_) | None => {}
            },
            // An engine that tells no events is only looked at.
            Ok(Some(Err(_)) | None) => {
                tokio::time::sleep(SILENCE).await;
                break;
            }
            Err(_) => break,
        }
    }
    matches!(look(docker, id, None).await, Look::Lives { .. })
}
