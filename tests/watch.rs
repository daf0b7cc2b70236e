//! Changes of real files, noticed as the system tells of them. That something is no change is shown by one that follows:
//! what is told then names that one alone. No test depends on how fast it is itself: what belongs together happens while
//! the service is paused, and the system tells things in order, so that a file changed at the end shows that all before
//! was heard.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test program: a panic is its report")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use devctl::name::ServiceName;
use devctl::watch::{Change, How, Watched, Watcher};
use tempfile::TempDir;

/// How long a change may take before the test fails. It ends a test that hangs, it never measures.
const DEADLINE: Duration = Duration::from_mins(2);

/// Set for the copy of this test program whose system watches next to nothing.
const FEW_WATCHES: &str = "DEVCTL_TEST_FEW_WATCHES";

/// A project with one service, `api`, and a watcher.
struct Project {
    folder: TempDir,
    /// Where the file of the other service is, by which one knows that everything was heard.
    beside: TempDir,
    watcher: Watcher,
    watched: Vec<Watched>,
    manifest: Vec<PathBuf>,
    acts: u32,
}

impl Project {
    async fn new(files: &[(&str, &str)], paths: &[&str]) -> Self {
        Self::with(files, paths, &[], &[], How::Notified).await
    }

    async fn with(files: &[(&str, &str)], paths: &[&str], ignore: &[&str], manifest: &[&str], how: How) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            write(&folder.path().join(path), text);
        }
        let mut api = Watched::new(api(), folder.path(), paths.iter().map(PathBuf::from).collect());
        api.ignore = ignore.iter().map(|&pattern| pattern.to_owned()).collect();
        let beside = tempfile::tempdir().unwrap();
        let mut last = Watched::new(last(), beside.path(), vec!["last".into()]);
        last.debounce = Duration::from_millis(1);
        let watched = vec![api, last];
        let manifest: Vec<PathBuf> = manifest.iter().map(|file| folder.path().join(file)).collect();
        let watcher = Watcher::start(watched.clone(), manifest.clone(), how).await.unwrap();
        let project = Self { folder, beside, watcher, watched, manifest, acts: 0 };
        project.settled().await;
        project
    }

    /// Waits until the watcher has read all files: it answers one after the other.
    async fn settled(&self) {
        self.watcher.watch(self.watched.clone(), self.manifest.clone()).await;
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.path(path), text);
    }

    /// Does something that is told as one change: the watcher has heard of all of it before it may tell.
    async fn act(&mut self, act: impl FnOnce(&Self)) {
        self.watcher.pause(&api());
        act(self);
        self.heard().await;
        self.watcher.resume(&api());
    }

    /// Waits until the watcher has heard of everything so far.
    async fn heard(&mut self) {
        self.acts += 1;
        write(&self.beside.path().join("last"), &self.acts.to_string());
        let change = self.next().await;
        assert!(matches!(&change, Change::Service { service, .. } if *service == last()), "{change:?} instead");
    }

    async fn next(&mut self) -> Change {
        tokio::time::timeout(DEADLINE, self.watcher.next()).await.expect("a change is told")
    }

    /// The next change of `api`: its files, relative to the project, and how many more there are.
    async fn change(&mut self) -> (Vec<String>, usize) {
        let change = self.next().await;
        let Change::Service { service, paths, more } = change else { panic!("{change:?}") };
        assert_eq!(service, api());
        (paths.iter().map(|path| relative(self.folder.path(), path)).collect(), more)
    }

    /// Takes changes until all of `expected` were told. They may come in several, and no others.
    async fn until(&mut self, expected: &[&str]) {
        let mut told = BTreeSet::new();
        while told.len() < expected.len() {
            told.extend(self.changed().await);
        }
        assert_eq!(told.iter().collect::<Vec<_>>(), expected);
    }

    /// Takes changes of the project's files until all of `expected` were told. They may come in several, and no others.
    async fn manifests(&mut self, expected: &[&str]) {
        let mut told = BTreeSet::new();
        while told.len() < expected.len() {
            let change = self.next().await;
            let Change::Manifest { paths } = change else { panic!("{change:?}") };
            told.extend(paths.iter().map(|path| relative(self.folder.path(), path)));
        }
        assert_eq!(told.iter().collect::<Vec<_>>(), expected);
    }

    /// The files of the next change.
    async fn changed(&mut self) -> Vec<String> {
        let (paths, more) = self.change().await;
        assert_eq!(more, 0);
        paths
    }
}

