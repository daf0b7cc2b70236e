//! Those that are measured: how each is configured, started and told to stop, as its own manual says.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

/// A process for a tool to run.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) argv: Vec<String>,
    /// Whether it is started again when it ends.
    pub(super) restart: bool,
}

impl Job {
    /// The command as a shell reads it. Without quotes, which some tools take away: no word needs them.
    fn shell(&self) -> String {
        self.argv.join(" ")
    }
}

/// How a tool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In the foreground, its output a pipe.
    Pipe,
    /// In the foreground of a terminal.
    Terminal,
    /// Behind a command that returns.
    Detached,
}

/// What stands for Ctrl+C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CtrlC {
    /// SIGINT for the tool's process group.
    Group,
    /// The key, on its terminal.
    Key,
    /// SIGINT for the one of its processes that has these words in its command line.
    Process(&'static str),
    /// A command of its own.
    Command(&'static [&'static str]),
}

/// A tool.
pub(super) trait Peer {
    /// What it is called in the tables.
    fn name(&self) -> &'static str;

    /// Its executable.
    fn program(&self) -> &'static str;

    /// What its version is asked with.
    fn version(&self) -> &'static [&'static str] {
        &["--version"]
    }

    /// Writes its configuration.
    fn write(&self, folder: &Path, jobs: &[Job]) -> io::Result<()>;

    /// Its arguments.
    fn args(&self, jobs: &[Job]) -> Vec<String>;

    /// Variables it needs to keep to the folder.
    fn env(&self, folder: &Path) -> Vec<(&'static str, PathBuf)> {
        let _ = folder;
        Vec::new()
    }

    fn way(&self) -> Way {
        Way::Pipe
    }

    fn ctrl_c(&self) -> CtrlC {
        CtrlC::Group
    }

    /// The files in which the lines of a job are kept; where there are none, its own output.
    fn logs(&self, folder: &Path, job: &str) -> Vec<PathBuf> {
        let _ = (folder, job);
        Vec::new()
    }

    /// Where its lines go, in words.
    fn sink(&self) -> &'static str;

    /// Whether it can restart what has crashed.
    fn restarts(&self) -> bool {
        true
    }

    /// Whether 200 MB take it minutes, so that once is enough.
    fn is_slow(&self) -> bool {
        false
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// devctl itself, in each of its ways.
pub(super) struct Devctl(pub(super) Way);

impl Peer for Devctl {
    fn name(&self) -> &'static str {
        match self.0 {
            Way::Pipe => "devctl",
            Way::Terminal => "devctl, on a terminal",
            Way::Detached => "devctl up -d",
        }
    }

    fn program(&self) -> &'static str {
        "devctl"
    }

    fn write(&self, folder: &Path, jobs: &[Job]) -> io::Result<()> {
        let mut text = String::from("[project]\nname = \"devctl-bench\"\n");
        for Job { name, argv, restart } in jobs {
            let restart = if *restart { "restart = { policy = \"always\" }\n" } else { "" };
            let service =
                format!("\n[services.{name}]\ndir = \".\"\nruntime = \"exec\"\ncommand = {argv:?}\n{restart}");
            text.push_str(&service);
        }
        fs::write(folder.join("devctl.toml"), text)
    }

    fn args(&self, _: &[Job]) -> Vec<String> {
        match self.0 {
            Way::Pipe | Way::Terminal => words(&["up"]),
            Way::Detached => words(&["up", "-d"]),
        }
    }

    fn way(&self) -> Way {
        self.0
    }

    fn ctrl_c(&self) -> CtrlC {
        match self.0 {
            Way::Pipe => CtrlC::Group,
            Way::Terminal => CtrlC::Key,
            Way::Detached => CtrlC::Command(&["down"]),
        }
    }

    fn logs(&self, folder: &Path, job: &str) -> Vec<PathBuf> {
        let current = folder.join(format!(".devctl/logs/{job}.log"));
        let older = (1..9).map(|n| folder.join(format!(".devctl/logs/{job}.log.{n}")));
        std::iter::once(current).chain(older).collect()
    }

    fn sink(&self) -> &'static str {
        match self.0 {
            Way::Pipe => "prefixed pipe, and stamped files that rotate",
            Way::Terminal => "prefixed terminal, and stamped files that rotate",
            Way::Detached => "stamped files that rotate",
        }
    }
}

pub(super) struct Mprocs;

impl Peer for Mprocs {
    fn name(&self) -> &'static str {
        "mprocs"
    }

    fn program(&self) -> &'static str {
        "mprocs"
    }

    fn write(&self, folder: &Path, jobs: &[Job]) -> io::Result<()> {
        let procs: serde_json::Map<_, _> =
            jobs.iter().map(|job| (job.name.clone(), json!({ "cmd": job.argv, "autorestart": job.restart }))).collect();
        // YAML reads JSON.
        fs::write(folder.join("mprocs.yaml"), json!({ "procs": procs }).to_string())
    }

    fn args(&self, jobs: &[Job]) -> Vec<String> {
        // Written to a file only where lines are what is measured, as it is for those who only do that on request.
        if jobs.len() == 1 {
            words(&["--config", "mprocs.yaml", "--log-dir", "logs"])
        } else {
            words(&["--config", "mprocs.yaml"])
        }
    }

    fn way(&self) -> Way {
        Way::Terminal
    }

    fn logs(&self, folder: &Path, job: &str) -> Vec<PathBuf> {
        vec![folder.join(format!("logs/{job}.log"))]
    }

    fn sink(&self) -> &'static str {
        "raw file, and a terminal's screen"
    }

    fn is_slow(&self) -> bool {
        true
    }
}

pub(super) struct Honcho;

