//! What is measured, the files of it, and the goals.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::repo;

/// A shell that is healthy 50 ms after its start. It is killed to stop it: no grace is part of any figure.
const HEALTHY: &str = "    image: redis:7-alpine
    command: [\"sh\", \"-c\", \"sleep 0.05; : >/tmp/ok; exec sleep 1000\"]
    stop_signal: SIGKILL
    healthcheck: { test: [\"CMD\", \"test\", \"-e\", \"/tmp/ok\"], interval: 100ms }
";

/// A shell without a healthcheck.
const PLAIN: &str = "    image: redis:7-alpine
    command: [\"sleep\", \"1000\"]
    stop_signal: SIGKILL
";

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// `up` where everything is up and healthy.
    Nothing,
    /// `up` of a chain of four, each waiting until the one before is healthy.
    Chain,
    /// `up` of eight services that need nobody.
    Eight,
    /// `up` of six replicas of one service.
    Replicas,
    /// `down` of the chain of four.
    Down,
    /// `ps` with 100 containers.
    Ps,
    /// Loading a file of 200 services.
    Load,
}

/// What a figure is held against.
pub(super) enum Goal {
    /// A share of the peer's.
    Ratio(f64),
    /// Milliseconds.
    Milliseconds(f64),
}

impl Case {
    /// What is measured, in a few words.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Nothing => "`up` on a healthy project, nothing to do",
            Self::Chain => "chain of 4 `service_healthy`, each ready 50 ms after its start",
            Self::Eight => "8 independent services",
            Self::Replicas => "6 replicas of one service",
            Self::Down => "`down` of the chain of 4",
            Self::Ps => "`ps` with 100 containers",
            Self::Load => "loading a file of 200 services",
        }
    }

    /// What is to be reached.
    pub(super) fn goal(self) -> Goal {
        match self {
            Self::Nothing => Goal::Ratio(0.10),
            Self::Chain | Self::Ps => Goal::Ratio(0.5),
            Self::Eight | Self::Replicas => Goal::Ratio(0.8),
            Self::Down => Goal::Ratio(0.7),
            Self::Load => Goal::Milliseconds(20.0),
        }
    }

    /// How many containers the engine starts by itself for comparison, where that says something.
    pub(super) fn floor(self) -> Option<usize> {
        match self {
            Self::Eight => Some(8),
            Self::Replicas => Some(6),
            Self::Nothing | Self::Chain | Self::Down | Self::Ps | Self::Load => None,
        }
    }

    fn file(self) -> String {
        let mut text = "services:\n".to_owned();
        let mut service = |name: &str, body: &str, rest: &str| {
            write!(text, "  {name}:\n{body}{rest}").expect("writing to a string cannot fail");
        };
        match self {
            Self::Nothing | Self::Chain | Self::Down => {
                service("s1", HEALTHY, "");
                for number in 2..=4 {
                    let before = number - 1;
                    let needs = format!("    depends_on: {{ s{before}: {{ condition: service_healthy }} }}\n");
                    service(&format!("s{number}"), HEALTHY, &needs);
                }
            }
            Self::Eight => (1..=8).for_each(|number| service(&format!("s{number}"), PLAIN, "")),
            Self::Replicas => service("web", PLAIN, "    deploy: { replicas: 6 }\n"),
            Self::Ps => service("web", PLAIN, ""),
            Self::Load => {
                for number in 0..200 {
                    let needs = if number == 0 {
                        String::new()
                    } else {
                        format!("    depends_on: {{ s{}: {{ condition: service_healthy }} }}\n", number / 2)
                    };
                    let rest = format!(
                        "    environment: {{ NUMBER: \"{number}\", HOME_OF: \"${{HOME}}\", WITH: \"${{UNSET_HERE:-default}}\" }}\n    \
                         ports: [\"127.0.0.1:{}:80\"]\n    volumes: [\"data{number}:/data\", \"./files:/files:ro\"]\n    \
                         labels: [\"a.label=yes\", \"of={number}\"]\n{needs}",
                        30000 + number
                    );
                    service(&format!("s{number}"), HEALTHY, &rest);
                }
                text.push_str("volumes:\n");
                for number in 0..200 {
                    writeln!(text, "  data{number}: {{}}").expect("writing to a string cannot fail");
                }
            }
        }
        text
    }

    /// A folder with the files, for one tool.
    pub(super) fn folder(self, tool: &str) -> anyhow::Result<Folder> {
        let folder = tempfile::Builder::new().prefix(&format!("devctl-bench-{tool}-")).rand_bytes(6).tempdir()?;
        // Its name is the project's: neither tool takes upper case.
        let name = format!("devctl-bench-{tool}-{}", std::process::id());
        std::fs::write(folder.path().join("compose.yaml"), format!("name: {name}\n{}", self.file()))?;
        Ok(Folder { folder, name })
    }
}

/// A project's folder. Dropped, it takes what is left of the project along.
pub(super) struct Folder {
    folder: tempfile::TempDir,
    name: String,
}

impl Folder {
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut down = Command::new("docker");
        down.args(["compose", "--project-name", &self.name, "down", "--volumes", "--timeout", "0"]);
        drop(repo::output(down.current_dir(self.folder.path())));
    }
}