fn api() -> ServiceName {
    "api".parse().unwrap()
}

/// The service that tells that everything was heard.
fn last() -> ServiceName {
    "last".parse().unwrap()
}

fn relative(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()
}

/// Writes a file in one step: nobody sees it empty.
fn write(path: &Path, text: &str) {
    let new = tempfile::NamedTempFile::new().unwrap();
    fs::write(new.path(), text).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    new.persist(path).unwrap();
}

#[tokio::test]
async fn an_edit_is_told_once_with_its_files() {
    let mut project = Project::new(&[("src/main.rs", "1"), ("src/lib.rs", "1")], &["src"]).await;
    let edit = |p: &Project| {
        p.write("src/main.rs", "2");
        p.write("src/lib.rs", "2");
        p.write("src/main.rs", "3");
        p.write("README.md", "beside what is watched");
    };
    project.act(edit).await;
    assert_eq!(project.changed().await, ["src/lib.rs", "src/main.rs"]);
    project.act(|p| p.write("src/main.rs", "4")).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
}

#[tokio::test]
async fn editors_save_in_their_own_ways() {
    let mut project = Project::new(&[("src/main.rs", "1")], &["src"]).await;
    // A swap file, a test whether it may write, the old file moved away, a new one in its place.
    let vim = |p: &Project| {
        p.write("src/.main.rs.swp", "swap");
        p.write("src/4913", "");
        fs::remove_file(p.path("src/4913")).unwrap();
        fs::rename(p.path("src/main.rs"), p.path("src/main.rs~")).unwrap();
        p.write("src/main.rs", "by vim");
        fs::remove_file(p.path("src/main.rs~")).unwrap();
    };
    // A temporary file that takes the name of the old one. Whoever looks in the midst sees the temporary file.
    let in_one_step = |p: &Project| {
        p.write(".main.rs.tmp.4711", "in one step");
        fs::rename(p.path(".main.rs.tmp.4711"), p.path("src/main.rs")).unwrap();
    };
    let in_place = |p: &Project| fs::write(p.path("src/main.rs"), "in place").unwrap();
    project.act(vim).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
    project.act(in_one_step).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
    project.act(in_place).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
}

#[tokio::test]
async fn folders_come_go_and_come_back() {
    let mut project = Project::new(&[("src/a/one.rs", "1"), ("src/b/two.rs", "1")], &["src"]).await;
    // A new one, with files in it at once, and with files later.
    for file in ["src/new/deep/er/x.rs", "src/new/deep/er/y.rs"] {
        project.act(|p| p.write(file, "1")).await;
        assert_eq!(project.changed().await, [file]);
    }
    // Removed and made again in one go, as `git checkout` does.
    let again = |p: &Project| {
        fs::remove_dir_all(p.path("src/a")).unwrap();
        p.write("src/a/one.rs", "2");
    };
    project.act(again).await;
    assert_eq!(project.changed().await, ["src/a/one.rs"]);
    project.act(|p| p.write("src/a/one.rs", "3")).await;
    assert_eq!(project.changed().await, ["src/a/one.rs"]);
    // Renamed: its files are gone here and new there.
    project.act(|p| fs::rename(p.path("src/b"), p.path("src/c")).unwrap()).await;
    assert_eq!(project.changed().await, ["src/b/two.rs", "src/c/two.rs"]);
    project.act(|p| p.write("src/c/two.rs", "2")).await;
    assert_eq!(project.changed().await, ["src/c/two.rs"]);
    // All of it, and back.
    project.act(|p| fs::remove_dir_all(p.path("src")).unwrap()).await;
    let all = ["src/a/one.rs", "src/c/two.rs", "src/new/deep/er/x.rs", "src/new/deep/er/y.rs"];
    assert_eq!(project.changed().await, all);
    for text in ["1", "2"] {
        project.act(|p| p.write("src/a/one.rs", text)).await;
        assert_eq!(project.changed().await, ["src/a/one.rs"]);
    }
}

