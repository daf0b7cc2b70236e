//! Watches the sources of the services and the files that describe the project, and turns changes of them into requests
//! to the engine.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;

use super::supervisor::{Current, Supervisor};
use crate::advice::Advice as _;
use crate::driver::Work;
use crate::driver::process::Program;
use crate::engine::command::Command;
use crate::engine::runtime::Request;
use crate::event::{Event, EventKind};
use crate::name::{NodeId, ServiceName};
use crate::watch::{Change, How, Watched, Watcher};

/// A run that is watched.
pub(super) struct Watching {
    events: UnboundedReceiver<Event>,
    watcher: Watcher,
}

/// Whether any service is watched.
pub(super) async fn is_wanted(supervisor: &Supervisor) -> bool {
    !wanted(&*supervisor.current.lock().await).0.is_empty()
}

/// Begins to watch: what changes from now on is noticed. `None` where that cannot be, which was told.
pub(super) async fn begin(supervisor: &Supervisor) -> Option<Watching> {
    let events = supervisor.outlet.listen();
    let current = supervisor.current.lock().await;
    let (watched, files) = wanted(&current);
    match Watcher::start(watched, files, How::Notified).await {
        Ok(watcher) => {
            built(&current, |_| true).for_each(|service| watcher.pause(service));
            Some(Watching { events, watcher })
        }
        Err(error) => {
            let (message, hints) = (error.to_string(), error.hints());
            supervisor.outlet.say(EventKind::Warning { node: None, message, hints });
            None
        }
    }
}

/// Watches for as long as the run lasts. `begun`: what has begun already.
pub(super) async fn watch(supervisor: Arc<Supervisor>, begun: Option<Watching>) -> Infallible {
    let begun = match begun {
        Some(watching) => Some(watching),
        None => begin(&supervisor).await,
    };
    let Some(Watching { mut events, mut watcher }) = begun else { return std::future::pending().await };
    loop {
        tokio::select! {
            change = watcher.next() => react(&supervisor, &watcher, change).await,
            Some(event) = events.recv() => match event {
                Event { kind: EventKind::Applied { added, changed, .. }, .. } => {
                    let current = supervisor.current.lock().await;
                    let (watched, files) = wanted(&current);
                    watcher.watch(watched, files).await;
                    let is_new = |name: &ServiceName| added.contains(name) || changed.contains(name);
                    built(&current, is_new).for_each(|service| watcher.pause(service));
                }
                event => {
                    if let Some(service) = is_over(&event) {
                        watcher.resume(service);
                    }
                }
            },
        }
    }
}

/// The service whose restart came to its end with this event.
fn is_over(event: &Event) -> Option<&ServiceName> {
    let (EventKind::Ready { node, .. }
    | EventKind::Failed { node, .. }
    | EventKind::BuildFailed { node, .. }
    | EventKind::Stopped { node, .. }
    | EventKind::Warning { node: Some(node), .. }) = &event.kind
    else {
        return None;
    };
    match node {
        NodeId::Service(name) => Some(name),
        NodeId::Build(name) => {
            matches!(event.kind, EventKind::BuildFailed { .. } | EventKind::Failed { .. }).then_some(name)
        }
        NodeId::Create(_) | NodeId::Network(_) | NodeId::Volume(_) | NodeId::Image(_) | NodeId::Install(_) => None,
    }
}

async fn react(supervisor: &Supervisor, watcher: &Watcher, change: Change) {
    match change {
        Change::Service { service, paths, more } => {
            let (nodes, build, dir) = {
                let current = supervisor.current.lock().await;
                // What somebody stopped stays stopped, whatever is written meanwhile.
                let stopped = |name: &ServiceName| supervisor.is_stopped(name);
                let mine = |id: &NodeId| id.service().is_some_and(|name| name.base() == service && !stopped(name));
                let steps = current.plan.steps.iter().map(|step| &step.node);
                let steps = steps.filter(|node| matches!(node.id, NodeId::Service(_)) && mine(&node.id));
                let nodes: Vec<NodeId> = steps.clone().map(|node| node.id.clone()).collect();
                let build = steps.clone().any(|node| node.watch.as_ref().is_some_and(|watch| watch.build));
                (nodes, build, supervisor.root.clone())
            };
            if nodes.is_empty() {
                return;
            }
            watcher.pause(&service);
            let cause = format!("{} changed", named(&paths, more, &dir));
            // Where the engine is gone, the run is over.
            let _ = supervisor.requests.send(Request::Command(Command::Restart { nodes, build, cause }));
        }
        // Applied since, by an `up` that was faster than us, or nothing that matters: a hint would lead nowhere.
        Change::Manifest { .. } if supervisor.is_as_the_files_say().await => {}
        Change::Manifest { paths } => {
            let message = format!("{} changed; `devctl reload` applies it", named(&paths, 0, &supervisor.root));
            supervisor.outlet.say(EventKind::Note { message });
        }
        Change::Trouble { service, message, hints } => {
            let node = service.map(NodeId::Service);
            supervisor.outlet.say(EventKind::Warning { node, message, hints });
        }
    }
}

/// The watched services that are built before they start. What their first build writes (`Cargo.lock`) is no change.
fn built(current: &Current, which: impl Fn(&ServiceName) -> bool) -> impl Iterator<Item = &ServiceName> {
    current.plan.steps.iter().filter_map(move |step| match (&step.node.id, &step.node.watch) {
        (NodeId::Service(name), Some(watch)) if watch.build && name.number() == 1 && which(name) => Some(name),
        (_, _) => None,
    })
}

/// `src/main.rs and 3 more`, relative to the project.
fn named(paths: &[PathBuf], more: usize, root: &Path) -> String {
    let mut shown = paths.iter().map(|path| path.strip_prefix(root).unwrap_or(path).display().to_string());
    let (first, second) = (shown.next().unwrap_or_default(), shown.next());
    match (second, shown.count() + more) {
        (None, 0) => first,
        (Some(second), 0) => format!("{first} and {second}"),
        (second, rest) => format!("{first} and {} more", rest + usize::from(second.is_some())),
    }
}

/// What there is to watch: of a service with several replicas the first stands for all.
fn wanted(current: &Current) -> (Vec<Watched>, Vec<PathBuf>) {
    let watched = current.plan.steps.iter().filter_map(|step| {
        let (NodeId::Service(name), Some(watch)) = (&step.node.id, &step.node.watch) else { return None };
        let Work::Process(spec) = &step.node.work else { return None };
        if name.number() > 1 {
            return None;
        }
        let watched = Watched {
            ignore: watch.ignore.clone(),
            debounce: watch.debounce,
            ..Watched::new(name.clone(), spec.dir.clone(), watch.paths.clone())
        };
        Some(if spec.program == Program::Built { watched.cargo() } else { watched })
    });
    (watched.collect(), current.files.clone())
}
