//! The harness itself: what the other tests lean on must hold first.

#![cfg(unix)]

mod support;

use support::{Engine, Port, Project, Terminal, processes_of_run};

#[test]
fn a_reserved_port_is_nobody_elses() {
    let (one, other) = (Port::reserve(), Port::reserve());
    assert_ne!(one.number(), other.number());
    assert!(std::net::TcpListener::bind(("127.0.0.1", one.number())).is_ok());
}

#[test]
fn a_project_is_unlike_any_other_and_its_files_are_filled_in() {
    let (one, other) = (Project::empty(), Project::empty());
    assert_ne!(one.name(), other.name());
    assert!(one.name().parse::<devctl::name::ProjectName>().is_ok(), "{}", one.name());
    one.write("a/b.txt", "@name@ user@host @port:db@ @port:db@");
    let port = one.port("db");
    let text = std::fs::read_to_string(one.root().join("a/b.txt")).unwrap();
    assert_eq!(text, format!("{} user@host {port} {port}", one.name()));
}

#[test]
fn a_process_is_found_by_its_run() {
    let run = format!("{:012x}", std::process::id());
    let mut child = std::process::Command::new("sleep").arg("600").env("DEVCTL_RUN", &run).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let found = support::until("the process is found", || {
        let found = processes_of_run(&run);
        // Between fork and exec it still has our environment.
        if found.is_empty() { Err(format!("{found:?}")) } else { Ok(found) }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found.iter().map(|p| p.pid).collect::<Vec<_>>(), [pid]);
    assert_eq!(processes_of_run(&run), []);
}

#[test]
fn a_project_takes_all_of_its_containers_networks_and_volumes_along() {
    let Some(engine) = Engine::for_test() else { return };
    let project = Project::whole();
    let name = project.name().to_owned();
    let file = project.root().join("compose.yml");
    let label = format!("com.docker.compose.project={name}");
    let labelled = ["--label", &label, &name];
    engine.docker(&[&["volume", "create"], &labelled[..]].concat());
    engine.docker(&[&["network", "create"], &labelled[..]].concat());
    let container = ["create", "--label", &label, "--name", &name, "--network", &name, "redis:7-alpine"];
    engine.docker(&container);
    assert!(file.exists());
    assert_eq!(engine.left_of_project(&name), [format!("container {name} (created)"), format!("network {name}")]);
    assert_eq!(engine.volumes(&label), std::slice::from_ref(&name));
    drop(project);
    assert_eq!(engine.left_of_project(&name), Vec::<String>::new());
    assert_eq!(engine.volumes(&label), Vec::<String>::new());
}

#[test]
fn a_terminal_shows_what_devctl_prints_and_knows_its_end() {
    let project = Project::empty();
    let mut terminal = Terminal::start(&project, &["--help"]);
    assert_eq!(terminal.wait_exit(), Some(0));
}