#[tokio::test]
async fn what_is_ignored_is_no_change() {
    let files = [
        (".git/info/exclude", "excluded.txt\n"),
        (".gitignore", "*.log\n"),
        ("web/.devctlignore", "generated/\n"),
        ("Cargo.toml", "[package]"),
        ("src/main.rs", "1"),
    ];
    let mut project = Project::with(&files, &["."], &["/data"], &[], How::Notified).await;
    let ignored = [
        "a.log",
        "src/deep/b.log",
        "excluded.txt",
        "web/generated/x.js",
        "target/debug/api",
        "web/node_modules/left-pad/index.js",
        "data/app.db",
        ".git/index",
        ".devctl/logs/api.log",
        "src/.main.rs.swp",
    ];
    let write_all = |p: &Project| {
        for path in ignored {
            p.write(path, "ignored");
        }
        p.write("src/main.rs", "2");
    };
    project.act(write_all).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
    // What is no longer ignored is watched from now on; that it came to be is no change of it.
    let unignore = |p: &Project| {
        p.write(".gitignore", "");
        p.write("src/main.rs", "3");
    };
    project.act(unignore).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
    for file in ["a.log", "src/deep/b.log"] {
        project.act(|p| p.write(file, "watched")).await;
        assert_eq!(project.changed().await, [file]);
    }
    // And the other way round.
    let ignore = |p: &Project| {
        p.write("src/.ignore", "deep\n");
        p.write("src/main.rs", "4");
    };
    project.act(ignore).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
    let write_both = |p: &Project| {
        p.write("src/deep/b.log", "ignored");
        p.write("src/main.rs", "5");
    };
    project.act(write_both).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
}

