//! The processes of this machine as an outsider sees them: whoever carries a run's id in its environment is of that run,
//! whatever group or session it fled to.

/// A process that belongs to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i32,
    /// Its command line.
    pub(crate) command: String,
}

/// The living processes with `DEVCTL_RUN=<run>` in their environment.
pub(crate) fn processes_of_run(run: &str) -> Vec<Process> {
    processes_with(&format!("DEVCTL_RUN={run}"))
}

/// The living processes with a variable and its value, `NAME=value`, in their environment.
#[cfg(target_os = "linux")]
pub(crate) fn processes_with(wanted: &str) -> Vec<Process> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("Linux has /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Processes end while one looks at them, and those of other users may not be looked at.
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
            found.push(Process { pid, command });
        }
    }
    found
}

/// The living processes with a variable and its value, `NAME=value`, in their environment.
#[cfg(not(target_os = "linux"))]
pub(crate) fn processes_with(wanted: &str) -> Vec<Process> {
    let listed = std::process::Command::new("ps").args(["-axww", "-E", "-o", "pid=,command="]).output();
    let listed = listed.expect("every Unix has ps").stdout;
    String::from_utf8_lossy(&listed)
        .lines()
        .filter(|line| line.split_whitespace().any(|word| word == wanted))
        .filter_map(|line| line.trim().split_once(' '))
        .filter_map(|(pid, command)| Some(Process { pid: pid.parse().ok()?, command: command.to_owned() }))
        .collect()
}
