//! PostgreSQL: a data folder made whole or not at all, its database there before the first connection, and the
//! server's command line.
//!
//! The database is made in single-user mode, where nobody can connect: the first successful connection over TCP finds
//! everything in place. Passwords travel in a private file, never on a command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::data::{self, Place};
use super::installed::{Installation, POSTGRES_MAJOR};
use super::tool::Tool;
use crate::os::{files, user};

/// The file in a data folder that says what devctl made there.
const RECORD: &str = "devctl.json";

/// The locales to try, best first; not every machine has the first.
const LOCALES: &[&str] = if cfg!(windows) { &["C"] } else { &["C.UTF-8", "C"] };

/// What the manifest wants of a cluster.
pub(super) struct Wanted<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) database: &'a str,
}

/// What devctl made in a data folder.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    user: String,
    databases: Vec<String>,
}

/// A cluster's programs and data.
pub(super) struct Cluster<'a> {
    pub(super) server: &'a Installation,
    pub(super) place: &'a Place,
    /// The environment of helper programs.
    pub(super) env: &'a BTreeMap<String, String>,
}

/// What a data folder holds.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Nothing.
    Nothing,
    /// A cluster that this server can run.
    Cluster,
}

impl Wanted<'_> {
    /// Refuses what the server cannot take or what would not arrive as it is.
    pub(super) fn check(&self) -> Result<(), Error> {
        let table = [
            ("POSTGRES_USER", self.user, true),
            ("POSTGRES_PASSWORD", self.password, false),
            ("POSTGRES_DB", self.database, true),
        ];
        for (what, value, shown) in table {
            let rule = match value {
                "" => "must not be empty",
                _ if value.contains(char::is_control) => "must not hold line breaks or other control characters",
                _ if shown && value.len() > 63 => "is longer than 63 bytes",
                _ => continue,
            };
            let value = if shown { value.escape_default().to_string() } else { "•••".to_owned() };
            return Err(Error::Value { what, value, rule });
        }
        Ok(())
    }
}

