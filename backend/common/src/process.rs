//! From `main` to an exit code: configuration, logs, runtime, signals, and one place where a fatal error is reported.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::logging::LogSettings;
use crate::shutdown::Shutdown;

/// The exit code for a configuration that cannot be used.
pub const EXIT_CONFIG: u8 = 2;
/// The exit code for an environment that is not fit, such as a taken port.
pub const EXIT_ENVIRONMENT: u8 = 3;

/// An error that ends the process.
pub trait Fatal: Error {
    /// The exit code that tells a supervisor what kind of error it was.
    fn exit_code(&self) -> u8;
}

/// Runs a service until it stops or fails. Asked to stop, also in the middle of its start, it exits with 0.
pub fn run<C, E, F>(service: &str, config: Result<C, ConfigError>, serve: impl FnOnce(C, Shutdown) -> F) -> ExitCode
where
    C: AsRef<LogSettings>,
    E: Fatal,
    F: Future<Output = Result<(), E>>,
{
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            // The log settings are part of what is wrong, and a person has to read this: plain text on standard error.
            say(service, &error.to_string());
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    config.as_ref().install();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));

    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(service, &error, 1),
    };
    let result = runtime.block_on(async {
        let shutdown = match Shutdown::on_signals() {
            Ok(shutdown) => shutdown,
            Err(error) => return fail(service, &error, 1),
        };
        match serve(config, shutdown).await {
            Ok(()) => {
                tracing::info!("stopped");
                ExitCode::SUCCESS
            }
            Err(error) => fail(service, &error, error.exit_code()),
        }
    });
    // A name look-up that hangs in a blocking thread must not hold up the exit.
    runtime.shutdown_background();
    result
}

/// Reports a fatal error once: as a log line, or on standard error when `RUST_LOG` silences errors.
fn fail(service: &str, error: &dyn Error, code: u8) -> ExitCode {
    let text = crate::chain(error);
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(exit_code = code, "{text}");
    } else {
        say(service, &text);
    }
    ExitCode::from(code)
}

fn say(service: &str, text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{service}: {text}");
}
