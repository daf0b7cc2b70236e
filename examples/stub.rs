//! A service that misbehaves on request, for the tests of supervision: `stub MODE [ARGS]`. Without Rust's own tools no
//! two systems have the same `sleep`, `setsid` and `yes`; with this one they do.
#![expect(clippy::print_stdout, reason = "printing is what a stub service is for")]

use std::io::{self, BufRead as _, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
#[cfg(unix)]
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use devctl::driver::StartContext;
use devctl::driver::process::{Launch, Processes, StopSignal};
use devctl::event::{Action, Handle};
use devctl::logs::{Hub, Rotation};
use devctl::name::{NodeId, RunId};
use devctl::os::signals::Signals;

/// What the stub does, one line for each mode.
const USAGE: &str = "stub MODE [ARGS]
  lines TEXT...           print each text as a line, then run
  partial TEXT            print a text without a newline and exit
  binary BYTES            print every byte there is, again and again, BYTES in all, and exit
  mute                    close standard output and standard error, run
  exit CODE               exit at once
  crash CODE MILLIS       say `up`, exit after a while
  slow START STOP         say `up` after START milliseconds; told to end, do so STOP milliseconds later and say `bye`
  flood BYTES [each]      print numbered lines of 100 bytes, BYTES in all, and exit; in writes of 64 KiB, with `each` in
                          one write for each line
  eat MIB                 take so much memory and use it, say `full`, run
  stubborn                say `up`, ignore SIGTERM, SIGINT and SIGHUP, run
  kind KIND               be a child of one of four kinds, each process of which says `pid PID` and no more: `plain`;
                          `grand` is a shell that waits for a plain one; `setsid` has a plain one in a session of its
                          own; `stub` is stubborn
  shell SCRIPT            become `sh -c SCRIPT`; $STUB is this program
  escape                  start `sleeper` in a session of its own, then run
  daemon [clean] [exit]   start `sleeper` by a double fork in a session of its own; with `clean` without environment;
                          then run, or with `exit` exit: the sleeper holds standard output open
  sleeper                 say `sleeper PID` and run for an hour
  listen PORT [MILLIS]    listen on 127.0.0.1 after a while, say `listening`, run
  serve PORT [REQUESTS]   say `listening`, answer HTTP with `ok`; after so many requests exit with code 3
  heir PORT               listen on 127.0.0.1, leave the socket to a `daemon clean`, say `listening`, run
  inherit                 say `inherited NUMBER NAMES`, answer each connection to file 3 with this process's id, end
                          between two connections when asked to
  signals                 print the signals that devctl hears, the third ends it
  supervise LOGS ARGS...  run this program with ARGS as a service of devctl that keeps its logs in the folder LOGS, say
                          `leader PID`, wait for its end, say `peak KIB` of memory (Linux)";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mode = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    match run(&mode, &args) {
        Ok(code) => code,
        Err(e) => {
            say(&format!("stub: {e}"));
            ExitCode::from(70)
        }
    }
}

