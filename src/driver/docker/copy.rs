//! Files and folders copied into containers and out of them, as `docker cp` copies them.
//!
//! The rules of a trailing slash, of `/.` and of targets that are there are Docker's own: what a copy leads to depends on
//! both ends, which are looked at first. The archives themselves are made in `archive.rs`.

use std::io;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt, stream};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::archive::{self, Rename};
use super::error::{self, Error};
use super::{Docker, ProjectContainer};
use crate::advice::{Advice, Blame};

/// How many chunks of an archive wait between the disk and the engine.
const WAITING: usize = 8;

/// How many links are followed before they are taken to go round in a circle.
const LINKS: usize = 10;

/// Why something was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// What the engine said.
    #[error(transparent)]
    Engine(#[from] Error),

    /// There is nothing of that name.
    #[error("there is no `{path}`{}", .container.as_ref().map_or_else(String::new, |name| format!(" in the container `{name}`")))]
    Absent {
        /// The path.
        path: String,
        /// The container, where it is one of a container.
        container: Option<String>,
    },

    /// A folder cannot become a file.
    #[error("cannot copy a folder to `{path}`, which is a file")]
    FolderToFile {
        /// The target.
        path: String,
    },

    /// The target is written as a folder and is not there.
    #[error("there is no folder `{path}` to copy the file into")]
    NoFolder {
        /// The target.
        path: String,
    },

    /// An archive can only be unpacked into a folder.
    #[error("`{path}` is no folder, and an archive can only be unpacked into one")]
    ArchiveToFile {
        /// The target.
        path: String,
    },

    /// The target is neither a folder nor a file.
    #[error("`{path}` is neither a folder nor a file")]
    Special {
        /// The target.
        path: String,
    },

    /// A file of this machine could not be read or written.
    #[error("cannot copy `{path}`")]
    Local {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl Advice for CopyError {
    fn blame(&self) -> Blame {
        match self {
            Self::Engine(error) => error.blame(),
            Self::Absent { .. }
            | Self::FolderToFile { .. }
            | Self::NoFolder { .. }
            | Self::ArchiveToFile { .. }
            | Self::Special { .. }
            | Self::Local { .. } => Blame::Service,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Engine(error) => error.hints(),
            Self::Absent { .. }
            | Self::FolderToFile { .. }
            | Self::NoFolder { .. }
            | Self::ArchiveToFile { .. }
            | Self::Special { .. }
            | Self::Local { .. } => Vec::new(),
        }
    }
}

/// How a copy into a container is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyHow {
    /// Whether a link is followed, rather than copied as a link.
    pub follow: bool,
    /// Whether the files become those of the container's user.
    pub archive: bool,
}

/// One end of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct End {
    path: String,
    exists: bool,
    is_folder: bool,
    /// The name by which it was asked for, where a link led to one of another name.
    asked: Option<String>,
}

/// Where an archive is unpacked, and what its first folder is called there.
#[derive(Debug, PartialEq, Eq)]
struct Placement {
    folder: String,
    rename: Option<Rename>,
}

