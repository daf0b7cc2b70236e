//! Sockets between programs of one machine: made so that nobody but their owner can ever open them, told alive from
//! dead, and asked who is at the other end. Windows has none that tokio knows: there nothing can be bound or reached.

use std::io;
use std::path::Path;

pub use platform::{Listener, MAX_PATH, Stream, http_client, is_alive, is_ours, private_folder, remove_dead};

/// Whether there is anything of that name to connect to: a socket, and not its remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Somebody listens.
    Alive,
    /// Whoever listened has died.
    Dead,
}

/// Puts a link to `target` at `path`, in one step, in place of what was there.
pub fn link(target: &Path, path: &Path) -> io::Result<()> {
    let temp = beside(path, "link");
    platform::symlink(target, &temp)?;
    std::fs::rename(&temp, path).inspect_err(|_| {
        // It is of no use to anybody.
        let _ = std::fs::remove_file(&temp);
    })
}

/// A name in the same folder that nobody else uses.
fn beside(path: &Path, what: &str) -> std::path::PathBuf {
    path.with_file_name(format!(".{what}-{}-{:08x}", std::process::id(), rand::random::<u32>()))
}

#[cfg(unix)]
mod platform {
    use std::fs::DirBuilder;
    use std::io;
    use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
    use std::path::{Path, PathBuf};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio::net::{UnixListener, UnixStream};

    use super::{Found, beside};

    pub(super) use std::os::unix::fs::symlink;

    /// The longest path that a socket can have: the field of the kernel's structure, less the zero at its end.
    pub const MAX_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

    /// The name that a socket has until its rights are set, in a folder beside its place.
    const UNBORN: &str = "s";

    /// A socket that listens. Its file is removed when it is dropped.
    #[derive(Debug)]
    pub struct Listener {
        socket: UnixListener,
        path: PathBuf,
        /// Device and inode, so that no other socket is removed.
        file: (u64, u64),
    }

    /// A connection to one.
    #[derive(Debug)]
    pub struct Stream(UnixStream);

    impl Listener {
        /// Makes a socket of mode 0600 and puts it at `path` in one step, in place of what was there: see to it that
        /// it is dead.
        ///
        /// It is made in a folder that nobody else can enter, as there is no way to give `bind` a mode but the umask,
        /// which belongs to all threads; and by then somebody could have connected.
        pub fn bind(path: &Path) -> io::Result<Self> {
            let nest = beside(path, "s");
            DirBuilder::new().mode(0o700).create(&nest)?;
            let bound = Self::bind_in(&nest, path);
            // Empty by now, or of no use to anybody.
            let _ = std::fs::remove_dir_all(&nest);
            bound
        }

        fn bind_in(nest: &Path, path: &Path) -> io::Result<Self> {
            let unborn = nest.join(UNBORN);
            let socket = UnixListener::bind(&unborn)?;
            std::fs::set_permissions(&unborn, std::fs::Permissions::from_mode(0o600))?;
            let meta = unborn.symlink_metadata()?;
            std::fs::rename(&unborn, path)?;
            Ok(Self { socket, path: path.to_owned(), file: (meta.dev(), meta.ino()) })
        }

        /// How much longer than the socket's own path the one is that it is made under.
        pub const DETOUR: usize = 20;

        /// Where it is.
        pub fn path(&self) -> &Path {
            &self.path
        }

