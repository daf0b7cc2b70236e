//! Containers: created from a [`ContainerSpec`] without a change, stopped, removed.
//!
//! What is sent here is what `docker compose` sends for the same file, so that either tool takes the other's containers
//! for its own.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HealthConfig, HostConfig, Mount as MountModel,
    MountType, NetworkConnectRequest, NetworkingConfig, PortBinding as PortModel, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum as Policy,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::error::{self, Error};
use super::observe::{IMAGE, RUN, found};
use super::running::is_alive;
use super::spec::{ContainerSpec, Healthcheck, MountSource, NetworkAttachment};
use super::{Docker, image};
use crate::driver::StartContext;
use crate::event::Action;
use crate::name::ServiceName;

/// How long a removal that somebody else began may take.
const REMOVAL: Duration = Duration::from_secs(30);

/// What the engine waits before it kills, where a container says nothing.
const ENGINE_GRACE: Duration = Duration::from_secs(10);

/// What becomes of volumes without a name when their container is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// They go with it: nothing could ever find them again.
    Remove,
    /// They stay: the container is replaced, and the data in them may be all there is.
    Keep,
}

pub(super) async fn inspect(docker: &Docker, name: &str) -> Result<Option<ContainerInspectResponse>, Error> {
    found(docker.client().inspect_container(name, None).await)
        .map_err(|e| Error::from_call(format!("look at the container `{name}`"), e))
}

pub(super) async fn create(docker: &Docker, spec: &ContainerSpec, cx: &StartContext) -> Result<(), Error> {
    match cx.action {
        Action::Keep | Action::Adopt | Action::Start | Action::Expect => return Ok(()),
        Action::Create => {}
        Action::Replace => {
            if let Some(existing) = &cx.existing {
                stop(docker, existing).await?;
                remove(docker, existing, Unnamed::Keep).await?;
            }
        }
    }
    let Some(image) = image::id(docker, &spec.image).await? else {
        return Err(Error::ImageMissing { image: spec.image.clone(), may_pull: true });
    };
    let several = docker.speaks(1, 44);
    let mut body = body(spec, several)?;
    let labels = body.labels.get_or_insert_default();
    labels.insert(IMAGE.to_owned(), image);
    labels.insert(RUN.to_owned(), cx.run.to_string());
    // Engines before 25 take one network here; the others are joined before the start.
    let (at_once, later) =
        spec.networks.split_at(if several { spec.networks.len() } else { spec.networks.len().min(1) });
    if spec.network_mode.is_none() && !at_once.is_empty() {
        let endpoints = at_once.iter().map(|network| (network.name.clone(), endpoint(spec, network))).collect();
        body.networking_config = Some(NetworkingConfig { endpoints_config: Some(endpoints) });
    }
    let options = CreateContainerOptionsBuilder::default()
        .name(&spec.name)
        .platform(spec.platform.as_deref().unwrap_or_default())
        .build();
    let created = match docker.client().create_container(Some(options), body).await {
        Ok(created) => created,
        Err(error) => return Err(explain_create(docker, spec, error).await),
    };
    if spec.network_mode.is_none() {
        for network in later {
            let request =
                NetworkConnectRequest { container: created.id.clone(), endpoint_config: Some(endpoint(spec, network)) };
            if let Err(error) = docker.client().connect_network(&network.name, request).await {
                // A container that lacks a network must not be found and started by the next run.
                remove(docker, &created.id, Unnamed::Remove).await?;
                return Err(Error::from_call(format!("join `{}` to the network `{}`", spec.name, network.name), error));
            }
        }
    }
    Ok(())
}

