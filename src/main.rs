//! `devctl`: reads the arguments, runs, answers with an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    devctl::main()
}
