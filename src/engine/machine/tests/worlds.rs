//! What must hold of any run: random plans in a world that answers late, fails, surprises, and is commanded.

use proptest::prelude::*;

use super::*;

/// A plan of up to eight nodes whose needs point backwards, so it has no cycle.
fn plans() -> impl Strategy<Value = Vec<Spec>> {
    let node = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..3),
        0..6_u8,
    );
    proptest::collection::vec(node, 1..8).prop_map(|nodes| {
        let mut specs: Vec<Spec> = Vec::new();
        for (index, (is_task, undo, cancel, probed, needs, flavour)) in nodes.into_iter().enumerate() {
            let id = if is_task { NodeId::Network(format!("n{index}").into()) } else { service(&format!("s{index}")) };
            let mut wanted = BTreeMap::new();
            for (pick, ready) in needs {
                if !specs.is_empty() {
                    let on = specs[pick.index(specs.len())].id.clone();
                    wanted.insert(on, if ready { Until::Ready } else { Until::Started });
                }
            }
            let policy = if flavour == 0 { RestartPolicy::Always } else { RestartPolicy::No };
            specs.push(Spec {
                id,
                kind: if is_task { Kind::Task { undo, cancel } } else { Kind::Workload { cancel } },
                action: match (flavour, is_task) {
                    (1, _) => Action::Keep,
                    (3, true) => Action::Replace,
                    (_, true) => Action::Create,
                    (_, false) => Action::Start,
                },
                needs: wanted.into_iter().map(|(on, until)| Need::new(on, until)).collect(),
                probe: (!is_task && probed).then_some("tcp"),
                ready_timeout: LIMIT,
                on_timeout: if flavour == 2 { OnTimeout::Warn } else { OnTimeout::Fail },
                restart: Restart { policy, ..Restart::default() },
                stop_grace: GRACE,
                health: None,
            });
        }
        specs
    })
}

/// A world that answers the machine's effects in any order, as the choices say, and checks its promises.
struct World {
    machine: Machine,
    specs: HashMap<NodeId, Spec>,
    /// The plan that the run began with.
    all: Vec<Spec>,
    now: Instant,
    /// What may happen next.
    pending: Vec<Input>,
    running: HashSet<NodeId>,
    /// Killed workloads: in this world a kill always works, so the timer after it never fires.
    killed: HashSet<NodeId>,
    made: HashSet<NodeId>,
    stopping: bool,
    /// How often the run was asked to end: a failure counts as a signal does.
    asked: u32,
    finished: Option<Outcome>,
}

impl World {
    fn new(specs: Vec<Spec>) -> Self {
        let now = Instant::now();
        let by_id = specs.iter().map(|spec| (spec.id.clone(), spec.clone())).collect();
        let all = specs.clone();
        let mut world = Self {
            machine: Machine::new(specs, now, 0),
            specs: by_id,
            all,
            now,
            pending: Vec::new(),
            running: HashSet::new(),
            killed: HashSet::new(),
            made: HashSet::new(),
            stopping: false,
            asked: 0,
            finished: None,
        };
        world.step(Input::Begin);
        world
    }

    fn step(&mut self, input: Input) {
        self.now += Duration::from_millis(1);
        if let Input::Report(id, _, report) = &input {
            match report {
                Report::Started(_) => {
                    self.running.insert(id.clone());
                }
                Report::Exited(_) => {
                    self.running.remove(id);
                }
                Report::Done => {
                    self.made.insert(id.clone());
                }
                Report::Undone => {
                    self.made.remove(id);
                }
                _ => {}
            }
        }
        if matches!(input, Input::Signal(_)) && self.stopping {
            self.asked += 1;
        }
        for effect in self.machine.on(input, self.now) {
            assert!(self.finished.is_none(), "something was to be done after the end: {effect:?}");
            self.answer(effect);
        }
    }

