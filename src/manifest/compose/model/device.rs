//! Devices of the host, and how fast they may be used.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Bytes, Extensions};

/// Devices that a container is given by a driver, such as GPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeviceRequest {
    /// What they must be able to do.
    pub capabilities: Vec<String>,
    /// The driver.
    pub driver: Option<String>,
    /// How many; -1 for all.
    pub count: i64,
    /// Which ones.
    pub device_ids: Vec<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

/// A device of the host in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeviceMapping {
    /// Its path on the host, or its name for the container device interface.
    pub source: Option<String>,
    /// Its path in the container.
    pub target: Option<String>,
    /// `r`, `w`, `m`.
    pub permissions: Option<String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// How much a container may read and write.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Blkio {
    /// Its share, from 10 to 1000.
    pub weight: u16,
    /// Its share of single devices.
    pub weight_device: Vec<WeightDevice>,
    /// Bytes read in a second.
    pub device_read_bps: Vec<ThrottleDevice>,
    /// Reads in a second.
    pub device_read_iops: Vec<ThrottleDevice>,
    /// Bytes written in a second.
    pub device_write_bps: Vec<ThrottleDevice>,
    /// Writes in a second.
    pub device_write_iops: Vec<ThrottleDevice>,
}

/// A share of a device. Compose gave its fields no names of their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WeightDevice {
    /// The device.
    #[serde(rename = "Path!")]
    pub path: String,
    /// The share, from 10 to 1000.
    #[serde(rename = "Weight!")]
    pub weight: u16,
}

/// A limit of a device. Compose gave its fields no names of their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ThrottleDevice {
    /// The device.
    #[serde(rename = "Path!")]
    pub path: String,
    /// The limit for a second.
    #[serde(rename = "Rate!")]
    pub rate: Bytes,
}
