//! Starts: what a child gets, what it does not get, and what is left of one that was given up on the way.

use std::io::Write as _;

use devctl::advice::Advice as _;
use devctl::driver::process::{Error, Launch, Program, Spec, StopSignal};
use devctl::os;
use futures_util::FutureExt as _;

use crate::{LONG, Run, TERMINATED, Word, alive, gone, launch, stub, until, within};

#[tokio::test]
async fn letting_go_of_a_service_kills_it() {
    for poll_first in [false, true] {
        let run = Run::new();
        let mut service = run.start(&["shell", "\"$STUB\" daemon exit; \"$STUB\" stubborn"]).await;
        service.line("up").await;
        let pids = [service.pid, service.sleeper_of(&run)];
        let mut exit = service.exit;
        if poll_first {
            assert!(futures_util::poll!(&mut exit).is_pending());
        }
        drop(exit);
        for pid in pids {
            gone(pid).await;
        }
        run.assert_gone();
    }
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_no_child() {
    let run = Run::new();
    let cx = run.context(&"api".parse().unwrap());
    let argv = vec![stub().to_owned(), "stubborn".to_owned()];
    {
        let mut start = Box::pin(run.processes.launch(launch(argv, StopSignal::Term), &cx));
        // The child is on order now. On a lucky machine it is made already: then it is let go of with its end.
        let _ = futures_util::poll!(&mut start);
    }
    // Children are made one after the other: when this one runs, the fate of the first is decided.
    let mut next = run.service("next", StopSignal::Term, &["lines", "up"]).await;
    next.line("up").await;
    until(|| run.processes.leftovers(&run.id).len() <= 1).await;
    assert!(alive(next.pid));
    next.control.stop(LONG).await.unwrap();
    next.end().await;
    run.assert_gone();
}

#[tokio::test]
async fn a_probe_command_runs_where_the_service_runs() {
    let run = Run::new();
    let dir = tempfile::tempdir().unwrap();
    let mut launch = launch(vec![stub().to_owned(), "lines".to_owned(), "up".to_owned()], StopSignal::Term);
    launch.dir = dir.path().canonicalize().unwrap();
    launch.env.push(("PROBED".to_owned(), "yes".to_owned()));
    let mut service = run.launch("api", launch.clone()).await;
    service.line("up").await;
    let sh = |script: &str| service.control.exec(vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()]);

    let output = within(sh("pwd; echo $PROBED $DEVCTL_SERVICE >&2; exit 7")).await.unwrap();
    assert_eq!(output.code, 7);
    let mut lines: Vec<&str> = output.output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [launch.dir.to_str().unwrap(), "yes api"]);

    assert_eq!(within(sh("kill -9 $$")).await.unwrap().code, 137);
    let long = within(sh("i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done")).await.unwrap();
    assert!(long.output.len() == 4096 && long.output.ends_with("1999\n"));
    let held = within(sh(&format!("{} sleeper & exit 0", stub()))).await.unwrap();
    assert_eq!(held.code, 0);

    // A probe that hangs is dropped by its time limit, and dies of it.
    let mark = Word::new(&dir.path().join("pid"));
    let hanging = sh(&format!("echo $$ > {}; sleep 1000", mark.path.display()));
    let pid: u32 = tokio::select! {
        _ = hanging => panic!("it does not hang"),
        word = within(mark.read()) => word.trim().parse().unwrap(),
    };
    gone(pid).await;
    assert!(alive(service.pid));
    service.control.stop(LONG).await.unwrap();
    service.end().await;
    run.assert_gone();
}

#[tokio::test]
async fn a_child_whose_order_is_given_up_on_the_way_is_killed() {
    let run = Run::new();
    let cx = run.context(&"api".parse().unwrap());
    let argv = [stub(), "sleeper"].map(str::to_owned).to_vec();
    // Asked once and never again: the child is made, and the answer is not read.
    let start = loop {
        let mut start = Box::pin(run.processes.launch(launch(argv.clone(), StopSignal::Term), &cx));
        match start.as_mut().now_or_never() {
            None => break start,
            // Made while it was asked for: that one was not on its way, and is killed with its handle.
            Some(made) => drop(made.unwrap()),
        }
        until(|| run.processes.leftovers(&run.id).is_empty()).await;
    };
    until(|| !run.processes.leftovers(&run.id).is_empty()).await;
    drop(start);
    until(|| run.processes.leftovers(&run.id).is_empty()).await;
}

