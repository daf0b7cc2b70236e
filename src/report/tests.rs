//! Recorded runs, as each reporter shows them.

use std::io::{self, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use indicatif::{ProgressDrawTarget, TermLike};
use tokio::sync::{mpsc, oneshot};

use super::paint::Paint;
use super::pretty::{Pretty, Screen};
use super::unpadded::Unpadded;
use super::{Ended, Kind, Options, Reporter, ServiceRow, Steer, Steering, drive, json, plain, steering, trace};
use crate::event::{Action, Event, EventKind, Exit, Failure, Handle, Outcome, Progress, Receipt, Signal, StopCause};
use crate::logs::{Delivery, LogLine, Stream};
use crate::name::{NodeId, ServiceName};

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn service(text: &str) -> NodeId {
    NodeId::Service(name(text))
}

fn image() -> NodeId {
    NodeId::Image("pgvector/pgvector:pg16".into())
}

fn at(at_ms: u64, kind: EventKind) -> Event {
    Event { at_ms, kind }
}

fn exit(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

fn log(service: &str, stream: Stream, text: &str) -> Delivery {
    let at = "2026-11-20T09:00:00.5Z".parse().unwrap();
    Delivery::Lines(LogLine { service: name(service), stream, at, text: text.to_owned() }.into())
}

fn progress(
    at_ms: u64,
    node: NodeId,
    what: &str,
    part: Option<&str>,
    figures: (u64, u64),
    unit: &'static str,
) -> Event {
    let part = part.map(str::to_owned);
    let progress = Progress { what: what.to_owned(), part, done: figures.0, total: figures.1, unit };
    at(at_ms, EventKind::Progress { node, progress })
}

fn options() -> Options {
    let row = |service: &str, kind, address: &str| ServiceRow {
        name: name(service),
        kind,
        addresses: vec![address.to_owned()],
    };
    Options {
        rows: vec![
            row("db", Kind::Container, "postgresql://postgres:***@localhost:5432/menu_ops"),
            row("redis", Kind::Container, "redis://localhost:6380"),
            row("api", Kind::Process, "http://localhost:8000"),
        ],
        ..Options::default()
    }
}

/// One step of a recorded run.
enum Step {
    Event(Event),
    Logs(Delivery),
}

/// From the first event until everything is under way.
fn starting() -> Vec<Event> {
    vec![
        at(
            1,
            EventKind::RunStarted {
                project: "integrador".parse().unwrap(),
                run: "0123456789ab".parse().unwrap(),
                driver: "docker",
                why: "Docker Engine 20.10.24 (API 1.41)".to_owned(),
                services: vec![name("db"), name("redis"), name("api")],
            },
        ),
        at(1, EventKind::Waiting { node: service("db"), on: vec![NodeId::Create(name("db"))] }),
        at(1, EventKind::Waiting { node: NodeId::Create(name("db")), on: vec![image(), NodeId::Network("n".into())] }),
        at(
            1,
            EventKind::Waiting {
                node: service("api"),
                on: vec![service("db"), service("redis"), NodeId::Build(name("api"))],
            },
        ),
        at(2, EventKind::Starting { node: image(), action: Action::Create }),
        at(2, EventKind::Starting { node: NodeId::Build(name("api")), action: Action::Create }),
        at(3, EventKind::Starting { node: service("redis"), action: Action::Keep }),
        at(4, EventKind::Started { node: service("redis"), handle: container("redis") }),
        at(9, EventKind::Ready { node: service("redis"), elapsed_ms: 6, probe: "redis" }),
        progress(10, image(), "downloading", Some("a"), (10_000_000, 40_000_000), "bytes"),
        progress(12, image(), "downloading", Some("b"), (24_100_000, 80_500_000), "bytes"),
        progress(20, NodeId::Build(name("api")), "compiling serde", None, (12, 87), "crates"),
    ]
}

/// From there until everything is ready.
fn finishing() -> Vec<Event> {
    vec![
        progress(2_100, image(), "extracting", Some("b"), (80_500_000, 80_500_000), "bytes"),
        at(2_200, EventKind::Completed { node: image(), elapsed_ms: 2_198 }),
        at(2_201, EventKind::Starting { node: NodeId::Create(name("db")), action: Action::Create }),
        at(2_240, EventKind::Completed { node: NodeId::Create(name("db")), elapsed_ms: 39 }),
        at(2_240, EventKind::Starting { node: service("db"), action: Action::Create }),
        at(2_300, EventKind::Started { node: service("db"), handle: container("db") }),
        at(
            2_310,
            EventKind::Probing { node: service("db"), answer: "connection refused\nat 127.0.0.1:5432".to_owned() },
        ),
        at(2_500, EventKind::Completed { node: NodeId::Build(name("api")), elapsed_ms: 2_498 }),
        at(2_942, EventKind::Ready { node: service("db"), elapsed_ms: 702, probe: "postgres" }),
        at(2_943, EventKind::Starting { node: service("api"), action: Action::Create }),
        at(2_945, EventKind::Started { node: service("api"), handle: Handle::Process { pid: 4242 } }),
        at(2_991, EventKind::Ready { node: service("api"), elapsed_ms: 48, probe: "http" }),
        at(2_991, EventKind::StackReady { elapsed_ms: 2_991, unready: vec![] }),
    ]
}

fn container(service: &str) -> Handle {
    Handle::Container { id: "f00d".to_owned(), name: format!("integrador-{service}-1") }
}

/// From Ctrl+C to the end.
fn stopping() -> Vec<Event> {
    vec![
        at(9_000, EventKind::StackStopping { cause: StopCause::Signal(Signal::Int) }),
        at(9_001, EventKind::Stopping { node: service("api"), grace_ms: 10_000 }),
        at(9_500, EventKind::Stopped { node: service("api"), exit: exit(0) }),
        at(9_501, EventKind::Stopping { node: service("db"), grace_ms: 10_000 }),
        at(9_900, EventKind::Stopped { node: service("db"), exit: exit(0) }),
        at(9_950, EventKind::Removed { node: NodeId::Create(name("db")) }),
        at(
            9_960,
            EventKind::Receipt(Receipt {
                containers: 1,
                processes: 1,
                networks: 0,
                kept: vec!["integrador-redis-1".to_owned()],
                data: vec!["volume integrador_pgdata".to_owned()],
                left: vec![],
                elapsed_ms: 960,
            }),
        ),
        at(9_961, EventKind::Finished { outcome: Outcome::Done, exit_code: 0 }),
    ]
}

fn failure() -> EventKind {
    EventKind::Failed {
        node: service("api"),
        failure: Failure {
            message: "ended before it was ready".to_owned(),
            exit: Some(exit(101)),
            last_probe: Some("connection refused (127.0.0.1:8000)".to_owned()),
            first_error: Some("\x1b[31mpanicked\x1b[0m at src/main.rs:7".to_owned()),
            log_tail: vec!["starting".to_owned(), "\x1b[31mpanicked\x1b[0m at src/main.rs:7".to_owned()],
            hints: vec!["read its whole log with `devctl logs api`".to_owned()],
            timed_out: false,
            environment: false,
        },
    }
}

/// A whole run with logs between ready and stop.
fn whole_run() -> Vec<Step> {
    let mut steps: Vec<Step> = starting().into_iter().chain(finishing()).map(Step::Event).collect();
    steps.push(Step::Logs(log("api", Stream::Stdout, "listening on \x1b[1m127.0.0.1:8000\x1b[0m")));
    steps.push(Step::Logs(log("db", Stream::Stderr, "LOG:  checkpoint \x1b[2J\"quoted\"")));
    steps.push(Step::Logs(Delivery::Dropped(120)));
    steps.extend(stopping().into_iter().map(Step::Event));
    steps
}

fn play(reporter: &mut dyn Reporter, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Event(event) => {
                reporter.event(event, event.at_ms).unwrap();
                reporter.refresh(event.at_ms);
            }
            Step::Logs(delivery) => reporter.logs(delivery).unwrap(),
        }
    }
}