async fn explain_create(docker: &Docker, spec: &ContainerSpec, error: bollard::errors::Error) -> Error {
    let container = spec.name.clone();
    let message = error_message(&error);
    match error::status(&error) {
        Some(409) => match inspect(docker, &spec.name).await {
            Ok(Some(theirs)) => {
                let labels = theirs.config.and_then(|config| config.labels);
                Error::NameTaken { name: container, owner: error::owner(labels.as_ref()) }
            }
            Ok(None) => Error::from_call(format!("create the container `{container}`"), error),
            Err(other) => other,
        },
        Some(404) if message.to_lowercase().contains("no such image") => {
            Error::ImageMissing { image: spec.image.clone(), may_pull: true }
        }
        Some(400) => Error::BadContainer { container, message },
        _ => Error::from_call(format!("create the container `{container}`"), error),
    }
}

fn error_message(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        other => other.to_string(),
    }
}

/// The settings of a network the container joins, with the names that Compose gives it there.
fn endpoint(spec: &ContainerSpec, network: &NetworkAttachment) -> EndpointSettings {
    let own = std::iter::once(spec.name.as_str()).chain(spec.service.as_ref().map(ServiceName::as_str));
    let mut aliases: Vec<String> = Vec::new();
    for alias in own.chain(network.aliases.iter().map(String::as_str)) {
        if !aliases.iter().any(|there| there == alias) {
            aliases.push(alias.to_owned());
        }
    }
    EndpointSettings { aliases: Some(aliases), ..EndpointSettings::default() }
}

