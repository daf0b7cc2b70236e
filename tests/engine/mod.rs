//! Real Docker Engines for tests: which there are, an image made on the spot, and a lab that leaves nothing behind.
//!
//! Engines tested are the one that `docker` would use and those of `DEVCTL_TEST_ENGINES`, a list of `DOCKER_HOST`
//! values divided by commas. A machine without any skips, loudly; `DEVCTL_TEST_REQUIRE_DOCKER=1` makes that a failure.

#![allow(clippy::allow_attributes, dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, reason = "this is test code, outside of the tests themselves")]

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions,
};
use devctl::driver::StartContext;
use devctl::driver::docker::{ContainerSpec, Docker, NetworkSpec, StartSpec, VolumeSpec, api};
use devctl::event::{Action, Progress};
use devctl::logs::{Delivery, Hub, LogLine, Subscription};
use devctl::name::{NodeId, ProjectName, RunId, ServiceName};
use futures_util::StreamExt;

/// The image that all tests run: busybox, with all its applets.
pub(crate) const IMAGE: &str = "dkt-busybox:latest";

const PROJECT: &str = "com.docker.compose.project";

/// An environment that leads to one engine.
pub(crate) type Env = BTreeMap<String, String>;

/// The environments of the engines to test, or an empty list after saying why.
pub(crate) async fn engines() -> Vec<Env> {
    let here = devctl::os::env::all();
    let mut candidates = vec![here.clone()];
    for host in here.get("DEVCTL_TEST_ENGINES").map(String::as_str).unwrap_or_default().split(',') {
        if !host.is_empty() {
            let mut env = here.clone();
            env.insert("DOCKER_HOST".to_owned(), host.to_owned());
            candidates.push(env);
        }
    }
    let mut engines = Vec::new();
    for env in candidates {
        match Docker::connect(&env).await {
            Ok(_) => engines.push(env),
            Err(error) => skip(&here, &format!("no Docker Engine: {error}")),
        }
    }
    if busybox().is_none() {
        skip(&here, "no /bin/busybox to make an image of (apt install busybox-static)");
        engines.clear();
    }
    engines
}

fn skip(env: &Env, reason: &str) {
    assert!(
        env.get("DEVCTL_TEST_REQUIRE_DOCKER").is_none_or(|v| v != "1"),
        "DEVCTL_TEST_REQUIRE_DOCKER=1, but {reason}"
    );
    say(&format!("SKIPPED: {reason}"));
}

/// Says something that a passing test shows too: what the print macros write is kept back then.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn busybox() -> Option<PathBuf> {
    [PathBuf::from("/bin/busybox"), PathBuf::from("/usr/bin/busybox")].into_iter().find(|path| path.is_file())
}

/// A bollard client of its own for what the driver has no business with.
pub(crate) fn raw(docker: &Docker) -> bollard::Docker {
    bollard::Docker::connect_with_host(docker.host()).unwrap()
}

/// One import at a time: two would leave an image without a name.
static IMPORT: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Makes [`IMAGE`] from the machine's static busybox, by import: no registry is needed.
pub(crate) async fn have_image(raw: &bollard::Docker) {
    let _alone = IMPORT.lock().await;
    if raw.inspect_image(IMAGE).await.is_ok() {
        return;
    }
    let program = busybox().expect("looked for by `engines`");
    let listed = std::process::Command::new(&program).arg("--list").output().unwrap();
    let applets = String::from_utf8(listed.stdout).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_path_with_name(&program, "bin/busybox").unwrap();
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    for folder in ["tmp/", "data/"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o1777);
        header.set_size(0);
        tar.append_data(&mut header, folder, std::io::empty()).unwrap();
    }
    let (repo, tag) = IMAGE.split_once(':').unwrap();
    let options = CreateImageOptionsBuilder::default().from_src("-").repo(repo).tag(tag).build();
    let body = bollard::body_full(tar.into_inner().unwrap().into());
    let mut steps = raw.create_image(Some(options), Some(body), None);
    while let Some(step) = steps.next().await {
        step.unwrap();
    }
}

static LABS: AtomicU32 = AtomicU32::new(0);

/// A project of its own on one engine. Dropping it removes all that carries the project's label.
pub(crate) struct Lab {
    pub(crate) docker: Docker,
    pub(crate) raw: bollard::Docker,
    pub(crate) hub: Hub,
    pub(crate) project: ProjectName,
    pub(crate) run: RunId,
}

impl Lab {
    pub(crate) async fn open(env: &Env) -> Self {
        let docker = Docker::connect(env).await.unwrap();
        let raw = raw(&docker);
        have_image(&raw).await;
        Self::on(docker, raw)
    }

    pub(crate) fn on(docker: Docker, raw: bollard::Docker) -> Self {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let project = format!("dkt-{}-{number}", std::process::id()).parse().unwrap();
        let run = RunId::from_random(u64::from(std::process::id()) << 16 | u64::from(number));
        Self { docker, raw, hub: Hub::new(None), project, run }
    }

