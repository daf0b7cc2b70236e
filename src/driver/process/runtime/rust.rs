//! Rust programs: `cargo build`, then the binary itself. cargo is asked for messages that programs can read, so that
//! the binary's path is known and never guessed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use crate::driver::StartContext;
use crate::driver::process::pump::{Take, ToLogs};
use crate::driver::process::{BuildSpec, Error, once, program};
use crate::event::Progress;
use crate::logs::{Stream, without_escapes};
use crate::os::process::Kill;
use crate::os::spawn::{Order, Spawner};

/// Another cargo has the build folder: often devctl's own, for another service of the same workspace.
const WAITING: &str = "waiting for another build";

/// Builds a package and gives back its binary.
pub(super) async fn build(
    spec: &BuildSpec,
    env: BTreeMap<String, String>,
    spawner: &Spawner,
    cx: &StartContext,
) -> Result<PathBuf, Error> {
    let cargo = program::find("cargo", &spec.dir, &env)?;
    let mut args = vec!["build".to_owned()];
    if let Some(bin) = &spec.bin {
        args.extend(["--bin".to_owned(), bin.clone()]);
    }
    let command = format!("cargo {}", args.join(" "));
    // Messages about artifacts as JSON on stdout; what people read on stderr, as always.
    args.push("--message-format=json-render-diagnostics".to_owned());
    let order = Order {
        program: cargo.clone(),
        args,
        dir: spec.dir.clone(),
        env,
        user: None,
        // A build leaves nothing half done that the next one would not see.
        on_our_death: Kill::Term,
        terminal: false,
        socket: None,
    };
    let build = Build { cx: cx.clone(), state: Arc::default() };
    let messages = Lines { rest: Vec::new(), to: build.clone() };
    let logs = ToLogs { logs: cx.logs.clone(), stream: Stream::Stderr };
    let stderr = Stderr { logs, lines: Lines { rest: Vec::new(), to: Diagnostics(build.clone()) } };
    let status = once::run(spawner, order, messages, stderr).await.map_err(|source| program::refused(cargo, source))?;
    let state = std::mem::take(&mut *build.state());
    if !status.success() {
        let first = state.first_error.unwrap_or_else(|| status.to_string());
        return Err(Error::BuildFailed { command, dir: spec.dir.clone(), first });
    }
    choose(spec, state.binaries)
}

/// The one binary to run.
fn choose(spec: &BuildSpec, binaries: BTreeMap<String, PathBuf>) -> Result<PathBuf, Error> {
    let dir = spec.dir.clone();
    if binaries.len() > 1 {
        return Err(Error::SeveralBinaries { dir, names: binaries.into_keys().collect() });
    }
    binaries.into_values().next().ok_or(Error::NoBinary { dir })
}

/// What is known of a build that runs.
#[derive(Clone)]
struct Build {
    cx: StartContext,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Crates that are done, those that were already included.
    done: u64,
    /// What cargo does now.
    doing: String,
    binaries: BTreeMap<String, PathBuf>,
    first_error: Option<String>,
}

/// A message of cargo, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Build {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self, what: &str, done: u64) {
        // cargo tells the number of crates only on a terminal.
        (self.cx.progress)(Progress { what: what.to_owned(), part: None, done, total: 0, unit: "crates" });
    }
}

/// Takes whole lines.
trait Line: Send {
    fn line(&mut self, line: &[u8]);
}

impl Line for Build {
    /// A line of stdout: a message in JSON. Others are build scripts' that print to the wrong place.
    fn line(&mut self, line: &[u8]) {
        let Ok(Message { reason, target: Some(target), executable }) = serde_json::from_slice(line) else { return };
        if reason != "compiler-artifact" {
            return;
        }
        let (doing, done) = {
            let mut state = self.state();
            state.done += 1;
            if state.doing == WAITING {
                // Cargo says when it waits, and not when it goes on; a crate that is done says so.
                "building".clone_into(&mut state.doing);
            }
            if let Some(path) = executable.filter(|_| target.kind.iter().any(|k| k == "bin")) {
                state.binaries.insert(target.name, path);
            }
            (state.doing.clone(), state.done)
        };
        if !doing.is_empty() {
            self.progress(&doing, done);
        }
    }
}

