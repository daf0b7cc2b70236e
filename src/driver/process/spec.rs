//! Host programs, as plain data.

use std::path::PathBuf;

use indexmap::IndexMap;

use crate::name::ServiceName;

/// A host program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The service.
    pub service: ServiceName,
    /// What to run.
    pub program: Program,
    /// Arguments after those of `program`.
    pub args: Vec<String>,
    /// The folder it runs in.
    pub dir: PathBuf,
    /// Its whole environment besides `PATH`, `HOME` and what else the shell gives.
    pub env: IndexMap<String, EnvVar>,
    /// The port it listens on, where it does; proves that a listener is ours.
    pub port: Option<u16>,
    /// The signal that asks it to stop.
    pub stop_signal: StopSignal,
    /// Whether it runs in a terminal of its own.
    pub pty: bool,
    /// Whether devctl listens on the port and hands the socket over, so that a restart refuses no connection.
    pub listen: bool,
}

/// What a service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// What the build of the same service made.
    Built,
}

/// A host program to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSpec {
    /// The service.
    pub service: ServiceName,
    /// The runtime that knows how.
    pub runtime: Runtime,
    /// The folder it is built in.
    pub dir: PathBuf,
    /// Which binary, where the runtime finds several.
    pub bin: Option<String>,
    /// The build's environment besides devctl's own.
    pub env: IndexMap<String, EnvVar>,
}

/// What knows how to prepare and run a program. `python`, `node` and `go` come later, each one file in `runtime/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// `cargo build`, then the binary.
    Rust,
    /// A command, as it is.
    Exec,
}

/// A variable of a child's environment, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// The value.
    pub value: String,
    /// Where it came from.
    pub source: EnvSource,
}

/// Where a variable came from, lowest to highest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnvSource {
    /// A `.env` file, by its path.
    File(PathBuf),
    /// devctl, which knows the addresses of the stack.
    Devctl,
    /// `env` in `devctl.toml`.
    Manifest,
    /// The shell devctl was started from.
    Shell,
}

/// The signal that asks a process to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hup,
}
