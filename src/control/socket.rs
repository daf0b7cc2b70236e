//! Where the socket of a project is: in its `.devctl/`, or, where that path is too long for a socket or the file system
//! has none, in a folder of the user's own, with a link to it in `.devctl/`. Whoever looks for it follows the link.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::advice::{Advice, Blame};
use crate::os::socket::{self, Found, Listener};
use crate::os::user;
use crate::state::StateDir;
use crate::state::lock::Lock;

/// The name of the socket, or of the link to it, in `.devctl/`.
const NAME: &str = "control.sock";

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers at the place although nobody holds the project.
    #[error("somebody else listens on `{}`", .0.display())]
    Taken(PathBuf),
    /// It could not be made.
    #[error("cannot make the control socket `{}`", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Advice for SocketError {
    fn blame(&self) -> Blame {
        Blame::Environment
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Taken(path) => vec![format!("find out who with `lsof {}`", path.display())],
            Self::Bind { .. } => vec![
                "the stack runs all the same; `devctl ps`, `logs` and `down` work without it, from this folder"
                    .to_owned(),
            ],
        }
    }
}

/// The socket of the supervisor of a project. Its files are removed when it is dropped.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: Arc<Listener>,
    link: Option<PathBuf>,
}

impl Socket {
    /// Makes the socket of the project in `root`; `env` tells where the user's own files are. A dead one that is in the
    /// way is replaced: whoever holds the lock of the project is the only one who may.
    pub fn bind(root: &Path, env: &BTreeMap<String, String>, _held: &Lock) -> Result<Self, SocketError> {
        let real = real(root);
        let at_home = StateDir::of(&real).path().join(NAME);
        let fits = at_home.as_os_str().len() + Listener::DETOUR <= socket::MAX_PATH;
        if fits {
            match bind(&at_home) {
                // A file system without sockets: network drives, and folders shared with another system.
                Err(SocketError::Bind { source, .. }) if has_no_sockets(&source) => {}
                bound => return Ok(Self { listener: Arc::new(bound?), link: None }),
            }
        }
        let path = elsewhere(&real, env).map_err(|source| SocketError::Bind { path: at_home.clone(), source })?;
        let listener = Arc::new(bind(&path)?);
        socket::link(&path, &at_home).map_err(|source| SocketError::Bind { path: at_home.clone(), source })?;
        Ok(Self { listener, link: Some(at_home) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.listener.path()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(link) = &self.link
            && std::fs::read_link(link).is_ok_and(|target| target == self.listener.path())
        {
            // Whoever follows it finds nothing there, and knows what that means.
            let _ = std::fs::remove_file(link);
        }
    }
}

/// Removes the socket that a killed supervisor left in the project in `root`, with the link to it: nobody will ever answer
/// there. Whoever holds the lock of the project is the only one who may.
pub fn clear(root: &Path, _held: &Lock) {
    let at_home = StateDir::of(&real(root)).path().join(NAME);
    let target = std::fs::read_link(&at_home).ok();
    // What cannot be removed is recognised as dead by whoever looks for it.
    let gone = socket::remove_dead(target.as_deref().unwrap_or(&at_home)).unwrap_or(false);
    if gone && target.is_some() {
        let _ = std::fs::remove_file(&at_home);
    }
}

/// Where the socket of the project in `root` is, whether or not anybody listens; `None` where there is none.
pub fn find(root: &Path) -> Option<PathBuf> {
    let at_home = StateDir::of(&real(root)).path().join(NAME);
    match std::fs::read_link(&at_home) {
        Ok(target) => Some(target),
        Err(_) if at_home.symlink_metadata().is_ok() => Some(at_home),
        Err(_) => None,
    }
}

/// One path for one project, whichever way somebody came to it.
fn real(root: &Path) -> PathBuf {
    root.canonicalize().unwrap_or_else(|_| root.to_owned())
}

fn bind(path: &Path) -> Result<Listener, SocketError> {
    let failed = |source| SocketError::Bind { path: path.to_owned(), source };
    match socket::is_alive(path).map_err(failed)? {
        Found::Alive => Err(SocketError::Taken(path.to_owned())),
        // The new one takes the place of the dead.
        Found::Dead | Found::Nothing => Listener::bind(path).map_err(failed),
    }
}

fn has_no_sockets(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

/// A short path that is this project's alone, in a folder that only this user can enter.
fn elsewhere(root: &Path, env: &BTreeMap<String, String>) -> io::Result<PathBuf> {
    let runtime = env.get("XDG_RUNTIME_DIR").map(Path::new).filter(|folder| folder.is_absolute() && folder.is_dir());
    let folder = match runtime {
        Some(folder) => folder.join("devctl"),
        // Not the folder for temporary files: that may have a long path itself.
        None => Path::new("/tmp").join(format!("devctl-{}", user::current_uid())),
    };
    socket::private_folder(&folder)?;
    let mut name = String::new();
    for byte in &Sha256::digest(root.as_os_str().as_encoded_bytes())[..8] {
        let _ = write!(name, "{byte:02x}");
    }
    Ok(folder.join(format!("{name}.sock")))
}