        /// The next connection. Cancelling loses none.
        pub async fn accept(&self) -> io::Result<Stream> {
            Ok(Stream(self.socket.accept().await?.0))
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            if self.path.symlink_metadata().is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file) {
                // What cannot be removed is known to be dead by whoever tries it.
                let _ = std::fs::remove_file(&self.path);
            }
        }
    }

    impl Stream {
        /// The user at the other end when it connected.
        pub fn peer_uid(&self) -> io::Result<u32> {
            Ok(self.0.peer_cred()?.uid())
        }

        /// Writes as much as goes without waiting.
        pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            self.0.try_write(bytes)
        }
    }

    impl AsyncRead for Stream {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    /// Tells by connecting.
    pub fn is_alive(path: &Path) -> io::Result<Found> {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Ok(Found::Alive),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Found::Dead),
            // More have knocked than it has come to: somebody is there.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Found::Alive),
            // Some systems have another error for a plain file; it is no socket in any case.
            Err(_) if path.symlink_metadata().is_ok_and(|meta| !meta.file_type().is_socket()) => Ok(Found::Dead),
            Err(error) => Err(error),
        }
    }

    /// Removes a socket whose listener has died; answers whether nothing is there any more. Nothing but a socket is ever
    /// removed: who wrote down where it is may have been anybody.
    pub fn remove_dead(path: &Path) -> io::Result<bool> {
        match path.symlink_metadata() {
            Ok(meta) if meta.file_type().is_socket() && is_alive(path)? == Found::Dead => {
                std::fs::remove_file(path).map(|()| true)
            }
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether a socket is this user's or root's, whom everybody trusts anyway. Root trusts everybody: it was asked to
    /// act in that project.
    pub fn is_ours(path: &Path) -> io::Result<bool> {
        let (owner, us) = (path.metadata()?.uid(), crate::os::user::current_uid());
        Ok(owner == us || owner == 0 || us == 0)
    }

    /// Makes a folder that its owner alone can enter, or makes sure that the one there is like that. In a folder where
    /// everybody may write, somebody else may have been faster.
    pub fn private_folder(path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        // The link itself, not what it leads to.
        let meta = path.symlink_metadata()?;
        let ours = meta.is_dir() && meta.uid() == crate::os::user::current_uid();
        if !ours || meta.mode() & 0o077 != 0 {
            let message = format!("`{}` is not a folder that only you can enter", path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(())
    }

    /// An HTTP client whose every connection goes to that socket.
    pub fn http_client(path: &Path) -> io::Result<reqwest::ClientBuilder> {
        Ok(reqwest::Client::builder().unix_socket(path))
    }
}

#[cfg(not(unix))]
mod platform {
    use std::convert::Infallible;
    use std::io;
    use std::path::Path;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Found;

    /// There is no limit where there is no socket.
    pub const MAX_PATH: usize = usize::MAX;

    /// There is none of these here.
    #[derive(Debug)]
    pub struct Listener(Infallible);

    /// There is none of these here.
    #[derive(Debug)]
    pub struct Stream(Infallible);

    fn unsupported() -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, "there is no control socket on this system")
    }

    impl Listener {
        /// How much longer than the socket's own path the one is that it is made under.
        pub const DETOUR: usize = 0;

        /// Refuses.
        pub fn bind(_: &Path) -> io::Result<Self> {
            Err(unsupported())
        }

        /// Where it is.
        pub fn path(&self) -> &Path {
            match self.0 {}
        }

        /// The next connection.
        #[expect(clippy::unused_async, reason = "the Unix twin waits")]
        pub async fn accept(&self) -> io::Result<Stream> {
            match self.0 {}
        }
    }

    impl Stream {
        /// The user at the other end.
        pub fn peer_uid(&self) -> io::Result<u32> {
            match self.0 {}
        }

        /// Writes as much as goes without waiting.
        pub fn try_write(&self, _: &[u8]) -> io::Result<usize> {
            match self.0 {}
        }
    }

    impl AsyncRead for Stream {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            match self.0 {}
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            match self.0 {}
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.0 {}
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.0 {}
        }
    }

    pub(super) fn symlink(_: &Path, _: &Path) -> io::Result<()> {
        Err(unsupported())
    }

    /// Finds nothing.
    pub fn is_alive(_: &Path) -> io::Result<Found> {
        Ok(Found::Nothing)
    }

    /// There is none.
    pub fn remove_dead(_: &Path) -> io::Result<bool> {
        Ok(true)
    }

    /// Nothing is.
    pub fn is_ours(_: &Path) -> io::Result<bool> {
        Err(unsupported())
    }

    /// Refuses.
    pub fn private_folder(_: &Path) -> io::Result<()> {
        Err(unsupported())
    }

    /// Refuses.
    pub fn http_client(_: &Path) -> io::Result<reqwest::ClientBuilder> {
        Err(unsupported())
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_from_the_first_and_gone_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        assert_eq!(is_alive(&path).unwrap(), Found::Nothing);
        let first = Listener::bind(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(is_alive(&path).unwrap(), Found::Alive);
        let peer = first.accept().await.unwrap().peer_uid().unwrap();
        assert_eq!(peer, crate::os::user::current_uid());
        // What took its place is not removed with it.
        let second = Listener::bind(&path).unwrap();
        drop(first);
        assert_eq!(is_alive(&path).unwrap(), Found::Alive);
        drop(second);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_its_owner_left_is_dead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(is_alive(&path).unwrap(), Found::Dead);
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        assert_eq!(is_alive(&plain).unwrap(), Found::Dead);
    }

    #[tokio::test]
    async fn the_longest_path_that_is_promised_can_be_bound() {
        let folder = tempfile::tempdir().unwrap();
        let room = MAX_PATH - Listener::DETOUR - folder.path().as_os_str().len() - 1;
        let path = folder.path().join("x".repeat(room));
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(is_alive(&path).unwrap(), Found::Alive);
        assert_eq!(listener.path(), path);
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        private_folder(&path).unwrap();
        private_folder(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(private_folder(&path).is_err());
        let link = folder.path().join("link");
        super::link(&path, &link).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(private_folder(&link).is_err(), "a link may lead anywhere tomorrow");
    }
}
