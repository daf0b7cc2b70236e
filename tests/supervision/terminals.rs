//! Services that insist on a terminal.

use devctl::driver::process::Spec;
use devctl::logs::Delivery;

use crate::{KILLED, LONG, Run, Service, TERMINATED, alive, spec, within};

/// A service that runs in a terminal of its own.
async fn in_terminal(run: &Run, args: &[&str]) -> Service {
    run.spec(&Spec { pty: true, ..spec(args) }).await
}

#[tokio::test]
async fn a_service_that_insists_on_a_terminal_has_one() {
    let run = Run::new();
    let script = "test -t 0 && test -t 1 && test -t 2 && echo three; stty size; stty -a | grep -o -- '[ ]-echo '; \
                  [ -n \"$TERM\" ] && echo term; echo controlling >/dev/tty; echo error >&2; ps -o sid= -p $$ | tr -d ' '";
    let service = in_terminal(&run, &["shell", script]).await;
    let pid = service.pid;
    assert_eq!(service.end().await.code, Some(0));
    let tail = run.hub.tail(&"api".parse().unwrap(), 99);
    let lines: Vec<&str> = tail.iter().map(|l| l.text.trim()).collect();
    assert_eq!(lines, ["three", "40 120", "-echo", "term", "controlling", "error", &pid.to_string()]);
    assert!(tail.iter().all(|line| line.stream == devctl::logs::Stream::Stdout && !line.text.ends_with('\r')));
    run.assert_gone();
}

#[tokio::test]
async fn without_being_asked_for_there_is_no_terminal() {
    let run = Run::new();
    let script = "test -t 0 || test -t 1 || test -t 2 || echo none; (echo x >/dev/tty) 2>/dev/null || echo nor another";
    assert_eq!(run.start(&["shell", script]).await.end().await.code, Some(0));
    let tail = run.hub.tail(&"api".parse().unwrap(), 99);
    assert_eq!(tail.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["none", "nor another"]);
}

#[tokio::test]
async fn a_service_in_a_terminal_stops_when_asked_with_all_it_started() {
    let run = Run::new();
    let mut service = in_terminal(&run, &["shell", "\"$STUB\" sleeper & wait"]).await;
    let sleeper = service.sleeper().await;
    service.control.stop(LONG).await.unwrap();
    assert_eq!(service.end().await, TERMINATED);
    assert!(!alive(sleeper));
    run.assert_gone();
}

#[tokio::test]
async fn one_in_a_terminal_that_ignores_every_request_is_killed() {
    let run = Run::new();
    let mut service = in_terminal(&run, &["stubborn"]).await;
    service.line("up").await;
    service.control.stop(LONG).await.unwrap();
    service.control.kill().await.unwrap();
    assert_eq!(service.end().await, KILLED);
    run.assert_gone();
}

#[tokio::test]
async fn everything_written_to_a_terminal_arrives() {
    let run = Run::new();
    let mut service = in_terminal(&run, &["flood", "2000000"]).await;
    let mut next = 0;
    let all = async {
        while next < 20_000 {
            let Delivery::Lines(lines) = service.live.recv().await.unwrap() else {
                panic!("the queue is large enough")
            };
            for line in lines {
                assert_eq!((&line.text[..9], line.text.len()), (format!("{next:09}").as_str(), 99));
                next += 1;
            }
        }
    };
    within(all).await;
    assert_eq!(service.end().await.code, Some(0));
}
