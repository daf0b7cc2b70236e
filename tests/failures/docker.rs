//! Engines that are not there, that go away, and that cannot get an image.

use std::io::{BufRead as _, BufReader, Write as _};

use crate::message::{Message, up, up_command, wait_line};
use crate::proxy::Proxy;
use crate::support::{Devctl, Engine, Project};

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
