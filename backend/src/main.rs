//! The REST API as a program.

use std::process::ExitCode;

use backend::{Config, Server};
use svc_common::config::Vars;

fn main() -> ExitCode {
    svc_common::process::run("backend", Config::read(Vars::from_process()), async |config, shutdown| {
        let server = tokio::select! {
            server = Server::start(&config) => server?,
            () = shutdown.requested() => return Ok(()),
        };
        server.run(&shutdown).await;
        Ok::<_, backend::StartError>(())
    })
}