impl Cluster<'_> {
    /// Makes sure that the data folder holds a cluster with the wanted user and database. Returns whether it is new.
    pub(super) async fn prepare(&self, wanted: &Wanted<'_>) -> Result<bool, Error> {
        let folder = &self.place.folder;
        match inspect(folder)? {
            Found::Nothing => {
                self.initialise(wanted).await?;
                Ok(true)
            }
            Found::Cluster => {
                self.adapt(folder, wanted).await?;
                Ok(false)
            }
        }
    }

    /// Makes a new cluster beside its place and moves it there once it is whole.
    async fn initialise(&self, wanted: &Wanted<'_>) -> Result<(), Error> {
        let folder = &self.place.folder;
        let new = beside(folder, "new");
        if new.exists() {
            // Left by a run that was killed; the project's lock keeps a second devctl out.
            fs::remove_dir_all(&new).map_err(Error::io("remove", &new))?;
        }
        let new = Scratch(new);
        let mut outcome = Err(Error::NotData { folder: folder.clone() });
        for locale in LOCALES {
            outcome = self.initdb(&new.0, wanted, locale).await;
            match &outcome {
                Err(Error::Tool { output, .. }) if output.contains("invalid locale") => {
                    fs::remove_dir_all(&new.0).map_err(Error::io("remove", &new.0))?;
                }
                Ok(()) | Err(_) => break,
            }
        }
        outcome?;
        open_to_password_holders(&new.0)?;
        self.create_database(&new.0, wanted.database).await?;
        self.write_record(&new.0, &Record { user: wanted.user.into(), databases: vec![wanted.database.into()] })?;
        if folder.exists() {
            fs::remove_dir(folder).map_err(Error::io("replace", folder))?;
        }
        fs::rename(&new.0, folder).map_err(Error::io("create", folder))
    }

    async fn initdb(&self, new: &Path, wanted: &Wanted<'_>, locale: &str) -> Result<(), Error> {
        fs::create_dir(new).map_err(Error::io("create", new))?;
        self.place.give(new)?;
        user::set_mode(new, 0o700).map_err(Error::io("close", new))?;
        // Beside the new folder, which has to be empty.
        let password = beside(&self.place.folder, "pw");
        let _ = fs::remove_file(&password);
        let mut file = user::create_private(&password).map_err(Error::io("create", &password))?;
        let password = Secret(password);
        file.write_all(wanted.password.as_bytes()).map_err(Error::io("write", &password.0))?;
        drop(file);
        self.place.give(&password.0)?;

        let mut args: Vec<OsString> = vec!["-D".into(), new.into(), "--pwfile".into(), password.0.clone().into()];
        args.extend(["--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"].map(OsString::from));
        args.extend([format!("--username={}", wanted.user).into(), format!("--locale={locale}").into()]);
        self.tool("initdb", args, String::new()).run_well().await?;
        Ok(())
    }

    /// Makes a database that the manifest names and the cluster lacks.
    async fn adapt(&self, folder: &Path, wanted: &Wanted<'_>) -> Result<(), Error> {
        // Data that came from elsewhere have no record; whoever made them, the probe tells whether they fit.
        let record = read_record(folder)?;
        let mut record = record.unwrap_or_else(|| Record { user: wanted.user.to_owned(), databases: Vec::new() });
        if record.user != wanted.user {
            let folder = folder.to_owned();
            return Err(Error::OtherUser { folder, made: record.user, wanted: wanted.user.to_owned() });
        }
        if !record.databases.iter().any(|name| name == wanted.database) {
            self.create_database(folder, wanted.database).await?;
            record.databases.push(wanted.database.to_owned());
            self.write_record(folder, &record)?;
        }
        Ok(())
    }

    /// Makes a database, unless it is there, while no server runs.
    async fn create_database(&self, folder: &Path, database: &str) -> Result<(), Error> {
        let mut args: Vec<OsString> = vec!["--single".into(), "-D".into(), folder.into()];
        for setting in ["lc_messages=C", "log_checkpoints=off", "logging_collector=off", "log_destination=stderr"] {
            args.extend(["-c".into(), setting.into()]);
        }
        args.push("template1".into());
        let input = format!("CREATE DATABASE {};\n", quoted(database));
        let outcome = self.tool("postgres", args, input).run_well().await?;
        // Single-user mode ends with exit code 0 whatever became of the statement.
        let complaint = outcome.stderr.lines().find(|line| line.contains("ERROR:") || line.contains("FATAL:"));
        match complaint {
            Some(line) if !line.contains("already exists") => Err(Error::Tool {
                program: "postgres --single".to_owned(),
                status: "an error".to_owned(),
                output: line.to_owned(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn write_record(&self, folder: &Path, record: &Record) -> Result<(), Error> {
        let path = folder.join(RECORD);
        let text = serde_json::to_string_pretty(record).expect("plain strings are always JSON");
        files::write_atomic(&path, &text, true).map_err(Error::io("write", &path))?;
        self.place.give(&path)
    }

    fn tool(&self, program: &str, args: Vec<OsString>, input: String) -> Tool {
        let mut env = self.env.clone();
        // PGDATA, PGPORT and their like would speak for another server.
        env.retain(|name, _| !name.starts_with("PG"));
        env.insert("LC_ALL".to_owned(), "C".to_owned());
        Tool {
            program: self.server.program(program),
            args,
            dir: self.place.folder.parent().unwrap_or(Path::new("/")).to_owned(),
            env,
            user: self.place.user.clone(),
            input,
        }
    }

    /// The server's command line. The last word on a setting counts: devctl's own on where it listens, and the
    /// manifest's on all else.
    pub(super) fn command(&self, settings: &[(String, String)], ip: IpAddr, port: u16) -> Vec<String> {
        let mut argv = vec![
            self.server.program("postgres").to_string_lossy().into_owned(),
            "-D".to_owned(),
            self.place.folder.to_string_lossy().into_owned(),
        ];
        let ours = [
            ("listen_addresses".to_owned(), ip.to_string()),
            ("port".to_owned(), port.to_string()),
            ("unix_socket_directories".to_owned(), String::new()),
        ];
        // The image's time zone, so that a query answers the same with Docker and without.
        let defaults = ["timezone", "log_timezone"].map(|name| (name.to_owned(), "Etc/UTC".to_owned()));
        for (name, value) in defaults.iter().chain(settings).chain(&ours) {
            argv.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        argv
    }
}

/// A folder that is removed unless it was renamed away.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next run removes what is left.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file that never outlives its use.
struct Secret(PathBuf);

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A hidden name beside a folder: `.db.new`.
fn beside(folder: &Path, what: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
    folder.with_file_name(format!(".{name}.{what}"))
}

/// Tells what a data folder holds, or why it cannot be used.
fn inspect(folder: &Path) -> Result<Found, Error> {
    let path = folder.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(version) if version.trim() == POSTGRES_MAJOR.to_string() => Ok(Found::Cluster),
        Ok(version) => Err(Error::DataVersion { folder: folder.to_owned(), found: version.trim().to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if data::is_empty(folder)? {
                Ok(Found::Nothing)
            } else {
                Err(Error::NotData { folder: folder.to_owned() })
            }
        }
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

fn read_record(folder: &Path) -> Result<Option<Record>, Error> {
    let path = folder.join(RECORD);
    match fs::read_to_string(&path) {
        // A torn record is worth as much as none.
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

/// Lets everybody with the password connect, from wherever the server listens, as the image does: where it listens is
/// the manifest's decision.
fn open_to_password_holders(folder: &Path) -> Result<(), Error> {
    let path = folder.join("pg_hba.conf");
    let mut file = fs::OpenOptions::new().append(true).open(&path).map_err(Error::io("open", &path))?;
    file.write_all(b"\nhost all all all scram-sha-256\n").map_err(Error::io("write", &path))
}

/// A name as SQL writes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::super::Package;
    use super::super::installed::Origin;
    use super::*;

    #[test]
    fn names_and_passwords_are_checked_and_passwords_not_shown() {
        let check = |user, password, database| Wanted { user, password, database }.check();
        assert!(check("postgres", "p w'\"$ö", "menu_ops").is_ok());
        let long = "x".repeat(64);
        for (user, password, database) in
            [("", "p", "d"), ("u", "p", "a\nb"), ("u", "", "d"), (long.as_str(), "p", "d")]
        {
            assert!(check(user, password, database).is_err(), "{user} {password} {database}");
        }
        let error = check("u", "hunter2\n", "d").unwrap_err().to_string();
        assert!(error.contains("POSTGRES_PASSWORD") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn sql_names_cannot_break_out() {
        assert_eq!(quoted("menu_ops"), "\"menu_ops\"");
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
    }

    #[test]
    fn a_folder_is_read_for_what_it_holds() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("db");
        assert_eq!(inspect(&folder).unwrap(), Found::Nothing, "no folder");
        fs::create_dir(&folder).unwrap();
        assert_eq!(inspect(&folder).unwrap(), Found::Nothing, "an empty one");
        fs::write(folder.join("notes.txt"), "x").unwrap();
        assert!(matches!(inspect(&folder), Err(Error::NotData { .. })));
        fs::write(folder.join("PG_VERSION"), "16\n").unwrap();
        assert_eq!(inspect(&folder).unwrap(), Found::Cluster);
        fs::write(folder.join("PG_VERSION"), "15\n").unwrap();
        let error = inspect(&folder).unwrap_err();
        assert!(error.to_string().contains("PostgreSQL 15"), "{error}");
    }

    #[test]
    fn where_it_listens_is_devctls_decision() {
        let server = Installation {
            package: Package::Postgres,
            title: String::new(),
            bin: "/pg/bin".into(),
            origin: Origin::Machine,
        };
        let place = Place { folder: "/data/db".into(), user: None, moved: false };
        let cluster = Cluster { server: &server, place: &place, env: &BTreeMap::new() };
        let settings = [("port".to_owned(), "1".to_owned()), ("work_mem".to_owned(), "8MB".to_owned())];
        let argv = cluster.command(&settings, "127.0.0.1".parse().unwrap(), 22_000);
        assert_eq!(
            argv[1..].join(" "),
            "-D /data/db -c timezone=Etc/UTC -c log_timezone=Etc/UTC -c port=1 -c work_mem=8MB \
             -c listen_addresses=127.0.0.1 -c port=22000 -c unix_socket_directories="
        );
    }
}
