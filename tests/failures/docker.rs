//! Engines that are not there, that go away, and that cannot get an image.

use std::io::{BufRead as _, BufReader, Write as _};

use crate::message::{Message, up, up_command, wait_line};
use crate::proxy::Proxy;
use crate::support::{Devctl, Engine, Project, variable};

/// A project with one container and nothing else.
fn redis(image: &str, keys: &str) -> Project {
    Project::with(
        "[project]\nname = \"@name@\"\n\n[containers]\ncompose = [\"compose.yml\"]\n",
        &format!(
            "name: @name@\nservices:\n  redis:\n    image: {image}\n    ports: [\"127.0.0.1:@port:redis@:6379\"]\n{keys}"
        ),
    )
}

/// `devctl up` with an engine that is somewhere else.
fn up_at(project: &Project, host: &str, args: &[&str]) -> Devctl {
    let mut command = up_command(project, args);
    command.env("DOCKER_HOST", host);
    Devctl::spawn(command)
}

#[test]
fn an_engine_that_is_not_there() {
    let project = redis("redis:7-alpine", "");
    let host = format!("unix://{}/nowhere.sock", project.root().display());
    let devctl = up_at(&project, &host, &["--driver", "docker"]);
    Message::new(&project, devctl.wait_exit()).nothing_left(&project).matches("engine_absent");
}

#[test]
fn without_an_engine_the_servers_are_embedded() {
    let project = redis("redis:7-alpine", "");
    let host = format!("unix://{}/nowhere.sock", project.root().display());
    let message = Message::of_interrupted(&project, up_at(&project, &host, &[]), "everything is ready");
    message.nothing_left(&project).matches("engine_absent_auto");
}

#[test]
fn something_else_listens_where_the_engine_should() {
    let project = redis("redis:7-alpine", "");
    let listener = std::os::unix::net::UnixListener::bind(project.root().join("other.sock")).expect("it is ours");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The whole request first: whoever answers before it is asked may be cut off.
            let request = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            if request.count() == 0 {
                continue;
            }
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome"));
        }
    });
    let host = format!("unix://{}/other.sock", project.root().display());
    let devctl = up_at(&project, &host, &["--driver", "docker"]);
    Message::new(&project, devctl.wait_exit()).nothing_left(&project).matches("engine_is_something_else");
}

#[test]
fn an_image_that_no_registry_gives() {
    let Some(_) = Engine::for_test() else { return };
    // A registry on this machine, on a port where nobody listens.
    let project = redis("localhost:1/team/cache:1", "");
    Message::of_up(&project, &["--driver", "docker"]).nothing_left(&project).matches("image_missing");
}

#[test]
fn an_image_that_may_not_be_pulled() {
    let Some(_) = Engine::for_test() else { return };
    let project = redis("localhost:1/team/cache:1", "    pull_policy: never\n");
    Message::of_up(&project, &["--driver", "docker"]).nothing_left(&project).matches("image_missing_never");
}

#[test]
fn an_image_that_can_be_had_nowhere_and_has_no_embedded_twin() {
    let Some(_) = Engine::for_test() else { return };
    let project = redis("localhost:1/team/cache:1", "");
    Message::of_up(&project, &[]).nothing_left(&project).matches("image_missing_auto");
}

#[test]
fn an_engine_that_goes_away_before_a_container_is_made() {
    let Some(_) = Engine::for_test() else { return };
    let project = redis("redis:7-alpine", "");
    let Some(proxy) = Proxy::start(&project, Some("POST /containers/create")) else { return };
    let devctl = up_at(&project, &proxy.host(), &["--driver", "docker"]);
    Message::new(&project, devctl.wait_exit()).matches("engine_gone_creating");
}

#[test]
fn an_engine_that_goes_away_while_a_database_starts() {
    let Some(_) = Engine::for_test() else { return };
    // Nothing of it listens on the port, so that it would be waited for long.
    let project = redis("redis:7-alpine", "    command: [\"sleep\", \"600\"]\n");
    let Some(proxy) = Proxy::start(&project, None) else { return };
    let mut devctl = up_at(&project, &proxy.host(), &["--driver", "docker", "--timeout", "60s"]);
    wait_line(&mut devctl, "started (container");
    proxy.cut();
    Message::new(&project, devctl.wait_exit()).matches("engine_gone_starting");
}

#[test]
fn an_engine_that_goes_away_after_everything_is_ready() {
    let Some(_) = Engine::for_test() else { return };
    let project = redis("redis:7-alpine", "");
    let Some(proxy) = Proxy::start(&project, None) else { return };
    let mut devctl = up_at(&project, &proxy.host(), &["--driver", "docker"]);
    wait_line(&mut devctl, "everything is ready");
    proxy.cut();
    Message::new(&project, devctl.wait_exit()).matches("engine_gone_ready");
    // The engine is back: the next run takes over what the last one could not, and away at its end.
    let next = Message::of_interrupted(&project, up(&project, &["--driver", "docker"]), "everything is ready");
    next.nothing_left(&project).matches("engine_back");
}

