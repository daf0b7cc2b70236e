//! How the container of `devctl run` differs from the service's own. Pure.

use std::collections::HashMap;
use std::path::Path;

use crate::driver::docker::{ContainerSpec, api};

/// What is asked of a one-off container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Oneoff {
    pub(super) command: Vec<String>,
    pub(super) entrypoint: Option<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) name: Option<String>,
    pub(super) publish: Vec<Mapping>,
    pub(super) service_ports: bool,
    pub(super) use_aliases: bool,
    pub(super) user: Option<String>,
    pub(super) volumes: Vec<String>,
    pub(super) workdir: Option<String>,
    pub(super) cap_add: Vec<String>,
    pub(super) cap_drop: Vec<String>,
    pub(super) remove: bool,
    pub(super) tty: bool,
    pub(super) input: bool,
}

/// A port that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    ip: String,
    host: String,
    /// With its protocol.
    container: String,
}

/// What a container's mounts are read against.
pub(super) struct Place<'a> {
    pub(super) project: &'a str,
    /// The folder that relative paths begin in.
    pub(super) folder: &'a Path,
    pub(super) home: Option<&'a String>,
    /// The project's volumes, by name on the engine.
    pub(super) volumes: Vec<&'a str>,
}

/// Reads `KEY=VALUE`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is written `KEY=VALUE`")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads `80`, `8080:80`, `127.0.0.1:8080:80/udp`.
pub(super) fn mapping(text: &str) -> Result<Mapping, String> {
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let (ip, ports) = match ports.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((ip, ports)) => (ip, ports),
        None => match ports.splitn(3, ':').collect::<Vec<_>>()[..] {
            [ip, _, _] => (ip, &ports[ip.len() + 1..]),
            _ => ("", ports),
        },
    };
    let (host, container) = ports.rsplit_once(':').unwrap_or(("", ports));
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_address = ip.is_empty() || ip.parse::<std::net::IpAddr>().is_ok();
    let is_protocol = matches!(protocol, "tcp" | "udp" | "sctp");
    if !is_port(container) || !(host.is_empty() || host.parse::<u16>().is_ok()) || !is_address || !is_protocol {
        return Err(
            "a port is written `PORT`, `HOST:PORT` or `IP:HOST:PORT`, with `/udp` behind it if need be".to_owned()
        );
    }
    Ok(Mapping { ip: ip.to_owned(), host: host.to_owned(), container: format!("{container}/{protocol}") })
}