impl Docker {
    /// Copies a file or folder of this machine, by its absolute path, to `to` in a container.
    pub async fn copy_in(
        &self,
        container: &ProjectContainer,
        from: &str,
        to: &str,
        how: CopyHow,
    ) -> Result<(), CopyError> {
        let target = self.target(container, to).await?;
        let (source, place) = {
            let from = from.to_owned();
            blocking(move || {
                let source = local_source(&from, how.follow)?;
                let place = place(&source, &target)?;
                Ok((source, place))
            })
            .await?
        };
        let (folder, base) = split(&source.path);
        let name = place.rename.as_ref().map(|rename| rename.to.clone()).or_else(|| source.asked.clone());
        let (sender, chunks) = mpsc::channel(WAITING);
        let packing = tokio::task::spawn_blocking(move || {
            let to_engine = archive::Sender::new(sender.clone());
            if let Err(error) = archive::pack(to_engine, Path::new(&folder), &base, name.as_deref().unwrap_or(&base)) {
                // The engine must not take half of an archive for a whole one.
                let kind = error.kind();
                let _ = sender.blocking_send(Err(kind.into()));
                return Err(error);
            }
            Ok(())
        });
        let sent = self.upload(container, to, &place.folder, how, received(chunks)).await;
        let packed = packing.await.expect("packing does not panic");
        // Its end is the engine's complaint too, and says less there.
        match packed {
            Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
                Err(CopyError::Local { path: from.to_owned(), source })
            }
            Err(_) | Ok(()) => sent,
        }
    }

    /// Unpacks the archive on standard input into the folder `to` of a container.
    pub async fn copy_archive_in(&self, container: &ProjectContainer, to: &str, how: CopyHow) -> Result<(), CopyError> {
        let target = self.target(container, to).await?;
        if !target.is_folder {
            return Err(CopyError::ArchiveToFile { path: format!("{}:{to}", container.name) });
        }
        let input = tokio_util::io::ReaderStream::new(tokio::io::stdin());
        let input = input.map(|chunk| chunk.map(Vec::from));
        self.upload(container, to, &target.path, how, input).await
    }

    /// Copies a file or folder of a container to `to` on this machine, an absolute path.
    pub async fn copy_out(
        &self,
        container: &ProjectContainer,
        from: &str,
        to: &str,
        follow: bool,
    ) -> Result<(), CopyError> {
        let target = {
            let to = to.to_owned();
            blocking(move || local_target(&to)).await?
        };
        let source = self.source(container, from, follow).await?;
        let place = place(&source, &target)?;
        let rename = match (place.rename, &source.asked) {
            (Some(rename), _) => Some(rename),
            (None, Some(asked)) => Some(Rename { from: split(&source.path).1, to: asked.clone() }),
            (None, None) => None,
        };
        let (sender, chunks) = mpsc::channel(WAITING);
        let folder = place.folder;
        let unpacking = tokio::task::spawn_blocking(move || {
            archive::unpack(archive::Receiver::new(chunks), Path::new(&folder), rename.as_ref())
        });
        let mut archive = std::pin::pin!(self.archive(container, &source.path));
        let mut failed = None;
        while let Some(chunk) = archive.next().await {
            match chunk {
                Ok(chunk) => {
                    // Nobody takes it any more: unpacking failed, and says why.
                    if sender.send(Ok(chunk)).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    let _ = sender.send(Err(io::ErrorKind::UnexpectedEof.into())).await;
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(sender);
        let unpacked = unpacking.await.expect("unpacking does not panic");
        match failed {
            Some(error) => Err(self.no_such(container, from, error).await),
            None => unpacked.map_err(|source| CopyError::Local { path: to.to_owned(), source }),
        }
    }

    /// Writes a file or folder of a container to standard output, as an archive.
    pub async fn copy_archive_out(
        &self,
        container: &ProjectContainer,
        from: &str,
        follow: bool,
    ) -> Result<(), CopyError> {
        let source = self.source(container, from, follow).await?;
        let mut stdout = tokio::io::stdout();
        let mut archive = std::pin::pin!(self.archive(container, &source.path));
        let written = |source| CopyError::Local { path: "-".to_owned(), source };
        while let Some(chunk) = archive.next().await {
            match chunk {
                Ok(chunk) => stdout.write_all(&chunk).await.map_err(written)?,
                Err(error) => return Err(self.no_such(container, from, error).await),
            }
        }
        stdout.flush().await.map_err(written)
    }

    fn archive(
        &self,
        container: &ProjectContainer,
        path: &str,
    ) -> impl Stream<Item = Result<Vec<u8>, bollard::errors::Error>> + use<> {
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        self.client().download_from_container(&container.id, Some(options)).map(|chunk| chunk.map(Vec::from))
    }

    async fn upload(
        &self,
        container: &ProjectContainer,
        to: &str,
        folder: &str,
        how: CopyHow,
        chunks: impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static,
    ) -> Result<(), CopyError> {
        let mut options = UploadToContainerOptionsBuilder::default().path(folder).no_overwrite_dir_non_dir("true");
        if how.archive {
            options = options.copy_uidgid("true");
        }
        let body = bollard::body_try_stream(chunks.map(|chunk| chunk.map(Into::into)));
        match self.client().upload_to_container(&container.id, Some(options.build()), body).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.no_such(container, to, error).await),
        }
    }

    /// Words a failed copy: a 404 may be about the path and about the container.
    async fn no_such(&self, container: &ProjectContainer, path: &str, error: bollard::errors::Error) -> CopyError {
        if error::is_absent(&error) && matches!(self.condition(&container.id).await, Ok(Some(_))) {
            return CopyError::Absent { path: path.to_owned(), container: Some(container.name.clone()) };
        }
        if error::is_absent(&error) {
            return Error::NoSuchContainer { container: container.name.clone() }.into();
        }
        Error::from_call(format!("copy `{path}` of the container `{}`", container.name), error).into()
    }

    async fn look(&self, container: &ProjectContainer, path: &str) -> Result<Option<Seen>, CopyError> {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(path).build();
        match self.client().get_container_archive_info(&container.id, Some(options)).await {
            Ok(found) => Ok(Some(Seen { mode: found.file_mode, link: found.link_target })),
            Err(error) if error::is_absent(&error) => Ok(None),
            Err(error) => Err(self.no_such(container, path, error).await),
        }
    }

    /// What a copy out of a container begins with.
    async fn source(&self, container: &ProjectContainer, path: &str, follow: bool) -> Result<End, CopyError> {
        let absent = || CopyError::Absent { path: path.to_owned(), container: Some(container.name.clone()) };
        let seen = self.look(container, path).await?.ok_or_else(absent)?;
        if follow && seen.is_link() {
            let (path, asked) = renamed(path, &joined(path, &seen.link));
            let seen = self.look(container, &path).await?.ok_or_else(absent)?;
            return Ok(End { is_folder: seen.is_folder(), exists: true, path, asked });
        }
        Ok(End { path: path.to_owned(), exists: true, is_folder: seen.is_folder(), asked: None })
    }

    /// What a copy into a container ends in.
    async fn target(&self, container: &ProjectContainer, path: &str) -> Result<End, CopyError> {
        let mut at = path.to_owned();
        let mut seen = self.look(container, &at).await?;
        if let Some(link) = seen.as_ref().filter(|seen| seen.is_link()) {
            at = joined(&at, &link.link);
            seen = self.look(container, &at).await?;
        }
        if seen.as_ref().is_some_and(Seen::is_special) {
            return Err(CopyError::Special { path: format!("{}:{path}", container.name) });
        }
        // Where it is not there, its folder may be: the engine knows.
        Ok(End { path: at, exists: seen.is_some(), is_folder: seen.is_some_and(|seen| seen.is_folder()), asked: None })
    }
}