fn play_events(reporter: &mut dyn Reporter, events: Vec<Event>) {
    play(reporter, &events.into_iter().map(Step::Event).collect::<Vec<_>>());
}

#[test]
fn a_run_as_json() {
    let mut out = Vec::new();
    play(&mut json::Json::new(&mut out), &whole_run());
    let text = String::from_utf8(out).unwrap();
    for line in text.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object["event"].is_string(), "{line}");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_run_as_plain_lines() {
    let mut out = Vec::new();
    play(&mut plain::Plain::new(&mut out, options().rows, trace::Trace::default()), &whole_run());
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

#[test]
fn a_failure_as_plain_lines() {
    let mut out = Vec::new();
    let mut reporter = plain::Plain::new(&mut out, options().rows, trace::Trace::default());
    play_events(
        &mut reporter,
        vec![
            at(
                30_000,
                EventKind::Warning {
                    node: Some(service("db")),
                    message: "not ready after 30 s, going on".to_owned(),
                    hints: vec!["read its log with `devctl logs db`".to_owned()],
                },
            ),
            at(30_010, failure()),
            at(30_020, EventKind::StackStopping { cause: StopCause::Failure }),
            at(30_500, EventKind::Killing { node: service("api") }),
            at(
                30_600,
                EventKind::Receipt(Receipt {
                    processes: 2,
                    left: vec!["pid 4242 (sleep 100)".to_owned()],
                    ..Receipt::default()
                }),
            ),
            at(30_601, EventKind::Finished { outcome: Outcome::Failed, exit_code: 1 }),
        ],
    );
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

#[test]
fn plain_lines_hold_no_escape_and_progress_comes_now_and_again() {
    let mut out = Vec::new();
    let mut reporter = plain::Plain::new(&mut out, options().rows, trace::Trace::default());
    let steps = (0..100).map(|i| progress(i * 100, image(), "downloading", None, (i * 1_000_000, 99_000_000), "bytes"));
    play_events(&mut reporter, steps.collect());
    reporter.logs(&log("api", Stream::Stdout, "\x1b[31mred\x1b[0m")).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains('\x1b'));
    assert_eq!(text.lines().count(), 5 + 1, "10 s of progress, a line each 2 s, and a log line:\n{text}");
}

/// A terminal in memory: what is drawn and what is printed arrive on one screen, as they would on a real one.
#[derive(Clone)]
struct Terminal(Arc<Mutex<vt100::Parser>>);

fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

impl Terminal {
    fn new(rows: u16, columns: u16) -> Self {
        Self(Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 1000))))
    }

    fn screen(&self) -> Screen {
        let terminal = self.clone();
        Screen {
            live: ProgressDrawTarget::term_like(Box::new(Unpadded::new(self.clone()))),
            is_terminal: true,
            out: Box::new(self.clone()),
            width: Box::new(move || Some(terminal.width())),
        }
    }

    fn pretty(&self, colours: bool) -> Pretty {
        Pretty::new(self.screen(), options(), Paint::new(colours))
    }

    /// What is on the screen, without the empty rest of it.
    fn text(&self) -> String {
        self.lines().join("\n").trim_end().to_owned()
    }

    fn lines(&self) -> Vec<String> {
        let parser = self.0.lock().unwrap();
        let screen = parser.screen();
        screen.rows(0, screen.size().1.get()).map(|row| row.trim_end().to_owned()).collect()
    }

    fn resize(&self, rows: u16, columns: u16) {
        self.0.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
    }

    fn feed(&self, text: &str) {
        // A terminal in its usual mode returns the carriage with each new line.
        self.0.lock().unwrap().process(text.replace('\n', "\r\n").as_bytes());
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Terminal")
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.feed(std::str::from_utf8(bytes).expect("reporters print whole lines of text"));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        self.0.lock().unwrap().screen().size().1.get()
    }

    fn height(&self) -> u16 {
        self.0.lock().unwrap().screen().size().0.get()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        if n > 0 {
            self.feed(&format!("\x1b[{n}A"));
        }
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        if n > 0 {
            self.feed(&format!("\x1b[{n}B"));
        }
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        if n > 0 {
            self.feed(&format!("\x1b[{n}C"));
        }
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        if n > 0 {
            self.feed(&format!("\x1b[{n}D"));
        }
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.feed(&format!("{text}\n"));
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.feed(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.feed("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_screen_while_the_stack_comes_up() {
    let terminal = Terminal::new(24, 100);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting());
    pretty.refresh(1_520);
    insta::assert_snapshot!(terminal.text());
}

#[test]
fn the_screen_while_a_narrow_stack_comes_up() {
    let terminal = Terminal::new(24, 40);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting());
    pretty.refresh(1_520);
    insta::assert_snapshot!(terminal.text());
}

