//! Whole projects of several files: what comes of them as one tree, and how mistakes are told.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::load::{Loader, Scope};
use crate::manifest::node::{Kind, Node};
use crate::manifest::problem::{Problem, Sink};
use crate::manifest::source::Sources;
use crate::manifest::{Manifest, Problems, Request};

/// A folder with these files, which goes away with it.
struct Project(TempDir);

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    fn request(&self) -> Request {
        Request::at(&self.path())
    }

    /// The text of something, with the project's folder as `/p`.
    fn shown(&self, text: &dyn std::fmt::Display) -> String {
        text.to_string().replace(&self.path().display().to_string(), "/p")
    }

    fn line(&self) -> String {
        self.line_with(&self.request(), &BTreeMap::new())
    }

    fn line_with(&self, request: &Request, shell: &BTreeMap<String, String>) -> String {
        match tree(request, shell) {
            Ok(tree) => self.shown(&line(&tree)),
            Err(problems) => problems.iter().map(|p| self.shown(&p.message)).collect::<Vec<_>>().join("; "),
        }
    }

    fn problems(&self) -> String {
        let problems = tree(&self.request(), &BTreeMap::new()).expect_err("the files are wrong");
        problems.iter().map(|problem| self.shown(&problem)).collect::<Vec<_>>().join("\n\n")
    }
}

/// The tree that the files make, or the mistakes in them.
fn tree(request: &Request, shell: &BTreeMap<String, String>) -> Result<Node, Vec<Problem>> {
    let (sink, sources) = (Sink::default(), Sources::default());
    let Some(mut found) = super::find(request, shell, &sink, &|_| {}) else { return Err(sink.into_problems()) };
    let files = std::mem::take(&mut found.files);
    let folder = found.working_dir(&files);
    let loader = Loader::new(&sources, &sink, &|_| {}, &found.root, Some("/home/me"), None);
    let layers = files.iter().filter_map(|file| loader.read(file)).collect();
    let env = &found.vars.env;
    let mut tree = loader.model(layers, Scope { folder: &folder, env }, &[]);
    if let Some(tree) = &mut tree {
        loader.env_files(tree, env, |_| true);
    }
    let problems = sink.into_problems();
    if problems.is_empty() { Ok(tree.unwrap()) } else { Err(problems) }
}

