//! What a project is asked for with: where to look, and what Compose's global flags say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Manifest, Problems};

/// Which project is meant. Every flag here has Compose's meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The folder to begin looking in, to which all other paths are relative.
    pub start: PathBuf,
    /// `--file`, each of them; `-` is the standard input.
    pub files: Vec<String>,
    /// `--project-name`.
    pub project_name: Option<String>,
    /// `--profile`, each of them.
    pub profiles: Vec<String>,
    /// `--env-file`, each of them.
    pub env_files: Vec<String>,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// What was read from the standard input, where a file is `-`.
    pub standard_input: Option<String>,
}

impl Request {
    /// Asks for the project of a folder, with no flags.
    pub fn at(start: &Path) -> Self {
        Self { start: start.to_owned(), ..Self::default() }
    }

    /// Finds the project's files and reads them with everything they name. `shell` is the environment devctl was started
    /// with.
    pub fn load(&self, shell: &BTreeMap<String, String>) -> Result<Manifest, Problems> {
        super::load_request(self, shell)
    }

    /// Finds the project's folder and reads nothing but what it takes for that.
    pub fn root(&self, shell: &BTreeMap<String, String>) -> Result<PathBuf, Problems> {
        super::discover_request(self, shell)
    }

    /// The flags that ask another devctl for the same project.
    pub fn args(&self) -> Vec<std::ffi::OsString> {
        let mut args = vec!["-C".into(), self.start.clone().into_os_string()];
        let mut flag = |flag: &str, value: std::ffi::OsString| {
            let mut text = std::ffi::OsString::from(flag);
            text.push("=");
            text.push(value);
            args.push(text);
        };
        for file in &self.files {
            flag("--file", file.into());
        }
        if let Some(name) = &self.project_name {
            flag("--project-name", name.into());
        }
        for profile in &self.profiles {
            flag("--profile", profile.into());
        }
        for file in &self.env_files {
            flag("--env-file", file.into());
        }
        if let Some(folder) = &self.project_directory {
            flag("--project-directory", folder.into());
        }
        args
    }
}
