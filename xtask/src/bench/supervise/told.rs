//! The figures as Markdown.

use std::fmt::Write as _;

use super::super::figures::{Figures, ms};
use super::family::Cost;
use super::measure::{ENDS, Entry, Flood};

const INFALLIBLE: &str = "a string takes everything";

/// The tables, one for each thing that was measured.
pub(super) fn told(machine: &str, entries: &[Entry<'_>]) -> String {
    let mut tools: Vec<String> = Vec::new();
    for entry in entries {
        let tool = format!("{} {}", entry.tool.peer.program(), entry.tool.version);
        if !tools.contains(&tool) {
            tools.push(tool);
        }
    }
    let mut text = format!("{machine}. {}.\n", tools.join(", "));
    ten(&mut text, entries);
    flood(&mut text, entries);
    crash(&mut text, entries);
    thousand(&mut text, entries);
    matrix(&mut text, entries);
    text
}

/// A table with the rows of those who have one; nothing where nobody has.
fn table(text: &mut String, head: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    writeln!(text, "\n| {} |\n|{}", head.join(" | "), "---|".repeat(head.len())).expect(INFALLIBLE);
    for row in rows {
        writeln!(text, "| {} |", row.join(" | ")).expect(INFALLIBLE);
    }
}

fn ten(text: &mut String, entries: &[Entry<'_>]) {
    let best = entries.iter().find(|entry| entry.tool.peer.name() == "mprocs");
    let mut rows = Vec::new();
    for entry in entries.iter().filter(|entry| entry.start.median().is_some()) {
        let ratio = best.and_then(|best| entry.start.ratio(&best.start));
        let is_ours = entry.tool.peer.program() == "devctl";
        let goal = |met: bool| if is_ours { verdict(met) } else { "" };
        let cost = entry.cost.map_or(["–".to_owned(), "–".to_owned()], |cost| {
            let memory = format!("{}{}", memory(&cost), goal(cost.rss <= 10.0));
            [format!("{} / {}", cost.processes, cost.threads), memory]
        });
        rows.push(vec![
            entry.tool.peer.name().to_owned(),
            entry.start.told(),
            ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}{}", goal(ratio <= 1.0))),
            cost[0].clone(),
            cost[1].clone(),
            entry.idle.map_or("–".to_owned(), |idle| format!("{idle:.1} %")),
            format!("{}{}", entry.stop.told(), goal(entry.stop.median().is_some_and(|stop| stop <= 50.0))),
        ]);
    }
    let head = [
        "10 trivial processes (min / **median** / max)",
        "all running",
        "÷ mprocs (goal ≤ 1)",
        "processes / threads",
        "RSS in all, of the largest process, PSS; MiB (goal ≤ 10)",
        "idle",
        "Ctrl+C → all gone (goal ≤ 50 ms)",
    ];
    table(text, &head, rows);
}

fn flood(text: &mut String, entries: &[Entry<'_>]) {
    let mut rows = Vec::new();
    for entry in entries.iter().filter(|entry| entry.blocks.processor.median().is_some()) {
        let is_ours = entry.tool.peer.program() == "devctl";
        let seconds = |flood: &Flood, goal: f64| {
            let median = flood.processor.median().unwrap_or_default() / 1000.0;
            let met = if is_ours { verdict(median <= goal) } else { "" };
            format!("{median:.2} s{met}")
        };
        let writer = |flood: &Flood| flood.writer.median().unwrap_or_default() / 1000.0;
        let kept = |flood: &Flood| format!("{} / {}", thousands(flood.printed), thousands(flood.in_files));
        rows.push(vec![
            entry.tool.peer.name().to_owned(),
            seconds(&entry.blocks, 0.4),
            seconds(&entry.lines, 1.0),
            format!("{:.1} / {:.1} s", writer(&entry.blocks), writer(&entry.lines)),
            format!("{:.0}", entry.blocks.peak.max(entry.lines.peak)),
            entry.tool.peer.sink().to_owned(),
            format!("{}; {}", kept(&entry.blocks), kept(&entry.lines)),
        ]);
    }
    let head = [
        "200 MB of 100-byte lines (medians)",
        "processor, writes of 64 KiB (goal ≤ 0.4 s)",
        "processor, a write for each line (goal ≤ 1.0 s)",
        "the writer took",
        "RSS afterwards, MiB",
        "sink",
        "lines printed / in files, of 2,000,000",
    ];
    table(text, &head, rows);
}

fn crash(text: &mut String, entries: &[Entry<'_>]) {
    let mut rows = Vec::new();
    for entry in entries.iter().filter(|entry| entry.crash.median().is_some()) {
        let is_ours = entry.tool.peer.program() == "devctl";
        let met = if is_ours { verdict(entry.crash.median().is_some_and(|took| took <= 10.0)) } else { "" };
        let pause = if is_ours { "without its announced pause" } else { "with its pause, where it makes one" };
        rows.push(vec![entry.tool.peer.name().to_owned(), format!("{}{met}", entry.crash.told()), pause.to_owned()]);
    }
    table(text, &["crash → running again", "min / **median** / max (goal ≤ 10 ms)", ""], rows);
}

fn thousand(text: &mut String, entries: &[Entry<'_>]) {
    let mut rows = Vec::new();
    for entry in entries.iter().filter(|entry| entry.thousand.start.median().is_some()) {
        let is_ours = entry.tool.peer.program() == "devctl";
        let goal = |met: bool| if is_ours { verdict(met) } else { "" };
        let figures = &entry.thousand;
        let took = |figures: &Figures| figures.median().map_or("–".to_owned(), ms);
        rows.push(vec![
            entry.tool.peer.name().to_owned(),
            format!("{}{}", took(&figures.start), goal(figures.start.median().is_some_and(|start| start <= 3000.0))),
            figures.cost.map_or("–".to_owned(), |cost| format!("{}{}", memory(&cost), goal(cost.rss <= 40.0))),
            figures.idle.map_or("–".to_owned(), |idle| format!("{idle:.1} %{}", goal(idle <= 0.5))),
            took(&figures.stop),
        ]);
    }
    let head = [
        "1,000 trivial processes (medians)",
        "all running (goal ≤ 3 s)",
        "RSS in all, of the largest process, PSS; MiB (goal ≤ 40)",
        "idle (goal ≤ 0.5 %)",
        "Ctrl+C → all gone",
    ];
    table(text, &head, rows);
}

fn matrix(text: &mut String, entries: &[Entry<'_>]) {
    let mut rows = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.matrix.is_empty()) {
        let cells = entry.matrix.iter().map(|left| {
            let took = left.took.map_or("**hangs > 25 s**".to_owned(), |took| format!("{took:.1} s"));
            if left.kinds.is_empty() {
                format!("{took}, none")
            } else {
                format!("{took}; left {}", left.kinds.join(", "))
            }
        });
        rows.push(std::iter::once(entry.tool.peer.name().to_owned()).chain(cells).collect());
    }
    let head: Vec<&str> = std::iter::once("ended after; left of plain, grand, setsid, stub").chain(ENDS).collect();
    table(text, &head, rows);
}

fn memory(cost: &Cost) -> String {
    format!("{:.1}, {:.1}, {:.1}", cost.rss, cost.largest, cost.pss)
}

fn verdict(met: bool) -> &'static str {
    if met { " ✓" } else { " ✗" }
}

/// `2,000,000`
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut told = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_readable() {
        for (number, told) in [(0, "0"), (999, "999"), (1000, "1,000"), (2_000_000, "2,000,000")] {
            assert_eq!(thousands(number), told);
        }
    }
}
