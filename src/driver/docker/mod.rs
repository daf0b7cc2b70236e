//! The Docker Engine. The only room that calls it; others fill in the bodies of its API ([`api`]) as plain data.
//!
//! `spec.rs` is the plain data that others hold; everything else here turns it into calls. What a plan decided is in
//! [`StartContext::action`]; this room decides nothing but how to word a failure.

mod archive;
mod build;
mod connect;
mod container;
mod copy;
mod error;
mod examine;
mod fate;
mod files;
mod happenings;
mod hooks;
mod image;
mod leftover;
mod lifecycle;
mod network;
mod observe;
mod observed;
mod oneoff;
mod output;
mod project;
mod recreate;
mod references;
mod running;
mod shell;
mod spec;
mod usage;

pub use copy::{CopyError, CopyHow};
pub use error::{Error, when_gone};
pub use examine::{ContainerImage, Processes, Stats};
pub use happenings::Happening;
pub use image::ImageRemoval;
pub use leftover::TakenDown;
pub use lifecycle::Condition;
pub use observed::{Interrupted, Observed, ObservedContainer, ObservedNetwork, ObservedVolume, Takeover, stop_levels};
pub use oneoff::Attached;
pub use output::LogRange;
pub use project::{
    EngineProject, NeedUntil, Oneoffs, Pick, ProjectContainer, PublishedPort, ServiceNeed, start_levels,
};
pub use shell::{Ended, ShellSpec};
pub use spec::{
    BuildSecret, BuildSecretSource, ConfigHash, ContainerSpec, File, Hook, ImageBuild, ImageSpec, NetworkSpec,
    PullPolicy, StartSpec, VolumeSpec,
};
pub use usage::ContainerUsage;

/// The bodies of the engine's API: plain data that whoever decides what to ask for fills in. Asking is done here alone.
pub use bollard::models as api;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{DriverError, Running, StartContext};
use crate::logs::Secrets;
use crate::logs::read::Remote;
use crate::name::{ProjectName, RunId, ServiceName};

/// A connection to one Docker Engine. Cheap to clone.
#[derive(Clone)]
pub struct Docker {
    inner: Arc<Inner>,
}

struct Inner {
    client: bollard::Docker,
    api: (u32, u32),
    description: String,
    host: String,
    /// Where requests can be made without the library, for what that does not know.
    plain: Option<connect::Plain>,
}

/// What is known of a port that a container publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedBy {
    /// The container's name.
    pub container: String,
    /// The Compose project, where it has one.
    pub project: Option<String>,
}

impl Docker {
    /// Connects as the docker command line would: `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context, the default
    /// socket; and checks that an engine answers and is new enough (API 1.41).
    pub async fn connect(env: &BTreeMap<String, String>) -> Result<Self, Error> {
        connect::connect(env).await
    }

    /// The engine in one line: `Docker Engine 20.10.24 (API 1.41)`.
    pub fn describe(&self) -> &str {
        &self.inner.description
    }

    /// The address the engine was found at, as it was written: `unix:///var/run/docker.sock`.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// Looks at what there is of a project: containers (label `com.docker.compose.project`, with a `config-hash`),
    /// networks and volumes by name, and which of `images` the engine has. One request for each kind, and one for each
    /// image, all at once.
    pub async fn observe(
        &self,
        project: &ProjectName,
        networks: &[String],
        volumes: &[String],
        images: &[String],
    ) -> Result<Observed, Error> {
        observe::observe(self.client(), project, networks, volumes, images).await
    }

    /// [`Docker::connect`] and [`Docker::observe`] at the same time.
    pub async fn connect_and_observe(
        env: &BTreeMap<String, String>,
        project: &ProjectName,
        networks: &[String],
        volumes: &[String],
        images: &[String],
    ) -> Result<(Self, Observed), Error> {
        let look = async |client: &_| observe::observe(client, project, networks, volumes, images).await;
        connect::connect_and_look(env, look).await
    }

    /// All containers of a project by label, in the order in which to stop them: a container comes before those it
    /// depends on (label `com.docker.compose.depends_on`).
    pub async fn list_project(&self, project: &ProjectName) -> Result<Vec<ObservedContainer>, Error> {
        observe::list_project(self, project).await
    }

    /// All containers of a project in that order, those too that a recreate was about to rename; `one_offs`: and those
    /// of single commands.
    pub async fn list_all(&self, project: &ProjectName, one_offs: bool) -> Result<Vec<ObservedContainer>, Error> {
        observe::list_all(self, project, one_offs).await
    }

    /// Ends a recreate that was interrupted: the container gets its name, or goes where it is one too many.
    pub async fn heal(&self, interrupted: &Interrupted) -> Result<(), Error> {
        recreate::heal(self, interrupted).await
    }

    /// The names of the networks that carry a project's label.
    pub async fn project_networks(&self, project: &ProjectName) -> Result<Vec<String>, Error> {
        observe::project_networks(self, project).await
    }

    /// The names of the volumes that carry a project's label.
    pub async fn project_volumes(&self, project: &ProjectName) -> Result<Vec<String>, Error> {
        observe::project_volumes(self, project).await
    }

    /// The images that were built for a project, by their tags.
    pub async fn project_images(&self, project: &ProjectName) -> Result<Vec<String>, Error> {
        image::of_project(self, project).await
    }

    /// Removes an image, where no container uses it.
    pub async fn remove_image(&self, reference: &str) -> Result<ImageRemoval, DriverError> {
        Ok(image::remove(self, reference).await?)
    }

    /// Whether a registry would give the image now; asked through the engine, 8 s at most.
    pub async fn can_pull(&self, reference: &str) -> bool {
        image::can_pull(self, reference).await
    }

