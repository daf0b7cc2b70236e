//! `devctl config`: the Compose files as one, as `docker compose config` shows them, or with `--stack` what devctl makes
//! of all files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::ValueEnum;

use super::{Context, output};
use crate::advice::Blame;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::manifest::compose::model::Selected;
use crate::manifest::compose::{Form, HashDialect};
use crate::os::files;
use crate::stack::{self, Infra, Selection, hash};

/// Show the Compose files as one, with everything resolved
///
/// What is shown is what `docker compose config` shows: variables, defaults and paths are put in, every key is in its
/// long form. Where a file has a mistake, all mistakes are shown instead. With --stack it is the whole stack as devctl
/// understands it, programs of the host included: what each service needs, how its readiness is decided, secrets masked.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl config
  devctl config --format json | jq .services.db
  devctl config --hash '*'
  devctl config --stack --format json | jq '.nodes[] | select(.node == \"api\")'")]
pub(super) struct Args {
    /// Only these services and what they need
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,

    /// How to show it: yaml or json; with --stack toml or json
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<Format>,

    /// Show the stack that devctl makes of all files
    #[arg(long, conflicts_with_all = ["names", "services", "images", "volumes", "networks", "show_profiles", "environment", "hash"])]
    stack: bool,

    /// Only check the files
    #[arg(short, long)]
    quiet: bool,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print the names of the services
    #[arg(long, group = "part")]
    services: bool,

    /// Print the images of the services
    #[arg(long, group = "part")]
    images: bool,

    /// Print the volumes that the services mount
    #[arg(long, group = "part")]
    volumes: bool,

    /// Print the networks that the services join
    #[arg(long, group = "part")]
    networks: bool,

    /// Print the profiles that the files name
    #[arg(id = "show_profiles", long = "profiles", group = "part")]
    show_profiles: bool,

    /// Print the variables that the Compose files see
    #[arg(long, group = "part")]
    environment: bool,

    /// Print the hash of the configuration of these services, or of all: '*'
    #[arg(long, value_name = "SERVICES", group = "part")]
    hash: Option<String>,

    /// Which form of the hash: that of Docker Compose up to 2.40, or from 5.0 on
    #[arg(long, value_name = "VERSION", requires = "hash", default_value = "2", value_parser = ["2", "5"])]
    hash_version: String,

    /// Accepted as by Docker Compose, where it changes nothing: what `env_file` names is always read
    #[arg(long, hide = true)]
    no_env_resolution: bool,

    #[command(flatten)]
    refused: Refused,
}

/// Flags of Docker Compose that are refused by name.
#[derive(Clone, Debug, clap::Args)]
struct Refused {
    #[arg(long, hide = true)]
    no_interpolate: bool,
    #[arg(long, hide = true)]
    no_normalize: bool,
    #[arg(long, hide = true)]
    no_path_resolution: bool,
    #[arg(long, hide = true)]
    no_consistency: bool,
    #[arg(long, hide = true)]
    resolve_image_digests: bool,
    #[arg(long, hide = true)]
    lock_image_digests: bool,
    #[arg(long, hide = true)]
    variables: bool,
    #[arg(long, hide = true)]
    models: bool,
}

/// How `devctl config` shows something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// YAML, as in a Compose file
    Yaml,
    /// TOML, as in `devctl.toml`
    Toml,
    /// JSON
    Json,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Model,
    Stack,
    Services,
    Images,
    Volumes,
    Networks,
    Profiles,
    Environment,
    Hash(String, HashDialect),
}

/// What `devctl config` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    part: Part,
    format: Option<Format>,
    names: Vec<String>,
    quiet: bool,
    output: Option<PathBuf>,
    /// A flag that devctl has not, and why.
    refused: Option<(&'static str, &'static str)>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { names, format, stack, quiet, output, refused, .. } = self;
        let part = match (self.services, self.images, self.volumes, self.networks) {
            (true, ..) => Part::Services,
            (_, true, ..) => Part::Images,
            (_, _, true, _) => Part::Volumes,
            (.., true) => Part::Networks,
            _ if self.show_profiles => Part::Profiles,
            _ if self.environment => Part::Environment,
            _ if stack => Part::Stack,
            _ => match self.hash {
                Some(names) => {
                    Part::Hash(names, if self.hash_version == "5" { HashDialect::V5 } else { HashDialect::V2 })
                }
                None => Part::Model,
            },
        };
        Settings { part, format, names, quiet, output, refused: refused.first() }
    }
}

