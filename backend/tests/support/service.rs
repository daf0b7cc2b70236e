//! A service as a real process. Both services' tests use this file.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::print_stderr,
    reason = "each test binary uses its own part of this file, and a test that does not run says so"
)]

use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for a busy machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Where the tests' Redis is.
pub(crate) fn redis_url() -> Option<String> {
    server_url("DEVCTL_TEST_REDIS_URL")
}

/// Where a real server is that a test needs, or a loud word that the test does not run.
pub(crate) fn server_url(variable: &str) -> Option<String> {
    let url = std::env::var_os(variable).and_then(|value| value.into_string().ok()).filter(|url| !url.is_empty());
    if url.is_none() {
        let required = std::env::var_os("DEVCTL_TEST_REQUIRE_SERVERS").is_some_and(|value| value == "1");
        assert!(!required, "{variable} is not set");
        // Not by `eprintln!`: the test runner would swallow it.
        drop(writeln!(std::io::stderr(), "SKIPPED: no server, set {variable}"));
    }
    url
}

/// A running service. Dropping it kills it.
pub(crate) struct Service {
    child: Child,
    lines: Arc<Lines>,
}

#[derive(Default)]
struct Lines {
    seen: Mutex<(Vec<Value>, bool)>,
    more: Condvar,
}

impl Service {
    /// Starts a service with these variables and no others of its own.
    pub(crate) fn spawn(program: &str, variables: &[(&str, &str)]) -> Self {
        Self::spawn_with(program, &[], variables)
    }

    /// Starts a program with arguments.
    pub(crate) fn spawn_with(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        for name in
            ["HOST", "PORT", "DATABASE_URL", "REDIS_URL", "ALLOWED_ORIGINS", "RUST_LOG", "LOG_FORMAT", "RATE_LIMITS"]
        {
            command.env_remove(name);
        }
        command
            .env_remove("ENVIRONMENT")
            .env_remove("JWT_SECRET_PREVIOUS")
            .env("PORT", "0")
            .env("JWT_SECRET", "a-secret-for-tests-of-32-characters")
            .env("TABLE_TOKEN_SECRET", "b-secret-for-tests-of-32-characters")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the service starts");
        let lines = Arc::new(Lines::default());
        let (stdout, target) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // A table that a subcommand prints is kept as strings.
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                target.seen.lock().unwrap().0.push(line);
                target.more.notify_all();
            }
            target.seen.lock().unwrap().1 = true;
            target.more.notify_all();
        });
        Self { child, lines }
    }

    /// Starts a service and waits until it listens.
    pub(crate) fn start(program: &str, variables: &[(&str, &str)]) -> (Self, SocketAddr) {
        let service = Self::spawn(program, variables);
        let line = service.wait_for_line("listening");
        let address =
            line["address"].as_str().and_then(|address| address.parse().ok()).expect("the line has the address");
        (service, address)
    }

    /// Waits for a log line with this message.
    pub(crate) fn wait_for_line(&self, message: &str) -> Value {
        self.wait_for(message, |line| line["message"] == message)
    }

    /// Waits for a log line of this kind.
    pub(crate) fn wait_for(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.lines.seen.lock().unwrap();
        loop {
            if let Some(line) = seen.0.iter().find(|line| is(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!seen.1 && !left.is_zero(), "no line `{what}` in {:#?}", seen.0);
            seen = self.lines.more.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Sends a signal.
    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).expect("the service is ours and runs");
    }

    /// Waits for the end: exit status, log lines, standard error.
    pub(crate) fn wait(mut self) -> (ExitStatus, Vec<Value>, String) {
        let stderr = std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap();
        let status = self.child.wait().unwrap();
        let mut seen = self.lines.seen.lock().unwrap();
        while !seen.1 {
            seen = self.lines.more.wait(seen).unwrap();
        }
        (status, std::mem::take(&mut seen.0), stderr)
    }

    /// Asks for a graceful end and expects one.
    #[cfg(unix)]
    pub(crate) fn stop(self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let (status, lines, stderr) = self.wait();
        assert_eq!(status.code(), Some(0), "{lines:#?}\n{stderr}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Fails when it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again until the answer is as wished: for states that are reached in time, with no event to wait for.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