fn load(request: &Request, shell: &[(&str, &str)]) -> Result<Manifest, Problems> {
    request.load(&vars(shell))
}

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn line(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "~".to_owned(),
        Kind::List(items) => format!("[{}]", items.iter().map(line).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let entries: Vec<_> = entries.iter().map(|e| format!("{}: {}", e.key, line(&e.value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) | Kind::Datetime => {
            node.scalar_text().unwrap_or_default()
        }
    }
}

#[test]
fn a_service_is_what_it_extends_and_what_it_says() {
    for (files, expected) in [
        (
            &[("compose.yaml", "services: {a: {extends: b, user: me}, b: {image: x, ports: ['1:1']}}")][..],
            "{services: {a: {image: x, ports: [1:1], user: me}, b: {image: x, ports: [1:1]}}}",
        ),
        (
            &[(
                "compose.yaml",
                "services: {a: {extends: {service: b}, ports: ['2:2'], command: [y]}, b: {extends: c, command: x}, c: {image: i, ports: ['1:1'], depends_on: [c]}}",
            )],
            "{services: {a: {image: i, ports: [1:1, 2:2], depends_on: [c], command: [y]}, b: {image: i, ports: [1:1], depends_on: [c], command: x}, c: {image: i, ports: [1:1], depends_on: [c]}}}",
        ),
        // Relative paths are those of the file they are in.
        (
            &[
                ("compose.yaml", "services: {a: {extends: {file: sub/base.yml, service: b}, volumes: ['./m:/m']}}"),
                (
                    "sub/base.yml",
                    "services: {b: {build: ., volumes: ['./x:/x', 'vol:/v'], extends: {file: ../deep/er/b.yml, service: c}}}",
                ),
                ("deep/er/b.yml", "services: {c: {label_file: l, develop: {watch: [{path: w}]}}}"),
                ("deep/er/l", "L=1\n"),
            ],
            "{services: {a: {label_file: [/p/deep/er/l], develop: {watch: [{path: /p/deep/er/w}]}, build: /p/sub, volumes: [/p/sub/x:/x, vol:/v, /p/m:/m], labels: {L: 1}}}}",
        ),
        (
            &[(
                "compose.yaml",
                "services: {a: {extends: b, ports: !reset [], environment: !override {B: 2}}, b: {image: x, ports: ['1:1'], environment: {A: 1}}}",
            )],
            "{services: {a: {image: x, environment: {B: 2}}, b: {image: x, ports: [1:1], environment: {A: 1}}}}",
        ),
        // A later file changes what came of it.
        (
            &[
                ("compose.yaml", "services: {a: {extends: b, ports: ['2:2']}, b: {image: x, ports: ['1:1']}}"),
                ("compose.override.yaml", "services: {a: {image: y, ports: !override ['3:3']}}"),
            ],
            "{services: {a: {image: y, ports: [3:3]}, b: {image: x, ports: [1:1]}}}",
        ),
    ] {
        assert_eq!(Project::new(files).line(), expected);
    }
}

#[test]
fn mistakes_in_extends_are_told_where_they_are() {
    let project = Project::new(&[
        (
            "compose.yaml",
            "services:\n  a: {extends: bb}\n  bd: {image: x}\n  c: {extends: d}\n  d: {extends: {service: e, file: \
             o.yml}}\n  f: {extends: {service: z, file: o.yml}}\n  g: {extends: {service: z, file: gone.yml}}\n  h: \
             {extends: {fle: x}}\n  i: {extends: [x]}\n  j: {extends: {file: 'https://x.y/z.yml', service: a}}\n",
        ),
        ("o.yml", "services:\n  e: {extends: {service: c, file: compose.yaml}}\n"),
    ]);
    insta::assert_snapshot!(project.problems());
}

#[test]
fn a_chain_that_is_too_long_and_one_that_grows_too_large_are_told() {
    let mut text = "services:\n  s0: {image: x}\n".to_owned();
    for i in 1..300 {
        text += &["  s", &i.to_string(), ": {extends: s", &(i - 1).to_string(), "}\n"].concat();
    }
    assert!(Project::new(&[("compose.yaml", &text)]).line().contains("more than 100 services"));
    let list = vec!["x"; 30_000].join(", ");
    let mut text = format!("services:\n  base: {{command: [{list}]}}\n");
    for i in 0..100 {
        text += &["  s", &i.to_string(), ": {extends: base}\n"].concat();
    }
    assert!(Project::new(&[("compose.yaml", &text)]).line().contains("more than 1000000 values"));
}

#[test]
fn what_is_included_keeps_its_folder_and_its_variables() {
    let project = Project::new(&[
        (
            "compose.yaml",
            "include:\n  - db/compose.yaml\n  - {path: [web/a.yml, web/b.yml], project_directory: ., env_file: web.env}\n\
             services: {a: {image: '${TAG:-none}', depends_on: [db]}}\n",
        ),
        (".env", "TAG=main\n"),
        ("db/.env", "TAG=db\nPASS=secret\n"),
        (
            "db/compose.yaml",
            "services: {db: {image: 'db:$TAG-$PASS', volumes: ['./d:/d'], environment: [PASS]}}\nvolumes: {v: }\n",
        ),
        ("web/a.yml", "services: {web: {image: 'web:${PORT}', build: w}}\nsecrets: {s: {file: ./s}}\n"),
        ("web/b.yml", "services: {web: {user: me}}\n"),
        ("web.env", "PORT=80\nTAG=web\n"),
    ]);
    assert_eq!(
        project.line(),
        "{services: {a: {image: main, depends_on: [db]}, db: {image: db:main-secret, volumes: [/p/db/d:/d], environment: \
         [PASS=secret]}, web: {image: web:80, build: /p/w, user: me}}, volumes: {v: ~}, secrets: {s: {file: /p/s}}}"
    );
}

#[test]
fn an_override_file_changes_what_is_included() {
    let project = Project::new(&[
        ("compose.yaml", "include: [inc.yml]\nservices: {a: {image: x}}\n"),
        ("compose.override.yaml", "services: {b: {image: z}}\n"),
        ("inc.yml", "services: {b: {image: y, user: me}}\n"),
    ]);
    assert_eq!(project.line(), "{services: {a: {image: x}, b: {image: z, user: me}}}");
}

#[test]
fn mistakes_in_include_are_told_where_they_are() {
    let project = Project::new(&[
        (
            "compose.yaml",
            "include:\n  - gone.yml\n  - inc.yml\n  - circle.yml\n  - {pth: x}\n  - {path: inc.yml, env_file: gone.env}\n\
             services:\n  b:\n    image: x\nvolumes:\n  v:\n",
        ),
        ("inc.yml", "services: {b: {image: y}}\nvolumes: {v: }\n"),
        ("circle.yml", "include: [further.yml]\n"),
        ("further.yml", "include: [circle.yml]\n"),
    ]);
    insta::assert_snapshot!(project.problems());
}

#[test]
fn files_that_include_each_other_twice_end() {
    let mut files = Vec::new();
    for i in 0..20 {
        let next = format!("f{}.yml", i + 1);
        files.push((format!("f{i}.yml"), format!("include: [{next}, {next}]\n")));
    }
    files.push(("f20.yml".to_owned(), "services: {a: {image: x}}\n".to_owned()));
    files.push(("compose.yaml".to_owned(), "include: [f0.yml]\n".to_owned()));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert!(Project::new(&files).line().contains("made of more than 1000 files"));
}

#[test]
fn files_of_variables_are_read_as_compose_reads_them() {
    let compose = "services:\n  a:\n    env_file: [e.env, {path: no.env, required: false}, {path: raw.env, format: raw}]\n    \
                   environment: {FOO: , OWN: own, N: 1}\n    label_file: [l.env]\n    labels: [own=1, l]\n";
    let project = Project::new(&[
        ("compose.yaml", compose),
        ("e.env", "FOO=file\nX=$OWN-$FOO\nOWN=over\nQ=\"a $X\"\nINH\n"),
        ("raw.env", "RAW=\"q\" $X\nX=raw\n"),
        ("l.env", "own=2\nmore=$own\n"),
    ]);
    assert_eq!(
        project.line(),
        "{services: {a: {environment: {FOO: ~, OWN: own, N: 1, X: raw, Q: a own-file, RAW: \"q\" $X}, label_file: \
         [/p/l.env], labels: {own: 1, l: ~, more: 2}}}}"
    );
    let shell = vars(&[("FOO", "shell"), ("INH", "2")]);
    let line = project.line_with(&project.request(), &shell);
    assert!(line.contains("FOO: shell") && line.contains("INH: 2") && line.contains("Q: a own-shell"), "{line}");
    let missing = Project::new(&[("compose.yaml", "services:\n  a:\n    env_file:\n      - gone.env\n")]);
    insta::assert_snapshot!(missing.problems(), @r"
    error: there is no file `gone.env`
     --> compose.yaml:4:9
      |
    4 |       - gone.env
      |         ^^^^^^^^
      = help: where it may be missing: `{path: gone.env, required: false}`
    ");
}

#[test]
fn paths_of_every_kind_begin_at_the_project() {
    let compose = "services:\n  a:\n    build: {context: c, additional_contexts: {x: ./x, y: 'docker-image://z', z: 'service:b'}, \
                   ssh: [default, k=./key]}\n    volumes: ['~/h:/h', {type: bind, source: ./l, target: /l}, {type: volume, \
                   source: v, target: /v}]\n  b: {build: {target: t}}\n  c: {build: 'https://x.y/z.git'}\nvolumes: {v: \
                   {driver: local, driver_opts: {o: bind, device: ./dev}}}\nconfigs: {c: {file: ./cfg}}\nsecrets: {s: \
                   {environment: TOKEN}}\n";
    let project = Project::new(&[("sub/compose.yaml", compose)]);
    let request = Request { project_directory: Some("sub".into()), ..project.request() };
    assert_eq!(
        project.line_with(&request, &vars(&[("TOKEN", "t")])),
        "{services: {a: {build: {context: /p/sub/c, additional_contexts: {x: /p/sub/x, y: docker-image://z, z: service:b}, \
         ssh: [default, k=/p/sub/key]}, volumes: [/home/me/h:/h, {type: bind, source: /p/sub/l, target: /l}, {type: \
         volume, source: v, target: /v}]}, b: {build: {target: t, context: /p/sub}}, c: {build: https://x.y/z.git}}, \
         volumes: {v: {driver: local, driver_opts: {o: bind, device: /p/sub/dev}}}, configs: {c: {file: /p/sub/cfg}}, \
         secrets: {s: {environment: TOKEN, x-#value: t}}}"
    );
}

#[test]
fn a_folder_with_compose_files_alone_is_a_project() {
    let project = Project::new(&[
        ("My App/docker-compose.yml", "services: {a: {image: '$COMPOSE_PROJECT_NAME'}}\n"),
        ("My App/docker-compose.override.yml", "services: {b: {image: y}}\n"),
        ("My App/deep/er/x", ""),
    ]);
    let request = Request::at(&project.path().join("My App/deep/er"));
    let manifest = load(&request, &[]).unwrap();
    assert_eq!(manifest.root, project.path().join("My App"));
    assert_eq!(manifest.project.as_str(), "myapp");
    assert_eq!(manifest.compose.services[0].image, "myapp");
    assert_eq!(manifest.compose.services.len(), 2);
    assert_eq!(request.root(&BTreeMap::new()).unwrap(), manifest.root);
    let files: Vec<_> = manifest.files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    // One `.env` is where devctl was started, one beside the files.
    assert_eq!(files, ["docker-compose.yml", "docker-compose.override.yml", ".env", ".env"]);
}

#[test]
fn the_first_of_several_names_counts_and_the_others_are_told() {
    let project = Project::new(&[
        ("docker-compose.yml", "services: {a: {image: old}}"),
        ("compose.yaml", "services: {a: {image: new}}"),
    ]);
    let manifest = load(&project.request(), &[]).unwrap();
    assert_eq!(manifest.compose.services[0].image, "new");
    assert_eq!(
        manifest.warnings[0].message,
        "the Compose file is `compose.yaml`; `docker-compose.yml` beside it is not read"
    );
}

#[test]
fn files_are_those_of_the_flags_then_of_the_variable() {
    let project = Project::new(&[
        ("compose.yaml", "services: {a: {image: default}}"),
        ("x/one.yml", "services: {a: {image: one, user: me}}"),
        ("x/two.yml", "services: {a: {image: two}}"),
    ]);
    let image = |request: &Request, shell: &[(&str, &str)]| {
        let manifest = load(request, shell).unwrap();
        let a = &manifest.compose.services[0];
        (a.image.clone(), a.user.clone(), project.shown(&manifest.compose.working_dir.display()))
    };
    let said =
        |image: &str, user: Option<&str>, folder: &str| (image.to_owned(), user.map(str::to_owned), folder.to_owned());
    let plain = project.request();
    assert_eq!(image(&plain, &[]), said("default", None, "/p"));
    let variable = [("COMPOSE_FILE", "x/two.yml:x/one.yml")];
    assert_eq!(image(&plain, &variable), said("one", Some("me"), "/p/x"));
    let separated = [("COMPOSE_FILE", "x/one.yml;x/two.yml"), ("COMPOSE_PATH_SEPARATOR", ";")];
    assert_eq!(image(&plain, &separated), said("two", Some("me"), "/p/x"));
    let flags = Request { files: vec!["compose.yaml".to_owned(), "x/one.yml".to_owned()], ..plain.clone() };
    assert_eq!(image(&flags, &variable), said("one", Some("me"), "/p"));
    let piped = Request {
        files: vec!["-".to_owned(), "x/two.yml".to_owned()],
        standard_input: Some("services: {a: {user: piped}}".to_owned()),
        ..plain.clone()
    };
    assert_eq!(image(&piped, &[]), said("two", Some("piped"), "/p/x"));
    let elsewhere = Request { project_directory: Some("x".into()), ..flags };
    assert_eq!(image(&elsewhere, &[]), said("one", Some("me"), "/p/x"));
    let gone = Request { files: vec!["gone.yml".to_owned()], ..plain };
    let problems = load(&gone, &[]).unwrap_err();
    insta::assert_snapshot!(project.shown(&problems.0[0]), @r"
    error: there is no file `gone.yml`
     --> /p/gone.yml
      = help: `--file` names it
    ");
}

#[test]
fn the_name_is_decided_in_composes_order() {
    let files =
        [("shop/compose.yaml", "name: ${N:-In_File}\nservices: {a: {image: x}}"), ("shop/o.yml", "name: last\n")];
    let project = Project::new(&files);
    let at = Request::at(&project.path().join("shop"));
    let name = |request: &Request, shell: &[(&str, &str)]| {
        load(request, shell).map(|manifest| manifest.project.to_string()).map_err(|p| p.0[0].message.clone())
    };
    let ok = |name: &str| Ok(name.to_owned());
    assert_eq!(name(&at, &[]), ok("in_file"));
    assert_eq!(name(&at, &[("N", "other")]), ok("other"));
    assert_eq!(name(&at, &[("COMPOSE_PROJECT_NAME", "env")]), ok("env"));
    let flag = Request { project_name: Some("flag".to_owned()), ..at.clone() };
    assert_eq!(name(&flag, &[("COMPOSE_PROJECT_NAME", "env")]), ok("flag"));
    let both = Request { files: vec!["compose.yaml".to_owned(), "o.yml".to_owned()], ..at.clone() };
    assert_eq!(name(&both, &[]), ok("last"));
    let bad = Request { project_name: Some("My Shop".to_owned()), ..at.clone() };
    assert!(name(&bad, &[]).unwrap_err().contains("must begin with a lowercase letter"));
    assert!(name(&at, &[("COMPOSE_PROJECT_NAME", "Env")]).is_err());
}

#[test]
fn variables_come_from_the_shell_and_from_files_in_composes_order() {
    let compose = "services: {a: {image: '$A-$B-$C'}}\n";
    let project = Project::new(&[
        ("compose.yaml", compose),
        (".env", "A=env\nB=env\nC=env\n"),
        ("one.env", "A=one\nB=one\n"),
        ("two.env", "B=two\nC=$A\n"),
        ("sub/.env", "A=sub\n"),
        ("off/compose.yaml", compose),
        ("off/.env", "A=1\nCOMPOSE_DISABLE_ENV_FILE=1\nCOMPOSE_PROFILES=a, b\n"),
        ("bad/compose.yaml", compose),
        ("bad/.env", "A=1\nB='\n"),
    ]);
    let image = |request: &Request, shell: &[(&str, &str)]| {
        load(request, shell).map(|manifest| manifest.compose.services[0].image.clone())
    };
    let plain = project.request();
    assert_eq!(image(&plain, &[("B", "shell")]).unwrap(), "env-shell-env");
    let chosen = Request { env_files: vec!["one.env".to_owned(), "two.env".to_owned()], ..plain.clone() };
    assert_eq!(image(&chosen, &[]).unwrap(), "one-two-one");
    assert_eq!(image(&plain, &[("COMPOSE_ENV_FILES", "two.env,one.env")]).unwrap(), "one-one-");
    assert_eq!(image(&plain, &[("COMPOSE_DISABLE_ENV_FILE", "true")]).unwrap(), "--");
    let below = Request::at(&project.path().join("sub"));
    assert_eq!(image(&below, &[]).unwrap(), "sub-env-env");
    let off = Request::at(&project.path().join("off"));
    assert_eq!(image(&off, &[]).unwrap(), "--");
    assert_eq!(load(&off, &[]).unwrap().profiles, ["a", "b"]);
    let gone = Request { env_files: vec!["gone.env".to_owned()], ..plain };
    assert_eq!(image(&gone, &[]).unwrap_err().0[0].message, "there is no such file");
    let bad = Request::at(&project.path().join("bad"));
    assert_eq!(image(&bad, &[]).unwrap_err().0[0].at, Some((2, 3)));
}

#[test]
fn a_devctl_toml_counts_unless_compose_files_are_nearer_or_flags_say_otherwise() {
    let toml =
        "[project]\nname = \"whole\"\n[containers]\ncompose = \"db/compose.yaml\"\n[services.api]\ncommand = \"x\"\n";
    let project = Project::new(&[
        ("devctl.toml", toml),
        ("db/compose.yaml", "services: {db: {image: x}}"),
        ("other/compose.yaml", "services: {o: {image: x}}"),
    ]);
    let at = |folder: &str, files: &[&str]| {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let request = Request { files, ..Request::at(&project.path().join(folder)) };
        let manifest = load(&request, &[("COMPOSE_FILE", "nowhere.yml")][..usize::from(folder != "other")]);
        let manifest = manifest.unwrap();
        let services: Vec<_> = manifest.compose.services.keys().map(ToString::to_string).collect();
        (manifest.project.to_string(), services.join(","), manifest.services.len())
    };
    let said = |name: &str, services: &str, programs| (name.to_owned(), services.to_owned(), programs);
    assert_eq!(at("", &[]), said("whole", "db", 1));
    assert_eq!(at("db", &[]), said("whole", "db", 1));
    assert_eq!(at("other", &[]), said("other", "o", 0));
    assert_eq!(at("", &["other/compose.yaml"]), said("whole", "o", 1));
}

#[test]
fn secrets_and_configs_of_variables_have_the_values_of_the_project_they_are_in() {
    let project = Project::new(&[
        (
            "compose.yaml",
            "include: [sub/compose.yaml]\nservices: {a: {image: x, secrets: [own, theirs], configs: [own]}}\nsecrets: {own: \
             {environment: V}}\nconfigs: {own: {environment: V}}\n",
        ),
        ("sub/compose.yaml", "services: {b: {image: x}}\nsecrets: {theirs: {environment: V}}\n"),
        ("sub/.env", "V=theirs\n"),
        (".env", "W=1\n"),
    ]);
    let manifest = load(&project.request(), &[]).unwrap();
    assert_eq!(manifest.compose.secrets["theirs"].value.as_deref(), Some("theirs"));
    assert_eq!(manifest.compose.secrets["own"].value, None);
    let manifest = load(&project.request(), &[("V", "shell")]).unwrap();
    assert_eq!(manifest.compose.secrets["theirs"].value.as_deref(), Some("shell"));
    assert_eq!(manifest.compose.configs["own"].value.as_deref(), Some("shell"));
    assert!(manifest.compose.configs["own"].extensions.0.is_empty());
}

#[test]
fn the_files_of_labels_are_hashed_and_not_shown() {
    let project = Project::new(&[("compose.yaml", "services: {a: {image: x, label_file: l}}"), ("l", "L=1\n")]);
    let manifest = load(&project.request(), &[]).unwrap();
    let a = &manifest.compose.services[0];
    assert_eq!(a.labels["L"], "1");
    let hashed = project.shown(&a.hashed(super::HashDialect::V2).compact_json());
    assert!(hashed.contains(r#""labels":{"L":"1"},"label_file":["/p/l"]"#), "{hashed}");
    let shown = manifest.compose.select("p", &[], &[]).unwrap().canonical(super::Form::Yaml);
    assert!(!shown.compact_json().contains("label_file"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_loading_panic(
        base in prop::collection::vec(any::<u8>(), 0..200),
        env in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let project = Project::new(&[]);
        fs::write(project.path().join("compose.yaml"), base).unwrap();
        fs::write(project.path().join(".env"), env).unwrap();
        let _ = load(&project.request(), &[]);
    }

    #[test]
    fn no_two_files_make_loading_panic(
        keys in prop::collection::vec(prop::sample::select(KEYS), 4),
        values in prop::collection::vec(prop::sample::select(VALUES), 4),
        tags in prop::collection::vec(prop::sample::select(vec!["", "!reset ", "!override "]), 4),
    ) {
        let service = |i: usize| format!("{}: {}{}, ", keys[i], tags[i], values[i]);
        let file = |i: usize| format!("services: {{a: {{{}x-y: 1}}, b: {{{}extends: a}}}}", service(i), service(i + 1));
        let project = Project::new(&[("compose.yaml", &file(0)), ("compose.override.yml", &file(2))]);
        let _ = load(&project.request(), &[]);
    }
}

const KEYS: &[&str] = &[
    "build",
    "command",
    "configs",
    "depends_on",
    "deploy",
    "develop",
    "devices",
    "dns",
    "env_file",
    "environment",
    "extends",
    "extra_hosts",
    "healthcheck",
    "image",
    "label_file",
    "labels",
    "logging",
    "networks",
    "ports",
    "profiles",
    "secrets",
    "tmpfs",
    "ulimits",
    "volumes",
];

const VALUES: &[&str] = &[
    "1",
    "true",
    "''",
    "'a=b'",
    "'./a:/b:ro'",
    "'${'",
    "'$A'",
    "[]",
    "['']",
    "['a:b:c:d']",
    "[1, 1]",
    "[[1]]",
    "[{target: 1}, {target: 1}]",
    "{}",
    "{a: 1}",
    "{a: {b: [c]}}",
    "{file: compose.yaml, service: a}",
    "~",
    "{a: ~}",
    "[{path: x}]",
    "{driver: x}",
    "{context: 1}",
    "{watch: [{path: .}]}",
    "[a, a=1, ~]",
];
