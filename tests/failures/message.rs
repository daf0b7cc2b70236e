//! All that devctl said, in a form that is the same on every machine and in every run. What differs from run to run is
//! replaced here and nowhere else, so that every snapshot shows a value in the same way.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::OnceLock;

use regex::Regex;

use crate::stub;
use crate::support::{Devctl, Finished, Project, Signal};

/// What devctl said, how it ended, and in which run.
#[derive(Debug)]
pub(crate) struct Message {
    text: String,
    run: Option<String>,
}

/// What is replaced: what differs, and what stands there instead.
const REDACTIONS: &[(&str, &str)] = &[
    (r"(?m)^ *\d+\.\d{3}s  ", "[time] "),
    (r"\brun [0-9a-f]{12}\b", "run [run]"),
    (r"\bdevctl\.run=[0-9a-f]{12}\b", "devctl.run=[run]"),
    (r"\bpid \d+", "pid [pid]"),
    (r"\bkill(?: \d+)+", "kill [pid]"),
    (r"\d{4}-\d\d-\d\d [0-9:.]+ UTC \[\d+\]", "[stamp]"),
    // The range from which the projects of tests get their ports.
    (r"\b2[0-6]\d{3}\b", "[port]"),
    (r"\b((?:ready|done|up|restart \d+) in) \d+(?:\.\d)? m?s\b", "$1 [duration]"),
    (r"Docker Engine [0-9][^ ]* \(API [0-9.]+\)", "Docker Engine [version]"),
    (r"\([^ ]*docker-proxy .*\)", "(docker-proxy …)"),
    (r"\d+ lines? of (\w+) (?:is|are) not", "[count] lines of $1 are not"),
    (r"\.tmp\w{6}\b", ".tmp[random]"),
    (r"(?m)PATH: .*", "PATH: [folders]"),
    // The words of the engine about a registry differ from one version to the next.
    (r#"Get "https?://[^"]*": .*"#, "[the engine's words]"),
];

/// Lines that real servers print, in the log or in the end of it that a failure shows: how many there are and what they
/// say depends on the server's version and on how fast the machine is. Redis begins with its process id, which may look
/// like a port of the tests.
const OF_SERVERS: &str = r"^(?:\[\w+\] |\[time\] \w+ +)(?:(?:first error: )?\[stamp\] |(?:\d+|\[port\]):(?:[CMSX]|signal-handler) |PostgreSQL Database directory|$)";

/// What a node does on the way up and down, when nothing goes wrong. Nodes do it side by side, in no certain order.
const ROUTINE: [&str; 14] = [
    "waiting for ",
    "starting",
    "creating",
    "pulling",
    "installing",
    "building",
    "started (",
    "ready in ",
    "done in ",
    "removed",
    "stopping, within ",
    "stopped (",
    "is there already, kept",
    "runs outside devctl",
];

/// What is told while something advances: how often depends on how fast the machine is.
const PASSING: [&str; 5] =
    ["not ready yet: ", "last probe: no line matches ", "compiling ", "preparing data", "critical path: "];

impl Message {
    /// Runs devctl to its end.
    #[track_caller]
    pub(crate) fn of(project: &Project, args: &[&str]) -> Self {
        Self::new(project, project.run(args))
    }

    /// Runs `devctl up` to its end.
    #[track_caller]
    pub(crate) fn of_up(project: &Project, args: &[&str]) -> Self {
        Self::new(project, up(project, args).wait_exit())
    }

    /// Waits until devctl says `text`, interrupts it, and waits for its end.
    #[track_caller]
    pub(crate) fn of_interrupted(project: &Project, mut devctl: Devctl, text: &str) -> Self {
        wait_line(&mut devctl, text);
        devctl.signal(Signal::SIGINT);
        Self::new(project, devctl.wait_exit())
    }

    /// Takes what a devctl that has ended said.
    pub(crate) fn new(project: &Project, finished: Finished) -> Self {
        let Finished { code, events, stderr, killed_by: _ } = finished;
        let lines: Vec<&str> = events.iter().map(|line| line.as_str().expect("plain output is no JSON")).collect();
        let run = lines.iter().find_map(|line| line.split_once("  run ")?.1.get(..12)).map(str::to_owned);
        let (logs, told): (Vec<&str>, Vec<&str>) = lines.into_iter().partition(|line| line.starts_with('['));
        let code = code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit code {code}"));
        let mut text = format!("{code}\n");
        let told = settled(&redacted(project, &told.join("\n")));
        let logs = redacted(project, &logs.join("\n"));
        let stderr = redacted(project, stderr.trim_end());
        for (title, part) in [("standard output", told), ("log lines among it", logs), ("standard error", stderr)] {
            if !part.is_empty() {
                writeln!(text, "\n--- {title}\n{part}").expect("writing to a string cannot fail");
            }
        }
        Self { text, run }
    }

    /// Replaces a name that only this test knows.
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        self.text = self.text.replace(from, to);
        self
    }

    /// Leaves out lines with that text: what a service prints in bulk. Only the test of the small disk needs it.
    #[cfg(target_os = "linux")]
    pub(crate) fn without(mut self, text: &str) -> Self {
        self.text = self.text.lines().filter(|line| !line.contains(text)).collect::<Vec<_>>().join("\n");
        self
    }

    /// Moves what is said there, with its hint, to the end: it is told by a thread of its own, in no certain order with
    /// the rest. Only the test of the small disk needs it.
    #[cfg(target_os = "linux")]
    pub(crate) fn at_any_time(mut self, text: &str) -> Self {
        let lines: Vec<&str> = self.text.lines().collect();
        let hint = |line: &str| line.contains("  hint: ");
        let moved = |index: usize| {
            let of_it = |index: usize| lines.get(index).is_some_and(|line: &&str| line.contains(text));
            of_it(index) || (hint(lines[index]) && index.checked_sub(1).is_some_and(of_it))
        };
        let (told, rest): (Vec<usize>, Vec<usize>) = (0..lines.len()).partition(|index| moved(*index));
        let joined = |indices: Vec<usize>| indices.into_iter().map(|index| lines[index]).collect::<Vec<_>>().join("\n");
        self.text = format!("{}\n\n--- at any time\n{}", joined(rest).trim_end(), joined(told));
        self
    }

    /// Several messages in one.
    pub(crate) fn joined(text: String) -> Self {
        Self { text, run: None }
    }

    /// Everything that was said, as the snapshots have it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Fails if anything of the run is left, on the machine or on the engine.
    #[track_caller]
    pub(crate) fn nothing_left(self, project: &Project) -> Self {
        // Nothing belongs to a run that never began; what belongs to the project is looked for all the same.
        project.assert_nothing_left(self.run.as_deref().unwrap_or("none"));
        self
    }

    /// Compares with the snapshot of that name.
    #[track_caller]
    pub(crate) fn matches(self, name: &str) -> Self {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, self.text);
        });
        self
    }
}

