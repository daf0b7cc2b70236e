//! A build by the engine itself, `POST /build`: with its classic builder, or with the BuildKit that it contains.
//!
//! Asked for by a request of devctl's own where the engine listens on a Unix socket or a plain TCP port, as the library
//! knows neither several `extrahosts` nor BuildKit without a session; by the library elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde::Deserialize;

use super::context::Context;
use super::output::Output;
use super::trace::{self, Said};
use crate::driver::docker::Docker;
use crate::driver::docker::connect::{self, Plain};
use crate::driver::docker::spec::ImageBuild;

/// A line of the engine's answer.
#[derive(Debug, Default, Deserialize)]
struct Line {
    id: Option<String>,
    stream: Option<String>,
    aux: Option<serde_json::Value>,
    error: Option<String>,
    status: Option<String>,
}

/// Why a build did not come to its end, in the engine's words.
pub(super) struct Failed(pub(super) String);

/// What is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builder {
    Classic,
    BuildKit,
}

/// Builds; the answer is read to its end.
pub(super) async fn build(
    docker: &Docker,
    spec: &ImageBuild,
    context: Source,
    builder: Builder,
    output: &mut Output<'_>,
) -> Result<(), Failed> {
    let query = query(spec, &context, builder);
    match &docker.inner.plain {
        Some(plain) => read(ask(docker, plain, &query, context).await?, output).await,
        None => by_library(docker, spec, context, output).await,
    }
}

/// Where the files come from.
pub(super) enum Source {
    /// A folder of this machine, with a Dockerfile's text that stands in for the one in it.
    Folder(Context, Option<String>),
    /// An address that the engine fetches, and the Dockerfile in it.
    Remote(String, String),
}

fn query(spec: &ImageBuild, context: &Source, builder: Builder) -> Vec<(&'static str, String)> {
    let json = |map: &std::collections::BTreeMap<String, String>| {
        serde_json::to_string(map).expect("a map of texts can always be written")
    };
    let mut query = vec![("rm", "1".to_owned()), ("forcerm", "1".to_owned())];
    query.extend(spec.tags.iter().map(|tag| ("t", tag.clone())));
    query.extend(spec.extra_hosts.iter().map(|host| ("extrahosts", host.clone())));
    match context {
        Source::Folder(context, _) => query.push(("dockerfile", context.dockerfile.clone())),
        Source::Remote(address, dockerfile) => {
            query.extend([("remote", address.clone()), ("dockerfile", dockerfile.clone())]);
        }
    }
    if builder == Builder::BuildKit {
        query.push(("version", "2".to_owned()));
    }
    let mut add = |name: &'static str, value: Option<String>| query.extend(value.map(|value| (name, value)));
    add("buildargs", (!spec.args.is_empty()).then(|| json(&spec.args)));
    add("labels", (!spec.labels.is_empty()).then(|| json(&spec.labels)));
    add("target", spec.target.clone());
    add("networkmode", spec.network.clone());
    add("platform", spec.platforms.first().cloned());
    add("shmsize", spec.shm_size.map(|size| size.to_string()));
    add("isolation", spec.isolation.clone());
    add("nocache", spec.no_cache.then(|| "1".to_owned()));
    add("pull", spec.pull.then(|| "1".to_owned()));
    let list = |value: &Vec<String>| serde_json::to_string(value).expect("a list of texts can always be written");
    add("cachefrom", (!spec.cache_from.is_empty()).then(|| list(&spec.cache_from)));
    let ulimits = serde_json::to_string(&spec.ulimits).expect("limits can always be written");
    add("ulimits", (!spec.ulimits.is_empty()).then_some(ulimits));
    query
}

