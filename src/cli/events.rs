//! `devctl events`.

use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

use super::containers::Here;
use super::logs::moment;
use super::output::Printed;
use super::{Context, output};
use crate::advice::Blame;
use crate::driver::docker::Happening;
use crate::error::Error;

/// Show what happens to the containers, as the engine tells it
///
/// What a run of devctl says of its services is `devctl up --format json`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl events
  devctl events --json db | jq .action
  devctl events --since 1h --until 0s     the last hour, and no more")]
pub(super) struct Args {
    /// One JSON object a line
    #[arg(long)]
    json: bool,

    /// From this moment on: `10m` (ago), or a date and time
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<Timestamp>,

    /// Until this moment
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<Timestamp>,

    /// Services to show; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<String>,
}

/// What `devctl events` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) json: bool,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) services: Vec<String>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { json, since, until, services } = self;
        Settings { json, since, until, services }
    }
}

/// An event as Compose writes it.
#[derive(Serialize)]
struct Line<'a> {
    action: &'a str,
    attributes: &'a BTreeMap<String, String>,
    id: &'a str,
    service: &'a str,
    time: String,
    r#type: &'static str,
}

/// Shows what happens until it is interrupted, or until the moment that was given.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { json, since, until, services } = settings;
    let here = Here::find(&context).await?;
    for service in &services {
        here.check(service).await?;
    }
    let mut happenings = std::pin::pin!(here.engine.happenings(here.project.name.as_str(), since, until));
    while let Some(happening) = happenings.next().await {
        let happening = happening?;
        if !services.is_empty() && !services.contains(&happening.service) {
            continue;
        }
        let line = if json { as_json(&happening)? } else { text(&happening) };
        if output::print(&line, context.color)? == Printed::ReaderGone {
            break;
        }
    }
    Ok(0)
}

fn as_json(happening: &Happening) -> Result<String, Error> {
    let Happening { at, service, container, action, attributes } = happening;
    let line = Line { action, attributes, id: container, service, time: at.to_string(), r#type: "container" };
    let text = serde_json::to_string(&line);
    let text = text.map_err(|error| Error::new(Blame::Bug, format!("an event cannot be written: {error}")))?;
    Ok(format!("{text}\n"))
}

/// `2026-11-20 08:00:00.000000 container start 0123… (image=redis, name=shop-redis-1)`.
fn text(happening: &Happening) -> String {
    let Happening { at, container, action, attributes, .. } = happening;
    let at = at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.6f").to_string();
    let attributes: Vec<String> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{at} container {action} {container} ({})\n", attributes.join(", "))
}
