//! Looking at the engine: what of a project is there, who publishes a port, what a run left behind. Changes nothing.
//!
//! Containers are found by Compose's labels, so that what `docker compose` started is found as well.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bollard::Docker as Client;
use bollard::errors::Error as Call;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as State};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};
use futures_util::future::try_join_all;
use futures_util::try_join;

use super::error::{self, Error};
use super::spec::{Observed, ObservedContainer};
use super::{Docker, PublishedBy, connect};
use crate::name::{ProjectName, RunId};

pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const IMAGE: &str = "com.docker.compose.image";
pub(super) const SERVICE: &str = "com.docker.compose.service";
pub(super) const NUMBER: &str = "com.docker.compose.container-number";
pub(super) const ONEOFF: &str = "com.docker.compose.oneoff";
pub(super) const CONFIG_HASH: &str = "com.docker.compose.config-hash";
const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
pub(super) const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
pub(super) const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// The label of everything that a run of devctl made.
pub(super) const RUN: &str = "dev.devctl.run";

/// How long the last look of a run may take; an engine that hangs must not keep devctl from ending.
const LAST_LOOK: Duration = Duration::from_secs(5);

type Filters = HashMap<String, Vec<String>>;

fn filter(key: &str, values: impl IntoIterator<Item = String>) -> Filters {
    HashMap::from([(key.to_owned(), values.into_iter().collect())])
}

fn project_label(project: &ProjectName) -> String {
    format!("{PROJECT}={project}")
}

/// Makes an absent thing of a 404.
pub(super) fn found<T>(answer: Result<T, Call>) -> Result<Option<T>, Call> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error::is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn containers(client: &Client, filters: &Filters, all: bool) -> Result<Vec<ContainerSummary>, Call> {
    let options = ListContainersOptionsBuilder::default().all(all).filters(filters).build();
    client.list_containers(Some(options)).await
}

/// The containers of a service that `up` made, whether or not they run.
pub(super) async fn of_service(docker: &Docker, project: &str, service: &str) -> Result<Vec<ContainerSummary>, Error> {
    let labels = [format!("{PROJECT}={project}"), format!("{SERVICE}={service}"), format!("{ONEOFF}=False")];
    let found = containers(docker.client(), &filter("label", labels), true).await;
    found.map_err(|e| Error::from_call(format!("look for the containers of `{service}`"), e))
}

/// See [`Docker::observe`].
pub(super) async fn observe(
    client: &Client,
    project: &ProjectName,
    networks: &[String],
    volumes: &[String],
    images: &[String],
) -> Result<Observed, Error> {
    let containers = list(client, project);
    let networks = try_join_all(networks.iter().map(async |name| {
        let found = found(client.inspect_network(name, None).await)?;
        // The engine takes the beginning of an id for a name.
        let ours = found.filter(|network| network.name.as_deref() == Some(name)).map(|network| {
            network.labels.is_some_and(|labels| labels.get(PROJECT).is_some_and(|p| p == project.as_str()))
        });
        Ok(ours.map(|ours| (name.clone(), ours)))
    }));
    let volumes = try_join_all(
        volumes.iter().map(async |name| Ok(found(client.inspect_volume(name).await)?.map(|volume| volume.name))),
    );
    let images = try_join_all(images.iter().map(async |reference| {
        let found = found(client.inspect_image(reference).await)?;
        Ok(found.and_then(|image| Some((reference.clone(), image.id?))))
    }));
    let (containers, networks, volumes, images) = try_join!(containers, networks, volumes, images)
        .map_err(|e: Call| Error::from_call("look at the project", e))?;

    // One container stands for a service: the one with the lowest number.
    let mut by_service: BTreeMap<String, (u32, ObservedContainer)> = BTreeMap::new();
    for item in containers {
        let better = by_service.get(&item.container.service).is_none_or(|(number, _)| item.number < *number);
        if better {
            by_service.insert(item.container.service.clone(), (item.number, item.container));
        }
    }
    Ok(Observed {
        containers: by_service.into_iter().map(|(service, (_, container))| (service, container)).collect(),
        networks: networks.into_iter().flatten().collect(),
        volumes: volumes.into_iter().flatten().collect(),
        images: images.into_iter().flatten().collect(),
    })
}

struct Listed {
    number: u32,
    container: ObservedContainer,
}

async fn list(client: &Client, project: &ProjectName) -> Result<Vec<Listed>, Call> {
    let filters = filter("label", [project_label(project), format!("{ONEOFF}=False"), CONFIG_HASH.to_owned()]);
    Ok(containers(client, &filters, true).await?.into_iter().filter_map(listed).collect())
}

