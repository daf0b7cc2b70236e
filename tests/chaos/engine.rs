//! A Docker Engine of the tests' own that comes and goes: a daemon with its own socket and data, beside the machine's.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use devctl::os::process::{self, Kill};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Engine, until};

/// The image that the project needs.
pub(crate) const IMAGE: &str = "redis:7-alpine";

/// The engine. Dropped, it is gone with all it has.
pub(crate) struct OwnEngine {
    folder: tempfile::TempDir,
    daemon: Option<Child>,
}

impl OwnEngine {
    /// Starts one that has the image; why there can be none otherwise.
    pub(crate) fn start() -> Result<Self, String> {
        Engine::for_test().ok_or("the machine has no Docker Engine to take images from")?;
        if !nix::unistd::Uid::effective().is_root() {
            return Err("only root can run one".to_owned());
        }
        let found = Command::new("dockerd").arg("--version").stdin(Stdio::null()).output();
        found.map_err(|error| format!("there is no dockerd: {error}"))?;
        let folder = tempfile::Builder::new().prefix("devctl-dockerd-").tempdir().map_err(|error| error.to_string())?;
        let mut engine = Self { folder, daemon: None };
        engine.come();
        let mut image = Command::new("docker")
            .args(["save", IMAGE])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let text = image.stdout.take().expect("it is piped");
        let loaded = engine.docker().arg("load").stdin(text).output().map_err(|error| error.to_string())?;
        let saved = image.wait().is_ok_and(|status| status.success());
        if saved && loaded.status.success() { Ok(engine) } else { Err(format!("it does not take {IMAGE}: {loaded:?}")) }
    }

    /// The address, as `DOCKER_HOST` has it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.path("sock").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.host()).stdin(Stdio::null());
        command
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn come(&mut self) {
        if self.daemon.is_some() {
            return;
        }
        let log = File::options().create(true).append(true).open(self.path("log")).expect("the folder is ours");
        // One that was killed leaves its process id behind, and another may have it by now.
        drop(std::fs::remove_file(self.path("pid")));
        let mut command = Command::new("dockerd");
        for (option, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(option).arg(self.path(name));
        }
        // The machine's own rules for packets are not its business.
        command.args(["--host", &self.host(), "--bridge=none", "--iptables=false", "--ip6tables=false"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemon = Some(command.spawn().expect("it did start before"));
        until("the engine answers", || {
            let Output { status, stderr, .. } = self.docker().arg("version").output().expect("it did run before");
            if status.success() { Ok(()) } else { Err(format!("{}\n{}", String::from_utf8_lossy(&stderr), self.log())) }
        });
    }

    /// Ends it, and waits until it is gone.
    pub(crate) fn go(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGTERM).expect("it was not waited for yet");
        daemon.wait().expect("it is our child");
    }

    /// What it has of a project: containers and networks.
    pub(crate) fn left_of(&self, project: &str) -> Vec<String> {
        let filter = format!("label=com.docker.compose.project={project}");
        let mut left = Vec::new();
        for list in [&["ps", "--all", "--format", "{{.Names}}"][..], &["network", "ls", "--format", "{{.Name}}"]] {
            let output = self.docker().args(list).args(["--filter", &filter]).output().expect("it did run before");
            assert!(output.status.success(), "{output:?}");
            left.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
        }
        left
    }

    /// What the daemon said last.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            if let Ok(output) = self.docker().args(["ps", "--all", "--quiet"]).output() {
                let ids = String::from_utf8_lossy(&output.stdout).into_owned();
                drop(self.docker().args(["rm", "--force"]).args(ids.split_whitespace()).output());
            }
            drop(self.docker().args(["network", "prune", "--force"]).output());
        }
        self.go();
        // What a killed one has left, and no other one has taken over.
        let pid = std::fs::read_to_string(self.path("exec/containerd/containerd.pid")).ok();
        let containerd = pid.and_then(|pid| process::look(pid.trim().parse().ok()?)).map(|found| found.id);
        if let Some(id) = containerd.filter(|id| process::command(id.pid).contains("containerd")) {
            process::signal(id, Kill::Term);
        }
        // It mounts its data onto themselves, and one that was killed leaves them so.
        drop(Command::new("umount").arg(self.path("data")).output());
    }
}