impl Oneoff {
    /// The one-off container of a service. `slug` tells it apart from all others.
    pub(super) fn of(
        &self,
        service: &ContainerSpec,
        place: &Place<'_>,
        slug: [u8; 32],
    ) -> Result<ContainerSpec, String> {
        let slug: String = slug.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let mut spec = service.clone();
        let of = spec.service.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = self.name.clone().unwrap_or_else(|| format!("{}-{of}-run-{}", place.project, &slug[..12]));
        // A one-off is not to be taken for the service: it has the names of the service only where that is asked for.
        for (_, endpoint) in &mut spec.networks {
            let mut aliases = vec![name.clone()];
            if self.use_aliases {
                let own = endpoint.aliases.take().unwrap_or_default();
                aliases.extend(own.into_iter().filter(|alias| *alias != service.name));
            }
            endpoint.aliases = Some(aliases);
            // The service's own container has these.
            endpoint.ipam_config = None;
            endpoint.mac_address = None;
        }
        let body = &mut spec.body;
        let labels = body.labels.get_or_insert_default();
        labels.remove("com.docker.compose.container-number");
        labels.insert("com.docker.compose.oneoff".to_owned(), "True".to_owned());
        labels.insert("com.docker.compose.slug".to_owned(), slug);
        labels.extend(self.labels.iter().cloned());
        if let Some(entrypoint) = &self.entrypoint {
            let words = shell_words::split(entrypoint).map_err(|error| format!("--entrypoint: {error}"))?;
            body.entrypoint = Some(if words.is_empty() { vec![String::new()] } else { words });
            body.cmd = None;
        }
        if !self.command.is_empty() {
            body.cmd = Some(self.command.clone());
        }
        let env = body.env.get_or_insert_default();
        for (key, value) in &self.environment {
            env.retain(|variable| variable.split_once('=').map_or(variable.as_str(), |(name, _)| name) != key);
            env.push(format!("{key}={value}"));
        }
        body.user = self.user.clone().or(body.user.take());
        body.working_dir = self.workdir.clone().or(body.working_dir.take());
        body.tty = Some(self.tty);
        body.open_stdin = Some(self.input);
        body.attach_stdin = Some(self.input);
        body.stdin_once = Some(self.input);
        let host = body.host_config.get_or_insert_default();
        host.restart_policy = None;
        host.auto_remove = Some(self.remove);
        if !self.service_ports {
            let mut bindings: api::PortMap = HashMap::new();
            for Mapping { ip, host, container } in &self.publish {
                let binding = api::PortBinding { host_ip: Some(ip.clone()), host_port: Some(host.clone()) };
                bindings.entry(container.clone()).or_default().get_or_insert_default().push(binding);
            }
            let exposed = body.exposed_ports.get_or_insert_default();
            for port in bindings.keys() {
                if !exposed.contains(port) {
                    exposed.push(port.clone());
                }
            }
            host.port_bindings = Some(bindings);
        }
        for volume in &self.volumes {
            match mount(volume, place)? {
                Mount::Bind(bind) => host.binds.get_or_insert_default().push(bind),
                Mount::Unnamed(target) => host.mounts.get_or_insert_default().push(api::Mount {
                    target: Some(target),
                    typ: Some(api::MountType::VOLUME),
                    ..api::Mount::default()
                }),
            }
        }
        for capability in &self.cap_add {
            host.cap_drop.iter_mut().for_each(|drop| drop.retain(|other| other != capability));
            host.cap_add.get_or_insert_default().push(capability.clone());
        }
        for capability in &self.cap_drop {
            host.cap_add.iter_mut().for_each(|add| add.retain(|other| other != capability));
            host.cap_drop.get_or_insert_default().push(capability.clone());
        }
        spec.name = name;
        Ok(spec)
    }
}

enum Mount {
    /// `source:target[:mode]`
    Bind(String),
    /// A volume without a name.
    Unnamed(String),
}

