//! Cases as they come, and what is said of them.

use super::*;
use crate::event::Exit;

const NOW: &str = "2026-11-20T09:00:10Z";

fn record(phase: &str) -> ServiceRecord {
    ServiceRecord { phase: phase.to_owned(), ..ServiceRecord::default() }
}

/// A run of these services that goes on; the first is asked for.
fn case(services: &[(&str, ServiceRecord)]) -> Case {
    Case {
        service: services[0].0.to_owned(),
        now: NOW.parse().unwrap(),
        run: Run::Up { stopping: false },
        services: services.iter().map(|(name, record)| ((*name).to_owned(), record.clone())).collect(),
        failures: IndexMap::new(),
        found: IndexMap::new(),
        needs: Vec::new(),
        checked: false,
        earlier_ready_ms: None,
        deed: None,
    }
}

fn waiting(on: &[&str]) -> ServiceRecord {
    ServiceRecord { waiting_on: on.iter().map(|on| (*on).to_owned()).collect(), ..record("waiting") }
}

fn printed(service: &str, lines: &[&str]) -> IndexMap<String, Found> {
    let life = Life { first_error: None, tail: lines.iter().map(|line| (*line).to_owned()).collect() };
    [(service.to_owned(), Found { life, ..Found::default() })].into()
}

/// The kind, the node and the first hint of each cause.
fn said(case: &Case) -> Vec<(Kind, String, String)> {
    let causes = explain(case).causes.into_iter();
    causes.map(|cause| (cause.kind, cause.node, cause.hints.first().cloned().unwrap_or_default())).collect()
}

fn plain(case: &Case) -> String {
    anstream::adapter::strip_str(&text(&explain(case))).to_string()
}

