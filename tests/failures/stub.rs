//! Services that misbehave on request: `examples/stub.rs`, which `cargo test --test failures` alone does not build.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::support::cargo;

/// The path of the stub, built where it is not there or is out of date.
pub(crate) fn path() -> &'static Path {
    static STUB: OnceLock<PathBuf> = OnceLock::new();
    STUB.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/stub.rs");
        let built = Path::new(env!("CARGO_BIN_EXE_devctl")).with_file_name("examples").join("stub");
        let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        if changed(&built) < changed(&source) {
            let output = cargo(&["build", "--quiet", "--example", "stub"]).output().expect("cargo runs, it runs this");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "the stub does not build:\n{error}");
        }
        built
    })
}
