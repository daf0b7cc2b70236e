//! `devctl db shell`: psql for a person, a pipe or a script.
//!
//! Which database it is was decided by the caller; this room only knows how to reach psql there. The password goes
//! through the environment, never on a command line, where every user of the machine could read it. psql's exit code is
//! passed on.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::Stdio;

use crate::advice::{Advice, Blame};
use crate::os::foreground;

/// Where the database is and how psql gets there.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// In a container, with the psql of its image.
    Container {
        /// The container's name.
        name: String,
        /// The user of the database.
        user: String,
        /// The database.
        database: String,
    },
    /// An embedded server, with the psql it came with.
    Embedded {
        /// The path of psql.
        psql: PathBuf,
        /// How to connect.
        address: Address,
    },
    /// A server that devctl does not run, with the psql of this machine.
    Host {
        /// How to connect.
        address: Address,
    },
}

/// How to connect to a database over TCP.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The password, where there is one.
    pub password: Option<String>,
    /// The database.
    pub database: String,
}

impl std::fmt::Debug for Address {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

/// A command to run in a container: what `docker exec` would be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InContainer {
    /// The container's name.
    pub container: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables on top of the container's own.
    pub env: Vec<(String, String)>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether it reads devctl's standard input.
    pub input: bool,
}

/// Why no shell could be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine has no psql.
    #[error("`psql` is not installed on this machine")]
    NoPsql,
    /// psql is there and does not run.
    #[error("cannot run `{}`", path.display())]
    Spawn {
        /// The path of psql.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// psql could not be run in the container.
    #[error("cannot run psql in container `{container}`")]
    Container {
        /// The container's name.
        container: String,
        /// What the driver says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Hints of the driver.
        hints: Vec<String>,
    },
}

impl Advice for Error {
    fn blame(&self) -> Blame {
        match self {
            Self::NoPsql | Self::Spawn { .. } | Self::Container { .. } => Blame::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoPsql => vec![
                "install PostgreSQL's client: `apt install postgresql-client`, `brew install libpq`".to_owned(),
                "or let devctl run the database: `devctl up db` without `--skip-docker` brings a psql of its own"
                    .to_owned(),
            ],
            Self::Spawn { .. } => Vec::new(),
            Self::Container { hints, .. } => hints.clone(),
        }
    }
}

/// Opens a shell on the database, or runs `commands` on it, and answers with psql's exit code.
///
/// psql gets devctl's own standard streams, so a terminal stays a terminal and a pipe a pipe. `in_container` runs a
/// command in a container with those streams, as the Docker driver does.
pub async fn run<E>(
    target: Target,
    commands: &[String],
    in_container: impl AsyncFnOnce(InContainer) -> Result<i32, E>,
) -> Result<u8, Error>
where
    E: Advice + Send + Sync + 'static,
{
    let script = !commands.is_empty() || !io::stdin().is_terminal();
    match target {
        Target::Container { name, user, database } => {
            // A pipe must stay a pipe: a terminal would echo it and turn its line ends.
            let tty = !script && io::stdout().is_terminal();
            let command = InContainer {
                container: name.clone(),
                // Through the container's own socket, where the image trusts its own users.
                argv: [vec!["psql".to_owned()], arguments(&user, &database, commands, script)].concat(),
                env: Vec::new(),
                tty,
                input: commands.is_empty(),
            };
            let code = in_container(command).await.map_err(|error| {
                let hints = error.hints();
                Error::Container { container: name, source: Box::new(error), hints }
            })?;
            Ok(exit_code(Some(code), None))
        }
        Target::Embedded { psql, address } => on_host(psql, &address, commands, script).await,
        Target::Host { address } => {
            let psql = which::which("psql").map_err(|_| Error::NoPsql)?;
            on_host(psql, &address, commands, script).await
        }
    }
}

