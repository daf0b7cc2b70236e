//! The REST API as a program.

use std::process::ExitCode;

use clap::Parser;
use svc_common::config::Vars;

fn main() -> ExitCode {
    backend::command::run(&backend::command::Arguments::parse(), Vars::from_process())
}
