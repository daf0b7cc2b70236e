//! `devctl images`.

use clap::ValueEnum;
use futures_util::future::try_join_all;
use serde::Serialize;

use super::columns;
use super::containers::{Here, lines};
use super::{Context, output};
use crate::advice::Blame;
use crate::driver::docker::{ContainerImage, Pick, ProjectContainer};
use crate::error::Error;
use crate::os::clock;

/// List the images that the containers were made from
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl images
  devctl images -q db
  devctl images --format json | jq '.[].Tag'")]
pub(super) struct Args {
    /// How to show them
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,

    /// Their ids alone
    #[arg(short, long)]
    quiet: bool,

    /// Services to show; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<String>,
}

/// How a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table
    Table,
    /// A JSON array
    Json,
}

/// What `devctl images` was asked for.
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

/// An image, by the names that Compose gives its properties.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    container_name: String,
    repository: String,
    tag: String,
    platform: String,
    size: i64,
    last_tag_time: String,
}

/// Lists the images.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { format, quiet, services } = settings;
    let here = Here::find(&context).await?;
    let mut containers = here.picked(&Pick::all(&services).with_oneoffs()).await?;
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let images = try_join_all(containers.iter().map(|container| here.engine.image_of(container))).await?;
    let rows: Vec<Row> = containers.iter().zip(images).map(|(container, image)| row(container, image)).collect();
    let text = if quiet {
        ids(&rows)
    } else {
        match format {
            Format::Table => columns::render(&table(&rows), columns::LIST),
            Format::Json => json(&rows)?,
        }
    };
    output::print(&text, context.color)?;
    Ok(0)
}

/// A list as one line of JSON.
pub(super) fn json(rows: &[impl Serialize]) -> Result<String, Error> {
    let text = serde_json::to_string(rows);
    let text = text.map_err(|error| Error::new(Blame::Bug, format!("a list cannot be written: {error}")))?;
    Ok(format!("{text}\n"))
}

fn row(container: &ProjectContainer, image: Option<ContainerImage>) -> Row {
    let (repository, tag) = names(&container.image);
    // An image that was removed by force is still the container's.
    let image = image.unwrap_or_else(|| ContainerImage {
        id: container.image_id.clone(),
        platform: String::new(),
        size: 0,
        tagged: String::new(),
    });
    let ContainerImage { id, platform, size, tagged } = image;
    Row { id, container_name: container.name.clone(), repository, tag, platform, size, last_tag_time: tagged }
}

/// The ids without what they begin with, each once.
fn ids(rows: &[Row]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for row in rows {
        let id = row.id.split_once(':').map_or(row.id.as_str(), |(_, id)| id);
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    lines(seen)
}

fn table(rows: &[Row]) -> Vec<Vec<String>> {
    let head = ["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    let now = clock::timestamp();
    let or_none = |text: &str| if text.is_empty() { "<none>".to_owned() } else { text.to_owned() };
    for row in rows {
        let id = row.id.split_once(':').map_or(row.id.as_str(), |(_, id)| id);
        let age = row.last_tag_time.parse::<jiff::Timestamp>().ok().map(|at| now.duration_since(at).as_secs());
        table.push(vec![
            row.container_name.clone(),
            or_none(&row.repository),
            or_none(&row.tag),
            row.platform.clone(),
            id.chars().take(12).collect(),
            columns::size(row.size),
            age.map(columns::ago).unwrap_or_default(),
        ]);
    }
    table
}

/// Repository and tag of a reference, as people write them. Of an image that is named by its id, neither.
fn names(reference: &str) -> (String, String) {
    let is_id = |text: &str| text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
    if is_id(reference.strip_prefix("sha256:").unwrap_or(reference)) {
        return (String::new(), String::new());
    }
    let (name, digest) = reference.split_once('@').map_or((reference, None), |(name, digest)| (name, Some(digest)));
    let (repository, tag) = match name.rsplit_once(':') {
        // A colon before a slash belongs to the port of a registry.
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    };
    let tag = match (tag, digest) {
        (_, Some(_)) => "",
        (Some(tag), None) => tag,
        (None, None) => "latest",
    };
    let official = repository.strip_prefix("docker.io/").unwrap_or(repository);
    let official = official.strip_prefix("library/").unwrap_or(official);
    (official.to_owned(), tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_told_as_it_is_written() {
        for (reference, repository, tag) in [
            ("redis", "redis", "latest"),
            ("redis:7", "redis", "7"),
            ("docker.io/library/redis:7", "redis", "7"),
            ("registry.test:5000/team/app", "registry.test:5000/team/app", "latest"),
            ("registry.test:5000/app:1", "registry.test:5000/app", "1"),
            ("redis@sha256:0123", "redis", ""),
            ("redis:7@sha256:0123", "redis", ""),
            ("0123456789012345678901234567890123456789012345678901234567890123", "", ""),
            ("sha256:0123456789012345678901234567890123456789012345678901234567890123", "", ""),
        ] {
            assert_eq!(names(reference), (repository.to_owned(), tag.to_owned()), "{reference}");
        }
    }
}
