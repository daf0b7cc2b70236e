//! What `up` and `down` make of containers that are there already, on a real engine: what is left alone, what is made
//! anew and why, and what is nobody's to touch.

#![cfg(unix)]

mod support;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use support::{Container, Devctl, Engine, Finished, Project, Signal};

const MANIFEST: &str = "[project]\nname = \"@name@\"\n[containers]\ncompose = [\"compose.yml\"]\n";

/// The image has a volume of its own, `/data`.
const COMPOSE: &str = r#"
name: @name@
services:
  db:
    image: redis:7-alpine
    volumes: ["named:/named"]
  web:
    image: redis:7-alpine
    environment: { GREETING: hello }
    volumes: ["/cache"]
    depends_on: [db]
volumes:
  named:
"#;

fn project() -> Option<(Project, Engine)> {
    let engine = Engine::for_test()?;
    Some((Project::with(MANIFEST, COMPOSE), engine))
}

/// Changes the Compose file.
#[track_caller]
fn change(project: &Project, from: &str, to: &str) {
    assert!(COMPOSE.contains(from), "the file says `{from}`");
    project.write("compose.yml", &COMPOSE.replace(from, to));
}

/// Brings the stack up, and ends that again with its containers left behind, stopped.
#[track_caller]
fn kept(project: &Project, args: &[&str]) -> Finished {
    let devctl = project.up_ready(&[&["--driver", "docker", "--keep"], args].concat());
    stopped(devctl)
}

#[track_caller]
fn stopped(devctl: Devctl) -> Finished {
    devctl.signal(Signal::SIGINT);
    devctl.wait_exit().expect_code(0)
}

