//! The Docker driver against real engines: every promise of `driver::docker`, and the wording of every refusal.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "this is test code, helpers among it")]

mod engine;
#[path = "support/ports.rs"]
mod ports;

use std::time::Duration;

use devctl::advice::{Advice, Blame};
use devctl::driver::docker::{Docker, Error, ImageSpec, PublishedBy, PullPolicy, Takeover, api};
use devctl::driver::{DriverError, Health, Listener};
use devctl::event::{Action, Exit, Handle};
use devctl::logs::Stream;
use engine::{IMAGE, Lab, engines};
use ports::free_port;

fn docker_error(error: DriverError) -> Error {
    match error {
        DriverError::Docker(error) => error,
        DriverError::Embedded(_) | DriverError::Process(_) => panic!("{error}"),
    }
}

fn code(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

/// Ports published on the loopback address: on the host, where `None` is for the engine to pick, and in the container.
fn publish<const N: usize>(ports: [(Option<u16>, u16); N]) -> api::PortMap {
    let binding = |host: Option<u16>| api::PortBinding {
        host_ip: Some("127.0.0.1".to_owned()),
        host_port: Some(host.map(|port| port.to_string()).unwrap_or_default()),
    };
    ports.into_iter().map(|(host, container)| (format!("{container}/tcp"), Some(vec![binding(host)]))).collect()
}

fn endpoint(aliases: &[&str]) -> api::EndpointSettings {
    let aliases = Some(aliases.iter().map(|alias| (*alias).to_owned()).collect());
    api::EndpointSettings { aliases, ..api::EndpointSettings::default() }
}

fn restart(name: api::RestartPolicyNameEnum, count: Option<i64>) -> api::RestartPolicy {
    api::RestartPolicy { name: Some(name), maximum_retry_count: count }
}

/// Waits for what no event tells, such as the engine's own healthcheck.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), looking).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

#[tokio::test]
async fn an_engine_says_who_it_is() {
    for env in engines().await {
        let docker = Docker::connect(&env).await.unwrap();
        let description = docker.describe();
        assert!(description.starts_with("Docker Engine "), "{description}");
        assert!(description.contains(" (API 1."), "{description}");
    }
}

#[tokio::test]
async fn a_docker_host_that_leads_nowhere_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let host = format!("unix://{}", socket.display());
    let env = [("DOCKER_HOST".to_owned(), host.clone())].into_iter().collect();
    let error = Docker::connect(&env).await.map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("DOCKER_HOST points to `{host}`, where no Docker Engine answers: there is no such socket")
    );
    assert_eq!(error.blame(), Blame::Environment);
    assert_eq!(error.hints()[0], "`unset DOCKER_HOST` to use the default engine, or correct it");

    let host = format!("tcp://127.0.0.1:{}", free_port());
    let env = [("DOCKER_HOST".to_owned(), host.clone())].into_iter().collect();
    let error = Docker::connect(&env).await.map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("DOCKER_HOST points to `{host}`, where no Docker Engine answers: connection refused")
    );
}

