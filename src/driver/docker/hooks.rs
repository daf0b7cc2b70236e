//! Lifecycle hooks: commands of a service that are run in its container after its start and before its stop.

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::StreamExt;

use super::Docker;
use super::error::Error;
use super::running::{exec_code, explain_exec};
use super::spec::Hook;
use crate::logs::{LogSink, Stream};

/// Runs hooks one after the other; what they print is the service's output. The first that fails is the last.
pub(super) async fn run(
    docker: &Docker,
    container: &str,
    kind: &'static str,
    hooks: &[Hook],
    logs: &LogSink,
) -> Result<(), Error> {
    for hook in hooks {
        let code = one(docker, container, hook, logs).await?;
        if code != 0 {
            let (container, command) = (container.to_owned(), hook.argv.join(" "));
            return Err(Error::HookFailed { kind, container, command, code });
        }
    }
    Ok(())
}

async fn one(docker: &Docker, container: &str, hook: &Hook, logs: &LogSink) -> Result<i32, Error> {
    let client = docker.client();
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(hook.argv.clone()),
        user: hook.user.clone(),
        privileged: Some(hook.privileged),
        working_dir: hook.working_dir.clone(),
        env: Some(hook.env.clone()),
        ..ExecConfig::default()
    };
    let made = client.create_exec(container, config).await.map_err(|e| explain_exec(container, e))?;
    if let StartExecResults::Attached { mut output, .. } =
        client.start_exec(&made.id, None).await.map_err(|e| explain_exec(container, e))?
    {
        while let Some(piece) = output.next().await {
            match piece.map_err(|e| explain_exec(container, e))? {
                LogOutput::StdErr { message } => logs.write(Stream::Stderr, &message).await,
                LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                    logs.write(Stream::Stdout, &message).await;
                }
            }
        }
    }
    exec_code(docker, container, &made.id).await
}