/// Reads one line of a listing; `None` for what is no container of a service.
fn listed(summary: ContainerSummary) -> Option<Listed> {
    let labels = summary.labels.unwrap_or_default();
    let label = |key: &str| labels.get(key).cloned();
    let name = summary.names.unwrap_or_default().first()?.trim_start_matches('/').to_owned();
    if is_recreate_temporary(&name) {
        return None;
    }
    let ports: BTreeSet<(String, u16, u16)> = summary
        .ports
        .unwrap_or_default()
        .into_iter()
        .filter_map(|port| Some((port.ip.unwrap_or_default(), port.public_port?, port.private_port)))
        .collect();
    Some(Listed {
        number: label(NUMBER).and_then(|number| number.parse().ok()).unwrap_or(1),
        container: ObservedContainer {
            id: summary.id?,
            name,
            service: label(SERVICE)?,
            depends_on: label(DEPENDS_ON).map(|text| dependencies(&text)).unwrap_or_default(),
            running: matches!(summary.state, Some(State::RUNNING | State::RESTARTING | State::PAUSED)),
            config_hash: label(CONFIG_HASH),
            image_id: summary.image_id.unwrap_or_default(),
            ports: ports.into_iter().collect(),
            status: summary.status.unwrap_or_default(),
            run: label(RUN),
            working_dir: label(WORKING_DIR),
        },
    })
}

/// Compose renames the old container while it makes the new one: `0123456789ab_shop-db-1`.
pub(super) fn is_recreate_temporary(name: &str) -> bool {
    name.split_once('_')
        .is_some_and(|(id, _)| id.len() == 12 && id.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)))
}