#[tokio::test]
async fn a_whole_life_from_network_to_removal() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let (network, volume) = (lab.network("default"), lab.volume("data"));
        let second = lab.network("second");
        let create = lab.cx("db", Action::Create);
        lab.docker.ensure_network(&network, &create).await.unwrap();
        lab.docker.ensure_network(&network, &create).await.unwrap();
        lab.docker.ensure_network(&second, &create).await.unwrap();
        lab.docker.ensure_volume(&volume, &create).await.unwrap();
        lab.docker.ensure_volume(&volume, &create).await.unwrap();
        let image = ImageSpec { reference: IMAGE.to_owned(), platform: None, pull: PullPolicy::Never, build: None };
        lab.docker.ensure_image(&image, &create).await.unwrap();

        let port = free_port();
        let line = "echo $GREETING; echo careful >&2; trap 'echo bye; exit 0' TERM; sleep 1000 & wait";
        let mut spec = lab.container_with("db", line, |body, host| {
            host.network_mode = Some(network.name.clone());
            host.port_bindings = Some(publish([(Some(port), 8080), (None, 8081)]));
            body.exposed_ports = Some(vec!["8080/tcp".to_owned(), "8081/tcp".to_owned()]);
            host.binds = Some(vec![format!("{}:/data:rw", volume.name)]);
            host.mounts = Some(vec![api::Mount {
                target: Some("/cache".to_owned()),
                typ: Some(api::MountType::VOLUME),
                ..api::Mount::default()
            }]);
            host.tmpfs = Some([("/tmp".to_owned(), String::new())].into());
            body.env = Some(vec!["GREETING=hello".to_owned()]);
        });
        spec.networks = vec![
            (network.name.clone(), endpoint(&[&lab.name("db"), "db", "store"])),
            (second.name.clone(), endpoint(&[&lab.name("db"), "db"])),
        ];
        let mut live = lab.follow();
        let running = lab.run(&spec).await;
        assert_eq!(live.text("hello").await.stream, Stream::Stdout);
        live.text("careful").await;

        // What it is, as inspected by another client.
        let Handle::Container { id, name } = running.handle.clone() else { panic!("{:?}", running.handle) };
        assert_eq!(name, spec.name);
        let seen = lab.raw.inspect_container(&id, None).await.unwrap();
        let labels = seen.config.unwrap().labels.unwrap();
        assert_eq!(labels["dev.devctl.run"], lab.run.as_str());
        assert_eq!(labels["com.docker.compose.image"], seen.image.clone().unwrap());
        let networks = seen.network_settings.unwrap().networks.unwrap();
        let aliases = |name: &str| networks[name].aliases.clone().unwrap();
        for (network, alias) in [(&network.name, "store"), (&network.name, "db"), (&second.name, "db")] {
            assert!(aliases(network).iter().any(|a| a == alias), "{:?}", aliases(network));
        }

        // What the driver sees.
        let observed = lab
            .docker
            .observe(
                &lab.project,
                &[network.name.clone(), lab.name("absent")],
                &[volume.name.clone(), lab.name("absent")],
                &[IMAGE.to_owned(), "dkt-absent:1".to_owned()],
            )
            .await
            .unwrap();
        let db = &observed.containers["db"][0];
        assert!(db.running && db.id == id && db.status.starts_with("Up"), "{db:?}");
        assert_eq!(db.config_hash.as_deref(), Some("0123"));
        assert_eq!(db.run.as_deref(), Some(lab.run.as_str()));
        assert!(db.ports.contains(&("127.0.0.1".to_owned(), port, 8080)), "{:?}", db.ports);
        let project = Some(lab.project.to_string());
        assert_eq!(observed.networks.keys().collect::<Vec<_>>(), [&network.name]);
        assert_eq!(observed.networks[&network.name].project, project);
        assert_eq!(db.networks[&network.name], observed.networks[&network.name].id);
        assert_eq!(db.networks.keys().collect::<Vec<_>>(), [&network.name, &second.name]);
        assert_eq!(observed.volumes.keys().collect::<Vec<_>>(), [&volume.name]);
        assert_eq!(observed.volumes[&volume.name].project, project);
        assert!(db.volumes.contains(&volume.name) && db.volumes.len() == 2, "{:?}", db.volumes);
        assert_eq!(observed.images[IMAGE], seen.image.unwrap());
        assert_eq!(observed.images.len(), 1);
        let publisher = PublishedBy { container: spec.name.clone(), project: Some(lab.project.to_string()) };
        assert_eq!(lab.docker.publisher(port).await, Some(publisher));
        assert_eq!(lab.docker.publisher(free_port()).await, None);
        let picked = db.ports.iter().find(|(_, _, inside)| *inside == 8081).unwrap().1;
        assert_eq!(running.control.listener(port), Listener::Ours);
        assert_eq!(running.control.listener(picked), Listener::Ours);
        assert_eq!(running.control.listener(free_port()), Listener::Unknown);
        assert_eq!(lab.docker.list_project(&lab.project).await.unwrap().len(), 1);
        assert_eq!(
            lab.docker.leftovers(&lab.run).await,
            [
                format!("container {} (running)", spec.name),
                format!("network {}", network.name),
                format!("network {}", second.name)
            ]
        );
        let error = docker_error(lab.docker.remove_network(&network.name).await.unwrap_err());
        assert_eq!(error.to_string(), format!("the network `{}` is still used by {}", network.name, spec.name));

        // The end.
        running.control.stop(Duration::from_secs(10)).await.unwrap();
        assert_eq!(running.exit.await, code(0));
        live.text("bye").await;
        assert_eq!(running.control.listener(port), Listener::Unknown);
        let error = docker_error(lab.docker.remove_volume(&volume.name).await.unwrap_err());
        assert_eq!(error.to_string(), format!("the volume `{}` is still used by {}", volume.name, spec.name));
        for _ in 0..2 {
            lab.docker.stop_container(&spec.name).await.unwrap();
            lab.docker.remove_container(&spec.name).await.unwrap();
            lab.docker.remove_network(&network.name).await.unwrap();
            lab.docker.remove_network(&second.name).await.unwrap();
        }
        assert!(lab.docker.leftovers(&lab.run).await.is_empty());
        assert_eq!(
            lab.docker.project_volumes(&lab.project).await.unwrap(),
            [volume.name.as_str()],
            "the unnamed one is gone"
        );
        assert!(lab.docker.project_networks(&lab.project).await.unwrap().is_empty());
        for _ in 0..2 {
            lab.docker.remove_volume(&volume.name).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_container_that_ends_at_once_is_not_missed() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let mut live = lab.follow();
        let running = lab.run(&lab.container("job", "echo first; echo last; exit 7")).await;
        live.text("first").await;
        live.text("last").await;
        assert_eq!(running.exit.await, code(7));
    }
}

