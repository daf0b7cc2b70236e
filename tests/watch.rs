//! Changes of real files, noticed as the system tells of them. That something is no change is shown by one that follows:
//! what is told then names that one alone.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test program: a panic is its report")]

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
    watcher: Watcher,
    watched: Vec<Watched>,
    manifest: Vec<PathBuf>,
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
        let manifest: Vec<PathBuf> = manifest.iter().map(|file| folder.path().join(file)).collect();
        let watcher = Watcher::start(vec![api.clone()], manifest.clone(), how).await.unwrap();
        let project = Self { folder, watcher, watched: vec![api], manifest };
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

    async fn next(&mut self) -> Change {
        next(&mut self.watcher).await
    }

    /// The next change of `api`: its files, relative to the project, and how many more there are.
    async fn change(&mut self) -> (Vec<String>, usize) {
        let change = self.next().await;
        let Change::Service { service, paths, more } = change else { panic!("{change:?}") };
        assert_eq!(service, api());
        (paths.iter().map(|path| relative(self.folder.path(), path)).collect(), more)
    }

    /// The files of the next change.
    async fn changed(&mut self) -> Vec<String> {
        let (paths, more) = self.change().await;
        assert_eq!(more, 0);
        paths
    }
}

async fn next(watcher: &mut Watcher) -> Change {
    tokio::time::timeout(DEADLINE, watcher.next()).await.expect("a change is told")
}

fn api() -> ServiceName {
    "api".parse().unwrap()
}

