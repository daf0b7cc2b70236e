//! `devctl port`.

use super::containers::Here;
use super::{Context, output};
use crate::advice::Blame;
use crate::driver::docker::ProjectContainer;
use crate::error::Error;

/// Print the address at which a port of a container is published
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl port db 5432                    0.0.0.0:32768
  psql -h localhost -p $(devctl port db 5432 | cut -d: -f2)")]
pub(super) struct Args {
    /// Which container of a service that has several
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,

    /// `tcp` or `udp`
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp")]
    protocol: String,

    /// The service
    #[arg(value_name = "SERVICE")]
    service: String,

    /// The port in the container
    #[arg(value_name = "PRIVATE_PORT")]
    port: u16,
}

/// What `devctl port` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) index: Option<u32>,
    pub(super) protocol: String,
    pub(super) service: String,
    pub(super) port: u16,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { index, protocol, service, port } = self;
        let index = index.filter(|index| *index > 0);
        Settings { index, protocol: protocol.to_ascii_lowercase(), service, port }
    }
}

/// Prints the address.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { index, protocol, service, port } = settings;
    let here = Here::find(&context).await?;
    let container = here.one(&service, index).await?;
    let found = container.ports.iter().find(|found| found.container_port == port && found.protocol == protocol);
    match found {
        Some(found) => {
            // One that is not published has no address, and Compose prints it just so.
            output::print(&format!("{}:{}\n", found.host_ip, found.host_port), context.color)?;
            Ok(0)
        }
        None => Err(no_port(&container, port, &protocol)),
    }
}

fn no_port(container: &ProjectContainer, port: u16, protocol: &str) -> Error {
    let error = Error::new(Blame::Service, format!("the container `{}` has no port {port}/{protocol}", container.name));
    let ports: Vec<String> =
        container.ports.iter().map(|found| format!("{}/{}", found.container_port, found.protocol)).collect();
    if ports.is_empty() {
        return error.hint("it has none at all: they are under `ports:` in the Compose file");
    }
    error.hint(format!("it has {}", ports.join(", ")))
}