    /// The name of a thing in this lab.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.project)
    }

    pub(crate) fn cx(&self, service: &str, action: Action) -> StartContext {
        self.cx_with(service, action, |_| {})
    }

    pub(crate) fn cx_with(
        &self,
        service: &str,
        action: Action,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> StartContext {
        let service: ServiceName = service.parse().unwrap();
        StartContext {
            node: NodeId::Service(service.clone()),
            run: self.run.clone(),
            action,
            existing: None,
            takeover: None,
            logs: self.hub.sink(&service),
            progress: Arc::new(progress),
        }
    }

    fn labels(&self, extra: &[(&str, &str)]) -> HashMap<String, String> {
        let own = (PROJECT.to_owned(), self.project.to_string());
        let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        std::iter::once(own).chain(extra).collect()
    }

    pub(crate) fn network(&self, key: &str) -> NetworkSpec {
        let name = self.name(key);
        let labels = Some(self.labels(&[("com.docker.compose.network", key)]));
        let body = api::NetworkCreateRequest { name: name.clone(), labels, ..Default::default() };
        NetworkSpec { name, body, external: false }
    }

    pub(crate) fn volume(&self, key: &str) -> VolumeSpec {
        let name = self.name(key);
        let labels = Some(self.labels(&[("com.docker.compose.volume", key)]));
        let body = api::VolumeCreateRequest { name: Some(name.clone()), labels, ..Default::default() };
        VolumeSpec { name, body, external: false }
    }

    /// A container that runs a line of shell, without a network.
    pub(crate) fn container(&self, service: &str, line: &str) -> ContainerSpec {
        ContainerSpec {
            service: Some(service.parse().unwrap()),
            name: self.name(service),
            body: api::ContainerCreateBody {
                image: Some(IMAGE.to_owned()),
                cmd: Some(vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()]),
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                labels: Some(self.labels(&[
                    ("com.docker.compose.service", service),
                    ("com.docker.compose.oneoff", "False"),
                    ("com.docker.compose.container-number", "1"),
                    ("com.docker.compose.config-hash", "0123"),
                    ("com.docker.compose.depends_on", ""),
                ])),
                host_config: Some(api::HostConfig {
                    network_mode: Some("none".to_owned()),
                    ..api::HostConfig::default()
                }),
                ..api::ContainerCreateBody::default()
            },
            ..ContainerSpec::default()
        }
    }

    /// The same with something changed.
    pub(crate) fn container_with(
        &self,
        service: &str,
        line: &str,
        change: impl FnOnce(&mut api::ContainerCreateBody, &mut api::HostConfig),
    ) -> ContainerSpec {
        let mut spec = self.container(service, line);
        let mut host = spec.body.host_config.take().unwrap();
        change(&mut spec.body, &mut host);
        spec.body.host_config = Some(host);
        spec
    }

    pub(crate) fn start_spec(&self, service: &str) -> StartSpec {
        StartSpec {
            name: self.name(service),
            service: service.parse().unwrap(),
            healthcheck: None,
            tty: false,
            files: Vec::new(),
            post_start: Vec::new(),
            pre_stop: Vec::new(),
            is_named: false,
        }
    }

    /// Creates and starts.
    pub(crate) async fn run(&self, spec: &ContainerSpec) -> devctl::driver::Running {
        let service = spec.service.clone().unwrap();
        let cx = self.cx(service.as_str(), Action::Create);
        self.docker.create_container(spec, &cx).await.unwrap();
        self.docker.start_container(&self.start_spec(service.as_str()), &cx).await.unwrap()
    }

    /// What a service printed so far.
    pub(crate) fn lines(&self, service: &str) -> Vec<String> {
        self.hub.tail(&service.parse().unwrap(), 1000).into_iter().map(|line| line.text).collect()
    }

    pub(crate) fn follow(&self) -> Follower {
        Follower { live: self.hub.subscribe(1000), seen: Vec::new() }
    }
}

/// Awaits lines, in whatever order they come: two streams keep no order between them.
pub(crate) struct Follower {
    live: Subscription,
    seen: Vec<LogLine>,
}

impl Follower {
    /// Waits for a line that satisfies, and takes it away.
    pub(crate) async fn line(&mut self, wanted: impl Fn(&LogLine) -> bool) -> LogLine {
        let waiting = async {
            loop {
                if let Some(at) = self.seen.iter().position(&wanted) {
                    return self.seen.remove(at);
                }
                match self.live.recv().await.expect("the hub lives as long as its lab") {
                    Delivery::Lines(lines) => self.seen.extend(lines),
                    Delivery::Dropped(count) => panic!("{count} lines dropped"),
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_mins(1), waiting).await.expect("the line never came")
    }

    pub(crate) async fn text(&mut self, text: &str) -> LogLine {
        self.line(|line| line.text == text).await
    }
}

impl Lab {
    /// Removes all that carries the project's label.
    pub(crate) async fn clear(&self) {
        clear(&self.raw, format!("{PROJECT}={}", self.project)).await;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let raw = self.raw.clone();
        let label = format!("{PROJECT}={}", self.project);
        // A runtime of its own: the test's may be unwinding.
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(clear(&raw, label));
        });
        let _ = cleaner.join();
    }
}

async fn clear(raw: &bollard::Docker, label: String) {
    let filters = HashMap::from([("label".to_owned(), vec![label])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    for container in raw.list_containers(Some(options)).await.unwrap_or_default() {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let _ = raw.remove_container(&container.id.unwrap(), Some(options)).await;
    }
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    for network in raw.list_networks(Some(options)).await.unwrap_or_default() {
        let _ = raw.remove_network(&network.id.unwrap()).await;
    }
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    if let Ok(answer) = raw.list_volumes(Some(options)).await {
        for volume in answer.volumes.unwrap_or_default() {
            let _ = raw.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await;
        }
    }
}
