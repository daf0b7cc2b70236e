//! Images built by real engines, and what is put into containers and run in them: secrets, configs, hooks.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "this is test code, helpers among it")]

mod engine;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use devctl::advice::Blame;
use devctl::driver::DriverError;
use devctl::driver::docker::{Error, File, Hook, ImageBuild, ImageSpec, PullPolicy, StartSpec};
use devctl::event::Action;
use engine::{IMAGE, Lab, engines};

fn docker_error(error: DriverError) -> Error {
    match error {
        DriverError::Docker(error) => error,
        DriverError::Embedded(_) | DriverError::Process(_) => panic!("{error}"),
    }
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// A build of a folder. Engines for tests may have no network for the commands of a build.
fn build(lab: &Lab, context: &Path) -> ImageSpec {
    let reference = format!("{}:latest", lab.name("built"));
    ImageSpec {
        build: Some(Box::new(ImageBuild {
            context: context.display().to_string(),
            dockerfile: "Dockerfile".to_owned(),
            tags: vec![reference.clone()],
            network: Some("none".to_owned()),
            ..ImageBuild::default()
        })),
        reference,
        platform: None,
        pull: PullPolicy::Missing,
    }
}

fn change(spec: &mut ImageSpec) -> &mut ImageBuild {
    spec.build.as_mut().unwrap()
}

/// Removes an image when the test is over.
async fn forget(lab: &Lab, reference: &str) {
    let options = bollard::query_parameters::RemoveImageOptionsBuilder::default().force(true).build();
    let _ = lab.raw.remove_image(reference, Some(options), None).await;
}

/// What a command in a container of an image prints.
async fn printed(lab: &Lab, image: &str, line: &str) -> Vec<String> {
    let wanted = Some(image.to_owned());
    let spec = lab.container_with("look", line, |body, _| body.image = wanted);
    let running = lab.run(&spec).await;
    running.exit.await;
    let lines = lab.lines("look");
    lab.docker.remove_container(&spec.name).await.unwrap();
    lines
}

#[tokio::test]
async fn a_folder_becomes_an_image() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let text = "ARG BASE\nFROM $BASE AS one\nARG WORD\nRUN echo \"says $WORD\" > /said\nFROM one AS two\nCOPY . /src/\n\
                    FROM one AS three\nRUN false\n";
        let context = folder(&[("Dockerfile", text), ("a.txt", "a"), ("b.log", "b"), (".dockerignore", "*.log")]);
        let mut spec = build(&lab, context.path());
        change(&mut spec).target = Some("two".to_owned());
        change(&mut spec).args =
            BTreeMap::from([("BASE".to_owned(), IMAGE.to_owned()), ("WORD".to_owned(), "hello".to_owned())]);
        change(&mut spec).labels = BTreeMap::from([("com.example".to_owned(), "x=y".to_owned())]);
        lab.docker.ensure_image(&spec, &lab.cx("built", Action::Create)).await.unwrap();
        let seen = lab.raw.inspect_image(&spec.reference).await.unwrap();
        assert_eq!(seen.config.unwrap().labels.unwrap()["com.example"], "x=y");
        let lines = Box::pin(printed(&lab, &spec.reference, "cat /said; ls -A /src")).await;
        assert_eq!(lines, ["says hello", ".dockerignore", "Dockerfile", "a.txt"]);
        let told = lab.lines("built");
        assert!(told.iter().any(|line| line.contains("COPY . /src/")), "{told:#?}");

        // What is there is not built again, unless that is asked for.
        fs::write(context.path().join("Dockerfile"), "FROM nothing\nRUN true").unwrap();
        lab.docker.ensure_image(&spec, &lab.cx("built", Action::Create)).await.unwrap();
        spec.pull = PullPolicy::Build;
        fs::write(context.path().join("Dockerfile"), format!("FROM {IMAGE} AS two\nLABEL made=again")).unwrap();
        lab.docker.ensure_image(&spec, &lab.cx("built", Action::Create)).await.unwrap();
        let again = lab.raw.inspect_image(&spec.reference).await.unwrap();
        assert_ne!(again.id, seen.id);
        forget(&lab, &spec.reference).await;
    }
}

#[tokio::test]
async fn a_dockerfile_without_a_file_is_built_and_not_copied() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let context = folder(&[("a.txt", "a")]);
        let mut spec = build(&lab, context.path());
        change(&mut spec).inline = Some(format!("FROM {IMAGE}\nCOPY . /src/\n"));
        lab.docker.ensure_image(&spec, &lab.cx("built", Action::Create)).await.unwrap();
        let lines = Box::pin(printed(&lab, &spec.reference, "ls -A /src")).await;
        assert!(lines.contains(&"a.txt".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("devctl")), "{lines:?}");
        forget(&lab, &spec.reference).await;
    }
}

#[tokio::test]
async fn what_needs_buildkit_is_built_by_the_engines_own() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let text = format!(
            "# syntax=docker/dockerfile:1\nFROM {IMAGE}\nRUN --mount=type=cache,target=/cache echo one > /said\n\
             RUN --mount=type=tmpfs,target=/t echo two >> /said; echo on the way\n"
        );
        let context = folder(&[("Dockerfile", &text)]);
        let spec = build(&lab, context.path());
        lab.docker.ensure_image(&spec, &lab.cx("built", Action::Create)).await.unwrap();
        assert_eq!(Box::pin(printed(&lab, &spec.reference, "cat /said")).await, ["one", "two"]);
        let told = lab.lines("built");
        assert!(told.iter().any(|line| line.contains("RUN --mount=type=tmpfs")), "{told:#?}");
        forget(&lab, &spec.reference).await;
    }
}