/// The arguments that psql gets wherever it runs.
fn arguments(user: &str, database: &str, commands: &[String], script: bool) -> Vec<String> {
    let mut arguments = vec!["--username".to_owned(), user.to_owned(), "--dbname".to_owned(), database.to_owned()];
    if script {
        // A script wants to know that a command of it failed, and not that the last one went well.
        arguments.extend(["--set".to_owned(), "ON_ERROR_STOP=1".to_owned()]);
    }
    for command in commands {
        arguments.extend(["--command".to_owned(), command.clone()]);
    }
    arguments
}

async fn on_host(psql: PathBuf, address: &Address, commands: &[String], script: bool) -> Result<u8, Error> {
    let Address { host, port, user, password, database } = address;
    let mut command = tokio::process::Command::new(&psql);
    command
        .args(["--host", host, "--port", &port.to_string()])
        .args(arguments(user, database, commands, script))
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    // A service file or a host of the user's own shell must not lead elsewhere than where devctl said.
    for name in ["PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE"] {
        command.env_remove(name);
    }
    // psql shares devctl's process group and terminal, so Ctrl+C reaches both: psql cancels its query with it, and
    // devctl must outlive that. A handler, unlike an ignored signal, is not inherited by the child.
    let failed = |source| Error::Spawn { path: psql.clone(), source };
    foreground::leave_interrupts_to_the_child().map_err(failed)?;
    let status = command.status().await.map_err(failed)?;
    Ok(exit_code(status.code(), foreground::signal_of(status)))
}

/// An exit code as shells give it: that of the program, or 128 + the signal that ended it.
fn exit_code(code: Option<i32>, signal: Option<i32>) -> u8 {
    let code = code.or_else(|| signal.map(|signal| 128 + signal)).unwrap_or(1);
    // On Windows codes are wider than a byte; what is not 0 must not become 0.
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arguments_and_stop_at_the_first_error() {
        assert_eq!(arguments("postgres", "menu_ops", &[], false), ["--username", "postgres", "--dbname", "menu_ops"]);
        assert_eq!(
            arguments("u", "d", &["select '$(x)'".to_owned(), "\\dt".to_owned()], true),
            [
                "--username",
                "u",
                "--dbname",
                "d",
                "--set",
                "ON_ERROR_STOP=1",
                "--command",
                "select '$(x)'",
                "--command",
                "\\dt"
            ]
        );
    }

    #[test]
    fn exit_codes_are_passed_on() {
        for (code, signal, expected) in
            [(Some(0), None, 0), (Some(3), None, 3), (None, Some(2), 130), (Some(-1), None, 1), (None, None, 1)]
        {
            assert_eq!(exit_code(code, signal), expected);
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port: 5432,
            user: "postgres".to_owned(),
            password: Some("hunter2".to_owned()),
            database: "menu_ops".to_owned(),
        };
        assert_eq!(format!("{address:?}"), "postgres@127.0.0.1:5432/menu_ops");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no such container")]
    struct Gone;

    impl Advice for Gone {
        fn blame(&self) -> Blame {
            Blame::Environment
        }

        fn hints(&self) -> Vec<String> {
            vec!["run `devctl up db`".to_owned()]
        }
    }

    #[tokio::test]
    async fn a_container_gets_the_command_without_a_password() {
        let target =
            Target::Container { name: "x-db-1".to_owned(), user: "postgres".to_owned(), database: "m".to_owned() };
        let code = run(target.clone(), &["select 1".to_owned()], async |command: InContainer| {
            assert_eq!(command.container, "x-db-1");
            assert_eq!(command.argv[0], "psql");
            assert!(!command.tty && !command.input && command.env.is_empty());
            Ok::<_, Gone>(7)
        })
        .await
        .unwrap();
        assert_eq!(code, 7);
        let error = run(target, &[], async |_| Err(Gone)).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot run psql in container `x-db-1`");
        assert_eq!(error.hints(), ["run `devctl up db`"]);
    }

    #[tokio::test]
    async fn a_psql_that_does_not_run_is_named() {
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port: 26001,
            user: "u".to_owned(),
            password: None,
            database: "d".to_owned(),
        };
        let target = Target::Embedded { psql: "/nowhere/psql".into(), address };
        let error = run(target, &[], async |_| Err(Gone)).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot run `/nowhere/psql`");
    }
}