/// Every field is named, so that a new one cannot be forgotten.
fn body(spec: &ContainerSpec, has_start_interval: bool) -> Result<ContainerCreateBody, Error> {
    let ContainerSpec {
        service: _,
        name,
        image,
        command,
        entrypoint,
        environment,
        ports,
        expose,
        mounts,
        networks,
        network_mode,
        healthcheck,
        labels,
        restart,
        user,
        working_dir,
        hostname,
        init,
        stop_signal,
        stop_grace_period,
        tty,
        stdin_open,
        privileged,
        read_only,
        cap_add,
        cap_drop,
        extra_hosts,
        sysctls,
        ulimits,
        shm_size,
        mem_limit,
        platform: _,
    } = spec;

    let mut exposed: Vec<String> = expose.iter().map(|port| with_protocol(port)).collect();
    let mut bindings: HashMap<String, Option<Vec<PortModel>>> = HashMap::new();
    for port in ports {
        let key = format!("{}/{}", port.container_port, port.protocol);
        if !exposed.contains(&key) {
            exposed.push(key.clone());
        }
        bindings.entry(key).or_default().get_or_insert_default().push(PortModel {
            host_ip: Some(port.host_ip.map(|ip| ip.to_string()).unwrap_or_default()),
            host_port: Some(port.host_port.map(|port| port.to_string()).unwrap_or_default()),
        });
    }

    let mut binds = Vec::new();
    let mut unnamed = Vec::new();
    let mut tmpfs = HashMap::new();
    for mount in mounts {
        let mode = if mount.read_only { "ro" } else { "rw" };
        match &mount.source {
            MountSource::Volume(source) | MountSource::Bind(source) => {
                binds.push(format!("{source}:{}:{mode}", mount.target));
            }
            MountSource::Tmpfs => {
                tmpfs.insert(mount.target.clone(), if mount.read_only { "ro" } else { "" }.to_owned());
            }
            MountSource::Anonymous => unnamed.push(MountModel {
                target: Some(mount.target.clone()),
                typ: Some(MountType::VOLUME),
                read_only: Some(mount.read_only),
                ..MountModel::default()
            }),
        }
    }

    let host = HostConfig {
        binds: some(binds),
        mounts: some(unnamed),
        tmpfs: (!tmpfs.is_empty()).then_some(tmpfs),
        network_mode: network_mode.clone().or_else(|| networks.first().map(|network| network.name.clone())),
        port_bindings: (!bindings.is_empty()).then_some(bindings),
        restart_policy: restart_policy(name, restart.as_ref())?,
        init: *init,
        privileged: Some(*privileged),
        readonly_rootfs: Some(*read_only),
        cap_add: some(cap_add.clone()),
        cap_drop: some(cap_drop.clone()),
        extra_hosts: some(extra_hosts.clone()),
        sysctls: (!sysctls.is_empty()).then(|| sysctls.clone().into_iter().collect()),
        ulimits: some(
            ulimits
                .iter()
                .map(|(name, soft, hard)| ResourcesUlimits {
                    name: Some(name.clone()),
                    soft: Some(*soft),
                    hard: Some(*hard),
                })
                .collect(),
        ),
        shm_size: *shm_size,
        memory: *mem_limit,
        ..HostConfig::default()
    };

    Ok(ContainerCreateBody {
        hostname: hostname.clone(),
        user: user.clone(),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        exposed_ports: some(exposed),
        tty: Some(*tty),
        open_stdin: Some(*stdin_open),
        env: some(environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        cmd: command.clone(),
        healthcheck: healthcheck.as_ref().map(|check| health(check, has_start_interval)),
        image: Some(image.clone()),
        working_dir: working_dir.clone(),
        entrypoint: entrypoint.clone(),
        labels: Some(labels.clone().into_iter().collect()),
        stop_signal: stop_signal.clone(),
        stop_timeout: stop_grace_period.map(whole_seconds),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    })
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn with_protocol(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

/// Rounded up: a grace of half a second must not become none.
pub(super) fn whole_seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn restart_policy(container: &str, restart: Option<&(String, Option<i64>)>) -> Result<Option<RestartPolicy>, Error> {
    let Some((name, count)) = restart else { return Ok(None) };
    let name = match name.as_str() {
        "no" | "" => Policy::NO,
        "always" => Policy::ALWAYS,
        "unless-stopped" => Policy::UNLESS_STOPPED,
        "on-failure" => Policy::ON_FAILURE,
        other => {
            let message = format!("`{other}` is no restart policy");
            return Err(Error::BadContainer { container: container.to_owned(), message });
        }
    };
    Ok(Some(RestartPolicy { name: Some(name), maximum_retry_count: *count }))
}

fn health(check: &Healthcheck, has_start_interval: bool) -> HealthConfig {
    let nanos = |duration: Option<Duration>| duration.map(|d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
    HealthConfig {
        test: check.test.clone(),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        retries: check.retries.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval).filter(|_| has_start_interval),
    }
}

pub(super) async fn stop(docker: &Docker, name: &str) -> Result<(), Error> {
    match inspect(docker, name).await? {
        Some(container) => stop_seen(docker, name, &container).await,
        None => Ok(()),
    }
}

/// Stops a container as it wants to be stopped.
async fn stop_seen(docker: &Docker, name: &str, container: &ContainerInspectResponse) -> Result<(), Error> {
    let own = container.config.as_ref().and_then(|config| config.stop_timeout).and_then(|s| u64::try_from(s).ok());
    let grace = own.map_or(ENGINE_GRACE, Duration::from_secs);
    stop_within(docker, name, None, grace).await
}

/// Asks the engine to stop a container; `grace` is told to it where `seconds` is given, and waited for either way.
pub(super) async fn stop_within(
    docker: &Docker,
    name: &str,
    seconds: Option<i32>,
    grace: Duration,
) -> Result<(), Error> {
    let options = seconds.map(|t| StopContainerOptionsBuilder::default().t(t).build());
    match docker.patient(grace).stop_container(name, options).await {
        Ok(()) => Ok(()),
        Err(error) if error::is_absent(&error) => Ok(()),
        Err(error) => Err(Error::from_call(format!("stop the container `{name}`"), error)),
    }
}

/// Removes a container. Never by force, which kills what runs: a database would have to recover at its next start.
pub(super) async fn remove(docker: &Docker, name: &str, unnamed: Unnamed) -> Result<(), Error> {
    let options = RemoveContainerOptionsBuilder::default().v(unnamed == Unnamed::Remove).build();
    let doing = || format!("remove the container `{name}`");
    let mut may_stop = true;
    loop {
        let error = match docker.client().remove_container(name, Some(options.clone())).await {
            Ok(()) => return Ok(()),
            Err(error) if error::is_absent(&error) => return Ok(()),
            Err(error) if error::status(&error) != Some(409) => return Err(Error::from_call(doing(), error)),
            Err(error) => error,
        };
        // It runs, or "removal of container … is already in progress".
        let Some(container) = inspect(docker, name).await? else { return Ok(()) };
        if may_stop && container.state.as_ref().is_some_and(is_alive) {
            stop_seen(docker, name, &container).await?;
            // Once: whoever starts it again and again wants to keep it.
            may_stop = false;
            continue;
        }
        // Somebody else's removal, or our own before a lost connection.
        let options = WaitContainerOptionsBuilder::default().condition("removed").build();
        let mut gone = Box::pin(docker.client().wait_container(name, Some(options)));
        let _ = tokio::time::timeout(REMOVAL, gone.next()).await;
        return match inspect(docker, name).await? {
            None => Ok(()),
            Some(_) => Err(Error::from_call(doing(), error)),
        };
    }
}

/// The ports of the host that a container is to publish, and whether the engine picks any of them.
pub(super) fn published(container: &ContainerInspectResponse) -> (Vec<u16>, bool) {
    let bindings = container.host_config.as_ref().and_then(|host| host.port_bindings.as_ref());
    let mut ports = Vec::new();
    let mut picked = false;
    for binding in bindings.into_iter().flat_map(HashMap::values).flatten().flatten() {
        match binding.host_port.as_deref().unwrap_or_default().parse() {
            Ok(port) if port != 0 => ports.push(port),
            _ => picked = true,
        }
    }
    (ports, picked)
}

/// The ports of the host that a running container does publish.
pub(super) fn bound(container: &ContainerInspectResponse) -> Vec<u16> {
    let ports = container.network_settings.as_ref().and_then(|network| network.ports.as_ref());
    ports
        .into_iter()
        .flat_map(HashMap::values)
        .flatten()
        .flatten()
        .filter_map(|binding| binding.host_port.as_deref()?.parse::<u16>().ok())
        .collect()
}

/// Says why a start failed.
pub(super) async fn explain_start(
    docker: &Docker,
    name: &str,
    published: &[u16],
    error: bollard::errors::Error,
) -> Error {
    let message = error_message(&error);
    let container = name.to_owned();
    match error::status(&error) {
        Some(404) if message.to_lowercase().contains("no such container") => Error::NoSuchContainer { container },
        Some(_) if error::is_port_taken(&message) => {
            let port = error::port_in(&message, published);
            let owner = match port {
                Some(port) => docker.publisher(port).await,
                None => None,
            };
            let owner = owner.map(|owner| match owner.project {
                Some(project) => format!("the container `{}` of the project `{project}`", owner.container),
                None => format!("the container `{}`", owner.container),
            });
            Error::PortTaken { container, port, owner, message }
        }
        Some(_) => Error::StartFailed { container, message },
        None => Error::from_call(format!("start the container `{name}`"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::docker::{Mount, PortBinding};

    fn sent(spec: &ContainerSpec) -> serde_json::Value {
        serde_json::to_value(body(spec, false).unwrap()).unwrap()
    }

    #[test]
    fn a_container_is_sent_as_compose_sends_it() {
        let port = |host_port| PortBinding {
            host_ip: Some("127.0.0.1".parse().unwrap()),
            host_port,
            container_port: 5432,
            protocol: "tcp".to_owned(),
        };
        let mount = |source, target: &str, read_only| Mount { source, target: target.to_owned(), read_only };
        let spec = ContainerSpec {
            name: "shop-db-1".to_owned(),
            image: "pg:16".to_owned(),
            environment: [("A".to_owned(), "b=c".to_owned())].into_iter().collect(),
            ports: vec![port(Some(5432)), port(None)],
            expose: vec!["99".to_owned(), "5432/tcp".to_owned()],
            mounts: vec![
                mount(MountSource::Volume("shop_data".to_owned()), "/data", false),
                mount(MountSource::Bind("/srv/x".to_owned()), "/x", true),
                mount(MountSource::Tmpfs, "/tmp", false),
                mount(MountSource::Anonymous, "/cache", false),
            ],
            networks: vec![NetworkAttachment { name: "shop_default".to_owned(), aliases: vec![] }],
            healthcheck: Some(Healthcheck {
                test: Some(vec!["CMD".to_owned(), "true".to_owned()]),
                interval: Some(Duration::from_millis(1500)),
                start_interval: Some(Duration::from_secs(1)),
                ..Healthcheck::default()
            }),
            restart: Some(("on-failure".to_owned(), Some(5))),
            stop_grace_period: Some(Duration::from_millis(1500)),
            ulimits: vec![("nofile".to_owned(), 100, 200)],
            shm_size: Some(64 << 20),
            ..ContainerSpec::default()
        };
        insta::assert_json_snapshot!(sent(&spec), @r#"
        {
          "AttachStderr": true,
          "AttachStdout": true,
          "Env": [
            "A=b=c"
          ],
          "ExposedPorts": {
            "5432/tcp": {},
            "99/tcp": {}
          },
          "Healthcheck": {
            "Interval": 1500000000,
            "Test": [
              "CMD",
              "true"
            ]
          },
          "HostConfig": {
            "Binds": [
              "shop_data:/data:rw",
              "/srv/x:/x:ro"
            ],
            "Mounts": [
              {
                "ReadOnly": false,
                "Target": "/cache",
                "Type": "volume"
              }
            ],
            "NetworkMode": "shop_default",
            "PortBindings": {
              "5432/tcp": [
                {
                  "HostIp": "127.0.0.1",
                  "HostPort": "5432"
                },
                {
                  "HostIp": "127.0.0.1",
                  "HostPort": ""
                }
              ]
            },
            "Privileged": false,
            "ReadonlyRootfs": false,
            "RestartPolicy": {
              "MaximumRetryCount": 5,
              "Name": "on-failure"
            },
            "ShmSize": 67108864,
            "Tmpfs": {
              "/tmp": ""
            },
            "Ulimits": [
              {
                "Hard": 200,
                "Name": "nofile",
                "Soft": 100
              }
            ]
          },
          "Image": "pg:16",
          "Labels": {},
          "OpenStdin": false,
          "StopTimeout": 2,
          "Tty": false
        }
        "#);
    }

    #[test]
    fn what_is_not_said_is_not_sent() {
        let spec = ContainerSpec { name: "a".to_owned(), image: "b".to_owned(), ..ContainerSpec::default() };
        insta::assert_json_snapshot!(sent(&spec), @r#"
        {
          "AttachStderr": true,
          "AttachStdout": true,
          "HostConfig": {
            "Privileged": false,
            "ReadonlyRootfs": false
          },
          "Image": "b",
          "Labels": {},
          "OpenStdin": false,
          "Tty": false
        }
        "#);
    }

    #[test]
    fn aliases_are_the_names_of_container_and_service_and_those_given() {
        let spec = ContainerSpec {
            service: Some("db".parse().unwrap()),
            name: "shop-db-1".to_owned(),
            ..ContainerSpec::default()
        };
        let network = NetworkAttachment { name: "n".to_owned(), aliases: vec!["pg".to_owned(), "db".to_owned()] };
        assert_eq!(endpoint(&spec, &network).aliases.unwrap(), ["shop-db-1", "db", "pg"]);
    }

    #[test]
    fn an_unknown_restart_policy_is_refused() {
        let error = restart_policy("a", Some(&("sometimes".to_owned(), None))).unwrap_err();
        assert!(error.to_string().contains("`sometimes` is no restart policy"), "{error}");
    }
}
