//! A foreground run and the shell that it was started from: who gets Ctrl+C and how often, Ctrl+Z and `fg`, the key that
//! leaves, a window that is closed, and processes that are killed. Real shells in real pseudo-terminals.
#![cfg(unix)]

mod support;

#[path = "failures/stub.rs"]
mod stub;

use nix::sys::signal::kill;
use nix::sys::termios::Termios;
use nix::unistd::Pid;
use support::{Project, Signal, Terminal, until};

/// A service that says more when the test makes the file `more`, and takes its time to stop until it makes `done`.
fn polite() -> Project {
    let project = Project::empty();
    let manifest = r#"
[project]
name = "@name@"

[services.slow]
dir     = "."
command = ["STUB", "shell", """
trap 'until test -e done; do sleep 0.02; done; echo ended as it should; exit 0' TERM
echo up
until test -e more; do sleep 0.02; done
echo said more
while :; do sleep 0.02; done
"""]
ready   = { log = "up" }
stop    = { grace = "100s" }
"#;
    project.write("devctl.toml", &manifest.replace("STUB", &stub::path().display().to_string()));
    project
}

/// The process that has the stack, by its own record.
#[track_caller]
fn supervisor(project: &Project) -> Pid {
    let record = project.root().join(".devctl/run.json");
    let record = std::fs::read_to_string(record).expect("a run writes its record");
    let record: serde_json::Value = serde_json::from_str(&record).expect("the record is JSON");
    let pid = record["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    Pid::from_raw(pid.expect("the record names a process"))
}

/// The process that a process was started by.
#[track_caller]
fn parent(pid: Pid) -> Pid {
    let ps = std::process::Command::new("ps").args(["-o", "ppid=", "-p", &pid.to_string()]).output();
    let ps = String::from_utf8(ps.expect("every Unix has ps").stdout).expect("a number is text");
    Pid::from_raw(ps.trim().parse().expect("the process runs"))
}

fn is_gone(pid: Pid) -> bool {
    kill(pid, None).is_err()
}

#[track_caller]
fn wait_gone(pid: Pid) {
    until("the end of a process", || if is_gone(pid) { Ok(()) } else { Err(format!("{pid} still runs")) });
}

/// Brings the stack up in a shell; answers what the terminal was before.
#[track_caller]
fn up_in(shell: &Terminal) -> Termios {
    let before = shell.modes();
    shell.type_in("devctl up\n");
    shell.wait_text("shows the keys");
    before
}

/// Waits for the prompt, asks for the last exit code and ends with the terminal as it was.
#[track_caller]
fn back_at_the_prompt(shell: &Terminal, code: i32, before: &Termios) {
    shell.wait_prompt();
    assert_eq!(&shell.modes(), before, "the terminal is not as it was:\n{}", shell.screen());
    shell.type_in("echo 'code' $?\n");
    shell.wait_text(&format!("code {code}"));
    shell.wait_prompt();
}

/// Ends the shell; nothing else of the test may be there any more.
#[track_caller]
fn leave(mut shell: Terminal, project: &Project) {
    shell.type_in("exit 0\n");
    assert_eq!(shell.wait_exit(), Some(0), "{}", shell.screen());
    project.assert_nothing_left("none");
}

/// Sends a run a signal in some way; it must be asked to stop, and not hurried.
#[track_caller]
fn counts_once(send: impl FnOnce(&Terminal, Pid)) {
    let project = polite();
    let mut terminal = Terminal::start(&project, &["up"]);
    terminal.wait_text("shows the keys");
    let launcher = Pid::from_raw(terminal.pid());
    assert_eq!(parent(supervisor(&project)), launcher);
    send(&terminal, launcher);
    terminal.wait_text("Ctrl+C again to kill");
    // By the time this is answered, a signal that came twice has come twice.
    for count in 1..=3 {
        terminal.type_in("?");
        terminal.wait_screen("an answer", |screen| screen.matches("keys: d detaches").count() == count);
    }
    project.write("done", "");
    terminal.wait_text("ended as it should");
    terminal.wait_text("0 left");
    assert_eq!(terminal.wait_exit(), Some(0));
    assert!(!terminal.screen().contains("killed"), "{}", terminal.screen());
    project.assert_nothing_left("none");
}

#[test]
fn ctrl_c_counts_once() {
    counts_once(|terminal, _| terminal.interrupt());
}

#[test]
fn ctrl_backslash_is_ctrl_c() {
    counts_once(|terminal, _| terminal.type_in("\x1c"));
}

#[test]
fn q_is_ctrl_c() {
    counts_once(|terminal, _| terminal.type_in("q"));
}

#[test]
fn a_signal_for_the_group_counts_once() {
    counts_once(|_, launcher| kill(Pid::from_raw(-launcher.as_raw()), Signal::SIGINT).expect("it is ours"));
}

#[test]
fn a_signal_for_the_launcher_counts_once() {
    counts_once(|_, launcher| kill(launcher, Signal::SIGTERM).expect("it is ours"));
}

#[test]
fn a_third_ctrl_c_says_what_is_left() {
    let project = polite();
    let mut terminal = Terminal::start(&project, &["up"]);
    terminal.wait_text("shows the keys");
    terminal.interrupt();
    terminal.wait_text("Ctrl+C again to kill");
    terminal.interrupt();
    terminal.wait_text("was killed");
    terminal.interrupt();
    terminal.wait_text(" left");
    assert_eq!(terminal.wait_exit(), Some(0));
    // Killed it was all the same, be it before the look or after it.
    until("the end of the service", || {
        let left = project.left_of("none");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn d_leaves_the_run_to_itself() {
    let project = polite();
    let shell = Terminal::shell(&project, "sh");
    let before = up_in(&shell);
    let devctl = supervisor(&project);
    let launcher = parent(devctl);
    shell.type_in("d");
    shell.wait_text(&format!("detached; devctl (pid {devctl}) keeps the stack running"));
    back_at_the_prompt(&shell, 0, &before);
    wait_gone(launcher);
    assert!(!is_gone(devctl));
    // It hears of nothing that happens at the terminal any more.
    shell.interrupt();
    shell.wait_prompt();
    project.write("more", "");
    until("its log", || {
        let logs = project.printed(&["logs"]);
        if logs.contains("said more") { Ok(()) } else { Err(logs) }
    });
    let ps = project.printed(&["ps"]);
    assert!(ps.contains("slow") && ps.contains("ready"), "{ps}");
    assert!(!shell.screen().contains("said more"), "{}", shell.screen());
    project.write("done", "");
    shell.type_in("devctl down\n");
    back_at_the_prompt(&shell, 0, &before);
    wait_gone(devctl);
    let complaints = std::fs::read_to_string(project.root().join(".devctl/supervisor.log")).expect("it was made");
    assert_eq!(complaints, "");
    leave(shell, &project);
}

#[test]
fn what_goes_down_cannot_be_left() {
    let project = polite();
    let mut terminal = Terminal::start(&project, &["up"]);
    terminal.wait_text("shows the keys");
    terminal.interrupt();
    terminal.wait_text("Ctrl+C again to kill");
    terminal.type_in("d");
    terminal.wait_text("nothing to leave running");
    project.write("done", "");
    terminal.wait_text("0 left");
    assert_eq!(terminal.wait_exit(), Some(0));
    project.assert_nothing_left("none");
}

#[test]
fn text_that_is_pasted_is_no_key() {
    let project = polite();
    project.write("done", "");
    let mut terminal = Terminal::start(&project, &["up"]);
    terminal.wait_text("shows the keys");
    terminal.type_in("docker ps -q\x1b[D");
    // What is typed before that was read is of the same paste.
    until("an answer", || {
        terminal.type_in("?");
        let screen = terminal.screen();
        if screen.contains("keys: d detaches") { Ok(()) } else { Err(screen) }
    });
    assert!(!terminal.screen().contains("detached;"), "{}", terminal.screen());
    terminal.interrupt();
    terminal.wait_text("0 left");
    assert_eq!(terminal.wait_exit(), Some(0));
    project.assert_nothing_left("none");
}

/// Ctrl+Z, `bg`, `fg`: the services never notice, and the screen is whose it should be.
fn stopped_and_continued(shell: &str) {
    let project = polite();
    let shell = Terminal::shell(&project, shell);
    let before = up_in(&shell);
    let keys = shell.modes();
    assert_ne!(keys, before, "keys are read");
    let devctl = supervisor(&project);

    shell.suspend();
    shell.wait_text("topped");
    shell.wait_prompt();
    assert_eq!(shell.modes(), before, "{}", shell.screen());
    project.write("more", "");
    until("its log", || {
        let logs = project.printed(&["logs"]);
        if logs.contains("said more") { Ok(()) } else { Err(logs) }
    });
    assert!(!shell.screen().contains("said more"), "the shell has the terminal:\n{}", shell.screen());

    shell.type_in("fg\n");
    shell.wait_text("said more");
    until("keys", || if shell.modes() == keys { Ok(()) } else { Err(shell.screen()) });
    shell.type_in("?");
    shell.wait_text("keys: d detaches");

    shell.suspend();
    shell.wait_screen("the second stop", |screen| screen.matches("topped").count() == 2);
    shell.wait_prompt();
    shell.type_in("bg; echo in the 'shell'\n");
    shell.wait_text("in the shell");
    assert_eq!(shell.modes(), before, "in the background the terminal is the shell's:\n{}", shell.screen());
    // The shell tells a job that runs nothing when it moves it: devctl finds out.
    shell.type_in("fg\n");
    until("keys", || if shell.modes() == keys { Ok(()) } else { Err(shell.screen()) });

    project.write("done", "");
    assert!(!is_gone(devctl));
    shell.interrupt();
    shell.wait_text("0 left");
    back_at_the_prompt(&shell, 0, &before);
    leave(shell, &project);
}

#[test]
fn ctrl_z_and_fg_in_sh() {
    stopped_and_continued("sh");
}

#[test]
fn ctrl_z_and_fg_in_bash() {
    stopped_and_continued("bash");
}

#[test]
fn live_lines_make_way_for_the_shell() {
    let project = polite();
    let manifest = project.root().join("devctl.toml");
    let text = std::fs::read_to_string(&manifest).expect("it was written");
    project.write("devctl.toml", &text.replace(r#"ready   = { log = "up" }"#, r#"ready   = { log = "said more" }"#));
    let shell = Terminal::shell(&project, "sh");
    let before = shell.modes();
    shell.type_in("devctl up\n");
    shell.wait_text("probing");
    shell.suspend();
    shell.wait_text("topped");
    let screen = shell.wait_prompt();
    assert!(!screen.contains("probing"), "{screen}");
    assert_eq!(shell.modes(), before, "{screen}");
    shell.type_in("fg\n");
    shell.wait_text("probing");
    project.write("more", "");
    shell.wait_text("shows the keys");
    project.write("done", "");
    shell.type_in("q");
    shell.wait_text("0 left");
    back_at_the_prompt(&shell, 0, &before);
    leave(shell, &project);
}

#[test]
fn a_run_that_ends_while_it_is_stopped_is_not_waited_for() {
    let project = polite();
    project.write("done", "");
    let shell = Terminal::shell(&project, "sh");
    let before = up_in(&shell);
    let devctl = supervisor(&project);
    shell.suspend();
    shell.wait_text("topped");
    shell.wait_prompt();
    let down = project.printed(&["down"]);
    assert!(down.contains(&devctl.to_string()), "{down}");
    shell.type_in("fg\n");
    back_at_the_prompt(&shell, 0, &before);
    leave(shell, &project);
}

#[test]
fn without_the_launcher_the_run_ends() {
    let project = polite();
    project.write("done", "");
    let shell = Terminal::shell(&project, "sh");
    let before = up_in(&shell);
    let devctl = supervisor(&project);
    kill(parent(devctl), Signal::SIGKILL).expect("it is ours");
    // The shell has prompted in the middle of it.
    shell.wait_text("0 left");
    wait_gone(devctl);
    shell.type_in("\n");
    back_at_the_prompt(&shell, 137, &before);
    leave(shell, &project);
}

#[test]
fn without_the_supervisor_the_terminal_is_left_in_order() {
    let project = polite();
    project.write("done", "");
    let shell = Terminal::shell(&project, "sh");
    let before = up_in(&shell);
    let devctl = supervisor(&project);
    kill(devctl, Signal::SIGKILL).expect("it is ours");
    shell.wait_text(&format!("devctl (pid {devctl}) was killed; its guardian stops what it started"));
    back_at_the_prompt(&shell, 137, &before);
    until("the end of the services", || {
        // The shell is of this test, too.
        let left: Vec<_> = project.left_of("none").into_iter().filter(|left| !left.contains("(sh -i)")).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    leave(shell, &project);
}

#[test]
fn a_closed_window_ends_a_foreground_run() {
    let project = polite();
    project.write("done", "");
    for by in ["sh", "bash"] {
        let shell = Terminal::shell(&project, by);
        up_in(&shell);
        let devctl = supervisor(&project);
        shell.close();
        wait_gone(devctl);
        until("the end of all", || {
            let left = project.left_of("none");
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
        let log = std::fs::read_to_string(project.root().join(".devctl/logs/slow.log")).expect("it has a log");
        assert!(log.contains("ended as it should"), "{log}");
    }
}

#[test]
fn a_closed_window_does_not_end_a_run_that_was_left() {
    let project = polite();
    project.write("done", "");
    let shell = Terminal::shell(&project, "bash");
    let before = up_in(&shell);
    let devctl = supervisor(&project);
    shell.type_in("d");
    shell.wait_text("keeps the stack running");
    back_at_the_prompt(&shell, 0, &before);
    shell.close();
    // Whatever a hang-up could do it would have done by the time a new service answers.
    project.write("more", "");
    until("its log", || {
        let logs = project.printed(&["logs"]);
        if logs.contains("said more") { Ok(()) } else { Err(logs) }
    });
    kill(devctl, Signal::SIGHUP).expect("it is ours");
    let ps = project.printed(&["ps"]);
    assert!(ps.contains("ready"), "{ps}");
    project.printed(&["down"]);
    wait_gone(devctl);
    project.assert_nothing_left("none");
}

#[test]
fn a_run_in_the_background_reads_no_keys_until_it_is_in_front() {
    let project = polite();
    project.write("done", "");
    let shell = Terminal::shell(&project, "sh");
    let before = shell.modes();
    shell.type_in("devctl up &\n");
    shell.wait_text("shows the keys");
    shell.type_in("echo in the 'shell'\n");
    shell.wait_text("in the shell");
    assert_eq!(shell.modes(), before, "{}", shell.screen());
    shell.type_in("fg\n");
    until("keys", || if shell.modes() == before { Err(shell.screen()) } else { Ok(()) });
    shell.type_in("q");
    shell.wait_text("0 left");
    back_at_the_prompt(&shell, 0, &before);
    leave(shell, &project);
}
