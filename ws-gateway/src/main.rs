//! The WebSocket gateway as a program.

use std::process::ExitCode;

use svc_common::config::Vars;
use ws_gateway::{Config, Server};

fn main() -> ExitCode {
    svc_common::process::run("ws-gateway", Config::read(Vars::from_process()), async |config, shutdown| {
        let server = tokio::select! {
            server = Server::start(&config, &shutdown) => server?,
            () = shutdown.requested() => return Ok(()),
        };
        server.run().await;
        Ok::<_, ws_gateway::StartError>(())
    })
}