#[tokio::test]
async fn another_start_shows_only_what_is_new() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let spec = lab.container("job", "echo x >> /data/n; echo life $(wc -l < /data/n)");
        let mut live = lab.follow();
        assert_eq!(lab.run(&spec).await.exit.await, code(0));
        live.text("life 1").await;
        let start = lab.cx("job", Action::Start);
        lab.docker.create_container(&spec, &start).await.unwrap();
        let running = lab.docker.start_container(&lab.start_spec("job"), &start).await.unwrap();
        assert_eq!(running.exit.await, code(0));
        live.text("life 2").await;
        assert_eq!(lab.lines("job"), ["life 1", "life 2"]);
    }
}

#[tokio::test]
async fn a_kept_container_shows_only_what_is_new_and_lives_on() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let spec = lab.container("web", "mkfifo /tmp/in; echo old; while read line; do echo got $line; done < /tmp/in");
        let mut live = lab.follow();
        let first = lab.run(&spec).await;
        live.text("old").await;

        let later = Lab::on(lab.docker.clone(), lab.raw.clone());
        let keep = later.cx("web", Action::Keep);
        lab.docker.create_container(&spec, &keep).await.unwrap();
        let mut live = later.follow();
        let second = lab.docker.start_container(&lab.start_spec("web"), &keep).await.unwrap();
        assert_eq!(first.handle, second.handle);
        let done = second.control.exec(vec!["sh".into(), "-c".into(), "echo new > /tmp/in".into()]).await.unwrap();
        assert_eq!(done.code, 0);
        live.text("got new").await;
        assert_eq!(later.lines("web"), ["got new"]);
        assert_eq!(first.exit.await, second.exit.await);
    }
}

#[tokio::test]
async fn a_container_that_ignores_its_stop_signal_is_killed_after_the_grace() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let mut live = lab.follow();
        let running = lab.run(&lab.container("deaf", "trap '' TERM; echo up; while :; do sleep 1; done")).await;
        live.text("up").await;
        running.control.stop(Duration::from_millis(300)).await.unwrap();
        assert_eq!(running.exit.await, code(137));
        running.control.stop(Duration::from_secs(1)).await.unwrap();
        running.control.kill().await.unwrap();
    }
}

#[tokio::test]
async fn a_kill_comes_through_a_stop_that_waits() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let mut live = lab.follow();
        let running =
            lab.run(&lab.container("deaf", "trap 'echo no' TERM; echo up; while :; do sleep 0.1; done")).await;
        live.text("up").await;
        let stop = tokio::spawn(running.control.stop(Duration::from_mins(10)));
        live.text("no").await;
        running.control.kill().await.unwrap();
        assert_eq!(running.exit.await, code(137));
        stop.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_container_is_stopped_before_it_is_removed() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let mut live = lab.follow();
        let running = lab.run(&lab.container("web", "trap 'echo bye; exit 3' TERM; echo up; sleep 1000 & wait")).await;
        live.text("up").await;
        lab.docker.remove_container(&lab.name("web")).await.unwrap();
        assert_eq!(running.exit.await, code(3));
        assert!(lab.docker.list_project(&lab.project).await.unwrap().is_empty());
    }
}

/// A container that counts its lives, and ends well when told to.
const LIVES: &str = "echo x >> /data/n; trap 'echo bye; exit 0' TERM; echo life $(wc -l < /data/n); sleep 1000 & wait";

