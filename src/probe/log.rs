//! The `log` probe: a line of the workload's output must match. Lines come to it; nothing is asked again and again.

use regex::Regex;

use super::{Attempt, Context, Verdict};
use crate::logs::{Delivery, LogLine};

/// How many chunks of live output may wait for this reader. Where it falls behind, it reads the tail again.
const CHUNKS: usize = 256;

/// How far back the tail is read.
const TAIL: usize = 10_000;

/// Looks at what is there already.
pub(super) fn ask(pattern: &str, cx: &Context) -> Attempt {
    match Regex::new(pattern) {
        Ok(regex) if in_tail(&regex, cx) => Attempt::Ready,
        Ok(_) => Attempt::NotYet(no_match(pattern)),
        Err(e) => {
            let (message, hints) = bad_pattern(pattern, &e);
            Attempt::Never { message, hints }
        }
    }
}

/// Waits for a line that matches.
pub(super) async fn until_match(pattern: &str, cx: &Context, mut on_change: impl FnMut(&str)) -> Verdict {
    let regex = match Regex::new(pattern) {
        Ok(regex) => regex,
        Err(e) => {
            let (message, hints) = bad_pattern(pattern, &e);
            return Verdict::Never { message, hints };
        }
    };
    // Subscribed before the tail is read, so that no line falls between the two.
    let mut live = cx.logs.subscribe(CHUNKS);
    if in_tail(&regex, cx) {
        return Verdict::Ready;
    }
    on_change(&no_match(pattern));
    while let Some(delivery) = live.recv().await {
        let found = match delivery {
            Delivery::Lines(lines) => *lines.service() == cx.service && lines.iter().any(|line| matches(&regex, &line)),
            Delivery::Dropped(_) => in_tail(&regex, cx),
        };
        if found {
            return Verdict::Ready;
        }
    }
    Verdict::Never { message: format!("the log ended, and no line matched `{pattern}`"), hints: Vec::new() }
}

/// Whether a line of this start that was printed already matches.
fn in_tail(regex: &Regex, cx: &Context) -> bool {
    let lines = cx.logs.tail(&cx.service, TAIL);
    lines.iter().any(|line| cx.since.is_none_or(|since| line.at >= since) && matches(regex, line))
}

/// Whether a line matches, as people read it: without its colours.
fn matches(regex: &Regex, line: &LogLine) -> bool {
    if line.text.contains('\x1b') {
        regex.is_match(&anstream::adapter::strip_str(&line.text).to_string())
    } else {
        regex.is_match(&line.text)
    }
}

fn no_match(pattern: &str) -> String {
    format!("no line matches `{pattern}` yet")
}

fn bad_pattern(pattern: &str, error: &regex::Error) -> (String, Vec<String>) {
    let reason = error.to_string();
    let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let hint = format!("for the text itself: `{}`", regex::escape(pattern));
    (format!("`{pattern}` is not a regular expression: {reason}"), vec![hint])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Stream;

    fn line(text: &str) -> LogLine {
        LogLine {
            service: "api".parse().unwrap(),
            stream: Stream::Stdout,
            at: jiff::Timestamp::UNIX_EPOCH,
            text: text.to_owned(),
        }
    }

    #[test]
    fn colours_do_not_hide_a_line() {
        let regex = Regex::new("^INFO listening on .*:8000$").unwrap();
        assert!(matches(&regex, &line("INFO listening on 127.0.0.1:8000")));
        assert!(matches(&regex, &line("\x1b[32mINFO\x1b[0m listening on \x1b[1m127.0.0.1:8000\x1b[0m")));
        assert!(!matches(&regex, &line("INFO listening on 127.0.0.1:80001")));
    }

    #[test]
    fn a_bad_pattern_says_what_is_wrong_with_it() {
        let pattern = "ready (";
        let error = Regex::new(pattern).unwrap_err();
        assert_eq!(
            bad_pattern(pattern, &error),
            (
                "`ready (` is not a regular expression: unclosed group".to_owned(),
                vec![r"for the text itself: `ready \(`".to_owned()]
            )
        );
    }
}
