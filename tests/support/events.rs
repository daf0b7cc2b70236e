//! The events of a run that prints to nobody here, as its control socket tells them: from the first one on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use serde_json::Value;

use super::{DEADLINE, Project, until};

/// The events of the run that a project has now.
#[derive(Debug)]
pub(crate) struct Events {
    lines: Receiver<Value>,
    seen: Vec<Value>,
    /// How many of those seen lie before what is waited for next.
    past: usize,
}

impl Events {
    /// Listens from the first event of the run on.
    #[track_caller]
    pub(crate) fn of(project: &Project) -> Self {
        let socket = socket(project);
        let mut stream = until("the control socket answers", || {
            UnixStream::connect(&socket).map_err(|error| format!("{}: {error}", socket.display()))
        });
        // The older version has no chunks: what comes after the head are the lines.
        let request = "GET /v1/events?from=1&follow=true HTTP/1.0\r\nhost: devctl\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it listens");
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stream).lines().map_while(Result::ok);
            for line in lines.skip_while(|line| !line.is_empty()).filter(|line| !line.is_empty()) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if tell.send(event).is_err() {
                    return;
                }
            }
        });
        Self { lines, seen: Vec::new(), past: 0 }
    }

    /// Everything that happened so far lies behind: what is waited for comes after it.
    #[track_caller]
    pub(crate) fn skip_past(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let at = self.find(what, wanted);
        self.past = at + 1;
        self.seen[at].clone()
    }

    /// Waits for an event that has not been waited for yet, by its name and its node.
    #[track_caller]
    pub(crate) fn next_node(&mut self, name: &str, node: &str) -> Value {
        self.skip_past(&format!("`{name}` of `{node}`"), |event| event["event"] == name && event["node"] == node)
    }

    /// Waits for an event that has not been waited for yet, by its name.
    #[track_caller]
    pub(crate) fn next(&mut self, name: &str) -> Value {
        self.skip_past(&format!("`{name}`"), |event| event["event"] == name)
    }

    /// The events since the last one that was waited for, up to one of that name.
    #[track_caller]
    pub(crate) fn until(&mut self, name: &str) -> Vec<Value> {
        let from = self.past;
        self.next(name);
        self.seen[from..self.past].to_vec()
    }

    #[track_caller]
    fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> usize {
        if let Some(at) = self.seen[self.past..].iter().position(&wanted) {
            return self.past + at;
        }
        let end = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    self.seen.push(event);
                    if wanted(&self.seen[self.seen.len() - 1]) {
                        return self.seen.len() - 1;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what} within {DEADLINE:?}: {}", self.told()),
                Err(RecvTimeoutError::Disconnected) => panic!("the run ended before {what}: {}", self.told()),
            }
        }
    }

    fn told(&self) -> String {
        let lines: Vec<String> = self.seen.iter().map(Value::to_string).collect();
        format!("{} of these were waited for\n{}", self.past, lines.join("\n"))
    }
}

/// Where the control socket is: a link where the project's path is too long.
fn socket(project: &Project) -> PathBuf {
    let socket = project.root().join(".devctl/control.sock");
    std::fs::read_link(&socket).unwrap_or(socket)
}