#[test]
fn a_terminal_that_becomes_narrower_keeps_one_line_a_service() {
    let terminal = Terminal::new(24, 100);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting());
    terminal.resize(24, 40);
    for now_ms in [1_500, 1_600, 1_700] {
        pretty.refresh(now_ms);
    }
    let text = terminal.text();
    for service in ["db  ", "redis  ", "api  "] {
        assert_eq!(text.lines().filter(|line| line.starts_with(service)).count(), 1, "{text}");
    }
}

#[test]
fn the_screen_once_everything_is_ready_and_logs_come() {
    let terminal = Terminal::new(30, 110);
    let mut pretty = terminal.pretty(false);
    play(&mut pretty, &whole_run()[..28]);
    insta::assert_snapshot!(terminal.text());
    assert_eq!(pretty.tick(), None, "nothing moves, so devctl sleeps");
}

#[test]
fn the_screen_once_everything_is_ready_on_a_narrow_terminal() {
    let terminal = Terminal::new(30, 40);
    let mut pretty = terminal.pretty(false);
    play(&mut pretty, &whole_run()[..28]);
    insta::assert_snapshot!(terminal.text());
}

#[test]
fn the_screen_while_the_stack_stops() {
    let terminal = Terminal::new(30, 110);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting().into_iter().chain(finishing()).collect());
    terminal.feed("\x1b[2J\x1b[H");
    play_events(&mut pretty, stopping().into_iter().take(2).collect());
    pretty.refresh(15_200);
    insta::assert_snapshot!(terminal.text());
    play_events(&mut pretty, vec![at(15_300, EventKind::Killing { node: service("api") })]);
    insta::assert_snapshot!(terminal.text());
    play_events(&mut pretty, stopping().into_iter().skip(2).collect());
    drop(pretty);
    insta::assert_snapshot!(terminal.text());
}

