//! What happens to a project and when: a random sequence that its seed tells again.

use std::fmt;
use std::time::Duration;

use crate::support::Signal;

/// Random numbers that are the same for the same seed on every machine (`SplitMix64`).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("smaller than a usize")
    }

    /// Whether something that happens once in `times` happens now.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// A kind of service, each of which makes trouble in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// One process that ends when it is asked to.
    Plain,
    /// A shell with a child in its background.
    Grand,
    /// Has a child in a session of its own.
    Setsid,
    /// Ignores every request to end.
    Stubborn,
    /// Is slow to start and slow to end.
    Slow,
    /// Ends by itself again and again, and is restarted.
    Crash,
    /// Is restarted when a file changes.
    Watched,
    /// Gets its listening socket from devctl.
    Listening,
    /// Answers HTTP, and is restarted when what it needs was.
    Serving,
}

impl Service {
    const ALL: [Self; 9] = [
        Self::Plain,
        Self::Grand,
        Self::Setsid,
        Self::Stubborn,
        Self::Slow,
        Self::Crash,
        Self::Watched,
        Self::Listening,
        Self::Serving,
    ];

    /// Its name in the project.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Grand => "grand",
            Self::Setsid => "setsid",
            Self::Stubborn => "stubborn",
            Self::Slow => "slow",
            Self::Crash => "crash",
            Self::Watched => "watched",
            Self::Listening => "listening",
            Self::Serving => "serving",
        }
    }

    /// Its part of the manifest. `needs` is what it depends on.
    fn manifest(self, stub: &str, needs: Option<Self>) -> String {
        let (args, more) = match self {
            Self::Plain => (r#""kind", "plain""#, "restart = \"on-failure\"\n"),
            Self::Grand => (r#""kind", "grand""#, ""),
            Self::Setsid => (r#""kind", "setsid""#, "restart = \"always\"\n"),
            Self::Stubborn => (r#""kind", "stub""#, "stop = { grace = \"300ms\" }\n"),
            Self::Slow => (r#""slow", "50", "150""#, "ready = { log = \"up\" }\n"),
            Self::Crash => (r#""crash", "3", "400""#, "restart = \"always\"\n"),
            Self::Watched => (r#""kind", "plain""#, "watch = [\"src\"]\n"),
            Self::Listening => (
                r#""inherit""#,
                "port = @port:listening@\nport_range = \"@range:listening@\"\nlisten = true\nrestart = \"always\"\n",
            ),
            Self::Serving => (
                r#""serve", "${PORT}""#,
                "port = @port:serving@\nport_range = \"@range:serving@\"\nready = { http = \"/\" }\nrestart = \"on-failure\"\n",
            ),
        };
        let name = self.name();
        let needs = needs.map_or_else(String::new, |needs| {
            format!("depends_on = {{ {} = {{ until = \"ready\", restart = true }} }}\n", needs.name())
        });
        format!("[services.{name}]\ndir = \".\"\ncommand = [\"{stub}\", {args}]\n{more}{needs}\n")
    }
}

/// When something happens, counted from what happened before it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// As soon as devctl has told so many events in all, or tells none any more.
    Event(usize),
    /// After a while.
    After(Duration),
}

/// Who is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Victim {
    /// The devctl that runs the stack.
    Supervisor,
    /// What it left to see to the end.
    Guardian,
    /// Both, the guardian first.
    Both,
    /// The `devctl up` that was typed; the supervisor itself unless that is in the background.
    Typed,
    /// The n-th of the processes that devctl has started.
    Leader(usize),
    /// The n-th of those that they have started.
    Grandchild(usize),
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// SIGKILL.
    Kill(Victim),
    /// A signal that asks to end, several times.
    Ask(Victim, Signal, usize),
    /// SIGSTOP.
    Stop(Victim),
    /// A word over the control socket, about the n-th service.
    Say(Word, usize),
    /// Another `devctl`, which is not waited for.
    Type(&'static [&'static str]),
    /// A change of what is watched.
    Touch,
    /// The disk gets full.
    Fill,
    /// The wall clock goes to another time, so many seconds away.
    Jump(i64),
}

/// What is said over the control socket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Restart it.
    Restart,
    /// Restart all.
    RestartAll,
    /// SIGKILL to it, after which it stays stopped.
    Kill,
    /// SIGTERM to it, as somebody else would send it.
    Term,
    /// Run it so many times.
    Scale(usize),
    /// Read the files again.
    Reload,
    /// Take everything down.
    Down,
}

/// What happens, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) when: When,
    pub(crate) action: Action,
}

/// All that happens to a project.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// What it was made of.
    pub(crate) seed: u64,
    /// What the project is.
    pub(crate) services: Vec<Service>,
    /// The needs: which needs which.
    needs: Vec<Option<Service>>,
    /// `up -d`.
    pub(crate) detached: bool,
    /// Whether the project is on a disk of its own, which is small.
    pub(crate) small_disk: bool,
    /// Whether the wall clock is one of its own, which jumps.
    pub(crate) own_clock: bool,
    /// Whether somebody asks `ps` at the end of the steps.
    pub(crate) look: bool,
    /// Whether what was stopped by SIGSTOP goes on only after `down`.
    pub(crate) stopped_for_long: bool,
    /// Whether a guardian has the time to do its work before anybody types `down`.
    pub(crate) leave_it_to_the_guardian: bool,
    pub(crate) steps: Vec<Step>,
}

