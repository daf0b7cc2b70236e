//! The environment devctl was started with. Read once, handed on; never changed.

use std::collections::BTreeMap;

/// All variables that are valid UTF-8; the others cannot be named in any file of ours.
pub fn all() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// Where the running program itself is.
pub fn current_exe() -> std::io::Result<std::path::PathBuf> {
    std::env::current_exe()
}

/// The folder devctl was started in.
pub fn current_dir() -> std::io::Result<std::path::PathBuf> {
    std::env::current_dir()
}
