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
use super::observed::{Interrupted, Observed, ObservedContainer, ObservedNetwork, ObservedVolume};
pub(super) use super::spec::{CONFIG_HASH, NUMBER};
use super::{Docker, PublishedBy, connect};
use crate::name::{ProjectName, RunId};

pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const IMAGE: &str = "com.docker.compose.image";
pub(super) const SERVICE: &str = "com.docker.compose.service";
pub(super) const ONEOFF: &str = "com.docker.compose.oneoff";
const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
pub(super) const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
pub(super) const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// The label of what of a container's configuration is what, so that it can be said what changed.
pub(super) const CONFIG_KEYS: &str = "dev.devctl.config-keys";

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
    // Without `oneoff=False`: of those only what has ended is of interest, and one listing costs less than two.
    let all = async { list(client, filter("label", [project_label(project), CONFIG_HASH.to_owned()])).await };
    let images = try_join_all(images.iter().map(async |reference| {
        let found = found(client.inspect_image(reference).await)?;
        Ok(found.and_then(|image| Some((reference.clone(), image.id?))))
    }));
    let (all, networks, volumes, images) =
        try_join!(all, networks_named(client, networks), volumes_named(client, volumes), images)
            .map_err(|e: Call| Error::from_call("look at the project", e))?;
    let Sorted { containers, one_offs, interrupted } = sort(all);
    Ok(Observed {
        containers,
        one_offs,
        interrupted,
        networks,
        volumes,
        images: images.into_iter().flatten().collect(),
    })
}

/// The networks of these names. The engine's filter takes parts of names too, and more than one network may have one.
async fn networks_named(client: &Client, names: &[String]) -> Result<BTreeMap<String, ObservedNetwork>, Call> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let options = ListNetworksOptionsBuilder::default().filters(&filter("name", names.to_vec())).build();
    let mut found = BTreeMap::new();
    for network in client.list_networks(Some(options)).await? {
        let (Some(name), Some(id)) = (network.name, network.id) else { continue };
        if names.contains(&name) {
            let mut labels = network.labels.unwrap_or_default();
            let (project, config_hash) = (labels.remove(PROJECT), labels.remove(CONFIG_HASH));
            found.insert(name, ObservedNetwork { id, project, config_hash });
        }
    }
    Ok(found)
}

/// The volumes of these names.
async fn volumes_named(client: &Client, names: &[String]) -> Result<BTreeMap<String, ObservedVolume>, Call> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let options = ListVolumesOptionsBuilder::default().filters(&filter("name", names.to_vec())).build();
    let found = client.list_volumes(Some(options)).await?.volumes.unwrap_or_default();
    let found = found.into_iter().filter(|volume| names.contains(&volume.name)).map(|mut volume| {
        let (project, config_hash) = (volume.labels.remove(PROJECT), volume.labels.remove(CONFIG_HASH));
        (volume.name, ObservedVolume { project, config_hash })
    });
    Ok(found.collect())
}

/// A container of a listing.
#[derive(Clone, Debug, Default)]
struct Listed {
    container: ObservedContainer,
    one_off: bool,
    ended: bool,
}

/// The containers of a project, told apart.
#[derive(Debug, Default)]
struct Sorted {
    containers: BTreeMap<String, Vec<ObservedContainer>>,
    one_offs: Vec<ObservedContainer>,
    interrupted: Vec<Interrupted>,
}

/// Tells the containers of services from those of single commands, and from what an interrupted recreate left. Of the
/// latter, one that only lacks its name counts as though it had it.
fn sort(all: Vec<Listed>) -> Sorted {
    let mut sorted = Sorted::default();
    let names: Vec<(String, String)> =
        all.iter().map(|one| (one.container.id.clone(), one.container.name.clone())).collect();
    for Listed { mut container, one_off, ended } in all {
        if one_off {
            if ended {
                sorted.one_offs.push(container);
            }
            continue;
        }
        if let Some((old, name)) = recreated(&container.name) {
            let in_the_way = |(id, there): &(String, String)| id.starts_with(old) || there == name;
            let becomes = (!names.iter().any(in_the_way)).then(|| name.to_owned());
            let (id, name) = (container.id.clone(), container.name.clone());
            sorted.interrupted.push(Interrupted { id, name, becomes: becomes.clone() });
            match becomes {
                Some(name) => container.name = name,
                None => continue,
            }
        }
        sorted.containers.entry(container.service.clone()).or_default().push(container);
    }
    for containers in sorted.containers.values_mut() {
        containers.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    }
    sorted
}