#[test]
fn the_screen_when_a_service_fails_while_others_come_up() {
    let terminal = Terminal::new(30, 100);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting());
    play_events(&mut pretty, vec![at(1_500, failure())]);
    insta::assert_snapshot!(terminal.text());
}

#[test]
fn what_is_left_is_named_and_the_unready_show_their_log() {
    let terminal = Terminal::new(30, 100);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting());
    for i in 0..12 {
        pretty.logs(&log("db", Stream::Stderr, &format!("line {i}"))).unwrap();
    }
    assert!(!terminal.text().contains("line 3"), "logs wait for the table");
    play_events(
        &mut pretty,
        vec![
            at(30_000, EventKind::StackReady { elapsed_ms: 30_000, unready: vec![name("db")] }),
            at(31_000, EventKind::StackStopping { cause: StopCause::Signal(Signal::Term) }),
            at(
                31_500,
                EventKind::Receipt(Receipt {
                    containers: 2,
                    left: vec!["pid 4242 (sleep 100)".to_owned()],
                    ..Receipt::default()
                }),
            ),
        ],
    );
    insta::assert_snapshot!(terminal.text());
}

#[test]
fn colours_are_on_the_screen_when_wanted_and_only_then() {
    let terminal = Terminal::new(30, 110);
    let mut pretty = terminal.pretty(true);
    play(&mut pretty, &whole_run()[..28]);
    let coloured = |terminal: &Terminal, word: &str| {
        let lines = terminal.lines();
        let row = lines.iter().position(|line| line.contains(word)).expect("the word is on the screen");
        let column = lines[row].find(word).expect("it is in that line");
        let parser = terminal.0.lock().unwrap();
        let screen = parser.screen();
        let cell = screen.cell(u16::try_from(row).unwrap(), u16::try_from(column).unwrap()).unwrap();
        cell.fgcolor() != vt100::Color::Default
    };
    assert!(coloured(&terminal, "Ready in"));
    assert!(coloured(&terminal, "db    |"));
    let plain = Terminal::new(30, 110);
    let mut pretty = plain.pretty(false);
    play(&mut pretty, &whole_run()[..28]);
    assert!(!coloured(&plain, "Ready in"));
    assert!(!coloured(&plain, "db    |"));
    assert_eq!(terminal.text(), plain.text(), "colours change no text");
}

