//! First-run environment files: `backend/.env` from `templates/backend.env`, with secrets of its own.
//!
//! A file that is there is never touched; its secrets are only looked at, and their values are never printed.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::advice::{Advice, Blame};
use crate::os::{files, private_file};

/// What a template has where a secret goes. Each place gets one of its own.
const PLACEHOLDER: &str = "{{secret}}";

/// How many random bytes a secret is made of: 256 bits, 64 hexadecimal digits.
const SECRET_BYTES: usize = 32;

/// The secrets whose length is checked, and how long they must be for HMAC-SHA256 to be worth its name.
const CHECKED: [&str; 2] = ["JWT_SECRET", "TABLE_TOKEN_SECRET"];
const SHORTEST_SECRET: usize = 32;

/// What came of looking after an environment file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Something was done, in one line: `wrote backend/.env with new secrets (0600)`.
    pub note: Option<String>,
    /// What should be mended, one line each.
    pub warnings: Vec<String>,
}

/// Why an environment file could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The template or the file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The template asks for something that devctl cannot fill in.
    #[error("`{}` has an unknown placeholder `{placeholder}` in line {line}", path.display())]
    Placeholder {
        /// The template.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        placeholder: String,
    },
}

impl Advice for Error {
    fn blame(&self) -> Blame {
        match self {
            Self::Read { .. } | Self::Write { .. } => Blame::Environment,
            Self::Placeholder { .. } => Blame::Configuration,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Read { .. } | Self::Write { .. } => Vec::new(),
            Self::Placeholder { .. } => vec![format!("`{PLACEHOLDER}` is the one placeholder there is")],
        }
    }
}

/// Looks after one environment file of the manifest, given relative to the project's `root`.
///
/// Where it is missing and the project has a template for it (`templates/backend.env` for `backend/.env`), it is
/// written with new secrets. Where it is there, its secrets are checked.
pub fn ensure(root: &Path, file: &Path) -> Result<Outcome, Error> {
    let target = root.join(file);
    if !private_file::exists(&target) {
        let Some(template) = template_of(root, file) else { return Ok(Outcome::default()) };
        let text = files::read(&template).map_err(|source| Error::Read { path: template.clone(), source })?;
        let text = fill(&text, &template, new_secret)?;
        if private_file::create(&target, &text).map_err(|source| Error::Write { path: target.clone(), source })? {
            let note = format!("wrote {} with new secrets{}", file.display(), private_file::RIGHTS);
            return Ok(Outcome { note: Some(note), warnings: Vec::new() });
        }
        // Somebody else wrote it just now: theirs counts.
    }
    let text = match files::read(&target) {
        Ok(text) => text,
        // A dangling link, or a file that just went: whoever needs it will say so.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::default()),
        Err(source) => return Err(Error::Read { path: target, source }),
    };
    Ok(Outcome { note: None, warnings: weak_secrets(&text, file) })
}

/// The template of an environment file: `templates/<its folder>.env`. Where the folder itself is missing, so is the
/// service that would read the file.
fn template_of(root: &Path, file: &Path) -> Option<PathBuf> {
    let folder = file.parent()?.file_name()?.to_str()?;
    let template = root.join("templates").join(format!("{folder}.env"));
    (files::is_file(&template) && files::is_dir(root.join(file).parent()?)).then_some(template)
}

fn fill(text: &str, path: &Path, mut secret: impl FnMut() -> String) -> Result<String, Error> {
    let mut filled = String::with_capacity(text.len() + 128);
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("{{") {
            filled.push_str(before);
            let Some(after) = after.strip_prefix("secret}}") else {
                let end = after.find("}}").map_or(after.trim_end().len(), |end| end + 2);
                let placeholder = format!("{{{{{}", &after[..end]);
                return Err(Error::Placeholder { path: path.to_owned(), line: i + 1, placeholder });
            };
            filled.push_str(&secret());
            rest = after;
        }
        filled.push_str(rest);
    }
    Ok(filled)
}

