//! What runs where: a table where the terminal is wide enough for it, a list where it is not. Pure.

use std::fmt::Write as _;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

use super::board::{Board, Phase};
use super::paint::{BAD, BOLD, DIM, GOOD, Paint};
use super::{Kind, ServiceRow, words};
use crate::event::Handle;

/// One service, in words.
struct Line<'a> {
    name: &'a str,
    place: String,
    addresses: &'a [String],
    ready: String,
    is_ready: bool,
    fate: &'static str,
}

/// Renders what runs where. `width` is that of the terminal; anything fits where there is none.
pub(super) fn render(rows: &[ServiceRow], board: &Board, width: Option<u16>, paint: Paint) -> String {
    let lines: Vec<Line<'_>> = rows.iter().map(|row| line(row, board)).collect();
    let wide = wide(&lines, paint);
    let fits = width.is_none_or(|width| {
        // Measured without colours, which take no cells.
        self::wide(&lines, Paint::new(false))
            .lines()
            .all(|line| console::measure_text_width(line) <= usize::from(width))
    });
    if fits { wide } else { narrow(&lines, paint) }
}

fn line<'a>(row: &'a ServiceRow, board: &Board) -> Line<'a> {
    let node = board.service(&row.name);
    let place = match (node.and_then(|node| node.handle.as_ref()), row.kind) {
        (Some(Handle::Container { name, .. }), _) => name.clone(),
        (Some(Handle::Process { pid }), Kind::Embedded) => format!("pid {pid} (embedded)"),
        (Some(Handle::Process { pid }), Kind::Container | Kind::Process | Kind::Expected) => format!("pid {pid}"),
        (Some(Handle::External), _) | (None, Kind::Expected) => "outside devctl".to_owned(),
        (None, Kind::Container | Kind::Embedded | Kind::Process) => "-".to_owned(),
    };
    let is_ready = node.is_some_and(|node| matches!(node.phase, Phase::Ready | Phase::Completed));
    let ready = match node {
        Some(node) if is_ready => words::duration(node.ready_ms.unwrap_or(0)),
        Some(_) | None => "not ready".to_owned(),
    };
    let fate = match (node, row.kind) {
        (_, Kind::Expected) => "not ours",
        (Some(node), _) if node.kept => "kept",
        (Some(node), _) if node.handle.is_some() => "started",
        (Some(_) | None, _) => "",
    };
    Line { name: row.name.as_str(), place, addresses: &row.addresses, ready, is_ready, fate }
}

fn wide(lines: &[Line<'_>], paint: Paint) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    // The table must not look at the terminal by itself: colours were decided once, for everything.
    if paint.is_on() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let head = |text: &str| Cell::new(text).fg(Color::DarkGrey);
    table.set_header(["SERVICE", "WHERE", "ADDRESS", "READY IN", ""].map(head));
    for line in lines {
        table.add_row([
            Cell::new(line.name).add_attribute(comfy_table::Attribute::Bold),
            Cell::new(&line.place),
            Cell::new(line.addresses.join("\n")),
            Cell::new(&line.ready).fg(if line.is_ready { Color::Green } else { Color::Red }),
            Cell::new(line.fate).fg(Color::DarkGrey),
        ]);
    }
    let mut text: String = table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect();
    if lines.is_empty() {
        text.clear();
    }
    text
}

fn narrow(lines: &[Line<'_>], paint: Paint) -> String {
    let mut text = String::new();
    for line in lines {
        let ready = if line.is_ready {
            paint.paint(GOOD, &format!("ready in {}", line.ready))
        } else {
            paint.paint(BAD, &line.ready)
        };
        let _ = writeln!(text, "{}  {ready}", paint.paint(BOLD, line.name));
        let fate = if line.fate.is_empty() { String::new() } else { format!(", {}", line.fate) };
        let _ = writeln!(text, "  {}", paint.paint(DIM, &format!("{}{fate}", line.place)));
        // Left whole: the terminal wraps it, and it can still be clicked and copied.
        for address in line.addresses {
            let _ = writeln!(text, "  {address}");
        }
    }
    text
}
