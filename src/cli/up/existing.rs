//! The options of `up` about containers that are there already: when they are made anew, how many there are to be, and
//! which of them go. They mean what they mean to Docker Compose.

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::cli::scale::Wanted;
use crate::name::ServiceName;
use crate::plan::{Builds, Orphans, Policy, Pull, Recreate};

/// What is wanted of containers.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Containers")]
pub(super) struct Existing {
    /// Make containers anew even where nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,

    /// Leave containers as they are even where something changed
    #[arg(long)]
    no_recreate: bool,

    /// Make those anew too that the named services need
    #[arg(long, conflicts_with = "no_recreate")]
    always_recreate_deps: bool,

    /// Make containers anew, with empty volumes where these have no name
    #[arg(short = 'V', long, conflicts_with = "no_recreate")]
    renew_anon_volumes: bool,

    /// Run so many containers of a service, instead of what the file says; can be repeated
    #[arg(long, value_name = "SERVICE=N")]
    scale: Vec<Wanted>,

    /// Remove containers of services that no file has
    #[arg(long)]
    remove_orphans: bool,

    /// When to pull images, instead of what the file says
    #[arg(long, value_name = "WHEN")]
    pull: Option<When>,

    /// Build images anew, whatever the engine has of them
    #[arg(long, conflicts_with = "no_build")]
    build: bool,

    /// Build no images: one that the engine does not have is missing
    #[arg(long)]
    no_build: bool,

    /// How many seconds containers have to stop that are made anew or removed
    #[arg(short = 't', long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,

    /// Make volumes anew that are not as the file says: what is in them is lost
    #[arg(short, long)]
    yes: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// On every `up`
    Always,
    /// When the engine does not have it
    Missing,
    /// Never
    Never,
}

impl Existing {
    /// What is wanted, of the named services and of others, and how many of each.
    pub(super) fn policy(self, named: &[ServiceName]) -> (Policy, BTreeMap<ServiceName, u32>) {
        let Self {
            force_recreate,
            no_recreate,
            always_recreate_deps,
            renew_anon_volumes,
            scale,
            remove_orphans,
            pull,
            build,
            no_build,
            stop_timeout,
            yes,
        } = self;
        let recreate = |force: bool| match (no_recreate, force) {
            (true, _) => Recreate::Never,
            (false, true) => Recreate::Force,
            (false, false) => Recreate::Diverged,
        };
        let policy = Policy {
            named: named.to_vec(),
            recreate: recreate(force_recreate || renew_anon_volumes),
            recreate_others: recreate(always_recreate_deps),
            renew_volumes: renew_anon_volumes,
            lose_data: yes,
            stop_timeout,
            orphans: if remove_orphans { Orphans::Remove } else { Orphans::Warn },
            pull: pull.map(|when| match when {
                When::Always => Pull::Always,
                When::Missing => Pull::Missing,
                When::Never => Pull::Never,
            }),
            build: match (build, no_build) {
                (true, _) => Some(Builds::Always),
                (false, true) => Some(Builds::Never),
                (false, false) => None,
            },
        };
        (policy, scale.into_iter().map(|wanted| (wanted.service, wanted.replicas)).collect())
    }
}
