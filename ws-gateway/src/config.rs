//! What the gateway is told by its environment, and the limits it sets itself.

use svc_common::config::{ConfigError, ServiceConfig, Vars};
use svc_common::logging::LogSettings;

use crate::connection::Limits;

/// The configuration of the gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// What both services are told.
    pub service: ServiceConfig,
    /// What a client may take and how long it may take for it.
    pub limits: Limits,
}

impl AsRef<ServiceConfig> for Config {
    fn as_ref(&self) -> &ServiceConfig {
        &self.service
    }
}

impl AsRef<LogSettings> for Config {
    fn as_ref(&self) -> &LogSettings {
        &self.service.log
    }
}

impl Config {
    /// Reads all variables; the error names every one that is wrong.
    pub fn read(mut vars: Vars) -> Result<Self, ConfigError> {
        let service = ServiceConfig::read(&mut vars, 8001);
        vars.finish(Self { service, limits: Limits::default() })
    }
}
