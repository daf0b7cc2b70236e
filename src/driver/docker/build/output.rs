//! What a build prints: handed to the service's log line by line, with the step it is at told as progress, and its end
//! kept for the case that it fails.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use regex::Regex;

use super::trace::Step;
use crate::driver::StartContext;
use crate::event::Progress;
use crate::logs::Stream;

/// How many lines are kept for a message of failure.
const KEPT: usize = 20;

/// The steps of the classic builder: `Step 2/5 : RUN make`.
static CLASSIC: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^Step (\d+)/(\d+) : (.*)$").expect("the expression is a constant"));

/// The steps of BuildKit: `[2/5] RUN make`, `[stage 2/5] RUN make`.
static BUILDKIT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\[(?:\S+ )?\s*(\d+)/(\d+)\] (.*)$").expect("the expression is a constant"));

/// What came of a build so far.
pub(super) struct Output<'a> {
    cx: &'a StartContext,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
    kept: VecDeque<String>,
    /// The step that is worked on or failed.
    pub(super) step: Option<String>,
    seen: HashMap<String, Step>,
    /// The identity of the image, once it is told.
    pub(super) image: Option<String>,
}

impl<'a> Output<'a> {
    pub(super) fn new(cx: &'a StartContext) -> Self {
        Self { cx, rest: Vec::new(), kept: VecDeque::new(), step: None, seen: HashMap::new(), image: None }
    }

    /// The last lines.
    pub(super) fn end(mut self) -> Vec<String> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.keep(&String::from_utf8_lossy(&rest));
        }
        self.kept.into()
    }

    /// Takes a piece of what is printed.
    pub(super) async fn print(&mut self, piece: &[u8]) {
        self.cx.logs.write(Stream::Stdout, piece).await;
        self.rest.extend_from_slice(piece);
        while let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=at).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(found) = CLASSIC.captures(&line) {
                self.at_step(&found[1], &found[2], &found[3]);
            }
            self.keep(&line);
        }
    }

    /// Takes what BuildKit says of a step.
    pub(super) async fn step(&mut self, step: Step) {
        let before = self.seen.insert(step.digest.clone(), step.clone());
        let begun = step.started && !before.as_ref().is_some_and(|before| before.started);
        let ended = step.ended && !before.as_ref().is_some_and(|before| before.ended);
        if step.name.starts_with("[internal]") || step.name.starts_with("copy /context") {
            return;
        }
        if begun {
            if let Some(found) = BUILDKIT.captures(&step.name) {
                self.at_step(&found[1], &found[2], &found[3]);
            }
            let cached = if step.cached { " (cached)" } else { "" };
            self.print(format!("{}{cached}\n", step.name).as_bytes()).await;
        }
        if ended && !step.error.is_empty() {
            self.step =
                Some(BUILDKIT.captures(&step.name).map_or_else(|| step.name.clone(), |found| found[3].to_owned()));
        }
    }

    fn at_step(&mut self, number: &str, total: &str, step: &str) {
        self.step = Some(step.to_owned());
        let (number, total) = (number.parse().unwrap_or(0), total.parse().unwrap_or(0));
        let what = step.to_owned();
        (self.cx.progress)(Progress { what, part: None, done: number, total, unit: "steps" });
    }

    fn keep(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line.to_owned());
    }
}
