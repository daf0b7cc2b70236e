//! Secrets and configs: what they are, and how a service is given them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Extensions, FileMode};
use crate::manifest::source::Place;

/// A secret or config of a Compose file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileObject {
    /// Where it is described.
    #[serde(skip)]
    pub place: Place,
    /// Its name on the engine, where it is said.
    pub name: Option<String>,
    /// The file that holds it, absolute.
    pub file: Option<String>,
    /// The variable that holds it.
    pub environment: Option<String>,
    /// What it holds, written in the Compose file. Only configs have that.
    pub content: Option<String>,
    /// Whether somebody else makes it.
    pub external: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Swarm's driver.
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// Swarm's driver of templates.
    pub template_driver: Option<String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
    /// The value of the variable, where that is set. Never written: it is likely secret.
    #[serde(skip)]
    pub value: Option<String>,
}

impl FileObject {
    /// The object with its name, as the project has it.
    pub(super) fn named(&self, project: &str, key: &str) -> Self {
        let name = super::resource_name(project, key, self.name.as_deref(), self.external);
        Self { name: Some(name), ..self.clone() }
    }
}

/// A secret or config that a service is given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileReference {
    /// Where it is said.
    #[serde(skip)]
    pub place: Place,
    /// Its key.
    pub source: Option<String>,
    /// The file in the container.
    pub target: Option<String>,
    /// The user to whom the file belongs.
    pub uid: Option<String>,
    /// The group to which the file belongs.
    pub gid: Option<String>,
    /// The rights of the file.
    pub mode: Option<FileMode>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
