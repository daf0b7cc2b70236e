//! Listeners: whose they are, and those that devctl holds for a service.

use std::sync::Arc;
use std::time::Duration;

use devctl::advice::Advice as _;
use devctl::driver::process::{Error, Program, Spec, StopSignal};
use devctl::driver::{Control, Listener};
use devctl::os;

use crate::{LONG, Run, spec, within};

#[tokio::test]
async fn a_listener_is_ours_a_strangers_or_nobodys() {
    let run = Run::new();
    let port = "23011";
    let mut api = run.service("api", StopSignal::Term, &["shell", "\"$STUB\" lines idle"]).await;
    api.line("idle").await;
    assert_eq!(api.control.listener(23011), Listener::Nobody);
    let mut web = run.service("web", StopSignal::Term, &["shell", &format!("\"$STUB\" listen {port}; true")]).await;
    web.line("listening").await;
    assert_eq!(web.control.listener(23011), Listener::Ours);
    let Listener::Stranger(who) = api.control.listener(23011) else { panic!("web is a stranger to api") };
    assert!(who.contains("stub listen 23011") && who.starts_with("pid "), "{who}");
    for service in [api, web] {
        service.control.stop(LONG).await.unwrap();
        service.end().await;
    }
}

/// A service that is given the socket of a port.
fn listening(port: u16, args: &[&str]) -> Spec {
    Spec { port: Some(port), listen: true, ..spec(args) }
}

#[tokio::test]
async fn a_socket_is_handed_over_as_systemd_hands_it_over() {
    let run = Run::new();
    let script = "echo $LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID - $$)); ls -l /proc/self/fd | grep -c socket; \
                  ls /proc/self/fd | wc -w";
    let mut service = run.spec(&listening(21801, &["shell", script])).await;
    service.line("1 api 0").await;
    if cfg!(target_os = "linux") {
        service.line("1").await;
        // Standard files, the socket and the one that `ls` itself reads.
        service.line("5").await;
    }
    service.end().await;

    // Somebody else's children get nothing of it, and no word of it either.
    let service = run.start(&["shell", "env | grep -c LISTEN_"]).await;
    service.end().await;
    assert_eq!(run.hub.tail(&"api".parse().unwrap(), 1)[0].text, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_refuses_no_connection() {
    let run = Run::new();
    let spec = listening(21802, &["inherit"]);
    let service = run.spec(&spec).await;
    // Every answer that a client got: the id of the process that took its connection.
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let (end, ended) = tokio::sync::watch::channel(false);
    let clients = tokio::spawn(async move {
        let mut clients = tokio::task::JoinSet::new();
        while !*ended.borrow() {
            let answers = answers.clone();
            clients.spawn(async move {
                let answer = async {
                    let mut stream = tokio::net::TcpStream::connect("127.0.0.1:21802").await?;
                    let mut answer = String::new();
                    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await?;
                    std::io::Result::Ok(answer)
                };
                answers.send(answer.await.map_err(|e| e.to_string())).unwrap();
            });
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        clients.join_all().await;
    });
    let mut service = service;
    for life in 1..=5 {
        service.line("inherited 1 api").await;
        let pid = service.pid.to_string();
        let here = async {
            loop {
                match answered.recv().await.unwrap() {
                    Ok(answer) if answer == pid => break,
                    // A client of the life before, whose answer was still on its way.
                    Ok(answer) => assert!(answer.parse::<u32>().is_ok(), "a connection of life {life} was dropped"),
                    Err(error) => panic!("life {life}: {error}"),
                }
            }
        };
        within(here).await;
        service.control.stop(LONG).await.unwrap();
        assert_eq!(service.end().await.code, Some(0));
        service = run.spec(&spec).await;
    }
    service.line("inherited 1 api").await;
    end.send(true).unwrap();
    within(clients).await.unwrap();
    while let Some(answer) = answered.recv().await {
        assert!(answer.is_ok_and(|answer| answer.parse::<u32>().is_ok()), "a connection was refused or dropped");
    }
    service.control.stop(LONG).await.unwrap();
    service.end().await;

    // Kept between two lives, given back when the service goes for good.
    assert!(!os::ports::is_free([127, 0, 0, 1].into(), 21802));
    run.processes.release(&"api".parse().unwrap());
    assert!(os::ports::is_free([127, 0, 0, 1].into(), 21802));
}

#[tokio::test]
async fn a_socket_that_devctl_holds_makes_no_service_ready() {
    let run = Run::new();
    let tcp = devctl::probe::Spec::Tcp { host: "127.0.0.1".to_owned(), port: 21803 };
    let context = |control: &Arc<dyn Control>| devctl::probe::Context {
        service: "api".parse().unwrap(),
        control: Some(Arc::clone(control)),
        logs: run.hub.clone(),
        since: None,
    };
    let mut idle = run.spec(&listening(21803, &["lines", "idle"])).await;
    idle.line("idle").await;
    assert_eq!(idle.control.listener(21803), Listener::Ours);
    let devctl::probe::Attempt::NotYet(answer) = devctl::probe::attempt(&tcp, &context(&idle.control)).await else {
        panic!("nobody takes connections");
    };
    assert_eq!(answer, "127.0.0.1:21803 has a connection waiting that the service does not take");
    idle.control.stop(LONG).await.unwrap();
    idle.end().await;

    let mut service = run.spec(&listening(21803, &["inherit"])).await;
    service.line("inherited").await;
    let http = devctl::probe::Spec::Http { host: "127.0.0.1".to_owned(), port: 21803, path: "/".to_owned() };
    assert_eq!(devctl::probe::attempt(&tcp, &context(&service.control)).await, devctl::probe::Attempt::Ready);
    // Taken as well, and answered in no HTTP.
    let devctl::probe::Attempt::NotYet(answer) = devctl::probe::attempt(&http, &context(&service.control)).await else {
        panic!("it speaks no HTTP");
    };
    assert!(answer.starts_with("127.0.0.1:21803 gives no answer in HTTP"), "{answer}");
    service.control.stop(LONG).await.unwrap();
    service.end().await;
}

#[tokio::test]
async fn a_socket_that_cannot_be_had_or_handed_over_is_told() {
    let run = Run::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:21804").unwrap();
    let cx = run.context(&"api".parse().unwrap());
    let error = run.processes.start(&listening(21804, &["inherit"]), &cx).await.err().unwrap();
    assert_eq!(error.to_string(), "cannot listen on port 21804 for `api`");
    assert!(error.hints().iter().any(|hint| hint.contains(&std::process::id().to_string())), "{:?}", error.hints());
    drop(taken);

    // What only the child can find out reaches devctl all the same.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::fs::write(&program, "no program").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let argv = vec![program.display().to_string()];
    let spec = Spec { program: Program::Argv(argv), ..listening(21804, &[]) };
    let error = run.processes.start(&spec, &cx).await.err().unwrap();
    assert!(matches!(&error, Error::Spawn { source, .. } if source.raw_os_error() == Some(libc::ENOEXEC)), "{error:?}");
    run.assert_gone();
}

#[tokio::test]
async fn a_port_that_devctl_holds_for_a_service_is_not_taken() {
    use devctl::driver::claim;
    let run = Run::new();
    let mut service = run.spec(&listening(21805, &["inherit"])).await;
    service.line("inherited").await;
    let ip = [127, 0, 0, 1].into();
    let wanted = claim::Claim { service: "api".parse().unwrap(), ip, port: 21805, infrastructure: false };
    claim::check(vec![wanted], None, &std::collections::BTreeMap::new()).await.unwrap();
    service.control.stop(LONG).await.unwrap();
    service.end().await;
}
