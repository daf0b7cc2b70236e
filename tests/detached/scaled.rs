//! Replicas: each at a port of its own, and those that stay keep theirs.

use std::collections::BTreeMap;

use crate::{answer, down, pid, project, rows, say, up};

const SERVER: &str = r#"
[project]
name = "@name@"

[services.api]
command = ["STUB", "shell", "exec STUB serve $PORT"]
port    = @port:api@
ready   = { http = "/" }

[services.worker]
command    = ["STUB", "lines", "up"]
depends_on = ["api"]
"#;

/// The ports of the replicas, by name, as `ps` shows them. Each of them answers.
#[track_caller]
fn replicas(project: &crate::Project) -> BTreeMap<String, u16> {
    let api =
        rows(project).into_iter().filter(|row| row["service"].as_str().is_some_and(|name| name.starts_with("api")));
    let ports: BTreeMap<String, u16> = api
        .map(|row| {
            let address = row["addresses"][0].as_str().unwrap_or_else(|| panic!("no address: {row}"));
            let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
            let port = port.unwrap_or_else(|| panic!("no port: {row}"));
            assert_eq!(row["state"], "ready", "{row}");
            assert_eq!(answer(port), "ok");
            (row["service"].as_str().expect("it has a name").to_owned(), port)
        })
        .collect();
    let mut different: Vec<u16> = ports.values().copied().collect();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), ports.len(), "{ports:?}");
    ports
}

#[test]
fn replicas_answer_at_ports_of_their_own_and_keep_them() {
    let project = project(SERVER);
    let events = up(&project);
    let (first, worker) = (pid(&project, "api"), pid(&project, "worker"));
    let told = say(&project, &["scale", "api=3"]).expect(0).out;
    assert!(told.contains("api#2 started, ready in ") && told.contains("api#3 started, ready in "), "{told}");
    let three = replicas(&project);
    assert_eq!(three.keys().collect::<Vec<_>>(), ["api", "api#2", "api#3"]);
    assert_eq!(three["api"], project.port("api"));
    let second = pid(&project, "api#2");
    assert_eq!(pid(&project, "api"), first, "the first one is as it was");

    let told = say(&project, &["scale", "api=2"]).expect(0).out;
    assert!(told.contains("api#3 removed"), "{told}");
    let two = replicas(&project);
    assert_eq!(two, three.into_iter().filter(|(name, _)| name != "api#3").collect());
    // One of them alone, or all by the service's name.
    say(&project, &["restart", "api#2"]).expect(0);
    assert_ne!(pid(&project, "api#2"), second);
    assert_eq!(pid(&project, "api"), first);
    assert_eq!(replicas(&project), two);
    say(&project, &["restart", "api"]).expect(0);
    assert_ne!(pid(&project, "api"), first);
    assert_eq!(replicas(&project), two);
    // Another `up` does not forget how many there are.
    say(&project, &["up", "-d"]).expect(0);
    assert_eq!(replicas(&project), two);

    say(&project, &["scale", "api=1"]).expect(0);
    assert_eq!(replicas(&project).keys().collect::<Vec<_>>(), ["api"]);
    assert_eq!(pid(&project, "worker"), worker, "whoever needs it was left alone");
    let none = say(&project, &["scale", "api=0"]);
    assert!(none.code == Some(2) && none.err.contains("devctl stop api"), "{none:#?}");
    let unknown = say(&project, &["scale", "apo=2"]);
    assert!(unknown.code == Some(2) && unknown.err.contains("did you mean `api`?"), "{unknown:#?}");
    down(&project, events);
}
