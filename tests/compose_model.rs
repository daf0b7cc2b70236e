//! The model of Compose files, and the hashes made of it, against what Docker Compose 2.40.3 makes of the same files.
//!
//! `tests/compose/corpus/NAME/` is a project each: its files, `args` for what stands before `config`, `services` for what
//! stands behind it, `not-created` where its containers cannot be made everywhere, and in `expected/` what Docker Compose
//! said, with `{{dir}}` for the project's folder. `DEVCTL_TEST_RECORD=1` writes that anew, with Docker Compose 2.40.3 and a
//! Docker Engine; `DEVCTL_TEST_REQUIRE_COMPOSE=1` makes it a failure that there is no Docker Compose to compare with.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The release whose output is recorded.
const RELEASE: &str = "2.40.3";

/// The image of the corpus. It holds nothing, as no container is ever started.
const IMAGE: &str = "devctl-corpus";

/// What in a case's folder is not part of the project.
const OURS: [&str; 4] = ["args", "services", "not-created", "expected"];

/// A project of the corpus, in a folder of its own.
struct Case {
    name: String,
    /// Where it is kept.
    home: PathBuf,
    /// What its folder is in, which goes with it.
    parent: TempDir,
    args: Vec<String>,
    services: Vec<String>,
}

impl Case {
    fn new(home: PathBuf) -> Self {
        let name = home.file_name().unwrap().to_str().unwrap().to_owned();
        let words = |file: &str| -> Vec<String> {
            let text = fs::read_to_string(home.join(file)).unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect()
        };
        let case =
            Self { args: words("args"), services: words("services"), parent: tempfile::tempdir().unwrap(), name, home };
        copy(&case.home, &case.folder(), &OURS);
        case
    }

    fn parent(&self) -> PathBuf {
        self.parent.path().canonicalize().unwrap()
    }

    /// The folder's name is the project's.
    fn folder(&self) -> PathBuf {
        self.parent().join(format!("cmodel-{}", self.name))
    }

    fn expected(&self, file: &str) -> PathBuf {
        self.home.join("expected").join(file)
    }

    /// Runs a program in the project, with none of the variables of this machine but those that it needs to be found.
    fn command(&self, program: &str) -> Command {
        let env = |name: &str| std::env::var_os(name);
        let docker_config =
            env("DOCKER_CONFIG").or_else(|| env("HOME").map(|home| Path::new(&home).join(".docker").into_os_string()));
        let mut command = Command::new(program);
        command.current_dir(self.folder()).env_clear().env("HOME", self.folder().join("home")).stdin(Stdio::null());
        for (name, value) in
            [("PATH", env("PATH")), ("DOCKER_CONFIG", docker_config), ("DOCKER_HOST", env("DOCKER_HOST"))]
        {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
    }

    fn devctl(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_devctl"));
        command.args(&self.args).args(args);
        command
    }

    fn compose(&self, args: &[&str]) -> Command {
        let mut command = self.command("docker");
        command.arg("compose").args(&self.args).args(args);
        command
    }

    /// The arguments that print the model in one format.
    fn config<'a>(&'a self, format: &'a str) -> Vec<&'a str> {
        let services = self.services.iter().map(String::as_str);
        ["config", "--format", format].into_iter().chain(services).collect()
    }

    /// Text without what differs from run to run.
    fn portable(&self, text: &str) -> String {
        let folder = self.folder().display().to_string();
        let text = text.replace(&folder, "{{dir}}").replace(&self.parent().display().to_string(), "{{parent}}");
        format!("{}\n", text.trim_end())
    }

    /// The recorded hashes: `service NAME HASH`, `network KEY HASH`, `volume KEY HASH`. None of services in which a path
    /// stands, as it is hashed with them.
    fn hashes(&self) -> Option<String> {
        fs::read_to_string(self.expected("hashes")).ok()
    }
}

fn copy(from: &Path, to: &Path, but: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if but.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to, &[]);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose/corpus");
    let mut homes: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    homes.sort();
    homes.into_iter().map(Case::new).collect()
}

fn run(mut command: Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().map_err(|error| error.to_string())?;
    if status.success() {
        Ok(String::from_utf8(stdout).unwrap())
    } else {
        Err(format!("{status}\n{}", String::from_utf8_lossy(&stderr)))
    }
}