#[test]
fn nothing_live_stays_on_the_screen_when_a_reporter_is_dropped() {
    let terminal = Terminal::new(30, 100);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting());
    assert!(terminal.text().contains("compiling serde"));
    drop(pretty);
    assert_eq!(terminal.text(), "integrador on Docker Engine 20.10.24 (API 1.41)");
    assert!(!terminal.0.lock().unwrap().screen().hide_cursor());
}

/// A standard output that somebody closes after a few bytes.
struct Closing(usize);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_reporter_quietly() {
    let (send, events) = mpsc::unbounded_channel();
    for event in starting() {
        send.send(event).unwrap();
    }
    let mut reporter = json::Json::new(Closing(300));
    let ended = drive(&mut reporter, events, async || std::future::pending().await, nobody()).await;
    assert_eq!(ended.unwrap(), Ended::ReaderGone);
}

#[tokio::test]
async fn logs_that_wait_come_before_the_end() {
    let (send, events) = mpsc::unbounded_channel();
    let (send_logs, mut logs) = mpsc::unbounded_channel();
    for event in stopping() {
        send.send(event).unwrap();
    }
    send_logs.send(log("api", Stream::Stdout, "last words")).unwrap();
    let mut out = Vec::new();
    let mut reporter = json::Json::new(&mut out);
    let ended = drive(&mut reporter, events, async || logs.recv().await, nobody()).await;
    assert_eq!(ended.unwrap(), Ended::Finished);
    let text = String::from_utf8(out).unwrap();
    let words = text.find("last words").expect("the line is printed");
    assert!(words < text.find("\"receipt\"").expect("so is the receipt"), "{text}");
    assert!(text.trim_end().ends_with(r#""event":"finished","outcome":"done","exit_code":0}"#), "{text}");
}

#[tokio::test]
async fn an_engine_that_is_gone_ends_the_reporter() {
    let (send, events) = mpsc::unbounded_channel();
    drop(send);
    let mut out = Vec::new();
    let mut reporter = json::Json::new(&mut out);
    let ended = drive(&mut reporter, events, async || None, nobody()).now_or_never();
    assert_eq!(ended.expect("there is nothing to wait for").unwrap(), Ended::Finished);
}

/// What a reporter gets that nobody steers.
fn nobody() -> Steering {
    steering().1
}

/// Plays a run into a reporter that is steered in between; answers how it ended and what the screen shows then.
async fn steered(terminal: &Terminal, events: Vec<Event>, steers: Vec<Steer>) -> io::Result<Ended> {
    let (send, receive) = mpsc::unbounded_channel();
    let (steer, steering) = steering();
    for event in events {
        send.send(event).unwrap();
    }
    for each in steers {
        steer.send(each).unwrap();
    }
    drop(send);
    drive(&mut terminal.pretty(false), receive, async || std::future::pending().await, steering).await
}

#[tokio::test]
async fn what_happens_while_nobody_can_look_is_shown_on_return() {
    let terminal = Terminal::new(40, 100);
    let (send, events) = mpsc::unbounded_channel();
    let (steer, steering) = steering();
    let (send_logs, mut logs) = mpsc::channel(8);
    let mut pretty = terminal.pretty(false);
    let watch = async {
        for event in starting() {
            send.send(event).unwrap();
        }
        let (done, paused) = oneshot::channel();
        steer.send(Steer::Pause(done)).unwrap();
        paused.await.unwrap();
        // Steering goes first, so nothing was shown before, and nothing is while it is paused.
        for event in finishing() {
            send.send(event).unwrap();
        }
        send_logs.send(log("api", Stream::Stdout, "said meanwhile")).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(terminal.text(), "", "the shell has the terminal");
        assert_eq!(send_logs.capacity(), 7, "lines wait where they are dropped when there are too many");
        steer.send(Steer::Resume { live: true }).unwrap();
        while send_logs.capacity() < 8 {
            tokio::task::yield_now().await;
        }
        drop(send);
    };
    let (ended, ()) = tokio::join!(drive(&mut pretty, events, async || logs.recv().await, steering), watch);
    assert_eq!(ended.unwrap(), Ended::Finished);
    let text = terminal.text();
    assert!(text.contains("Ready in 3.0 s"), "{text}");
    assert!(text.contains("said meanwhile"), "{text}");
}

#[tokio::test]
async fn the_end_of_a_run_is_told_even_to_somebody_who_looks_away() {
    let terminal = Terminal::new(40, 100);
    let (done, _paused) = oneshot::channel();
    let events = starting().into_iter().chain(finishing()).chain(stopping()).collect();
    let ended = steered(&terminal, events, vec![Steer::Pause(done)]).await;
    assert_eq!(ended.unwrap(), Ended::Finished);
    assert!(terminal.text().contains("0 left"), "{}", terminal.text());
}

#[tokio::test]
async fn whoever_leaves_is_told_the_last() {
    let terminal = Terminal::new(40, 100);
    let (done, left) = oneshot::channel();
    let steers = vec![Steer::Say("keys".to_owned()), Steer::Leave("detached".to_owned(), done)];
    let ended = steered(&terminal, starting(), steers).await;
    assert_eq!(ended.unwrap(), Ended::Left);
    assert_eq!(terminal.text(), "keys\ndetached");
    left.await.expect("and that it was said is told");
}

#[test]
fn without_live_lines_the_rest_is_shown() {
    let terminal = Terminal::new(40, 100);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting());
    assert!(terminal.text().contains("compiling serde"), "{}", terminal.text());
    pretty.live(false);
    assert!(!terminal.text().contains("compiling serde"), "{}", terminal.text());
    assert_eq!(pretty.tick(), None, "nothing moves");
    play_events(&mut pretty, finishing());
    assert!(terminal.text().contains("Ready in 3.0 s"), "{}", terminal.text());
}

#[test]
fn a_long_list_of_what_stops_leaves_room() {
    let terminal = Terminal::new(40, 100);
    let mut pretty = terminal.pretty(false);
    let services: Vec<_> = (0..30).map(|i| name(&format!("s{i}"))).collect();
    let began = EventKind::RunStarted {
        project: "integrador".parse().unwrap(),
        run: "0123456789ab".parse().unwrap(),
        driver: "none",
        why: String::new(),
        services: services.clone(),
    };
    let mut events = vec![at(0, began)];
    for (pid, each) in (1..).zip(&services) {
        let node = NodeId::Service(each.clone());
        events.push(at(1, EventKind::Started { node: node.clone(), handle: Handle::Process { pid } }));
        events.push(at(1, EventKind::Ready { node, elapsed_ms: 1, probe: "tcp" }));
    }
    events.push(at(2, EventKind::StackReady { elapsed_ms: 2, unready: vec![] }));
    events.push(at(3, EventKind::StackStopping { cause: StopCause::Signal(Signal::Int) }));
    for each in &services[10..] {
        events.push(at(4, EventKind::Stopping { node: NodeId::Service(each.clone()), grace_ms: 10_000 }));
    }
    play_events(&mut pretty, events);
    let text = terminal.text();
    let (_, live) = text.split_once("Stopping: Ctrl+C\n").expect("it stops");
    assert_eq!(live.lines().count(), 16, "{live}");
    assert!(live.contains("waiting for s10 (pid 11): 10 s left; Ctrl+C again to kill\n"), "{live}");
    assert!(live.contains("and 13 more\n"), "{live}");
    assert!(live.ends_with("and 3 more"), "{live}");
}

#[test]
fn the_reason_of_a_failure_is_the_last_line_and_no_log_of_the_others_comes_between() {
    let terminal = Terminal::new(40, 100);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting());
    play_events(
        &mut pretty,
        vec![at(1_500, failure()), at(1_501, EventKind::StackStopping { cause: StopCause::Failure })],
    );
    for i in 0..30 {
        pretty.logs(&log("redis", Stream::Stdout, &format!("shutting down, step {i}"))).unwrap();
    }
    play_events(
        &mut pretty,
        vec![
            at(1_600, EventKind::Receipt(Receipt { containers: 1, ..Receipt::default() })),
            at(1_601, EventKind::Finished { outcome: Outcome::Failed, exit_code: 1 }),
        ],
    );
    insta::assert_snapshot!(terminal.text());
}

