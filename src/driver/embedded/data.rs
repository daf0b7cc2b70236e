//! Where a server's data live, and as whom it runs.
//!
//! A normal user's data lie in the project. Root's servers run as somebody else, who may be unable to enter the project
//! (under `/root`, say): then the data lie under `/var/lib/devctl`, and a link in the project says where.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Error, Package, pip};
use crate::os::user::{self, User};

/// Where data go that a project has no reachable place for.
const ELSEWHERE: &str = "/var/lib/devctl";

/// A data folder whose way is clear. The folder itself may not exist yet.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder, with links followed.
    pub(super) folder: PathBuf,
    /// Whom the server runs as; `None` for whoever runs devctl.
    pub(super) user: Option<User>,
    /// Whether the folder was put elsewhere just now.
    pub(super) moved: bool,
}

/// Whom a new server would run as: nobody else, unless devctl is root.
pub(super) fn runner(package: Package) -> Result<Option<User>, Error> {
    if !user::is_root() {
        return Ok(None);
    }
    user::unprivileged().map(Some).ok_or(Error::NoUser { package })
}

/// Finds the place for a server's data, makes the way to it, and gives it to the user that the server runs as.
pub(super) fn settle(package: Package, wanted: &Path) -> Result<Place, Error> {
    let wanted = std::path::absolute(wanted).map_err(Error::io("find", wanted))?;
    let parent = wanted.parent().unwrap_or(Path::new("/")).to_owned();
    user::make_passable(&parent).map_err(Error::io("create", &parent))?;
    let (folder, is_link) = follow(&wanted);

    let Some(unprivileged) = runner(package)? else {
        refuse_foreign(&folder)?;
        return Ok(Place { folder, user: None, moved: false });
    };
    let user = match user_of(&folder)? {
        // Made by a normal user, who must be able to go on using them.
        Some(owner) if owner.uid != 0 => owner,
        Some(_) | None => unprivileged,
    };
    let barrier = user::barrier(folder.parent().unwrap_or(&folder), &user).map_err(Error::io("look at", &folder))?;
    let Some(barrier) = barrier else {
        let above = folder.parent().unwrap_or(Path::new("/"));
        user::make_passable(above).map_err(Error::io("create", above))?;
        give_whole(&folder, &user)?;
        return Ok(Place { folder, user: Some(user), moved: false });
    };

    let elsewhere = elsewhere(&wanted);
    if is_link || !is_empty(&folder)? {
        return Err(Error::DataOutOfReach { folder, barrier, user: user.name, instead: elsewhere });
    }
    let above = elsewhere.parent().unwrap_or(Path::new(ELSEWHERE));
    user::make_passable(above).map_err(Error::io("create", above))?;
    if wanted.exists() {
        fs::remove_dir(&wanted).map_err(Error::io("replace", &wanted))?;
    }
    user::link_folder(&elsewhere, &wanted).map_err(Error::io("create", &wanted))?;
    // What is there already belongs to the same project: its folder was cleaned and the data were not.
    give_whole(&elsewhere, &user)?;
    Ok(Place { folder: elsewhere, user: Some(user), moved: true })
}

/// Removes a server's data, and the link to them where they were put elsewhere. Gone already is success. A link that
/// somebody made is removed, and what it leads to is left alone.
pub(super) fn remove(wanted: &Path) -> Result<(), Error> {
    let (folder, is_link) = follow(wanted);
    if !is_link || folder.starts_with(ELSEWHERE) {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &folder)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    if is_link {
        fs::remove_file(wanted).map_err(Error::io("remove", wanted))?;
        // The project's folder there goes with its last data, and not before.
        let _ = folder.parent().filter(|above| above.starts_with(ELSEWHERE)).map(fs::remove_dir);
    }
    Ok(())
}

impl Place {
    /// Makes the folder, closed to everybody but the server's user, unless it is there.
    pub(super) fn make(&self) -> Result<(), Error> {
        if self.folder.exists() {
            return Ok(());
        }
        fs::create_dir(&self.folder).map_err(Error::io("create", &self.folder))?;
        self.give(&self.folder)?;
        user::set_mode(&self.folder, 0o700).map_err(Error::io("close", &self.folder))
    }