/// The first line in which two texts differ, for people.
fn difference(expected: &str, found: &str) -> Option<String> {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let at = (0..expected.len().max(found.len())).find(|i| expected.get(*i) != found.get(*i))?;
    let show = |lines: &[&str]| {
        let from = at.saturating_sub(3).min(lines.len());
        lines[from..(at + 4).min(lines.len()).max(from)].join("\n    ")
    };
    Some(format!("line {}\n  expected:\n    {}\n  found:\n    {}", at + 1, show(&expected), show(&found)))
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn every_project_has_the_model_that_docker_compose_gives_it() {
    let (mut wrong, cases) = (Vec::new(), corpus());
    assert!(cases.len() >= 60, "{}", cases.len());
    for case in &cases {
        for format in ["yaml", "json"] {
            let expected = fs::read_to_string(case.expected(&format!("config.{format}"))).unwrap_or_default();
            let found = run(case.devctl(&case.config(format))).unwrap_or_else(|error| error);
            if let Some(difference) = difference(&expected, &case.portable(&found)) {
                wrong.push(format!("{} as {format}: {difference}", case.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_service_has_the_hash_that_docker_compose_labels_it_with() {
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for case in corpus() {
        let Some(hashes) = case.hashes() else { continue };
        let found = run(case.devctl(&["config", "--hash", "*"])).unwrap_or_else(|error| error);
        let found: BTreeMap<&str, &str> = found.lines().filter_map(|line| line.split_once(' ')).collect();
        for line in hashes.lines() {
            let [kind, name, hash] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            if kind != "service" {
                continue;
            }
            compared += 1;
            if found.get(name) != Some(&hash) {
                wrong.push(format!("{}: {name}: {:?}, not {hash}", case.name, found.get(name)));
            }
        }
    }
    assert_none(&wrong);
    assert!(compared > 60, "{compared}");
}

#[test]
fn what_is_recorded_is_what_docker_compose_says_here() {
    let record = std::env::var_os("DEVCTL_TEST_RECORD").is_some_and(|value| value == "1");
    let required = record || std::env::var_os("DEVCTL_TEST_REQUIRE_COMPOSE").is_some_and(|value| value == "1");
    let mut version = Command::new("docker");
    version.args(["compose", "version", "--short"]);
    match run(version) {
        Ok(version) if version.trim().starts_with(RELEASE) => {}
        Ok(version) => {
            eprintln!("SKIPPED: the record is of Docker Compose {RELEASE}, and here is {}", version.trim());
            return;
        }
        Err(error) => {
            assert!(!required, "DEVCTL_TEST_REQUIRE_COMPOSE=1, but there is no Docker Compose: {error}");
            eprintln!("SKIPPED: no Docker Compose to compare with");
            return;
        }
    }
    let mut wrong = Vec::new();
    for case in corpus() {
        let mut json = String::new();
        for format in ["yaml", "json"] {
            let found = match run(case.compose(&case.config(format))) {
                Ok(found) => case.portable(&found),
                Err(error) => panic!("{}: {error}", case.name),
            };
            let file = case.expected(&format!("config.{format}"));
            if record {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, &found).unwrap();
            } else if let Some(difference) = difference(&fs::read_to_string(&file).unwrap_or_default(), &found) {
                wrong.push(format!("{} as {format}: {difference}", case.name));
            }
            json = found;
        }
        if record && !case.home.join("not-created").exists() {
            fs::write(case.expected("hashes"), recorded_hashes(&case, &json)).unwrap();
        }
    }
    assert_none(&wrong);
}

/// Has Docker Compose make a project's containers, and reads the labels that it gave them.
fn recorded_hashes(case: &Case, json: &str) -> String {
    let mut tar = Command::new("sh");
    tar.args(["-c", &format!("tar -c -T /dev/null | docker import -c 'CMD [\"true\"]' - {IMAGE}")]);
    run(tar).expect("an image of nothing");
    let model: serde_json::Value = serde_json::from_str(json).unwrap();
    let project = model["name"].as_str().unwrap();
    let created = run(case.compose(&["create", "--no-build"]));
    let filter = format!("label=com.docker.compose.project={project}");
    let mut lines = Vec::new();
    for (kind, key, all) in
        [("container", "service", "--all"), ("network", "network", "-q=false"), ("volume", "volume", "-q=false")]
    {
        let format = format!(
            "{kind} {{{{.Label \"com.docker.compose.{key}\"}}}} {{{{.Label \"com.docker.compose.config-hash\"}}}}"
        );
        let mut list = case.command("docker");
        list.args([kind, "ls", all, "--filter", &filter, "--format", &format]);
        let listed = run(list).unwrap();
        let is_portable = |line: &&str| {
            let name = line.split(' ').nth(1).unwrap_or_default();
            let service = model["services"][name].to_string();
            kind != "container" || !(service.contains("{{dir}}") || service.contains("{{parent}}"))
        };
        lines.extend(listed.lines().filter(is_portable).map(|line| line.replacen("container", "service", 1)));
    }
    let _ = run(case.compose(&["--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "0"]));
    created.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    lines.sort();
    lines.dedup();
    lines.join("\n") + "\n"
}