/// Makes the request. The client has no limit of time: a build takes as long as it takes.
async fn ask(
    docker: &Docker,
    plain: &Plain,
    query: &[(&'static str, String)],
    context: Source,
) -> Result<reqwest::Response, Failed> {
    let failed = |error: reqwest::Error| Failed(innermost(&error));
    let (client, authority) = match plain {
        #[cfg(unix)]
        Plain::Unix(socket) => (reqwest::Client::builder().unix_socket(socket.as_path()), "docker"),
        #[cfg(not(unix))]
        Plain::Unix(_) => return Err(Failed("Unix sockets cannot be used here".to_owned())),
        Plain::Tcp(authority) => (reqwest::Client::builder(), authority.as_str()),
    };
    let client = client.no_proxy().build().map_err(failed)?;
    let (major, minor) = docker.inner.api;
    let url = url::Url::parse_with_params(&format!("http://{authority}/v{major}.{minor}/build"), query)
        .map_err(|error| Failed(error.to_string()))?;
    let mut request = client.post(url).header("Content-Type", "application/x-tar");
    if let Source::Folder(context, replaced) = context {
        request = request.body(reqwest::Body::wrap_stream(context.archive(replaced)));
    }
    let answer = request.send().await.map_err(failed)?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let text = answer.text().await.map_err(failed)?;
    let said: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let message = said.as_ref().and_then(|said| said.get("message")?.as_str()).unwrap_or(text.trim());
    Err(Failed(message.to_owned()))
}

/// What lies behind an error, which is what a person can act on.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

async fn read(answer: reqwest::Response, output: &mut Output<'_>) -> Result<(), Failed> {
    let chunks = answer.bytes_stream().map_err(|error| Failed(innermost(&error)));
    let mut lines = std::pin::pin!(lines(chunks));
    while let Some(line) = lines.next().await {
        take(line?, output).await?;
    }
    Ok(())
}

/// Divides an answer into its lines, each a JSON text.
fn lines<B: AsRef<[u8]>>(chunks: impl Stream<Item = Result<B, Failed>>) -> impl Stream<Item = Result<Line, Failed>> {
    let mut pending: Vec<u8> = Vec::new();
    chunks.flat_map(move |chunk| {
        let mut found = Vec::new();
        match chunk {
            Err(failed) => found.push(Err(failed)),
            Ok(chunk) => {
                pending.extend_from_slice(chunk.as_ref());
                while let Some(at) = pending.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = pending.drain(..=at).collect();
                    if !line.trim_ascii().is_empty() {
                        found.push(serde_json::from_slice(&line).map_err(|error| Failed(error.to_string())));
                    }
                }
            }
        }
        futures_util::stream::iter(found)
    })
}

async fn take(line: Line, output: &mut Output<'_>) -> Result<(), Failed> {
    if let Some(error) = line.error {
        return Err(Failed(error.trim().to_owned()));
    }
    if let Some(text) = line.stream {
        // The classic builder marks what a command prints as errors in red.
        let text = text.replace("\u{1b}[91m", "").replace("\u{1b}[0m", "");
        output.print(text.as_bytes()).await;
    }
    match (line.id.as_deref(), line.aux) {
        (Some("moby.buildkit.trace"), Some(serde_json::Value::String(message))) => {
            for said in trace::read(&STANDARD.decode(message).unwrap_or_default()) {
                match said {
                    Said::Step(step) => output.step(step).await,
                    Said::Output(text) => output.print(&text).await,
                }
            }
        }
        (_, Some(aux)) => {
            output.image = aux.get("ID").and_then(|id| id.as_str()).map(str::to_owned).or(output.image.take());
        }
        // What pulling a base says, of which only the beginnings are worth a line.
        (_, None) => {
            if let Some(status) = line.status.filter(|status| status.starts_with("Pulling from")) {
                output.print(format!("{status}\n").as_bytes()).await;
            }
        }
    }
    Ok(())
}

/// The classic builder by the library, for engines that are reached by TLS or a named pipe.
async fn by_library(
    docker: &Docker,
    spec: &ImageBuild,
    context: Source,
    output: &mut Output<'_>,
) -> Result<(), Failed> {
    if spec.extra_hosts.len() > 1 || spec.tags.len() > 1 {
        let what = if spec.tags.len() > 1 { "more than one tag" } else { "more than one `extra_hosts`" };
        return Err(Failed(format!("{what} cannot be passed on to an engine at `{}`", docker.host())));
    }
    let mut options = bollard::query_parameters::BuildImageOptions {
        t: spec.tags.first().cloned(),
        extrahosts: spec.extra_hosts.first().cloned(),
        nocache: spec.no_cache,
        pull: spec.pull.then(|| "1".to_owned()),
        rm: true,
        forcerm: true,
        buildargs: Some(spec.args.clone().into_iter().collect()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        networkmode: spec.network.clone(),
        platform: spec.platforms.first().cloned().unwrap_or_default(),
        target: spec.target.clone().unwrap_or_default(),
        cachefrom: (!spec.cache_from.is_empty()).then(|| spec.cache_from.clone()),
        shmsize: spec.shm_size.and_then(|size| i32::try_from(size).ok()),
        ..bollard::query_parameters::BuildImageOptions::default()
    };
    let body = match context {
        Source::Folder(context, replaced) => {
            options.dockerfile.clone_from(&context.dockerfile);
            bollard::body_try_stream(context.archive(replaced).map_ok(Into::into))
        }
        Source::Remote(address, dockerfile) => {
            (options.remote, options.dockerfile) = (Some(address), dockerfile);
            bollard::body_full(Vec::new().into())
        }
    };
    let mut answer = docker.client().build_image(options, None, Some(body));
    while let Some(info) = answer.next().await {
        let info = info.map_err(|error| {
            Failed(match error {
                bollard::errors::Error::DockerStreamError { error } => error,
                bollard::errors::Error::DockerResponseServerError { message, .. } => message,
                other => connect::reason(&other),
            })
        })?;
        if let Some(text) = info.stream {
            output.print(text.as_bytes()).await;
        }
        output.image = info.aux.and_then(|image| image.id).or(output.image.take());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_divided_into_lines_wherever_it_is_cut() {
        let text = b"{\"stream\":\"Step 1/2 : FROM a\\n\"}\r\n\r\n{\"error\":\"no\"}\r\n";
        for at in 0..text.len() {
            let chunks = [Ok(&text[..at]), Ok(&text[at..])];
            let found: Vec<_> = lines(futures_util::stream::iter(chunks)).collect().await;
            let found: Vec<Line> = found.into_iter().map(|line| line.unwrap_or_else(|f| panic!("{}", f.0))).collect();
            assert_eq!(found.len(), 2);
            assert_eq!(found[0].stream.as_deref(), Some("Step 1/2 : FROM a\n"));
            assert_eq!(found[1].error.as_deref(), Some("no"));
        }
    }
}