/// The containers of the project, by name.
fn containers(project: &Project, engine: Engine) -> Vec<Container> {
    let mut found = engine.containers(&format!("com.docker.compose.project={}", project.name()));
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The names of the containers, without the project's.
fn names(project: &Project, engine: Engine) -> Vec<String> {
    let short = |container: Container| container.name.replace(&format!("{}-", project.name()), "");
    containers(project, engine).into_iter().map(short).collect()
}

/// The id of a container, by its short name.
#[track_caller]
fn id(project: &Project, engine: Engine, name: &str) -> String {
    let name = format!("{}-{name}", project.name());
    let found = containers(project, engine);
    let one = found.iter().find(|container| container.name == name);
    one.unwrap_or_else(|| panic!("there is no `{name}`: {found:?}")).id.clone()
}

/// The volume that a container mounts at a path.
#[track_caller]
fn volume_at(engine: Engine, id: &str, path: &str) -> String {
    let format = format!("{{{{range .Mounts}}}}{{{{if eq .Destination {path:?}}}}}{{{{.Name}}}}{{{{end}}}}{{{{end}}}}");
    let name = engine.docker(&["inspect", "--format", &format, id]).trim().to_owned();
    assert!(!name.is_empty(), "nothing is mounted at {path}");
    name
}

/// What a dry run says of a container: `replace  container web  its configuration changed`.
#[track_caller]
fn planned(project: &Project, args: &[&str], container: &str) -> String {
    let plan = project.printed(&[&["up", "--driver", "docker", "--dry-run"], args].concat());
    let line = plan.lines().find(|line| line.contains(&format!(" container {container} ")));
    let line = line.unwrap_or_else(|| panic!("nothing is said of `{container}`:\n{plan}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Docker Compose in the project's folder. Without it the test is skipped, and says so.
fn compose(project: &Project, args: &[&str]) -> Option<Output> {
    let run = |args: &[&str]| {
        let mut command = Command::new("docker");
        command.arg("compose").args(args).current_dir(project.root()).stdin(Stdio::null());
        command.output().expect("the docker command runs, it did before")
    };
    if !run(&["version"]).status.success() {
        assert!(
            std::env::var_os("DEVCTL_TEST_REQUIRE_COMPOSE").is_none_or(|required| required != "1"),
            "DEVCTL_TEST_REQUIRE_COMPOSE=1, but there is no Docker Compose"
        );
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        drop(writeln!(std::io::stderr(), "SKIPPED: no `docker compose` for {test}"));
        return None;
    }
    let output = run(args);
    assert!(output.status.success(), "{output:?}");
    Some(output)
}

#[test]
fn what_did_not_change_stays_and_each_change_is_named() {
    let Some((project, engine)) = project() else { return };
    kept(&project, &[]);
    let before = containers(&project, engine);
    assert_eq!(names(&project, engine), ["db-1", "web-1"]);
    kept(&project, &[]);
    assert_eq!(containers(&project, engine), before);
    assert_eq!(planned(&project, &[], "web"), "reuse container web exists and does not run");
    assert_eq!(planned(&project, &["--force-recreate"], "db"), "replace container db asked for");
    assert_eq!(planned(&project, &["--always-recreate-deps", "web"], "db"), "replace container db asked for");
    assert_eq!(
        planned(&project, &["--always-recreate-deps", "web"], "web"),
        "reuse container web exists and does not run"
    );

    // Off its network, while it runs.
    let web = id(&project, engine, "web-1");
    engine.docker(&["start", &web]);
    assert_eq!(planned(&project, &[], "web"), "keep container web runs and is up to date");
    let network = format!("{}_default", project.name());
    engine.docker(&["network", "disconnect", &network, &web]);
    let off = format!("replace container web it is not on the network `{network}`");
    assert_eq!(planned(&project, &[], "web"), off);
    assert_eq!(planned(&project, &["--no-recreate"], "web"), "keep container web runs and is up to date");
    engine.docker(&["network", "connect", "--alias", "web", &network, &web]);
    engine.docker(&["stop", &web]);

    change(&project, "hello", "goodbye");
    assert_eq!(planned(&project, &[], "web"), "replace container web `environment` changed");
    assert_eq!(planned(&project, &[], "db"), "reuse container db exists and does not run");
    project.write("compose.yml", &COMPOSE.replace("hello", "goodbye").replace("[\"/cache\"]", "[\"/other\"]"));
    assert_eq!(planned(&project, &[], "web"), "replace container web `environment`, `volumes` changed");
    change(&project, "hello", "goodbye");
    kept(&project, &[]);
    assert_ne!(id(&project, engine, "web-1"), web);
    assert_eq!(id(&project, engine, "db-1"), before[0].id);
}

#[test]
fn a_container_that_is_made_anew_keeps_its_volumes_without_a_name_unless_told_otherwise() {
    let Some((project, engine)) = project() else { return };
    kept(&project, &[]);
    let first = id(&project, engine, "web-1");
    let volumes = |id: &str| [volume_at(engine, id, "/cache"), volume_at(engine, id, "/data")];
    let before = volumes(&first);

    change(&project, "hello", "goodbye");
    kept(&project, &[]);
    let second = id(&project, engine, "web-1");
    assert_ne!(second, first);
    assert_eq!(volumes(&second), before, "what was in them is there");
    let label =
        engine.docker(&["inspect", "--format", "{{index .Config.Labels \"com.docker.compose.replace\"}}", &second]);
    assert_eq!(label.trim(), "web-1");

    kept(&project, &["-V"]);
    let third = id(&project, engine, "web-1");
    assert_ne!(volumes(&third), before);
    assert_ne!(id(&project, engine, "db-1"), second);

    // The named one lives on, and nothing else does.
    let own = volumes(&third);
    project.printed(&["down"]);
    let left = engine.docker(&["volume", "ls", "--quiet"]);
    assert!(own.iter().all(|name| !left.contains(name.as_str())), "{own:?}");
    assert!(left.contains(&format!("{}_named", project.name())), "{left}");
    for name in before {
        engine.docker(&["volume", "rm", &name]);
    }
}

#[test]
fn a_run_that_is_up_makes_anew_what_changed_and_no_more() {
    let Some((project, engine)) = project() else { return };
    project.printed(&["up", "-d", "--driver", "docker"]);
    let (db, web) = (id(&project, engine, "db-1"), id(&project, engine, "web-1"));
    let cache = volume_at(engine, &web, "/cache");
    project.printed(&["up", "-d"]);
    assert_eq!((id(&project, engine, "db-1"), id(&project, engine, "web-1")), (db.clone(), web.clone()));
    change(&project, "hello", "goodbye");
    project.printed(&["up", "-d"]);
    let again = id(&project, engine, "web-1");
    assert_ne!(again, web);
    assert_eq!(volume_at(engine, &again, "/cache"), cache);
    assert_eq!(id(&project, engine, "db-1"), db);
    project.printed(&["up", "-d", "--force-recreate", "db"]);
    assert_ne!(id(&project, engine, "db-1"), db);
    assert_eq!(id(&project, engine, "web-1"), again, "it was wanted once, and of the other");

    // Replicas come and go beside what runs.
    project.printed(&["scale", "web=3"]);
    assert_eq!(names(&project, engine), ["db-1", "web-1", "web-2", "web-3"]);
    assert_eq!(id(&project, engine, "web-1"), again);
    assert!(containers(&project, engine).iter().all(|container| container.state == "running"));
    project.printed(&["scale", "web=1"]);
    // A replica is gone for devctl once it has stopped; its container is removed after that.
    support::until("two containers are left", || match names(&project, engine) {
        left if left == ["db-1", "web-1"] => Ok(()),
        left => Err(format!("{left:?}")),
    });
    assert_eq!(id(&project, engine, "web-1"), again);
    let down = project.printed(&["down"]);
    assert!(down.ends_with("0 left\n"), "{down}");
    assert_eq!(names(&project, engine), [""; 0]);
}

#[test]
fn replicas_have_numbers_and_those_that_are_too_many_go() {
    let Some((project, engine)) = project() else { return };
    kept(&project, &["--scale", "web=3"]);
    assert_eq!(names(&project, engine), ["db-1", "web-1", "web-2", "web-3"]);
    let first = id(&project, engine, "web-1");
    let number = |name: &str| {
        let label = "{{index .Config.Labels \"com.docker.compose.container-number\"}}";
        engine.docker(&["inspect", "--format", label, &id(&project, engine, name)]).trim().to_owned()
    };
    assert_eq!((number("web-1"), number("web-3")), ("1".to_owned(), "3".to_owned()));
    kept(&project, &[]);
    assert_eq!(names(&project, engine), ["db-1", "web-1"]);
    assert_eq!(id(&project, engine, "web-1"), first);
    kept(&project, &["--scale", "web=0"]);
    assert_eq!(names(&project, engine), ["db-1"]);
}

#[test]
fn orphans_are_told_of_and_go_when_asked() {
    let Some((project, engine)) = project() else { return };
    kept(&project, &[]);
    let renamed = COMPOSE.replace("  web:", "  site:");
    project.write("compose.yml", &renamed);
    let finished = kept(&project, &[]);
    let warning = finished.event("warning")["message"].as_str().unwrap_or_default().to_owned();
    assert!(warning.contains(&format!("{}-web-1", project.name())), "{}", finished.told());
    assert_eq!(names(&project, engine), ["db-1", "site-1", "web-1"]);
    // What is only left out now is no orphan.
    project.write("compose.yml", &renamed.replace("  site:", "  web: { image: x, profiles: [old] }\n  site:"));
    let finished = kept(&project, &[]);
    assert!(finished.find("warning", None).is_none(), "{}", finished.told());
    project.write("compose.yml", &renamed);
    kept(&project, &["--remove-orphans"]);
    assert_eq!(names(&project, engine), ["db-1", "site-1"]);
}

#[test]
fn a_project_of_the_same_name_elsewhere_is_left_alone() {
    let Some((project, engine)) = project() else { return };
    kept(&project, &[]);
    let before = containers(&project, engine);
    let other = Project::empty();
    let named = |text: &str| text.replace("@name@", project.name());
    other.write("devctl.toml", &named(MANIFEST));
    other.write("compose.yml", &named(COMPOSE));
    for args in [&["up", "--driver", "docker"][..], &["up", "--driver", "docker", "--force-recreate"], &["down"]] {
        let refused = other.output(args);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(3), "{text}");
        assert!(text.contains(&project.root().display().to_string()), "{text}");
        assert!(text.contains("devctl -p"), "{text}");
    }
    assert_eq!(containers(&project, engine), before);
    // The same folder by another way is the same project.
    let way = other.root().join("way");
    std::os::unix::fs::symlink(project.root(), &way).expect("the folder is ours");
    let mut command = project.command(&["up", "--driver", "docker", "--dry-run"]);
    let output = command.current_dir(&way).output().expect("cargo built the binary");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_run_that_fails_takes_back_what_it_made_and_leaves_what_was_there() {
    let Some((project, engine)) = project() else { return };
    let broken = "  late:\n    image: @name@-absent:1\n    pull_policy: never\n    depends_on: [web, more]\n  \
                  more:\n    image: redis:7-alpine\n    depends_on: [web]\nvolumes:\n";
    kept(&project, &[]);
    let before = containers(&project, engine);
    project.write("compose.yml", &COMPOSE.replace("\nvolumes:\n", &format!("\n{broken}")));
    let finished = project.run(&["up", "--format", "json", "--driver", "docker"]);
    assert_ne!(finished.code, Some(0), "{}", finished.told());
    finished.clean_receipt();
    assert_eq!(containers(&project, engine), before, "{}", finished.told());
}

#[test]
fn a_recreate_that_was_interrupted_is_finished_or_undone() {
    let Some((project, engine)) = project() else { return };
    kept(&project, &[]);
    let web = id(&project, engine, "web-1");
    let name = format!("{}-web-1", project.name());

    // After the old one was removed, before the new one had its name.
    let temporary = format!("0123456789ab_{name}");
    engine.docker(&["rename", &name, &temporary]);
    kept(&project, &[]);
    assert_eq!(id(&project, engine, "web-1"), web);

    // After the new one was created, before the old one was removed.
    let temporary = format!("{}_{name}", &web[..12]);
    let project_label = format!("com.docker.compose.project={}", project.name());
    let labels = [
        project_label.as_str(),
        "com.docker.compose.service=web",
        "com.docker.compose.oneoff=False",
        "com.docker.compose.container-number=1",
        "com.docker.compose.config-hash=0",
    ];
    let labels: Vec<&str> = labels.iter().flat_map(|label| ["--label", label]).collect();
    engine.docker(
        &[&["create", "--name", &temporary, "--volumes-from", &web], &labels[..], &["redis:7-alpine"]].concat(),
    );
    let cache = volume_at(engine, &web, "/cache");
    kept(&project, &[]);
    assert_eq!(names(&project, engine), ["db-1", "web-1"]);
    assert_eq!(id(&project, engine, "web-1"), web);
    assert_eq!(volume_at(engine, &web, "/cache"), cache);
    engine.docker(&["volume", "inspect", &cache]);

    // `down` leaves none of it.
    engine.docker(&["rename", &name, &temporary]);
    project.printed(&["down"]);
    assert_eq!(names(&project, engine), [""; 0]);
}

#[test]
fn a_network_that_changed_is_made_anew_around_its_containers() {
    let Some((project, engine)) = project() else { return };
    kept(&project, &[]);
    let before = containers(&project, engine);
    let network = format!("{}_default", project.name());
    let of = |network: &str| engine.docker(&["network", "inspect", "--format", "{{.Id}} {{.Internal}}", network]);
    let old = of(&network);
    project.write("compose.yml", &format!("{COMPOSE}networks:\n  default:\n    internal: true\n"));
    let devctl = project.up_ready(&["--driver", "docker", "--keep"]);
    let new = of(&network);
    assert!(new != old && new.trim().ends_with("true"), "{new}");
    assert_eq!(
        containers(&project, engine).iter().map(|c| &c.id).collect::<Vec<_>>(),
        before.iter().map(|c| &c.id).collect::<Vec<_>>()
    );
    // They find each other by the same names.
    let answer = engine.docker(&["exec", &before[1].id, "redis-cli", "-h", "db", "ping"]);
    assert_eq!(answer.trim(), "PONG");
    stopped(devctl);
}

#[test]
fn a_volume_that_changed_keeps_what_is_in_it_unless_its_loss_was_agreed_to() {
    let Some((project, engine)) = project() else { return };
    kept(&project, &[]);
    let db = id(&project, engine, "db-1");
    project.write("compose.yml", &COMPOSE.replace("  named:\n", "  named:\n    labels: { a: b }\n"));
    let volume = format!("{}_named", project.name());
    let made = || engine.docker(&["volume", "inspect", "--format", "{{.Labels}}", &volume]);
    let before = made();
    let finished = kept(&project, &[]);
    assert!(finished.event("warning")["message"].as_str().is_some_and(|text| text.contains(&volume)));
    assert_eq!((made(), id(&project, engine, "db-1")), (before.clone(), db.clone()));
    kept(&project, &["--yes"]);
    assert_ne!(made(), before);
    assert_ne!(id(&project, engine, "db-1"), db);
}

#[test]
fn docker_compose_and_devctl_leave_each_others_containers_as_they_are() {
    let Some((project, engine)) = project() else { return };
    kept(&project, &[]);
    let ids = || containers(&project, engine).into_iter().map(|container| container.id).collect::<Vec<_>>();
    let before = ids();
    if compose(&project, &["-f", "compose.yml", "up", "-d"]).is_none() {
        return;
    }
    assert_eq!(ids(), before, "Compose keeps what devctl made");
    let devctl = project.up_ready(&["--driver", "docker"]);
    assert_eq!(ids(), before);
    let finished = stopped(devctl);
    assert_eq!(ids(), before, "what ran before runs on: {}", finished.told());
    compose(&project, &["-f", "compose.yml", "up", "-d", "--force-recreate", "--scale", "web=2"]);
    let theirs = ids();
    assert_eq!(theirs.len(), 3);
    stopped(project.up_ready(&["--driver", "docker", "--scale", "web=2"]));
    assert_eq!(ids(), theirs, "devctl keeps what Compose made");
    let down = project.printed(&["down"]);
    assert!(down.ends_with("0 left\n"), "{down}");
    assert_eq!(ids(), [""; 0]);
}

#[test]
fn a_healthcheck_counts_as_soon_as_it_passes_whoever_ran_it() {
    let Some((project, _)) = project() else { return };
    // The engine would run it for the first time in an hour.
    let check = "    healthcheck: { test: [CMD, redis-cli, ping], interval: 1h, retries: 1 }\n  web:\n";
    let waits = COMPOSE.replace("  web:\n", check).replace("[db]", "{ db: { condition: service_healthy } }");
    project.write("compose.yml", &waits);
    let mut devctl = project.up_ready(&["--driver", "docker"]);
    assert_eq!(devctl.wait_node("ready", "db")["probe"], "healthcheck");
    stopped(devctl);

    // One that the image has is the engine's to run, and one that nobody has can never pass.
    project.write("compose.yml", &COMPOSE.replace("[db]", "{ db: { condition: service_healthy } }"));
    let failed = project.run(&["up", "--format", "json", "--driver", "docker"]).expect_code(1);
    let message = failed.find("failed", Some("db")).map(|event| event["failure"]["message"].to_string());
    assert!(message.is_some_and(|text| text.contains("no healthcheck")), "{}", failed.told());
    failed.clean_receipt();
}

#[test]
fn an_image_is_built_anew_where_that_is_asked_for_and_its_container_follows() {
    let Some(engine) = Engine::for_test() else { return };
    let compose = "name: @name@\nservices:\n  web: { build: ./web }\n  db: { image: \"redis:7-alpine\" }\n";
    let project = Project::with(MANIFEST, compose);
    let file = |word: &str| format!("FROM redis:7-alpine\nLABEL devctl.test.word={word}\n");
    project.write("web/Dockerfile", &file("one"));
    let missing = project.run(&["up", "--driver", "docker", "--no-build", "--format", "plain"]);
    let told = missing.told();
    assert_ne!(missing.code, Some(0), "{told}");
    assert!(told.contains(&format!("{}-web", project.name())), "{told}");

    kept(&project, &[]);
    let (web, db) = (id(&project, engine, "web-1"), id(&project, engine, "db-1"));
    project.write("web/Dockerfile", &file("two"));
    kept(&project, &[]);
    assert_eq!(id(&project, engine, "web-1"), web, "an image that is there is not built by itself");
    kept(&project, &["--build"]);
    let built = id(&project, engine, "web-1");
    assert_ne!(built, web);
    assert_eq!(id(&project, engine, "db-1"), db);
    let word = engine.docker(&["inspect", "--format", "{{index .Config.Labels \"devctl.test.word\"}}", &built]);
    assert_eq!(word.trim(), "two");
    kept(&project, &["--build"]);
    assert_eq!(id(&project, engine, "web-1"), built, "the same image again");
    project.run(&["down", "--rmi", "local"]).expect_code(0);
}
