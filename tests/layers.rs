//! The rules of the house that a compiler does not check: who may use whom, where the outside world may be named, and
//! that the map in docs/architecture.md shows what is there.

#[path = "layers/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use source::{Source, sources};

/// The rooms of the floors, from words to faces. A room may use every floor before its own.
const FLOORS: [(&str, &[&str]); 4] = [
    ("words", &["advice", "env_vars", "event", "name"]),
    ("hands", &["os", "logs", "driver", "probe", "state", "watch"]),
    ("decisions", &["manifest", "stack", "plan", "engine"]),
    ("faces", &["error", "report", "control", "data", "scaffold", "cli"]),
];

/// Who may use whom on the same floor: words are plain data and may use each other, every hand may use `os` and `logs`,
/// every face may print errors, and the command line wires the faces together.
fn allowed_on_its_floor(floor: &str, user: &str, used: &str) -> bool {
    match floor {
        "words" => true,
        "hands" => matches!(used, "os" | "logs") || (user, used) == ("probe", "driver"),
        "decisions" => matches!((user, used), ("stack", "manifest") | ("plan", "stack") | ("engine", "plan" | "stack")),
        "faces" => user == "cli" || used == "error",
        other => panic!("there is no floor `{other}`"),
    }
}

/// The floor of a room, by its place in `FLOORS`.
fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|(_, rooms)| rooms.contains(&room))
}

/// Why `user` may not use `used`, where it may not.
fn breach(user: &str, used: &str) -> Option<String> {
    let (Some(above), Some(below)) = (floor_of(user), floor_of(used)) else {
        return floor_of(used).is_none().then(|| format!("`{used}` is no room that this test knows"));
    };
    if user == used || below < above {
        return None;
    }
    if below > above {
        return Some(format!("`{user}` ({}) uses `{used}` ({}), a later floor", FLOORS[above].0, FLOORS[below].0));
    }
    let floor = FLOORS[above].0;
    (!allowed_on_its_floor(floor, user, used)).then(|| format!("`{user}` uses `{used}` on its own floor ({floor})"))
}

/// Fails with all breaches at once, each with its file and line.
fn none(breaches: impl IntoIterator<Item = String>) {
    let breaches: Vec<String> = breaches.into_iter().collect();
    assert!(breaches.is_empty(), "{} found:\n  {}", breaches.len(), breaches.join("\n  "));
}

/// Every place where one of `words` stands in a file that `allowed` does not accept.
fn places(words: &[&str], allowed: impl Fn(&Source) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !allowed(source)) {
        for word in words {
            found.extend(source.find(word).into_iter().map(|line| format!("{}:{line}: `{word}`", source.path)));
        }
    }
    found
}

#[test]
fn every_room_has_its_floor() {
    let rooms: BTreeSet<String> = sources().iter().filter_map(Source::room).collect();
    none(rooms.into_iter().filter(|room| floor_of(room).is_none()).map(|room| format!("src/{room}")));
}

#[test]
fn a_room_uses_only_the_floors_before_its_own() {
    let mut breaches = Vec::new();
    for source in sources() {
        let Some(room) = source.room() else { continue };
        for (used, line) in source.uses() {
            breaches.extend(breach(&room, &used).map(|why| format!("{}:{line}: {why}", source.path)));
        }
    }
    none(breaches);
}

#[test]
fn the_reports_do_not_know_the_engine() {
    let reports = |source: &&Source| source.room().as_deref() == Some("report");
    let engine = |source: &Source| source.uses().into_iter().find(|(used, _)| used == "engine");
    let found = sources().iter().filter(reports).filter_map(|source| Some((source.path.clone(), engine(source)?.1)));
    none(found.map(|(path, line)| format!("{path}:{line}")));
}

#[test]
fn each_library_has_its_door() {
    let behind =
        |doors: &'static [&'static str]| move |source: &Source| doors.iter().any(|door| source.path.starts_with(door));
    // What the engine's API is sent and answers is plain data, and `driver::docker::api` for everybody else.
    let mut found = places(&["bollard::"], behind(&["src/driver/docker/"]));
    found.extend(places(&["clap::", "clap_complete::"], behind(&["src/cli/"])));
    found.extend(places(&["indicatif::", "comfy_table::"], behind(&["src/report/", "src/cli/"])));
    found.extend(places(&["ctrlc::"], behind(&["src/os/"])));
    found.extend(places(&["notify::"], behind(&["src/watch/"])));
    // The manifest checks the patterns that are matched there.
    found.extend(places(&["ignore::"], behind(&["src/watch/", "src/manifest/"])));
    found.extend(places(&["nix::", "libc::", "procfs::", "listeners::"], behind(&["src/os/", "src/driver/"])));
    none(found);
}

#[test]
fn a_platform_is_named_only_in_os_and_the_drivers() {
    let words = ["cfg(unix", "cfg(windows", "target_os", "target_family", "std::os::", "not(unix)", "not(windows)"];
    none(places(&words, |source| source.path.starts_with("src/os/") || source.path.starts_with("src/driver/")));
}

#[test]
fn decisions_touch_no_clock_no_file_and_no_environment() {
    // The runtime is the one place where decisions meet the hands.
    let outside = |source: &Source| {
        let room = source.room();
        let decides = room.is_some_and(|room| floor_of(&room).is_some_and(|floor| FLOORS[floor].0 == "decisions"));
        !decides || source.path.starts_with("src/engine/runtime")
    };
    let words = ["tokio::", "std::fs", "std::net::Tcp", "std::process", "std::env::", "::now()"];
    none(places(&words, outside));
}

#[test]
fn only_the_runtime_calls_drivers_and_probes() {
    let words = ["Drivers", "until_ready"];
    none(places(&words, |source| {
        ["src/driver/", "src/probe/", "src/engine/runtime", "src/cli/"].iter().any(|door| source.path.starts_with(door))
    }));
}

#[test]
fn every_path_of_the_map_is_there() {
    let map = source::read("docs/architecture.md");
    let (_, table) =
        map.split_once("write here\n").expect("docs/architecture.md has a heading that ends in `write here`");
    let table: Vec<&str> =
        table.lines().skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|')).collect();
    let paths: Vec<&str> = table.iter().flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    assert!(table.len() > 5 && paths.len() > 10, "the table is not where it was: {table:#?}");
    let missing = |path: &&str| path.contains('/') && !Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists();
    none(paths.into_iter().filter(missing).map(str::to_owned));
}

#[test]
fn the_rule_itself_is_as_written() {
    for (user, used) in [("driver", "event"), ("probe", "driver"), ("engine", "plan"), ("cli", "report"), ("os", "os")]
    {
        assert_eq!(breach(user, used), None, "{user} → {used}");
    }
    for (user, used) in
        [("event", "os"), ("driver", "probe"), ("plan", "engine"), ("report", "control"), ("logs", "gui")]
    {
        assert!(breach(user, used).is_some(), "{user} → {used}");
    }
}