#[tokio::test]
async fn a_restart_by_somebody_else_is_another_life() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let mut live = lab.follow();
        let policy = restart(api::RestartPolicyNameEnum::UNLESS_STOPPED, None);
        let spec = lab.container_with("db", LIVES, |_, host| host.restart_policy = Some(policy));
        let running = lab.run(&spec).await;
        let exit = tokio::spawn(running.exit);
        live.text("life 1").await;
        lab.raw.restart_container(&spec.name, None).await.unwrap();
        live.text("devctl: the container was restarted by somebody else").await;
        live.text("life 2").await;
        lab.raw.stop_container(&spec.name, None).await.unwrap();
        lab.raw.start_container(&spec.name, None).await.unwrap();
        live.text("devctl: the container was restarted by somebody else").await;
        live.text("life 3").await;
        assert!(!exit.is_finished());
        running.control.stop(Duration::from_secs(10)).await.unwrap();
        assert_eq!(exit.await.unwrap(), code(0));
        // What ended because devctl said so was not waited for.
        let lines = lab.lines("db");
        assert_eq!(lines.iter().filter(|line| line.contains("somebody else")).count(), 2, "{lines:?}");
    }
}

#[tokio::test]
async fn a_container_that_somebody_else_stops_has_ended() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let mut live = lab.follow();
        let spec = lab.container("db", LIVES);
        let running = lab.run(&spec).await;
        live.text("life 1").await;
        lab.raw.stop_container(&spec.name, None).await.unwrap();
        assert_eq!(running.exit.await, code(0));
        live.text("bye").await;
    }
}

#[tokio::test]
async fn the_engines_own_restarts_are_one_life() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let policy = restart(api::RestartPolicyNameEnum::ON_FAILURE, Some(2));
        let line = "echo x >> /data/n; echo life $(wc -l < /data/n); exit 3";
        let spec = lab.container_with("flaky", line, |_, host| host.restart_policy = Some(policy));
        let mut live = lab.follow();
        let running = lab.run(&spec).await;
        assert_eq!(running.exit.await, code(3));
        live.text("life 3").await;
        assert_eq!(lab.lines("flaky"), ["life 1", "life 2", "life 3"]);
    }
}

#[tokio::test]
async fn a_life_that_the_engine_began_is_followed_and_stopped() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let line = "echo x >> /data/n; n=$(wc -l < /data/n); echo life $n; [ $n = 1 ] && exit 1; \
                    mkfifo /tmp/in; cat /tmp/in; trap 'exit 0' TERM; echo on; sleep 1000 & wait";
        let policy = restart(api::RestartPolicyNameEnum::UNLESS_STOPPED, None);
        let spec = lab.container_with("flaky", line, |_, host| host.restart_policy = Some(policy));
        let mut live = lab.follow();
        let mut running = lab.run(&spec).await;
        // The future of the exit drives the following of later lives.
        let exit = tokio::spawn(std::mem::replace(&mut running.exit, Box::pin(std::future::pending())));
        live.text("life 2").await;
        let done = running.control.exec(vec!["sh".into(), "-c".into(), "echo hi > /tmp/in".into()]).await.unwrap();
        assert_eq!(done.code, 0, "{}", done.output);
        live.text("hi").await;
        live.text("on").await;
        assert!(!exit.is_finished());
        running.control.stop(Duration::from_secs(10)).await.unwrap();
        assert_eq!(exit.await.unwrap(), code(0));
        assert_eq!(lab.lines("flaky"), ["life 1", "life 2", "hi", "on"]);
    }
}

#[tokio::test]
async fn a_container_with_a_terminal_prints_to_one_stream() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let line = "test -t 1 && echo terminal; echo two >&2";
        let spec = lab.container_with("tty", line, |body, _| body.tty = Some(true));
        let mut live = lab.follow();
        let running = lab.run(&spec).await;
        let line = live.line(|line| line.text.trim_end() == "terminal").await;
        assert_eq!(line.stream, Stream::Stdout);
        live.line(|line| line.text.trim_end() == "two").await;
        assert_eq!(running.exit.await, code(0));
    }
}

#[tokio::test]
async fn commands_run_inside_and_the_end_of_their_output_is_kept() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let running = lab.run(&lab.container("web", "sleep 1000")).await;
        let sh = |line: &str| running.control.exec(vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()]);
        let done = sh("echo out; echo err >&2; exit 3").await.unwrap();
        assert_eq!(done.code, 3);
        assert!(done.output.contains("out\n") && done.output.contains("err\n"), "{:?}", done.output);
        let done = sh("yes | head -c 1000000; echo end").await.unwrap();
        assert_eq!((done.code, done.output.len()), (0, 4096));
        assert!(done.output.ends_with("end\n"), "{:?}", done.output);
        let done = running.control.exec(vec!["no-such-program".to_owned()]).await.unwrap();
        assert!(matches!(done.code, 126 | 127), "{done:?}");
        assert!(done.output.contains("no-such-program"), "{done:?}");

        running.control.kill().await.unwrap();
        assert_eq!(running.exit.await, code(137));
        let error = docker_error(running.control.exec(vec!["true".to_owned()]).await.unwrap_err());
        assert_eq!(error.to_string(), format!("the container `{}` is not running", lab.name("web")));
    }
}

