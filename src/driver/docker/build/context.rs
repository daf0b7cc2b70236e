//! The context of a build: a folder as an archive, made while it is sent. Symbolic links stay links, owners are left
//! behind, and what `.dockerignore` leaves out is not read.

use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use futures_util::Stream;
use tokio::sync::mpsc;

use super::dockerignore::{Ignore, slashed};

/// As much as is sent at once.
const CHUNK: usize = 64 * 1024;

/// How many chunks may wait for the engine.
const WAITING: usize = 16;

/// The name that a Dockerfile has in the archive where it is not a file of the context.
const OWN_DOCKERFILE: &str = ".devctl.dockerfile";

/// A context, read as far as is needed to know what to send.
#[derive(Debug)]
pub(super) struct Context {
    folder: PathBuf,
    ignore: Ignore,
    /// The Dockerfile's path in the archive.
    pub(super) dockerfile: String,
    /// The text of the Dockerfile.
    pub(super) text: String,
    /// Whether the Dockerfile is not a file of the context.
    apart: bool,
}

/// Why a context cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContextError {
    /// The folder is not there.
    #[error("the build context `{0}` is no folder")]
    NoFolder(String),
    /// There is no Dockerfile.
    #[error("there is no `{0}`")]
    NoDockerfile(String),
    /// `.dockerignore` says something that is no pattern.
    #[error("`{path}`: {problem}")]
    BadIgnore { path: String, problem: String },
    /// A file cannot be read.
    #[error("`{path}` cannot be read: {source}")]
    Unreadable {
        path: String,
        #[source]
        source: io::Error,
    },
}

impl Context {
    /// Looks at a folder and its Dockerfile: `inline` is its text where no file has it.
    pub(super) fn open(folder: &Path, dockerfile: &str, inline: Option<&str>) -> Result<Self, ContextError> {
        if !folder.is_dir() {
            return Err(ContextError::NoFolder(folder.display().to_string()));
        }
        let path = folder.join(dockerfile);
        let text = match inline {
            Some(text) => text.to_owned(),
            None => match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(ContextError::NoDockerfile(path.display().to_string()));
                }
                Err(source) => return Err(unreadable(&path, source)),
            },
        };
        let ignore_path = folder.join(".dockerignore");
        let ignore = match fs::read_to_string(&ignore_path) {
            Ok(text) => Ignore::parse(&text)
                .map_err(|problem| ContextError::BadIgnore { path: ignore_path.display().to_string(), problem })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ignore::default(),
            Err(source) => return Err(unreadable(&ignore_path, source)),
        };
        let inside = path.strip_prefix(folder).ok().filter(|path| !path.starts_with("..")).map(slashed);
        let inside = inside.filter(|path| !path.is_empty() && !dockerfile.split(['/', '\\']).any(|part| part == ".."));
        let (dockerfile, apart) = match inside {
            Some(path) if inline.is_none() => (path, false),
            Some(_) | None => (OWN_DOCKERFILE.to_owned(), true),
        };
        Ok(Self { folder: folder.to_owned(), ignore, dockerfile, text, apart })
    }

    /// The archive, piece by piece. `replaced` stands in for the Dockerfile's text where there is one.
    pub(super) fn archive(self, replaced: Option<String>) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
        let (send, receive) = mpsc::channel(WAITING);
        tokio::task::spawn_blocking(move || {
            let mut chunks = Chunks { pending: Vec::with_capacity(CHUNK), send };
            if let Err(error) = self.write(replaced.as_deref(), &mut chunks) {
                // Without a receiver the build was given up.
                let _ = chunks.send.blocking_send(Err(error));
            }
        });
        futures_util::stream::unfold(receive, async |mut receive| Some((receive.recv().await?, receive)))
    }

    fn write(&self, replaced: Option<&str>, to: &mut Chunks) -> io::Result<()> {
        let mut archive = tar::Builder::new(to);
        let own = self.apart || replaced.is_some();
        self.add_folder("", own, &mut archive)?;
        if own {
            add_text(&mut archive, &self.dockerfile, replaced.unwrap_or(&self.text))?;
        }
        if self.apart {
            // The engine takes the file out of the context where this says so, so that `COPY . .` does not find it.
            let said = fs::read_to_string(self.folder.join(".dockerignore")).unwrap_or_default();
            add_text(&mut archive, ".dockerignore", &format!("{said}\n{OWN_DOCKERFILE}\n"))?;
        }
        archive.into_inner()?.flush()
    }

    fn add_folder(&self, below: &str, own: bool, archive: &mut tar::Builder<&mut Chunks>) -> io::Result<()> {
        let folder = self.folder.join(below);
        let mut names: Vec<_> = fs::read_dir(&folder)
            .map_err(|e| at(&folder, &e))?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let path = folder.join(&name);
            let name = name.to_string_lossy();
            let inside = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                // Gone since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(at(&path, &error)),
            };
            // Docker sends these two whatever is left out, as the engine reads them.
            let needed = inside == self.dockerfile || inside == ".dockerignore";
            if (own && inside == self.dockerfile) || (self.apart && inside == ".dockerignore") {
                continue;
            }
            let out = !needed && self.ignore.leaves_out(&inside);
            if metadata.is_dir() {
                let above_needed = self.dockerfile.starts_with(&format!("{inside}/"));
                if !out {
                    add(archive, &format!("{inside}/"), &metadata, tar::EntryType::Directory, io::empty())?;
                }
                if !out || above_needed || self.ignore.may_keep_below(&inside) {
                    self.add_folder(&inside, own, archive)?;
                }
            } else if !out && metadata.is_symlink() {
                let target = fs::read_link(&path).map_err(|e| at(&path, &e))?;
                let mut header = header(&metadata, tar::EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, &inside, target)?;
            } else if !out && metadata.is_file() {
                let file = fs::File::open(&path).map_err(|e| at(&path, &e))?;
                add(archive, &inside, &metadata, tar::EntryType::Regular, file)?;
            }
            // Sockets and pipes are no part of a context.
        }
        Ok(())
    }
}

