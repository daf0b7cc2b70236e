//! Whether the parts fit together: needs that name nothing, circles of needs, two services of one name or on one port.
//! Works on what was read, so that these mistakes are reported in the same run as all others.

use std::net::IpAddr;

use indexmap::IndexMap;

use super::compose::{Compose, Port};
use super::problem::{Problem, Sink};
use super::service::Service;
use super::source::Place;
use super::suggest::{choices, closest};
use crate::name::ServiceName;

/// A need, as both kinds of services have them.
struct Need<'a> {
    on: &'a ServiceName,
    place: &'a Place,
    required: bool,
}

/// Checks all services together.
/// `declared` are the programs that the file names, the wrong ones among them: those are no strangers to a need.
pub(super) fn check(
    compose: &Compose,
    programs: &IndexMap<ServiceName, Service>,
    declared: &[ServiceName],
    sink: &Sink,
) {
    for (name, program) in programs {
        if let Some(container) = compose.services.get(name) {
            let message = format!("the service `{name}` is a container already, in {}", container.place.short());
            sink.push(program.place.problem(message).with_help("give one of the two another name"));
        }
    }
    let graph = graph(compose, programs, declared);
    check_needs(compose, &graph, sink);
    check_cycles(&graph, sink);
    check_ports(compose, programs, sink);
}

type Graph<'a> = IndexMap<&'a ServiceName, Vec<Need<'a>>>;

fn graph<'a>(
    compose: &'a Compose,
    programs: &'a IndexMap<ServiceName, Service>,
    declared: &'a [ServiceName],
) -> Graph<'a> {
    let mut graph: Graph<'a> = compose.declared.iter().chain(declared).map(|name| (name, Vec::new())).collect();
    for (name, container) in &compose.services {
        let needs = container.depends_on.iter();
        graph.insert(name, needs.map(|(on, n)| Need { on, place: &n.place, required: n.required }).collect());
    }
    for (name, program) in programs {
        let needs = program.depends_on.iter();
        graph.insert(name, needs.map(|n| Need { on: &n.on, place: &n.place, required: true }).collect());
    }
    graph
}

fn check_needs(compose: &Compose, graph: &Graph<'_>, sink: &Sink) {
    for (name, needs) in graph {
        let is_container = compose.services.contains_key(*name);
        for need in needs.iter().filter(|need| need.required) {
            if !graph.contains_key(need.on) {
                let names = graph.keys().map(|name| name.as_str()).filter(|other| *other != name.as_str());
                let near = closest(need.on.as_str(), names);
                // It may well be in a file that could not be read, which is told already; unless it looks mistyped.
                if near.is_some() || !compose.unread {
                    sink.push(dangling(name, need, graph, near));
                }
            } else if is_container && !compose.declared.contains(need.on) {
                let message = format!("the container `{name}` needs `{}`, which is a program of the host", need.on);
                sink.push(
                    need.place
                        .problem(message)
                        .with_help("a Compose file must stand on its own; let the program need the container instead"),
                );
            }
        }
    }
}

fn dangling(name: &ServiceName, need: &Need<'_>, graph: &Graph<'_>, near: Option<&str>) -> Problem {
    let problem = need.place.problem(format!("`{name}` needs `{}`, and there is no such service", need.on));
    match near {
        Some(right) => problem.with_help(format!("did you mean `{right}`?")),
        None if graph.len() < 2 => problem,
        None => {
            problem.with_help(choices(graph.keys().map(|name| name.as_str()).filter(|other| *other != name.as_str())))
        }
    }
}

/// Reports each circle once, at the need that closes it.
fn check_cycles(graph: &Graph<'_>, sink: &Sink) {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; graph.len()];
    for start in 0..graph.len() {
        // The way from `start` to where the search is: service, and which of its needs comes next. An explicit stack,
        // since a chain of services may be longer than the thread's own.
        let mut way = vec![(start, 0)];
        if states[start] != State::New {
            continue;
        }
        states[start] = State::Open;
        while let Some((node, next)) = way.last_mut() {
            let (_, needs) = graph.get_index(*node).expect("every number on the way came from the graph");
            let Some(need) = needs.get(*next) else {
                states[*node] = State::Done;
                way.pop();
                continue;
            };
            *next += 1;
            let Some(on) = graph.get_index_of(need.on) else { continue };
            match states[on] {
                State::Done => {}
                State::New => {
                    states[on] = State::Open;
                    way.push((on, 0));
                }
                State::Open => {
                    let first = way.iter().position(|(node, _)| *node == on).unwrap_or_default();
                    let names: Vec<&str> = way[first..]
                        .iter()
                        .map(|(node, _)| *node)
                        .chain([on])
                        .filter_map(|node| graph.get_index(node))
                        .map(|(name, _)| name.as_str())
                        .collect();
                    let message = format!("services need each other in a circle: {}", names.join(" -> "));
                    sink.push(need.place.problem(message).with_help("take out one of these needs"));
                }
            }
        }
    }
}

/// Who listens where on this machine.
struct Claim<'a> {
    name: &'a ServiceName,
    place: &'a Place,
    ip: IpAddr,
    port: u16,
    protocol: &'a str,
    profiles: &'a [String],
}

fn check_ports(compose: &Compose, programs: &IndexMap<ServiceName, Service>, sink: &Sink) {
    let mut claims: Vec<Claim<'_>> = Vec::new();
    for (name, container) in &compose.services {
        for port in &container.ports {
            if let Some(published) = port.fixed() {
                claims.push(Claim {
                    name,
                    place: &port.place,
                    ip: host_ip(port),
                    port: published,
                    protocol: &port.protocol,
                    profiles: &container.profiles,
                });
            }
        }
    }
    for (name, program) in programs {
        if let Some(port) = program.port {
            let ip = IpAddr::from([127, 0, 0, 1]);
            claims.push(Claim { name, place: &program.place, ip, port, protocol: "tcp", profiles: &[] });
        }
    }
    for (i, claim) in claims.iter().enumerate() {
        let Some(first) = claims[..i].iter().find(|other| claim.meets(other)) else { continue };
        let port = claim.port;
        let message = if first.name == claim.name {
            format!("`{}` claims port {port} twice", claim.name)
        } else {
            format!(
                "`{}` claims port {port}, which `{}` has already, in {}",
                claim.name,
                first.name,
                first.place.short()
            )
        };
        sink.push(claim.place.problem(message).with_help("give one of them another port"));
    }
}

impl Claim<'_> {
    /// Whether both cannot be had at once, in a run in which both services take part without being asked for apart:
    /// services of different profiles are alternatives, and a profile may stand in for a service that is left out.
    fn meets(&self, other: &Self) -> bool {
        let both_run = if self.profiles.is_empty() || other.profiles.is_empty() {
            self.profiles.is_empty() && other.profiles.is_empty()
        } else {
            self.profiles.iter().any(|profile| other.profiles.contains(profile))
        };
        let ips_meet = self.ip == other.ip || self.ip.is_unspecified() || other.ip.is_unspecified();
        both_run && ips_meet && self.port == other.port && self.protocol == other.protocol
    }
}

/// The address a published port is bound to.
fn host_ip(port: &Port) -> IpAddr {
    port.host_ip.as_deref().and_then(|ip| ip.parse().ok()).unwrap_or(IpAddr::from([0, 0, 0, 0]))
}
