//! What is run in a container when it starts or stops, and what is watched while it is developed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Extensions;
use crate::manifest::source::Place;

/// A command that is run in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Hook {
    /// The command.
    #[serde(rename = "command?")]
    pub command: Option<Vec<String>>,
    /// The user that runs it.
    pub user: Option<String>,
    /// Whether it has all of the host's rights.
    pub privileged: bool,
    /// Where it is run.
    pub working_dir: Option<String>,
    /// Environment. `None` is a variable that is named and set nowhere.
    pub environment: BTreeMap<String, Option<String>>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// What is for development alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Develop {
    /// What is watched.
    pub watch: Vec<Trigger>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Something that is watched, and what a change of it does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trigger {
    /// Where it is said.
    #[serde(skip)]
    pub place: Place,
    /// The file or folder, absolute.
    #[serde(rename = "path!")]
    pub path: String,
    /// What a change does.
    #[serde(rename = "action!")]
    pub action: WatchAction,
    /// Where it is copied to in the container.
    pub target: Option<String>,
    /// What is run after it was copied.
    pub exec: Hook,
    /// The only changes that count.
    pub include: Vec<String>,
    /// Changes that do not count.
    pub ignore: Vec<String>,
    /// Whether everything is copied at the start.
    pub initial_sync: bool,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// What a change of a watched file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum WatchAction {
    /// It is copied into the container.
    #[serde(rename = "sync")]
    Sync,
    /// The image is built again and the container replaced.
    #[serde(rename = "rebuild")]
    Rebuild,
    /// The container is restarted.
    #[serde(rename = "restart")]
    Restart,
    /// It is copied, and the container is restarted.
    #[serde(rename = "sync+restart")]
    SyncRestart,
    /// It is copied, and a command is run.
    #[serde(rename = "sync+exec")]
    SyncExec,
}