/// What a container has at a path. The mode's bits are those of Go, which the engine is written in.
struct Seen {
    mode: u32,
    link: String,
}

impl Seen {
    fn is_folder(&self) -> bool {
        self.mode & (1 << 31) != 0
    }

    fn is_link(&self) -> bool {
        self.mode & (1 << 27) != 0
    }

    /// A device, a pipe, a socket.
    fn is_special(&self) -> bool {
        self.mode & ((1 << 26) | (1 << 25) | (1 << 24) | (1 << 21)) != 0
    }
}

fn received<T>(chunks: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::unfold(chunks, async |mut chunks| chunks.recv().await.map(|chunk| (chunk, chunks)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CopyError> + Send + 'static,
) -> Result<T, CopyError> {
    tokio::task::spawn_blocking(work).await.expect("looking at files does not panic")
}

/// What a copy from this machine begins with.
fn local_source(path: &str, follow: bool) -> Result<End, CopyError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CopyError::Absent { path: path.to_owned(), container: None },
        _ => CopyError::Local { path: path.to_owned(), source },
    };
    // A link that is written as a folder is one: `link/`, `link/.`.
    if follow || asserts_folder(path) {
        let resolved = std::fs::canonicalize(path).map_err(failed)?;
        let (path, asked) = renamed(path, &resolved.to_string_lossy());
        return Ok(End { exists: true, is_folder: resolved.is_dir(), path, asked });
    }
    let found = std::fs::symlink_metadata(path).map_err(failed)?;
    Ok(End { path: path.to_owned(), exists: true, is_folder: found.is_dir(), asked: None })
}

/// What a copy to this machine ends in.
fn local_target(path: &str) -> Result<End, CopyError> {
    let failed = |source| CopyError::Local { path: path.to_owned(), source };
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        match std::fs::symlink_metadata(&at) {
            Ok(found) if found.is_symlink() => {
                let link = std::fs::read_link(&at).map_err(failed)?;
                at = joined(&at, &link.to_string_lossy());
            }
            Ok(found) if found.is_dir() || found.is_file() => {
                return Ok(End { path: at, exists: true, is_folder: found.is_dir(), asked: None });
            }
            Ok(_) => return Err(CopyError::Special { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (parent, _) = split(&at);
                return match std::fs::metadata(&parent) {
                    Ok(found) if found.is_dir() => Ok(End { path: at, ..End::default() }),
                    Ok(_) | Err(_) => Err(CopyError::NoFolder { path: parent }),
                };
            }
            Err(source) => return Err(failed(source)),
        }
    }
    Err(failed(io::Error::other("its links go round in a circle")))
}

/// Docker's rules, in Docker's order.
fn place(source: &End, target: &End) -> Result<Placement, CopyError> {
    let (folder, base) = split(&target.path);
    let from = split(&source.path).1;
    let rename = || Placement { folder: folder.clone(), rename: Some(Rename { from: from.clone(), to: base.clone() }) };
    match (target.exists, target.is_folder, source.is_folder) {
        (true, true, _) => Ok(Placement { folder: target.path.clone(), rename: None }),
        (true, false, true) => Err(CopyError::FolderToFile { path: target.path.clone() }),
        (false, _, false) if asserts_folder(&target.path) => Err(CopyError::NoFolder { path: target.path.clone() }),
        (true, false, false) | (false, ..) => Ok(rename()),
    }
}

fn is_separator(c: char) -> bool {
    c == '/' || c == MAIN_SEPARATOR
}

