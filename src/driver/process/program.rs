//! Finds the program that a command names, and says exactly why where it cannot be run: the system's own answer to a
//! missing folder, a missing program and a missing interpreter is the same two words.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;

/// The file to execute for `program`, run in `dir` with `env`.
pub(super) fn find(program: &str, dir: &Path, env: &BTreeMap<String, String>) -> Result<PathBuf, Error> {
    if !dir.is_dir() {
        return Err(Error::FolderMissing { program: program.to_owned(), dir: dir.to_owned() });
    }
    let named_by_path = program.contains(std::path::is_separator);
    let path = env.get("PATH").map_or("", String::as_str);
    if let Ok(found) = which::which_in(program, Some(path), dir) {
        return Ok(found);
    }
    if !named_by_path {
        return Err(Error::NotInPath { program: program.to_owned(), path: path.to_owned() });
    }
    // `./serve` is below the folder, and a message needs no `/./`.
    let program = dir.join(program.strip_prefix("./").unwrap_or(program));
    Err(if program.exists() { Error::NotExecutable { program } } else { Error::ProgramMissing { program } })
}

/// What the system's refusal to start a program that exists means.
pub(super) fn refused(program: PathBuf, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::NotFound && program.exists() {
        return Error::InterpreterMissing { shebang: shebang(&program), program };
    }
    Error::Spawn { program, source }
}

fn shebang(program: &Path) -> Option<String> {
    use std::io::{BufRead, Read};
    let mut line = Vec::new();
    io::BufReader::new(std::fs::File::open(program).ok()?.take(256)).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8(line).ok()?;
    line.starts_with("#!").then(|| line.trim().to_owned())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::advice::Advice;

    #[test]
    fn each_reason_has_its_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let file = |name: &str, text: &str, mode: u32| {
            std::fs::write(root.join(name), text).unwrap();
            std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        std::fs::create_dir(root.join("bin")).unwrap();
        file("bin/tool", "#!/no/such/interpreter -x\n", 0o755);
        file("plain", "text", 0o644);
        let env: BTreeMap<_, _> = [("PATH".to_owned(), root.join("bin").display().to_string())].into();
        let find = |program: &str| find(program, root, &env);

        assert_eq!(find("tool").unwrap(), root.join("bin/tool"));
        assert_eq!(find("./bin/tool").unwrap().canonicalize().unwrap(), root.join("bin/tool").canonicalize().unwrap());
        assert_eq!(find("/bin/sh").unwrap(), Path::new("/bin/sh"));
        let shown = |e: Error| e.to_string().replace(&root.display().to_string(), "ROOT");
        assert_eq!(shown(find("nope").unwrap_err()), "there is no program `nope` in PATH\nPATH: ROOT/bin");
        assert_eq!(shown(find("./nope").unwrap_err()), "there is no program `ROOT/nope`");
        assert_eq!(shown(find("./plain").unwrap_err()), "`ROOT/plain` is not an executable file");
        assert_eq!(shown(find("./bin").unwrap_err()), "`ROOT/bin` is not an executable file");
        let missing = super::find("sh", &root.join("gone"), &env).unwrap_err();
        assert_eq!(shown(missing), "cannot run `sh`: there is no folder `ROOT/gone`");

        let refused = refused(root.join("bin/tool"), io::ErrorKind::NotFound.into());
        assert_eq!(
            refused.hints(),
            ["its first line is `#!/no/such/interpreter -x`: install that program or correct the line"]
        );
    }
}