fn run(mode: &str, args: &[String]) -> io::Result<ExitCode> {
    #[cfg(unix)]
    let has = |word: &str| args.iter().any(|a| a == word);
    match mode {
        "lines" => {
            for text in args {
                say(text);
            }
            Ok(sleep())
        }
        "partial" => {
            print!("{}", args.join(" "));
            io::stdout().flush()?;
            Ok(ExitCode::SUCCESS)
        }
        "exit" => Ok(ExitCode::from(number::<u8>(args, 0)?)),
        "binary" => binary(number(args, 0)?),
        "crash" => {
            say("up");
            std::thread::sleep(Duration::from_millis(number(args, 1)?));
            Ok(ExitCode::from(number::<u8>(args, 0)?))
        }
        "slow" => runtime()?.block_on(slow(number(args, 0)?, number(args, 1)?)),
        "flood" => flood(number(args, 0)?, args.get(1).is_some_and(|arg| arg == "each")),
        "eat" => {
            // Bytes that are not zero: pages that were never written to are none.
            let _eaten = vec![1_u8; number::<usize>(args, 0)? * 1024 * 1024];
            say("full");
            Ok(sleep())
        }
        "serve" => serve(number(args, 0)?, number(args, 1).ok()),
        "sleeper" => {
            say(&format!("sleeper {}", std::process::id()));
            Ok(sleep())
        }
        "listen" => {
            std::thread::sleep(Duration::from_millis(number(args, 1).unwrap_or(0)));
            let _listener = TcpListener::bind(("127.0.0.1", number(args, 0)?))?;
            say("listening");
            Ok(sleep())
        }
        "signals" => runtime()?.block_on(async {
            let mut signals = Signals::install()?;
            say("up");
            for _ in 0..3 {
                say(&format!("{:?}", signals.recv().await));
            }
            Ok(ExitCode::SUCCESS)
        }),
        "supervise" => runtime()?.block_on(supervise(args)),
        #[cfg(unix)]
        "inherit" => runtime()?.block_on(unix::inherit()),
        #[cfg(unix)]
        "stubborn" => {
            unix::ignore_signals()?;
            say("up");
            Ok(sleep())
        }
        #[cfg(unix)]
        "mute" => {
            unix::close_outputs();
            Ok(sleep())
        }
        #[cfg(unix)]
        "kind" => kind(args.first().map_or("", String::as_str)),
        #[cfg(unix)]
        "shell" => Err(unix::shell(&args.join(" "))),
        #[cfg(unix)]
        "heir" => {
            let listener = TcpListener::bind(("127.0.0.1", number(args, 0)?))?;
            unix::inherited(&listener)?;
            let mut middle = Command::new(std::env::current_exe()?);
            middle.args(["daemon", "middle", "clean"]).stdin(Stdio::null());
            unix::in_own_session(&mut middle).spawn()?.wait()?;
            say("listening");
            Ok(sleep())
        }
        #[cfg(unix)]
        "escape" => {
            unix::in_own_session(&mut sleeper()?).spawn()?;
            Ok(sleep())
        }
        #[cfg(unix)]
        "daemon" => {
            // The middle process of the double fork: its child loses its parent as soon as it ends.
            if has("middle") {
                let mut child = sleeper()?;
                if has("clean") {
                    child.env_clear();
                }
                unix::in_own_session(&mut child).spawn()?;
                return Ok(ExitCode::SUCCESS);
            }
            let mut middle = Command::new(std::env::current_exe()?);
            middle.arg("daemon").arg("middle").args(args).stdin(Stdio::null());
            unix::in_own_session(&mut middle).spawn()?.wait()?;
            if has("exit") { Ok(ExitCode::SUCCESS) } else { Ok(sleep()) }
        }
        _ => Err(io::Error::other(USAGE)),
    }
}

/// Prints whole lines at once, as several processes may write to one pipe.
fn say(text: &str) {
    println!("{text}");
}

fn number<T: std::str::FromStr>(args: &[String], i: usize) -> io::Result<T> {
    args.get(i).and_then(|a| a.parse().ok()).ok_or_else(|| io::Error::other(USAGE))
}

fn sleep() -> ExitCode {
    std::thread::sleep(Duration::from_hours(1));
    ExitCode::SUCCESS
}

#[cfg(unix)]
fn sleeper() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("sleeper").stdin(Stdio::null());
    Ok(command)
}

#[cfg(unix)]
fn kind(kind: &str) -> io::Result<ExitCode> {
    let plain = || {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["kind", "plain"]).stdin(Stdio::null());
        io::Result::Ok(command)
    };
    match kind {
        "plain" => {}
        "grand" => return Err(unix::shell("echo pid $$; \"$STUB\" kind plain & wait")),
        "setsid" => {
            unix::in_own_session(&mut plain()?).spawn()?;
        }
        "stub" => unix::ignore_signals()?,
        _ => return Err(io::Error::other(USAGE)),
    }
    say(&format!("pid {}", std::process::id()));
    Ok(sleep())
}

