//! Configuration from the environment. Every variable is read before anything is reported, so that one run names all
//! mistakes. A value that may hold a password or a key is never printed, not even a wrong one.

use std::collections::BTreeMap;
use std::fmt;

use redis::IntoConnectionInfo;

use crate::logging::{LogFormat, LogSettings};

/// The shortest secret that is accepted, in characters.
pub const SECRET_MIN_CHARS: usize = 32;

/// The variables of one process while they are read, with the mistakes found so far.
#[derive(Debug, Default)]
pub struct Vars {
    values: BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
}

/// One variable that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// All variables that cannot be used.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    mistakes: Vec<Mistake>,
}

impl ConfigError {
    /// The mistakes in the order in which the variables were read.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.mistakes.len() == 1 { "mistake" } else { "mistakes" };
        write!(f, "{} {plural} in the environment", self.mistakes.len())?;
        for Mistake { variable, reason } in &self.mistakes {
            write!(f, "\n  {variable}: {reason}")?;
        }
        Ok(())
    }
}

impl Vars {
    /// Reads the environment of this process. A variable that is not UTF-8 counts as not set.
    pub fn from_process() -> Self {
        Self::from_pairs(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Takes variables from anywhere, for tests and for servers started in-process.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { values, mistakes: Vec::new() }
    }

    /// Reads one variable; unset or blank means `default`. A mistake is kept for [`Vars::finish`] and the default
    /// stands in, so that the variables after it are read too.
    pub fn read<T>(&mut self, variable: &'static str, default: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let given = self.values.get(variable).map(|value| value.trim()).filter(|value| !value.is_empty());
        match given.map(&parse) {
            Some(Ok(value)) => return value,
            Some(Err(reason)) => self.mistakes.push(Mistake { variable, reason }),
            None => {}
        }
        parse(default).expect("a default is valid")
    }

    /// Reads a secret that must be set.
    pub fn secret(&mut self, variable: &'static str) -> Secret {
        let value = self.values.get(variable).map(String::as_str).unwrap_or_default();
        let count = value.chars().count();
        let wrong = if value.trim().is_empty() {
            Some("is not set".to_owned())
        } else if count < SECRET_MIN_CHARS {
            Some(format!("is too short: {count} characters"))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let reason = format!(
                "{wrong}; at least {SECRET_MIN_CHARS} characters are needed, `openssl rand -hex 32` makes a good one"
            );
            self.mistakes.push(Mistake { variable, reason });
        }
        Secret(value.to_owned())
    }

    /// Reads a secret that may be missing.
    pub fn optional_secret(&mut self, variable: &'static str) -> Option<Secret> {
        let given = self.values.get(variable).is_some_and(|value| !value.trim().is_empty());
        given.then(|| self.secret(variable))
    }

    /// Records a mistake that only shows when variables are seen together.
    pub fn mistake(&mut self, variable: &'static str, reason: impl Into<String>) {
        self.mistakes.push(Mistake { variable, reason: reason.into() });
    }

    /// Hands the configuration out, if no variable was wrong.
    pub fn finish<T>(self, config: T) -> Result<T, ConfigError> {
        if self.mistakes.is_empty() { Ok(config) } else { Err(ConfigError { mistakes: self.mistakes }) }
    }
}

/// A key that no log line, error or debug output may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The key itself, for the code that signs or verifies with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([hidden])")
    }
}

/// Where the service runs; development is forgiving where production is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine.
    Development,
    /// An automated test.
    Test,
    /// For real users.
    Production,
}

impl Environment {
    /// The word for it in `ENVIRONMENT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Test => "test",
            Self::Production => "production",
        }
    }
}

/// The web pages that may call the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// `*`: every page, refused in production.
    Any,
    /// These, compared exactly.
    Only(Vec<String>),
}

impl Origins {
    /// Whether a request with this `Origin` header may pass.
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(list) => list.iter().any(|allowed| allowed == origin),
        }
    }
}

/// What both services are told by their environment.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// The address to listen on.
    pub host: String,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The Redis server.
    pub redis: redis::ConnectionInfo,
    /// The web pages that may call the service.
    pub origins: Origins,
    /// Where the service runs.
    pub environment: Environment,
    /// How to log.
    pub log: LogSettings,
    /// The key that signs the tokens of people.
    pub jwt_secret: Secret,
    /// The key that signs the tokens of tables.
    pub table_token_secret: Secret,
}

impl ServiceConfig {
    /// Reads the variables both services have.
    pub fn read(vars: &mut Vars, default_port: u16) -> Self {
        let config = Self {
            host: vars.read("HOST", "127.0.0.1", parse_host),
            port: vars.read("PORT", &default_port.to_string(), parse_port),
            redis: vars.read("REDIS_URL", "redis://localhost:6380", parse_redis_url),
            origins: vars.read("ALLOWED_ORIGINS", "http://localhost:3000,http://localhost:5173", parse_origins),
            environment: vars.read("ENVIRONMENT", "development", parse_environment),
            log: LogSettings {
                filter: vars.read("RUST_LOG", "info", LogSettings::parse_filter),
                format: vars.read("LOG_FORMAT", "json", LogFormat::parse),
            },
            jwt_secret: vars.secret("JWT_SECRET"),
            table_token_secret: vars.secret("TABLE_TOKEN_SECRET"),
        };
        if config.environment == Environment::Production && config.origins == Origins::Any {
            vars.mistake(
                "ALLOWED_ORIGINS",
                "`*` lets every web page in; name the origins when ENVIRONMENT is production",
            );
        }
        config
    }
}