#[tokio::test]
async fn the_engines_verdict_on_health_is_passed_on() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let plain = lab.run(&lab.container("plain", "sleep 1000")).await;
        assert_eq!(plain.control.health().await.unwrap(), Health::None);
        let checked = |service: &str, line: &str| {
            let check = api::HealthConfig {
                test: Some(vec!["CMD-SHELL".to_owned(), line.to_owned()]),
                interval: Some(100_000_000),
                retries: Some(1),
                ..api::HealthConfig::default()
            };
            lab.container_with(service, "sleep 1000", |body, _| body.healthcheck = Some(check))
        };
        let well = checked("well", "true");
        let ill = checked("ill", "echo broken; false");
        let (well, ill) = (lab.run(&well).await, lab.run(&ill).await);
        let verdict = async |control: &dyn devctl::driver::Control| match control.health().await.unwrap() {
            Health::Starting => None,
            other => Some(other),
        };
        assert_eq!(eventually("a verdict", async || verdict(&*well.control).await).await, Health::Healthy);
        let unhealthy = Health::Unhealthy("broken".to_owned());
        assert_eq!(eventually("a verdict", async || verdict(&*ill.control).await).await, unhealthy);
    }
}

#[tokio::test]
async fn a_container_out_of_memory_says_so() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        if lab.raw.info().await.unwrap().memory_limit != Some(true) {
            engine::say(&format!("SKIPPED: the engine at {} cannot limit memory", lab.docker.host()));
            continue;
        }
        let spec = lab.container_with("hungry", "", |body, host| {
            body.cmd = Some(vec!["tail".to_owned(), "/dev/zero".to_owned()]);
            host.memory = Some(16 << 20);
        });
        let exit = lab.run(&spec).await.exit.await;
        assert_eq!(exit, Exit { code: Some(137), out_of_memory: true, ..Exit::default() });
    }
}

#[tokio::test]
async fn a_program_that_is_not_in_the_image_cannot_start() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let argv = Some(vec!["no-such-program".to_owned()]);
        let spec = lab.container_with("web", "", |body, _| body.cmd = argv);
        let cx = lab.cx("web", Action::Create);
        lab.docker.create_container(&spec, &cx).await.unwrap();
        let started = lab.docker.start_container(&lab.start_spec("web"), &cx).await;
        let error = docker_error(started.map(|_| ()).unwrap_err());
        let expected = format!("the container `{}` could not be started: ", spec.name);
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(error.to_string().contains("no-such-program"), "{error}");
        assert_eq!(error.blame(), Blame::Service);
    }
}

#[tokio::test]
async fn a_container_that_nobody_created_cannot_start() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let started = lab.docker.start_container(&lab.start_spec("none"), &lab.cx("none", Action::Create)).await;
        let error = docker_error(started.map(|_| ()).unwrap_err());
        assert_eq!(error.to_string(), format!("there is no container `{}`", lab.name("none")));
    }
}

#[tokio::test]
async fn a_taken_name_names_its_project() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let other = Lab::on(lab.docker.clone(), lab.raw.clone());
        let mut theirs = other.container("db", "sleep 1000");
        theirs.name = lab.name("db");
        other.docker.create_container(&theirs, &other.cx("db", Action::Create)).await.unwrap();
        let ours = lab.container("db", "sleep 1000");
        let created = lab.docker.create_container(&ours, &lab.cx("db", Action::Create)).await;
        let error = docker_error(created.unwrap_err());
        assert_eq!(
            error.to_string(),
            format!("the container name `{}` is taken by a container of the project `{}`", ours.name, other.project)
        );
        assert_eq!(error.hints()[0], format!("`docker rm -f {}` removes it", ours.name));
    }
}

