//! The stack that is measured: the database and Redis of this repository, with names and ports of the benchmark's own, so
//! that neither a developer's stack nor the other contender is touched.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::repo;

/// How long anything may take before the benchmark gives up.
pub(super) const LIMIT: Duration = Duration::from_mins(2);

/// A project of its own for one contender. Dropped, it takes containers, network and volumes along.
pub(super) struct Project {
    folder: tempfile::TempDir,
    name: String,
    database: u16,
    redis: u16,
    runtime: tokio::runtime::Runtime,
}

impl Project {
    /// Writes the files of a project that has the two containers alone.
    pub(super) fn new(contender: &str) -> anyhow::Result<Self> {
        let project = Self::with_containers(contender)?;
        let manifest = format!("[project]\nname = \"{}\"\n\n[containers]\ncompose = [\"compose.yml\"]\n", project.name);
        fs::write(project.folder().join("devctl.toml"), manifest)?;
        Ok(project)
    }

    /// Writes the files of a project that has all of this repository's stack; its programs are those of the repository.
    pub(super) fn whole(contender: &str) -> anyhow::Result<Self> {
        let project = Self::with_containers(contender)?;
        let source = repo::root().join("devctl.toml");
        let folder = |name: &str| format!("\"{}\"", repo::root().join(name).display());
        let replaced = [
            ("\"integrador\"", format!("\"{}\"", project.name)),
            ("compose/docker-compose.yml", "compose.yml".to_owned()),
            ("backend/.env", "secrets.env".to_owned()),
            ("\"backend\"", folder("backend")),
            ("\"ws-gateway\"", folder("ws-gateway")),
            ("= 8000", format!("= {}", free_port()?)),
            ("= 8001", format!("= {}", free_port()?)),
        ];
        fs::write(project.folder().join("devctl.toml"), copied(&source, &replaced)?)?;
        let secret = "a-secret-of-the-benchmark-and-of-nobody-else";
        let secrets = format!("JWT_SECRET={secret}\nTABLE_TOKEN_SECRET={secret}\n");
        fs::write(project.folder().join("secrets.env"), secrets)?;
        Ok(project)
    }

    fn with_containers(contender: &str) -> anyhow::Result<Self> {
        let name = format!("devctl-bench-{contender}-{}", std::process::id());
        let folder = tempfile::Builder::new().prefix("devctl-bench-").tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let project = Self { folder, name, database: free_port()?, redis: free_port()?, runtime };
        let source = repo::root().join("compose/docker-compose.yml");
        let replaced = [
            ("integrador", project.name.clone()),
            ("127.0.0.1:5432:", format!("127.0.0.1:{}:", project.database)),
            ("127.0.0.1:6380:", format!("127.0.0.1:{}:", project.redis)),
        ];
        fs::write(project.compose_file(), copied(&source, &replaced)?)?;
        Ok(project)
    }

    /// Its folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Its Compose file.
    pub(super) fn compose_file(&self) -> PathBuf {
        self.folder().join("compose.yml")
    }

    /// Waits until both servers have answered from the host: a query on the target database, and `PING`.
    pub(super) fn answered(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let answer = self.runtime.block_on(query(self.database)).and_then(|()| ping(self.redis));
            match answer {
                Ok(()) => return Ok(()),
                Err(error) if start.elapsed() > LIMIT => return Err(error.context("the servers do not answer")),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Removes the volumes, so that the next start is a first start.
    pub(super) fn remove_volumes(&self) -> anyhow::Result<()> {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let listed = repo::output(Command::new("docker").args(["volume", "ls", "--quiet", "--filter", &filter]))?;
        for volume in listed.lines() {
            repo::output(Command::new("docker").args(["volume", "rm", "--force", volume]))?;
        }
        Ok(())
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let steps: [(&[&str], &[&str]); 3] = [
            (&["ps", "--all", "--quiet"], &["rm", "--force", "--volumes"]),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
            (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
        ];
        for (list, remove) in steps {
            let listed =
                repo::output(Command::new("docker").args(list).args(["--filter", &filter])).unwrap_or_default();
            let ids: Vec<&str> = listed.split_whitespace().collect();
            if !ids.is_empty() {
                drop(repo::output(Command::new("docker").args(remove).args(ids)));
            }
        }
    }
}

/// A file's text with all of `replaced` replaced; each of them must be there.
fn copied(source: &Path, replaced: &[(&str, String)]) -> anyhow::Result<String> {
    let text = fs::read_to_string(source).with_context(|| format!("cannot read `{}`", source.display()))?;
    replaced.iter().try_fold(text, |text, (from, to)| {
        if text.contains(from) {
            Ok(text.replace(from, to))
        } else {
            bail!("`{from}` is not in `{}`", source.display())
        }
    })
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn query(port: u16) -> anyhow::Result<()> {
    let url = format!("postgresql://postgres:postgres@127.0.0.1:{port}/menu_ops?connect_timeout=2");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    client.simple_query("SELECT 1").await?;
    drop(client);
    connection.await??;
    Ok(())
}

fn ping(port: u16) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    if &answer == b"+PONG\r\n" { Ok(()) } else { bail!("PING was answered with {}", String::from_utf8_lossy(&answer)) }
}
