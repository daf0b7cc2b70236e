//! One tool at work in a folder of its own. Whatever it started ends with the session, however the tool behaves.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::family::{self, Family, MARK};
use super::peers::{CtrlC, Job, Peer, Way};
use super::watch::Watch;

/// How long anything may take before the tool is given up.
pub(super) const LIMIT: Duration = Duration::from_mins(1);

/// A tool that is measured.
pub(super) struct Tool {
    pub(super) peer: Box<dyn Peer>,
    pub(super) program: PathBuf,
    pub(super) version: String,
}

/// A tool that runs.
pub(super) struct Session<'a> {
    tool: &'a Tool,
    workload: PathBuf,
    folder: tempfile::TempDir,
    mark: String,
    child: Child,
    terminal: Option<Arc<pty_process::blocking::Pty>>,
    output: Arc<Output>,
    /// When it was executed.
    pub(super) began: SystemTime,
    pub(super) watch: Watch,
}

/// What a tool printed.
#[derive(Default)]
struct Output {
    lines: AtomicU64,
    /// The last of it, for when something goes wrong; all of it, where that is asked for.
    text: Mutex<Vec<u8>>,
}

/// How a tool is run.
#[derive(Clone, Copy, Default)]
pub(super) struct How {
    /// Arguments on top of its own.
    pub(super) more: &'static [&'static str],
    /// Whether all of its output is kept.
    pub(super) keep: bool,
}

impl<'a> Session<'a> {
    /// Starts a tool with jobs, each of which is given the words after `workload SOCKET NAME`.
    pub(super) fn start(
        tool: &'a Tool,
        workload: &Path,
        jobs: &[(String, Vec<String>)],
        restart: bool,
        how: How,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("devctl-bench-").tempdir()?;
        let watch = Watch::listen(folder.path())?;
        let socket = watch.path().display().to_string();
        let jobs: Vec<Job> = jobs
            .iter()
            .map(|(name, words)| {
                let words = words.iter().map(|word| word.replace("SOCKET", &socket).replace("NAME", name));
                Job { name: name.clone(), argv: words.collect(), restart }
            })
            .collect();
        tool.peer.write(folder.path(), &jobs)?;
        let mark = folder.path().file_name().context("a temporary folder has a name")?.to_string_lossy().into_owned();
        let mut args = tool.peer.args(&jobs);
        args.extend(how.more.iter().map(|word| (*word).to_owned()));
        let mut env = vec![(MARK, PathBuf::from(&mark))];
        env.extend(tool.peer.env(folder.path()));
        let output = Arc::new(Output::default());
        let began;
        let (child, terminal) = match tool.peer.way() {
            Way::Terminal => {
                let (pty, pts) = pty_process::blocking::open()?;
                pty.resize(pty_process::Size::new(40, 120))?;
                let command = pty_process::blocking::Command::new(&tool.program).args(&args).current_dir(folder.path());
                began = SystemTime::now();
                let child = command.envs(env).env("TERM", "xterm-256color").spawn(pts)?;
                let pty = Arc::new(pty);
                let reader = Arc::clone(&pty);
                read(PtyReader(reader), &output, how.keep);
                (child, Some(pty))
            }
            Way::Pipe | Way::Detached => {
                let mut command = Command::new(&tool.program);
                command.args(&args).current_dir(folder.path()).envs(env).process_group(0);
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                began = SystemTime::now();
                let mut child = command.spawn().with_context(|| format!("cannot run `{}`", tool.program.display()))?;
                read(child.stdout.take().context("it is piped")?, &output, how.keep);
                read(child.stderr.take().context("it is piped")?, &output, how.keep);
                (child, None)
            }
        };
        Ok(Self { tool, workload: workload.to_owned(), folder, mark, child, terminal, output, began, watch })
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its processes now, without those it supervises.
    pub(super) fn family(&self) -> anyhow::Result<Family> {
        Family::of(&self.mark, &self.workload)
    }

    /// How many lines it printed.
    pub(super) fn lines(&self) -> u64 {
        self.output.lines.load(Ordering::Relaxed)
    }

    /// What it printed.
    pub(super) fn text(&self) -> String {
        let text = self.output.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The process that a person would signal.
    pub(super) fn main(&self) -> anyhow::Result<Pid> {
        let own = Pid::from_raw(i32::try_from(self.child.id())?);
        let CtrlC::Process(words) = self.tool.peer.ctrl_c() else { return Ok(own) };
        for pid in self.family()?.pids {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).replace('\0', " ").contains(words) {
                return Ok(Pid::from_raw(i32::try_from(pid)?));
            }
        }
        bail!("{} has no process `{words}`", self.tool.peer.name())
    }

    /// Does what stands for Ctrl+C.
    pub(super) fn ctrl_c(&self) -> anyhow::Result<()> {
        match self.tool.peer.ctrl_c() {
            CtrlC::Group => killpg(self.main()?, Signal::SIGINT)?,
            CtrlC::Process(_) => kill(self.main()?, Signal::SIGINT)?,
            CtrlC::Key => {
                let terminal = self.terminal.as_ref().context("it has a terminal")?;
                std::io::Write::write_all(&mut &**terminal, b"\x03")?;
            }
            CtrlC::Command(args) => {
                let mut command = Command::new(&self.tool.program);
                command.args(args).current_dir(self.folder()).env(MARK, &self.mark);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            }
        }
        Ok(())
    }

    /// Waits until that process has ended; answers whether it did.
    pub(super) fn ended(&mut self, main: Pid, within: Duration) -> bool {
        let end = Instant::now() + within;
        loop {
            drop(self.child.try_wait());
            if kill(main, None).is_err() {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Adds to an error what the tool said last.
    pub(super) fn explain<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        result.with_context(|| {
            let text = self.text();
            let last = text.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
            format!("{}; it said last:\n{last}\n", self.tool.peer.name())
        })
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // What forks while it is killed needs several rounds.
        for _ in 0..100 {
            let left = family::processes(&self.mark).unwrap_or_default();
            if left.is_empty() {
                break;
            }
            for pid in left {
                if let Ok(pid) = i32::try_from(pid) {
                    // Gone since it was seen: so much the better.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            drop(self.child.try_wait());
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct PtyReader(Arc<pty_process::blocking::Pty>);

impl Read for PtyReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

/// Reads to the end, whatever comes: a tool must never wait for its reader.
fn read(mut from: impl Read + Send + 'static, to: &Arc<Output>, keep: bool) {
    let to = Arc::clone(to);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let piece = &buffer[..count];
            let lines = memchr::memchr_iter(b'\n', piece).count();
            to.lines.fetch_add(lines as u64, Ordering::Relaxed);
            let mut text = to.text.lock().unwrap_or_else(PoisonError::into_inner);
            if !keep && text.len() > 16 * 1024 {
                text.clear();
            }
            text.extend_from_slice(if keep { piece } else { &piece[count.saturating_sub(4096)..] });
        }
    });
}
