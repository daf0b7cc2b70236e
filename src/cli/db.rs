//! `devctl db`: the stack's database.

use std::time::Duration;

use super::Context;
use crate::advice::Blame;
use crate::data::shell::{self, Address, InContainer, Target};
use crate::driver::docker::{self, Docker, Ended, ShellSpec};
use crate::driver::embedded::Embedded;
use crate::driver::process::Processes;
use crate::error::Error;
use crate::name::{NodeId, RunId};
use crate::probe;
use crate::stack::{self, Infra, Selection};
use crate::state::StateDir;
use crate::state::lock::Lock;
use crate::state::record::Record;

/// Work with the stack's database
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    Shell(ShellArgs),
}

/// Open psql on the stack's database
///
/// Takes the psql of the container, of the embedded server, or of this machine, whichever the database runs in. On a
/// terminal it is interactive; otherwise it reads SQL from standard input. psql's exit code is passed on.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl db shell
  devctl db shell -c 'select count(*) from products'
  devctl db shell < fixtures.sql")]
struct ShellArgs {
    /// Run this SQL and end; can be repeated, and stops at the first error
    #[arg(short, long = "command", value_name = "SQL", allow_hyphen_values = true)]
    commands: Vec<String>,
}

/// What `devctl db` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settings {
    /// `devctl db shell`.
    Shell {
        /// `-c`, in the order given.
        commands: Vec<String>,
    },
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        match self.verb {
            Verb::Shell(ShellArgs { commands }) => Settings::Shell { commands },
        }
    }
}

/// Runs a verb of the database.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    match settings {
        Settings::Shell { commands } => {
            let (target, engine) = target(&context).await?;
            let in_container = async move |command: InContainer| {
                let InContainer { container, argv, env, tty, input } = command;
                let engine = engine.ok_or(docker::Error::NotConnected)?;
                let spec = ShellSpec { argv, env, tty, input, ..ShellSpec::default() };
                engine.shell(&container, spec).await.map(|ended| match ended {
                    Ended::Code(code) => code,
                    // Nobody types the keys for it by accident, and psql runs on.
                    Ended::Left => 0,
                })
            };
            Ok(shell::run(target, &commands, in_container).await?)
        }
    }
}

/// Finds out where the database of the stack is: where the devctl that runs the stack put it, else in a container that
/// runs, else wherever something listens on the database's port.
async fn target(context: &Context) -> Result<(Target, Option<Docker>), Error> {
    let manifest = context.manifest()?;
    let stack = stack::resolve(&manifest, &Selection::default(), Infra::Docker, &context.env)?;
    let database = stack.nodes().find_map(|node| match (&node.id, &node.probe) {
        (NodeId::Service(service), Some(probe::Spec::Postgres { host, port, user, password, database })) => {
            let address = Address {
                host: host.clone(),
                port: *port,
                user: user.clone(),
                password: Some(password.clone()),
                database: database.clone(),
            };
            Some((service.clone(), address))
        }
        _ => None,
    });
    let Some((service, address)) = database else {
        return Err(Error::new(Blame::Configuration, "this project has no PostgreSQL database")
            .hint("a service whose image is `postgres` or `pgvector/pgvector`, with a published port, is one"));
    };
    let state = StateDir::of(&manifest.root);
    let held = Lock::holder(&state).map_err(|error| Error::io("cannot look at the project's lock", error))?;
    let driver = held.and_then(|_| Record::read(&state)).map(|record| record.driver);
    if driver.as_deref().is_none_or(|driver| driver == "docker")
        && let Ok(engine) = Docker::connect(&context.env).await
    {
        let containers = engine.list_project(&manifest.project).await?;
        if let Some(found) = containers.into_iter().find(|found| found.running && found.service == service.as_str()) {
            let Address { user, database, .. } = address;
            return Ok((Target::Container { name: found.name, user, database }, Some(engine)));
        }
    }
    if !somebody_listens(&address).await {
        let message =
            format!("the database `{service}` is not up: nobody listens on {}:{}", address.host, address.port);
        let error = Error::new(Blame::Service, message);
        return Err(match driver.as_deref() {
            None => error.hint(format!("start it: `devctl up {service}`")),
            Some("none") => error.hint("start it where it runs: the devctl that is up leaves that to you"),
            Some(_) => error.hint("`devctl ps` shows how it is").hint(format!("`devctl logs {service}` shows why")),
        });
    }
    let embedded = Embedded::new(Processes::new(RunId::from_random(0), context.env.clone()), context.env.clone());
    let target = match embedded.psql().await {
        Some(psql) if driver.as_deref() == Some("embedded") => Target::Embedded { psql, address },
        Some(_) | None => Target::Host { address },
    };
    Ok((target, None))
}

/// How long a database may take to accept a connection; one that is up and busy gets psql's own patience.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether there is any use in starting psql. Only a refusal is a clear no.
async fn somebody_listens(address: &Address) -> bool {
    let asked = tokio::net::TcpStream::connect((address.host.as_str(), address.port));
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Err(error)) => error.kind() != std::io::ErrorKind::ConnectionRefused,
        Ok(Ok(_)) | Err(_) => true,
    }
}
