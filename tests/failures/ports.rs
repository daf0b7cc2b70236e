//! Ports that somebody else has.

use std::process::{Child, Command, Stdio};

use crate::message::{Message, up_command};
use crate::stub;
use crate::support::{Devctl, Engine, Project, until};

/// A stranger that listens on a port, until it is dropped.
struct Stranger(Child);

impl Stranger {
    fn on(port: u16) -> Self {
        let mut stub = Command::new(stub::path());
        let child = stub.args(["listen", &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let stranger = Self(child.expect("the stub was built"));
        until("the stranger listens", || std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string()));
        stranger
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn project() -> Project {
    let project = Project::empty();
    let service = |name| {
        format!(
            "\n[services.{name}]\ncommand = [\"{}\", \"listen\", \"@port:{name}@\"]\nport = @port:{name}@\n",
            stub::path().display()
        )
    };
    project.write("devctl.toml", &format!("[project]\nname = \"@name@\"\n{}{}", service("api"), service("gateway")));
    project
}

#[test]
fn a_port_that_a_process_has() {
    let project = project();
    let stranger = Stranger::on(project.port("api"));
    let message = Message::of_up(&project, &[]);
    drop(stranger);
    message.nothing_left(&project).matches("port_taken_by_process");
}

#[test]
fn several_ports_are_told_at_once() {
    let project = project();
    let strangers = [Stranger::on(project.port("api")), Stranger::on(project.port("gateway"))];
    let message = Message::of_up(&project, &[]);
    drop(strangers);
    message.nothing_left(&project).matches("port_taken_several");
}

/// A project with a container on a port, and another that wants the same.
fn container_on_port(engine: Engine) -> (Project, Project) {
    // Somebody else's project: dropped, it takes its container and network along.
    let other = Project::empty();
    let label = format!("com.docker.compose.project={}", other.name());
    engine.docker(&["network", "create", "--label", &label, other.name()]);
    let project = Project::with(
        "[project]\nname = \"@name@\"\n[containers]\ncompose = [\"compose.yml\"]\n",
        "name: @name@\nservices:\n  redis:\n    image: redis:7-alpine\n    ports: [\"127.0.0.1:@port:redis@:6379\"]\n",
    );
    let publish = format!("127.0.0.1:{}:6379", project.port("redis"));
    let (name, network) = (format!("{}-cache-1", other.name()), other.name());
    let container =
        ["run", "--detach", "--label", &label, "--name", &name, "--network", network, "--publish", &publish];
    engine.docker(&[&container[..], &["redis:7-alpine"]].concat());
    (other, project)
}

#[test]
fn a_port_that_a_container_has() {
    let Some(engine) = Engine::for_test() else { return };
    let (other, project) = container_on_port(engine);
    let message = Message::of_up(&project, &["--driver", "docker"]).renamed(other.name(), "[other]");
    drop(other);
    message.nothing_left(&project).matches("port_taken_by_container");
}

#[test]
fn a_port_that_a_container_has_for_who_uses_no_docker() {
    let Some(engine) = Engine::for_test() else { return };
    let (other, project) = container_on_port(engine);
    let message = Message::of_up(&project, &["--driver", "embedded"]).renamed(other.name(), "[other]");
    // The same where no engine can be asked. Docker's proxy is root's: other users see only that somebody listens.
    let mut nobody_to_ask = up_command(&project, &["--driver", "embedded"]);
    nobody_to_ask.env("DOCKER_HOST", format!("unix://{}/nowhere.sock", project.root().display()));
    let unnamed = Message::new(&project, Devctl::spawn(nobody_to_ask).wait_exit());
    drop(other);
    message.nothing_left(&project).matches("port_taken_by_container");
    if unnamed.text().contains("docker-proxy") {
        unnamed.matches("port_taken_by_docker_proxy");
    }
}

#[test]
fn a_port_that_is_taken_after_devctl_has_looked() {
    let project = Project::empty();
    let manifest = r#"
[project]
name = "@name@"

[services.thief]
command = ["STUB", "listen", "@port:api@"]
ready   = { log = "listening" }

[services.api]
command    = ["STUB", "lines", "serving, or so it thinks"]
port       = @port:api@
depends_on = ["thief"]
"#;
    project.write("devctl.toml", &manifest.replace("STUB", &stub::path().display().to_string()));
    Message::of_up(&project, &[]).nothing_left(&project).matches("port_taken_later");
}
