//! The Docker Engine as an outsider sees it, through the `docker` command: what is there of a project or a run.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::project::cargo;
use super::variable;

/// An engine that answers and has the images of the tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Engine(());

/// A container, as `docker ps` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    /// The full id.
    pub(crate) id: String,
    /// The name.
    pub(crate) name: String,
    /// `running`, `exited`, `created`, …
    pub(crate) state: String,
}

impl Engine {
    /// The engine, if there is one. Without one the test is skipped, and says so loudly; where
    /// `DEVCTL_TEST_REQUIRE_DOCKER=1` it fails instead.
    pub(crate) fn for_test() -> Option<Self> {
        static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
        match FOUND.get_or_init(|| answers().map(|()| load_images())) {
            Ok(()) => Some(Self(())),
            Err(why) => {
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                assert!(
                    variable("DEVCTL_TEST_REQUIRE_DOCKER").is_none_or(|required| required != "1"),
                    "{test}: DEVCTL_TEST_REQUIRE_DOCKER=1, but there is no Docker Engine: {why}"
                );
                // Not by `eprintln!`: the test runner would swallow it, since the test passes.
                drop(writeln!(std::io::stderr(), "SKIPPED: no Docker Engine for {test}: {why}"));
                None
            }
        }
    }

    /// Runs the docker command, which must succeed, and gives what it printed.
    #[track_caller]
    #[expect(clippy::unused_self, reason = "whoever has an `Engine` knows that one answers")]
    pub(crate) fn docker(self, args: &[&str]) -> String {
        let output = docker(args).expect("the docker command runs, it did before");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`docker {}` failed: {error}", args.join(" "));
        String::from_utf8(output.stdout).expect("docker prints text")
    }

    /// The containers with a label, running or not.
    pub(crate) fn containers(self, label: &str) -> Vec<Container> {
        let filter = format!("label={label}");
        let listed = self.docker(&["ps", "--all", "--no-trunc", "--filter", &filter, "--format", "{{json .}}"]);
        listed.lines().map(container).collect()
    }

    /// The names of the networks with a label.
    pub(crate) fn networks(self, label: &str) -> Vec<String> {
        let filter = format!("label={label}");
        lines(&self.docker(&["network", "ls", "--filter", &filter, "--format", "{{.Name}}"]))
    }

    /// The names of the volumes with a label.
    pub(crate) fn volumes(self, label: &str) -> Vec<String> {
        let filter = format!("label={label}");
        lines(&self.docker(&["volume", "ls", "--filter", &filter, "--format", "{{.Name}}"]))
    }

    /// What is left of a project: a line for each container and network. Volumes are meant to live on.
    pub(crate) fn left_of_project(self, project: &str) -> Vec<String> {
        self.left(&project_label(project))
    }

    /// What is left of one run: a line for each container and network.
    pub(crate) fn left_of_run(self, run: &str) -> Vec<String> {
        self.left(&format!("dev.devctl.run={run}"))
    }

    fn left(self, label: &str) -> Vec<String> {
        let containers = self.containers(label).into_iter().map(|c| format!("container {} ({})", c.name, c.state));
        let networks = self.networks(label).into_iter().map(|name| format!("network {name}"));
        containers.chain(networks).collect()
    }

    /// Removes all of a project: containers, networks, volumes. Errors are of no interest: it tidies up after a test.
    pub(crate) fn remove_project(project: &str) {
        let filter = format!("label={}", project_label(project));
        let steps: [(&[&str], &[&str]); 3] = [
            (&["ps", "--all", "--quiet"], &["rm", "--force", "--volumes"]),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
            (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
        ];
        for (list, remove) in steps {
            let Ok(listed) = docker(&[list, &["--filter", &filter]].concat()) else { return };
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            let ids: Vec<&str> = listed.split_whitespace().collect();
            if !ids.is_empty() {
                drop(docker(&[remove, &ids].concat()));
            }
        }
    }
}

/// Compose's label of a project.
fn project_label(project: &str) -> String {
    format!("com.docker.compose.project={project}")
}

fn docker(args: &[&str]) -> std::io::Result<Output> {
    Command::new("docker").args(args).stdin(Stdio::null()).output()
}

fn answers() -> Result<(), String> {
    let output = docker(&["version", "--format", "{{.Server.Version}}"])
        .map_err(|error| format!("the docker command does not run: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// Makes sure that the engine has the images. `cargo xtask images` takes a lock, so that parallel tests may all ask. It
/// is left out where images of these names are there: whoever changes `xtask/images/` runs it by hand, as `.ci/run` does.
fn load_images() {
    let there = docker(&["image", "inspect", "--format", "{{.Id}}", "pgvector/pgvector:pg16", "redis:7-alpine"]);
    if there.is_ok_and(|output| output.status.success()) {
        return;
    }
    let output = cargo(&["xtask", "images"]).output().expect("cargo runs, it runs this test");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`cargo xtask images` failed:\n{error}");
}

fn container(line: &str) -> Container {
    let value: Value = serde_json::from_str(line).expect("docker prints one JSON object a line");
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Container { id: text("ID"), name: text("Names"), state: text("State") }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