#[tokio::test]
async fn a_build_that_fails_says_at_which_step_and_what_it_printed() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        for mount in ["", "--mount=type=cache,target=/c "] {
            let text = format!("FROM {IMAGE}\nRUN {mount}echo before; echo careful >&2; exit 3\nRUN true");
            let context = folder(&[("Dockerfile", &text)]);
            let spec = build(&lab, context.path());
            let built = lab.docker.ensure_image(&spec, &lab.cx("built", Action::Create)).await;
            let error = docker_error(built.unwrap_err());
            let Error::BuildFailed { step, output, message, .. } = &error else { panic!("{error}") };
            assert_eq!(step.as_deref(), Some(&*format!("RUN {mount}echo before; echo careful >&2; exit 3")), "{error}");
            assert!(message.contains('3'), "{message}");
            for line in ["before", "careful"] {
                assert!(output.iter().any(|said| said == line), "{output:#?}");
            }
            assert!(!output.iter().any(|line| line.contains("RUN true")), "{output:#?}");
            forget(&lab, &spec.reference).await;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_built_is_told_by_name() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let context = folder(&[]);
        let spec = build(&lab, context.path());
        let cx = lab.cx("built", Action::Create);
        let error = docker_error(lab.docker.ensure_image(&spec, &cx).await.unwrap_err());
        let path = context.path().join("Dockerfile");
        assert_eq!(error.to_string(), format!("the image cannot be built: there is no `{}`", path.display()));
        let mut spec = build(&lab, &context.path().join("none"));
        let error = docker_error(lab.docker.ensure_image(&spec, &cx).await.unwrap_err());
        assert!(error.to_string().ends_with("/none` is no folder"), "{error}");
        change(&mut spec).ssh = vec!["default".to_owned()];
        // Where buildx is installed it says for itself what is missing.
        let error = docker_error(lab.docker.ensure_image(&spec, &cx).await.unwrap_err());
        assert!(matches!(error, Error::NeedsBuildx { what: "build.ssh" } | Error::BuildFailed { .. }), "{error}");
    }
}

#[tokio::test]
async fn files_are_there_before_the_first_command_with_their_owners_and_rights() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let spec =
            lab.container("web", "cat /run/secrets/deep/token; stat -c '%u %g %a' /run/secrets/deep/token /plain");
        let cx = lab.cx("web", Action::Create);
        lab.docker.create_container(&spec, &cx).await.unwrap();
        let file =
            |path: &str, owner, mode| File { path: path.to_owned(), content: "s3cret\n".to_owned(), owner, mode };
        let start = StartSpec {
            files: vec![file("/run/secrets/deep/token", Some((7, 8)), 0o440), file("/plain", None, 0o444)],
            ..lab.start_spec("web")
        };
        assert!(!format!("{start:?}").contains("s3cret"), "{start:?}");
        let running = lab.docker.start_container(&start, &cx).await.unwrap();
        running.exit.await;
        assert_eq!(lab.lines("web"), ["s3cret", "7 8 440", "0 0 444"]);
    }
}

#[tokio::test]
async fn hooks_are_run_after_the_start_and_before_the_stop() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let spec = lab.container("web", "trap 'cat /tmp/stopping; exit 0' TERM; sleep 1000 & wait");
        let hook = |line: &str| Hook {
            argv: vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()],
            env: vec!["WORD=said".to_owned()],
            working_dir: Some("/tmp".to_owned()),
            ..Hook::default()
        };
        let cx = lab.cx("web", Action::Create);
        lab.docker.create_container(&spec, &cx).await.unwrap();
        let start = StartSpec {
            post_start: vec![hook("pwd; echo $WORD")],
            pre_stop: vec![hook("echo last words > stopping; exit 4"), hook("echo never")],
            ..lab.start_spec("web")
        };
        let running = lab.docker.start_container(&start, &cx).await.unwrap();
        assert_eq!(lab.lines("web"), ["/tmp", "said"]);
        running.control.stop(std::time::Duration::from_secs(10)).await.unwrap();
        running.exit.await;
        let lines = lab.lines("web");
        assert!(lines.contains(&"last words".to_owned()), "{lines:?}");
        let told = format!("devctl: the pre_stop hook of `{}` ended with exit code 4", spec.name);
        assert!(lines.iter().any(|line| line.starts_with(&told)), "{lines:?}");
        assert!(!lines.contains(&"never".to_owned()), "{lines:?}");
    }
}

#[tokio::test]
async fn a_hook_that_fails_after_the_start_fails_the_start() {
    for env in engines().await {
        let lab = Lab::open(&env).await;
        let spec = lab.container("web", "sleep 1000");
        let cx = lab.cx("web", Action::Create);
        lab.docker.create_container(&spec, &cx).await.unwrap();
        let hook = Hook { argv: vec!["false".to_owned()], ..Hook::default() };
        let start = StartSpec { post_start: vec![hook], ..lab.start_spec("web") };
        let error = docker_error(lab.docker.start_container(&start, &cx).await.map(|_| ()).unwrap_err());
        let expected = format!("the post_start hook of `{}` ended with exit code 1: `false`", spec.name);
        assert_eq!(error.to_string(), expected);
        assert_eq!(devctl::advice::Advice::blame(&error), Blame::Service);
    }
}
