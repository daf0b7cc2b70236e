//! Unpacking: the needed part of a wheel, into a folder of its own, with the rights that programs need.
//!
//! Knows archives and folders; what to keep it is told, and where to put it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::os::user;

/// Unpacks the files of the archive for which `keep` says so below `target`, an empty folder. `progress` gets bytes
/// done and bytes in all. Stops between two files once `cancelled` is set; what is there then is worth nothing.
pub(super) fn unpack(
    archive: &Path,
    target: &Path,
    keep: impl Fn(&str) -> bool,
    cancelled: &AtomicBool,
    progress: impl Fn(u64, u64),
) -> Result<(), ZipError> {
    let mut archive = ZipArchive::new(fs::File::open(archive)?)?;
    let mut total = 0;
    let mut wanted = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index)?;
        if !entry.is_dir() && keep(entry.name()) {
            total += entry.size();
            wanted.push(index);
        }
    }
    let (mut done, mut told) = (0, 0);
    for index in wanted {
        if cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::Interrupted).into());
        }
        let mut entry = archive.by_index(index)?;
        let Some(path) = entry.enclosed_name() else {
            return Err(ZipError::InvalidArchive("a file that would land outside".into()));
        };
        let path = target.join(path);
        if let Some(folder) = path.parent() {
            user::make_passable(folder)?;
        }
        let mut file = fs::File::create_new(&path)?;
        io::copy(&mut entry, &mut file)?;
        drop(file);
        // The server may run as another user than the one that unpacks it: all may read, nobody else may write.
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        user::set_mode(&path, if executable { 0o755 } else { 0o644 })?;
        done += entry.size();
        // A step for every file would be a thousand; a hundred are enough to see it move.
        if done == total || done - told > total / 100 {
            told = done;
            progress(done, total);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(folder: &Path, files: &[(&str, u32, &str)]) -> std::path::PathBuf {
        let path = folder.join("test.whl");
        let mut zip = ZipWriter::new(fs::File::create(&path).unwrap());
        for (name, mode, text) in files {
            zip.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    #[test]
    fn only_what_is_kept_is_unpacked_and_programs_stay_programs() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = archive(
            folder.path(),
            &[("a/bin/server", 0o700, "#!"), ("a/share/data", 0o600, "x"), ("b/other", 0o644, "y")],
        );
        let target = folder.path().join("out");
        fs::create_dir(&target).unwrap();
        let steps = std::cell::RefCell::new(Vec::new());
        let keep = |name: &str| name.starts_with("a/");
        unpack(&wheel, &target, keep, &AtomicBool::new(false), |done, total| steps.borrow_mut().push((done, total)))
            .unwrap();
        assert_eq!(fs::read_to_string(target.join("a/bin/server")).unwrap(), "#!");
        assert!(!target.join("b").exists());
        assert_eq!(*steps.borrow(), [(2, 3), (3, 3)]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &str| target.join(path).metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!((mode("a/bin/server"), mode("a/share/data"), mode("a/bin")), (0o755, 0o644, 0o755));
        }
    }

    #[test]
    fn a_file_outside_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = archive(folder.path(), &[("../evil", 0o644, "x")]);
        let target = folder.path().join("out");
        fs::create_dir(&target).unwrap();
        let result = unpack(&wheel, &target, |_| true, &AtomicBool::new(false), |_, _| {});
        assert!(matches!(result, Err(ZipError::InvalidArchive(_))), "{result:?}");
        assert!(!folder.path().join("evil").exists());
    }

    #[test]
    fn it_stops_when_nobody_wants_it_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = archive(folder.path(), &[("a", 0o644, "x")]);
        let result = unpack(&wheel, folder.path(), |_| true, &AtomicBool::new(true), |_, _| {});
        assert!(result.is_err());
        assert!(!folder.path().join("a").exists());
    }
}