#[tokio::test]
async fn only_content_counts() {
    let mut project = Project::new(&[("src/main.rs", "1"), ("src/lib.rs", "1"), ("src/run.sh", "1")], &["src"]).await;
    let nothing = |p: &Project| {
        p.write("src/main.rs", "1");
        let touched = fs::File::options().append(true).open(p.path("src/lib.rs")).unwrap();
        touched.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        fs::set_permissions(p.path("src/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::read(p.path("src/run.sh")).unwrap();
        p.write("src/new.rs", "1");
    };
    project.act(nothing).await;
    assert_eq!(project.changed().await, ["src/new.rs"]);
}

#[tokio::test]
async fn a_storm_is_told_in_few_words() {
    let files = [("Cargo.toml", ""), ("src/main.rs", "1")];
    let mut project = Project::new(&files, &["."]).await;
    let all = 10_000;
    let ignored = |p: &Project| {
        for n in 0..all {
            p.write(&format!("target/debug/deps/{n}.o"), "ignored");
        }
        p.write("src/main.rs", "2");
    };
    project.act(ignored).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
    let watched = |p: &Project| {
        for n in 0..all {
            p.write(&format!("generated/{}/{n}.rs", n / 100), "1");
        }
    };
    project.act(watched).await;
    let (paths, more) = project.change().await;
    assert_eq!((paths.len(), paths.len() + more), (20, all));
    // All of it is watched, and nothing was lost on the way.
    project.act(|p| p.write("generated/42/4242.rs", "2")).await;
    assert_eq!(project.changed().await, ["generated/42/4242.rs"]);
    project.act(|p| fs::remove_dir_all(p.path("generated")).unwrap()).await;
    let (paths, more) = project.change().await;
    assert_eq!((paths.len(), paths.len() + more), (20, all));
}

#[tokio::test]
async fn a_path_that_is_not_there_yet_is_found() {
    let mut project = Project::new(&[], &["later/on/src", "config.yaml"]).await;
    let unwatched = |p: &Project| {
        p.write("later/other.rs", "not watched");
        p.write("config.yaml", "1");
    };
    project.act(unwatched).await;
    assert_eq!(project.changed().await, ["config.yaml"]);
    for file in ["later/on/src/main.rs", "later/on/src/deep/lib.rs"] {
        project.act(|p| p.write(file, "1")).await;
        assert_eq!(project.changed().await, [file]);
    }
    // With the folders above it, away and back.
    let both = ["later/on/src/deep/lib.rs", "later/on/src/main.rs"];
    project.act(|p| fs::rename(p.path("later"), p.path("away")).unwrap()).await;
    assert_eq!(project.changed().await, both);
    let back = |p: &Project| {
        p.write("away/on/src/main.rs", "elsewhere");
        fs::rename(p.path("away"), p.path("later")).unwrap();
    };
    project.act(back).await;
    assert_eq!(project.changed().await, both);
    project.act(|p| p.write("later/on/src/main.rs", "3")).await;
    assert_eq!(project.changed().await, ["later/on/src/main.rs"]);
    project.act(|p| fs::remove_file(p.path("config.yaml")).unwrap()).await;
    assert_eq!(project.changed().await, ["config.yaml"]);
}

#[tokio::test]
async fn links_are_followed_only_where_they_are_named() {
    let outside = tempfile::tempdir().unwrap();
    let outside = |path: &str| outside.path().join(path);
    write(&outside("shared/x.rs"), "1");
    write(&outside("other/y.rs"), "1");
    let mut project = Project::new(&[("src/main.rs", "1")], &["src", "linked"]).await;
    project.act(|p| symlink(outside("shared"), p.path("linked")).unwrap()).await;
    assert_eq!(project.changed().await, ["linked/x.rs"]);
    project.act(|_| write(&outside("shared/x.rs"), "2")).await;
    assert_eq!(project.changed().await, ["linked/x.rs"]);
    // A link inside: that it points there counts, what happens there does not.
    project.act(|p| symlink(outside("other"), p.path("src/other")).unwrap()).await;
    assert_eq!(project.changed().await, ["src/other"]);
    let beyond = |p: &Project| {
        write(&outside("other/y.rs"), "2");
        p.write("src/main.rs", "2");
    };
    project.act(beyond).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
    // The named link points elsewhere now.
    let elsewhere = |p: &Project| {
        fs::remove_file(p.path("linked")).unwrap();
        symlink(outside("other"), p.path("linked")).unwrap();
    };
    project.act(elsewhere).await;
    let changed = project.changed().await;
    assert!(changed.contains(&"linked/y.rs".to_owned()), "{changed:?}");
    project.act(|_| write(&outside("other/y.rs"), "3")).await;
    assert_eq!(project.changed().await, ["linked/y.rs"]);
}

#[tokio::test]
async fn files_of_the_project_are_told_by_name() {
    let files = [("devctl.toml", "1"), ("shared/common.env", "A=1"), ("compose/docker-compose.yml", "1")];
    let manifest = ["devctl.toml", "compose/docker-compose.yml", ".env", "deploy/later.env", "linked.env"];
    let mut project = Project::with(&files, &[], &[], &manifest, How::Notified).await;
    for (write, told) in [
        (&[("devctl.toml", "2")][..], &["devctl.toml"][..]),
        // The same again, and files that are none of them.
        (&[("devctl.toml", "2"), ("other.toml", "1"), (".env", "B=1")], &[".env"]),
        (&[("deploy/later.env", "C=1")], &["deploy/later.env"]),
        (
            &[("deploy/later.env", "C=2"), ("compose/docker-compose.yml", "2")],
            &["compose/docker-compose.yml", "deploy/later.env"],
        ),
    ] {
        for (path, text) in write {
            project.write(path, text);
        }
        project.manifests(told).await;
    }
    symlink("shared/common.env", project.path("linked.env")).unwrap();
    project.manifests(&["linked.env"]).await;
    project.write("shared/common.env", "A=2");
    project.manifests(&["linked.env"]).await;
    // By a temporary file, as editors do, and by its end.
    project.write("devctl.toml.tmp", "3");
    fs::rename(project.path("devctl.toml.tmp"), project.path("devctl.toml")).unwrap();
    project.manifests(&["devctl.toml"]).await;
    fs::remove_file(project.path(".env")).unwrap();
    project.manifests(&[".env"]).await;
}

#[tokio::test]
async fn a_paused_service_hears_of_its_changes_after() {
    let files = [("Cargo.toml", "[package]"), ("Cargo.lock", "1"), ("src/main.rs", "1")];
    let mut project = Project::new(&files, &["src"]).await;
    project.watched[0] = project.watched[0].clone().cargo();
    project.settled().await;
    project.settled().await;

    project.watcher.pause(&api());
    project.write("src/main.rs", "2");
    // The build's own.
    project.write("Cargo.lock", "2");
    // The other service is told meanwhile.
    project.heard().await;
    project.watcher.resume(&api());
    assert_eq!(project.changed().await, ["src/main.rs"]);

    // Without a build they are the developer's.
    project.write("Cargo.lock", "3");
    assert_eq!(project.changed().await, ["Cargo.lock"]);
    project.act(|p| p.write("Cargo.toml", "[package] # a dependency")).await;
    assert_eq!(project.changed().await, ["Cargo.toml"]);
}

#[tokio::test]
async fn a_service_that_changes_its_own_files_is_caught() {
    let files = [("src/main.rs", "1"), ("src/version.txt", "0")];
    let mut project = Project::new(&files, &["src"]).await;
    project.write("src/version.txt", "the developer's own change");
    let mut restarts = 0;
    let (message, hints) = loop {
        match project.next().await {
            Change::Service { service, .. } if service == api() => {
                restarts += 1;
                assert!(restarts < 20, "it restarts for ever");
                project.act(|p| p.write("src/version.txt", &format!("start {restarts}"))).await;
            }
            Change::Trouble { service, message, hints } => {
                assert_eq!(service, Some(api()));
                break (message, hints.join("\n"));
            }
            other @ (Change::Service { .. } | Change::Manifest { .. }) => panic!("{other:?}"),
        }
    };
    assert!(restarts >= 5, "{restarts}");
    assert!(message.contains("`src/version.txt`") && message.contains("watched again in 10 s"), "{message}");
    assert!(hints.contains("ignore = [\"/src/version.txt\"]"), "{hints}");
    // Somebody is at work: that is told at once.
    project.write("src/main.rs", "2");
    let changed = project.changed().await;
    assert_eq!(changed, ["src/main.rs", "src/version.txt"]);
    // What the hint says helps.
    project.watched[0].ignore = vec!["/src/version.txt".to_owned()];
    project.settled().await;
    project.settled().await;
    let both = |p: &Project| {
        p.write("src/version.txt", "ignored");
        p.write("src/main.rs", "3");
    };
    project.act(both).await;
    assert_eq!(project.changed().await, ["src/main.rs"]);
}

#[tokio::test]
async fn files_are_looked_at_where_nothing_tells() {
    let files = [(".git/HEAD", ""), (".gitignore", "*.log"), ("src/main.rs", "1"), (".env", "A=1")];
    let how = How::Polling { every: Duration::from_millis(20) };
    let mut project = Project::with(&files, &[".", "src"], &[], &[".env"], how).await;
    project.write("a.log", "ignored");
    project.write("src/new/lib.rs", "1");
    project.until(&["src/new/lib.rs"]).await;
    fs::remove_dir_all(project.path("src/new")).unwrap();
    project.until(&["src/new/lib.rs"]).await;
    fs::rename(project.path("src"), project.path("lib")).unwrap();
    project.until(&["lib/main.rs", "src/main.rs"]).await;
    project.write("lib/main.rs", "22");
    project.until(&["lib/main.rs"]).await;
}

/// The body of the test below: runs where the system watches three folders and no more.
#[tokio::test]
async fn few_watches() {
    if std::env::var_os(FEW_WATCHES).is_none() {
        return;
    }
    let files = [("src/a/x.rs", "1"), ("src/b/x.rs", "1"), ("src/c/x.rs", "1"), ("src/d/x.rs", "1")];
    let mut project = Project::new(&files, &["src"]).await;
    let change = project.next().await;
    let Change::Trouble { service: None, message, hints } = change else { panic!("{change:?}") };
    assert!(message.contains("limit of file watches is reached"), "{message}");
    assert!(hints[0].starts_with("sudo sysctl fs.inotify.max_user_watches="), "{hints:?}");
    for round in ["22", "333"] {
        for file in ["src/a/x.rs", "src/d/x.rs"] {
            project.write(file, round);
            project.until(&[file]).await;
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_systems_limit_is_told_once_and_watching_goes_on() {
    // A user namespace has limits of its own.
    let limit = "echo 3 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
    let test = std::env::current_exe().unwrap();
    let mut few = Command::new("unshare");
    few.args(["--user", "--map-root-user", "sh", "-c", limit, "sh"]).arg(test);
    let ran = few.args(["few_watches", "--exact", "--nocapture"]).env(FEW_WATCHES, "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    if !ran.status.success() && !out.contains("running 1 test") {
        eprintln!("SKIPPED: no user namespace with a limit of its own: {err}");
        return;
    }
    assert!(ran.status.success(), "{out}\n{err}");
}