/// A project whose containers a killed devctl left running.
fn killed(project: &Project, devctl: Devctl) {
    let mut devctl = devctl;
    wait_line(&mut devctl, "everything is ready");
    devctl.kill_with_guardian();
    assert!(recorded(project), "nobody was there to remove the record");
}

fn recorded(project: &Project) -> bool {
    project.root().join(".devctl/run.json").is_file()
}

/// What `devctl down` and `devctl ps` say, with an engine that is somewhere else where a host is given.
fn down_and_ps(project: &Project, host: Option<&str>) -> [Message; 2] {
    ["down", "ps"].map(|command| {
        let mut command = project.command(&[command]);
        command.envs(host.map(|host| ("DOCKER_HOST", host)));
        Message::new(project, Devctl::spawn(command).wait_exit())
    })
}

#[test]
fn containers_on_an_engine_that_is_away_are_not_said_to_be_gone() {
    let Some(_) = Engine::for_test() else { return };
    let project = redis("redis:7-alpine", "");
    killed(&project, up(&project, &["--driver", "docker"]));
    let host = format!("unix://{}/nowhere.sock", project.root().display());
    let [down, ps] = down_and_ps(&project, Some(&host));
    Message::joined(format!("{}\n\n{}", down.text(), ps.text())).without("DOCKER_HOST=").matches("engine_away_down_ps");
    assert!(recorded(&project), "who could find the containers again without the record?");
    let down = project.printed(&["down"]);
    assert!(down.contains(&format!("removed container {}-redis-1\n", project.name())), "{down}");
    assert!(down.ends_with("0 left\n") && !recorded(&project), "{down}");
    project.assert_nothing_left("none");
}

#[test]
fn a_project_that_insists_on_docker_wants_to_know() {
    let project = redis("redis:7-alpine", "");
    let manifest = "[project]\nname = \"@name@\"\n[containers]\ncompose = [\"compose.yml\"]\ndriver = \"docker\"\n";
    project.write("devctl.toml", manifest);
    let host = format!("unix://{}/nowhere.sock", project.root().display());
    for message in down_and_ps(&project, Some(&host)) {
        let text = message.text();
        assert!(text.starts_with("exit code 3\n"), "{text}");
        assert!(text.contains("note: containers of the project `[name]` may still run\n"), "{text}");
    }
}

#[test]
fn containers_on_another_engine_are_not_said_to_be_gone() {
    let Some(engine) = Engine::for_test() else { return };
    let project = redis("redis:7-alpine", "");
    // The same engine under another address, which is what counts here.
    let Some(proxy) = Proxy::start(&project, None) else { return };
    killed(&project, up_at(&project, &proxy.host(), &["--driver", "docker"]));
    let ps = project.printed(&["ps"]);
    assert!(ps.contains(&format!("{}-redis-1", project.name())), "it is found, whatever the address: {ps}");

    engine.docker(&["rm", "--force", "--volumes", &format!("{}-redis-1", project.name())]);
    let [down, ps] = down_and_ps(&project, None);
    let here = variable("DOCKER_HOST").unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    let both = Message::joined(format!("{}\n\n{}", down.text(), ps.text()));
    both.renamed(&here, "[engine]").matches("engine_is_another_down_ps");
    assert!(recorded(&project));
    let mut down = project.command(&["down"]);
    down.env("DOCKER_HOST", proxy.host());
    Devctl::spawn(down).wait_exit().expect_code(0);
    assert!(!recorded(&project), "now it is known");
}

#[test]
fn what_cannot_be_taken_down_is_a_failure() {
    let Some(engine) = Engine::for_test() else { return };
    let project = redis("redis:7-alpine", "");
    killed(&project, up(&project, &["--driver", "docker"]));
    // A stranger in the project's network, which therefore cannot be removed.
    let stranger = Project::empty();
    let label = format!("com.docker.compose.project={}", stranger.name());
    let (name, network) = (format!("{}-guest-1", stranger.name()), format!("{}_default", project.name()));
    let guest = ["run", "--detach", "--label", &label, "--name", &name, "--network", &network, "redis:7-alpine"];
    engine.docker(&guest);
    let down = project.command(&["down"]);
    let message = Message::new(&project, Devctl::spawn(down).wait_exit()).renamed(stranger.name(), "[stranger]");
    message.matches("down_network_in_use");
    drop(stranger);
    project.printed(&["down"]);
    project.assert_nothing_left("none");
}
