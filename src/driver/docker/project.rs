//! The containers of a project as the verbs on containers want them: every one that carries the project's labels, whoever
//! made it. Finds and describes; changes nothing.
//!
//! Compose's own rules: a container of a project has its label and a `config-hash`; one-offs of `run` have
//! `oneoff=True` and no number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{ContainerSummary, MountPoint, PortSummary};
use bollard::query_parameters::ListContainersOptionsBuilder;

use super::Docker;
use super::error::Error;
use super::observe::{CONFIG_FILES, CONFIG_HASH, DEPENDS_ON, NUMBER, ONEOFF, PROJECT, SERVICE, is_recreate_temporary};

/// Which of a project's containers are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// Those that do not run as well.
    pub stopped: bool,
    /// Those of `run`.
    pub oneoffs: Oneoffs,
    /// Of these services; of all where empty.
    pub services: Vec<String>,
}

impl Pick {
    /// Those that run, of these services; of all where there is none.
    pub fn running(services: &[String]) -> Self {
        Self { services: services.to_vec(), ..Self::default() }
    }

    /// Those that run and those that do not, of these services; of all where there is none.
    pub fn all(services: &[String]) -> Self {
        Self { stopped: true, ..Self::running(services) }
    }

    /// With those of `run`.
    #[must_use]
    pub fn with_oneoffs(self) -> Self {
        Self { oneoffs: Oneoffs::Included, ..self }
    }
}

/// Whether one-off containers are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oneoffs {
    /// They are left out.
    #[default]
    LeftOut,
    /// They are among the others.
    Included,
}

/// A container of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectContainer {
    /// The full id.
    pub id: String,
    /// The name, without the leading `/`.
    pub name: String,
    /// The project, by its label.
    pub project: String,
    /// The service, by its label.
    pub service: String,
    /// Which container of the service it is, counted from 1; one-offs have none.
    pub number: Option<u32>,
    /// Whether it was made by `run`.
    pub oneoff: bool,
    /// `running`, `exited`, `created`, `paused`, `restarting`, `removing`, `dead`.
    pub state: String,
    /// One line as `docker ps` shows it: `Up 3 minutes (healthy)`.
    pub status: String,
    /// The image, as it was named.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// The command, as one line.
    pub command: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Its ports, those that are not published among them.
    pub ports: Vec<PublishedPort>,
    /// What is mounted into it: names of volumes, paths of the host.
    pub mounts: Vec<String>,
    /// How many of its volumes the `local` driver keeps.
    pub local_volumes: usize,
    /// The networks it is on.
    pub networks: Vec<String>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// What its service needs, by its label.
    pub needs: Vec<ServiceNeed>,
    /// `com.docker.compose.config-hash`.
    pub config_hash: String,
}

impl ProjectContainer {
    /// Whether there is a process in it, paused or not.
    pub fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "running" | "paused" | "restarting")
    }

    /// Whether it is an old container that a recreation under way has renamed.
    pub fn is_temporary(&self) -> bool {
        is_recreate_temporary(&self.name)
    }
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct PublishedPort {
    /// The address of the host it is published on; empty where it is not published.
    #[serde(rename = "URL")]
    pub host_ip: String,
    /// The port in the container.
    #[serde(rename = "TargetPort")]
    pub container_port: u16,
    /// The port of the host, 0 where it is not published.
    #[serde(rename = "PublishedPort")]
    pub host_port: u16,
    /// `tcp`, `udp`, `sctp`.
    #[serde(rename = "Protocol")]
    pub protocol: String,
}

/// What a service needs of another, as the label of its containers says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNeed {
    /// The service that is needed.
    pub service: String,
    /// Until when to wait for it.
    pub until: NeedUntil,
    /// Whether a restart of it restarts the service that needs it.
    pub restart: bool,
}

/// A condition of `depends_on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeedUntil {
    /// It was started.
    Started,
    /// Its healthcheck passes; of a container without one, that it runs.
    Up,
    /// Its healthcheck passes.
    Healthy,
    /// It ended with exit code 0.
    Completed,
}

/// A project on an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineProject {
    /// Its name.
    pub name: String,
    /// The states of its containers.
    pub states: BTreeMap<String, usize>,
    /// The Compose files it was made of, as its containers tell.
    pub config_files: Option<Vec<String>>,
}