/// Whether a path is written as one of a folder: `x/`, `x/.`.
fn asserts_folder(path: &str) -> bool {
    path.ends_with(is_separator) || is_contents(path)
}

/// Whether a path means what is in a folder: `x/.`.
fn is_contents(path: &str) -> bool {
    path.rsplit(is_separator).find(|part| !part.is_empty()) == Some(".")
}

/// A path without `.`, `..` and doubled separators, as far as it tells by itself.
fn clean(path: &str) -> String {
    let root = if path.starts_with(is_separator) { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(is_separator) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if !root.is_empty() => {}
            part => parts.push(part),
        }
    }
    let text = format!("{root}{}", parts.join("/"));
    if text.is_empty() { ".".to_owned() } else { text }
}

/// The folder of a path and its last part, which is `.` where what is in the folder is meant.
fn split(path: &str) -> (String, String) {
    let cleaned = clean(path);
    if is_contents(path) {
        return (cleaned, ".".to_owned());
    }
    match cleaned.rsplit_once('/') {
        None => (".".to_owned(), cleaned),
        Some(("", "")) => ("/".to_owned(), "/".to_owned()),
        Some(("", base)) => ("/".to_owned(), base.to_owned()),
        Some((folder, base)) => (folder.to_owned(), base.to_owned()),
    }
}

/// Where a link leads to.
fn joined(path: &str, link: &str) -> String {
    if link.starts_with(is_separator) || Path::new(link).is_absolute() {
        return link.to_owned();
    }
    let (folder, _) = split(path.trim_end_matches(is_separator));
    PathBuf::from(folder).join(link).to_string_lossy().into_owned()
}

/// The path that a link led to, as it is to be copied, and the name it was asked for by where that is another.
fn renamed(asked: &str, resolved: &str) -> (String, Option<String>) {
    let mut path = resolved.to_owned();
    if is_contents(asked) && !is_contents(&path) {
        path.push_str("/.");
    }
    if asked.ends_with(is_separator) && !path.ends_with(is_separator) {
        path.push('/');
    }
    let (old, new) = (split(&path).1, split(asked).1);
    let other = (old != new).then_some(new);
    (path, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_where_docker_splits_it() {
        for (path, folder, base) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a/b", "."),
            ("/a/b/./", "/a/b", "."),
            ("/a/../b", "/", "b"),
            ("/", "/", "/"),
            ("/.", "/", "."),
            (".", ".", "."),
            ("b", ".", "b"),
            ("../b", "..", "b"),
            ("/../b", "/", "b"),
        ] {
            assert_eq!(split(path), (folder.to_owned(), base.to_owned()), "{path}");
        }
    }

    #[test]
    fn where_a_copy_ends_depends_on_what_is_there() {
        let end = |path: &str, exists, is_folder| End { path: path.to_owned(), exists, is_folder, asked: None };
        let file = |path: &str| end(path, true, false);
        let folder = |path: &str| end(path, true, true);
        let nothing = |path: &str| end(path, false, false);
        let placed = |source: &End, target: &End| match place(source, target) {
            Ok(Placement { folder, rename: None }) => folder,
            Ok(Placement { folder, rename: Some(Rename { from, to }) }) => format!("{folder} {from}>{to}"),
            Err(error) => error.to_string(),
        };
        for (source, target, expected) in [
            (file("/a"), folder("/d"), "/d"),
            (file("/a"), file("/d/x"), "/d a>x"),
            (file("/a"), nothing("/d/x"), "/d a>x"),
            (file("/a"), nothing("/d/x/"), "there is no folder `/d/x/` to copy the file into"),
            (folder("/a"), folder("/d"), "/d"),
            (folder("/a/."), folder("/d"), "/d"),
            (folder("/a"), file("/d"), "cannot copy a folder to `/d`, which is a file"),
            (folder("/a"), nothing("/d/x"), "/d a>x"),
            (folder("/a"), nothing("/d/x/"), "/d a>x"),
            (folder("/a/."), nothing("/d/x"), "/d .>x"),
        ] {
            assert_eq!(placed(&source, &target), expected, "{source:?} {target:?}");
        }
    }

    #[test]
    fn a_link_is_copied_by_the_name_it_was_asked_for() {
        for (asked, resolved, path, name) in [
            ("/a/link", "/b/file", "/b/file", Some("link")),
            ("/a/link/", "/b/folder", "/b/folder/", Some("link")),
            ("/a/link/.", "/b/folder", "/b/folder/.", None),
            ("/a/same", "/b/same", "/b/same", None),
        ] {
            assert_eq!(renamed(asked, resolved), (path.to_owned(), name.map(str::to_owned)), "{asked}");
        }
        assert_eq!(joined("/a/link", "file"), "/a/file");
        assert_eq!(joined("/a/link", "/file"), "/file");
    }
}