fn relative(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[tokio::test]
async fn an_edit_is_told_once_with_its_files() {
    let mut project = Project::new(&[("src/main.rs", "1"), ("src/lib.rs", "1")], &["src"]).await;
    project.write("src/main.rs", "2");
    project.write("src/lib.rs", "2");
    project.write("src/main.rs", "3");
    project.write("README.md", "beside what is watched");
    assert_eq!(project.changed().await, ["src/lib.rs", "src/main.rs"]);
    project.write("src/main.rs", "4");
    assert_eq!(project.changed().await, ["src/main.rs"]);
}

#[tokio::test]
async fn editors_save_in_their_own_ways() {
    let mut project = Project::new(&[("src/main.rs", "1")], &["src"]).await;
    let (file, folder) = (project.path("src/main.rs"), project.path("src"));
    // Vim: a swap file, a test whether it may write, the old file moved away, a new one in its place.
    write(&folder.join(".main.rs.swp"), "swap");
    write(&folder.join("4913"), "");
    fs::remove_file(folder.join("4913")).unwrap();
    fs::rename(&file, folder.join("main.rs~")).unwrap();
    write(&file, "by vim");
    fs::remove_file(folder.join("main.rs~")).unwrap();
    assert_eq!(project.changed().await, ["src/main.rs"]);
    // Many others: a temporary file that takes the name of the old one.
    write(&folder.join(".main.rs.tmp.4711"), "in one step");
    fs::rename(folder.join(".main.rs.tmp.4711"), &file).unwrap();
    assert_eq!(project.changed().await, ["src/main.rs"]);
    // VS Code, nano: the same file, cut and written again.
    write(&file, "in place");
    assert_eq!(project.changed().await, ["src/main.rs"]);
}

#[tokio::test]
async fn folders_come_go_and_come_back() {
    let mut project = Project::new(&[("src/a/one.rs", "1"), ("src/b/two.rs", "1")], &["src"]).await;
    // A new one, with files in it at once, and with files later.
    project.write("src/new/deep/er/x.rs", "1");
    assert_eq!(project.changed().await, ["src/new/deep/er/x.rs"]);
    project.write("src/new/deep/er/y.rs", "1");
    assert_eq!(project.changed().await, ["src/new/deep/er/y.rs"]);
    // Removed and made again in one go, as `git checkout` does.
    fs::remove_dir_all(project.path("src/a")).unwrap();
    project.write("src/a/one.rs", "2");
    assert_eq!(project.changed().await, ["src/a/one.rs"]);
    project.write("src/a/one.rs", "3");
    assert_eq!(project.changed().await, ["src/a/one.rs"]);
    // Renamed: its files are gone here and new there.
    fs::rename(project.path("src/b"), project.path("src/c")).unwrap();
    assert_eq!(project.changed().await, ["src/b/two.rs", "src/c/two.rs"]);
    project.write("src/c/two.rs", "2");
    assert_eq!(project.changed().await, ["src/c/two.rs"]);
    // All of it, and back.
    fs::remove_dir_all(project.path("src")).unwrap();
    assert_eq!(
        project.changed().await,
        ["src/a/one.rs", "src/c/two.rs", "src/new/deep/er/x.rs", "src/new/deep/er/y.rs"]
    );
    project.write("src/a/one.rs", "1");
    assert_eq!(project.changed().await, ["src/a/one.rs"]);
    project.write("src/a/one.rs", "2");
    assert_eq!(project.changed().await, ["src/a/one.rs"]);
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
    for path in [
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
    ] {
        project.write(path, "ignored");
    }
    project.write("src/main.rs", "2");
    assert_eq!(project.changed().await, ["src/main.rs"]);
    // What is no longer ignored is watched from now on; that it came to be is no change of it.
    project.write(".gitignore", "");
    project.write("src/main.rs", "3");
    assert_eq!(project.changed().await, ["src/main.rs"]);
    project.write("a.log", "watched");
    assert_eq!(project.changed().await, ["a.log"]);
    project.write("src/deep/b.log", "watched");
    assert_eq!(project.changed().await, ["src/deep/b.log"]);
    // And the other way round.
    project.write("src/.ignore", "deep\n");
    project.write("src/main.rs", "4");
    assert_eq!(project.changed().await, ["src/main.rs"]);
    project.write("src/deep/b.log", "ignored");
    project.write("src/main.rs", "5");
    assert_eq!(project.changed().await, ["src/main.rs"]);
}

#[tokio::test]
async fn only_content_counts() {
    let mut project = Project::new(&[("src/main.rs", "1"), ("src/lib.rs", "1"), ("src/run.sh", "1")], &["src"]).await;
    project.write("src/main.rs", "1");
    fs::File::options().append(true).open(project.path("src/lib.rs")).unwrap().set_modified(SystemTime::now()).unwrap();
    fs::set_permissions(project.path("src/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::read(project.path("src/run.sh")).unwrap();
    project.write("src/new.rs", "1");
    assert_eq!(project.changed().await, ["src/new.rs"]);
    // There and back within one burst.
    project.write("src/main.rs", "2");
    project.write("src/main.rs", "1");
    project.write("src/new.rs", "2");
    assert_eq!(project.changed().await, ["src/new.rs"]);
}

#[tokio::test]
async fn a_storm_is_told_in_few_words() {
    let files = [("Cargo.toml", ""), ("src/main.rs", "1")];
    let mut project = Project::new(&files, &["."]).await;
    for n in 0..10_000 {
        project.write(&format!("target/debug/deps/{n}.o"), "ignored");
    }
    project.write("src/main.rs", "2");
    assert_eq!(project.changed().await, ["src/main.rs"]);
    let all = 10_000;
    for n in 0..all {
        project.write(&format!("generated/{}/{n}.rs", n / 100), "1");
    }
    let mut told = 0;
    while told < all {
        let (paths, more) = project.change().await;
        assert!(paths.len() <= 20, "{paths:?}");
        told += paths.len() + more;
    }
    // All of it is watched, and nothing was lost on the way.
    project.write("generated/42/4242.rs", "2");
    assert_eq!(project.changed().await, ["generated/42/4242.rs"]);
    fs::remove_dir_all(project.path("generated")).unwrap();
    let mut gone = 0;
    while gone < all {
        let (paths, more) = project.change().await;
        gone += paths.len() + more;
    }
    assert_eq!(gone, all);
}

#[tokio::test]
async fn a_path_that_is_not_there_yet_is_found() {
    let mut project = Project::new(&[], &["later/on/src", "config.yaml"]).await;
    project.write("later/other.rs", "not watched");
    project.write("config.yaml", "1");
    assert_eq!(project.changed().await, ["config.yaml"]);
    project.write("later/on/src/main.rs", "1");
    assert_eq!(project.changed().await, ["later/on/src/main.rs"]);
    project.write("later/on/src/deep/lib.rs", "1");
    assert_eq!(project.changed().await, ["later/on/src/deep/lib.rs"]);
    // With the folders above it, away and back.
    fs::rename(project.path("later"), project.path("away")).unwrap();
    assert_eq!(project.changed().await, ["later/on/src/deep/lib.rs", "later/on/src/main.rs"]);
    project.write("away/on/src/main.rs", "elsewhere");
    fs::rename(project.path("away"), project.path("later")).unwrap();
    assert_eq!(project.changed().await, ["later/on/src/deep/lib.rs", "later/on/src/main.rs"]);
    project.write("later/on/src/main.rs", "3");
    assert_eq!(project.changed().await, ["later/on/src/main.rs"]);
    fs::remove_file(project.path("config.yaml")).unwrap();
    assert_eq!(project.changed().await, ["config.yaml"]);
}

#[tokio::test]
async fn links_are_followed_only_where_they_are_named() {
    let outside = tempfile::tempdir().unwrap();
    write(&outside.path().join("shared/x.rs"), "1");
    write(&outside.path().join("other/y.rs"), "1");
    let mut project = Project::new(&[("src/main.rs", "1")], &["src", "linked"]).await;
    symlink(outside.path().join("shared"), project.path("linked")).unwrap();
    assert_eq!(project.changed().await, ["linked/x.rs"]);
    write(&outside.path().join("shared/x.rs"), "2");
    assert_eq!(project.changed().await, ["linked/x.rs"]);
    // A link inside: that it points there counts, what happens there does not.
    symlink(outside.path().join("other"), project.path("src/other")).unwrap();
    assert_eq!(project.changed().await, ["src/other"]);
    write(&outside.path().join("other/y.rs"), "2");
    project.write("src/main.rs", "2");
    assert_eq!(project.changed().await, ["src/main.rs"]);
    // The named link points elsewhere now.
    fs::remove_file(project.path("linked")).unwrap();
    symlink(outside.path().join("other"), project.path("linked")).unwrap();
    let changed = project.changed().await;
    assert!(changed.contains(&"linked/y.rs".to_owned()), "{changed:?}");
    write(&outside.path().join("other/y.rs"), "3");
    assert_eq!(project.changed().await, ["linked/y.rs"]);
}

#[tokio::test]
async fn files_of_the_project_are_told_by_name() {
    let files = [("devctl.toml", "1"), ("shared/common.env", "A=1"), ("compose/docker-compose.yml", "1")];
    let manifest = ["devctl.toml", "compose/docker-compose.yml", ".env", "deploy/later.env", "linked.env"];
    let mut project = Project::with(&files, &[], &[], &manifest, How::Notified).await;
    let manifest = |project: &Project, change: Change| {
        let Change::Manifest { paths } = change else { panic!("{change:?}") };
        paths.iter().map(|path| relative(project.folder.path(), path)).collect::<Vec<_>>()
    };
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
        let change = project.next().await;
        assert_eq!(manifest(&project, change), told);
    }
    symlink("shared/common.env", project.path("linked.env")).unwrap();
    let change = project.next().await;
    assert_eq!(manifest(&project, change), ["linked.env"]);
    project.write("shared/common.env", "A=2");
    let change = project.next().await;
    assert_eq!(manifest(&project, change), ["linked.env"]);
    // By a temporary file, as editors do, and by its end.
    project.write("devctl.toml.tmp", "3");
    fs::rename(project.path("devctl.toml.tmp"), project.path("devctl.toml")).unwrap();
    let change = project.next().await;
    assert_eq!(manifest(&project, change), ["devctl.toml"]);
    fs::remove_file(project.path(".env")).unwrap();
    let change = project.next().await;
    assert_eq!(manifest(&project, change), [".env"]);
}

#[tokio::test]
async fn a_paused_service_hears_of_its_changes_after() {
    let files = [("Cargo.toml", "[package]"), ("Cargo.lock", "1"), ("src/main.rs", "1"), ("web/app.js", "1")];
    let mut project = Project::new(&files, &["src"]).await;
    let cargo = project.watched[0].clone().cargo();
    let web = Watched::new("web".parse().unwrap(), project.path("web"), vec![".".into()]);
    project.watched = vec![cargo, web];
    project.settled().await;
    project.settled().await;

    project.watcher.pause(&api());
    project.write("src/main.rs", "2");
    // The build's own.
    project.write("Cargo.lock", "2");
    // The other service is told meanwhile: by then the change of the first was looked at as well.
    project.write("web/app.js", "2");
    let change = project.next().await;
    assert!(matches!(&change, Change::Service { service, .. } if service.as_str() == "web"), "{change:?}");
    project.watcher.resume(&api());
    assert_eq!(project.changed().await, ["src/main.rs"]);

    // Without a build they are the developer's.
    project.write("Cargo.lock", "3");
    assert_eq!(project.changed().await, ["Cargo.lock"]);
    project.write("Cargo.toml", "[package] # a dependency");
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
            Change::Service { service, .. } => {
                restarts += 1;
                assert!(restarts < 20, "it restarts for ever");
                project.watcher.pause(&service);
                project.write("src/version.txt", &format!("start {restarts}"));
                project.watcher.resume(&service);
            }
            Change::Trouble { service, message, hints } => {
                assert_eq!(service, Some(api()));
                break (message, hints.join("\n"));
            }
            other @ Change::Manifest { .. } => panic!("{other:?}"),
        }
    };
    assert_eq!(restarts, 5);
    assert!(message.contains("`src/version.txt`") && message.contains("watched again in 10 s"), "{message}");
    assert!(hints.contains("ignore = [\"/src/version.txt\"]"), "{hints}");
    // Somebody is at work: that is told at once.
    project.write("src/main.rs", "2");
    assert_eq!(project.changed().await, ["src/main.rs", "src/version.txt"]);
    // What the hint says helps.
    project.watched[0].ignore = vec!["/src/version.txt".to_owned()];
    project.settled().await;
    project.settled().await;
    project.write("src/version.txt", "ignored");
    project.write("src/main.rs", "3");
    assert_eq!(project.changed().await, ["src/main.rs"]);
}

#[tokio::test]
async fn files_are_looked_at_where_nothing_tells() {
    let files = [(".git/HEAD", ""), (".gitignore", "*.log"), ("src/main.rs", "1"), (".env", "A=1")];
    let how = How::Polling { every: Duration::from_millis(20) };
    let mut project = Project::with(&files, &[".", "src"], &[], &[".env"], how).await;
    project.write("a.log", "ignored");
    project.write("src/main.rs", "1");
    project.write("src/new/lib.rs", "1");
    assert_eq!(project.changed().await, ["src/new/lib.rs"]);
    fs::remove_dir_all(project.path("src/new")).unwrap();
    assert_eq!(project.changed().await, ["src/new/lib.rs"]);
    fs::rename(project.path("src"), project.path("lib")).unwrap();
    assert_eq!(project.changed().await, ["lib/main.rs", "src/main.rs"]);
    project.write(".gitignore", "");
    project.write("lib/main.rs", "22");
    let changed = project.changed().await;
    assert!(changed.contains(&"lib/main.rs".to_owned()), "{changed:?}");
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
            assert_eq!(project.changed().await, [file]);
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