    /// Gives a file or folder to the server's user.
    pub(super) fn give(&self, path: &Path) -> Result<(), Error> {
        match &self.user {
            Some(user) => user::give(path, user).map_err(Error::io("give away", path)),
            None => Ok(()),
        }
    }
}

/// Gives a data folder to the server's user, unless it is theirs already.
fn give_whole(folder: &Path, user: &User) -> Result<(), Error> {
    match user_of(folder)? {
        Some(owner) if owner.uid != user.uid => user::give(folder, user).map_err(Error::io("give away", folder)),
        Some(_) | None => Ok(()),
    }
}

/// Where a link leads, even to nothing; anything else is itself.
fn follow(path: &Path) -> (PathBuf, bool) {
    match fs::read_link(path) {
        Ok(target) => (path.parent().unwrap_or(Path::new("/")).join(target), true),
        Err(_) => (path.to_owned(), false),
    }
}

/// The folder for the data of a project that has no reachable place. The same project always gets the same.
fn elsewhere(wanted: &Path) -> PathBuf {
    let parent = wanted.parent().unwrap_or(Path::new("/"));
    let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
    let hash = pip::hex(&Sha256::digest(parent.to_string_lossy().as_bytes()));
    let name = wanted.file_name().unwrap_or(wanted.as_os_str());
    Path::new(ELSEWHERE).join(&hash[..12]).join(name)
}

/// What there is in a project's data folder, by name.
pub(super) fn folders(data: &Path) -> Vec<PathBuf> {
    // No folder, no data.
    let entries = fs::read_dir(data).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Whether there is nothing in a folder, or no folder.
pub(super) fn is_empty(folder: &Path) -> Result<bool, Error> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io("read", folder)(error)),
    }
}

#[cfg(unix)]
fn user_of(folder: &Path) -> Result<Option<User>, Error> {
    match user::owner(folder) {
        Ok(owner) => Ok(Some(owner)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("look at", folder)(error)),
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
fn user_of(_: &Path) -> Result<Option<User>, Error> {
    Ok(None)
}

/// A normal user can do nothing with data that a server of another user made.
#[cfg(unix)]
fn refuse_foreign(folder: &Path) -> Result<(), Error> {
    match user_of(folder)? {
        Some(owner) if owner.uid != user::current_uid() => {
            Err(Error::DataOwner { folder: folder.to_owned(), owner: owner.name })
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
fn refuse_foreign(_: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_always_gets_the_same_place_elsewhere() {
        let one = elsewhere(Path::new("/nowhere/one/.devctl/data/db"));
        assert_eq!(one, elsewhere(Path::new("/nowhere/one/.devctl/data/db")));
        assert_ne!(one, elsewhere(Path::new("/nowhere/two/.devctl/data/db")));
        assert!(one.starts_with(ELSEWHERE) && one.ends_with("db"), "{}", one.display());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_is_followed_even_to_nothing() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("db");
        user::link_folder(Path::new("/nowhere/db"), &link).unwrap();
        assert_eq!(follow(&link), ("/nowhere/db".into(), true));
        assert_eq!(follow(root.path()), (root.path().to_owned(), false));
    }

    #[test]
    #[cfg(unix)]
    fn removing_spares_what_somebodys_link_leads_to() {
        let root = tempfile::tempdir().unwrap();
        let (data, precious, link) = (root.path().join("db"), root.path().join("precious"), root.path().join("link"));
        for folder in [&data, &precious] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), "x").unwrap();
        }
        user::link_folder(&precious, &link).unwrap();
        for gone in [&data, &link] {
            remove(gone).unwrap();
            assert!(gone.symlink_metadata().is_err(), "{}", gone.display());
        }
        assert!(precious.join("file").exists());
        remove(&data).unwrap();
    }

    #[test]
    fn an_open_place_is_taken_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        user::set_mode(root.path(), 0o755).unwrap();
        let wanted = root.path().join("data/db");
        let place = settle(Package::Postgres, &wanted).unwrap();
        assert_eq!((place.folder.as_path(), place.moved), (wanted.as_path(), false));
        assert!(!wanted.exists(), "the server makes it");
        assert_eq!(place.user.is_some(), user::is_root());
        place.make().unwrap();
        assert!(is_empty(&wanted).unwrap());
    }
}