#[tokio::test]
async fn children_carry_the_cookies_and_nothing_of_cargos() {
    assert!(os::env::all().contains_key("CARGO_PKG_NAME"), "tests are started by cargo");
    let run = Run::new();
    let service =
        run.start(&["shell", "env | grep -E '^(DEVCTL_(RUN|SERVICE)|CARGO_PKG|CARGO_MANIFEST)' | sort"]).await;
    assert_eq!(service.end().await.code, Some(0));
    let tail = run.hub.tail(&"api".parse().unwrap(), 99);
    let lines: Vec<&str> = tail.iter().map(|l| l.text.as_str()).collect();
    assert_eq!(lines, [format!("DEVCTL_RUN={}", run.id).as_str(), "DEVCTL_SERVICE=api"]);
}

#[tokio::test]
async fn a_child_gets_signals_terminal_and_files_of_its_own() {
    let run = Run::new();
    let _open = std::fs::File::open("/").unwrap();
    let script = "ps -o sid=,pgid= -p $$ | tr -s ' '; read line || echo no input; ls /proc/self/fd 2>/dev/null | wc -w";
    let service = run.start(&["shell", script]).await;
    let pid = service.pid;
    service.end().await;
    let tail = run.hub.tail(&"api".parse().unwrap(), 99);
    let lines: Vec<&str> = tail.iter().map(|l| l.text.trim()).collect();
    assert_eq!(lines[..2], [format!("{pid} {pid}").as_str(), "no input"]);
    if cfg!(target_os = "linux") {
        // Standard files and the one that `ls` itself reads.
        assert_eq!(lines[2], "4");
    }
}

#[tokio::test]
async fn root_can_run_a_child_as_somebody_else() {
    if !nix::unistd::Uid::effective().is_root() {
        // Not by `eprintln!`: the test runner would swallow it.
        drop(writeln!(std::io::stderr(), "SKIPPED: only root can change its user"));
        return;
    }
    let run = Run::new();
    let argv = ["sh", "-c", "id -u; id -G; kill -TERM $$"].map(str::to_owned).to_vec();
    let service = run.launch("db", Launch { user: Some((65534, 65533)), ..launch(argv, StopSignal::Term) }).await;
    assert_eq!(service.end().await, TERMINATED);
    let tail = run.hub.tail(&"db".parse().unwrap(), 99);
    assert_eq!(tail.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["65534", "65533"]);
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_the_reason() {
    let run = Run::new();
    let cx = run.context(&"api".parse().unwrap());
    let refuse = async |argv: &[&str], dir: &str| {
        let argv = argv.iter().map(|a| (*a).to_owned()).collect();
        let launch = Launch { dir: dir.into(), ..launch(argv, StopSignal::Term) };
        match run.processes.launch(launch, &cx).await {
            Ok(_) => panic!("it runs"),
            Err(e) => e,
        }
    };
    assert!(matches!(refuse(&[], "/").await, Error::Empty { .. }));
    assert!(matches!(refuse(&["no-such-program-here"], "/").await, Error::NotInPath { .. }));
    assert!(matches!(refuse(&["sh"], "/no/such/folder").await, Error::FolderMissing { .. }));
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = refuse(&["./script"], dir.path().to_str().unwrap()).await;
    assert!(matches!(error, Error::InterpreterMissing { .. }), "{error:?}");
    assert_eq!(error.hints().len(), 1);
    let spec = Spec {
        service: "api".parse().unwrap(),
        program: Program::Built,
        args: Vec::new(),
        dir: "/".into(),
        env: indexmap::IndexMap::new(),
        port: None,
        stop_signal: StopSignal::Term,
        pty: false,
        listen: false,
    };
    assert!(matches!(run.processes.start(&spec, &cx).await, Err(Error::NotBuilt { .. })));
}

/// The variables of a child are those of the launch over those of devctl.
#[tokio::test]
async fn the_launch_overrides_the_environment() {
    let run = Run::new();
    let mut launch = launch(["sh", "-c", "echo $HOME $EXTRA"].map(str::to_owned).to_vec(), StopSignal::Term);
    launch.env = vec![("HOME".to_owned(), "/over".to_owned()), ("EXTRA".to_owned(), "more".to_owned())];
    run.launch("api", launch).await.end().await;
    assert_eq!(run.hub.tail(&"api".parse().unwrap(), 1)[0].text, "/over more");
}

#[tokio::test]
async fn a_start_that_was_dropped_halfway_leaves_nothing() {
    for _ in 0..20 {
        let run = Run::new();
        let cx = run.context(&"api".parse().unwrap());
        let mut start = Box::pin(
            run.processes.launch(launch(vec![stub().to_owned(), "stubborn".to_owned()], StopSignal::Term), &cx),
        );
        // The order is given; mostly it is not carried out yet when nobody wants its child any more.
        drop(futures_util::poll!(&mut start));
        drop(start);
        assert_eq!(run.processes.left(&run.id).await, Vec::<String>::new());
        run.assert_gone();
    }
}