fn flood(bytes: u64, each: bool) -> io::Result<ExitCode> {
    // Standard output itself gathers lines, and so does its lock: the file below it does not.
    let mut out = io::BufWriter::with_capacity(if each { 100 } else { 64 * 1024 }, unbuffered()?);
    for i in 0..bytes / 100 {
        writeln!(out, "{i:09} {:x<89}", "")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(unix)]
fn unbuffered() -> io::Result<std::fs::File> {
    use std::os::fd::AsFd as _;
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

#[cfg(not(unix))]
fn unbuffered() -> io::Result<io::Stdout> {
    Ok(io::stdout())
}

fn binary(bytes: usize) -> io::Result<ExitCode> {
    let all: Vec<u8> = (0..=u8::MAX).cycle().take(bytes).collect();
    let mut out = unbuffered()?;
    out.write_all(&all)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn slow(start: u64, stop: u64) -> io::Result<ExitCode> {
    tokio::time::sleep(Duration::from_millis(start)).await;
    let mut signals = Signals::install()?;
    say("up");
    signals.recv().await;
    tokio::time::sleep(Duration::from_millis(stop)).await;
    say("bye");
    Ok(ExitCode::SUCCESS)
}

fn serve(port: u16, requests: Option<u64>) -> io::Result<ExitCode> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    say("listening");
    let mut served = 0;
    for stream in listener.incoming() {
        let mut stream = io::BufReader::new(stream?);
        let mut line = String::new();
        // A request of ours has no body: its end is an empty line. Whoever only knocks is not counted.
        while stream.read_line(&mut line)? > 0 && !line.ends_with("\r\n\r\n") {}
        if !line.is_empty() {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            stream.get_mut().write_all(answer.as_bytes())?;
            served += 1;
            if requests.is_some_and(|requests| served >= requests) {
                return Ok(ExitCode::from(3));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

async fn supervise(args: &[String]) -> io::Result<ExitCode> {
    let (logs, args) = args.split_first().ok_or_else(|| io::Error::other(USAGE))?;
    let mut argv = vec![std::env::current_exe()?.to_string_lossy().into_owned()];
    argv.extend_from_slice(args);
    let run = RunId::from_random(u64::from(std::process::id()));
    let service = "stub".parse().map_err(io::Error::other)?;
    let hub = Hub::with_rotation(Some(PathBuf::from(logs)), Rotation { bytes: u64::MAX, files: 1 });
    // A reader that never reads must cost the service nothing.
    let _never_read = hub.subscribe(1024);
    let cx = StartContext {
        run: run.clone(),
        action: Action::Create,
        existing: None,
        takeover: None,
        logs: hub.sink(&service),
        node: NodeId::Service(service),
        progress: Arc::new(|_| {}),
    };
    let launch = Launch {
        argv,
        dir: PathBuf::from("/"),
        env: Vec::new(),
        stop_signal: StopSignal::Term,
        leader_only: false,
        user: None,
    };
    let running = Processes::new(run, devctl::os::env::all()).launch(launch, &cx).await.map_err(io::Error::other)?;
    if let Handle::Process { pid } = running.handle {
        say(&format!("leader {pid}"));
    }
    running.exit.await;
    hub.flush().await;
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        say(&format!("peak {}", peak.trim().trim_end_matches(" kB")));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(unix)]
mod unix {
    #![expect(unsafe_code, reason = "a process has to be prepared between fork and exec")]

    use std::io;
    use std::os::fd::{FromRawFd as _, OwnedFd};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, ExitCode};

    use devctl::os::signals::Signals;
    use nix::sys::signal::{SigHandler, Signal, signal};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    pub(super) fn ignore_signals() -> io::Result<()> {
        for each in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            // SAFETY: ignoring a signal runs no code of ours.
            unsafe { signal(each, SigHandler::SigIgn) }?;
        }
        Ok(())
    }

    pub(super) fn close_outputs() {
        for output in [1, 2] {
            // SAFETY: both are open, and nothing is printed after this.
            drop(unsafe { OwnedFd::from_raw_fd(output) });
        }
    }

    /// Lets children have a file of ours.
    pub(super) fn inherited(file: &impl std::os::fd::AsFd) -> io::Result<()> {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    }

    pub(super) async fn inherit() -> io::Result<ExitCode> {
        let vars = devctl::os::env::all();
        let var = |name: &str| vars.get(name).cloned().unwrap_or_default();
        let pid = std::process::id().to_string();
        if var("LISTEN_PID") != pid {
            return Err(io::Error::other(format!("the socket is for process {}, not for {pid}", var("LISTEN_PID"))));
        }
        // SAFETY: whoever sets `LISTEN_PID` gives us that file, and nobody else here uses it.
        let listener = unsafe { std::net::TcpListener::from_raw_fd(3) };
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let mut signals = Signals::install()?;
        super::say(&format!("inherited {} {}", var("LISTEN_FDS"), var("LISTEN_FDNAMES")));
        loop {
            tokio::select! {
                biased;
                _ = signals.recv() => return Ok(ExitCode::SUCCESS),
                taken = listener.accept() => {
                    let (mut client, _) = taken?;
                    // A client may have gone away.
                    let _ = client.write_all(pid.as_bytes()).await;
                }
            }
        }
    }

    pub(super) fn shell(script: &str) -> io::Error {
        match std::env::current_exe() {
            Ok(stub) => Command::new("sh").arg("-c").arg(script).env("STUB", stub).exec(),
            Err(e) => e,
        }
    }

    pub(super) fn in_own_session(command: &mut Command) -> &mut Command {
        // SAFETY: `setsid` is a plain system call.
        unsafe { command.pre_exec(|| nix::unistd::setsid().map(|_| ()).map_err(io::Error::from)) }
    }
}
