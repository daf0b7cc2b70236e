//! What can be typed, what it means, and how the help reads.

use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Command, change, db, down, kill, logs, ps, restart, scale, start, stop, up, wait};
use crate::logs::level::Level;
use crate::manifest::DriverChoice;
use crate::name::ServiceName;
use crate::plan::{Orphans, Policy, Pull, Recreate};
use crate::report::Format;
use crate::stack::Selection;

fn parse(line: &str) -> Command {
    Cli::try_parse_from(shell_words::split(line).unwrap()).unwrap().command
}

fn refused(line: &str) -> clap::Error {
    let error = Cli::try_parse_from(shell_words::split(line).unwrap()).expect_err(line);
    assert_eq!(error.exit_code(), 2, "{line}");
    error
}

fn invocation(line: &str) -> up::Invocation {
    match parse(line) {
        Command::Up(args) => args.invocation(),
        command => panic!("{command:?}"),
    }
}

fn up(line: &str) -> up::Settings {
    invocation(line).settings
}

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn up_alone_means_everything() {
    assert_eq!(
        up("devctl up"),
        up::Settings {
            selection: Selection::default(),
            driver: None,
            skip_docker: false,
            timeout: None,
            keep: false,
            policy: Policy::default()
        }
    );
}

#[test]
fn up_takes_all_its_flags() {
    let line = "devctl up db api --no-deps --driver embedded --dry-run --format json --timeout 1m30s --keep";
    assert_eq!(
        up(line),
        up::Settings {
            selection: Selection {
                services: vec!["db".parse().unwrap(), "api".parse().unwrap()],
                groups: vec![],
                no_deps: true,
                ..Selection::default()
            },
            driver: Some(DriverChoice::Embedded),
            skip_docker: false,
            timeout: Some(Duration::from_secs(90)),
            keep: true,
            policy: Policy { named: vec!["db".parse().unwrap(), "api".parse().unwrap()], ..Policy::default() },
        }
    );
    let how = invocation(line);
    assert_eq!((how.dry_run, how.format, how.detach, how.wait), (true, Format::Json, false, true));
    let how = invocation("devctl up -d --no-wait");
    assert_eq!((how.dry_run, how.format, how.detach, how.wait), (false, Format::Auto, true, false));
    let how = invocation("devctl up --wait --wait-timeout 20");
    assert_eq!((how.detach, how.wait, how.settings.timeout), (true, true, Some(Duration::from_secs(20))));
    let up::Settings { policy, selection, .. } =
        up("devctl up --no-recreate --remove-orphans --scale db=3 --pull never -t 7 --yes");
    assert_eq!(selection.scale, [("db".parse().unwrap(), 3)].into());
    let expected = Policy {
        recreate: Recreate::Never,
        recreate_others: Recreate::Never,
        lose_data: true,
        stop_timeout: Some(7),
        orphans: Orphans::Remove,
        pull: Some(Pull::Never),
        ..Policy::default()
    };
    assert_eq!(policy, expected);
    for (line, recreate, others, renew) in [
        ("devctl up --force-recreate", Recreate::Force, Recreate::Diverged, false),
        ("devctl up -V", Recreate::Force, Recreate::Diverged, true),
        ("devctl up --always-recreate-deps", Recreate::Diverged, Recreate::Force, false),
    ] {
        let policy = up(line).policy;
        assert_eq!(
            (policy.recreate, policy.recreate_others, policy.renew_volumes),
            (recreate, others, renew),
            "{line}"
        );
    }
    assert_eq!(up("devctl up --api-only").selection.groups, ["api"]);
    assert_eq!(up("devctl up --ws-only --skip-docker").selection.groups, ["ws"]);
}

