//! What children inherit of devctl's own environment: all of it, but for what `cargo run` added for devctl alone.
//!
//! devctl started by `cargo run` would otherwise hand its own package's variables to every build and program, which
//! then differ from the same command typed in the user's shell: other fingerprints, other libraries, another toolchain.
//! Removed, and only where cargo started us:
//!
//! - `CARGO`, `CARGO_MANIFEST_*`, `CARGO_PKG_*`, `CARGO_BIN_*`, `CARGO_CRATE_NAME`, `CARGO_PRIMARY_PACKAGE`,
//!   `CARGO_MAKEFLAGS`, `CARGO_TARGET_TMPDIR`, `CARGO_RUSTC_CURRENT_DIR`, `OUT_DIR`;
//! - `RUST_RECURSION_COUNT`, and `RUSTUP_TOOLCHAIN` with `RUSTUP_TOOLCHAIN_SOURCE` unless the user chose the toolchain
//!   by variable or `+name`;
//! - the entries of `LD_LIBRARY_PATH` (`DYLD_FALLBACK_LIBRARY_PATH` on macOS) that point into a target folder or a
//!   toolchain; the user's own stay.
//!
//! Settings of the user such as `CARGO_HOME`, `CARGO_TARGET_DIR`, `CARGO_BUILD_*`, `RUSTFLAGS` and `RUSTC_WRAPPER` are
//! kept.

use std::collections::BTreeMap;
use std::path::Path;

const BY_CARGO: &[&str] = &[
    "CARGO",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_MAKEFLAGS",
    "CARGO_TARGET_TMPDIR",
    "CARGO_RUSTC_CURRENT_DIR",
    "OUT_DIR",
    "RUST_RECURSION_COUNT",
];

const BY_CARGO_PREFIXES: &[&str] = &["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_"];

const LIBRARY_PATHS: &[&str] = &["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"];

/// The environment that children start from.
pub(super) fn inherited(mut env: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if !(env.contains_key("CARGO") && env.contains_key("CARGO_PKG_NAME")) {
        return env;
    }
    let chosen = env.get("RUSTUP_TOOLCHAIN_SOURCE").is_some_and(|s| matches!(s.as_str(), "env" | "cli"));
    if !chosen {
        env.remove("RUSTUP_TOOLCHAIN");
    }
    env.remove("RUSTUP_TOOLCHAIN_SOURCE");
    env.retain(|name, _| {
        !BY_CARGO.contains(&name.as_str()) && !BY_CARGO_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    });
    for name in LIBRARY_PATHS {
        if let Some(kept) = env.get(*name).map(|paths| users_own(paths)) {
            if kept.is_empty() {
                env.remove(*name);
            } else {
                env.insert((*name).to_owned(), kept);
            }
        }
    }
    env
}

/// The entries of a library path that cargo and rustup did not add.
fn users_own(paths: &str) -> String {
    let entries: Vec<&str> = paths.split(':').collect();
    let by_cargo = |entry: &str| {
        let path = Path::new(entry);
        let has = |name: &str| path.components().any(|c| c.as_os_str() == name);
        has("rustlib")
            || (has("toolchains") && path.ends_with("lib"))
            || path.ends_with("deps")
            || (has("build") && path.ends_with("out"))
            // `target/debug` stands beside `target/debug/deps`.
            || entries.iter().any(|other| Path::new(other) == path.join("deps"))
    };
    entries.iter().filter(|e| !e.is_empty() && !by_cargo(e)).copied().collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn outside_of_cargo_everything_is_inherited() {
        let shell = env(&[("PATH", "/bin"), ("CARGO_HOME", "/c"), ("LD_LIBRARY_PATH", "/x/deps"), ("OUT_DIR", "o")]);
        assert_eq!(inherited(shell.clone()), shell);
    }

    #[test]
    fn what_cargo_run_added_goes_and_the_users_settings_stay() {
        let users = env(&[
            ("PATH", "/bin"),
            ("CARGO_HOME", "/c"),
            ("CARGO_TARGET_DIR", "/t"),
            ("CARGO_BUILD_JOBS", "2"),
            ("RUSTC_WRAPPER", "sccache"),
            ("LD_LIBRARY_PATH", "/opt/oracle:/usr/local/lib"),
        ]);
        let mut run = users.clone();
        run.extend(env(&[
            ("CARGO", "/x/cargo"),
            ("CARGO_MANIFEST_DIR", "/p"),
            ("CARGO_PKG_NAME", "devctl"),
            ("CARGO_PKG_VERSION", "0.1.0"),
            ("CARGO_BIN_NAME", "devctl"),
            ("RUSTUP_TOOLCHAIN", "1.95"),
            ("RUST_RECURSION_COUNT", "1"),
            (
                "LD_LIBRARY_PATH",
                "/p/target/debug/build/z-1/out:/p/target/debug/deps:/p/target/debug:\
                 /r/toolchains/1.95/lib/rustlib/x/lib:/r/toolchains/1.95/lib:/opt/oracle:/usr/local/lib",
            ),
        ]));
        assert_eq!(inherited(run), users);
    }

    #[test]
    fn a_toolchain_that_the_user_chose_stays() {
        let base = [("CARGO", "c"), ("CARGO_PKG_NAME", "p"), ("RUSTUP_TOOLCHAIN", "nightly")];
        for (source, kept) in [("env", true), ("cli", true), ("default", false), ("toolchain-file", false)] {
            let mut env = env(&base);
            env.insert("RUSTUP_TOOLCHAIN_SOURCE".to_owned(), source.to_owned());
            assert_eq!(inherited(env).contains_key("RUSTUP_TOOLCHAIN"), kept, "{source}");
        }
    }
}
