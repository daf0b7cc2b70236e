//! Builds of Rust programs.

use std::path::Path;
use std::sync::{Arc, Mutex};

use devctl::advice::Advice as _;
use devctl::driver::process::{BuildSpec, Error, Program, Runtime, Spec, StopSignal};
use devctl::event::Progress;

use crate::{Run, Word, gone, within};

/// A package without dependencies, with these files.
fn package(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    for (name, text) in files.iter().chain([&("Cargo.toml", manifest)]) {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn build_spec(dir: &Path, bin: Option<&str>) -> BuildSpec {
    BuildSpec {
        service: "api".parse().unwrap(),
        runtime: Runtime::Rust,
        dir: dir.to_owned(),
        bin: bin.map(str::to_owned),
        env: indexmap::IndexMap::new(),
    }
}

#[tokio::test]
async fn a_rust_program_is_built_and_run() {
    let package = package(&[("src/main.rs", "fn main() { println!(\"built and run\"); }")]);
    let run = Run::new();
    let steps: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let seen = Arc::clone(&steps);
    let mut cx = run.context(&"api".parse().unwrap());
    cx.progress = Arc::new(move |p| seen.lock().unwrap().push(p));
    within(run.processes.build(&build_spec(package.path(), None), &cx)).await.unwrap();
    assert!(steps.lock().unwrap().iter().any(|p| p.what == "compiling tiny" && p.unit == "crates"));
    let spec = Spec {
        service: "api".parse().unwrap(),
        program: Program::Built,
        args: Vec::new(),
        dir: package.path().to_owned(),
        env: indexmap::IndexMap::new(),
        port: None,
        stop_signal: StopSignal::Term,
        pty: false,
        listen: false,
    };
    let running = run.processes.start(&spec, &cx).await.unwrap();
    assert!(within(running.exit).await.success());
    assert_eq!(run.hub.tail(&"api".parse().unwrap(), 1)[0].text, "built and run");
}

#[tokio::test]
async fn a_build_that_cannot_be_used_says_why() {
    let run = Run::new();
    let cx = run.context(&"api".parse().unwrap());
    let broken = package(&[("src/main.rs", "fn main() { let x: u8 = \"no\"; }")]);
    let error = within(run.processes.build(&build_spec(broken.path(), None), &cx)).await.unwrap_err();
    let Error::BuildFailed { first, .. } = &error else { panic!("{error:?}") };
    assert_eq!(first, "error[E0308]: mismatched types");
    assert!(run.hub.first_error(&"api".parse().unwrap()).unwrap().text.contains("E0308"));

    let several = package(&[("src/bin/one.rs", "fn main() {}"), ("src/bin/two.rs", "fn main() {}")]);
    let error = within(run.processes.build(&build_spec(several.path(), None), &cx)).await.unwrap_err();
    let Error::SeveralBinaries { names, .. } = &error else { panic!("{error:?}") };
    assert_eq!(names, &["one", "two"]);
    assert_eq!(error.hints(), ["choose one: bin = \"one\""]);
    within(run.processes.build(&build_spec(several.path(), Some("two")), &cx)).await.unwrap();

    let library = package(&[("src/lib.rs", "")]);
    let error = within(run.processes.build(&build_spec(library.path(), None), &cx)).await.unwrap_err();
    assert!(matches!(error, Error::NoBinary { .. }), "{error:?}");
}

#[tokio::test]
async fn dropping_a_build_kills_all_of_it() {
    let script = "fn main() {
        std::fs::write(\"pid\", std::process::id().to_string()).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }";
    let package = package(&[("src/main.rs", "fn main() {}"), ("build.rs", script)]);
    let run = Run::new();
    let cx = run.context(&"api".parse().unwrap());
    let spec = build_spec(package.path(), None);
    let mark = Word::new(&package.path().join("pid"));
    let pid: u32 = tokio::select! {
        result = run.processes.build(&spec, &cx) => panic!("it ended: {result:?}"),
        word = within(mark.read()) => word.parse().unwrap(),
    };
    gone(pid).await;
}