impl Docker {
    /// The containers of a project, by service, then number; one-offs behind the others.
    pub async fn project_containers(&self, project: &str, pick: &Pick) -> Result<Vec<ProjectContainer>, Error> {
        let mut labels = vec![format!("{PROJECT}={project}"), CONFIG_HASH.to_owned()];
        if pick.oneoffs == Oneoffs::LeftOut {
            labels.push(format!("{ONEOFF}=False"));
        }
        if let [service] = pick.services.as_slice() {
            labels.push(format!("{SERVICE}={service}"));
        }
        let found = list(self, labels, pick.stopped, "list the project's containers").await?;
        let mut containers: Vec<ProjectContainer> = found.into_iter().map(describe).collect();
        if !pick.services.is_empty() {
            containers.retain(|container| pick.services.contains(&container.service));
        }
        let key = |c: &ProjectContainer| (c.service.clone(), c.oneoff, c.number, c.name.clone());
        containers.sort_by_key(key);
        Ok(containers)
    }

    /// All projects of the engine that have containers; `stopped`: also those of which nothing runs.
    pub async fn projects(&self, stopped: bool) -> Result<Vec<EngineProject>, Error> {
        let labels = vec![PROJECT.to_owned(), CONFIG_HASH.to_owned()];
        let found = list(self, labels, stopped, "list the engine's projects").await?;
        Ok(projects(found.into_iter().map(describe)))
    }
}

async fn list(
    docker: &Docker,
    labels: Vec<String>,
    all: bool,
    doing: &'static str,
) -> Result<Vec<ContainerSummary>, Error> {
    let filters = HashMap::from([("label".to_owned(), labels)]);
    let options = ListContainersOptionsBuilder::default().all(all).filters(&filters).build();
    docker.client().list_containers(Some(options)).await.map_err(|e| Error::from_call(doing, e))
}

fn projects(containers: impl Iterator<Item = ProjectContainer>) -> Vec<EngineProject> {
    let mut found: BTreeMap<String, EngineProject> = BTreeMap::new();
    for container in containers {
        let project = found.entry(container.project.clone()).or_insert_with(|| EngineProject {
            name: container.project.clone(),
            states: BTreeMap::new(),
            config_files: Some(Vec::new()),
        });
        *project.states.entry(container.state).or_default() += 1;
        // One container that does not tell makes the list unknown, as Compose has it.
        let files = container.labels.get(CONFIG_FILES).map(|text| text.split(',').map(str::to_owned));
        project.config_files = match (project.config_files.take(), files) {
            (Some(mut known), Some(files)) => {
                for file in files {
                    if !known.contains(&file) {
                        known.push(file);
                    }
                }
                Some(known)
            }
            (None, _) | (_, None) => None,
        };
    }
    found.into_values().collect()
}

fn describe(summary: ContainerSummary) -> ProjectContainer {
    let labels: BTreeMap<String, String> = summary.labels.unwrap_or_default().into_iter().collect();
    let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
    // A container that others link to has more names, with a slash in them.
    let names = summary.names.unwrap_or_default();
    let own = names.iter().map(|name| name.trim_start_matches('/')).find(|name| !name.contains('/'));
    let mut networks: Vec<String> =
        summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default().into_keys().collect();
    networks.sort();
    let mounts = summary.mounts.unwrap_or_default();
    ProjectContainer {
        name: own.unwrap_or_default().to_owned(),
        project: label(PROJECT),
        service: label(SERVICE),
        number: label(NUMBER).parse().ok(),
        oneoff: label(ONEOFF) == "True",
        needs: needs(&label(DEPENDS_ON)),
        config_hash: label(CONFIG_HASH),
        id: summary.id.unwrap_or_default(),
        state: summary.state.map(|state| state.to_string()).unwrap_or_default(),
        status: summary.status.unwrap_or_default(),
        image: summary.image.unwrap_or_default(),
        image_id: summary.image_id.unwrap_or_default(),
        command: summary.command.unwrap_or_default(),
        created: summary.created.unwrap_or_default(),
        ports: ports(summary.ports.unwrap_or_default()),
        local_volumes: mounts.iter().filter(|mount| mount.driver.as_deref() == Some("local")).count(),
        mounts: mounts.into_iter().map(mounted).collect(),
        networks,
        labels,
    }
}

fn mounted(mount: MountPoint) -> String {
    mount.name.filter(|name| !name.is_empty()).or(mount.source).unwrap_or_default()
}

fn ports(found: Vec<PortSummary>) -> Vec<PublishedPort> {
    let ports: BTreeSet<PublishedPort> = found
        .into_iter()
        .map(|port| PublishedPort {
            host_ip: port.ip.unwrap_or_default(),
            container_port: port.private_port,
            host_port: port.public_port.unwrap_or_default(),
            protocol: port.typ.map(|protocol| protocol.to_string()).unwrap_or_default(),
        })
        .collect();
    let mut ports: Vec<PublishedPort> = ports.into_iter().collect();
    ports.sort_by_key(|port| port.container_port);
    ports
}

