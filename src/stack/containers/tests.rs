//! Services to the bodies that the engine is sent, as the wire has them.

use std::collections::BTreeMap;
use std::fs;

use crate::driver::Work;
use crate::driver::docker::ContainerSpec;
use crate::manifest;
use crate::stack::{Infra, Selection, resolve};

/// The container of the only service of a Compose file.
fn container(service: &str) -> ContainerSpec {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("devctl.toml"), "[containers]\ncompose = \"c.yml\"\n").unwrap();
    let text = format!("name: shop\nservices:\n  db: {service}\nvolumes: {{data: }}\n");
    fs::write(folder.path().join("c.yml"), text).unwrap();
    let manifest = manifest::load(folder.path(), &BTreeMap::new()).unwrap();
    let stack = resolve(&manifest, &Selection::default(), Infra::Docker, &BTreeMap::new()).unwrap();
    let found = stack.nodes().find_map(|node| match &node.work {
        Work::Create(spec) => Some((**spec).clone()),
        _ => None,
    });
    let mut spec = found.unwrap();
    spec.body.labels = None;
    spec
}

fn sent(service: &str) -> serde_json::Value {
    serde_json::to_value(container(service).body).unwrap()
}

#[test]
fn a_container_is_sent_as_compose_sends_it() {
    let service = r#"
    image: pg:16
    environment: [A=b=c]
    ports: ["127.0.0.1:5432:5432", "127.0.0.1::5432"]
    expose: [99, 5432]
    volumes: ["data:/data", "/srv/x:/x:ro", "/cache", {type: tmpfs, target: /tmp}]
    healthcheck: {test: [CMD, "true"], interval: 1500ms, start_interval: 1s}
    restart: on-failure:5
    stop_grace_period: 1500ms
    ulimits: {nofile: {soft: 100, hard: 200}}
    shm_size: 64m
"#;
    insta::assert_json_snapshot!(sent(service));
}

#[test]
fn what_is_not_said_is_not_sent() {
    insta::assert_json_snapshot!(sent("{image: b}"));
}

#[test]
fn aliases_are_the_names_of_container_and_service_and_those_given() {
    let spec = container("{image: a, networks: {default: {aliases: [pg, db]}}}");
    let (network, endpoint) = &spec.networks[0];
    assert_eq!(network, "shop_default");
    assert_eq!(endpoint.aliases.as_deref().unwrap(), ["shop-db-1", "db", "pg"]);
}