    /// The container that publishes a host port, if one does.
    pub async fn publisher(&self, port: u16) -> Option<PublishedBy> {
        observe::publisher(self, port).await
    }

    /// See [`super::Work::Network`].
    pub async fn ensure_network(&self, spec: &NetworkSpec, cx: &StartContext) -> Result<(), DriverError> {
        Ok(network::ensure_network(self, spec, cx).await?)
    }

    /// See [`super::Work::Volume`].
    pub async fn ensure_volume(&self, spec: &VolumeSpec, cx: &StartContext) -> Result<(), DriverError> {
        Ok(network::ensure_volume(self, spec, cx).await?)
    }

    /// See [`super::Work::Image`].
    pub async fn ensure_image(&self, spec: &ImageSpec, cx: &StartContext) -> Result<(), DriverError> {
        Ok(image::ensure(self, spec, cx).await?)
    }

    /// See [`super::Work::Create`]. `cx.action` is `Create`, `Start` (it exists, stopped, leave it), `Replace` (take the
    /// place of the one that `cx.takeover` names), `Expect` (the same, where its image is another one by now) or `Keep`.
    pub async fn create_container(&self, spec: &ContainerSpec, cx: &StartContext) -> Result<(), DriverError> {
        Ok(container::create(self, spec, cx).await?)
    }

    /// See [`super::Work::Container`].
    pub async fn start_container(&self, spec: &StartSpec, cx: &StartContext) -> Result<Running, DriverError> {
        Ok(running::start(self, spec, cx).await?)
    }

    /// Runs a command in a running container with devctl's own terminal or pipes.
    pub async fn shell(&self, container: &str, spec: ShellSpec) -> Result<Ended, Error> {
        shell::run(self, container, spec).await
    }

    /// Starts a command in a running container and leaves it to itself.
    pub async fn shell_detached(&self, container: &str, spec: ShellSpec) -> Result<(), Error> {
        shell::run_detached(self, container, spec).await
    }

    /// Reads the log of a container, by name or id, as far as somebody takes its lines.
    pub fn log(&self, container: &str, service: ServiceName, range: LogRange, secrets: Arc<Secrets>) -> Remote {
        output::log(self.clone(), container.to_owned(), service, range, secrets)
    }

    /// Removes a network; success where it is gone already.
    pub async fn remove_network(&self, name: &str) -> Result<(), DriverError> {
        Ok(network::remove_network(self, name).await?)
    }

    /// Removes a container and its volumes without a name; success where it is gone already. One that runs is stopped
    /// gracefully first, see [`Docker::stop_container`]. Named volumes live on.
    pub async fn remove_container(&self, name: &str) -> Result<(), DriverError> {
        Ok(container::remove_with_inherited(self, name).await?)
    }

    /// Removes a volume; success where it is gone already.
    pub async fn remove_volume(&self, name: &str) -> Result<(), DriverError> {
        Ok(network::remove_volume(self, name).await?)
    }

    /// What a container uses, by name or id.
    pub async fn container_usage(&self, name: &str) -> Result<ContainerUsage, DriverError> {
        Ok(usage::of(self, name).await?)
    }

    /// Stops a container gracefully, by name or id: its own stop signal, its own grace or 10 s. Success where it does
    /// not run or is gone.
    pub async fn stop_container(&self, name: &str) -> Result<(), DriverError> {
        Ok(container::stop(self, name).await?)
    }

    /// The same, within so many seconds where that is not the container's to say.
    pub async fn stop_within(&self, name: &str, seconds: Option<u32>) -> Result<(), DriverError> {
        Ok(container::stop_in(self, name, seconds).await?)
    }

    /// Whether the engine sees the folders of this machine.
    pub fn is_local(&self) -> bool {
        ["unix://", "npipe://"].iter().any(|scheme| self.host().starts_with(scheme))
    }

    /// Connects to the engine that a run used, by the address it wrote down where the environment leads elsewhere now.
    pub async fn connect_again(env: &BTreeMap<String, String>, host: &str) -> Result<Self, Error> {
        match Self::connect(env).await {
            Ok(engine) if engine.host() == host => return Ok(engine),
            Ok(_) | Err(_) => {}
        }
        let mut env = env.clone();
        env.insert("DOCKER_HOST".to_owned(), host.to_owned());
        Self::connect(&env).await
    }

    /// Takes down what dead runs left, dependents first: their containers by label and those they had only started by
    /// name, and their networks. They are stopped gracefully within 5 s and removed; `keep`: stopped and no more.
    pub async fn take_down(&self, runs: &[RunId], started: &[String], keep: bool) -> TakenDown {
        leftover::take_down(self, runs, started, keep).await
    }

    /// See [`super::Drivers::leftovers`].
    pub async fn leftovers(&self, run: &RunId) -> Vec<String> {
        observe::leftovers(self, run, false).await
    }

    /// The same for a run whose containers and networks outlive it on purpose: only what still runs is left.
    pub async fn left_running(&self, run: &RunId) -> Vec<String> {
        observe::leftovers(self, run, true).await
    }

    fn client(&self) -> &bollard::Docker {
        &self.inner.client
    }

    /// A client for one call that may take `longest`: the client's timeout covers the time until the answer begins, and
    /// a graceful stop is answered only when it is over.
    fn patient(&self, longest: Duration) -> bollard::Docker {
        self.inner.client.clone().with_timeout(connect::CALL.max(longest + Duration::from_secs(30)))
    }

    /// Whether the engine speaks at least this API.
    pub fn speaks(&self, major: u32, minor: u32) -> bool {
        self.inner.api >= (major, minor)
    }
}
