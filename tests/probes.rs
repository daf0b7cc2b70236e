//! Probes against real processes: whose answer it was, what a command and a log line prove, and that nothing is held
//! open once a probe is given up. What `PostgreSQL` and Redis themselves answer is tested where they run.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test program: a panic is its report")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use devctl::driver::process::{Processes, Program, Spec as Service, StopSignal};
use devctl::driver::{Control, Running, StartContext};
use devctl::event::Action;
use devctl::logs::Hub;
use devctl::name::{NodeId, RunId, ServiceName};
use devctl::os::{clock, env};
use devctl::probe::{Attempt, Context, Spec, Verdict, attempt, until_ready};
use tokio::io::AsyncReadExt;

/// Set for the copies of this test program that serve.
const SERVE: &str = "DEVCTL_TEST_PROBES_SERVE";

/// Answers every request with the status in `DEVCTL_TEST_PROBES_SERVE`, on a free port that it prints: the body of the
/// processes that the other tests start, and nothing by itself.
#[test]
fn serve() {
    let Some((_, status)) = env::all().into_iter().find(|(name, _)| name == SERVE) else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    println!("\x1b[32mport\x1b[0m {}", listener.local_addr().unwrap().port());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        // Those who only connect are gone by now.
        let _ = stream.write_all(answer.as_bytes());
    }
}

fn serve_argv() -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    [program.as_str(), "serve", "--exact", "--nocapture"].map(str::to_owned).to_vec()
}

/// A server that devctl knows nothing of. Killed when dropped.
struct Stranger {
    child: Child,
    port: u16,
}

impl Stranger {
    fn start(status: &str) -> Self {
        let argv = serve_argv();
        let mut child =
            Command::new(&argv[0]).args(&argv[1..]).env(SERVE, status).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| port_in(&line)).expect("the server prints its port");
        Self { child, port }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn port_in(line: &str) -> Option<u16> {
    // The test harness may have begun the line.
    line.rsplit_once("port\x1b[0m ")?.1.parse().ok()
}

/// A run with one service.
struct Run {
    service: ServiceName,
    id: RunId,
    logs: Hub,
    processes: Processes,
}

impl Run {
    fn new(bits: u64) -> Self {
        let id = RunId::from_random(bits);
        Self {
            service: "api".parse().unwrap(),
            logs: Hub::new(None),
            processes: Processes::new(id.clone(), env::all()),
            id,
        }
    }

    async fn start(&self, argv: Vec<String>, vars: &[(&str, &str)]) -> Running {
        let spec = Service {
            service: self.service.clone(),
            // `env` sets the variables, so that this test need not know how a service gets its own.
            program: Program::Argv(
                ["env".to_owned()]
                    .into_iter()
                    .chain(vars.iter().map(|(k, v)| format!("{k}={v}")))
                    .chain(argv)
                    .collect(),
            ),
            args: Vec::new(),
            dir: std::env::temp_dir(),
            env: indexmap::IndexMap::new(),
            port: None,
            stop_signal: StopSignal::Term,
            pty: false,
            listen: false,
        };
        let cx = StartContext {
            node: NodeId::Service(self.service.clone()),
            run: self.id.clone(),
            action: Action::Create,
            existing: None,
            takeover: None,
            logs: self.logs.sink(&self.service),
            progress: Arc::new(|_| {}),
        };
        self.processes.start(&spec, &cx).await.unwrap()
    }