impl Peer for Honcho {
    fn name(&self) -> &'static str {
        "honcho"
    }

    fn program(&self) -> &'static str {
        "honcho"
    }

    fn write(&self, folder: &Path, jobs: &[Job]) -> io::Result<()> {
        let lines: Vec<String> = jobs.iter().map(|job| format!("{}: {}\n", job.name, job.shell())).collect();
        fs::write(folder.join("Procfile"), lines.concat())
    }

    fn args(&self, _: &[Job]) -> Vec<String> {
        words(&["start"])
    }

    fn version(&self) -> &'static [&'static str] {
        &["version"]
    }

    fn sink(&self) -> &'static str {
        "prefixed pipe"
    }

    fn restarts(&self) -> bool {
        false
    }

    fn is_slow(&self) -> bool {
        true
    }
}

pub(super) struct Concurrently;

impl Peer for Concurrently {
    fn name(&self) -> &'static str {
        "concurrently"
    }

    fn program(&self) -> &'static str {
        "concurrently"
    }

    fn write(&self, _: &Path, _: &[Job]) -> io::Result<()> {
        Ok(())
    }

    fn args(&self, jobs: &[Job]) -> Vec<String> {
        let names = jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>().join(",");
        let mut args = vec!["--names".to_owned(), names];
        if jobs.iter().any(|job| job.restart) {
            args.extend(words(&["--restart-tries", "-1", "--restart-after", "0"]));
        }
        args.extend(jobs.iter().map(Job::shell));
        args
    }

    fn sink(&self) -> &'static str {
        "prefixed pipe"
    }
}

pub(super) struct Supervisord;

impl Peer for Supervisord {
    fn name(&self) -> &'static str {
        "supervisord"
    }

    fn program(&self) -> &'static str {
        "supervisord"
    }

    fn write(&self, folder: &Path, jobs: &[Job]) -> io::Result<()> {
        let mut text = "[supervisord]\nnodaemon=true\nlogfile=own.log\npidfile=own.pid\nuser=root\n".to_owned();
        for job in jobs {
            write!(
                text,
                "\n[program:{}]\ncommand={}\nautorestart={}\nstartsecs=0\nstartretries=100\nstopwaitsecs=5\nstopasgroup=true\n\
                 killasgroup=true\nstdout_logfile={}.log\nstdout_logfile_maxbytes=0\n",
                job.name,
                job.shell(),
                job.restart,
                job.name
            )
            .expect("a string takes everything");
        }
        fs::write(folder.join("supervisord.conf"), text)
    }

    fn args(&self, _: &[Job]) -> Vec<String> {
        words(&["--nodaemon", "--configuration", "supervisord.conf"])
    }

    fn logs(&self, folder: &Path, job: &str) -> Vec<PathBuf> {
        vec![folder.join(format!("{job}.log"))]
    }

    fn sink(&self) -> &'static str {
        "raw file"
    }
}

pub(super) struct Pm2;

impl Peer for Pm2 {
    fn name(&self) -> &'static str {
        "pm2"
    }

    fn program(&self) -> &'static str {
        "pm2-runtime"
    }

    fn write(&self, folder: &Path, jobs: &[Job]) -> io::Result<()> {
        let app = |job: &Job| {
            json!({
                "name": job.name,
                "script": job.argv[0],
                "args": job.argv[1..],
                "interpreter": "none",
                "exec_mode": "fork",
                "autorestart": job.restart,
                "out_file": folder.join(format!("{}.log", job.name)),
                "error_file": "/dev/null",
                "kill_timeout": 5000,
            })
        };
        let apps: Vec<_> = jobs.iter().map(app).collect();
        fs::write(folder.join("ecosystem.config.json"), json!({ "apps": apps }).to_string())
    }

    fn args(&self, _: &[Job]) -> Vec<String> {
        words(&["start", "ecosystem.config.json"])
    }

    fn env(&self, folder: &Path) -> Vec<(&'static str, PathBuf)> {
        vec![("PM2_HOME", folder.join("pm2"))]
    }

    fn logs(&self, folder: &Path, job: &str) -> Vec<PathBuf> {
        vec![folder.join(format!("{job}.log"))]
    }

    fn sink(&self) -> &'static str {
        "raw file, and prefixed pipe"
    }
}

pub(super) struct Pitchfork;

impl Peer for Pitchfork {
    fn name(&self) -> &'static str {
        "pitchfork"
    }

    fn program(&self) -> &'static str {
        "pitchfork"
    }

    fn write(&self, folder: &Path, jobs: &[Job]) -> io::Result<()> {
        let mut text = String::new();
        for job in jobs {
            let retry = if job.restart { "retry = true\n" } else { "" };
            writeln!(text, "[daemons.{}]\nrun = {:?}\n{retry}", job.name, job.shell())
                .expect("a string takes everything");
        }
        fs::write(folder.join("pitchfork.toml"), text)
    }

    fn args(&self, _: &[Job]) -> Vec<String> {
        words(&["start", "--local"])
    }

    fn env(&self, folder: &Path) -> Vec<(&'static str, PathBuf)> {
        let own = ["PITCHFORK_STATE_DIR", "PITCHFORK_CONFIG_DIR", "HOME"];
        own.into_iter().map(|name| (name, folder.join("pitchfork"))).collect()
    }

    fn way(&self) -> Way {
        Way::Detached
    }

    fn ctrl_c(&self) -> CtrlC {
        CtrlC::Process("supervisor run")
    }

    fn sink(&self) -> &'static str {
        "SQLite"
    }

    fn is_slow(&self) -> bool {
        true
    }
}

/// The peers in the order of the tables.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(Mprocs),
        Box::new(Honcho),
        Box::new(Concurrently),
        Box::new(Supervisord),
        Box::new(Pm2),
        Box::new(Pitchfork),
    ]
}