    fn answer(&mut self, effect: Effect) {
        let exit = || Report::Exited(Exit { code: Some(0), ..Exit::default() });
        match effect {
            Effect::Start(id, life, _) => {
                assert!(!self.stopping, "{id} was started after a stop began");
                let spec = &self.specs[&id];
                for need in &spec.needs {
                    let phase = self.machine.phase(&need.on).unwrap();
                    let held = match need.until {
                        Until::Started => matches!(phase, Phase::Probing | Phase::Late | Phase::Ready | Phase::Done),
                        Until::Ready => matches!(phase, Phase::Late | Phase::Ready | Phase::Done),
                        Until::Completed => *phase == Phase::Done,
                    };
                    assert!(held, "{id} was started while {} is {phase:?}", need.on);
                }
                let report = match spec.kind {
                    Kind::Task { .. } => Report::Done,
                    Kind::Workload { .. } => Report::Started(Handle::Process { pid: 1 }),
                };
                self.pending.push(Input::Report(id, life, report));
            }
            Effect::Cancel(id, life) => {
                self.pending.retain(|input| !matches!(input, Input::Report(other, _, _) if *other == id));
                self.pending.push(Input::Report(id, life, Report::Canceled));
            }
            Effect::Probe(id, life) => self.pending.push(Input::Report(id, life, Report::Ready)),
            Effect::Stop(id, life, _) => {
                assert!(self.specs[&id].action != Action::Keep, "{id} ran before and must be left alone");
                self.pending.push(Input::Report(id, life, exit()));
            }
            Effect::Kill(id, life) => {
                assert!(self.specs[&id].action != Action::Keep, "{id} ran before and must be left alone");
                self.killed.insert(id.clone());
                self.pending.push(Input::Report(id, life, exit()));
            }
            Effect::Undo(id, life) => {
                for other in self.specs.values().filter(|other| other.needs.iter().any(|need| need.on == id)) {
                    let ours = other.action != Action::Keep;
                    assert!(!(ours && self.running.contains(&other.id)), "{id} was taken away under {}", other.id);
                }
                self.pending.push(Input::Report(id, life, Report::Undone));
            }
            Effect::Arm(id, _, _) if self.killed.contains(&id) => {}
            Effect::Arm(id, epoch, _) => self.pending.push(Input::Timer(id, epoch)),
            Effect::Emit(EventKind::StackStopping { .. }) => {
                self.stopping = true;
                self.asked += 1;
            }
            Effect::Emit(_) | Effect::Watch(..) | Effect::Release(_) => {}
            Effect::Verify => self.pending.push(Input::Verified(Vec::new())),
            Effect::Finish(outcome) => self.finished = Some(outcome),
        }
    }

    /// Something that somebody at another terminal may want: of services that are ours, so that what ran before has to
    /// be left alone all the same.
    fn command(&mut self, pick: usize, which: u8) -> Option<Command> {
        let ours = |spec: &&Spec| matches!(spec.id, NodeId::Service(_)) && spec.action != Action::Keep;
        let mut services: Vec<NodeId> = self.specs.values().filter(ours).map(|spec| spec.id.clone()).collect();
        services.sort();
        let id = services.get(pick % services.len().max(1))?.clone();
        let cause = String::new();
        Some(match (which, pick % 3) {
            (2, 0) => Command::Stop { nodes: vec![id], kill: false },
            (2, 1) => Command::Stop { nodes: vec![id], kill: true },
            (2, _) => Command::Start(vec![id]),
            (3, 0) => Command::Restart { nodes: services, build: false, cause },
            (3, _) => Command::Restart { nodes: vec![id], build: false, cause },
            (_, way) => {
                // The plan with the service made anew, or without it, or with all that once was.
                let mut specs: Vec<Spec> = self.all.clone();
                if way == 0 {
                    specs.retain(|spec| spec.id != id);
                    for spec in &mut specs {
                        spec.needs.retain(|need| need.on != id);
                    }
                }
                let changed = if way == 1 { HashMap::from([(id, cause)]) } else { HashMap::new() };
                self.specs = self.specs.drain().chain(specs.iter().map(|s| (s.id.clone(), s.clone()))).collect();
                let again = if way == 2 { specs.iter().map(|spec| spec.id.clone()).collect() } else { HashSet::new() };
                Command::Apply(Change { specs, changed, again })
            }
        })
    }

