//! Why a program could not be built, run or stopped.

use std::io;
use std::path::PathBuf;

use crate::advice::{Advice, Blame};
use crate::os::ports;

/// Why a program could not be built, run or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to run.
    #[error("the command of `{service}` is empty")]
    Empty {
        /// The service.
        service: String,
    },
    /// The folder to run in is not there.
    #[error("cannot run `{program}`: there is no folder `{}`", dir.display())]
    FolderMissing {
        /// The program.
        program: String,
        /// The folder.
        dir: PathBuf,
    },
    /// A program named without a path is in no folder of `PATH`.
    #[error("there is no program `{program}` in PATH\nPATH: {path}")]
    NotInPath {
        /// The program.
        program: String,
        /// The `PATH` that was searched.
        path: String,
    },
    /// A program named by its path is not there.
    #[error("there is no program `{}`", program.display())]
    ProgramMissing {
        /// The program.
        program: PathBuf,
    },
    /// The file is there and may not be executed.
    #[error("`{}` is not an executable file", program.display())]
    NotExecutable {
        /// The program.
        program: PathBuf,
    },
    /// The program's first line or header names an interpreter that is not there.
    #[error("`{}` cannot be run: the interpreter it names is missing", program.display())]
    InterpreterMissing {
        /// The program.
        program: PathBuf,
        /// The first line of a script, where it is one.
        shebang: Option<String>,
    },
    /// The system refused.
    #[error("cannot start `{}`", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A service was started before its build.
    #[error("`{service}` has not been built")]
    NotBuilt {
        /// The service.
        service: String,
    },
    /// The build ended with an error.
    #[error("`{command}` in `{}` failed: {first}", dir.display())]
    BuildFailed {
        /// The command.
        command: String,
        /// The folder it ran in.
        dir: PathBuf,
        /// The first error it printed, or how it ended.
        first: String,
    },
    /// The build made several programs.
    #[error("the package in `{}` has several binaries: {}", dir.display(), names.join(", "))]
    SeveralBinaries {
        /// The folder.
        dir: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// The build made no program.
    #[error("the package in `{}` has no binary", dir.display())]
    NoBinary {
        /// The folder.
        dir: PathBuf,
    },
    /// A port that devctl is to listen on for a service, and cannot.
    #[error("cannot listen on port {port} for `{service}`")]
    Listen {
        /// The service.
        service: String,
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A key of the manifest that this system has nothing for.
    #[error("`{service}` has `{what} = true`, which does not work on this system")]
    Unsupported {
        /// The service.
        service: String,
        /// The key.
        what: &'static str,
    },
    /// Processes are still there after SIGKILL.
    #[error("still alive after being killed: {}", left.join(", "))]
    Unkillable {
        /// What is left, each described.
        left: Vec<String>,
    },
}

impl Advice for Error {
    fn blame(&self) -> Blame {
        match self {
            Self::Empty { .. }
            | Self::FolderMissing { .. }
            | Self::ProgramMissing { .. }
            | Self::NotExecutable { .. }
            | Self::SeveralBinaries { .. }
            | Self::NoBinary { .. }
            | Self::Unsupported { .. } => Blame::Configuration,
            Self::NotInPath { .. }
            | Self::InterpreterMissing { .. }
            | Self::Spawn { .. }
            | Self::Listen { .. }
            | Self::Unkillable { .. } => Blame::Environment,
            Self::BuildFailed { .. } => Blame::Service,
            Self::NotBuilt { .. } => Blame::Bug,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Empty { service } => vec![format!("give `command` of `{service}` a program and its arguments")],
            Self::FolderMissing { .. } => vec!["correct `dir`; it is relative to the folder of devctl.toml".to_owned()],
            Self::NotInPath { program, .. } if program == "cargo" => {
                vec!["install Rust: https://rustup.rs".to_owned(), "or add cargo's folder to PATH".to_owned()]
            }
            Self::NotInPath { program, .. } => vec![
                format!("install `{program}`, or add its folder to PATH"),
                format!("a program in the project is named by its path: `./{program}`"),
            ],
            Self::ProgramMissing { .. } => {
                vec!["correct the command; a relative path is relative to the service's `dir`".to_owned()]
            }
            Self::NotExecutable { .. } if cfg!(windows) => {
                vec!["name a program with an ending that Windows runs, such as `.exe` or `.cmd`".to_owned()]
            }
            Self::NotExecutable { program } => vec![format!("`chmod +x '{}'`", program.display())],
            Self::InterpreterMissing { shebang: Some(line), .. } => {
                vec![format!("its first line is `{line}`: install that program or correct the line")]
            }
            Self::InterpreterMissing { shebang: None, .. } => {
                vec!["it was built for another system or C library".to_owned()]
            }
            Self::Spawn { source, .. } => spawn_hints(source),
            Self::SeveralBinaries { names, .. } => {
                names.first().map(|name| format!("choose one: bin = \"{name}\"")).into_iter().collect()
            }
            Self::NoBinary { .. } => vec!["set `dir` to the folder of a package with a `src/main.rs`".to_owned()],
            Self::Listen { service, port, .. } => {
                let mut hints: Vec<String> =
                    ports::owners(*port).first().and_then(|owner| owner.how_to_stop(*port)).into_iter().collect();
                hints.push(format!("or give `{service}` another `port`"));
                hints
            }
            Self::Unsupported { what, .. } => vec![format!("leave `{what}` out")],
            Self::Unkillable { .. } if cfg!(windows) => {
                vec!["a process of another user or an administrator can only be ended by them".to_owned()]
            }
            Self::Unkillable { .. } => vec![
                "a process in state D waits for the kernel, often for a network file system: `ps -o pid,stat,wchan,args`"
                    .to_owned(),
            ],
            Self::BuildFailed { .. } | Self::NotBuilt { .. } => Vec::new(),
        }
    }
}

#[cfg(unix)]
fn spawn_hints(source: &io::Error) -> Vec<String> {
    let hint = match source.raw_os_error() {
        Some(libc::EAGAIN) => "the limit of processes is reached: see `ulimit -u`, or a container's pids limit",
        Some(libc::ENOMEM) => "the machine is out of memory",
        Some(libc::EMFILE | libc::ENFILE) => "the limit of open files is reached: see `ulimit -n`",
        Some(libc::E2BIG) => "the environment and the arguments are too large together",
        Some(libc::EACCES) => "the user it runs as may not enter the folder or execute the file",
        Some(libc::EPERM) => "only root can run a program as another user",
        Some(libc::ENOEXEC) => "it is no program of this system; a script needs a first line such as `#!/bin/sh`",
        Some(libc::ETXTBSY) => "something is still writing the file",
        Some(_) | None => return Vec::new(),
    };
    vec![hint.to_owned()]
}

#[cfg(not(unix))]
fn spawn_hints(_: &io::Error) -> Vec<String> {
    Vec::new()
}
