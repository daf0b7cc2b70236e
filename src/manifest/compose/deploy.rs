//! The `deploy` of a Compose service. What only Swarm understands is read, shown and hashed, and told of once.

use super::super::node::Node;
use super::super::reader::{Reader, Table};
use super::devices::read_requests;
use super::file::Context;
use super::model::{
    Deploy, DeployRestart, DiscreteResource, GenericResource, Placement, PlacementPreference, Resource, Resources,
    UpdateConfig,
};
use super::values::extensions;

const KEYS: &[&str] = &[
    "mode",
    "replicas",
    "labels",
    "update_config",
    "rollback_config",
    "resources",
    "restart_policy",
    "placement",
    "endpoint_mode",
];
/// What Compose reads and makes no use of.
const SWARM_KEYS: &[&str] = &["update_config", "rollback_config", "placement", "endpoint_mode"];
const UPDATE_KEYS: &[&str] = &["parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order"];
const LIMIT_KEYS: &[&str] = &["cpus", "memory", "pids"];
const RESERVATION_KEYS: &[&str] = &["cpus", "memory", "generic_resources", "devices"];
const RESTART_KEYS: &[&str] = &["condition", "delay", "max_attempts", "window"];
const PLACEMENT_KEYS: &[&str] = &["constraints", "preferences", "max_replicas_per_node"];

pub(super) fn read(reader: Reader<'_>, key: &str, node: &Node, context: &Context<'_>) -> Option<Deploy> {
    let table = reader.table(key, node, KEYS, &[])?;
    for key in SWARM_KEYS {
        if let Some(entry) = table.entry(key) {
            let problem = reader.place(entry.key_mark).problem(format!("`deploy.{key}` is for Swarm"));
            context.notes.push(problem.with_help("it is left out, as Docker Compose does"));
        }
    }
    Some(Deploy {
        mode: table.text("mode"),
        replicas: table.read("replicas", read_count),
        labels: table.map("labels"),
        update_config: table.read("update_config", read_update),
        rollback_config: table.read("rollback_config", read_update),
        resources: table.read("resources", read_resources).unwrap_or_default(),
        restart_policy: table.read("restart_policy", read_restart),
        placement: table.read("placement", read_placement).unwrap_or_default(),
        endpoint_mode: table.text("endpoint_mode"),
        extensions: extensions(table),
    })
}

/// A number of containers.
pub(super) fn read_count(reader: Reader<'_>, key: &str, node: &Node) -> Option<i64> {
    const EXPECTED: &str = "a whole number from 0";
    let count: i64 = reader.integer(key, node, EXPECTED)?;
    if count < 0 {
        reader.fail(node.mark, format!("`{key}` must be {EXPECTED}, but is {count}"));
        return None;
    }
    Some(count)
}

fn whole(reader: Reader<'_>, key: &str, node: &Node) -> Option<u64> {
    reader.integer(key, node, "a whole number from 0")
}

fn read_update(reader: Reader<'_>, key: &str, node: &Node) -> Option<UpdateConfig> {
    let table = reader.table(key, node, UPDATE_KEYS, &[])?;
    // A time of zero is none at all: these are no pointers in Compose.
    let time = |key: &str| table.read(key, Reader::duration).filter(|time| !time.is_zero());
    Some(UpdateConfig {
        parallelism: table.read("parallelism", whole),
        delay: time("delay"),
        failure_action: table.text("failure_action"),
        monitor: time("monitor"),
        max_failure_ratio: table.float("max_failure_ratio"),
        order: table
            .read("order", |r, key, node| {
                r.one_of(key, node, &[("start-first", "start-first"), ("stop-first", "stop-first")])
            })
            .map(str::to_owned),
        extensions: extensions(table),
    })
}

fn read_resources(reader: Reader<'_>, key: &str, node: &Node) -> Option<Resources> {
    let table = reader.table(key, node, &["limits", "reservations"], &[])?;
    Some(Resources {
        limits: table.read("limits", |r, key, node| r.table(key, node, LIMIT_KEYS, &[]).map(read_resource)),
        reservations: table
            .read("reservations", |r, key, node| r.table(key, node, RESERVATION_KEYS, &[]).map(read_resource)),
        extensions: extensions(table),
    })
}

fn read_resource(table: Table<'_, '_>) -> Resource {
    Resource {
        cpus: table.float("cpus"),
        memory: table.bytes("memory"),
        pids: table.number("pids"),
        devices: table.read("devices", read_requests).unwrap_or_default(),
        generic_resources: table.read("generic_resources", read_generic).unwrap_or_default(),
        extensions: extensions(table),
    }
}

fn read_generic(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<GenericResource>> {
    let tables =
        reader.list(key, node)?.iter().filter_map(|item| reader.table(key, item, &["discrete_resource_spec"], &[]));
    let read_discrete = |reader: Reader<'_>, key: &str, node: &Node| {
        let table = reader.table(key, node, &["kind", "value"], &[])?;
        Some(DiscreteResource {
            kind: table.text("kind").unwrap_or_default(),
            value: table.number("value"),
            extensions: extensions(table),
        })
    };
    Some(
        tables
            .map(|table| GenericResource {
                discrete_resource_spec: table.read("discrete_resource_spec", read_discrete),
                extensions: extensions(table),
            })
            .collect(),
    )
}

fn read_restart(reader: Reader<'_>, key: &str, node: &Node) -> Option<DeployRestart> {
    let table = reader.table(key, node, RESTART_KEYS, &[])?;
    Some(DeployRestart {
        condition: table.text("condition"),
        delay: table.read("delay", Reader::duration),
        max_attempts: table.read("max_attempts", whole),
        window: table.read("window", Reader::duration),
        extensions: extensions(table),
    })
}

fn read_placement(reader: Reader<'_>, key: &str, node: &Node) -> Option<Placement> {
    let table = reader.table(key, node, PLACEMENT_KEYS, &[])?;
    let preferences = table.read("preferences", Reader::list).unwrap_or_default();
    let preferences = preferences.iter().filter_map(|item| reader.table("preferences", item, &["spread"], &[]));
    Some(Placement {
        constraints: table.texts("constraints"),
        preferences: preferences
            .map(|table| PlacementPreference { spread: table.text("spread"), extensions: extensions(table) })
            .collect(),
        max_replicas_per_node: table.number("max_replicas_per_node"),
        extensions: extensions(table),
    })
}
