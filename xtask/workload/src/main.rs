//! The children of `cargo xtask bench supervise`: `workload SOCKET NAME JOB`.
//!
//! Each connects to the benchmark's socket and says `start NAME PID NANOS` by its own clock; the connection ends with it,
//! however it ends. So the benchmark hears of beginnings and ends without asking again and again. It uses nothing but the
//! standard library: what is measured are the supervisors.

#[cfg(unix)]
fn main() -> std::io::Result<std::process::ExitCode> {
    unix::main()
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod unix {
    use std::env;
    use std::fs::File;
    use std::io::{self, BufWriter, Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, ExitCode};
    use std::time::{SystemTime, UNIX_EPOCH};

    /// What it does once it has said that it runs: `run` until it is ended; wait for a word of the benchmark and then
    /// `crash`, or print so many bytes of lines, in writes of 64 KiB (`blocks`) or of one line (`lines`), say `done`, and
    /// run on. `grand`, `setsid` and `stub` are shells that have one that runs.
    pub(super) fn main() -> io::Result<ExitCode> {
        let mut args = env::args().skip(1);
        let mut next = || args.next().ok_or_else(|| io::Error::other("workload SOCKET NAME JOB [BYTES]"));
        let (socket, name, job) = (next()?, next()?, next()?);
        if let Some(script) = script(&job) {
            // `$0` is this program, `$1` the socket, `$2` the name.
            return Err(Command::new("sh").arg("-c").arg(script).arg(env::current_exe()?).args([socket, name]).exec());
        }
        let mut bench = UnixStream::connect(socket)?;
        say(&mut bench, "start", &name)?;
        let mut word = [0];
        match job.as_str() {
            "run" => {}
            "crash" => {
                bench.read_exact(&mut word)?;
                say(&mut bench, "crash", &name)?;
                return Ok(ExitCode::FAILURE);
            }
            "blocks" | "lines" => {
                let bytes = next()?.parse().map_err(io::Error::other)?;
                bench.read_exact(&mut word)?;
                flood(bytes, if job == "blocks" { 64 * 1024 } else { 100 })?;
                say(&mut bench, "done", &name)?;
            }
            _ => return Err(io::Error::other("the jobs are run, crash, blocks, lines, grand, setsid, stub")),
        }
        // The benchmark never says a second word: this is what runs until it is ended.
        bench.read_exact(&mut word)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Kinds of child that supervisors lose: what a shell has to do for each.
    fn script(job: &str) -> Option<&'static str> {
        match job {
            "grand" => Some(r#""$0" "$1" "$2" run & wait"#),
            "setsid" => Some(r#"setsid "$0" "$1" "$2" run & wait"#),
            "stub" => Some(r#"trap '' TERM INT HUP; exec "$0" "$1" "$2" run"#),
            _ => None,
        }
    }

    fn say(bench: &mut UnixStream, what: &str, name: &str) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        writeln!(bench, "{what} {name} {} {}", std::process::id(), now.as_nanos())
    }

    /// Numbered lines of 100 bytes.
    fn flood(bytes: u64, at_once: usize) -> io::Result<()> {
        // Standard output gathers lines by itself; the file below it does not.
        let mut out = BufWriter::with_capacity(at_once, File::from(io::stdout().as_fd().try_clone_to_owned()?));
        for i in 0..bytes / 100 {
            writeln!(out, "{i:09} {:x<89}", "")?;
        }
        out.flush()
    }
}