#[tokio::test]
async fn a_taken_port_names_its_owner_where_it_is_a_container() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let network = lab.network("default");
        lab.docker.ensure_network(&network, &lab.cx("a", Action::Create)).await.unwrap();
        let publishing = |service: &str, port: u16| {
            let mut spec = lab.container_with(service, "sleep 1000", |body, host| {
                body.exposed_ports = Some(vec!["8080/tcp".to_owned(), "8081/tcp".to_owned()]);
                host.network_mode = Some(network.name.clone());
                host.port_bindings = Some(publish([(Some(port), 8080), (None, 8081)]));
            });
            spec.networks = vec![(network.name.clone(), endpoint(&[service]))];
            spec
        };
        let port = free_port();
        let _first = lab.run(&publishing("first", port)).await;
        let cx = lab.cx("second", Action::Create);
        lab.docker.create_container(&publishing("second", port), &cx).await.unwrap();
        let started = lab.docker.start_container(&lab.start_spec("second"), &cx).await;
        let error = docker_error(started.map(|_| ()).unwrap_err());
        assert_eq!(
            error.to_string(),
            format!(
                "the container `{}` cannot start: port {port} is taken by the container `{}` of the project `{}`",
                lab.name("second"),
                lab.name("first"),
                lab.project
            )
        );

        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let cx = lab.cx("third", Action::Create);
        lab.docker.create_container(&publishing("third", port), &cx).await.unwrap();
        let started = lab.docker.start_container(&lab.start_spec("third"), &cx).await;
        let error = docker_error(started.map(|_| ()).unwrap_err());
        let expected = format!("the container `{}` cannot start: port {port} is taken", lab.name("third"));
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.blame(), Blame::Environment);
        drop(held);
        let running = lab.docker.start_container(&lab.start_spec("third"), &cx).await.unwrap();
        assert_eq!(running.control.listener(port), Listener::Ours);
    }
}

#[tokio::test]
async fn a_replaced_container_is_stopped_first_and_made_anew() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let spec = lab.container("web", "trap 'echo bye; exit 0' TERM; echo up; sleep 1000 & wait");
        let mut live = lab.follow();
        let old = lab.run(&spec).await;
        live.text("up").await;
        let Handle::Container { id, .. } = old.handle.clone() else { panic!("{:?}", old.handle) };
        let mut cx = lab.cx("web", Action::Replace);
        cx.takeover = Some(Takeover { old: id.clone(), ..Takeover::default() });
        let (created, exit) = tokio::join!(lab.docker.create_container(&spec, &cx), old.exit);
        created.unwrap();
        live.text("bye").await;
        assert_eq!(exit, code(0));
        let new = lab.docker.start_container(&lab.start_spec("web"), &cx).await.unwrap();
        live.text("up").await;
        assert_ne!(old.handle, new.handle);
        let listed = lab.docker.list_project(&lab.project).await.unwrap();
        assert!(listed.len() == 1 && listed[0].id != id, "{listed:?}");
    }
}

#[tokio::test]
async fn images_that_cannot_be_had_say_why() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let cx = lab.cx("web", Action::Create);
        let image =
            |reference: &str, pull| ImageSpec { reference: reference.to_owned(), platform: None, pull, build: None };
        let never = image("dkt-absent:1", PullPolicy::Never);
        let error = docker_error(lab.docker.ensure_image(&never, &cx).await.unwrap_err());
        assert_eq!(
            error.to_string(),
            "the image `dkt-absent:1` is not on the Docker Engine, and its pull policy is `never`"
        );
        // `.test` is reserved: no network resolves it.
        let reference = "registry.test/dkt/absent:1";
        let error =
            docker_error(lab.docker.ensure_image(&image(reference, PullPolicy::Missing), &cx).await.unwrap_err());
        let expected =
            format!("the image `{reference}` is not on the Docker Engine and its registry cannot be reached: ");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(error.hints().iter().any(|hint| hint.contains("--driver embedded")), "{:?}", error.hints());
        assert!(!lab.docker.can_pull(reference).await);

        let absent = Some("dkt-absent:1".to_owned());
        let spec = lab.container_with("web", "true", |body, _| body.image = absent);
        let error = docker_error(lab.docker.create_container(&spec, &cx).await.unwrap_err());
        assert_eq!(error.to_string(), "the image `dkt-absent:1` is not on the Docker Engine");
    }
}

