//! How programs of each language are prepared. One file for each runtime; the match below is the whole registry.

mod exec;
mod rust;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{BuildSpec, Error, Runtime};
use crate::driver::StartContext;
use crate::os::spawn::Spawner;

/// Builds a program; gives back the file to execute, where the build made one.
pub(super) async fn build(
    spec: &BuildSpec,
    env: BTreeMap<String, String>,
    spawner: &Spawner,
    cx: &StartContext,
) -> Result<Option<PathBuf>, Error> {
    match spec.runtime {
        Runtime::Rust => rust::build(spec, env, spawner, cx).await.map(Some),
        Runtime::Exec => Ok(exec::build()),
    }
}