    /// Lets one of the pending things happen, or something nobody asked for.
    fn happen(&mut self, pick: usize, surprise: u8) {
        let input = match surprise {
            // The third one waits for nothing, so it proves nothing.
            0 if self.asked < 2 => Input::Signal(Signal::Int),
            1 if !self.running.is_empty() => {
                let mut running: Vec<_> = self.running.iter().cloned().collect();
                running.sort();
                let id = running[pick % running.len()].clone();
                let life = self.machine.nodes[&id].life;
                Input::Report(id, life, Report::Exited(Exit { code: Some(1), ..Exit::default() }))
            }
            2..=4 if !self.stopping => match self.command(pick, surprise) {
                Some(command) => Input::Command(command),
                None => return,
            },
            _ if self.pending.is_empty() => return,
            _ => self.pending.remove(pick % self.pending.len()),
        };
        // A workload ends once; the world must not report it twice.
        if let Input::Report(id, life, Report::Exited(_)) = &input
            && !(self.running.contains(id) && self.machine.nodes[id].life == *life)
        {
            return;
        }
        if let Input::Report(id, _, Report::Started(_)) = &input {
            self.killed.remove(id);
        }
        self.step(input);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: nothing starts before its needs or after a stop, nothing is taken away
    /// under somebody who needs it, what ran before is left alone (all asserted by the world), and a run that is told
    /// to end does end, with nothing of it left.
    #[test]
    fn every_run_ends_clean(
        specs in plans(),
        choices in proptest::collection::vec((any::<usize>(), 0..40_u8), 0..60),
    ) {
        let mut world = World::new(specs);
        for (pick, surprise) in choices {
            if world.finished.is_some() {
                break;
            }
            world.happen(pick, surprise);
        }
        // Now the user stops it, and everything that was asked for comes true.
        if world.finished.is_none() && !world.stopping {
            world.step(Input::Signal(Signal::Int));
        }
        for _ in 0..1000 {
            if world.finished.is_some() {
                break;
            }
            // Timers last: a workload that obeys is not killed.
            let next = world.pending.iter().position(|input| !matches!(input, Input::Timer(..))).unwrap_or(0);
            prop_assert!(!world.pending.is_empty(), "the run hangs: {:?}", world.machine);
            world.happen(next, u8::MAX);
        }
        prop_assert!(world.finished.is_some(), "the run does not end");
        for id in &world.running {
            prop_assert!(world.specs[id].action == Action::Keep, "{} is left running", id);
        }
        for id in &world.made {
            if let Kind::Task { undo: true, .. } = world.specs[id].kind {
                let spared = matches!(world.finished, Some(Outcome::Failed | Outcome::Environment | Outcome::NotReady))
                    && world.specs[id].action == Action::Replace;
                prop_assert!(spared || world.specs[id].action == Action::Keep, "{} is left behind", id);
            }
        }
    }

    /// Every timer is consumed or void: once a run is over, firing all that were ever armed does nothing.
    #[test]
    fn timers_of_the_past_are_void(specs in plans(), choices in proptest::collection::vec((any::<usize>(), 2..40_u8), 0..60)) {
        let mut world = World::new(specs);
        for (pick, surprise) in choices {
            world.happen(pick, surprise);
        }
        let timers: Vec<Input> =
            world.pending.iter().filter(|input| matches!(input, Input::Timer(..))).cloned().collect();
        for timer in timers {
            let Input::Timer(id, epoch) = &timer else { unreachable!() };
            let current = world.machine.nodes[id].epoch == *epoch;
            let phase = world.machine.nodes[id].phase.clone();
            let effects = world.machine.on(timer.clone(), world.now);
            prop_assert!(current || effects.is_empty(), "a void timer of {} did something in {:?}", id, phase);
            prop_assert!(
                !current || matches!(phase, Phase::Probing | Phase::Backoff | Phase::Stopping),
                "a timer of {} is armed in {:?}", id, phase
            );
        }
    }
}
