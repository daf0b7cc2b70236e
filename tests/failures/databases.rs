//! Databases that cannot be used: not up, or with data made with another password than the manifest says now.

use crate::message::{Message, up, wait_line};
use crate::support::{Infra, Project, Signal};

fn password_changed(infra: Infra, snapshot: &str) {
    if !infra.available() {
        return;
    }
    let manifest = "[project]\nname = \"@name@\"\n\n[containers]\ncompose = [\"compose.yml\"]\n";
    let compose = |password: &str| {
        format!(
            "name: @name@\nservices:\n  db:\n    image: pgvector/pgvector:pg16\n    environment:\n      \
             POSTGRES_PASSWORD: {password}\n    ports: [\"127.0.0.1:@port:db@:5432\"]\n    \
             volumes: [\"data:/var/lib/postgresql/data\"]\nvolumes:\n  data:\n"
        )
    };
    let project = Project::with(manifest, &compose("as-it-was"));
    let mut devctl = up(&project, &infra.args());
    wait_line(&mut devctl, "everything is ready");
    devctl.signal(Signal::SIGINT);
    devctl.wait_exit().expect_code(0);
    project.write("compose.yml", &compose("as-it-is-now"));
    Message::of_up(&project, &infra.args()).nothing_left(&project).matches(snapshot);
}

#[test]
fn another_password_than_the_volume_was_made_with() {
    password_changed(Infra::Docker, "password_changed_docker");
}

#[test]
fn another_password_than_the_embedded_data_were_made_with() {
    password_changed(Infra::Embedded, "password_changed_embedded");
}

#[test]
fn a_shell_on_a_database_that_is_not_up() {
    let project = Project::whole();
    let message = Message::of(&project, &["db", "shell", "-c", "SELECT 1"]);
    let devctl = project.up_ready(&["--skip-docker", "--no-deps", "gateway"]);
    let elsewhere = Message::of(&project, &["db", "shell", "-c", "SELECT 1"]);
    devctl.signal(Signal::SIGINT);
    devctl.wait_exit();
    Message::joined(format!("{}\n\n{}", message.text(), elsewhere.text())).matches("database_not_up");
}
