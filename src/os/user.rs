//! Users and rights: whether devctl is root, whom a server may run as instead, what that user can reach.
//!
//! Looks at users, owners and modes only; it knows no server. On Windows nobody is root and nothing is in the way.

use std::io;
use std::path::{Path, PathBuf};

/// A user that a child can run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, or the number where the number has no name.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

/// The users that a server may run as where devctl is root, best first: the one that PostgreSQL's packages make, its
/// twin on macOS, and the one that every Unix has.
#[cfg(unix)]
const UNPRIVILEGED: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// Whether devctl runs as root.
#[cfg(unix)]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether devctl runs as root.
#[cfg(not(unix))]
pub fn is_root() -> bool {
    false
}

/// The id of the user devctl runs as.
#[cfg(unix)]
pub fn current_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The id of the user devctl runs as: there are no numbers here.
#[cfg(not(unix))]
pub fn current_uid() -> u32 {
    0
}

/// Finds a user without privileges; `None` where the machine has none.
#[cfg(unix)]
pub fn unprivileged() -> Option<User> {
    UNPRIVILEGED.iter().find_map(|name| {
        let user = nix::unistd::User::from_name(name).ok().flatten()?;
        Some(User { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    })
}

/// Finds nobody here: devctl is never root, and its servers run as whoever runs it.
#[cfg(not(unix))]
pub fn unprivileged() -> Option<User> {
    None
}

/// The owner of a file or folder.
#[cfg(unix)]
pub fn owner(path: &Path) -> io::Result<User> {
    use std::os::unix::fs::MetadataExt;
    let meta = path.metadata()?;
    let name = nix::unistd::User::from_uid(meta.uid().into()).ok().flatten().map(|user| user.name);
    Ok(User { name: name.unwrap_or_else(|| meta.uid().to_string()), uid: meta.uid(), gid: meta.gid() })
}

/// The first folder on the way down to `folder`, itself included, that `user` may not pass through. Folders that do
/// not exist yet are no barrier.
#[cfg(unix)]
pub fn barrier(folder: &Path, user: &User) -> io::Result<Option<PathBuf>> {
    use std::os::unix::fs::MetadataExt;
    let folder = std::path::absolute(folder)?;
    // Links are resolved first: it is the real folders that are in the way.
    let real = match folder.ancestors().find(|a| a.exists()) {
        Some(existing) => existing.canonicalize()?,
        None => return Ok(None),
    };
    let mut chain: Vec<&Path> = real.ancestors().collect();
    chain.reverse();
    for step in chain {
        let meta = step.metadata()?;
        let bit = match () {
            () if meta.uid() == user.uid => 0o100,
            () if meta.gid() == user.gid => 0o010,
            () => 0o001,
        };
        if meta.mode() & bit == 0 {
            return Ok(Some(step.to_owned()));
        }
    }
    Ok(None)
}

/// Finds no barrier here: only a server of another user meets one, and there is no [`unprivileged`] user.
#[cfg(not(unix))]
pub fn barrier(_: &Path, _: &User) -> io::Result<Option<PathBuf>> {
    Ok(None)
}

/// Gives a file, or a folder with all that is in it, to a user. Links are given and not followed.
#[cfg(unix)]
pub fn give(path: &Path, user: &User) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let meta = path.symlink_metadata()?;
    if (meta.uid(), meta.gid()) != (user.uid, user.gid) {
        std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid))?;
    }
    if meta.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

/// Does nothing here: with no [`unprivileged`] user there is nobody to give to.
#[cfg(not(unix))]
pub fn give(_: &Path, _: &User) -> io::Result<()> {
    Ok(())
}

/// Makes a folder and those above it that are missing, each open to everybody for passing through, whatever the umask:
/// a server that runs as another user has to get there.
pub fn make_passable(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|a| !a.exists()).collect();
    for step in missing.into_iter().rev() {
        match std::fs::create_dir(step) {
            Ok(()) => set_mode(step, 0o755)?,
            // Somebody else was faster; it is theirs to set.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sets the mode of a file or folder.
#[cfg(unix)]
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Does nothing here: there are no modes, and what a file inherits from its folder decides who reads it.
#[cfg(not(unix))]
pub fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// Makes a file that only its owner can read, and fails where there is one of that name.
pub fn create_private(path: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a link to a folder.
#[cfg(unix)]
pub fn link_folder(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Refuses here: making a link takes a right that few users have.
#[cfg(not(unix))]
pub fn link_folder(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn stranger() -> User {
        User { name: "stranger".to_owned(), uid: 54_321, gid: 54_321 }
    }

    #[test]
    fn a_closed_folder_on_the_way_is_the_barrier() {
        let root = tempfile::tempdir().unwrap();
        let root_path = root.path().canonicalize().unwrap();
        let deep = root_path.join("open/closed/data");
        make_passable(&deep).unwrap();
        set_mode(&root_path, 0o755).unwrap();
        assert_eq!(barrier(&deep, &stranger()).unwrap(), None);

        let closed = root_path.join("open/closed");
        set_mode(&closed, 0o700).unwrap();
        assert_eq!(barrier(&deep, &stranger()).unwrap(), Some(closed.clone()));
        assert_eq!(barrier(&deep.join("not/yet/there"), &stranger()).unwrap(), Some(closed.clone()));

        let link = root_path.join("link");
        link_folder(&closed, &link).unwrap();
        assert_eq!(barrier(&link.join("data"), &stranger()).unwrap(), Some(closed));
    }

    #[test]
    fn the_owner_passes_where_others_do_not() {
        let root = tempfile::tempdir().unwrap();
        let me = owner(root.path()).unwrap();
        set_mode(root.path(), 0o700).unwrap();
        assert_eq!(barrier(root.path(), &me).unwrap(), None);
    }

    #[test]
    fn a_private_file_is_private_and_never_replaced() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("secret");
        let made = create_private(&path).unwrap();
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(create_private(&path).is_err());
    }
}
