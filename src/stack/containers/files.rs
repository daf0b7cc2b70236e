//! Secrets and configs of a service: files of this machine are mounted, what a variable or the Compose file itself holds
//! is written into the container. Both are for one machine; what only Swarm can do is refused by name.

use super::Project;
use crate::driver::docker::{File, api};
use crate::manifest::compose::model::{Container, FileObject, FileReference};
use crate::stack::ResolveError;

/// The rights of a file of which nothing is said.
const MODE: u32 = 0o444;

/// What is given to a service.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Secret,
    Config,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }

    /// The folder that a target without one is in.
    fn folder(self) -> &'static str {
        match self {
            Self::Secret => "/run/secrets/",
            Self::Config => "/",
        }
    }

    fn target(self, reference: &FileReference) -> String {
        let said = reference.target.as_deref().or(reference.source.as_deref()).unwrap_or_default();
        // A drive of Windows makes a path absolute, too.
        let absolute = reference.target.is_some() && (said.starts_with('/') || said.as_bytes().get(1) == Some(&b':'));
        if absolute { said.to_owned() } else { format!("{}{said}", self.folder()) }
    }
}

impl Project<'_> {
    /// The files of this machine that are mounted into a container.
    pub(super) fn mounted_files(&self, container: &Container) -> Result<Vec<api::Mount>, ResolveError> {
        let mut mounts = Vec::new();
        for (kind, reference, object) in self.given(container) {
            check(container, kind, reference, object)?;
            if object.environment.is_some() || object.content.is_some() {
                continue;
            }
            mounts.push(api::Mount {
                target: Some(kind.target(reference)),
                source: object.file.clone(),
                typ: Some(api::MountType::BIND),
                read_only: Some(true),
                // Compose asks for it so, and never for a folder in place of a secret that is missing.
                bind_options: (kind == Kind::Secret).then(api::MountBindOptions::default),
                ..api::Mount::default()
            });
        }
        Ok(mounts)
    }

    /// The files that are written into a container.
    pub(super) fn written_files(&self, container: &Container) -> Result<Vec<File>, ResolveError> {
        let mut files = Vec::new();
        for (kind, reference, object) in self.given(container) {
            let key = reference.source.clone().unwrap_or_default();
            let content = match (&object.content, &object.environment) {
                (Some(content), _) => content.clone(),
                (None, Some(variable)) => object.value.clone().ok_or_else(|| ResolveError::VariableOfFile {
                    service: container.name.clone(),
                    kind: kind.word(),
                    key: key.clone(),
                    variable: variable.clone(),
                })?,
                (None, None) => continue,
            };
            if content.is_empty() {
                continue;
            }
            if container.read_only {
                return Err(ResolveError::FileInReadOnly { service: container.name.clone(), kind: kind.word(), key });
            }
            let id = |said: &Option<String>| said.as_deref().and_then(|id| id.parse().ok()).unwrap_or(0);
            let said = reference.uid.is_some() || reference.gid.is_some();
            files.push(File {
                path: kind.target(reference),
                content,
                owner: said.then(|| (id(&reference.uid), id(&reference.gid))),
                mode: reference.mode.and_then(|mode| u32::try_from(mode.0).ok()).unwrap_or(MODE),
            });
        }
        Ok(files)
    }

    fn given<'a>(
        &'a self,
        container: &'a Container,
    ) -> impl Iterator<Item = (Kind, &'a FileReference, &'a FileObject)> {
        let secrets = container.secrets.iter().map(|one| (Kind::Secret, one, &self.compose.secrets));
        let configs = container.configs.iter().map(|one| (Kind::Config, one, &self.compose.configs));
        // The manifest has checked that each is there.
        secrets.chain(configs).filter_map(|(kind, one, all)| Some((kind, one, all.get(one.source.as_ref()?)?)))
    }
}

/// Refuses what only Swarm can do.
fn check(
    container: &Container,
    kind: Kind,
    reference: &FileReference,
    object: &FileObject,
) -> Result<(), ResolveError> {
    let what = if object.external {
        "external: true"
    } else if object.driver.is_some() {
        "driver"
    } else if object.template_driver.is_some() {
        "template_driver"
    } else {
        return Ok(());
    };
    let key = reference.source.clone().unwrap_or_default();
    Err(ResolveError::SwarmFile { service: container.name.clone(), kind: kind.word(), key, what })
}