fn mount(text: &str, place: &Place<'_>) -> Result<Mount, String> {
    let Some((source, target)) = text.split_once(':') else { return Ok(Mount::Unnamed(text.to_owned())) };
    if source.is_empty() || !target.starts_with('/') {
        return Err(format!("`{text}` is no mount: it is written `SOURCE:TARGET[:ro]`, with a target from the root"));
    }
    let home = place.home.map(String::as_str).unwrap_or_default();
    let source = if let Some(rest) = source.strip_prefix("~/") {
        format!("{home}/{rest}")
    } else if source == "~" {
        home.to_owned()
    } else if source.starts_with('.') {
        place.folder.join(source).display().to_string()
    } else {
        // One that the files name has the project before its name.
        let ours = format!("{}_{source}", place.project);
        if place.volumes.contains(&ours.as_str()) { ours } else { source.to_owned() }
    };
    Ok(Mount::Bind(format!("{source}:{target}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ContainerSpec {
        let list = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect());
        let label = |key: &str, value: &str| (format!("com.docker.compose.{key}"), value.to_owned());
        let endpoint = api::EndpointSettings { aliases: list(&["p-web-1", "web", "www"]), ..Default::default() };
        ContainerSpec {
            service: Some("web".parse().unwrap()),
            links: Vec::new(),
            external_links: Vec::new(),
            hash: None,
            is_named: false,
            other_hashes: Vec::new(),
            name: "p-web-1".to_owned(),
            platform: None,
            networks: vec![("p_default".to_owned(), endpoint)],
            body: api::ContainerCreateBody {
                cmd: list(&["serve"]),
                entrypoint: list(&["/entry"]),
                env: list(&["A=1", "B=2"]),
                exposed_ports: list(&["80/tcp"]),
                labels: Some([label("oneoff", "False"), label("container-number", "1")].into()),
                host_config: Some(api::HostConfig {
                    port_bindings: Some([("80/tcp".to_owned(), None)].into()),
                    binds: list(&["p_data:/data"]),
                    cap_add: list(&["NET_ADMIN"]),
                    restart_policy: Some(api::RestartPolicy::default()),
                    ..Default::default()
                }),
                ..Default::default()
            },
        }
    }

    fn of(oneoff: &Oneoff) -> ContainerSpec {
        let home = "/home/me".to_owned();
        let place = Place { project: "p", folder: Path::new("/src/p"), home: Some(&home), volumes: vec!["p_data"] };
        oneoff.of(&service(), &place, [0xab; 32]).unwrap()
    }

    #[test]
    fn a_oneoff_is_not_taken_for_the_service() {
        let spec = of(&Oneoff::default());
        assert_eq!(spec.name, "p-web-run-abababababab");
        assert_eq!(spec.label("com.docker.compose.oneoff"), Some("True"));
        assert_eq!(spec.label("com.docker.compose.slug").map(str::len), Some(64));
        assert_eq!(spec.label("com.docker.compose.container-number"), None);
        assert_eq!(spec.networks[0].1.aliases.as_deref().unwrap(), ["p-web-run-abababababab"]);
        let host = spec.body.host_config.unwrap();
        assert_eq!((host.port_bindings.unwrap().len(), host.restart_policy), (0, None));
        assert_eq!(spec.body.cmd.unwrap(), ["serve"]);
    }

    #[test]
    fn what_is_asked_for_stands_in_place_of_what_the_service_has() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let spec = of(&Oneoff {
            command: words(&["sh", "-c", "true"]),
            environment: vec![("B".to_owned(), "3".to_owned()), ("C".to_owned(), String::new())],
            name: Some("mine".to_owned()),
            publish: vec![mapping("127.0.0.1:8080:80/udp").unwrap(), mapping("81").unwrap()],
            use_aliases: true,
            user: Some("1000".to_owned()),
            volumes: words(&["./x:/x", "~/y:/y:ro", "data:/d", "other:/o", "/unnamed"]),
            cap_drop: words(&["NET_ADMIN"]),
            remove: true,
            ..Oneoff::default()
        });
        assert_eq!((spec.name.as_str(), spec.body.user.as_deref()), ("mine", Some("1000")));
        assert_eq!(spec.body.env.unwrap(), ["A=1", "B=3", "C="]);
        assert_eq!(spec.body.cmd.unwrap(), ["sh", "-c", "true"]);
        assert_eq!(spec.networks[0].1.aliases.as_deref().unwrap(), ["mine", "web", "www"]);
        let host = spec.body.host_config.unwrap();
        assert_eq!(host.binds.unwrap(), ["p_data:/data", "/src/p/./x:/x", "/home/me/y:/y:ro", "p_data:/d", "other:/o"]);
        assert_eq!(host.mounts.unwrap()[0].target.as_deref(), Some("/unnamed"));
        assert_eq!((host.cap_add.unwrap(), host.cap_drop.unwrap()), (vec![], words(&["NET_ADMIN"])));
        assert_eq!(host.auto_remove, Some(true));
        let bindings = host.port_bindings.unwrap();
        let udp = bindings["80/udp"].as_ref().unwrap();
        assert_eq!((udp[0].host_ip.as_deref(), udp[0].host_port.as_deref()), (Some("127.0.0.1"), Some("8080")));
        assert!(bindings.contains_key("81/tcp"));

        let spec = of(&Oneoff { entrypoint: Some("sh -c 'echo hi'".to_owned()), ..Oneoff::default() });
        assert_eq!(spec.body.entrypoint.unwrap(), ["sh", "-c", "echo hi"]);
        assert_eq!(spec.body.cmd, None, "the service's command was for its own entrypoint");
    }

    #[test]
    fn ports_are_read_as_compose_reads_them() {
        for (text, ip, host, container) in [
            ("80", "", "", "80/tcp"),
            ("8080:80", "", "8080", "80/tcp"),
            ("127.0.0.1::80/udp", "127.0.0.1", "", "80/udp"),
            ("[::1]:8080:80", "::1", "8080", "80/tcp"),
        ] {
            let expected = Mapping { ip: ip.to_owned(), host: host.to_owned(), container: container.to_owned() };
            assert_eq!(mapping(text), Ok(expected), "{text}");
        }
        for wrong in ["", "x", "0", "80:", "99999:80", "nowhere:1:2", "80/icmp", "1:2:3:4"] {
            mapping(wrong).expect_err(wrong);
        }
    }
}
