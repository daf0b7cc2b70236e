//! What devctl asks the engine for, compared with what Docker Compose asks for with the same file: `docker inspect` of
//! every container, network and volume of the two. And whether Compose takes for its own what devctl made.
//!
//! Needs an engine and `docker compose`; without the latter it skips, loudly. `DEVCTL_TEST_REQUIRE_COMPOSE=1` makes that
//! a failure.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "this is test code, helpers among it")]

#[path = "compose_create/files.rs"]
mod files;

mod engine;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};
use devctl::driver::Work;
use devctl::event::Action;
use devctl::stack::{Infra, Selection, resolve};
use devctl::{manifest, os};
use engine::{Env, IMAGE, Lab, engines, say};
use serde_json::{Value, json};

/// Whether `docker compose` is there; says so where it is not.
fn has_compose() -> bool {
    let there = Command::new("docker").args(["compose", "version"]).output().is_ok_and(|done| done.status.success());
    let required = os::env::all().get("DEVCTL_TEST_REQUIRE_COMPOSE").is_some_and(|value| value == "1");
    assert!(there || !required, "DEVCTL_TEST_REQUIRE_COMPOSE=1, but there is no `docker compose`");
    if !there {
        say("SKIPPED: no `docker compose` to compare with");
    }
    there
}

/// A line with the image of the tests, which has no command of its own.
fn of_image(line: &str) -> String {
    let rest = match (line.trim() == "image: I", line.contains("command:")) {
        (_, true) => String::new(),
        (true, false) => "\n    command: [sleep, \"1000\"]".to_owned(),
        (false, false) => ", command: [sleep, \"1000\"]".to_owned(),
    };
    line.replace("image: I", &format!("image: {IMAGE}{rest}")) + "\n"
}