#[tokio::test]
async fn networks_and_volumes_of_others_are_not_taken() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let other = Lab::on(lab.docker.clone(), lab.raw.clone());
        let cx = lab.cx("web", Action::Create);
        let mut network = lab.network("default");
        network.external = true;
        let error = docker_error(lab.docker.ensure_network(&network, &cx).await.unwrap_err());
        assert_eq!(error.to_string(), format!("the external network `{}` does not exist", network.name));
        let mut volume = lab.volume("data");
        volume.external = true;
        let error = docker_error(lab.docker.ensure_volume(&volume, &cx).await.unwrap_err());
        assert_eq!(error.to_string(), format!("the external volume `{}` does not exist", volume.name));

        let theirs = other.network("default");
        other.docker.ensure_network(&theirs, &other.cx("web", Action::Create)).await.unwrap();
        let mut network = lab.network("default");
        network.name.clone_from(&theirs.name);
        let error = docker_error(lab.docker.ensure_network(&network, &cx).await.unwrap_err());
        assert_eq!(
            error.to_string(),
            format!("the network `{}` exists and belongs to the project `{}`", theirs.name, other.project)
        );
        network.external = true;
        lab.docker.ensure_network(&network, &cx).await.unwrap();
        let observed = lab.docker.observe(&lab.project, std::slice::from_ref(&theirs.name), &[], &[]).await.unwrap();
        assert_eq!(observed.networks[&theirs.name].project, Some(other.project.to_string()));
    }
}

#[tokio::test]
async fn a_configuration_that_the_engine_refuses_is_the_users_to_mend() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let folder = Some("relative".to_owned());
        let spec = lab.container_with("web", "true", |body, _| body.working_dir = folder);
        let error = docker_error(lab.docker.create_container(&spec, &lab.cx("web", Action::Create)).await.unwrap_err());
        let expected = format!("the Docker Engine does not accept the configuration of `{}`: ", spec.name);
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(error.blame(), Blame::Configuration);
    }
}

#[cfg(unix)]
mod gone {
    use super::*;
    use std::path::{Path, PathBuf};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::task::JoinSet;

    /// A way to a real engine that can be cut: to devctl, the engine is gone.
    struct Way {
        path: PathBuf,
        carrier: tokio::task::JoinHandle<()>,
        _folder: tempfile::TempDir,
    }

    impl Way {
        fn to(engine: &Path) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("docker.sock");
            let listener = UnixListener::bind(&path).unwrap();
            let engine = engine.to_owned();
            let carrier = tokio::spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((mut near, _)) = listener.accept().await {
                    let mut far = UnixStream::connect(&engine).await.unwrap();
                    connections.spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
                }
            });
            Self { path, carrier, _folder: folder }
        }

        async fn cut(&mut self) {
            std::fs::remove_file(&self.path).unwrap();
            self.carrier.abort();
            let _ = (&mut self.carrier).await;
        }
    }

    #[tokio::test]
    async fn an_engine_that_goes_away_ends_every_wait_and_is_named() {
        for env in engines().await {
            let near = Docker::connect(&env).await.unwrap();
            let Some(socket) = near.host().strip_prefix("unix://") else { continue };
            let mut way = Way::to(Path::new(socket));
            let mut env = env.clone();
            env.insert("DOCKER_HOST".to_owned(), format!("unix://{}", way.path.display()));
            let docker = Docker::connect(&env).await.unwrap();
            let raw = engine::raw(&near);
            engine::have_image(&raw).await;
            let lab = Lab::on(docker, raw);
            let mut live = lab.follow();
            let running = lab.run(&lab.container("web", "echo up; sleep 1000")).await;
            live.text("up").await;
            way.cut().await;
            let exit = running.exit.await;
            assert!(exit.lost.as_deref().is_some_and(|why| why.contains("went away")), "{exit:?}");
            let line = live.line(|line| line.text.contains("Docker Engine went away")).await;
            assert_eq!(line.stream, Stream::Stderr);
            let error = docker_error(running.control.kill().await.unwrap_err());
            assert!(matches!(error, Error::Gone { .. }), "{error:?}");
            assert_eq!(error.blame(), Blame::Environment);
            let left = lab.docker.leftovers(&lab.run).await;
            assert!(left.len() == 1 && left[0].contains("the Docker Engine does not answer ("), "{left:?}");
        }
    }
}

/// The shell takes over the terminal of its process, so it runs in a process of its own: this binary, called again.
#[cfg(unix)]
mod shell {
    use super::*;
    use devctl::driver::docker::{Ended, ShellSpec};
    use std::os::fd::AsFd;
    use std::process::Stdio;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const CONTAINER: &str = "DKT_SHELL_CONTAINER";
    const LINE: &str = "DKT_SHELL_LINE";
    const TTY: &str = "DKT_SHELL_TTY";

