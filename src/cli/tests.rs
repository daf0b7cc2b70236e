//! What can be typed, what it means, and how the help reads.

use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Command, db, down, logs, ps, up};
use crate::manifest::DriverChoice;
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
        up::Settings { selection: Selection::default(), driver: None, skip_docker: false, timeout: None, keep: false }
    );
}

#[test]
fn up_takes_all_its_flags() {
    let line = "devctl up db api --no-deps --driver embedded --profile ai --profile x --dry-run --format json \
                --timeout 1m30s --keep";
    assert_eq!(
        up(line),
        up::Settings {
            selection: Selection {
                services: vec!["db".parse().unwrap(), "api".parse().unwrap()],
                groups: vec![],
                no_deps: true,
                profiles: vec!["ai".to_owned(), "x".to_owned()],
            },
            driver: Some(DriverChoice::Embedded),
            skip_docker: false,
            timeout: Some(Duration::from_secs(90)),
            keep: true,
        }
    );
    let how = invocation(line);
    assert_eq!((how.dry_run, how.format, how.detach, how.wait), (true, Format::Json, false, true));
    let how = invocation("devctl up -d --no-wait");
    assert_eq!((how.dry_run, how.format, how.detach, how.wait), (false, Format::Auto, true, false));
    assert_eq!(up("devctl up --api-only").selection.groups, ["api"]);
    assert_eq!(up("devctl up --ws-only --skip-docker").selection.groups, ["ws"]);
}

#[test]
fn contradictions_and_mistakes_are_usage_errors() {
    for line in [
        "devctl up --api-only --ws-only",
        "devctl up --api-only db",
        "devctl up --ws-only db",
        "devctl up --no-deps",
        "devctl up --no-wait",
        "devctl up --skip-docker --driver docker",
        "devctl up --timeout soon",
        "devctl up --timeout 0",
        "devctl up '../etc'",
        "devctl up '$(reboot)'",
        "devctl logs --tail -1",
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

#[test]
fn the_other_commands_take_theirs() {
    match parse("devctl down -v --yes") {
        Command::Down(args) => assert_eq!(args.settings(), down::Settings { volumes: true, yes: true }),
        command => panic!("{command:?}"),
    }
    match parse("devctl ps --format json") {
        Command::Ps(args) => assert_eq!(args.settings(), ps::Settings { format: ps::Format::Json }),
        command => panic!("{command:?}"),
    }
    match parse("devctl logs -f --tail 5 api db") {
        Command::Logs(args) => assert_eq!(
            args.settings(),
            logs::Settings { services: vec!["api".parse().unwrap(), "db".parse().unwrap()], follow: true, tail: 5 }
        ),
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
