//! Ends and output: what is told of a service that ends, and that every line of it arrives.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::{LONG, Run, TERMINATED, alive, gone, stub, until, within};

#[tokio::test]
async fn a_last_line_without_its_end_is_a_line() {
    let run = Run::new();
    let service = run.start(&["partial", "no newline"]).await;
    assert_eq!(service.end().await.code, Some(0));
    let tail = run.hub.tail(&"api".parse().unwrap(), 9);
    assert_eq!(tail.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["no newline"]);
}

#[tokio::test]
async fn the_exit_code_is_told() {
    let run = Run::new();
    assert_eq!(run.start(&["exit", "42"]).await.end().await.code, Some(42));
}

#[tokio::test]
async fn one_that_takes_its_time_to_end_is_given_it() {
    let run = Run::new();
    let mut service = run.start(&["slow", "0", "300"]).await;
    service.line("up").await;
    service.control.stop(LONG).await.unwrap();
    service.line("bye").await;
    assert_eq!(service.end().await.code, Some(0), "nobody hurried it");
    run.assert_gone();
}

#[tokio::test]
async fn one_that_closes_its_outputs_is_still_a_service() {
    let run = Run::new();
    let service = run.start(&["mute"]).await;
    let pid = service.pid;
    // Linux tells which files a process has open.
    #[cfg(target_os = "linux")]
    until(|| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() <= 1).await;
    assert!(alive(pid));
    assert_eq!(run.processes.leftovers(&run.id).len(), 1);
    service.control.stop(LONG).await.unwrap();
    assert_eq!(service.end().await, TERMINATED);
    run.assert_gone();
}

#[tokio::test]
async fn bytes_that_are_no_text_become_lines_and_hold_nobody_up() {
    let run = Run::new();
    let service = run.start(&["binary", "1000000"]).await;
    assert_eq!(service.end().await.code, Some(0));
    assert!(!run.hub.tail(&"api".parse().unwrap(), 1).is_empty());
}

#[tokio::test]
async fn one_that_crashes_at_a_request_has_answered_it() {
    let run = Run::new();
    let port = "22212";
    let mut service = run.start(&["serve", port, "2"]).await;
    service.line("listening").await;
    for _ in 0..2 {
        let answer = within(reqwest::get(format!("http://127.0.0.1:{port}/"))).await.unwrap();
        assert_eq!(within(answer.text()).await.unwrap(), "ok");
    }
    assert_eq!(service.end().await.code, Some(3));
    let service = run.start(&["crash", "7", "20"]).await;
    assert_eq!(service.end().await.code, Some(7));
}

#[tokio::test]
async fn one_that_eats_memory_ends_when_it_is_told_to() {
    let run = Run::new();
    let mut service = run.start(&["eat", "64"]).await;
    service.line("full").await;
    service.control.stop(LONG).await.unwrap();
    assert_eq!(service.end().await, TERMINATED);
}

/// 200 MB, which are 2,000,000 lines, through a supervisor of its own, as memory is counted per process. A subscriber
/// that never reads is attached.
#[test]
fn a_flood_is_kept_whole_in_flat_memory() {
    let logs = tempfile::tempdir().unwrap();
    let bytes = 200_000_000;
    let output = Command::new(stub())
        .args(["supervise", logs.path().to_str().unwrap(), "flood", &bytes.to_string()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let file = std::fs::File::open(logs.path().join("stub.log")).unwrap();
    let mut expected = 0;
    for line in BufReader::new(file).split(b'\n') {
        let line = line.unwrap();
        // A mark of devctl's own: which process it is.
        if line[28] == b'S' {
            continue;
        }
        // `2026-11-20T08:00:00.123456Z O 000000000 xxx…`
        let number: u64 = std::str::from_utf8(&line[30..39]).unwrap().parse().unwrap();
        assert_eq!((number, line.len()), (expected, 30 + 99));
        expected += 1;
    }
    assert_eq!(expected, 2_000_000);
    if cfg!(target_os = "linux") {
        let peak: u64 = said.lines().find_map(|l| l.strip_prefix("peak ")).unwrap().parse().unwrap();
        assert!(peak < 48 * 1024, "the supervisor grew to {peak} KiB");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn services_hear_of_it_when_devctl_is_killed() {
    let logs = tempfile::tempdir().unwrap();
    let mut devctl = Command::new(stub())
        .args(["supervise", logs.path().to_str().unwrap(), "lines", "up"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(devctl.stdout.take().unwrap()).lines();
    let leader = said.next().unwrap().unwrap().strip_prefix("leader ").unwrap().parse().unwrap();
    assert!(alive(leader));
    devctl.kill().unwrap();
    devctl.wait().unwrap();
    gone(leader).await;
}

#[test]
fn every_signal_is_told_by_its_name() {
    for signals in [["TERM", "INT", "HUP"], ["INT", "INT", "INT"]] {
        let mut devctl =
            Command::new(stub()).arg("signals").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(devctl.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(said.next().as_deref(), Some("up"));
        for signal in signals {
            let kill = Command::new("kill").args(["-s", signal, &devctl.id().to_string()]).status().unwrap();
            assert!(kill.success());
            assert_eq!(said.next().unwrap().to_uppercase(), signal);
        }
        assert!(devctl.wait().unwrap().success());
    }
}

#[test]
fn of_two_quick_signals_none_is_lost() {
    let mut devctl = Command::new(stub()).arg("signals").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(devctl.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().as_deref(), Some("up"));
    let id = devctl.id();
    // One shell, so that they come within microseconds; different ones, as the kernel itself merges equal ones.
    assert!(
        Command::new("sh").arg("-c").arg(format!("kill -s INT {id}; kill -s TERM {id}")).status().unwrap().success()
    );
    let mut both = [said.next().unwrap(), said.next().unwrap()];
    both.sort();
    assert_eq!(both, ["Int", "Term"]);
    devctl.kill().unwrap();
    devctl.wait().unwrap();
}
