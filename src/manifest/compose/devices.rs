//! Devices of a Compose service, and limits of them.

use super::super::node::{Kind, Node};
use super::super::reader::Reader;
use super::model::{Blkio, DeviceMapping, DeviceRequest, Extensions, ThrottleDevice, WeightDevice};
use super::values::extensions;

const BLKIO_KEYS: &[&str] =
    &["weight", "weight_device", "device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops"];
const REQUEST_KEYS: &[&str] = &["capabilities", "driver", "count", "device_ids", "options"];
const MAPPING_KEYS: &[&str] = &["source", "target", "permissions"];

/// Reads `devices`: `/dev/host:/dev/container:rwm`, or a mapping.
pub(super) fn read(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<DeviceMapping>> {
    let mut devices: Vec<DeviceMapping> = Vec::new();
    for item in reader.list(key, node)? {
        let device = match &item.kind {
            Kind::Str(text) => {
                let Some(device) = short(text) else {
                    reader.fail_with(
                        item.mark,
                        format!("`{text}` is no device"),
                        "write `/dev/host`, `/dev/host:/dev/container` or `/dev/host:/dev/container:rwm`",
                    );
                    continue;
                };
                device
            }
            Kind::Map(_) => {
                let Some(table) = reader.table(key, item, MAPPING_KEYS, &[]) else { continue };
                if table.get("source").is_none() && !table.misspelt("source", MAPPING_KEYS) {
                    reader.fail(item.mark, "a device needs a `source`, its path on the host");
                }
                DeviceMapping {
                    source: table.text("source"),
                    target: table.text("target"),
                    permissions: table.text("permissions"),
                    extensions: extensions(table),
                }
            }
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Datetime | Kind::List(_) => {
                reader.wrong(key, item, "a string such as `/dev/fuse` or a mapping");
                continue;
            }
        };
        // The last device of a path wins, in the place of the first, as in Compose.
        match devices.iter_mut().find(|other| other.target == device.target) {
            Some(other) => *other = device,
            None => devices.push(device),
        }
    }
    Some(devices)
}

fn short(text: &str) -> Option<DeviceMapping> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (*source, "", "rwm"),
        [source, target] => (*source, *target, "rwm"),
        [source, target, permissions] => (*source, *target, *permissions),
        _ => return None,
    };
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Some(DeviceMapping {
        source: some(source),
        target: some(if target.is_empty() { source } else { target }),
        permissions: some(permissions),
        extensions: Extensions::default(),
    })
}

/// Reads requests for devices such as GPUs.
pub(super) fn read_requests(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<DeviceRequest>> {
    let mut requests = Vec::new();
    for item in reader.list(key, node)? {
        let Some(table) = reader.table(key, item, REQUEST_KEYS, &[]) else { continue };
        let count = table.read("count", read_count);
        let device_ids = table.texts("device_ids");
        if table.get("count").is_some() && table.get("device_ids").is_some() {
            reader.fail(item.mark, "`count` and `device_ids` exclude each other");
        }
        let all = table.get("count").is_none() && table.get("device_ids").is_none();
        requests.push(DeviceRequest {
            capabilities: table.texts("capabilities"),
            driver: table.text("driver"),
            count: if all { -1 } else { count.unwrap_or_default() },
            device_ids,
            options: table.map("options"),
        });
    }
    Some(requests)
}

fn read_count(reader: Reader<'_>, key: &str, node: &Node) -> Option<i64> {
    match &node.kind {
        Kind::Str(text) if text.eq_ignore_ascii_case("all") => Some(-1),
        Kind::Str(_)
        | Kind::Int(_)
        | Kind::Null
        | Kind::Bool(_)
        | Kind::Float(_)
        | Kind::Datetime
        | Kind::List(_)
        | Kind::Map(_) => reader.integer(key, node, "a whole number or `all`"),
    }
}

/// Reads `gpus`: `all`, or requests.
pub(super) fn read_gpus(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<DeviceRequest>> {
    let Kind::Str(text) = &node.kind else { return read_requests(reader, key, node) };
    if text != "all" {
        reader.not_one_of(key, node.mark, text, ["all"].into_iter());
        return None;
    }
    Some(vec![DeviceRequest { count: -1, ..DeviceRequest::default() }])
}

/// Reads `blkio_config`.
pub(super) fn read_blkio(reader: Reader<'_>, key: &str, node: &Node) -> Option<Blkio> {
    let table = reader.table(key, node, BLKIO_KEYS, &[])?;
    let throttle = |key: &str| table.read(key, read_throttle).unwrap_or_default();
    Some(Blkio {
        weight: table.number("weight"),
        weight_device: table.read("weight_device", read_weights).unwrap_or_default(),
        device_read_bps: throttle("device_read_bps"),
        device_read_iops: throttle("device_read_iops"),
        device_write_bps: throttle("device_write_bps"),
        device_write_iops: throttle("device_write_iops"),
    })
}

fn read_weights(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<WeightDevice>> {
    let tables = reader.list(key, node)?.iter().filter_map(|item| reader.table(key, item, &["path", "weight"], &[]));
    Some(
        tables
            .map(|table| WeightDevice { path: table.text("path").unwrap_or_default(), weight: table.number("weight") })
            .collect(),
    )
}

fn read_throttle(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<ThrottleDevice>> {
    let tables = reader.list(key, node)?.iter().filter_map(|item| reader.table(key, item, &["path", "rate"], &[]));
    Some(
        tables
            .map(|table| ThrottleDevice { path: table.text("path").unwrap_or_default(), rate: table.bytes("rate") })
            .collect(),
    )
}