    fn context(&self, control: Option<Arc<dyn Control>>) -> Context {
        Context { service: self.service.clone(), control, logs: self.logs.clone(), since: None }
    }
}

async fn end(running: Running) {
    running.control.kill().await.unwrap();
    running.exit.await;
}

fn http(port: u16) -> Spec {
    Spec::Http { host: "127.0.0.1".to_owned(), port, path: "/api/health".to_owned() }
}

fn tcp(port: u16) -> Spec {
    Spec::Tcp { host: "127.0.0.1".to_owned(), port }
}

fn log(pattern: &str) -> Spec {
    Spec::Log { pattern: pattern.to_owned() }
}

#[tokio::test]
async fn a_service_that_answers_on_its_own_port_is_ready() {
    let run = Run::new(0x24_0001);
    let running = run.start(serve_argv(), &[(SERVE, "204 No Content")]).await;
    let cx = run.context(Some(Arc::clone(&running.control)));

    // The colours around the word are not part of the line.
    assert_eq!(until_ready(&log(r"port \d+$"), &cx, |_| {}).await, Verdict::Ready);
    let port = run.logs.tail(&run.service, 100).iter().find_map(|line| port_in(&line.text)).unwrap();
    assert_eq!(until_ready(&http(port), &cx, |_| {}).await, Verdict::Ready);
    assert_eq!(until_ready(&tcp(port), &cx, |_| {}).await, Verdict::Ready);
    end(running).await;
}

#[tokio::test]
async fn a_stranger_on_the_port_is_named_whatever_it_answers() {
    let run = Run::new(0x24_0002);
    let running = run.start(vec!["sleep".into(), "1000".into()], &[]).await;
    let cx = run.context(Some(Arc::clone(&running.control)));
    for status in ["200 OK", "404 Not Found"] {
        let stranger = Stranger::start(status);
        let (port, pid) = (stranger.port, stranger.child.id());
        for spec in [http(port), tcp(port)] {
            let Verdict::Never { message, hints } = until_ready(&spec, &cx, |_| {}).await else {
                panic!("believed a stranger that answers {status} to {}", spec.kind())
            };
            assert!(message.starts_with(&format!("port {port} is answered by pid {pid} (")), "{message}");
            assert!(message.ends_with("serve --exact --nocapture), not by this service"), "{message}");
            assert_eq!(hints, [format!("stop it: `kill {pid}`"), "or give `api` another `port`".to_owned()]);
        }
        // With `--skip-docker` nobody's ownership can be proven, and the answer alone counts.
        assert_eq!(attempt(&http(port), &run.context(None)).await == Attempt::Ready, status == "200 OK");
    }
    end(running).await;
}

#[tokio::test]
async fn a_service_is_waited_for_from_before_it_listens() {
    // Bound and not listening: nobody else can take the port before the listener does.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let run = Run::new(0x24_0003);

    let (tell, told) = tokio::sync::oneshot::channel();
    let (mut tell, mut answers) = (Some(tell), Vec::new());
    let (spec, cx) = (tcp(port), run.context(None));
    let probing = until_ready(&spec, &cx, |answer| {
        answers.push(answer.to_owned());
        if let Some(tell) = tell.take() {
            tell.send(()).unwrap();
        }
    });
    let listening = async {
        told.await.unwrap();
        socket.listen(16).unwrap()
    };
    let (verdict, _listener) = tokio::join!(probing, listening);
    assert_eq!(verdict, Verdict::Ready);
    assert_eq!(answers, [format!("nobody listens on 127.0.0.1:{port}")]);
}

#[tokio::test]
async fn a_probe_that_is_given_up_holds_no_connection() {
    let run = Run::new(0x24_0004);
    let cx = run.context(None);
    let (host, database) = ("127.0.0.1".to_owned(), "menu_ops".to_owned());
    let (user, password) = ("postgres".to_owned(), "postgres".to_owned());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let specs = [
        Spec::Postgres { host: host.clone(), port, user, password, database },
        Spec::Redis { host, port, password: None },
        http(port),
        tcp(port),
    ];
    for spec in specs {
        let mut stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            verdict = until_ready(&spec, &cx, |_| {}) => panic!("{}: {verdict:?} without an answer", spec.kind()),
        };
        // The probe was dropped, so the stream ends, with or without a part of the question.
        let mut question = Vec::new();
        match tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut question)).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{}", spec.kind()),
            Err(late) => panic!("{}: still connected ({late}) after {question:?}", spec.kind()),
        }
    }
}

#[tokio::test]
async fn a_command_decides_by_its_exit_code() {
    let run = Run::new(0x24_0005);
    let running = run.start(vec!["sleep".into(), "1000".into()], &[]).await;
    let cx = run.context(Some(Arc::clone(&running.control)));
    let exec = |script: &str, timeout| Spec::Exec { argv: vec!["sh".into(), "-c".into(), script.into()], timeout };
    let minute = Duration::from_mins(1);
    assert_eq!(attempt(&exec("true", minute), &cx).await, Attempt::Ready);
    assert_eq!(
        attempt(&exec("echo migrating; echo; exit 3", minute), &cx).await,
        Attempt::NotYet("`sh -c 'echo migrating; echo; exit 3'` ends with exit code 3: migrating".into())
    );
    assert_eq!(
        attempt(&exec("sleep 1000", Duration::from_millis(50)), &cx).await,
        Attempt::NotYet("`sh -c 'sleep 1000'` does not end within 50ms".into())
    );
    let missing = Spec::Exec { argv: vec!["devctl-no-such-program".into()], timeout: minute };
    let Attempt::NotYet(answer) = attempt(&missing, &cx).await else { panic!("ran a program that is not there") };
    assert!(answer.starts_with("`devctl-no-such-program` cannot be run: "), "{answer}");
    assert!(matches!(attempt(&missing, &run.context(None)).await, Attempt::Never { .. }));
    end(running).await;
}

#[tokio::test]
async fn a_process_has_no_healthcheck_to_ask() {
    let run = Run::new(0x24_0006);
    let running = run.start(vec!["sleep".into(), "1000".into()], &[]).await;
    let cx = run.context(Some(Arc::clone(&running.control)));
    let Attempt::Never { message, .. } = attempt(&Spec::Container, &cx).await else { panic!("no engine was asked") };
    assert_eq!(message, "the container has no healthcheck");
    assert!(matches!(attempt(&Spec::Container, &run.context(None)).await, Attempt::Never { .. }));
    end(running).await;
}

#[tokio::test]
async fn lines_of_an_earlier_start_prove_nothing() {
    let run = Run::new(0x24_0007);
    let echo = |line: &str| vec!["echo".to_owned(), line.to_owned()];
    run.start(echo("listening, first start"), &[]).await.exit.await;
    let mut cx = run.context(None);
    assert_eq!(until_ready(&log("^listening"), &cx, |_| {}).await, Verdict::Ready);

    cx.since = Some(clock::timestamp());
    let wanted = log("^listening");
    assert_eq!(attempt(&wanted, &cx).await, Attempt::NotYet("no line matches `^listening` yet".into()));
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let probing = until_ready(&wanted, &cx, |_| tell.take().unwrap().send(()).unwrap());
    let restart = async {
        told.await.unwrap();
        run.start(echo("listening, second start"), &[]).await.exit.await;
    };
    let (verdict, ()) = tokio::join!(probing, restart);
    assert_eq!(verdict, Verdict::Ready);
    // And what was printed between the start and the probe counts.
    assert_eq!(until_ready(&wanted, &cx, |_| {}).await, Verdict::Ready);
}
