//! What is to be done with each container: which of those that are there stands for which replica, which are too many, and
//! which have to be made anew. The rules are Compose's, so that neither tool takes away what the other would keep.

use std::collections::HashMap;

use super::policy::{Policy, Recreate};
use super::{Now, Removal};
use crate::driver::Work;
use crate::driver::docker::{ContainerSpec, ObservedContainer, Takeover};
use crate::event::Action;
use crate::name::{NodeId, ServiceName};
use crate::stack::{Node, Stack};

/// What was decided about the container of one node.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) action: Action,
    pub(super) cause: String,
    /// The number of the container.
    pub(super) number: u32,
    pub(super) existing: Option<String>,
    pub(super) takeover: Option<Takeover>,
    /// Whether it runs now and is to be stopped and started again as it is, and why.
    pub(super) restart: Option<String>,
}

/// What was decided about all containers.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    pub(super) by_node: HashMap<NodeId, Verdict>,
    pub(super) removals: Vec<Removal>,
}

/// The networks and volumes that are made anew, by name on the engine.
pub(super) struct Remade<'a> {
    pub(super) networks: Vec<&'a str>,
    pub(super) volumes: Vec<&'a str>,
    /// Images that may be others by the time a container needs them, by reference.
    pub(super) images: Vec<&'a str>,
}

impl Verdicts {
    /// Whether the first container of a service is another one after this.
    fn is_remade(&self, service: &str) -> bool {
        let create = service.parse().ok().map(NodeId::Create);
        let verdict = create.and_then(|id| self.by_node.get(&id));
        verdict.is_some_and(|verdict| matches!(verdict.action, Action::Replace | Action::Create))
    }
}

/// What the containers of one service are judged by.
struct Look<'a> {
    stack: &'a Stack,
    now: &'a Now,
    policy: &'a Policy,
    remade: &'a Remade<'a>,
    recreate: Recreate,
    /// The service that it shares something with and whose container is made anew.
    parent: Option<String>,
    /// Its hashes, where they depend on whose namespaces it shares.
    shared: Option<Vec<String>>,
}

/// Decides about all containers of a stack.
pub(super) fn judge(stack: &Stack, now: &Now, policy: &Policy, remade: &Remade) -> Verdicts {
    let mut verdicts = Verdicts::default();
    // Those whose namespaces or volumes others share come first, as everything that is needed does.
    for (service, replicas) in by_service(stack) {
        let recreate = policy.of(&service);
        let first = |service: &str| now.engine.of_service(service).first().map(|found| found.id.clone());
        let shared = stack.shared_hashes(&service, first);
        let parent = shared.as_ref().and_then(|(_, with)| with.iter().find(|name| verdicts.is_remade(name)).cloned());
        let look = Look { stack, now, policy, remade, recreate, parent, shared: shared.map(|(hashes, _)| hashes) };
        assign(&replicas, now.engine.of_service(service.as_str()), &mut verdicts, |spec, found| {
            container(spec, found, &look)
        });
    }
    for service in stack.scaled_to_none() {
        let all = now.engine.of_service(service.as_str());
        verdicts.removals.extend(all.iter().map(|found| Removal::new(found, "none of it is to run")));
    }
    restart_dependents(stack, now, &mut verdicts);
    verdicts
}

/// The containers to be, by service, in the order of the stack.
fn by_service(stack: &Stack) -> Vec<(ServiceName, Vec<(&NodeId, &ContainerSpec)>)> {
    let mut services: Vec<(ServiceName, Vec<(&NodeId, &ContainerSpec)>)> = Vec::new();
    for node in stack.nodes() {
        let (NodeId::Create(name), Work::Create(spec)) = (&node.id, &node.work) else { continue };
        let base = name.base();
        match services.iter_mut().find(|(service, _)| *service == base) {
            Some((_, replicas)) => replicas.push((&node.id, spec)),
            None => services.push((base, vec![(&node.id, spec)])),
        }
    }
    services
}

