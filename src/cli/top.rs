//! `devctl top`.

use futures_util::future::try_join_all;

use super::columns;
use super::containers::Here;
use super::{Context, output};
use crate::driver::docker::{Pick, Processes};
use crate::error::Error;

/// Show the processes that run in the containers
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl top
  devctl top db          of one service")]
pub(super) struct Args {
    /// Services to show; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<String>,
}

/// What `devctl top` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) services: Vec<String>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { services } = self;
        Settings { services }
    }
}

/// Shows the processes.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let here = Here::find(&context).await?;
    let mut containers = here.picked(&Pick::running(&settings.services).with_oneoffs()).await?;
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let tops = try_join_all(containers.iter().map(|container| here.engine.processes(container))).await?;
    let tops = containers.iter().zip(tops).map(|(container, top)| {
        (container.service.clone(), container.number.map(|number| number.to_string()).unwrap_or_default(), top)
    });
    output::print(&columns::render(&table(&tops.collect::<Vec<_>>()), columns::TOP), context.color)?;
    Ok(0)
}

/// One table of all containers, which may have columns of their own. The command comes last, as it may be long.
fn table(tops: &[(String, String, Processes)]) -> Vec<Vec<String>> {
    let mut titles: Vec<&str> = Vec::new();
    for title in tops.iter().filter(|(.., top)| !top.rows.is_empty()).flat_map(|(.., top)| &top.titles) {
        if !titles.contains(&title.as_str()) {
            titles.push(title);
        }
    }
    if let Some(at) = titles.iter().position(|title| *title == "CMD") {
        let command = titles.remove(at);
        titles.push(command);
    }
    let mut rows = Vec::new();
    for (service, number, top) in tops {
        for process in &top.rows {
            let cell = |title: &&str| {
                let at = top.titles.iter().position(|theirs| theirs == title);
                at.and_then(|at| process.get(at)).cloned().unwrap_or_else(|| "-".to_owned())
            };
            rows.push([service.clone(), number.clone()].into_iter().chain(titles.iter().map(cell)).collect());
        }
    }
    if !rows.is_empty() {
        let head = ["SERVICE", "#"].into_iter().chain(titles).map(str::to_owned).collect();
        rows.insert(0, head);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_with_other_columns_share_a_table() {
        let list = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let top = |titles: &[&str], row: &[&str]| Processes { titles: list(titles), rows: vec![list(row)] };
        let tops = [
            ("a".to_owned(), "1".to_owned(), top(&["PID", "CMD"], &["1", "sh -c x"])),
            ("b".to_owned(), "1".to_owned(), top(&["PID", "TIME", "CMD"], &["2", "00:00", "sleep"])),
            ("c".to_owned(), "1".to_owned(), Processes::default()),
        ];
        let expected = [
            list(&["SERVICE", "#", "PID", "TIME", "CMD"]),
            list(&["a", "1", "1", "-", "sh -c x"]),
            list(&["b", "1", "2", "00:00", "sleep"]),
        ];
        assert_eq!(table(&tops), expected);
        assert!(table(&tops[2..]).is_empty());
    }
}
