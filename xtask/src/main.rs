//! Developer chores that need code: `cargo xtask …`.
//!
//! `images` builds the container images that the tests run against, `bench` measures devctl beside its peer. Nothing
//! here is part of devctl.

#![expect(clippy::print_stdout, reason = "a developer's tool: its answer belongs on standard output")]
#![expect(clippy::print_stderr, reason = "a developer's tool: its progress belongs on standard error")]

mod bench;
mod images;
mod repo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer chores that need code.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds the PostgreSQL and Redis images of the tests without a registry and loads them into the engine.
    Images(images::Args),
    /// Writes `docs/devctl.schema.json`, the schema of `devctl.toml`, and `docs/control-api.json`, the description of
    /// the control socket.
    Schema,
    /// Measures devctl and its peer in one run.
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn write_schemas() -> std::io::Result<()> {
    let docs = repo::root().join("docs");
    std::fs::write(docs.join("devctl.schema.json"), devctl::manifest::json_schema())?;
    std::fs::write(docs.join("control-api.json"), devctl::control::openapi::json())
}

fn main() -> ExitCode {
    let done = match Args::parse().chore {
        Chore::Images(args) => images::run(&args),
        Chore::Schema => write_schemas().map_err(Into::into),
        Chore::Bench(what) => bench::run(&what),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