/// Lays the replicas of one service against its containers. Of too many, those that are not up to date go first, then
/// those of the highest numbers; new ones get numbers above all there are.
fn assign(
    replicas: &[(&NodeId, &ContainerSpec)],
    there: &[ObservedContainer],
    verdicts: &mut Verdicts,
    container: impl Fn(&ContainerSpec, &ObservedContainer) -> Verdict,
) {
    let Some((_, any)) = replicas.first() else { return };
    // What a replica asks for says nothing of its number, so any of them will do.
    let mut judged: Vec<(&ObservedContainer, Verdict)> =
        there.iter().map(|found| (found, container(any, found))).collect();
    judged.sort_by_key(|(found, verdict)| (verdict.action == Action::Replace, found.number));
    let surplus = judged.split_off(judged.len().min(replicas.len()));
    verdicts
        .removals
        .extend(surplus.iter().map(|(found, _)| Removal::new(found, "there are more of it than asked for")));
    judged.sort_by_key(|(found, _)| found.number);

    let highest = there.iter().map(|found| found.number).max().unwrap_or(0);
    let count = u32::try_from(judged.len()).unwrap_or(u32::MAX);
    let mut kept = judged.into_iter();
    for (id, number) in replicas.iter().map(|(id, _)| *id).zip(1..) {
        let verdict = kept.next().map_or_else(
            || Verdict {
                action: Action::Create,
                cause: "does not exist".to_owned(),
                // Where none is there, this counts from 1; else from the one after the highest.
                number: highest + number - count,
                existing: None,
                takeover: None,
                restart: None,
            },
            |(_, verdict)| verdict,
        );
        verdicts.by_node.insert(id.clone(), verdict);
    }
}

/// Decides about one container that is there.
fn container(spec: &ContainerSpec, found: &ObservedContainer, look: &Look) -> Verdict {
    let Look { now, policy, remade, recreate, .. } = *look;
    let takeover = Takeover {
        old: found.id.clone(),
        renew_volumes: policy.renew_volumes,
        stop_first: Vec::new(),
        stop_timeout: policy.stop_timeout,
    };
    let verdict = |action, cause: String| Verdict {
        action,
        cause,
        number: found.number,
        existing: Some(found.id.clone()),
        takeover: None,
        restart: None,
    };
    if let Some(volume) = spec.volume_names().find(|name| remade.volumes.contains(name)) {
        // What mounted it is removed with it.
        return Verdict { existing: None, ..verdict(Action::Create, format!("its volume `{volume}` is made anew")) };
    }
    if let Some(cause) = obsolete(spec, found, look) {
        return Verdict { takeover: Some(takeover), ..verdict(Action::Replace, cause) };
    }
    let ours = now.dead.left(found);
    let remade_network = spec.network_names().find(|name| remade.networks.contains(name));
    if let Some(network) = remade_network {
        let cause = format!("its network `{network}` is made anew");
        return Verdict { restart: Some(cause.clone()), ..verdict(Action::Keep, cause) };
    }
    // Its image is looked at again once it is there.
    if recreate != Recreate::Never && remade.images.contains(&spec.image()) && !ours {
        let cause = format!("unless the image `{}` changes", spec.image());
        let restart = (!found.running).then(|| "exists and does not run".to_owned());
        return Verdict { takeover: Some(takeover), restart, ..verdict(Action::Expect, cause) };
    }
    match (found.running, ours) {
        (true, true) => verdict(Action::Adopt, "runs, left by a run that was killed".to_owned()),
        (true, false) => verdict(Action::Keep, "runs and is up to date".to_owned()),
        (false, _) => verdict(Action::Start, "exists and does not run".to_owned()),
    }
}

