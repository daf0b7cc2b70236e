//! What a container may use: processors, memory, processes, devices.

use super::body::{map, some};
use crate::driver::docker::api;
use crate::manifest::compose::model::{Blkio, Container, DeviceRequest, Resource, ThrottleDevice, Ulimit};

/// The part of a host configuration that says what the container may use. What `deploy.resources` says counts before the
/// older keys.
pub(super) fn limits(container: &Container) -> api::HostConfig {
    let number = |n: i64| (n != 0).then_some(n);
    let (devices, mut requests) = devices(container);
    let gpus =
        container.gpus.iter().map(|gpu| request(gpu, gpu.capabilities.iter().cloned().chain(["gpu".to_owned()])));
    let said = container.deploy.as_ref().map(|deploy| &deploy.resources);
    let none = Resource::default();
    let limits = said.and_then(|said| said.limits.as_ref()).unwrap_or(&none);
    let reservations = said.and_then(|said| said.reservations.as_ref()).unwrap_or(&none);
    let reserved = reservations.devices.iter().map(|device| request(device, device.capabilities.iter().cloned()));
    requests.splice(0..0, reserved);
    requests.extend(gpus);
    let cpus = if limits.cpus == 0.0 { container.cpus } else { limits.cpus };
    let blkio = container.blkio_config.clone().unwrap_or_default();
    api::HostConfig {
        cgroup_parent: container.cgroup_parent.clone(),
        memory: limits.memory.get().or(container.mem_limit.get()),
        memory_swap: container.memswap_limit.get(),
        memory_swappiness: container.mem_swappiness.get(),
        memory_reservation: reservations.memory.get().or(container.mem_reservation.get()),
        oom_kill_disable: Some(container.oom_kill_disable),
        cpu_count: number(container.cpu_count),
        cpu_percent: number(scaled(container.cpu_percent, 100.0)),
        cpu_period: number(container.cpu_period),
        cpu_quota: number(container.cpu_quota),
        cpu_realtime_period: number(container.cpu_rt_period),
        cpu_realtime_runtime: number(container.cpu_rt_runtime),
        cpu_shares: number(container.cpu_shares),
        nano_cpus: number(scaled(cpus, 1e9)),
        cpuset_cpus: container.cpuset.clone(),
        pids_limit: Some(limits.pids).filter(|pids| *pids > 0).or(number(container.pids_limit)),
        device_cgroup_rules: some(container.device_cgroup_rules.clone()),
        devices: some(devices),
        device_requests: some(requests),
        ulimits: some(ulimits(&container.ulimits)),
        ..throttles(&blkio)
    }
}

/// In single precision, as Compose calculates.
#[expect(clippy::cast_possible_truncation, reason = "a share of processors is small, and Compose cuts it, too")]
fn scaled(share: f32, by: f32) -> i64 {
    (share * by) as i64
}

fn throttles(blkio: &Blkio) -> api::HostConfig {
    let devices = |devices: &[ThrottleDevice]| {
        let device = |device: &ThrottleDevice| api::ThrottleDevice {
            path: Some(device.path.clone()),
            rate: Some(device.rate.0),
        };
        some(devices.iter().map(device).collect())
    };
    let weights = blkio.weight_device.iter().map(|device| api::ResourcesBlkioWeightDevice {
        path: Some(device.path.clone()),
        weight: Some(device.weight.into()),
    });
    api::HostConfig {
        blkio_weight: Some(blkio.weight).filter(|weight| *weight != 0),
        blkio_weight_device: some(weights.collect()),
        blkio_device_read_bps: devices(&blkio.device_read_bps),
        blkio_device_read_iops: devices(&blkio.device_read_iops),
        blkio_device_write_bps: devices(&blkio.device_write_bps),
        blkio_device_write_iops: devices(&blkio.device_write_iops),
        ..api::HostConfig::default()
    }
}

/// Devices of the host by path, and those that are named for the container device interface.
fn devices(container: &Container) -> (Vec<api::DeviceMapping>, Vec<api::DeviceRequest>) {
    let (mut mapped, mut named) = (Vec::new(), Vec::new());
    for device in &container.devices {
        match &device.source {
            Some(source) if device.source == device.target && is_device_name(source) => named.push(source.clone()),
            source => mapped.push(api::DeviceMapping {
                path_on_host: source.clone(),
                path_in_container: device.target.clone(),
                cgroup_permissions: device.permissions.clone(),
            }),
        }
    }
    let by_name = |names| api::DeviceRequest {
        driver: Some("cdi".to_owned()),
        device_ids: Some(names),
        ..api::DeviceRequest::default()
    };
    (mapped, some(named).map(by_name).into_iter().collect())
}

/// Whether a device is named as `vendor.com/class=name`, and no path.
fn is_device_name(name: &str) -> bool {
    let Some((kind, device)) = name.split_once('=') else { return false };
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    !vendor.is_empty() && !class.is_empty() && !class.contains('/') && !device.is_empty()
}

fn request(device: &DeviceRequest, capabilities: impl Iterator<Item = String>) -> api::DeviceRequest {
    api::DeviceRequest {
        driver: device.driver.clone(),
        count: (device.count != 0).then_some(device.count),
        device_ids: some(device.device_ids.clone()),
        capabilities: Some(vec![capabilities.collect()]),
        options: map(&device.options),
    }
}

pub(super) fn ulimits(limits: &std::collections::BTreeMap<String, Ulimit>) -> Vec<api::ResourcesUlimits> {
    let limit = |(name, limit): (&String, &Ulimit)| {
        let (soft, hard) = limit.soft_hard();
        api::ResourcesUlimits { name: Some(name.clone()), soft: Some(soft), hard: Some(hard) }
    };
    limits.iter().map(limit).collect()
}
