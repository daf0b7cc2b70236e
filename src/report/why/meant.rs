//! What is to be made of a line that is understood, given how things are: who has the port, how the dependency is doing.

use super::Found;
use super::cause::{Cause, Kind, Looker, Quote, out_of_memory, see_log};
use super::pattern::{Language, Meaning};
use crate::state::record::ServiceRecord;

impl Looker<'_> {
    /// The cause that a line speaks for.
    pub(super) fn meant(&self, name: &str, record: &ServiceRecord, meaning: Meaning, quote: &Quote) -> Cause {
        let mut cause = match meaning {
            Meaning::PortTaken(port) => return self.port_taken(name, record, port, Some(quote)),
            Meaning::Refused { port } => return self.refused(name, record, port, quote),
            Meaning::Module { name: module, of } => {
                let hint = match of {
                    Language::Python => format!("install it where the service runs: `pip install {module}`"),
                    Language::Node if module.starts_with(['.', '/']) => {
                        "correct the path, or build what makes that file".to_owned()
                    }
                    Language::Node => "install what package.json names, in its folder: `npm install`".to_owned(),
                    Language::Ruby => "install what the Gemfile names: `bundle install`".to_owned(),
                    Language::System => format!("install the package of the system that has `{module}`"),
                };
                Cause::new(Kind::MissingModule, name, format!("`{module}` is not installed")).hint(hint)
            }
            Meaning::Program(program) => {
                Cause::new(Kind::MissingProgram, name, format!("there is no program `{program}`"))
                    .hint(format!("install `{program}`, or add its folder to PATH"))
            }
            Meaning::File(file) => {
                let what = file.map_or_else(|| "a file that it needs".to_owned(), |file| format!("`{file}`"));
                Cause::new(Kind::MissingFile, name, format!("{what} is not there")).hint(format!(
                    "relative paths begin at the `dir` of [services.{name}]: `devctl config --stack` shows it"
                ))
            }
            Meaning::Permission => {
                let low = record.ports.iter().find(|port| **port < 1024);
                let cause = Cause::new(Kind::Permission, name, "the system did not permit it");
                match low {
                    Some(port) => cause.hint(format!("port {port} is for root: give {name} one above 1023")),
                    None => cause.hint("see whose it is: `ls -l` on what the line names, and `id`".to_owned()),
                }
            }
            Meaning::Password(user) => {
                let who = user.map(|user| format!(" of `{user}`")).unwrap_or_default();
                Cause::new(Kind::WrongPassword, name, format!("the password{who} is wrong"))
                    .hint("compare what both sides were given: `devctl config --stack`".to_owned())
                    .hint("a database keeps the password that it was made with; `devctl down -v` deletes it with its data".to_owned())
            }
            Meaning::Database(database) => {
                Cause::new(Kind::MissingDatabase, name, format!("there is no database `{database}`"))
                    .hint(format!("create it: `devctl db shell -c 'CREATE DATABASE \"{database}\"'`"))
                    .hint("or correct its name where the service is told: `devctl config --stack`".to_owned())
            }
            Meaning::Role(role) => {
                Cause::new(Kind::MissingDatabase, name, format!("the database has no user `{role}`"))
                    .hint(format!("create it: `devctl db shell -c 'CREATE ROLE \"{role}\" LOGIN'`"))
                    .hint("or correct its name where the service is told: `devctl config --stack`".to_owned())
            }
            Meaning::Table(table) => {
                Cause::new(Kind::MissingDatabase, name, format!("the database has no table `{table}`"))
                    .hint("run the migrations of the project".to_owned())
                    .hint("see what is there: `devctl db shell -c '\\dt'`".to_owned())
            }
            Meaning::Memory => out_of_memory(name, "it got no more memory"),
            Meaning::Variable(variable) => {
                Cause::new(Kind::MissingVariable, name, format!("`{variable}` is not set, or not as it should be"))
                    .hint(format!("set it in `.env`, or under [services.{name}]: env = {{ {variable} = \"…\" }}"))
                    .hint("see what it is given: `devctl config --stack`".to_owned())
            }
            Meaning::Host(host) => self.host(name, &host),
        };
        cause.evidence.push(quote.clone());
        cause
    }

    fn host(&self, name: &str, host: &str) -> Cause {
        match self.case.services.get(host) {
            Some(other) => {
                let summary =
                    format!("`{host}` is a service and no host: programs on this machine do not know that name");
                let port = other.ports.first().map(|port| format!(", port {port}")).unwrap_or_default();
                Cause::new(Kind::UnknownHost, name, summary)
                    .hint(format!("use the host `127.0.0.1`{port}, in what [services.{name}] is told"))
            }
            None => Cause::new(Kind::UnknownHost, name, "a host's name is not known".to_owned())
                .hint("see what the service is told: `devctl config --stack`".to_owned()),
        }
    }

    pub(super) fn port_taken(
        &self,
        name: &str,
        record: &ServiceRecord,
        port: Option<u16>,
        quote: Option<&Quote>,
    ) -> Cause {
        let nothing = Found::default();
        let found = self.case.found.get(name).unwrap_or(&nothing);
        let Some(port) = port.or_else(|| record.ports.first().copied()) else {
            let mut cause = Cause::new(Kind::PortTaken, name, "somebody else has its port");
            cause.evidence.extend(quote.cloned());
            return cause.hint(see_log(name));
        };
        let owners = found.ports.iter().find(|(known, _)| *known == port).map(|(_, owners)| owners.as_slice());
        let owner = owners.into_iter().flatten().find(|owner| owner.pid.is_none() || owner.pid != record.pid);
        let sibling = owner.and_then(|owner| {
            let mut others = self.case.services.iter().filter(|_| self.is_up());
            others.find(|(other, record)| *other != name && record.pid.is_some() && record.pid == owner.pid)
        });
        let summary = match (owner, sibling) {
            (_, Some((other, _))) => format!("port {port} is taken by {other}, another service of this stack"),
            (Some(owner), None) => format!("port {port} is taken by {owner}"),
            (None, None) => format!("port {port} was taken by somebody else"),
        };
        let mut cause = Cause::new(Kind::PortTaken, name, summary);
        cause.evidence.extend(quote.cloned());
        match (owner, sibling) {
            (Some(owner), sibling) => {
                cause.evidence.push(Quote::new("port", format!("{owner} listens on {} now", owner.address)));
                if sibling.is_none() {
                    cause.hints.extend(owner.how_to_stop(port));
                    cause.hints.push(self.again(name));
                }
                cause.hints.push(format!("or give {name} another `port`"));
            }
            (None, _) if owners.is_some() => {
                cause
                    .evidence
                    .push(Quote::new("port", format!("nobody else listens on port {port} now: it is free again")));
                cause.hints.push(self.again(name).replacen("then ", "", 1));
            }
            (None, _) => {
                cause.hints.push(format!("give {name} another `port`, or have the other stopped"));
            }
        }
        cause
    }

    fn refused(&self, name: &str, record: &ServiceRecord, port: Option<u16>, quote: &Quote) -> Cause {
        let other = self
            .case
            .services
            .iter()
            .find(|(other, record)| *other != name && port.is_some_and(|port| record.ports.contains(&port)));
        let place = port.map_or_else(|| "what it connects to".to_owned(), |port| format!("port {port}"));
        let Some((other, state)) = other else {
            let own = port.is_some_and(|port| record.ports.contains(&port));
            let summary = if own {
                format!("{name} connects to its own {place} and finds nobody there")
            } else {
                format!("nobody takes connections on {place}, and no service of this stack listens there")
            };
            let mut cause = Cause::new(Kind::Refused, name, summary);
            cause.evidence.push(quote.clone());
            return cause
                .hint("see which addresses it is told: `devctl config --stack`".to_owned())
                .hint(see_log(name));
        };
        let phase = state.phase.as_str();
        let mut cause = Cause::new(Kind::Refused, name, format!("{other} did not take its connection on {place}"));
        cause.evidence.push(quote.clone());
        let was_ready = !self.is_up() && phase == "stopped" && state.ready_ms.is_some();
        let is_there = was_ready || self.is_up() && matches!(phase, "ready" | "unhealthy" | "late");
        cause.evidence.push(Quote::new(
            "record",
            match self.is_up() {
                true => format!("{other} is {} now", if phase == "probing" { "not ready" } else { phase }),
                false if was_ready => format!("{other} was ready at some time in that run"),
                false if phase == "stopped" => format!("{other} was not ready in that run"),
                false => format!("{other} was {phase} when the run ended"),
            },
        ));
        let needs = name == self.case.service && !self.case.needs.iter().any(|need| need == other);
        if is_there {
            if needs {
                cause
                    .hints
                    .push(format!("have it wait, under [services.{name}]: depends_on = {{ {other} = \"ready\" }}"));
            }
            cause.hints.push(self.again(name).replacen("then ", "", 1));
        } else {
            if phase == "stopped" && self.is_up() {
                cause.hints.push(format!("start it: `devctl start {other}`"));
            }
            cause.hints.push(format!("see what is the matter with it: `devctl why {other}`"));
            if needs {
                cause
                    .hints
                    .push(format!("have it wait, under [services.{name}]: depends_on = {{ {other} = \"ready\" }}"));
            }
        }
        cause
    }
}