#[test]
fn a_service_that_is_about_to_be_started_again() {
    let api = ServiceRecord {
        restarts: 3,
        next_start: Some("2026-11-20T09:00:11.5Z".to_owned()),
        last_exit: Some(Exit { code: Some(1), ..Exit::default() }),
        ..record("restarting")
    };
    let found = printed("api", &["starting", "Error: Cannot find module 'express'"]);
    insta::assert_snapshot!(plain(&Case { found, ..case(&[("api", api)]) }), @r"
    api ended, and is started again in 2 s
      last exit   exit code 1
      restarts    3, the next in 2 s

    likely cause: `express` is not installed
      log    | Error: Cannot find module 'express'
      exit   | exit code 1
      record | 3 restarts
      hint: install what package.json names, in its folder: `npm install`
    ");
}

#[test]
fn the_root_of_a_chain_is_what_is_explained() {
    let services = [("web", waiting(&["api"])), ("api", waiting(&["db", "build api"])), ("db", record("stopped"))];
    let case = case(&services);
    let paths: Vec<String> = explain(&case)
        .waits_for
        .iter()
        .map(|path| path.iter().map(|link| format!("{} {}", link.node, link.state)).collect::<Vec<_>>().join(" > "))
        .collect();
    assert_eq!(paths, ["api waiting > db stopped", "api waiting > build api going on"]);
    assert_eq!(
        said(&case),
        [
            (Kind::Stopped, "db".to_owned(), "start it: `devctl start db`".to_owned()),
            (Kind::GoingOn, "build api".to_owned(), "watch it: `devctl logs -f api`".to_owned()),
        ]
    );
    assert_eq!(concerned(&case.services, "web"), ["web", "api", "db"]);
}

#[test]
fn files_with_a_cycle_do_not_hang_it() {
    let case = case(&[("a", waiting(&["b"])), ("b", waiting(&["a", "c"])), ("c", waiting(&["b"]))]);
    assert_eq!(concerned(&case.services, "a"), ["a", "b", "c"]);
    assert!(!explain(&case).well);
}

#[test]
fn what_failed_behind_a_service_is_named() {
    let failure = Failure { message: "there is no image `redis:7`".to_owned(), ..Failure::default() };
    let failed = Failure { hints: vec!["pull it".to_owned()], ..failure };
    let case = Case {
        failures: [("image redis:7".to_owned(), failed)].into(),
        run: Run::Over { end: End::Failed, ended: None },
        ..case(&[("api", waiting(&["redis"])), ("redis", waiting(&["container redis"]))])
    };
    assert!(
        said(&case).contains(&(Kind::Failed, "image redis:7".to_owned(), "pull it".to_owned())),
        "{:?}",
        said(&case)
    );
}

#[test]
fn a_connection_that_was_refused_is_traced_to_the_service_that_should_take_it() {
    let ended = ServiceRecord { last_exit: Some(Exit { code: Some(1), ..Exit::default() }), ..record("restarting") };
    let db = |phase| ServiceRecord { ports: vec![5432], ..record(phase) };
    let found = printed("api", &["dial tcp 127.0.0.1:5432: connect: connection refused"]);
    for (phase, hint) in [
        ("ready", "have it wait, under [services.api]: depends_on = { db = \"ready\" }"),
        ("stopped", "start it: `devctl start db`"),
        ("failed", "see what is the matter with it: `devctl why db`"),
    ] {
        let case = Case { found: found.clone(), ..case(&[("api", ended.clone()), ("db", db(phase))]) };
        assert_eq!(said(&case), [(Kind::Refused, "api".to_owned(), hint.to_owned())], "{phase}");
    }
    let host = printed("api", &["Error: getaddrinfo ENOTFOUND db"]);
    let case = Case { found: host, ..case(&[("api", ended), ("db", db("ready"))]) };
    let hint = "use the host `127.0.0.1`, port 5432, in what [services.api] is told".to_owned();
    assert_eq!(said(&case), [(Kind::UnknownHost, "api".to_owned(), hint)]);
}

#[test]
fn a_start_that_takes_longer_than_the_last_is_worth_a_word() {
    let api = |since: &str| ServiceRecord {
        since: Some(since.to_owned()),
        last_probe: Some("GET /health is answered with 503 Service Unavailable".to_owned()),
        ..record("probing")
    };
    let slow = Case { earlier_ready_ms: Some(1200), ..case(&[("api", api("2026-11-20T09:00:00Z"))]) };
    insta::assert_snapshot!(plain(&slow), @r"
    api runs and is not ready yet, after 10.0 s
      last probe  GET /health is answered with 503 Service Unavailable

    likely cause: api is not ready yet
      probe  | GET /health is answered with 503 Service Unavailable
      record | the time before it was ready in 1.2 s
      hint: see what it does: `devctl logs -f api`
    ");
    let usual = Case { earlier_ready_ms: Some(9000), ..case(&[("api", api("2026-11-20T09:00:00Z"))]) };
    assert!(explain(&usual).well && said(&usual).is_empty());
}

#[test]
fn secrets_in_urls_are_hidden() {
    let ended = ServiceRecord { last_exit: Some(Exit { code: Some(1), ..Exit::default() }), ..record("restarting") };
    let found = printed("api", &["cannot connect to postgresql://joe:hunter2@db/x: connection refused"]);
    let text = plain(&Case { found, ..case(&[("api", ended)]) });
    assert!(text.contains("joe:****@db") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_machine_that_went_down_is_no_fault_of_the_service() {
    let run = Run::Over { end: End::PowerOff, ended: None };
    let case = Case { run, ..case(&[("api", record("ready"))]) };
    assert_eq!(said(&case)[0].0, Kind::RunKilled);
    assert_eq!(explain(&case).summary, "api was ready when the last run ended with the machine");
}

#[test]
fn memory_and_signals_outweigh_what_the_log_says() {
    let found = printed("api", &["Error: connect ECONNREFUSED 127.0.0.1:6379"]);
    let exit = |signal, out_of_memory| Exit { signal: Some(signal), out_of_memory, ..Exit::default() };
    for (exit, kind) in
        [(exit(9, true), Kind::OutOfMemory), (exit(11, false), Kind::Signal), (exit(6, false), Kind::Refused)]
    {
        let api = ServiceRecord { last_exit: Some(exit), ..record("restarting") };
        let case = Case { found: found.clone(), ..case(&[("api", api)]) };
        assert_eq!(said(&case)[0].0, kind);
    }
}