#[test]
fn every_command_takes_composes_global_flags() {
    let global = |line: &str| Cli::try_parse_from(shell_words::split(line).unwrap()).unwrap().global;
    let before = global("devctl -f a.yml -f - -p shop --profile ai --env-file .env.ci up --profile x");
    assert_eq!((before.files_before, before.project_name_before.as_deref()), (strings(&["a.yml", "-"]), Some("shop")));
    assert_eq!(before.env_files, [".env.ci"]);
    let behind = global("devctl logs -f --file a.yml --file b.yml --project-name shop --project-directory x");
    assert_eq!((behind.files, behind.project_name.as_deref()), (strings(&["a.yml", "b.yml"]), Some("shop")));
    assert_eq!(behind.project_directory.as_deref(), Some(std::path::Path::new("x")));
    assert_eq!(global("devctl up --profile ai --profile x").profiles, ["ai", "x"]);
    assert!(behind.files_before.is_empty());
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn contradictions_and_mistakes_are_usage_errors() {
    for line in [
        "devctl up --api-only --ws-only",
        "devctl up --force-recreate --no-recreate",
        "devctl up -V --no-recreate",
        "devctl up --scale db",
        "devctl up --timeout 5s --wait-timeout 5",
        "devctl up --api-only db",
        "devctl up --ws-only db",
        "devctl up --no-deps",
        "devctl up --no-wait",
        "devctl up --skip-docker --driver docker",
        "devctl up --timeout soon",
        "devctl up --timeout 0",
        "devctl up '../etc'",
        "devctl kill -s SIGFOO api",
        "devctl scale",
        "devctl scale api",
        "devctl scale api=-1",
        "devctl scale api=101",
        "devctl wait --for ever",
        "devctl wait --timeout 0",
        "devctl up '$(reboot)'",
        "devctl logs --tail -1",
        "devctl logs --tail some",
        "devctl logs --since yesterday",
        "devctl logs --grep '('",
        "devctl logs --level blue",
        "devctl logs -f --previous",
        "devctl logs -f --until 1m",
        "devctl db",
        "devctl completions cmd",
        "devctl nonsense",
        "devctl",
    ] {
        refused(line);
    }
    let error = refused("devctl up '$(reboot)'").to_string();
    assert!(error.contains("must begin with a letter or a digit"), "{error}");
}

fn logs(line: &str) -> logs::Settings {
    match parse(line) {
        Command::Logs(args) => args.settings(),
        command => panic!("{command:?}"),
    }
}

#[test]
fn logs_takes_all_its_flags() {
    let settings = logs("devctl logs");
    assert_eq!((settings.tail, settings.follow, settings.services.len()), (Some(100), false, 0));
    assert_eq!(settings.form, logs::Form::Text { prefix: true, times: false });
    let settings =
        logs("devctl logs -f -n 5 --since 2026-11-20T08:00:00Z --service web --service api -t --no-prefix api db");
    let names: Vec<&str> = settings.services.iter().map(ServiceName::as_str).collect();
    assert_eq!((names, settings.tail, settings.follow), (vec!["api", "db", "web"], Some(5), true));
    assert_eq!(settings.since, Some("2026-11-20T08:00:00Z".parse().unwrap()));
    assert_eq!(settings.form, logs::Form::Text { prefix: false, times: true });
    let settings = logs("devctl logs --previous --grep '^a|b$' --level WARNING --json --until 10m");
    assert_eq!((settings.tail, settings.previous, settings.level), (None, true, Some(Level::Warn)));
    assert_eq!(settings.grep.map(|grep| grep.to_string()).as_deref(), Some("^a|b$"));
    assert!(settings.until.is_some_and(|until| until < jiff::Timestamp::now()));
    assert_eq!(settings.form, logs::Form::Json);
    assert_eq!(logs("devctl logs --tail all").tail, None);
    assert_eq!(logs("devctl logs --tail 7 --since 1h").tail, Some(7));
}

#[test]
fn the_other_commands_take_theirs() {
    match parse("devctl down -v --yes") {
        Command::Down(args) => assert_eq!(
            args.settings(),
            down::Settings { volumes: true, yes: true, rmi: None, remove_orphans: false, timeout: None }
        ),
        command => panic!("{command:?}"),
    }
    match parse("devctl ps --format json --stats") {
        Command::Ps(args) => {
            let settings = args.settings();
            assert_eq!((settings.format, settings.stats, settings.orphans), (ps::Format::Json, true, true));
        }
        command => panic!("{command:?}"),
    }
    match parse("devctl db shell -c 'select 1' -c '-- two'") {
        Command::Db(args) => {
            let commands = vec!["select 1".to_owned(), "-- two".to_owned()];
            assert_eq!(args.settings(), db::Settings::Shell { commands });
        }
        command => panic!("{command:?}"),
    }
}

#[test]
fn the_commands_for_what_runs_take_theirs() {
    let (api, db): (ServiceName, ServiceName) = ("api".parse().unwrap(), "db".parse().unwrap());
    let services = || vec![api.clone(), db.clone()];
    match parse("devctl start api db") {
        Command::Start(args) => {
            assert_eq!(args.settings(), start::Settings { services: services(), format: change::Format::Text });
        }
        command => panic!("{command:?}"),
    }
    match parse("devctl stop --format json") {
        Command::Stop(args) => {
            assert_eq!(
                args.settings(),
                stop::Settings { services: vec![], timeout: None, format: change::Format::Json }
            );
        }
        command => panic!("{command:?}"),
    }
    match parse("devctl restart -b api db") {
        Command::Restart(args) => assert_eq!(
            args.settings(),
            restart::Settings {
                services: services(),
                build: true,
                no_deps: false,
                timeout: None,
                format: change::Format::Text
            }
        ),
        command => panic!("{command:?}"),
    }
    match parse("devctl kill -s usr1 api db") {
        Command::Kill(args) => assert_eq!(
            args.settings(),
            kill::Settings {
                services: services(),
                signal: "SIGUSR1".parse().unwrap(),
                remove_orphans: false,
                format: change::Format::Text
            }
        ),
        command => panic!("{command:?}"),
    }
    match parse("devctl scale api=3 db=0") {
        Command::Scale(args) => {
            let wanted = vec![
                scale::Wanted { service: api.clone(), replicas: 3 },
                scale::Wanted { service: db.clone(), replicas: 0 },
            ];
            assert_eq!(args.settings(), scale::Settings { wanted, format: change::Format::Text });
        }
        command => panic!("{command:?}"),
    }
    match parse("devctl wait api db --for stopped --timeout 90s") {
        Command::Wait(args) => assert_eq!(
            args.settings(),
            wait::Settings {
                services: services(),
                wanted: wait::Wanted::Stopped,
                timeout: Some(Duration::from_secs(90)),
                down_project: false
            }
        ),
        command => panic!("{command:?}"),
    }
}

#[test]
fn global_flags_go_anywhere() {
    for line in ["devctl -C /tmp --color never ps", "devctl ps --color never -C /tmp"] {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(cli.global.directory.as_deref(), Some(std::path::Path::new("/tmp")));
        assert!(matches!(cli.global.color, super::Color::Never));
    }
}

/// Every help text, short and long, as it looks on a terminal of 100 columns.
#[test]
fn help_texts() {
    fn walk(command: &mut clap::Command, path: &str, texts: &mut Vec<(String, String)>) {
        texts.push((format!("{path}-h"), command.render_help().to_string()));
        texts.push((format!("{path}--help"), command.render_long_help().to_string()));
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
            let path = format!("{path}{} ", sub.get_name());
            walk(sub, &path, texts);
        }
    }
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut texts = Vec::new();
    walk(&mut command, "devctl ", &mut texts);
    for (path, text) in texts {
        insta::assert_snapshot!(path.replace(' ', "_"), text);
    }
}

#[test]
fn completions_know_every_command() {
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "devctl", &mut script);
        let script = String::from_utf8(script).unwrap();
        for word in ["up", "down", "ps", "logs", "shell", "config", "completions", "skip-docker"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn force_color_counts_where_no_color_and_no_option_do_not_say_otherwise() {
    use anstream::ColorChoice::{Always, Auto, Never};
    for (option, env, expected) in [
        (super::Color::Auto, &[][..], Auto),
        (super::Color::Auto, &[("FORCE_COLOR", "1")], Always),
        (super::Color::Auto, &[("FORCE_COLOR", "")], Auto),
        (super::Color::Auto, &[("FORCE_COLOR", "0")], Never),
        (super::Color::Auto, &[("FORCE_COLOR", "1"), ("NO_COLOR", "1")], Auto),
        (super::Color::Never, &[("FORCE_COLOR", "1")], Never),
        (super::Color::Always, &[("NO_COLOR", "1")], Always),
    ] {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(option.choice(&env), expected, "{option:?} {env:?}");
    }
}