#[test]
fn a_database_that_does_not_stop_shows_what_it_said_meanwhile() {
    let terminal = Terminal::new(40, 100);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting().into_iter().chain(finishing()).collect());
    terminal.feed("\x1b[2J\x1b[H");
    play_events(
        &mut pretty,
        vec![
            at(9_000, EventKind::StackStopping { cause: StopCause::Signal(Signal::Int) }),
            at(9_001, EventKind::Stopping { node: service("api"), grace_ms: 10_000 }),
            at(9_001, EventKind::Stopping { node: service("db"), grace_ms: 10_000 }),
        ],
    );
    pretty.logs(&log("api", Stream::Stdout, "finishing requests")).unwrap();
    pretty.logs(&log("db", Stream::Stderr, "waiting for a client to go")).unwrap();
    play_events(&mut pretty, vec![at(9_100, EventKind::Stopped { node: service("api"), exit: exit(0) })]);
    assert!(!terminal.text().contains("a client"), "{}", terminal.text());
    play_events(&mut pretty, vec![at(19_001, EventKind::Killing { node: service("db") })]);
    pretty.logs(&log("db", Stream::Stderr, "killed while waiting")).unwrap();
    insta::assert_snapshot!(terminal.text());
}

#[test]
fn a_service_that_ends_while_the_others_run_is_told_once_and_with_a_way_back() {
    let ended = EventKind::Failed {
        node: service("db"),
        failure: Failure {
            message: "`db` ended by itself: exit code 137".to_owned(),
            exit: Some(exit(137)),
            last_probe: Some("the server closes the connection unanswered".to_owned()),
            ..Failure::default()
        },
    };
    let terminal = Terminal::new(40, 100);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting().into_iter().chain(finishing()).collect());
    terminal.feed("\x1b[2J\x1b[H");
    play_events(&mut pretty, vec![at(9_000, ended.clone())]);
    insta::assert_snapshot!(terminal.text(), @r"
    error: db ended by itself: exit code 137
      hint: the others stay up; to get db back: Ctrl+C, then `devctl up`
    ");
    let mut out = Vec::new();
    let mut plain = plain::Plain::new(&mut out, options().rows, trace::Trace::default());
    play_events(&mut plain, starting().into_iter().chain(finishing()).collect());
    play_events(&mut plain, vec![at(9_000, ended)]);
    let text = String::from_utf8(out).unwrap();
    let end = text.split_once("9.000s").expect("it is told").1;
    insta::assert_snapshot!(end, @r"
      db        failed: `db` ended by itself: exit code 137
        9.000s  db          hint: the others stay up; to get db back: Ctrl+C, then `devctl up`
    ");
}

#[test]
fn data_are_mentioned_where_something_ran() {
    let end = |events: Vec<Event>| {
        let mut out = Vec::new();
        let mut plain = plain::Plain::new(&mut out, options().rows, trace::Trace::default());
        play_events(&mut plain, events);
        play_events(&mut plain, stopping());
        String::from_utf8(out).unwrap()
    };
    assert!(!end(starting().into_iter().take(4).collect()).contains("data live on"));
    assert!(end(starting()).contains("data live on: volume integrador_pgdata"));
}

#[test]
fn headlines_read_as_sentences() {
    for (driver, why, headline) in [
        ("docker", "Docker Engine 20.10.24 (API 1.41)", "integrador on Docker Engine 20.10.24 (API 1.41)"),
        ("embedded", "no Docker: no such socket\nmore", "integrador embedded: no Docker: no such socket"),
        ("none", "no containers in this run", "integrador: no containers in this run"),
    ] {
        assert_eq!(format!("integrador{}", super::phrase::headline(driver, why)), headline);
    }
}

/// A line as the services of this repository log it.
const JSON_LINE: &str = r#"{"timestamp":"2026-11-20T09:00:00Z","level":"INFO","message":"answered","status":200,"elapsed_ms":138.6,"target":"backend::server","span":{"method":"GET","path":"/api/products","name":"request"}}"#;

#[test]
fn lines_of_json_are_readable_on_a_terminal_and_untouched_elsewhere() {
    let terminal = Terminal::new(40, 110);
    let mut pretty = terminal.pretty(false);
    play_events(&mut pretty, starting().into_iter().chain(finishing()).collect());
    terminal.feed("\x1b[2J\x1b[H");
    pretty.logs(&log("api", Stream::Stdout, JSON_LINE)).unwrap();
    let panicked =
        r#"{"level":"ERROR","message":"panicked at src/main.rs:7\nnote: run with RUST_BACKTRACE=1","code":7}"#;
    pretty.logs(&log("api", Stream::Stdout, panicked)).unwrap();
    let failure = Failure {
        message: "`api` ended by itself: exit code 101".to_owned(),
        first_error: Some(panicked.to_owned()),
        log_tail: vec![JSON_LINE.to_owned(), panicked.to_owned()],
        ..Failure::default()
    };
    let failed = EventKind::Failed { node: service("api"), failure };
    play_events(&mut pretty, vec![at(9_000, failed.clone())]);
    insta::assert_snapshot!(terminal.text(), @r"
    api   | INFO  answered  status=200 elapsed_ms=138.6 GET /api/products
    api   | ERROR panicked at src/main.rs:7  code=7
    api   | note: run with RUST_BACKTRACE=1
    error: api ended by itself: exit code 101
      first error: ERROR panicked at src/main.rs:7  code=7
          note: run with RUST_BACKTRACE=1
      end of its log:
        INFO  answered  status=200 elapsed_ms=138.6 GET /api/products
        ERROR panicked at src/main.rs:7  code=7
          note: run with RUST_BACKTRACE=1
      hint: the others stay up; to get api back: Ctrl+C, then `devctl up`
    ");

    // The same reporter, forced upon a pipe.
    let pipe = Terminal::new(40, 300);
    let mut pretty = Pretty::new(Screen { is_terminal: false, ..pipe.screen() }, options(), Paint::new(false));
    play_events(&mut pretty, starting().into_iter().chain(finishing()).collect());
    pretty.logs(&log("api", Stream::Stdout, JSON_LINE)).unwrap();
    assert!(pipe.text().ends_with(&format!("api   | {JSON_LINE}")), "{}", pipe.text());

    let mut out = Vec::new();
    let mut plain = plain::Plain::new(&mut out, options().rows, trace::Trace::default());
    plain.logs(&log("api", Stream::Stdout, JSON_LINE)).unwrap();
    play_events(&mut plain, vec![at(9_000, failed)]);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(&format!("[api] {JSON_LINE}\n")), "{text}");
    assert!(text.contains(&format!("end of its log:\n    9.000s  api           {JSON_LINE}\n")), "{text}");
}
