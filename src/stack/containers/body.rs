//! A service to the body by which the engine is asked for its container. What is sent is what `docker compose` sends for
//! the same file, so that either tool takes the other's containers for its own.

use std::collections::HashMap;
use std::time::Duration;

use super::Project;
use super::mounts::Mounts;
use crate::driver::docker::{ContainerSpec, api};
use crate::manifest::compose::{Container, Healthcheck, Ulimit};

impl Project<'_> {
    pub(super) fn container(&self, container: &Container) -> ContainerSpec {
        let name = container.container_name.clone().unwrap_or_else(|| format!("{}-{}-1", self.name, container.name));
        let networks = self.endpoints(container, &name);
        let (exposed, bindings) = ports(container);
        let Mounts { binds, others, tmpfs } = self.mounts(container);
        let primary = networks.first().map(|(name, _)| name.clone());
        let host = api::HostConfig {
            binds: some(binds),
            mounts: some(others),
            tmpfs: (!tmpfs.is_empty()).then_some(tmpfs),
            network_mode: container.network_mode.clone().or(primary),
            port_bindings: (!bindings.is_empty()).then_some(bindings),
            restart_policy: container.restart.as_deref().map(restart_policy),
            init: container.init,
            privileged: Some(container.privileged),
            readonly_rootfs: Some(container.read_only),
            cap_add: some(container.cap_add.clone()),
            cap_drop: some(container.cap_drop.clone()),
            extra_hosts: some(container.extra_hosts.iter().map(|(host, ip)| format!("{host}:{ip}")).collect()),
            sysctls: (!container.sysctls.is_empty()).then(|| container.sysctls.clone().into_iter().collect()),
            ulimits: some(ulimits(container)),
            shm_size: container.shm_size.get(),
            memory: container.mem_limit.get(),
            ..api::HostConfig::default()
        };
        let set = |(name, value): (&String, &Option<String>)| Some(format!("{name}={}", value.as_ref()?));
        let body = api::ContainerCreateBody {
            hostname: container.hostname.clone(),
            user: container.user.clone(),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            exposed_ports: some(exposed),
            tty: Some(container.tty),
            open_stdin: Some(container.stdin_open),
            env: some(container.environment.iter().filter_map(set).collect()),
            cmd: container.command.clone(),
            healthcheck: container.healthcheck.as_ref().map(healthcheck),
            image: Some(container.image.clone()),
            working_dir: container.working_dir.clone(),
            entrypoint: container.entrypoint.clone(),
            labels: Some(self.container_labels(container)),
            stop_signal: container.stop_signal.clone(),
            stop_timeout: container.stop_grace_period.map(whole_seconds),
            host_config: Some(host),
            ..api::ContainerCreateBody::default()
        };
        let platform = container.platform.clone();
        ContainerSpec {
            service: Some(container.name.clone()),
            number: 1,
            name,
            platform,
            body,
            networks,
            ..ContainerSpec::default()
        }
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// The ports that a container listens on, and those that are published.
fn ports(container: &Container) -> (Vec<String>, api::PortMap) {
    let expose = |port: &String| if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
    let mut exposed: Vec<String> = container.expose.iter().map(expose).collect();
    let mut bindings: api::PortMap = HashMap::new();
    for port in &container.ports {
        let key = format!("{}/{}", port.target, port.protocol);
        if !exposed.contains(&key) {
            exposed.push(key.clone());
        }
        bindings.entry(key).or_default().get_or_insert_default().push(api::PortBinding {
            host_ip: Some(port.host_ip.clone().unwrap_or_default()),
            host_port: Some(port.published.as_ref().map(|port| port.0.clone()).unwrap_or_default()),
        });
    }
    (exposed, bindings)
}

fn restart_policy(said: &str) -> api::RestartPolicy {
    use api::RestartPolicyNameEnum as Name;
    let (name, count) = match said.split_once(':') {
        Some((name, count)) => (name, count.parse().ok()),
        None => (said, None),
    };
    let name = match name {
        "always" => Name::ALWAYS,
        "unless-stopped" => Name::UNLESS_STOPPED,
        "on-failure" => Name::ON_FAILURE,
        // The manifest has let nothing else through.
        _ => Name::NO,
    };
    api::RestartPolicy { name: Some(name), maximum_retry_count: count }
}

fn ulimits(container: &Container) -> Vec<api::ResourcesUlimits> {
    let limit = |(name, limit): (&String, &Ulimit)| {
        let (soft, hard) = limit.soft_hard();
        api::ResourcesUlimits { name: Some(name.clone()), soft: Some(soft), hard: Some(hard) }
    };
    container.ulimits.iter().map(limit).collect()
}

fn healthcheck(check: &Healthcheck) -> api::HealthConfig {
    let nanos = |duration: Option<Duration>| duration.map(|d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
    api::HealthConfig {
        test: if check.disable { Some(vec!["NONE".to_owned()]) } else { some(check.test.clone()) },
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        retries: check.retries.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
    }
}

/// Rounded up: a grace of half a second must not become none.
fn whole_seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