fn unreadable(path: &Path, source: io::Error) -> ContextError {
    ContextError::Unreadable { path: path.display().to_string(), source }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

fn add(
    archive: &mut tar::Builder<&mut Chunks>,
    path: &str,
    metadata: &Metadata,
    kind: tar::EntryType,
    content: impl Read,
) -> io::Result<()> {
    let mut header = header(metadata, kind);
    let size = if kind == tar::EntryType::Regular { metadata.len() } else { 0 };
    header.set_size(size);
    // A file that grows or shrinks while it is read must not shift what follows it.
    archive.append_data(&mut header, path, content.take(size).chain(io::repeat(0)).take(size))
}

/// Rights and time are kept, owners are not: in the image everything is root's.
fn header(metadata: &Metadata, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_metadata_in_mode(metadata, tar::HeaderMode::Complete);
    header.set_entry_type(kind);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn add_text(archive: &mut tar::Builder<&mut Chunks>, path: &str, text: &str) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    archive.append_data(&mut header, path, text.as_bytes())
}

/// Takes what is written and sends it in pieces.
struct Chunks {
    pending: Vec<u8>,
    send: mpsc::Sender<io::Result<Vec<u8>>>,
}

impl Chunks {
    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK));
        self.send.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() { Ok(()) } else { self.send() }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    async fn archived(context: Context, replaced: Option<&str>) -> Vec<(String, String)> {
        let pieces: Vec<Vec<u8>> = context.archive(replaced.map(str::to_owned)).try_collect().await.unwrap();
        let bytes = pieces.concat();
        let mut files = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            files.push((entry.path().unwrap().display().to_string(), text));
        }
        files
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("Dockerfile", "FROM x"),
            ("a/b.txt", "b"),
            ("a/c.log", "c"),
            ("d.log", "d"),
            (".dockerignore", "**/*.log\nDockerfile"),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn names(files: &[(String, String)]) -> Vec<&str> {
        files.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[tokio::test]
    async fn what_is_ignored_stays_and_the_dockerfile_goes() {
        let folder = folder();
        let context = Context::open(folder.path(), "Dockerfile", None).unwrap();
        let files = archived(context, None).await;
        assert_eq!(names(&files), [".dockerignore", "Dockerfile", "a/", "a/b.txt"]);
    }

    #[tokio::test]
    async fn a_dockerfile_from_elsewhere_is_no_part_of_the_context() {
        let folder = folder();
        let context = Context::open(folder.path(), "Dockerfile", Some("FROM y")).unwrap();
        assert_eq!(context.dockerfile, OWN_DOCKERFILE);
        let files = archived(context, None).await;
        assert_eq!(names(&files), ["a/", "a/b.txt", OWN_DOCKERFILE, ".dockerignore"]);
        assert_eq!(files[2].1, "FROM y");
        assert!(files[3].1.ends_with("\n.devctl.dockerfile\n"), "{files:?}");
        let context = Context::open(&folder.path().join("a"), "../Dockerfile", None).unwrap();
        assert_eq!((context.dockerfile.as_str(), context.text.as_str()), (OWN_DOCKERFILE, "FROM x"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Context::open(folder.path(), "Dockerfile", None).unwrap_err();
        assert!(error.to_string().ends_with("/Dockerfile`"), "{error}");
        let error = Context::open(&folder.path().join("none"), "Dockerfile", None).unwrap_err();
        assert!(error.to_string().ends_with("/none` is no folder"), "{error}");
    }
}