async fn list(client: &Client, filters: Filters) -> Result<Vec<Listed>, Call> {
    Ok(containers(client, &filters, true).await?.into_iter().filter_map(listed).collect())
}

/// Reads one line of a listing; `None` for what is no container of a service.
fn listed(summary: ContainerSummary) -> Option<Listed> {
    let labels = summary.labels.unwrap_or_default();
    let label = |key: &str| labels.get(key).cloned();
    let name = summary.names.unwrap_or_default().first()?.trim_start_matches('/').to_owned();
    let ports: BTreeSet<(String, u16, u16)> = summary
        .ports
        .unwrap_or_default()
        .into_iter()
        .filter_map(|port| Some((port.ip.unwrap_or_default(), port.public_port?, port.private_port)))
        .collect();
    let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    Some(Listed {
        one_off: label(ONEOFF).is_some_and(|one_off| one_off == "True"),
        ended: matches!(summary.state, Some(State::EXITED | State::DEAD)),
        container: ObservedContainer {
            id: summary.id?,
            name,
            service: label(SERVICE)?,
            number: label(NUMBER).and_then(|number| number.parse().ok()).unwrap_or(1),
            depends_on: label(DEPENDS_ON).map(|text| dependencies(&text)).unwrap_or_default(),
            running: matches!(summary.state, Some(State::RUNNING | State::RESTARTING | State::PAUSED)),
            config_hash: label(CONFIG_HASH),
            config_keys: label(CONFIG_KEYS),
            image_id: summary.image_id.unwrap_or_default(),
            image_label: label(IMAGE),
            networks: networks
                .into_iter()
                .filter_map(|(name, endpoint)| Some((name, endpoint.network_id?)))
                .filter(|(_, id)| !id.is_empty())
                .collect(),
            volumes: summary.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.name).collect(),
            ports: ports.into_iter().collect(),
            status: summary.status.unwrap_or_default(),
            run: label(RUN),
            working_dir: label(WORKING_DIR),
        },
    })
}

/// Whether a container has the name of one that takes the place of another.
pub(super) fn is_recreate_temporary(name: &str) -> bool {
    recreated(name).is_some()
}

/// Of a name that a container has while it takes the place of another, `0123456789ab_shop-db-1`: the beginning of the
/// other's id, and the name to come.
fn recreated(name: &str) -> Option<(&str, &str)> {
    let (id, name) = name.split_once('_')?;
    let is_id = id.len() == 12 && id.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    (is_id && !name.is_empty()).then_some((id, name))
}

