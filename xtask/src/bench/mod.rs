//! Benchmarks of the whole binary beside its peer, in one run on one machine: figures from different runs are not
//! compared.

mod contender;
mod figures;
mod idle;
mod project;
#[cfg(target_os = "linux")]
mod supervise;
mod trace;
mod up;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Start and stop of PostgreSQL and Redis on Docker: `devctl up` beside `docker compose up -d --wait`.
    Up(up::Args),
    /// Processes supervised: start, cost, logs, restart, Ctrl+C, beside the peers that are installed.
    #[cfg(target_os = "linux")]
    Supervise(supervise::Args),
}

/// Measures and prints.
pub(crate) fn run(what: &Bench) -> anyhow::Result<()> {
    match what {
        Bench::Up(args) => up::run(args),
        #[cfg(target_os = "linux")]
        Bench::Supervise(args) => supervise::run(args),
    }
}
