//! An explanation for people: the sentence first, then what is known, then what is likely wrong and what to type.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::path::service_of;
use super::{Explanation, Link, how_it_ended, words};
use crate::report::clean;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const OTHER: Style = AnsiColor::Yellow.on_default().bold();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// Words an explanation, with colours.
#[must_use]
pub fn text(why: &Explanation) -> String {
    let style = match why.state.as_str() {
        _ if why.well => GOOD,
        "failed" | "restarting" | "unhealthy" => BAD,
        _ => OTHER,
    };
    let mut text = format!("{style}{}{style:#}\n", clean::first_line(&why.summary));
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(text, "  {DIM}{name:<10}{DIM:#}  {}", clean::first_line(value));
    };
    for path in &why.waits_for {
        fact("waits for", &way(path));
    }
    if let Some(ms) = why.ready_ms.filter(|_| why.state != "never_ran") {
        fact("ready in", &words::duration(ms));
    }
    if let Some(health) = why.health {
        fact("health", health);
    }
    if let Some(answer) = &why.last_probe {
        fact("last probe", answer);
    }
    if let Some(exit) = &why.last_exit {
        fact("last exit", &exit.text);
    }
    if why.restarts > 0 || why.next_start_ms.is_some() {
        let next = why.next_start_ms.map(|ms| format!(", the next in {}", words::seconds(ms))).unwrap_or_default();
        fact("restarts", &format!("{}{next}", why.restarts));
    }
    if let (Some(end), Some(ms)) = (why.end, why.ended_ago_ms) {
        fact("last run", &format!("{}, {} ago", how_it_ended(end), words::duration(ms)));
    }
    if why.well {
        fact("verdict", "nothing is wrong");
    }
    for (index, cause) in why.causes.iter().enumerate() {
        let title = if index == 0 { "likely cause" } else { "and perhaps" };
        let about = Some(service_of(&cause.node)).filter(|node| *node != why.service);
        let about = about.filter(|node| !cause.summary.starts_with(node));
        let about = about.map(|node| format!("{node}: ")).unwrap_or_default();
        let _ = writeln!(text, "\n{BOLD}{title}:{BOLD:#} {about}{}", clean::first_line(&cause.summary));
        for quote in &cause.evidence {
            let _ = writeln!(text, "  {DIM}{:<7}|{DIM:#} {}", quote.from, clean::line(&quote.text, false));
        }
        for hint in &cause.hints {
            let _ = writeln!(text, "  {OTHER}hint:{OTHER:#} {}", clean::first_line(hint));
        }
    }
    text
}

/// `api, which waits for db, which is failed: nobody listens on 127.0.0.1:5432`.
fn way(path: &[Link]) -> String {
    let mut text = String::new();
    for (index, link) in path.iter().enumerate() {
        if index > 0 {
            text.push_str(", which waits for ");
        }
        text.push_str(&link.node);
    }
    if let Some(last) = path.last() {
        let state = match last.state.as_str() {
            "probing" => "not ready yet",
            "failed" => "which failed",
            "starting" | "stopping" | "restarting" | "killing" => last.state.as_str(),
            other => other,
        };
        let state = if state.starts_with("which") { state.to_owned() } else { format!("which is {state}") };
        let _ = write!(text, ", {state}");
        if let Some(detail) = &last.detail {
            let _ = write!(text, ": {detail}");
        }
    }
    text
}