    /// Does nothing unless [`CONTAINER`] says it is the shell's process.
    #[tokio::test]
    async fn process() {
        let env = devctl::os::env::all();
        let Some(container) = env.get(CONTAINER) else { return };
        let docker = Docker::connect(&env).await.unwrap();
        let spec = ShellSpec {
            argv: vec!["sh".to_owned(), "-c".to_owned(), env[LINE].clone()],
            env: vec![("SECRET".to_owned(), "s3cret".to_owned())],
            tty: env.contains_key(TTY),
            input: true,
            ..ShellSpec::default()
        };
        let Ended::Code(code) = docker.shell(container, spec).await.unwrap() else { panic!("nobody left it") };
        println!("\nshell ended with {code}");
    }

    fn arguments() -> [&'static str; 3] {
        ["shell::process", "--exact", "--nocapture"]
    }

    #[tokio::test]
    async fn a_piped_shell_ends_with_its_input_and_keeps_the_streams_apart() {
        for env in engines().await {
            let lab = Lab::open(&env).await;
            let _running = lab.run(&lab.container("db", "sleep 1000")).await;
            let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
                .args(arguments())
                .envs(&env)
                .env(CONTAINER, lab.name("db"))
                .env(LINE, "tr a-z A-Z; echo $SECRET; echo err >&2; exit 5")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            // More than all buffers on the way hold, both ways: a shell that does one thing at a time would hang.
            let input = "select 1;\n".repeat(200_000);
            let feeder = tokio::spawn(async move {
                stdin.write_all(input.as_bytes()).await.unwrap();
            });
            let output = child.wait_with_output().await.unwrap();
            feeder.await.unwrap();
            let stdout = String::from_utf8(output.stdout).unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(stdout.matches("SELECT 1;\n").count(), 200_000);
            assert!(stdout.contains("\ns3cret\n"));
            assert!(stdout.contains("shell ended with 5\n"));
            assert!(stderr.contains("err\n"), "{stderr}");
        }
    }

    #[tokio::test]
    async fn a_shell_on_a_terminal_has_its_size_and_gives_it_back() {
        for env in engines().await {
            for signal in [None, Some(nix::sys::signal::Signal::SIGTERM)] {
                let lab = Lab::open(&env).await;
                let _running = lab.run(&lab.container("db", "sleep 1000")).await;
                let (mut pty, pts) = pty_process::open().unwrap();
                pty.resize(pty_process::Size::new(33, 99)).unwrap();
                let before = nix::sys::termios::tcgetattr(pty.as_fd()).unwrap();
                let mut child = pty_process::Command::new(std::env::current_exe().unwrap())
                    .args(arguments())
                    .envs(&env)
                    .env(CONTAINER, lab.name("db"))
                    .env(TTY, "1")
                    // The size arrives a moment after the command has begun.
                    .env(
                        LINE,
                        "until stty size | grep -q '33 99'; do sleep 0.1; done; echo size; read x; echo got-$x; exit 6",
                    )
                    .spawn(pts)
                    .unwrap();
                let mut screen = String::new();
                read_until(&mut pty, &mut screen, "size\r\n").await;
                let during = nix::sys::termios::tcgetattr(pty.as_fd()).unwrap();
                assert_ne!(before, during, "the terminal is raw while the shell has it");
                if let Some(signal) = signal {
                    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
                    nix::sys::signal::kill(pid, signal).unwrap();
                    read_until(&mut pty, &mut screen, "shell ended with 143\r\n").await;
                } else {
                    pty.write_all(b"hello\r").await.unwrap();
                    read_until(&mut pty, &mut screen, "got-hello\r\n").await;
                    read_until(&mut pty, &mut screen, "shell ended with 6\r\n").await;
                }
                // Compared while the process has its terminal open: its end resets nothing, but closes it.
                let after = nix::sys::termios::tcgetattr(pty.as_fd()).unwrap();
                assert_eq!(before, after, "the terminal is given back as it was");
                child.wait().await.unwrap();
            }
        }
    }

    async fn read_until(pty: &mut pty_process::Pty, screen: &mut String, text: &str) {
        let reading = async {
            let mut buffer = [0; 4096];
            while !screen.contains(text) {
                let count = pty.read(&mut buffer).await.unwrap_or_else(|e| panic!("{e}, after: {screen}"));
                screen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        };
        let done = tokio::time::timeout(Duration::from_mins(1), reading).await;
        assert!(done.is_ok(), "`{text}` never came; the screen: {screen}");
    }
}
