//! Whether the containers of a project are what its files say now: the plan that `up` would carry out, looked at.

use super::Context;
use super::containers::Here;
use crate::driver::Work;
use crate::event::Action;
use crate::plan::{self, Now, Policy};
use crate::stack::{self, Infra, Node, Selection};

/// The services whose containers `up` would replace, and why. Files that cannot be read tell nothing, and neither does
/// an engine that is away: this is a remark beside what was asked for.
pub(super) async fn changed(here: &Here, context: &Context) -> Vec<(String, String)> {
    let Some(manifest) = &here.project.manifest else { return Vec::new() };
    let Ok(stack) = stack::resolve(manifest, &Selection::default(), Infra::Docker, &context.env) else {
        return Vec::new();
    };
    let network = |node: &Node| if let Work::Network(spec) = &node.work { Some(spec.name.clone()) } else { None };
    let networks: Vec<String> = stack.nodes().filter_map(network).collect();
    let Ok(engine) = here.engine.observe(&manifest.project, &networks, &[], &[]).await else { return Vec::new() };
    let plan = plan::diff(&stack, &Now { engine, ..Now::default() }, &Policy::default());
    let steps = plan.steps.into_iter();
    let replaced = steps.filter(|step| step.action == Action::Replace && matches!(step.node.work, Work::Create(_)));
    replaced.filter_map(|step| Some((step.node.id.service()?.as_str().to_owned(), step.cause))).collect()
}
