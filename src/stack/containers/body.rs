//! A service to the body by which the engine is asked for its container. What is sent is what `docker compose` sends for
//! the same file, so that either tool takes the other's containers for its own.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::mounts::Mounts;
use super::{Project, resources};
use crate::driver::docker::{ConfigHash, ContainerSpec, api};
use crate::manifest::compose::{Container, HashDialect, Healthcheck};
use crate::stack::{ResolveError, hash};

impl Project<'_> {
    pub(super) fn container(&self, container: &Container) -> Result<ContainerSpec, ResolveError> {
        let name = container.container_name.clone().unwrap_or_else(|| format!("{}-{}-1", self.name, container.name));
        let networks = self.endpoints(container, &name);
        let (exposed, bindings) = ports(container);
        let Mounts { binds, others } = self.mounts(container)?;
        let primary = networks.first().map(|(name, _)| name.clone());
        let (security_opt, unconfined) = self.security(container);
        let host = api::HostConfig {
            annotations: map(&container.annotations),
            binds: some(binds),
            mounts: some(others),
            tmpfs: tmpfs(container),
            network_mode: container.network_mode.clone().or(primary),
            ipc_mode: container.ipc.clone(),
            pid_mode: container.pid.clone(),
            uts_mode: container.uts.clone(),
            userns_mode: container.userns_mode.clone(),
            cgroupns_mode: container.cgroup.as_deref().map(cgroup_namespace),
            port_bindings: Some(bindings),
            restart_policy: restart_policy(container),
            init: container.init,
            privileged: Some(container.privileged),
            readonly_rootfs: Some(container.read_only),
            cap_add: some(capabilities(&container.cap_add)),
            cap_drop: some(capabilities(&container.cap_drop)),
            dns: some(container.dns.clone()),
            dns_options: some(container.dns_opt.clone()),
            dns_search: some(container.dns_search.clone()),
            extra_hosts: Some(container.extra_hosts.iter().map(|(host, ip)| format!("{host}:{ip}")).collect()),
            group_add: some(container.group_add.clone()),
            security_opt: some(security_opt),
            masked_paths: unconfined.then(Vec::new),
            readonly_paths: unconfined.then(Vec::new),
            storage_opt: map(&container.storage_opt),
            sysctls: map(&container.sysctls),
            shm_size: container.shm_size.get(),
            volumes_from: some(container.volumes_from.clone()),
            runtime: container.runtime.clone(),
            isolation: container.isolation.as_deref().map(isolation),
            oom_score_adj: (container.oom_score_adj != 0).then_some(container.oom_score_adj),
            log_config: container
                .logging
                .as_ref()
                .map(|logging| api::HostConfigLogConfig { typ: logging.driver.clone(), config: map(&logging.options) }),
            ..resources::limits(container)
        };
        let body = api::ContainerCreateBody {
            hostname: container.hostname.clone(),
            domainname: container.domainname.clone(),
            user: container.user.clone(),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            exposed_ports: some(exposed),
            tty: Some(container.tty),
            open_stdin: Some(container.stdin_open),
            env: some(environment(&container.environment)),
            cmd: container.command.clone(),
            healthcheck: container.healthcheck.as_ref().map(healthcheck),
            image: Some(container.image_name(self.name.as_str())),
            working_dir: container.working_dir.clone(),
            entrypoint: container.entrypoint.clone(),
            network_disabled: (container.network_mode.as_deref() == Some("disabled")).then_some(true),
            labels: Some(self.container_labels(container)),
            stop_signal: container.stop_signal.clone(),
            stop_timeout: container.stop_grace_period.map(whole_seconds),
            host_config: Some(host),
            ..api::ContainerCreateBody::default()
        };
        Ok(ContainerSpec {
            service: Some(container.name.clone()),
            name,
            platform: container.platform.clone(),
            body,
            networks,
            links: container.links.clone(),
            external_links: container.external_links.clone(),
            hash: shared_hash(container),
            is_named: container.container_name.is_some(),
            other_hashes: vec![hash::service(container, HashDialect::V5)],
        })
    }

    /// Options of the security modules, and whether the paths that are hidden from containers are shown to this one.
    fn security(&self, container: &Container) -> (Vec<String>, bool) {
        let (unconfined, others): (Vec<_>, Vec<_>) =
            container.security_opt.iter().partition(|option| *option == "systempaths=unconfined");
        let profile =
            |option: &&String| match option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:")) {
                // The driver reads the file, as the engine wants its text.
                Some(path) if path != "unconfined" && path != "builtin" => {
                    format!("seccomp={}", self.compose.working_dir.join(path).display())
                }
                Some(_) | None => (**option).clone(),
            };
        (others.iter().map(profile).collect(), !unconfined.is_empty())
    }
}

pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// A map that is sent only where there is something in it.
pub(super) fn map(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.clone().into_iter().collect())
}

/// Capabilities as Docker's own client writes them: `CAP_NET_ADMIN`, sorted, each once, and `ALL` alone.
fn capabilities(said: &[String]) -> Vec<String> {
    let full = |said: &String| {
        let name = said.trim().to_uppercase();
        if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
    };
    let mut all: Vec<String> = said.iter().map(full).collect();
    all.sort();
    all.dedup();
    if all.iter().any(|name| name == "ALL") { vec!["ALL".to_owned()] } else { all }
}

/// Variables as the engine takes them. One without a value takes away what the image sets.
pub(super) fn environment(variables: &BTreeMap<String, Option<String>>) -> Vec<String> {
    let variable = |(name, value): (&String, &Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    variables.iter().map(variable).collect()
}

/// What the config hash is made of, where it depends on the containers of other services.
fn shared_hash(container: &Container) -> Option<ConfigHash> {
    // A text that no file has in it.
    const MARK: &str = "\u{7f}devctl\u{7f}";
    let marked = hash::shared(container, |service| Some(format!("{MARK}{service}{MARK}")));
    let text = marked.hashed(HashDialect::V2).compact_json();
    let mut parts = text.split(MARK);
    let mut last = parts.next()?.to_owned();
    let mut pieces = Vec::new();
    while let (Some(service), Some(rest)) = (parts.next(), parts.next()) {
        pieces.push((std::mem::replace(&mut last, rest.to_owned()), service.parse().ok()?));
    }
    let depends = !pieces.is_empty() || marked.volumes_from != container.volumes_from;
    depends.then_some(ConfigHash { pieces, last })
}

/// The ports that a container listens on, and those that are published.
fn ports(container: &Container) -> (Vec<String>, api::PortMap) {
    // As they are written: the engine knows that `80` is `80/tcp`, and Compose sends it so.
    let mut exposed = container.expose.clone();
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

/// `tmpfs:`, each a path with options behind a colon.
fn tmpfs(container: &Container) -> Option<HashMap<String, String>> {
    let divided = |path: &String| {
        let (path, options) = path.split_once(':').unwrap_or((path, ""));
        (path.to_owned(), options.to_owned())
    };
    (!container.tmpfs.is_empty()).then(|| container.tmpfs.iter().map(divided).collect())
}

/// `restart`, or `deploy.restart_policy` where that is said, too.
fn restart_policy(container: &Container) -> Option<api::RestartPolicy> {
    use api::RestartPolicyNameEnum as Name;
    let deployed = container.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref());
    let (name, count) = match (deployed, container.restart.as_deref()) {
        (Some(policy), _) => {
            let count = policy.max_attempts.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
            (policy.condition.as_deref().unwrap_or_default(), count)
        }
        (None, Some(said)) => match said.split_once(':') {
            Some((name, count)) => (name, count.parse().ok()),
            None => (said, None),
        },
        (None, None) => return None,
    };
    let name = match name {
        "always" | "any" => Name::ALWAYS,
        "unless-stopped" => Name::UNLESS_STOPPED,
        "on-failure" => Name::ON_FAILURE,
        "" => Name::EMPTY,
        // The manifest has let nothing else through but `no` and `none`.
        _ => Name::NO,
    };
    Some(api::RestartPolicy { name: Some(name), maximum_retry_count: count })
}

fn cgroup_namespace(said: &str) -> api::HostConfigCgroupnsModeEnum {
    match said {
        "host" => api::HostConfigCgroupnsModeEnum::HOST,
        "private" => api::HostConfigCgroupnsModeEnum::PRIVATE,
        _ => api::HostConfigCgroupnsModeEnum::EMPTY,
    }
}

fn isolation(said: &str) -> api::HostConfigIsolationEnum {
    match said {
        "default" => api::HostConfigIsolationEnum::DEFAULT,
        "process" => api::HostConfigIsolationEnum::PROCESS,
        "hyperv" => api::HostConfigIsolationEnum::HYPERV,
        _ => api::HostConfigIsolationEnum::EMPTY,
    }
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