impl Refused {
    fn first(&self) -> Option<(&'static str, &'static str)> {
        const PARTIAL: &str = "devctl shows what it would run, which is resolved to the end";
        const DIGESTS: &str = "devctl asks no registry for what an image's name stands for";
        let Self {
            no_interpolate,
            no_normalize,
            no_path_resolution,
            no_consistency,
            resolve_image_digests,
            lock_image_digests,
            variables,
            models,
        } = *self;
        [
            (no_interpolate, "--no-interpolate", PARTIAL),
            (no_normalize, "--no-normalize", PARTIAL),
            (no_path_resolution, "--no-path-resolution", PARTIAL),
            (no_consistency, "--no-consistency", "devctl checks in any case"),
            (resolve_image_digests, "--resolve-image-digests", DIGESTS),
            (lock_image_digests, "--lock-image-digests", DIGESTS),
            (variables, "--variables", PARTIAL),
            (models, "--models", "devctl runs no models"),
        ]
        .into_iter()
        .find_map(|(given, flag, why)| given.then_some((flag, why)))
    }
}

/// Prints what was asked for.
pub(super) fn run(settings: &Settings, context: &Context) -> Result<u8, Error> {
    if let Some((flag, why)) = settings.refused {
        return Err(Error::new(Blame::Configuration, format!("devctl doesn't support `config {flag}`: {why}")));
    }
    let manifest = context.manifest()?;
    if settings.quiet && settings.part == Part::Model {
        // Whether it can be chosen from is checked; nobody reads what it would look like.
        manifest.compose.select(manifest.project.as_str(), &manifest.profiles, &settings.names)?;
        return Ok(0);
    }
    let text = text(settings, &manifest, context)?;
    match &settings.output {
        _ if settings.quiet => {}
        Some(file) => {
            let file = context.request.start.join(file);
            let write = files::write_atomic(&file, &text, false);
            write.map_err(|error| Error::io(format!("cannot write `{}`", file.display()), error))?;
        }
        None => {
            output::print_data(&text)?;
        }
    }
    Ok(0)
}

fn text(settings: &Settings, manifest: &Manifest, context: &Context) -> Result<String, Error> {
    let select = |names: &[String]| manifest.compose.select(manifest.project.as_str(), &manifest.profiles, names);
    let lines = |items: BTreeSet<String>| items.into_iter().map(|item| item + "\n").collect();
    let keys = |keys: Vec<&str>| lines(keys.into_iter().map(str::to_owned).collect());
    Ok(match &settings.part {
        Part::Stack => stack_text(settings, manifest, context)?,
        Part::Model => model_text(settings, &select(&settings.names)?)?,
        Part::Services => select(&settings.names)?.in_order().into_iter().map(|name| name.to_owned() + "\n").collect(),
        Part::Images => {
            let selected = select(&settings.names)?;
            let images = selected.services.values().map(|service| service.image_name(manifest.project.as_str()));
            images.map(|image| image + "\n").collect()
        }
        Part::Volumes => keys(select(&[])?.volumes().into_keys().collect()),
        Part::Networks => keys(select(&[])?.networks().into_keys().collect()),
        Part::Profiles => {
            lines(manifest.compose.services.values().flat_map(|service| service.profiles.iter().cloned()).collect())
        }
        Part::Environment => {
            lines(manifest.environment.iter().map(|(name, value)| format!("{name}={value}")).collect())
        }
        Part::Hash(names, dialect) => {
            let names: Vec<String> =
                if names == "*" { Vec::new() } else { names.split(',').map(str::to_owned).collect() };
            let selected = select(&names)?;
            let wanted =
                selected.services.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == *name));
            wanted.map(|(name, service)| [name, " ", &hash::service(service, *dialect), "\n"].concat()).collect()
        }
    })
}

/// A `$` is written twice, so that what is printed can be read as a Compose file again.
fn model_text(settings: &Settings, selected: &Selected<'_>) -> Result<String, Error> {
    let text = match settings.format {
        None | Some(Format::Yaml) => selected.canonical(Form::Yaml).yaml(),
        Some(Format::Json) => selected.canonical(Form::Json(HashDialect::V2)).pretty_json() + "\n",
        Some(Format::Toml) => {
            let message = "`--format toml` is for `devctl config --stack`; Compose's model is shown as yaml or json";
            return Err(Error::new(Blame::Configuration, message));
        }
    };
    Ok(text.replace('$', "$$"))
}

/// The resolved stack, secrets masked.
fn stack_text(settings: &Settings, manifest: &Manifest, context: &Context) -> Result<String, Error> {
    let stack = stack::resolve(manifest, &Selection::default(), Infra::Docker, &context.env)?;
    let description = stack::describe(&stack);
    let failed =
        |error: &dyn std::fmt::Display| Error::new(Blame::Bug, format!("the stack cannot be written: {error}"));
    match settings.format {
        None | Some(Format::Toml) => toml::to_string_pretty(&description).map_err(|error| failed(&error)),
        Some(Format::Json) => {
            let mut text = serde_json::to_string_pretty(&description).map_err(|error| failed(&error))?;
            text.push('\n');
            Ok(text)
        }
        Some(Format::Yaml) => {
            let message = "`devctl config --stack` is shown as toml or json; yaml is for Compose's model";
            Err(Error::new(Blame::Configuration, message))
        }
    }
}