/// Reads `db:service_healthy:false,redis:service_started:true`. What the label leaves out is taken as Compose takes it:
/// the dependency is to be up, and restarts what needs it.
fn needs(label: &str) -> Vec<ServiceNeed> {
    let need = |text: &str| {
        let mut parts = text.split(':');
        let service = parts.next().filter(|service| !service.is_empty())?.to_owned();
        let until = match parts.next() {
            Some("service_started") => NeedUntil::Started,
            Some("service_healthy") => NeedUntil::Healthy,
            Some("service_completed_successfully") => NeedUntil::Completed,
            Some(_) | None => NeedUntil::Up,
        };
        let restart = parts.next().is_none_or(|text| matches!(text, "true" | "True" | "1"));
        Some(ServiceNeed { service, until, restart })
    };
    label.split(',').filter_map(need).collect()
}

/// Sorts services so that each comes after what it needs, in levels that can be started at once. Labels are other
/// people's text: those that go round in a circle make one level.
pub fn start_levels(containers: &[ProjectContainer]) -> Vec<Vec<String>> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in containers {
        let needs = left.entry(&container.service).or_default();
        needs.extend(container.needs.iter().map(|need| need.service.as_str()));
    }
    let mut levels = Vec::new();
    while !left.is_empty() {
        let free =
            |needs: &BTreeSet<&str>, own: &str| !needs.iter().any(|needed| *needed != own && left.contains_key(needed));
        let mut now: Vec<&str> =
            left.iter().filter(|(service, needs)| free(needs, service)).map(|(service, _)| *service).collect();
        if now.is_empty() {
            now = left.keys().copied().collect();
        }
        left.retain(|service, _| !now.contains(service));
        levels.push(now.into_iter().map(str::to_owned).collect());
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(service: &str, depends_on: &str) -> ProjectContainer {
        ProjectContainer { service: service.to_owned(), needs: needs(depends_on), ..ProjectContainer::default() }
    }

    #[test]
    fn needs_are_read_from_composes_label() {
        let need = |service: &str, until, restart| ServiceNeed { service: service.to_owned(), until, restart };
        for (label, expected) in [
            ("", vec![]),
            ("db", vec![need("db", NeedUntil::Up, true)]),
            ("db:service_started", vec![need("db", NeedUntil::Started, true)]),
            (
                "db:service_healthy:false,job:service_completed_successfully:true",
                vec![need("db", NeedUntil::Healthy, false), need("job", NeedUntil::Completed, true)],
            ),
            (",:service_healthy:false", vec![]),
        ] {
            assert_eq!(needs(label), expected, "{label}");
        }
    }

    #[test]
    fn what_is_needed_starts_first() {
        let containers = [
            container("web", "api:service_started:false"),
            container("api", "db:service_healthy:false,cache:service_started:false"),
            container("api", "db:service_healthy:false,cache:service_started:false"),
            container("db", ""),
            container("cache", ""),
        ];
        assert_eq!(start_levels(&containers), [vec!["cache", "db"], vec!["api"], vec!["web"]]);
    }

    #[test]
    fn needs_that_go_in_a_circle_or_nowhere_keep_nothing_from_starting() {
        let containers = [container("a", "b"), container("b", "a,b"), container("c", "gone")];
        assert_eq!(start_levels(&containers), [vec!["c"], vec!["a", "b"]]);
    }

    #[test]
    fn a_project_counts_its_states_and_knows_its_files_or_says_that_it_does_not() {
        let one = |project: &str, state: &str, files: Option<&str>| ProjectContainer {
            project: project.to_owned(),
            state: state.to_owned(),
            labels: files.map(|files| (CONFIG_FILES.to_owned(), files.to_owned())).into_iter().collect(),
            ..ProjectContainer::default()
        };
        let found = projects(
            [
                one("b", "running", Some("/b/compose.yml")),
                one("a", "exited", Some("/a/x.yml,/a/y.yml")),
                one("a", "running", Some("/a/x.yml")),
                one("b", "running", None),
            ]
            .into_iter(),
        );
        let [a, b] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((a.name.as_str(), a.states["exited"], a.states["running"]), ("a", 1, 1));
        assert_eq!(a.config_files.as_deref().unwrap(), ["/a/x.yml", "/a/y.yml"]);
        assert_eq!((b.states["running"], &b.config_files), (2, &None));
    }
}
