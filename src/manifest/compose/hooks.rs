//! Lifecycle hooks and `develop.watch`.

use super::super::node::Node;
use super::super::reader::{Reader, Table};
use super::file::Context;
use super::model::{Develop, Hook, Trigger, WatchAction};
use super::mounts::Paths;
use super::service::environment;
use super::values::extensions;

const HOOK_KEYS: &[&str] = &["command", "user", "privileged", "working_dir", "environment"];
const TRIGGER_KEYS: &[&str] = &["path", "action", "target", "exec", "include", "ignore", "initial_sync"];
const ACTIONS: &[(&str, WatchAction)] = &[
    ("sync", WatchAction::Sync),
    ("rebuild", WatchAction::Rebuild),
    ("restart", WatchAction::Restart),
    ("sync+restart", WatchAction::SyncRestart),
    ("sync+exec", WatchAction::SyncExec),
];

/// Reads a list of hooks.
pub(super) fn read(reader: Reader<'_>, key: &str, node: &Node, context: &Context<'_>) -> Option<Vec<Hook>> {
    let items = reader.list(key, node)?;
    Some(items.iter().filter_map(|item| read_hook(reader, key, item, context)).collect())
}

fn read_hook(reader: Reader<'_>, key: &str, node: &Node, context: &Context<'_>) -> Option<Hook> {
    let table = reader.table(key, node, HOOK_KEYS, &[])?;
    if table.get("command").is_none() && !table.misspelt("command", HOOK_KEYS) {
        reader.fail(node.mark, format!("`{key}` needs a `command`"));
    }
    Some(Hook {
        command: table.read("command", Reader::command),
        user: table.text("user"),
        privileged: table.flag("privileged"),
        working_dir: table.text("working_dir"),
        environment: environment(table, context, false),
        extensions: extensions(table),
    })
}

/// Reads `develop`.
pub(super) fn read_develop(
    reader: Reader<'_>,
    key: &str,
    node: &Node,
    paths: Paths<'_>,
    context: &Context<'_>,
) -> Option<Develop> {
    let table = reader.table(key, node, &["watch"], &[])?;
    let items = table.read("watch", Reader::list).unwrap_or_default();
    let watch = items.iter().filter_map(|item| {
        let table = reader.table("watch", item, TRIGGER_KEYS, &[])?;
        read_trigger(table, item, paths, context)
    });
    Some(Develop { watch: watch.collect(), extensions: extensions(table) })
}

fn read_trigger(table: Table<'_, '_>, node: &Node, paths: Paths<'_>, context: &Context<'_>) -> Option<Trigger> {
    let reader = table.reader();
    for key in ["path", "action"] {
        if table.get(key).is_none() && !table.misspelt(key, TRIGGER_KEYS) {
            reader.fail(node.mark, format!("an entry of `watch` needs `{key}`"));
        }
    }
    let action = table.read("action", |r, key, node| r.one_of(key, node, ACTIONS));
    let target = table.text("target");
    match action {
        Some(WatchAction::Sync | WatchAction::SyncRestart | WatchAction::SyncExec)
            if target.is_none() && table.get("target").is_none() && !table.misspelt("target", TRIGGER_KEYS) =>
        {
            reader.fail(node.mark, "an entry of `watch` that copies files needs a `target`, the path in the container");
        }
        Some(WatchAction::SyncExec) if table.get("exec").is_none() => {
            reader.fail(node.mark, "an entry of `watch` with the action `sync+exec` needs `exec`, what is run");
        }
        Some(_) | None => {}
    }
    Some(Trigger {
        place: reader.place(node.mark),
        path: paths.file(&table.text("path")?),
        action: action?,
        target,
        exec: table.read("exec", |r, key, node| read_hook(r, key, node, context)).unwrap_or_default(),
        include: table.one_or_more("include"),
        ignore: table.one_or_more("ignore"),
        initial_sync: table.flag("initial_sync"),
        extensions: extensions(table),
    })
}
