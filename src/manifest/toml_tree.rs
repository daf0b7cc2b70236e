//! TOML to the tree. The only file that knows the `toml` crate.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::node::{Entry, Kind, Node};
use super::problem::Problem;
use super::source::Source;

/// Reads a file, as much of it as is valid.
pub(super) fn parse(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Node {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    let mut lines_told = Vec::new();
    for error in errors {
        let mark = error.span().map(|span| source.mark(span));
        // One mistake throws the parser off its track, and what it says of the rest of that line is guesswork.
        if let Some(mark) = mark {
            if lines_told.contains(&mark.line) {
                continue;
            }
            lines_told.push(mark.line);
        }
        // The parser's message may go on with a list of what it expected, on lines of its own.
        let mut lines = error.message().lines();
        let mut problem = source.problem(mark, format!("not valid TOML: {}", lines.next().unwrap_or_default()));
        let rest: Vec<_> = lines.collect();
        if !rest.is_empty() {
            problem = problem.with_help(rest.join("\n"));
        }
        problems.push(problem);
    }
    let span = table.span();
    Node { kind: convert_table(source, table.into_inner()), mark: source.mark(span) }
}

fn convert_table(source: &Source, table: DeTable<'_>) -> Kind {
    let mut entries: Vec<_> = table.into_iter().collect();
    // The crate sorts keys by name; people expect their own order.
    entries.sort_by_key(|(key, _)| key.span().start);
    let convert_entry = |(key, value): (Spanned<_>, _)| {
        let key_mark = source.mark(key.span());
        let key: std::borrow::Cow<'_, str> = key.into_inner();
        Entry { key: key.into_owned(), key_mark, value: convert(source, value) }
    };
    Kind::Map(entries.into_iter().map(convert_entry).collect())
}

fn convert(source: &Source, value: Spanned<DeValue<'_>>) -> Node {
    let mark = source.mark(value.span());
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Str(text.into_owned()),
        DeValue::Boolean(value) => Kind::Bool(value),
        DeValue::Integer(value) => match i128::from_str_radix(value.as_str(), value.radix()) {
            Ok(value) => Kind::Int(value),
            // More digits than any integer of ours takes.
            Err(_) => Kind::Float(f64::INFINITY),
        },
        DeValue::Float(value) => Kind::Float(value.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Datetime(_) => Kind::Datetime,
        DeValue::Array(items) => Kind::List(items.into_iter().map(|item| convert(source, item)).collect()),
        DeValue::Table(table) => convert_table(source, table),
    };
    Node { kind, mark }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_the_order_of_the_file_and_values_their_place() {
        let text = "[b]\nz = 0x10\na.c = \"x\"\n[a]\n";
        let source = Source::alone("devctl.toml".into(), text.to_owned());
        let mut problems = Vec::new();
        let Kind::Map(top) = parse(&source, &mut problems).kind else { panic!("not a table") };
        assert_eq!(problems, []);
        assert_eq!(top.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        let Kind::Map(b) = &top[0].value.kind else { panic!("not a table") };
        assert_eq!((b[0].key.as_str(), &b[0].value.kind), ("z", &Kind::Int(16)));
        assert_eq!((b[1].key_mark.line, b[1].key_mark.column), (3, 1));
    }

    #[test]
    fn every_syntax_error_is_reported() {
        let source = Source::alone("devctl.toml".into(), "a = \nb = 1\nc = [\n".to_owned());
        let mut problems = Vec::new();
        parse(&source, &mut problems);
        let lines: Vec<_> = problems.iter().filter_map(|p| p.at).map(|(line, _)| line).collect();
        assert!(lines.contains(&1) && lines.iter().any(|line| *line >= 3), "{problems:?}");
    }

    #[test]
    fn one_slip_of_the_pen_is_one_problem() {
        let text = "a = [\"sh\", \"echo {\\\\\"x\\\\\": 1}\"]\n";
        let source = Source::alone("devctl.toml".into(), text.to_owned());
        let mut problems = Vec::new();
        parse(&source, &mut problems);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