/// Starts `devctl up` with plain output.
pub(crate) fn up(project: &Project, args: &[&str]) -> Devctl {
    Devctl::spawn(up_command(project, args))
}

/// `devctl up` with plain output, not started yet.
pub(crate) fn up_command(project: &Project, args: &[&str]) -> Command {
    project.command(&[&["up", "--format", "plain"], args].concat())
}

/// Waits until devctl prints a line with that text.
#[track_caller]
pub(crate) fn wait_line(devctl: &mut Devctl, text: &str) -> String {
    let line = devctl.wait_for(&format!("line with `{text}`"), |line| line.as_str().is_some_and(|l| l.contains(text)));
    line.as_str().unwrap_or_default().to_owned()
}

/// Replaces what differs from run to run.
fn redacted(project: &Project, text: &str) -> String {
    static PATTERNS: OnceLock<(Vec<(Regex, &str)>, Regex)> = OnceLock::new();
    let (redactions, of_servers) = PATTERNS.get_or_init(|| {
        let regex = |pattern| Regex::new(pattern).expect("the pattern is valid");
        (REDACTIONS.iter().map(|(from, to)| (regex(from), *to)).collect(), regex(OF_SERVERS))
    });
    let path = |path: &std::path::Path| path.display().to_string();
    let mut text = text
        .replace(&path(project.root()), "[project]")
        .replace(&path(stub::path()), "[stub]")
        .replace(project.name(), "[name]");
    for (pattern, to) in redactions {
        text = pattern.replace_all(&text, *to).into_owned();
    }
    text.lines().filter(|line| !of_servers.is_match(line)).collect::<Vec<_>>().join("\n")
}

/// Brings into one order what has none, and leaves out what is told more or less often.
fn settled(text: &str) -> String {
    let says = |line: &str, words: &[&str]| {
        // `[time] subject   words`: the subject has no spaces, and details are indented further.
        let words_of_line = line.strip_prefix("[time] ").and_then(|rest| rest.split_once("  "));
        words_of_line.is_some_and(|(_, said)| words.iter().any(|word| said.trim_start().starts_with(word)))
    };
    let mut lines: Vec<&str> = text.lines().filter(|line| !says(line, &PASSING)).collect();
    // Nothing is shown of the log of a server, if it had printed anything by then.
    let title = "  end of its log:";
    let is_bare = |line: &str, next: Option<&&str>| {
        line.ends_with(title) && !next.is_some_and(|next| next.starts_with(&line.replace(title, "    ")))
    };
    let mut index = 0;
    while index < lines.len() {
        if is_bare(lines[index], lines.get(index + 1)) {
            lines.remove(index);
        }
        index += 1;
    }
    for block in lines.chunk_by_mut(|one, next| says(one, &ROUTINE) && says(next, &ROUTINE)) {
        if says(block[0], &ROUTINE) {
            block.sort_by_key(|line| line.split_whitespace().nth(1));
        }
    }
    lines.join("\n")
}