/// Why a container has to be made anew; `None` where it can stay.
fn obsolete(spec: &ContainerSpec, found: &ObservedContainer, look: &Look) -> Option<String> {
    let Look { now, remade, .. } = *look;
    match look.recreate {
        Recreate::Never => return None,
        Recreate::Force => return Some("asked for".to_owned()),
        Recreate::Diverged => {}
    }
    if let Some(parent) = &look.parent {
        return Some(format!("`{parent}`, of which it shares something, is made anew"));
    }
    let is_shared =
        look.shared.as_ref().is_some_and(|hashes| found.config_hash.as_ref().is_some_and(|h| hashes.contains(h)));
    if !is_shared && !is_current(spec, found) {
        return Some(changed(spec, found, look.stack));
    }
    // The label says what Compose goes by; newer versions write something else than the image's id into it, and then what
    // the engine itself says of the container is as good.
    if let Some(id) = now.engine.images.get(spec.image())
        && found.image_label.as_ref() != Some(id)
        && found.image_id != *id
    {
        return Some(format!("the image `{}` changed", spec.image()));
    }
    for name in spec.network_names().filter(|name| !remade.networks.contains(name)) {
        let expected = now.engine.networks.get(name).map(|network| network.id.as_str());
        let joined = found.networks.get(name).map(String::as_str);
        match (found.running, joined) {
            (true, joined) if joined.is_none() || joined != expected => {
                return Some(format!("it is not on the network `{name}`"));
            }
            // The engine would not find the one it was on.
            (false, Some(before)) if Some(before) != expected => {
                return Some(format!("the network `{name}` it was on is gone"));
            }
            (true | false, _) => {}
        }
    }
    let missing = spec.volume_names().find(|name| !found.volumes.iter().any(|volume| volume == name));
    missing.map(|name| format!("it does not mount the volume `{name}`"))
}

/// Whether a container was made of this configuration, as any version of Compose tells.
pub(super) fn is_current(spec: &ContainerSpec, found: &ObservedContainer) -> bool {
    let hash = found.config_hash.as_deref();
    spec.config_hashes().any(|accepted| Some(accepted) == hash)
}

/// What changed of a container's configuration. Which keys did is known where devctl made it.
fn changed(spec: &ContainerSpec, found: &ObservedContainer, stack: &Stack) -> String {
    let keys = || stack.changed_keys(spec.service.as_ref()?, found.config_keys.as_deref()?);
    match keys().filter(|keys| !keys.is_empty()) {
        Some(keys) => {
            let names: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            format!("{} changed", names.join(", "))
        }
        None => "its configuration changed".to_owned(),
    }
}

/// Whoever is to be restarted with a service (`restart: true`) is stopped before a container of that is replaced, and
/// comes back once it is ready again.
fn restart_dependents(stack: &Stack, now: &Now, verdicts: &mut Verdicts) {
    for node in stack.nodes() {
        let (NodeId::Service(name), Work::Container(_)) = (&node.id, &node.work) else { continue };
        for on in node.needs.iter().filter(|need| need.restart).filter_map(|need| need.on.service()) {
            restart_with(name, on, now, verdicts);
        }
    }
}

fn restart_with(name: &ServiceName, on: &ServiceName, now: &Now, verdicts: &mut Verdicts) {
    let Some(needed) = verdicts.by_node.get_mut(&NodeId::Create(on.clone())) else { return };
    let Some(takeover) = needed.takeover.as_mut().filter(|_| needed.action == Action::Replace) else { return };
    let running = now.engine.of_service(name.base().as_str()).iter().filter(|found| found.running);
    for found in running {
        if !takeover.stop_first.contains(&found.id) {
            takeover.stop_first.push(found.id.clone());
        }
    }
    if let Some(own) = verdicts.by_node.get_mut(&NodeId::Create(name.clone()))
        && own.action == Action::Keep
        && own.restart.is_none()
    {
        own.restart = Some(format!("`{}` is made anew", on.base()));
    }
}

/// The verdict on the node that starts a container, from the one on its container.
pub(super) fn start(node: &Node, verdicts: &Verdicts) -> Option<(Action, Option<String>, String)> {
    let verdict = verdicts.by_node.get(&NodeId::Create(node.id.service()?.clone()))?;
    let (cause, existing) = (verdict.cause.clone(), verdict.existing.clone());
    Some(match (verdict.action, &verdict.restart) {
        (Action::Keep | Action::Expect, Some(cause)) => (Action::Start, existing, cause.clone()),
        (Action::Keep | Action::Expect, None) => (Action::Keep, existing, "runs and is up to date".to_owned()),
        (Action::Adopt, _) => (Action::Adopt, existing, cause),
        (Action::Replace, _) => (Action::Start, None, cause),
        (Action::Create | Action::Start, _) => (Action::Start, existing, cause),
    })
}