/// The services of `db:service_healthy:false,redis:service_started:true`.
fn dependencies(label: &str) -> Vec<String> {
    label.split(',').filter_map(|one| one.split(':').next()).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

/// See [`Docker::list_project`].
pub(super) async fn list_project(docker: &Docker, project: &ProjectName) -> Result<Vec<ObservedContainer>, Error> {
    let filters = filter("label", [project_label(project), CONFIG_HASH.to_owned(), format!("{ONEOFF}=False")]);
    let listed = list(docker.client(), filters).await;
    let listed = listed.map_err(|e| Error::from_call("list the project's containers", e))?;
    let is_one = |one: &Listed| recreated(&one.container.name).is_none();
    Ok(in_stop_order(listed.into_iter().filter(is_one).map(|one| one.container).collect()))
}

/// See [`Docker::list_all`].
pub(super) async fn list_all(
    docker: &Docker,
    project: &ProjectName,
    one_offs: bool,
) -> Result<Vec<ObservedContainer>, Error> {
    let filters = filter("label", [project_label(project), CONFIG_HASH.to_owned()]);
    let listed = list(docker.client(), filters).await;
    let listed = listed.map_err(|e| Error::from_call("list the project's containers", e))?;
    let listed = listed.into_iter().filter(|one| one_offs || !one.one_off);
    Ok(in_stop_order(listed.map(|one| one.container).collect()))
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
    let found = found.into_iter().filter_map(listed).map(|listed| listed.container);
    // One that was to take the place of another is for the next `up` to finish: what is in it may be in no other.
    Ok(found.filter(|one| recreated(&one.name).is_none()).collect())
}

/// The names of the networks that a run made.
pub(super) async fn run_networks(docker: &Docker, run: &RunId) -> Result<Vec<String>, Error> {
    let filters = filter("label", [format!("{RUN}={run}")]);
    networks(docker, &filters).await.map_err(|e| Error::from_call("list the run's networks", e))
}

/// Orders so that dependents come before what they depend on, by name among equals. Labels are other people's text: a
/// cycle among them is broken at the first name rather than refused.
fn in_stop_order(mut listed: Vec<ObservedContainer>) -> Vec<ObservedContainer> {
    listed.sort_by(|a, b| (&a.service, a.number).cmp(&(&b.service, b.number)));
    let mut ordered = Vec::with_capacity(listed.len());
    while !listed.is_empty() {
        let free = listed
            .iter()
            .position(|one| {
                let service = &one.service;
                !listed.iter().any(|other| other.service != *service && other.depends_on.contains(service))
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

/// The containers that use a network or a volume, running or not.
#[derive(Debug, Default)]
pub(super) struct Users {
    /// The ids of those of the project.
    pub(super) ours: Vec<String>,
    /// The names of the others.
    pub(super) others: Vec<String>,
}

async fn users(docker: &Docker, filters: Filters, project: Option<&str>) -> Result<Users, Error> {
    let found = containers(docker.client(), &filters, true).await;
    let mut users = Users::default();
    for summary in found.map_err(|e| Error::from_call("list containers", e))? {
        let owner = summary.labels.as_ref().and_then(|labels| labels.get(PROJECT));
        let (Some(id), name) = (summary.id, summary.names.unwrap_or_default().into_iter().next()) else { continue };
        if owner.map(String::as_str) == project {
            users.ours.push(id);
        } else {
            users.others.push(name.map_or(id, |name| name.trim_start_matches('/').to_owned()));
        }
    }
    users.others.sort();
    Ok(users)
}

/// The containers that are on a network.
pub(super) async fn users_of_network(docker: &Docker, network: &str, project: Option<&str>) -> Result<Users, Error> {
    users(docker, filter("network", [network.to_owned()]), project).await
}

/// The containers that mount a volume.
pub(super) async fn users_of_volume_in(docker: &Docker, volume: &str, project: Option<&str>) -> Result<Users, Error> {
    users(docker, filter("volume", [volume.to_owned()]), project).await
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

    fn item(service: &str, number: u32, depends_on: &[&str]) -> ObservedContainer {
        ObservedContainer {
            name: format!("{service}-{number}"),
            service: service.to_owned(),
            number,
            depends_on: depends_on.iter().map(|s| (*s).to_owned()).collect(),
            running: true,
            ..ObservedContainer::default()
        }
    }

    fn order(items: Vec<ObservedContainer>) -> Vec<String> {
        in_stop_order(items).into_iter().map(|item| item.name).collect()
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
        assert_eq!(recreated("0123456789ab_shop-db-1"), Some(("0123456789ab", "shop-db-1")));
        for name in ["shop_db_1", "0123456789a_x", "0123456789AB_x", "0123456789abc_x", "0123456789ab", "0123456789ab_"]
        {
            assert_eq!(recreated(name), None, "{name}");
        }
    }

    #[test]
    fn an_interrupted_recreate_is_finished_where_the_old_container_is_gone_and_undone_where_it_is_not() {
        let named = |id: &str, name: &str, number| Listed {
            container: ObservedContainer { id: id.repeat(12), name: name.to_owned(), ..item("db", number, &[]) },
            ..Listed::default()
        };
        let (tmp, old) = ("aaaaaaaaaaaa_shop-db-1", "shop-db-1");
        for (all, becomes, left) in [
            (vec![named("b", tmp, 1)], Some("shop-db-1"), vec!["shop-db-1"]),
            (vec![named("b", tmp, 1), named("a", old, 1)], None, vec!["shop-db-1"]),
            // Somebody has made another one since.
            (vec![named("b", tmp, 1), named("c", old, 1)], None, vec!["shop-db-1"]),
            (vec![named("b", tmp, 1), named("a", "other", 1)], None, vec!["other"]),
        ] {
            let Sorted { containers, interrupted, .. } = sort(all);
            let is = Interrupted { id: "b".repeat(12), name: tmp.to_owned(), becomes: becomes.map(str::to_owned) };
            assert_eq!(interrupted, [is]);
            assert_eq!(containers["db"].iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), left);
        }
    }

    #[test]
    fn single_commands_are_no_services_and_the_lowest_number_comes_first() {
        let one = |number, one_off, ended| Listed { container: item("db", number, &[]), one_off, ended };
        let sorted = sort(vec![one(3, false, false), one(1, true, true), one(2, true, false), one(1, false, true)]);
        assert_eq!(sorted.containers["db"].iter().map(|one| one.number).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(sorted.one_offs.len(), 1, "one that runs is somebody's");
    }
}