fn parse_host(value: &str) -> Result<String, String> {
    let named = value == "localhost";
    if named || value.parse::<std::net::IpAddr>().is_ok() {
        Ok(value.to_owned())
    } else {
        Err(format!("`{value}` is not an address to listen on; use an IP address such as `127.0.0.1`, or `localhost`"))
    }
}

fn parse_port(value: &str) -> Result<u16, String> {
    value.parse().map_err(|_| format!("`{value}` is not a port; use a number from 1 to 65535, or 0 for a free one"))
}

fn parse_redis_url(value: &str) -> Result<redis::ConnectionInfo, String> {
    if value.starts_with("rediss://") {
        return Err("asks for TLS (`rediss://`), which this build does not speak; use `redis://`".to_owned());
    }
    value.into_connection_info().map_err(|_| {
        "is not a Redis URL such as `redis://localhost:6380` (the value is not shown, it may hold a password)"
            .to_owned()
    })
}

fn parse_origins(value: &str) -> Result<Origins, String> {
    if value == "*" {
        return Ok(Origins::Any);
    }
    let list: Vec<_> = value.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
    for origin in &list {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let plain = rest.is_some_and(|rest| {
            !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@*,".contains(&b) && !b.is_ascii_uppercase())
        });
        if !plain {
            return Err(format!(
                "`{origin}` is not an origin; write scheme, host and port as browsers send them, such as \
                 `http://localhost:3000`, without a path or a final `/`"
            ));
        }
    }
    Ok(Origins::Only(list.into_iter().map(str::to_owned).collect()))
}

fn parse_environment(value: &str) -> Result<Environment, String> {
    match value {
        "development" => Ok(Environment::Development),
        "test" => Ok(Environment::Test),
        "production" => Ok(Environment::Production),
        other => Err(format!("`{other}` is unknown; use `development`, `test` or `production`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn read(pairs: &[(&str, &str)]) -> Result<ServiceConfig, ConfigError> {
        let mut vars = Vars::from_pairs(pairs.iter().copied());
        let config = ServiceConfig::read(&mut vars, 8000);
        vars.finish(config)
    }

    #[test]
    fn secrets_alone_are_enough() {
        let config = read(&[("JWT_SECRET", SECRET), ("TABLE_TOKEN_SECRET", SECRET)]).unwrap();
        assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 8000));
        assert_eq!(config.redis.addr().to_string(), "localhost:6380");
    }

    #[test]
    fn every_mistake_is_named_in_one_run() {
        let error = read(&[
            ("JWT_SECRET", "hunter2hunter2"),
            ("PORT", "80x"),
            ("HOST", "x86_64-conda-linux-gnu"),
            ("REDIS_URL", "redis:/hunter2"),
            ("ALLOWED_ORIGINS", "http://localhost:3000/"),
            ("ENVIRONMENT", "prod"),
            ("LOG_FORMAT", "xml"),
            ("RUST_LOG", "backend=loud"),
        ])
        .unwrap_err();
        let named: Vec<_> = error.mistakes().iter().map(|mistake| mistake.variable).collect();
        assert_eq!(
            named,
            [
                "HOST",
                "PORT",
                "REDIS_URL",
                "ALLOWED_ORIGINS",
                "ENVIRONMENT",
                "RUST_LOG",
                "LOG_FORMAT",
                "JWT_SECRET",
                "TABLE_TOKEN_SECRET"
            ]
        );
        let text = error.to_string();
        assert!(text.starts_with("9 mistakes in the environment\n  HOST: `x86_64-conda-linux-gnu` is not"), "{text}");
        assert!(text.contains("JWT_SECRET: is too short: 14 characters"), "{text}");
        assert!(text.contains("TABLE_TOKEN_SECRET: is not set"), "{text}");
        assert!(!text.contains("hunter2"), "a secret leaked: {text}");
    }

    #[test]
    fn secrets_are_counted_in_characters() {
        let accented = "é".repeat(32);
        assert!(read(&[("JWT_SECRET", accented.as_str()), ("TABLE_TOKEN_SECRET", SECRET)]).is_ok());
        assert!(read(&[("JWT_SECRET", &accented[..62]), ("TABLE_TOKEN_SECRET", SECRET)]).is_err());
        assert!(read(&[("JWT_SECRET", &" ".repeat(40)), ("TABLE_TOKEN_SECRET", SECRET)]).is_err());
    }

    #[test]
    fn debug_output_hides_secrets() {
        let config = read(&[("JWT_SECRET", SECRET), ("TABLE_TOKEN_SECRET", SECRET)]).unwrap();
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
        assert_eq!(config.jwt_secret.expose(), SECRET);
    }

    #[test]
    fn origins() {
        let only = |list: &[&str]| Ok(Origins::Only(list.iter().map(|origin| (*origin).to_owned()).collect()));
        assert_eq!(parse_origins("*"), Ok(Origins::Any));
        assert_eq!(parse_origins("https://a.example, http://b:1"), only(&["https://a.example", "http://b:1"]));
        for bad in ["localhost:3000", "http://", "http://a/b", "http://*.a", "http://A.example", "ftp://a", "null"] {
            assert!(parse_origins(bad).is_err(), "{bad}");
        }
        let some = parse_origins("http://localhost:3000").unwrap();
        assert!(some.allow("http://localhost:3000"));
        assert!(!some.allow("http://localhost:30001") && !some.allow("http://localhost") && !some.allow("null"));
    }

    #[test]
    fn a_star_is_refused_in_production() {
        let base = [("JWT_SECRET", SECRET), ("TABLE_TOKEN_SECRET", SECRET), ("ALLOWED_ORIGINS", "*")];
        assert!(read(&base).is_ok());
        let error = read(&[base.as_slice(), &[("ENVIRONMENT", "production")]].concat()).unwrap_err();
        assert_eq!(error.mistakes().len(), 1);
    }
}
