//! Containers as `docker compose ps` lists them: its fields, its filters. Pure.

use serde::Serialize;
use serde_json::{Map, Value};

use super::super::columns;
use super::super::template::Template;
use crate::driver::docker::{ProjectContainer, PublishedPort};

/// A container by the names that Compose gives its properties.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    command: String,
    created_at: String,
    exit_code: i64,
    health: String,
    #[serde(rename = "ID")]
    id: String,
    image: String,
    labels: String,
    local_volumes: String,
    mounts: String,
    name: String,
    names: String,
    networks: String,
    ports: String,
    project: String,
    publishers: Vec<PublishedPort>,
    running_for: String,
    service: String,
    size: String,
    state: String,
    status: String,
}

impl Listed {
    /// Describes a container; `full`: nothing of it is cut.
    pub(super) fn of(container: &ProjectContainer, full: bool, now: jiff::Timestamp) -> Self {
        let cut = |text: &str, width: usize| if full { text.to_owned() } else { ellipsis(text, width) };
        let created = jiff::Timestamp::from_second(container.created).unwrap_or_default();
        let mounts: Vec<String> = container.mounts.iter().map(|mount| cut(mount, 15)).collect();
        let labels: Vec<String> = container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Self {
            command: format!("{:?}", cut(&container.command, 20)),
            created_at: created.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
            exit_code: exit_code(&container.status),
            health: health(&container.status).to_owned(),
            id: if full { container.id.clone() } else { container.id.chars().take(12).collect() },
            image: container.image.clone(),
            labels: labels.join(","),
            local_volumes: container.local_volumes.to_string(),
            mounts: mounts.join(","),
            name: container.name.clone(),
            names: container.name.clone(),
            networks: container.networks.join(","),
            ports: ports(&container.ports),
            project: container.project.clone(),
            publishers: container.ports.clone(),
            running_for: columns::ago(now.duration_since(created).as_secs().max(0)),
            service: container.service.clone(),
            size: "0B".to_owned(),
            state: container.state.clone(),
            status: container.status.clone(),
        }
    }

    /// The engine's word for its state.
    pub(super) fn state(&self) -> &str {
        &self.state
    }

    /// Its fields by name.
    fn object(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(object)) => object,
            Ok(_) | Err(_) => Map::new(),
        }
    }
}

/// Containers by a template, a line for each; `table`: in columns, below the names of the fields.
pub(super) fn by_template(
    containers: &[ProjectContainer],
    template: &Template,
    table: bool,
    full: bool,
    now: jiff::Timestamp,
) -> Result<String, String> {
    let mut rows = Vec::new();
    for container in containers {
        let label = |name: &str| container.labels.get(name).cloned().unwrap_or_default();
        rows.push(template.fill(&Listed::of(container, full, now).object(), label)?);
    }
    if !table {
        return Ok(super::super::containers::lines(rows.iter().map(String::as_str)));
    }
    let cells = |row: &str| row.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let head = cells(&template.head(title));
    let table: Vec<Vec<String>> = std::iter::once(head).chain(rows.iter().map(|row| cells(row))).collect();
    Ok(columns::render(&table, columns::TEMPLATE))
}

/// The title of a column, in Docker's words.
fn title(field: &str) -> String {
    match field {
        "ID" => "CONTAINER ID".to_owned(),
        "CreatedAt" => "CREATED AT".to_owned(),
        "RunningFor" => "CREATED".to_owned(),
        "ExitCode" => "EXIT CODE".to_owned(),
        "LocalVolumes" => "LOCAL VOLUMES".to_owned(),
        other => other.to_uppercase(),
    }
}

fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// The exit code in `Exited (3) 2 minutes ago`: it saves a question for each container.
fn exit_code(status: &str) -> i64 {
    let code = status.strip_prefix("Exited (").or_else(|| status.strip_prefix("Dead ("));
    code.and_then(|rest| rest.split_once(')')).and_then(|(code, _)| code.parse().ok()).unwrap_or(0)
}

/// The verdict in `Up 2 minutes (healthy)`.
fn health(status: &str) -> &str {
    let Some((_, verdict)) = status.strip_prefix("Up ").and_then(|rest| rest.rsplit_once('(')) else { return "" };
    match verdict.trim_end_matches(')') {
        "health: starting" => "starting",
        verdict @ ("healthy" | "unhealthy") => verdict,
        _ => "",
    }
}

/// `127.0.0.1:8080->80/tcp, 443/tcp`.
fn ports(ports: &[PublishedPort]) -> String {
    let port = |port: &PublishedPort| {
        let PublishedPort { host_ip, container_port, host_port, protocol } = port;
        match (host_port, host_ip.contains(':')) {
            (0, _) => format!("{container_port}/{protocol}"),
            (_, true) => format!("[{host_ip}]:{host_port}->{container_port}/{protocol}"),
            (_, false) => format!("{host_ip}:{host_port}->{container_port}/{protocol}"),
        }
    };
    // Docker's order: those with another number outside come last.
    let is_mapped = |port: &&PublishedPort| port.host_port != 0 && port.host_port != port.container_port;
    let (mapped, others): (Vec<_>, Vec<_>) = ports.iter().partition(is_mapped);
    others.into_iter().chain(mapped).map(port).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_exit_code_and_health() {
        for (status, code, verdict) in [
            ("Exited (3) 2 minutes ago", 3, ""),
            ("Up 2 minutes", 0, ""),
            ("Up 2 minutes (healthy)", 0, "healthy"),
            ("Up Less than a second (health: starting)", 0, "starting"),
            ("Up 3 hours (unhealthy)", 0, "unhealthy"),
            ("Up 3 hours (Paused)", 0, ""),
            ("Created", 0, ""),
        ] {
            assert_eq!((exit_code(status), health(status)), (code, verdict), "{status}");
        }
    }

    #[test]
    fn containers_are_listed_by_a_template() {
        let container = ProjectContainer {
            id: "0123456789abcdef".to_owned(),
            name: "shop-db-1".to_owned(),
            service: "db".to_owned(),
            state: "running".to_owned(),
            command: "docker-entrypoint.sh postgres".to_owned(),
            ports: vec![PublishedPort {
                host_ip: "::".to_owned(),
                container_port: 80,
                host_port: 8080,
                protocol: "tcp".to_owned(),
            }],
            labels: [("team".to_owned(), "a".to_owned())].into(),
            ..ProjectContainer::default()
        };
        let shown = |template: &str, table, full| {
            let template: Template = template.parse().unwrap();
            by_template(std::slice::from_ref(&container), &template, table, full, jiff::Timestamp::UNIX_EPOCH)
        };
        assert_eq!(
            shown("{{.ID}} {{.Name}} {{.Ports}}", false, false).unwrap(),
            "0123456789ab shop-db-1 [::]:8080->80/tcp\n"
        );
        assert_eq!(
            shown("{{.ID}} {{.Command}}", false, true).unwrap(),
            "0123456789abcdef \"docker-entrypoint.sh postgres\"\n"
        );
        assert_eq!(shown("{{.Command}}", false, false).unwrap(), "\"docker-entrypoint.s…\"\n");
        let table = shown("{{.Service}}\\t{{.State}}\\t{{.Label \"team\"}}", true, false).unwrap();
        assert_eq!(table, "SERVICE   STATE     team\ndb        running   a\n");
        shown("{{.Sevrice}}", false, false).expect_err("there is none");
    }
}