/// A folder with the file and what it names.
fn folder(lab: &Lab, text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| fs::write(folder.path().join(path), text).unwrap();
    // Of ten tests at once on one machine no two may have the same subnet.
    let id = std::process::id();
    let text = text.replace("10.@.", &format!("10.{}.{}.", 200 + id % 50, id / 50 % 250));
    let text: String = text.replace("source: I,", &format!("source: {IMAGE},")).lines().map(of_image).collect();
    write("compose.yaml", &text.replace("N-", &format!("{}-", lab.project)));
    write("devctl.toml", &format!("[project]\nname = \"{}\"\n[containers]\ncompose = \"compose.yaml\"\n", lab.project));
    write("profile.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    write("secret.txt", "s");
    write("config.txt", "c");
    fs::create_dir(folder.path().join("src")).unwrap();
    folder
}

/// Makes everything of the project as `docker compose create` does.
fn by_compose(lab: &Lab, folder: &Path) -> Result<(), String> {
    let done = Command::new("docker")
        .args(["compose", "--project-name", lab.project.as_str(), "--file", "compose.yaml", "create", "--no-build"])
        .current_dir(folder)
        .env("DOCKER_HOST", lab.docker.host())
        .output()
        .unwrap();
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

/// Makes everything of the project as devctl does, but starts nothing.
async fn by_devctl(lab: &Lab, folder: &Path) {
    let env = os::env::all();
    let manifest = manifest::load(folder, &env).unwrap_or_else(|problems| {
        panic!("{}", problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    let stack = resolve(&manifest, &Selection::default(), Infra::Docker, &env).unwrap();
    for node in stack.nodes() {
        let cx = lab.cx("any", Action::Create);
        match &node.work {
            Work::Network(spec) => lab.docker.ensure_network(spec, &cx).await.unwrap(),
            Work::Volume(spec) => lab.docker.ensure_volume(spec, &cx).await.unwrap(),
            Work::Image(spec) => lab.docker.ensure_image(spec, &cx).await.unwrap(),
            Work::Create(spec) => lab.docker.create_container(spec, &cx).await.unwrap(),
            _ => {}
        }
    }
}

/// Everything of the project as the engine shows it, without what differs each time.
async fn seen(lab: &Lab) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::new();
    let filters = std::collections::HashMap::from([(
        "label".to_owned(),
        vec![format!("com.docker.compose.project={}", lab.project)],
    )]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let mut ids = Vec::new();
    let mut containers = Vec::new();
    for container in lab.raw.list_containers(Some(options)).await.unwrap() {
        let found = lab.raw.inspect_container(&container.id.unwrap(), None).await.unwrap();
        let name = found.name.clone().unwrap().trim_start_matches('/').to_owned();
        ids.push((found.id.clone().unwrap(), name.clone()));
        containers.push((name, found));
    }
    for (name, found) in containers {
        let id = found.id.unwrap();
        let networks = found.network_settings.and_then(|settings| settings.networks);
        let mut value = json!({
            "Config": found.config,
            "HostConfig": found.host_config,
            "Networks": networks,
            "Platform": found.platform,
        });
        if value["Config"]["Hostname"].as_str().is_some_and(|host| id.starts_with(host)) {
            value["Config"].as_object_mut().unwrap().remove("Hostname");
        }
        for network in value["Networks"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
            network.as_object_mut().unwrap().remove("NetworkID");
            if let Some(aliases) = network["Aliases"].as_array_mut() {
                aliases.retain(|alias| !id.starts_with(alias.as_str().unwrap()));
            }
        }
        seen.insert(format!("container {name}"), plain(value, &ids));
    }
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    for network in lab.raw.list_networks(Some(options)).await.unwrap() {
        let name = network.name.clone().unwrap();
        let mut value = serde_json::to_value(&network).unwrap();
        for key in ["Id", "Created"] {
            value.as_object_mut().unwrap().remove(key);
        }
        if value["IPAM"]["Config"].as_array().is_some_and(|pools| pools.iter().all(|pool| pool["IPRange"].is_null())) {
            // The engine has picked the subnet.
            value["IPAM"].as_object_mut().unwrap().remove("Config");
        }
        seen.insert(format!("network {name}"), plain(value, &ids));
    }
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    for volume in lab.raw.list_volumes(Some(options)).await.unwrap().volumes.unwrap_or_default() {
        let value = json!({ "Driver": volume.driver, "Options": volume.options, "Labels": volume.labels });
        seen.insert(format!("volume {}", volume.name), plain(value, &ids));
    }
    seen
}

/// Takes out what differs each time: identities, devctl's own labels, the order of what Compose has in no order.
fn plain(value: Value, ids: &[(String, String)]) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.into_iter().filter(|(key, value)| {
                !key.starts_with("dev.devctl.") && key != "com.docker.compose.version" && !value.is_null()
            });
            let ordered = |key: &str| matches!(key, "Cmd" | "Entrypoint" | "Test" | "Dns" | "DnsSearch");
            kept.map(|(key, value)| {
                let mut value = plain(value, ids);
                if let Value::Array(items) = &mut value
                    && !ordered(&key)
                {
                    items.sort_by_key(ToString::to_string);
                }
                if key == "com.docker.compose.depends_on" {
                    let mut needs: Vec<&str> = value.as_str().unwrap().split(',').collect();
                    needs.sort_unstable();
                    value = json!(needs);
                }
                (key, value)
            })
            .collect()
        }
        Value::Array(items) => items.into_iter().map(|item| plain(item, ids)).collect(),
        Value::String(text) => {
            Value::String(ids.iter().fold(text, |text, (id, name)| text.replace(id, &format!("ID of {name}"))))
        }
        other => other,
    }
}

/// Every difference of two values, by its path.
fn differences(path: &str, compose: &Value, devctl: &Value, out: &mut Vec<String>) {
    match (compose, devctl) {
        (Value::Object(one), Value::Object(two)) => {
            let keys: std::collections::BTreeSet<_> = one.keys().chain(two.keys()).collect();
            for key in keys {
                let (one, two) = (one.get(key).unwrap_or(&Value::Null), two.get(key).unwrap_or(&Value::Null));
                differences(&format!("{path} / {key}"), one, two, out);
            }
        }
        (one, two) if one != two => out.push(format!("{path}:\n    compose: {one}\n    devctl:  {two}")),
        _ => {}
    }
}

/// The identities of the project's containers.
async fn identities(lab: &Lab) -> BTreeMap<String, String> {
    let containers = lab.docker.list_project(&lab.project).await.unwrap();
    containers.into_iter().map(|container| (container.name, container.id)).collect()
}

async fn compare(env: &Env, name: &str, text: &str) -> Vec<String> {
    let lab = Lab::open(env).await;
    let folder = folder(&lab, text);
    let mut found = Vec::new();
    if let Err(error) = by_compose(&lab, folder.path()) {
        return vec![format!("{name}: Docker Compose does not take it: {error}")];
    }
    let compose = seen(&lab).await;
    lab.clear().await;
    by_devctl(&lab, folder.path()).await;
    let mut devctl = seen(&lab).await;
    for (key, one) in &compose {
        let two = devctl.remove(key).unwrap_or(Value::Null);
        let (mut one, mut two) = (one.clone(), two);
        // The hash of what shares with other containers is made of their identities, which are others each time. That it
        // is right is seen below.
        if one.to_string().contains("ID of ") {
            for value in [&mut one, &mut two] {
                value["Config"]["Labels"].as_object_mut().map(|labels| labels.remove("com.docker.compose.config-hash"));
            }
        }
        differences(key, &one, &two, &mut found);
    }
    found.extend(devctl.keys().map(|key| format!("{key}: devctl alone has made it")));

    let before = identities(&lab).await;
    match by_compose(&lab, folder.path()) {
        Ok(()) => {
            let after = identities(&lab).await;
            let replaced: Vec<_> = before.iter().filter(|(name, id)| after.get(*name) != Some(id)).collect();
            if !replaced.is_empty() {
                found.push(format!("Docker Compose makes anew what devctl has made: {replaced:?}"));
            }
        }
        Err(error) => found.push(format!("Docker Compose does not take what devctl has made: {error}")),
    }
    found.into_iter().map(|line| format!("{name}: {line}")).collect()
}

#[tokio::test]
async fn devctl_makes_what_docker_compose_makes() {
    if !has_compose() {
        return;
    }
    for env in engines().await {
        let docker = devctl::driver::docker::Docker::connect(&env).await.unwrap();
        let mut found = Vec::new();
        for (name, text) in files::ALL {
            found.extend(compare(&env, name, text).await);
        }
        let newer = if docker.speaks(1, 48) { files::NEWER } else { &[] };
        for (name, text) in newer {
            found.extend(compare(&env, name, text).await);
        }
        assert!(found.is_empty(), "{}, {} differences:\n{}", docker.describe(), found.len(), found.join("\n"));
    }
}
