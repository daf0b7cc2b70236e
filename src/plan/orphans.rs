//! Containers of the project that no node of the stack stands for, and containers of another project that has its name.

use super::{Now, Warning};
use crate::driver::docker::ObservedContainer;
use crate::stack::Stack;

/// What dead runs left of services that this stack does not have: nobody will adopt it.
pub fn left_by_the_dead<'a>(stack: &Stack, now: &'a Now) -> Vec<&'a ObservedContainer> {
    let is_planned = |service: &str| stack.services().any(|name| name.base().as_str() == service);
    now.engine.all().filter(|found| now.dead.left(found) && !is_planned(&found.service)).collect()
}

/// Containers of services that no file of the project has, and of single commands that have ended. Services that are
/// only left out now, by a profile for instance, are in a file.
pub fn orphans(now: &Now, is_known: impl Fn(&str) -> bool) -> Vec<&ObservedContainer> {
    let unknown = now.engine.all().filter(|found| !is_known(&found.service) && !now.dead.left(found));
    unknown.chain(&now.engine.one_offs).collect()
}

/// What is said of orphans that stay.
pub fn told_of_orphans(orphans: &[&ObservedContainer]) -> Option<Warning> {
    let names: Vec<&str> = orphans.iter().map(|found| found.name.as_str()).collect();
    (!names.is_empty()).then(|| Warning {
        message: format!("no file of this project has the service of {}", names.join(", ")),
        hints: vec![
            "remove what is left of services that were renamed or removed: `devctl up --remove-orphans`".into(),
        ],
    })
}

/// A project of the same name in another folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The folder, as its containers say.
    pub folder: String,
    /// The names of its containers.
    pub containers: Vec<String>,
}

/// The project of the same name in another folder whose containers these are, if there is one. `is_here` tells whether a
/// folder is this project's.
pub fn elsewhere<'a>(
    containers: impl Iterator<Item = &'a ObservedContainer> + Clone,
    is_here: impl Fn(&str) -> bool,
) -> Option<Elsewhere> {
    let folder = |found: &ObservedContainer| found.working_dir.clone().filter(|folder| !is_here(folder));
    let first = containers.clone().find_map(folder)?;
    let theirs = containers.filter(|found| found.working_dir.as_ref() == Some(&first));
    Some(Elsewhere { containers: theirs.map(|found| found.name.clone()).collect(), folder: first })
}
