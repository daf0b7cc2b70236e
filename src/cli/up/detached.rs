//! `devctl up -d`: starts a supervisor in the background and shows what it does until the stack is up.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::time::Duration;

use tokio::process::Child;

use super::{Settings, StopRequests, prepare};
use crate::advice::Blame;
use crate::cli::follow::{self, Follow, Until};
use crate::cli::{Context, output};
use crate::control::client::Client;
use crate::control::wire::Status;
use crate::error::Error;
use crate::event::Signal;
use crate::manifest::Manifest;
use crate::os::background::{self, Background};
use crate::os::process::{self, Kill};
use crate::os::{env, files};
use crate::report::Format;
use crate::state::StateDir;

/// How often a supervisor that is starting is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// What is not as it should be about a supervisor that was started by hand.
const BY_HAND: &str = "`devctl up -d` starts it";

/// The settings that whoever started this supervisor wrote.
pub(super) fn read_settings() -> Result<Settings, Error> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| Error::io("cannot read the settings", error))?;
    serde_json::from_str(&text).map_err(|error| {
        Error::new(Blame::Configuration, format!("standard input holds no settings: {error}")).hint(BY_HAND)
    })
}

/// Starts a supervisor in the background. With `wait` it is shown until the stack is up, and the exit code says how that
/// went.
pub(super) async fn run(
    manifest: &Manifest,
    settings: &Settings,
    format: Format,
    wait: bool,
    context: &Context,
) -> Result<u8, Error> {
    let state = StateDir::of(&manifest.root);
    let mut stop = StopRequests::install(None)?;
    let mut child = start(settings, &state, context)?;
    let (client, status) = match reached(&mut child, manifest, &mut stop).await? {
        Reached::Up(client, status) => (client, *status),
        Reached::Ended(code) => {
            // In its own words, which are those of a run in the foreground.
            let words = files::read(&state.path().join(LOG)).unwrap_or_default();
            output::complain(&words, context.color)?;
            return Ok(code);
        }
        Reached::Left(signal) => return Ok(signal.exit_code()),
    };
    if !wait {
        let text = format!(
            "devctl (pid {}) brings the stack up\n  devctl wait     waits until it is ready\n  devctl attach   shows \
             it\n  devctl down     stops it\n",
            status.pid
        );
        output::print(&text, context.color)?;
        return Ok(0);
    }
    let follow = Follow {
        manifest: Some(manifest),
        selection: &settings.selection,
        format,
        until: Until::Up,
        from: 1,
        settled: false,
        ours: true,
    };
    follow::run(&client, &status, follow, stop, context).await
}

/// Where a supervisor in the background complains.
const LOG: &str = "supervisor.log";

fn start(settings: &Settings, state: &StateDir, context: &Context) -> Result<Child, Error> {
    let log = state.path().join(LOG);
    let cannot_write = |error| prepare::cannot_write(state.path(), format!("cannot write `{}`", log.display()), error);
    state.make().map_err(cannot_write)?;
    let errors = OpenOptions::new().create(true).write(true).truncate(true).open(&log).map_err(cannot_write)?;
    let program = env::current_exe().map_err(|error| Error::io("cannot tell where devctl itself is", error))?;
    let mut args: Vec<OsString> = context.request.args();
    if let Some(text) = &context.request.standard_input {
        // Its own standard input holds the settings, and it may have to read the files again.
        let kept = state.path().join("standard-input.yaml");
        let cannot_write =
            |error| prepare::cannot_write(state.path(), format!("cannot write `{}`", kept.display()), error);
        files::write_atomic(&kept, text, true).map_err(cannot_write)?;
        args.extend(["--standard-input".into(), kept.into_os_string()]);
    }
    args.push("supervise".into());
    let input = serde_json::to_vec(settings).expect("settings are plain data");
    background::start(Background { program: &program, args, input: &input, errors })
        .map_err(|error| Error::io("cannot start devctl in the background", error))
}

enum Reached {
    Up(Client, Box<Status>),
    /// It has ended before it could be asked anything, with this exit code.
    Ended(u8),
    /// Somebody would not wait: it was told to end and did, or nobody sees it any more and it goes on.
    Left(Signal),
}

/// Waits until the supervisor answers, or has ended.
async fn reached(child: &mut Child, manifest: &Manifest, stop: &mut StopRequests) -> Result<Reached, Error> {
    let pid = child.id();
    let mut asked = None;
    loop {
        tokio::select! {
            biased;
            Some(signal) = stop.asked.recv() => {
                if signal == Signal::Hup {
                    return Ok(Reached::Left(signal));
                }
                asked.get_or_insert(signal);
                // It has no socket yet to be asked at. One that is gone needs no signal.
                if let Some(supervisor) = pid.and_then(process::look) {
                    process::signal(supervisor.id, Kill::Term);
                }
            }
            status = child.wait() => {
                if let Some(signal) = asked {
                    return Ok(Reached::Left(signal));
                }
                let status = status.map_err(|error| Error::io("cannot wait for devctl in the background", error))?;
                return Ok(Reached::Ended(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
            }
            connected = Client::connect(&manifest.root), if asked.is_none() => {
                match connected {
                    Ok((client, status)) if Some(status.pid) == pid => return Ok(Reached::Up(client, Box::new(status))),
                    // Somebody else's, on its way out; or nobody's yet.
                    Ok(_) | Err(_) => {}
                }
            }
        }
        if asked.is_none() {
            tokio::time::sleep(LOOK).await;
        }
    }
}
