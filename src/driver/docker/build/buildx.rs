//! A build by `docker buildx build`, where that is installed: a whole BuildKit with secrets, keys, caches and contexts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::Failure;
use super::output::Output;
use crate::driver::docker::Docker;
use crate::driver::docker::spec::{BuildSecretSource, ImageBuild};

type Env = BTreeMap<String, String>;

/// The plugin's program, by the places in which `docker` looks for it.
pub(super) fn installed(env: &Env) -> Option<PathBuf> {
    let own = env.get("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(Path::new(env.get("HOME")?).join(".docker")));
    let folders = own.into_iter().map(|folder| folder.join("cli-plugins")).chain(
        ["/usr/local/lib/docker", "/usr/local/libexec/docker", "/usr/lib/docker", "/usr/libexec/docker"]
            .map(|folder| Path::new(folder).join("cli-plugins")),
    );
    let name = format!("docker-buildx{}", std::env::consts::EXE_SUFFIX);
    folders.map(|folder| folder.join(&name)).find(|program| program.is_file())
}

/// Builds into the engine. Dropping the future kills the client, and with it the build.
pub(super) async fn build(
    docker: &Docker,
    program: &Path,
    env: Env,
    spec: &ImageBuild,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let gone = |error: std::io::Error| Failure::Build(format!("`{}`: {error}", program.display()));
    let mut child = Command::new(program)
        .args(args(spec))
        .env_clear()
        .envs(env)
        .env("DOCKER_HOST", docker.host())
        .env_remove("DOCKER_CONTEXT")
        .stdin(if spec.inline.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(gone)?;
    if let (Some(text), Some(mut stdin)) = (&spec.inline, child.stdin.take()) {
        // A client that ended early says why on its own.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut first, mut second) = (vec![0; 8192], vec![0; 8192]);
    while stdout.is_some() || stderr.is_some() {
        tokio::select! {
            read = piece(&mut stdout, &mut first) => print(output, &mut stdout, &first, read).await,
            read = piece(&mut stderr, &mut second) => print(output, &mut stderr, &second, read).await,
        }
    }
    let status = child.wait().await.map_err(gone)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Build(format!("`docker buildx build` ended with {status}")))
}

async fn piece(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> std::io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read(buffer).await,
        None => std::future::pending().await,
    }
}

async fn print<P>(output: &mut Output<'_>, pipe: &mut Option<P>, buffer: &[u8], read: std::io::Result<usize>) {
    match read {
        Ok(0) | Err(_) => *pipe = None,
        Ok(length) => output.print(&buffer[..length]).await,
    }
}

fn args(spec: &ImageBuild) -> Vec<String> {
    let mut args: Vec<String> = ["build", "--progress", "plain", "--load"].map(str::to_owned).into();
    let mut add = |name: &str, value: String| args.extend([format!("--{name}"), value]);
    for tag in &spec.tags {
        add("tag", tag.clone());
    }
    let file = match (&spec.inline, super::is_remote(&spec.context)) {
        (Some(_), _) => "-".to_owned(),
        (None, true) => spec.dockerfile.clone(),
        (None, false) => Path::new(&spec.context).join(&spec.dockerfile).display().to_string(),
    };
    add("file", file);
    for (name, value) in &spec.args {
        add("build-arg", format!("{name}={value}"));
    }
    for (name, value) in &spec.labels {
        add("label", format!("{name}={value}"));
    }
    for (name, value) in &spec.contexts {
        add("build-context", format!("{name}={value}"));
    }
    for host in &spec.extra_hosts {
        add("add-host", host.clone());
    }
    for secret in &spec.secrets {
        let source = match &secret.source {
            BuildSecretSource::File(path) => format!("src={path}"),
            BuildSecretSource::Variable(name) => format!("env={name}"),
        };
        add("secret", format!("id={},{source}", secret.id));
    }
    for limit in &spec.ulimits {
        let name = limit.name.as_deref().unwrap_or_default();
        add("ulimit", format!("{name}={}:{}", limit.soft.unwrap_or_default(), limit.hard.unwrap_or_default()));
    }
    let lists = [
        ("ssh", &spec.ssh),
        ("cache-from", &spec.cache_from),
        ("cache-to", &spec.cache_to),
        ("allow", &spec.entitlements),
    ];
    for (name, values) in lists {
        for value in values {
            add(name, value.clone());
        }
    }
    let single = [
        ("target", spec.target.clone()),
        ("network", spec.network.clone()),
        ("shm-size", spec.shm_size.map(|size| size.to_string())),
        ("provenance", spec.provenance.clone()),
        ("sbom", spec.sbom.clone()),
        ("platform", (!spec.platforms.is_empty()).then(|| spec.platforms.join(","))),
    ];
    for (name, value) in single {
        if let Some(value) = value {
            add(name, value);
        }
    }
    args.extend(spec.no_cache.then(|| "--no-cache".to_owned()));
    args.extend(spec.pull.then(|| "--pull".to_owned()));
    args.push(spec.context.clone());
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::docker::spec::BuildSecret;

    #[test]
    fn every_key_has_its_flag() {
        let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
        let spec = ImageBuild {
            context: "/src".to_owned(),
            dockerfile: "docker/Dockerfile".to_owned(),
            tags: words(&["a", "b:1"]),
            args: BTreeMap::from([("V".to_owned(), "1".to_owned())]),
            contexts: BTreeMap::from([("lib".to_owned(), "/lib".to_owned())]),
            secrets: vec![
                BuildSecret { id: "x".to_owned(), source: BuildSecretSource::File("/x".to_owned()) },
                BuildSecret { id: "y".to_owned(), source: BuildSecretSource::Variable("Y".to_owned()) },
            ],
            ssh: words(&["default"]),
            target: Some("dev".to_owned()),
            platforms: words(&["linux/amd64", "linux/arm64"]),
            pull: true,
            ..ImageBuild::default()
        };
        assert_eq!(
            args(&spec).join(" "),
            "build --progress plain --load --tag a --tag b:1 --file /src/docker/Dockerfile --build-arg V=1 \
             --build-context lib=/lib --secret id=x,src=/x --secret id=y,env=Y --ssh default --target dev \
             --platform linux/amd64,linux/arm64 --pull /src"
        );
    }
}
