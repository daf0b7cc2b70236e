//! A wall clock that jumps for one project alone: the machine's is not ours to set. A few lines of C stand between
//! devctl, with all it starts, and the system's clock.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The variable that names the file with the seconds by which the clock is off.
const FILE: &str = "CHAOS_CLOCK";

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *away;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHAOS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(0, sizeof *away, PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) away = found;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = (int)syscall(SYS_clock_gettime, clock, time);
    if (!failed && clock == CLOCK_REALTIME && away) time->tv_sec += *away;
    return failed;
}
"#;

/// The library, built once; `None` where there is no C compiler.
fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        std::fs::write(&source, SOURCE).ok()?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        compiler.output().is_ok_and(|output| output.status.success()).then_some(library)
    };
    BUILT.get_or_init(build).as_deref()
}

/// A clock of a project's own.
pub(crate) struct Clock {
    library: &'static Path,
    file: tempfile::NamedTempFile,
}

impl Clock {
    /// Makes one that is right; `None` where none can be made.
    pub(crate) fn new() -> Option<Self> {
        let clock = Self { library: library()?, file: tempfile::NamedTempFile::new().ok()? };
        clock.jump(0);
        Some(clock)
    }

    /// Sets it to another time, so many seconds from the true one.
    pub(crate) fn jump(&self, seconds: i64) {
        use std::os::unix::fs::FileExt as _;
        self.file.as_file().write_all_at(&seconds.to_ne_bytes(), 0).expect("the file is ours");
    }

    /// Has a command and all that it starts go by this clock.
    pub(crate) fn wear(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library).env(FILE, self.file.path());
    }
}
