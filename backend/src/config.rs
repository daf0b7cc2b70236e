//! What the REST API is told by its environment, beyond what both services are told.

use svc_common::config::{ConfigError, Secret, ServiceConfig, Vars};
use svc_common::logging::LogSettings;
use tokio_postgres::config::SslMode;

/// The configuration of the REST API.
#[derive(Debug, Clone)]
pub struct Config {
    /// What both services are told.
    pub service: ServiceConfig,
    /// The database; its debug output hides the password.
    pub database: tokio_postgres::Config,
    /// The key that signed the tokens of people before; tokens it signed are still accepted.
    pub previous_jwt_secret: Option<Secret>,
    /// Whether requests are counted and limited.
    pub rate_limits: bool,
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
        let database = read_database(&mut vars);
        let service = ServiceConfig::read(&mut vars, 8000);
        let previous_jwt_secret = vars.optional_secret("JWT_SECRET_PREVIOUS");
        let rate_limits = vars.read("RATE_LIMITS", "on", parse_switch);
        vars.finish(Self { service, database, previous_jwt_secret, rate_limits })
    }
}

fn parse_switch(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("`{other}` is unknown; use `on` or `off`")),
    }
}

/// Reads where the database is, for what needs nothing else.
pub(crate) fn read_database(vars: &mut Vars) -> tokio_postgres::Config {
    vars.read("DATABASE_URL", "postgresql://postgres:postgres@localhost:5432/menu_ops", parse_database_url)
}

/// Reads a database URL. The reasons never quote the value: it holds a password.
fn parse_database_url(value: &str) -> Result<tokio_postgres::Config, String> {
    let scheme = value.split_once("://").map(|(scheme, _)| scheme);
    if !matches!(scheme, Some("postgresql" | "postgres")) {
        return Err(match scheme.and_then(|scheme| scheme.split_once('+')) {
            Some(("postgresql" | "postgres", _)) => "names a driver before `://`; write `postgresql://`".to_owned(),
            _ => "is not a URL that begins with `postgresql://` (the value is not shown, it may hold a password)"
                .to_owned(),
        });
    }
    for stricter in ["verify-ca", "verify-full", "require"] {
        if value.contains(&format!("sslmode={stricter}")) {
            return Err(format!(
                "asks for TLS (`sslmode={stricter}`), which this build does not speak; use `sslmode=prefer`"
            ));
        }
    }
    let config: tokio_postgres::Config = without_foreign_options(value).parse().map_err(|_| {
        "is not a database URL such as `postgresql://user:password@localhost:5432/menu_ops`; special characters in the \
         password need percent-encoding (the value is not shown, it may hold a password)"
            .to_owned()
    })?;
    if config.get_hosts().is_empty() {
        return Err("names no host; write `postgresql://user:password@localhost:5432/menu_ops`".to_owned());
    }
    debug_assert_ne!(config.get_ssl_mode(), SslMode::Require);
    Ok(config)
}

/// Takes out the options that other clients put into the same URL and this one would refuse.
fn without_foreign_options(url: &str) -> String {
    let Some((base, options)) = url.split_once('?') else { return url.to_owned() };
    let known = |option: &&str| {
        !["schema=", "pgbouncer=", "connection_limit=", "pool_timeout="].iter().any(|name| option.starts_with(name))
            && *option != "sslmode=allow"
    };
    let kept: Vec<_> = options.split('&').filter(known).collect();
    if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_other_clients_work() {
        for url in [
            "postgresql://postgres:postgres@localhost:5432/menu_ops",
            "postgres://u@h/db?schema=public",
            "postgres://u@h/db?schema=public&connect_timeout=3&sslmode=disable",
            "postgres://u:p%40ss@[::1]:5433/db?sslmode=allow",
        ] {
            let config = parse_database_url(url).unwrap_or_else(|reason| panic!("{url}: {reason}"));
            assert_eq!(config.get_hosts().len(), 1, "{url}");
        }
        let config = parse_database_url("postgres://u@h/db?schema=public&connect_timeout=3").unwrap();
        assert_eq!(config.get_connect_timeout(), Some(&std::time::Duration::from_secs(3)));
    }

    #[test]
    fn reasons_never_show_the_password() {
        for (url, word) in [
            ("hunter2", "begins with"),
            ("mysql://u:hunter2@h/db", "begins with"),
            ("postgresql+asyncpg://u:hunter2@h/db", "driver"),
            ("postgresql://u:hunter2@h:notaport/db", "percent-encoding"),
            ("postgresql://u:hunter2@h/db?hunter2=1", "percent-encoding"),
            ("postgresql://u:hunter2@h/db?sslmode=verify-full", "TLS"),
            ("postgresql:///db", "no host"),
        ] {
            let reason = parse_database_url(url).unwrap_err();
            assert!(reason.contains(word), "{url}: {reason}");
            assert!(!reason.contains("hunter2"), "{reason}");
        }
        let config = parse_database_url("postgresql://u:hunter2@h/db").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
