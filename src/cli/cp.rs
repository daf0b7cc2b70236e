//! `devctl cp`.

use std::path::{MAIN_SEPARATOR, Path};

use futures_util::future::join_all;

use super::containers::Here;
use super::{Context, output};
use crate::advice::Blame;
use crate::driver::docker::{CopyHow, Oneoffs, Pick, ProjectContainer};
use crate::error::Error;

/// Copy files between a container and this machine
///
/// `-` is an archive (tar) on standard input or output. A folder written with `/.` behind it means what is in it. Where
/// the service has several containers, a copy into it goes to all of them, and a copy out of it comes from the first.
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "devctl cp [OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n       devctl cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH",
    after_long_help = "\
Examples:
  devctl cp db:/var/lib/postgresql/data/postgresql.conf .
  devctl cp fixtures/. web:/app/fixtures
  devctl cp web:/app/logs - | tar tv"
)]
pub(super) struct Args {
    /// Also containers of `devctl run`
    #[arg(long)]
    all: bool,

    /// Make the files those of the container's user
    #[arg(short, long)]
    archive: bool,

    /// Follow a link in the source, rather than copy the link
    #[arg(short = 'L', long)]
    follow_link: bool,

    /// Which container of a service that has several
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,

    /// What to copy: `SERVICE:PATH`, a path of this machine, or `-`
    #[arg(value_name = "SRC_PATH", allow_hyphen_values = false)]
    from: String,

    /// Where to copy it: `SERVICE:PATH`, a path of this machine, or `-`
    #[arg(value_name = "DEST_PATH")]
    to: String,
}

/// What `devctl cp` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `--all`.
    pub(super) all: bool,
    /// `--archive`.
    pub(super) archive: bool,
    /// `--follow-link`.
    pub(super) follow: bool,
    /// `--index`.
    pub(super) index: Option<u32>,
    /// The source.
    pub(super) from: Place,
    /// The target.
    pub(super) to: Place,
}

/// One end of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a container.
    Container {
        /// The service.
        service: String,
        /// The path.
        path: String,
    },
    /// On this machine.
    Here(String),
    /// An archive on standard input or output.
    Stream,
}

impl Place {
    /// Docker's rule: what begins with `/` or `.` is a path of this machine, whatever else is in it.
    fn parse(text: &str) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        let is_here = text.starts_with(['/', '.', MAIN_SEPARATOR]) || Path::new(text).is_absolute();
        match text.split_once(':') {
            Some((service, path)) if !is_here && !service.is_empty() => {
                Self::Container { service: service.to_owned(), path: path.to_owned() }
            }
            _ => Self::Here(text.to_owned()),
        }
    }
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { all, archive, follow_link: follow, index, from, to } = self;
        let index = index.filter(|index| *index > 0);
        Settings { all, archive, follow, index, from: Place::parse(&from), to: Place::parse(&to) }
    }
}

/// Copies.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { all, archive, follow, index, from, to } = settings;
    let usage = |message: &str| {
        Error::new(Blame::Configuration, message.to_owned())
            .hint("one end is `SERVICE:PATH`, the other a path of this machine or `-`: `devctl cp --help`")
    };
    let how = CopyHow { follow, archive };
    match (from, to) {
        (Place::Container { .. }, Place::Container { .. }) => {
            Err(usage("copying from one container into another is not possible"))
        }
        (Place::Here(_) | Place::Stream, Place::Here(_) | Place::Stream) => {
            Err(usage("neither end of the copy is in a container"))
        }
        (Place::Container { service, path }, to) => {
            let here = Here::find(&context).await?;
            let container = targets(&here, &service, index, all).await?.remove(0);
            match to {
                Place::Here(to) => {
                    here.engine.copy_out(&container, &path, &absolute(&to, &context), follow).await?;
                    note(&context, &format!("copied {}:{path} to {to}", container.name))?;
                }
                Place::Stream | Place::Container { .. } => {
                    here.engine.copy_archive_out(&container, &path, follow).await?;
                }
            }
            Ok(0)
        }
        (from, Place::Container { service, path }) => {
            let here = Here::find(&context).await?;
            let containers = targets(&here, &service, index, all).await?;
            let from = match from {
                Place::Here(from) => from,
                Place::Stream | Place::Container { .. } => {
                    // An input can be read once.
                    let container = &containers[0];
                    here.engine.copy_archive_in(container, &path, how).await?;
                    note(&context, &format!("copied standard input to {}:{path}", container.name))?;
                    return Ok(0);
                }
            };
            let source = absolute(&from, &context);
            let copies = containers
                .iter()
                .map(async |container| (here.engine.copy_in(container, &source, &path, how).await, container));
            let mut code = 0;
            for (copied, container) in join_all(copies).await {
                match copied {
                    Ok(()) => note(&context, &format!("copied {from} to {}:{path}", container.name))?,
                    Err(error) => {
                        let error = Error::from(error);
                        error.print(context.color);
                        code = code.max(error.exit_code());
                    }
                }
            }
            Ok(code)
        }
    }
}

fn note(context: &Context, text: &str) -> Result<(), Error> {
    output::note(&format!("{text}\n"), context.color)
}

/// The containers of a service, running or not; never none.
async fn targets(here: &Here, service: &str, index: Option<u32>, all: bool) -> Result<Vec<ProjectContainer>, Error> {
    let oneoffs = if all { Oneoffs::Included } else { Oneoffs::LeftOut };
    let pick = Pick { oneoffs, ..Pick::all(&[service.to_owned()]) };
    let mut found = here.picked(&pick).await?;
    found.retain(|container| !container.is_temporary() && index.is_none_or(|index| container.number == Some(index)));
    if found.is_empty() {
        let which = index.map(|index| format!(" number {index}")).unwrap_or_default();
        let message = format!("the service `{service}` has no container{which}");
        return Err(Error::new(Blame::Service, message).hint(format!("`devctl up -d {service}` makes one")));
    }
    Ok(found)
}

/// The path from the root, with the `/` or `/.` behind it that means something.
fn absolute(path: &str, context: &Context) -> String {
    if Path::new(path).is_absolute() {
        return path.to_owned();
    }
    format!("{}/{path}", context.request.start.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_in_a_container_where_docker_takes_it_for_one() {
        let inside =
            |service: &str, path: &str| Place::Container { service: service.to_owned(), path: path.to_owned() };
        let here = |path: &str| Place::Here(path.to_owned());
        for (text, expected) in [
            ("web:/app", inside("web", "/app")),
            ("web:app", inside("web", "app")),
            ("web:a:b", inside("web", "a:b")),
            ("file", here("file")),
            ("./web:/app", here("./web:/app")),
            ("/tmp/a:b", here("/tmp/a:b")),
            (":x", here(":x")),
            ("-", Place::Stream),
        ] {
            assert_eq!(Place::parse(text), expected, "{text}");
        }
    }
}