/// The services of `db:service_healthy:false,redis:service_started:true`.
fn dependencies(label: &str) -> Vec<String> {
    label.split(',').filter_map(|one| one.split(':').next()).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

/// See [`Docker::list_project`].
pub(super) async fn list_project(docker: &Docker, project: &ProjectName) -> Result<Vec<ObservedContainer>, Error> {
    let listed =
        list(docker.client(), project).await.map_err(|e| Error::from_call("list the project's containers", e))?;
    Ok(in_stop_order(listed).into_iter().map(|item| item.container).collect())
}

/// The containers that a run made, running or not.
pub(super) async fn list_run(docker: &Docker, run: &RunId) -> Result<Vec<ObservedContainer>, Error> {
    list_filtered(docker, &filter("label", [format!("{RUN}={run}")])).await
}

/// The container of exactly that name.
pub(super) async fn list_named(docker: &Docker, name: &str) -> Result<Option<ObservedContainer>, Error> {
    // The filter is a regular expression, and a dot in a name is one too: the answer is looked at again.
    let listed = list_filtered(docker, &filter("name", [format!("^/{name}$")])).await?;
    Ok(listed.into_iter().find(|found| found.name == name))
}

async fn list_filtered(docker: &Docker, filters: &Filters) -> Result<Vec<ObservedContainer>, Error> {
    let found = containers(docker.client(), filters, true).await;
    let found = found.map_err(|e| Error::from_call("list the run's containers", e))?;
    Ok(found.into_iter().filter_map(listed).map(|listed| listed.container).collect())
}

/// The names of the networks that a run made.
pub(super) async fn run_networks(docker: &Docker, run: &RunId) -> Result<Vec<String>, Error> {
    let filters = filter("label", [format!("{RUN}={run}")]);
    networks(docker, &filters).await.map_err(|e| Error::from_call("list the run's networks", e))
}

/// Orders so that dependents come before what they depend on, by name among equals. Labels are other people's text: a
/// cycle among them is broken at the first name rather than refused.
fn in_stop_order(mut listed: Vec<Listed>) -> Vec<Listed> {
    listed.sort_by(|a, b| (&a.container.service, a.number).cmp(&(&b.container.service, b.number)));
    let mut ordered = Vec::with_capacity(listed.len());
    while !listed.is_empty() {
        let free = listed
            .iter()
            .position(|one| {
                let service = &one.container.service;
                !listed.iter().any(|Listed { container: other, .. }| {
                    other.service != *service && other.depends_on.contains(service)
                })
            })
            .unwrap_or(0);
        ordered.push(listed.remove(free));
    }
    ordered
}

/// See [`Docker::project_networks`].
pub(super) async fn project_networks(docker: &Docker, project: &ProjectName) -> Result<Vec<String>, Error> {
    let filters = filter("label", [project_label(project)]);
    networks(docker, &filters).await.map_err(|e| Error::from_call("list the project's networks", e))
}

async fn networks(docker: &Docker, filters: &Filters) -> Result<Vec<String>, Call> {
    let options = ListNetworksOptionsBuilder::default().filters(filters).build();
    let networks = docker.client().list_networks(Some(options)).await?;
    let mut names: Vec<String> = networks.into_iter().filter_map(|network| network.name).collect();
    names.sort();
    Ok(names)
}

/// See [`Docker::project_volumes`].
pub(super) async fn project_volumes(docker: &Docker, project: &ProjectName) -> Result<Vec<String>, Error> {
    let filters = filter("label", [project_label(project)]);
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let answer = docker.client().list_volumes(Some(options)).await;
    let volumes = answer.map_err(|e| Error::from_call("list the project's volumes", e))?.volumes.unwrap_or_default();
    let mut names: Vec<String> = volumes.into_iter().map(|volume| volume.name).collect();
    names.sort();
    Ok(names)
}

/// See [`Docker::publisher`].
pub(super) async fn publisher(docker: &Docker, port: u16) -> Option<PublishedBy> {
    let filters = filter("publish", [port.to_string()]);
    // The filter also finds containers that were to publish the port and do not run.
    let found = containers(docker.client(), &filters, false).await.ok()?;
    let publishes = |summary: &ContainerSummary| {
        summary.ports.iter().flatten().any(|published| published.public_port == Some(port))
    };
    let summary = found.into_iter().find(publishes)?;
    Some(PublishedBy {
        container: summary.names.unwrap_or_default().first()?.trim_start_matches('/').to_owned(),
        project: summary.labels.and_then(|labels| labels.get(PROJECT).cloned()),
    })
}

/// The names of the containers that mount a volume, running or not.
pub(super) async fn users_of_volume(docker: &Docker, volume: &str) -> Vec<String> {
    let found = containers(docker.client(), &filter("volume", [volume.to_owned()]), true).await.unwrap_or_default();
    let mut names: Vec<String> = found
        .into_iter()
        .filter_map(|summary| Some(summary.names?.first()?.trim_start_matches('/').to_owned()))
        .collect();
    names.sort();
    names
}

/// See [`Docker::leftovers`] and [`Docker::left_running`].
pub(super) async fn leftovers(docker: &Docker, run: &RunId, only_running: bool) -> Vec<String> {
    let filters = filter("label", [format!("{RUN}={run}")]);
    let networks = async { if only_running { Ok(Vec::new()) } else { networks(docker, &filters).await } };
    let look = async { try_join!(containers(docker.client(), &filters, !only_running), networks) };
    let reason = match tokio::time::timeout(LAST_LOOK, look).await {
        Ok(Ok((containers, networks))) => {
            let mut lines: Vec<String> = containers.into_iter().map(leftover).collect();
            lines.sort();
            lines.extend(networks.into_iter().map(|name| format!("network {name}")));
            return lines;
        }
        Ok(Err(error)) => connect::reason(&error),
        Err(_) => format!("nothing came back within {} s", LAST_LOOK.as_secs()),
    };
    vec![format!(
        "perhaps containers and networks: the Docker Engine does not answer ({reason}); once it does, \
         `docker ps -a --filter label={RUN}={run}` shows them, and the next `devctl up` takes them over"
    )]
}

fn leftover(summary: ContainerSummary) -> String {
    let name = summary.names.unwrap_or_default().first().map(|name| name.trim_start_matches('/').to_owned());
    let name = name.or(summary.id).unwrap_or_default();
    let state = summary.state.map_or_else(|| "state unknown".to_owned(), |state| state.to_string());
    format!("container {name} ({state})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(service: &str, number: u32, depends_on: &[&str]) -> Listed {
        Listed {
            number,
            container: ObservedContainer {
                id: String::new(),
                name: format!("{service}-{number}"),
                service: service.to_owned(),
                depends_on: depends_on.iter().map(|s| (*s).to_owned()).collect(),
                running: true,
                config_hash: None,
                image_id: String::new(),
                ports: Vec::new(),
                status: String::new(),
                run: None,
                working_dir: None,
            },
        }
    }

    fn order(items: Vec<Listed>) -> Vec<String> {
        in_stop_order(items).into_iter().map(|item| item.container.name).collect()
    }

    #[test]
    fn dependents_stop_first() {
        let items =
            vec![item("api", 1, &["db", "redis"]), item("db", 1, &[]), item("redis", 1, &[]), item("web", 1, &["api"])];
        assert_eq!(order(items), ["web-1", "api-1", "db-1", "redis-1"]);
        let items = vec![item("db", 2, &[]), item("db", 1, &[]), item("api", 1, &["db"])];
        assert_eq!(order(items), ["api-1", "db-1", "db-2"]);
    }

    #[test]
    fn labels_that_go_in_a_circle_stop_nothing_from_stopping() {
        assert_eq!(order(vec![item("a", 1, &["b"]), item("b", 1, &["a", "b"])]).len(), 2);
    }

    #[test]
    fn dependencies_are_read_from_composes_label() {
        assert_eq!(dependencies("db:service_healthy:false,redis:service_started:true"), ["db", "redis"]);
        assert!(dependencies("").is_empty());
    }

    #[test]
    fn composes_temporary_names_are_known() {
        assert!(is_recreate_temporary("0123456789ab_shop-db-1"));
        for name in ["shop_db_1", "0123456789a_x", "0123456789AB_x", "0123456789abc_x", "0123456789ab"] {
            assert!(!is_recreate_temporary(name), "{name}");
        }
    }
}
