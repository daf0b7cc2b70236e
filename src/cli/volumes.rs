//! `devctl volumes`.

use serde::Serialize;

use super::columns;
use super::containers::{Here, lines};
use super::images::{Format, json};
use super::{Context, output};
use crate::driver::docker::Pick;
use crate::error::Error;

/// List the volumes of the project
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl volumes
  devctl volumes -q db       those that the containers of one service mount")]
pub(super) struct Args {
    /// How to show them
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,

    /// Their names alone
    #[arg(short, long)]
    quiet: bool,

    /// Services whose volumes to show; the project's where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<String>,
}

/// What `devctl volumes` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) format: Format,
    pub(super) quiet: bool,
    pub(super) services: Vec<String>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { format, quiet, services } = self;
        Settings { format, quiet, services }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    driver: String,
}

/// Lists the volumes.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { format, quiet, services } = settings;
    let here = Here::find(&context).await?;
    let mut volumes = here.engine.volumes_of(here.project.name.as_str()).await?;
    if !services.is_empty() {
        let containers = here.picked(&Pick::all(&services)).await?;
        volumes.retain(|(name, _)| containers.iter().any(|container| container.mounts.contains(name)));
    }
    let rows: Vec<Row> = volumes.into_iter().map(|(name, driver)| Row { name, driver }).collect();
    let text = if quiet {
        lines(rows.iter().map(|row| row.name.as_str()))
    } else {
        match format {
            Format::Json => json(&rows)?,
            Format::Table => {
                let head = vec!["DRIVER".to_owned(), "VOLUME NAME".to_owned()];
                let cells = rows.into_iter().map(|Row { name, driver }| vec![driver, name]);
                columns::render(&std::iter::once(head).chain(cells).collect::<Vec<_>>(), columns::TEMPLATE)
            }
        }
    };
    output::print(&text, context.color)?;
    Ok(0)
}