/// Reads what cargo tells people.
struct Diagnostics(Build);

impl Line for Diagnostics {
    fn line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = without_escapes(&text);
        let doing = doing(&text);
        let mut state = self.0.state();
        if state.first_error.is_none() && (text.starts_with("error:") || text.starts_with("error[")) {
            state.first_error = Some(text.trim_end().to_owned());
        }
        if let Some(doing) = doing {
            state.doing.clone_from(&doing);
            let done = state.done;
            drop(state);
            self.0.progress(&doing, done);
        }
    }
}

/// What a status line of cargo says it does.
fn doing(line: &str) -> Option<String> {
    let (verb, rest) = line.trim_start().split_once(' ')?;
    // Status verbs are aligned to the right; a compiler's message never begins like that.
    if !line.starts_with(' ') {
        return None;
    }
    match verb {
        "Compiling" => Some(format!("compiling {}", rest.split(' ').next().unwrap_or(rest))),
        "Downloading" | "Downloaded" => Some("downloading crates".to_owned()),
        "Updating" => Some("updating the index".to_owned()),
        "Blocking" => Some(WAITING.to_owned()),
        _ => None,
    }
}

/// Cuts output into lines for `to`.
struct Lines<L> {
    rest: Vec<u8>,
    to: L,
}

impl<L: Line> Take for Lines<L> {
    async fn take(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        if let Some(last) = memchr::memrchr(b'\n', &self.rest) {
            let rest = self.rest.split_off(last + 1);
            for line in self.rest.split(|b| *b == b'\n') {
                self.to.line(line);
            }
            self.rest = rest;
        }
    }

    async fn end(&mut self) {
        let last = std::mem::take(&mut self.rest);
        self.to.line(&last);
    }
}

/// Standard error goes to the logs and is read on the way.
struct Stderr {
    logs: ToLogs,
    lines: Lines<Diagnostics>,
}

impl Take for Stderr {
    async fn take(&mut self, piece: &[u8]) {
        self.lines.take(piece).await;
        self.logs.take(piece).await;
    }

    async fn end(&mut self) {
        self.lines.end().await;
        self.logs.end().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_tell_what_cargo_does() {
        for (line, told) in [
            ("   Compiling serde v1.0.229", Some("compiling serde")),
            ("   Compiling api v0.1.0 (/p/backend)", Some("compiling api")),
            ("    Blocking waiting for file lock on build directory", Some(WAITING)),
            (" Downloading 3 crates", Some("downloading crates")),
            ("    Finished `dev` profile in 0.1s", None),
            ("Compiling this by hand is wrong", None),
            ("error: Compiling", None),
            ("", None),
        ] {
            assert_eq!(doing(line).as_deref(), told, "{line}");
        }
    }

    #[test]
    fn the_wait_for_another_build_is_over_with_the_first_crate() {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&told);
        let cx = StartContext {
            node: crate::name::NodeId::Build("x".parse().unwrap()),
            run: "0123456789ab".parse().unwrap(),
            action: crate::event::Action::Start,
            existing: None,
            takeover: None,
            logs: crate::logs::Hub::new(None).null(),
            progress: Arc::new(move |step: Progress| sink.lock().unwrap().push(step.what)),
        };
        let mut build = Build { cx, state: Arc::default() };
        let artifact = br#"{"reason":"compiler-artifact","target":{"name":"serde","kind":["lib"]},"executable":null}"#;
        Diagnostics(build.clone()).line(b"    Blocking waiting for file lock on build directory");
        build.line(artifact);
        Diagnostics(build.clone()).line(b"   Compiling api v0.1.0");
        build.line(artifact);
        assert_eq!(*told.lock().unwrap(), [WAITING, "building", "compiling api", "compiling api"]);
    }
}
