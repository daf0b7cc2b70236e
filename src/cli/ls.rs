//! `devctl ls`.

use serde::Serialize;

use super::columns;
use super::containers::lines;
use super::images::{Format, json};
use super::{Context, output};
use crate::driver::docker::{Docker, EngineProject};
use crate::error::Error;

/// List the projects that have containers on the engine
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl ls
  devctl ls --all                 also those of which nothing runs
  devctl ls --filter name=shop")]
pub(super) struct Args {
    /// Also projects of which nothing runs
    #[arg(short, long)]
    all: bool,

    /// Only projects whose name is this or matches this pattern: `name=PATTERN`; can be repeated
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<regex::Regex>,

    /// How to show them
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,

    /// Their names alone
    #[arg(short, long)]
    quiet: bool,
}

fn filter(text: &str) -> Result<regex::Regex, String> {
    match text.split_once('=') {
        Some(("name", pattern)) => regex::Regex::new(pattern).map_err(|error| error.to_string()),
        Some((key, _)) => Err(format!("there is no filter `{key}`; there is `name=PATTERN`")),
        None => Err("a filter is written `name=PATTERN`".to_owned()),
    }
}

/// What `devctl ls` was asked for.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    all: bool,
    names: Vec<regex::Regex>,
    format: Format,
    quiet: bool,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { all, filter: names, format, quiet } = self;
        Settings { all, names, format, quiet }
    }
}

/// A project, by the names that Compose gives its properties.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    status: String,
    config_files: String,
}

/// Lists the projects. Needs none of its own.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { all, names, format, quiet } = settings;
    let engine = Docker::connect(&context.env).await?;
    let mut projects = engine.projects(all).await?;
    projects.retain(|project| names.is_empty() || names.iter().any(|name| name.is_match(&project.name)));
    let rows: Vec<Row> = projects.into_iter().map(row).collect();
    let text = if quiet {
        lines(rows.iter().map(|row| row.name.as_str()))
    } else {
        match format {
            Format::Json => json(&rows)?,
            Format::Table => {
                let head = ["NAME", "STATUS", "CONFIG FILES"].map(str::to_owned).to_vec();
                let cells = rows.into_iter().map(|Row { name, status, config_files }| vec![name, status, config_files]);
                columns::render(&std::iter::once(head).chain(cells).collect::<Vec<_>>(), columns::LIST)
            }
        }
    };
    output::print(&text, context.color)?;
    Ok(0)
}

fn row(project: EngineProject) -> Row {
    let states: Vec<String> = project.states.iter().map(|(state, count)| format!("{state}({count})")).collect();
    Row {
        name: project.name,
        status: states.join(", "),
        config_files: project.config_files.map_or_else(|| "N/A".to_owned(), |files| files.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_counted_in_the_order_of_their_names() {
        let project = EngineProject {
            name: "shop".to_owned(),
            states: [("running".to_owned(), 2), ("exited".to_owned(), 1)].into(),
            config_files: Some(vec!["/a.yml".to_owned(), "/b.yml".to_owned()]),
        };
        let row = row(project);
        assert_eq!(row.status, "exited(1), running(2)");
        assert_eq!(row.config_files, "/a.yml,/b.yml");
    }

    #[test]
    fn a_filter_has_a_name_and_a_pattern() {
        assert!(filter("name=shop").unwrap().is_match("my-shop-2"));
        for wrong in ["shop", "state=running", "name=("] {
            filter(wrong).expect_err(wrong);
        }
    }
}