/// Hexadecimal, since nothing that reads `.env` files, URLs or YAML finds anything to misread in it.
fn new_secret() -> String {
    rand::random::<[u8; SECRET_BYTES]>().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Says which secrets of a file are too short. Their values stay out of it.
fn weak_secrets(text: &str, file: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    // Lines are read one by one: one that is broken must not hide a weak secret below it, and it is the manifest's
    // business to report it.
    for line in text.lines() {
        let Some(Ok((key, value))) = dotenvy::from_read_iter(line.as_bytes()).next() else { continue };
        let length = value.chars().count();
        if CHECKED.contains(&key.as_str()) && length < SHORTEST_SECRET {
            warnings.push(format!(
                "`{key}` in {} has {length} characters and needs {SHORTEST_SECRET} or more",
                file.display()
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TEMPLATE: &str = include_str!("../../templates/backend.env");

    fn project() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in ["backend", "templates"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("templates/backend.env"), TEMPLATE).unwrap();
        root
    }

    fn values(text: &str, key: &str) -> Vec<String> {
        dotenvy::from_read_iter(text.as_bytes()).map(Result::unwrap).filter(|(k, _)| k == key).map(|(_, v)| v).collect()
    }

    #[test]
    fn the_first_run_writes_the_file_with_secrets_of_its_own() {
        let root = project();
        let file = Path::new("backend/.env");
        let outcome = ensure(root.path(), file).unwrap();
        let note = format!("wrote backend/.env with new secrets{}", private_file::RIGHTS);
        assert_eq!(outcome.note, Some(note));
        let text = fs::read_to_string(root.path().join(file)).unwrap();
        let secrets: Vec<String> = CHECKED.iter().flat_map(|key| values(&text, key)).collect();
        assert!(secrets.len() == 2 && secrets[0] != secrets[1], "each has its own");
        assert!(secrets.iter().all(|secret| secret.len() == 64 && secret.chars().all(|c| c.is_ascii_hexdigit())));
        for key in ["DATABASE_URL", "REDIS_URL", "ALLOWED_ORIGINS", "DEBUG", "ENVIRONMENT"] {
            assert_eq!(values(&text, key).len(), 1, "{key}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(root.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // The second run finds nothing to do and nothing to say.
        assert_eq!(ensure(root.path(), file).unwrap(), Outcome::default());
        assert_eq!(fs::read_to_string(root.path().join(file)).unwrap(), text);
    }

    #[test]
    fn an_existing_file_is_left_alone_and_its_weak_secrets_are_named() {
        let root = project();
        let path = root.path().join("backend/.env");
        let text = "JWT_SECRET=hunter2\nBROKEN LINE\nexport TABLE_TOKEN_SECRET=\"also short\"\nOTHER=x\n";
        fs::write(&path, text).unwrap();
        let outcome = ensure(root.path(), Path::new("backend/.env")).unwrap();
        assert_eq!(
            outcome.warnings,
            [
                "`JWT_SECRET` in backend/.env has 7 characters and needs 32 or more",
                "`TABLE_TOKEN_SECRET` in backend/.env has 10 characters and needs 32 or more",
            ]
        );
        assert_eq!(outcome.note, None);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn without_a_template_or_a_folder_nothing_happens() {
        let root = project();
        assert_eq!(ensure(root.path(), Path::new("gateway/.env")).unwrap(), Outcome::default());
        assert_eq!(ensure(root.path(), Path::new(".env")).unwrap(), Outcome::default());
        fs::remove_dir(root.path().join("backend")).unwrap();
        assert_eq!(ensure(root.path(), Path::new("backend/.env")).unwrap(), Outcome::default());
    }

    #[test]
    fn of_many_at_once_one_writes_and_all_read_the_same() {
        let root = project();
        let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let runs: Vec<_> =
                (0..8).map(|_| scope.spawn(|| ensure(root.path(), Path::new("backend/.env")).unwrap())).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.note.is_some()).count(), 1);
        assert!(outcomes.iter().all(|outcome| outcome.warnings.is_empty()), "nobody reads half a file: {outcomes:?}");
        assert_eq!(fs::read_dir(root.path().join("backend")).unwrap().count(), 1, "no temporary file stays");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nowhere_is_somebodys_and_stays() {
        let root = project();
        let path = root.path().join("backend/.env");
        std::os::unix::fs::symlink("/nowhere/secrets", &path).unwrap();
        assert_eq!(ensure(root.path(), Path::new("backend/.env")).unwrap(), Outcome::default());
        assert!(path.symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn an_unknown_placeholder_is_an_error_that_names_it() {
        let error = fill("A=1\nB=x{{secrets}}\n", Path::new("templates/backend.env"), new_secret).unwrap_err();
        assert_eq!(error.to_string(), "`templates/backend.env` has an unknown placeholder `{{secrets}}` in line 2");
        assert!(fill("B={{", Path::new("t"), new_secret).is_err());
        let mut n = 0;
        let counted = || {
            n += 1;
            n.to_string()
        };
        assert_eq!(fill("{{secret}}-{{secret}}\nx", Path::new("t"), counted).unwrap(), "1-2\nx");
    }
}
