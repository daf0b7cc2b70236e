//! The engine the images go to, through the `docker` command.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::LABEL;
use crate::repo;

/// An engine that answers.
pub(super) struct Engine {
    host: Option<String>,
}

/// What the engine has under a tag.
pub(super) enum Present {
    /// Nothing.
    No,
    /// An image built here, from this version.
    Ours(String),
    /// An image of the developer's own: never touched.
    Foreign,
}

impl Engine {
    /// Connects to the engine at `host`, or to the one that the docker command would use.
    pub(super) fn new(host: Option<String>) -> anyhow::Result<Self> {
        let engine = Self { host };
        repo::output(engine.docker().args(["version", "--format", "{{.Server.Version}}"]))
            .context("the images need a Docker Engine and the `docker` command")?;
        Ok(engine)
    }

    /// Looks what the engine has under `tag`.
    pub(super) fn find(&self, tag: &str) -> anyhow::Result<Present> {
        let listed = repo::output(self.docker().args(["image", "ls", "--quiet", "--no-trunc", tag]))?;
        let Some(id) = listed.lines().next() else { return Ok(Present::No) };
        let label = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
        let label = repo::output(self.docker().args(["image", "inspect", "--format", &label, id]))?;
        Ok(match label.trim() {
            "" | "<no value>" => Present::Foreign,
            version => Present::Ours(version.to_owned()),
        })
    }

    /// Loads an archive.
    pub(super) fn load(&self, tar: &Path) -> anyhow::Result<()> {
        let mut command = self.docker();
        command.args(["image", "load", "--quiet"]);
        command.stdin(File::open(tar)?).stdout(Stdio::null());
        let output = command.output().with_context(|| format!("cannot run `{}`", repo::shown(&command)))?;
        if !output.status.success() {
            bail!("the engine refused `{}`: {}", tar.display(), String::from_utf8_lossy(&output.stderr).trim_end());
        }
        Ok(())
    }

    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        if let Some(host) = &self.host {
            command.args(["--host", host]);
        }
        command
    }
}