impl Schedule {
    /// The schedule of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut services = Vec::new();
        for _ in 0..=dice.below(4) {
            let service = dice.one_of(&Service::ALL);
            if !services.contains(&service) {
                services.push(service);
            }
        }
        let needs = (0..services.len()).map(|n| (n > 0 && dice.once_in(3)).then(|| services[dice.below(n)])).collect();
        let detached = dice.once_in(2);
        let small_disk = dice.once_in(8);
        let own_clock = dice.once_in(10);
        let mut steps: Vec<Step> = (0..=dice.below(5)).map(|_| step(&mut dice)).collect();
        let mut surely = |wanted: bool, action: Action| {
            if wanted {
                let at = dice.below(steps.len() + 1);
                steps.insert(at, Step { when: when(&mut dice), action });
            }
        };
        surely(small_disk, Action::Fill);
        let away = [-86_400 * 365, -3600, -7, 7, 3600, 86_400 * 365];
        surely(own_clock, Action::Jump(away[usize::try_from(seed % 6).expect("small")]));
        let mut flip = || dice.once_in(2);
        let (look, stopped_for_long, leave_it_to_the_guardian) = (flip(), flip(), flip());
        Self {
            seed,
            services,
            needs,
            detached,
            small_disk,
            own_clock,
            look,
            stopped_for_long,
            leave_it_to_the_guardian,
            steps,
        }
    }

    /// The manifest of its project.
    pub(crate) fn manifest(&self, stub: &str) -> String {
        let services = self.services.iter().zip(&self.needs).map(|(service, needs)| service.manifest(stub, *needs));
        format!("[project]\nname = \"@name@\"\n\n{}", services.collect::<String>())
    }
}

fn when(dice: &mut Dice) -> When {
    match dice.below(3) {
        0 => When::After(Duration::from_millis(dice.next() % 400)),
        // From before the first process to well after the last is ready.
        _ => When::Event(dice.below(30)),
    }
}

fn step(dice: &mut Dice) -> Step {
    let when = when(dice);
    let n = dice.below(8);
    let action = match dice.below(20) {
        0..=2 => Action::Kill(Victim::Supervisor),
        3 => Action::Kill(Victim::Guardian),
        4 => Action::Kill(Victim::Both),
        5 => Action::Kill(Victim::Typed),
        6 | 7 => Action::Kill(Victim::Leader(n)),
        8 => Action::Kill(Victim::Grandchild(n)),
        9 | 10 => {
            let signal = dice.one_of(&[Signal::SIGINT, Signal::SIGTERM]);
            let whom = dice.one_of(&[Victim::Supervisor, Victim::Typed]);
            Action::Ask(whom, signal, 1 + dice.below(4))
        }
        11 | 12 => Action::Stop(Victim::Leader(n)),
        13 => Action::Stop(Victim::Guardian),
        14..=17 => {
            let words = [
                Word::Start,
                Word::Stop,
                Word::Restart,
                Word::Restart,
                Word::RestartAll,
                Word::Kill,
                Word::Term,
                Word::Scale(1 + dice.below(3)),
                Word::Reload,
                Word::Down,
            ];
            Action::Say(dice.one_of(&words), n)
        }
        18 => Action::Type(dice.one_of(&[
            &["up", "-d", "--no-wait"] as &[&str],
            &["up", "-d"],
            &["down"],
            &["ps"],
            &["logs"],
        ])),
        _ => Action::Touch,
    };
    Step { when, action }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, services, needs, detached, small_disk, own_clock, look, .. } = self;
        let Self { stopped_for_long, leave_it_to_the_guardian, steps, .. } = self;
        writeln!(f, "DEVCTL_CHAOS_SEED={seed} DEVCTL_CHAOS_RUNS=1")?;
        writeln!(f, "services {services:?}, needs {needs:?}")?;
        writeln!(f, "detached {detached}, small disk {small_disk}, own clock {own_clock}, look {look}")?;
        writeln!(f, "stopped for long {stopped_for_long}, left to the guardian {leave_it_to_the_guardian}")?;
        for Step { when, action } in steps {
            writeln!(f, "  {when:?}: {action:?}")?;
        }
        Ok(())
    }
}
