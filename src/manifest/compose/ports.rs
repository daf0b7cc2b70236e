//! The `ports` of a Compose service, short and long form.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::super::node::{Kind, Node};
use super::super::reader::Reader;
use super::super::source::Mark;
use super::model::{Extensions, Port, Published};
use super::values::extensions;

const LONG_KEYS: &[&str] = &["name", "mode", "host_ip", "target", "published", "protocol", "app_protocol"];

/// The most ports one entry may stand for; more is a mistake in a range.
const MAX_RANGE: u16 = 1000;

pub(super) fn read(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<Port>> {
    let mut ports = Vec::new();
    for item in reader.list(key, node)? {
        match &item.kind {
            Kind::Int(value) => short(reader, item.mark, &value.to_string(), &mut ports),
            Kind::Str(text) => short(reader, item.mark, text, &mut ports),
            Kind::Map(_) => ports.extend(long(reader, item)),
            Kind::Null | Kind::Bool(_) | Kind::Float(_) | Kind::Datetime | Kind::List(_) => {
                reader.wrong(key, item, "a string such as `\"127.0.0.1:8080:80\"`, a port or a mapping");
            }
        }
    }
    // Of what is said twice the last counts, in the place of the first, as in Compose.
    let mut unique: Vec<Port> = Vec::with_capacity(ports.len());
    for port in ports {
        let said = |port: &Port| (port.host_ip.clone(), port.published.clone(), port.target, port.protocol.clone());
        match unique.iter_mut().find(|other| said(other) == said(&port)) {
            Some(other) => *other = port,
            None => unique.push(port),
        }
    }
    Some(unique)
}

fn short(reader: Reader<'_>, mark: Mark, text: &str, ports: &mut Vec<Port>) {
    match parse_short(text) {
        Ok(parsed) => ports.extend(parsed.into_iter().map(|parsed| Port {
            place: reader.place(mark),
            name: None,
            mode: "ingress".to_owned(),
            host_ip: parsed.ip,
            target: parsed.target,
            published: parsed.published.map(Published),
            protocol: parsed.protocol,
            app_protocol: None,
            extensions: Extensions::default(),
        })),
        Err(reason) => reader.fail_with(
            mark,
            format!("`{text}` is no port mapping: {reason}"),
            "write `\"PORT\"`, `\"HOST:CONTAINER\"` or `\"IP:HOST:CONTAINER\"`, with `/udp` behind it if need be",
        ),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    ip: Option<String>,
    published: Option<String>,
    target: u16,
    protocol: String,
}

fn parse_short(text: &str) -> Result<Vec<Parsed>, String> {
    let (spec, protocol) = match text.rsplit_once('/') {
        Some((spec, protocol)) => (spec, protocol.to_ascii_lowercase()),
        None => (text, "tcp".to_owned()),
    };
    check_protocol(&protocol)?;
    let (front, target) = match spec.rsplit_once(':') {
        Some((front, target)) => (Some(front), target),
        None => (None, spec),
    };
    let (ip, host) =
        match front.map(|front| front.rsplit_once(':').map_or((None, front), |(ip, host)| (Some(ip), host))) {
            Some((ip, host)) => (ip, host),
            None => (None, ""),
        };
    let ip = ip.map(|ip| ip.trim_start_matches('[').trim_end_matches(']')).filter(|ip| !ip.is_empty());
    if let Some(ip) = ip {
        check_ip(ip)?;
    }
    let targets = range(target)?;
    if *targets.start() == 0 {
        return Err("`0` is not a port between 1 and 65535".to_owned());
    }
    let hosts = if host.is_empty() { None } else { Some(range(host)?) };
    let single = targets.clone().count() == 1;
    if let Some(hosts) = &hosts
        && !single
        && hosts.clone().count() != targets.clone().count()
    {
        return Err("the two ranges differ in length".to_owned());
    }
    let published = |i: usize| {
        let hosts = hosts.clone()?;
        let (first, last) = (*hosts.start(), *hosts.end());
        // Several ports of the host for one of the container: the engine takes one of them.
        if single && first != last {
            return Some(format!("{first}-{last}"));
        }
        hosts.clone().nth(i).map(|port| port.to_string())
    };
    let mut parsed: Vec<Parsed> = targets
        .clone()
        .enumerate()
        .map(|(i, target)| Parsed {
            ip: ip.map(str::to_owned),
            published: published(i),
            target,
            protocol: protocol.clone(),
        })
        .collect();
    // Compose sorts the ports of one entry as text.
    parsed.sort_by_key(|port| format!("{}/{protocol}", port.target));
    Ok(parsed)
}

fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("the range `{text}` runs backwards"));
    }
    if last - first >= MAX_RANGE {
        return Err(format!("the range `{text}` holds more than {MAX_RANGE} ports"));
    }
    Ok(first..=last)
}

fn number(text: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Err("a port is missing".to_owned());
    }
    match text.parse() {
        Ok(port) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a port between 1 and 65535")),
    }
}

fn check_protocol(protocol: &str) -> Result<(), String> {
    if matches!(protocol, "tcp" | "udp" | "sctp") {
        Ok(())
    } else {
        Err(format!("the protocol `{protocol}` is none of `tcp`, `udp`, `sctp`"))
    }
}

fn check_ip(ip: &str) -> Result<(), String> {
    ip.parse::<IpAddr>().map(drop).map_err(|_| format!("`{ip}` is no IP address"))
}

fn long(reader: Reader<'_>, node: &Node) -> Option<Port> {
    let table = reader.table("ports", node, LONG_KEYS, &[])?;
    let Some(target) = table.get("target") else {
        reader.fail(node.mark, "a port needs a `target`, the port in the container");
        return None;
    };
    let target = reader.port("target", target)?;
    let published = table.read("published", |reader, key, node| match &node.kind {
        Kind::Str(text) if text.is_empty() => None,
        Kind::Str(text) if range(text).is_ok() => Some(Published(text.clone())),
        Kind::Str(_) if node.scalar_text().is_some_and(|text| text.contains('-')) => {
            reader.fail(node.mark, format!("`{key}` must be a port or a range such as `8080-8090`"));
            None
        }
        // Zero means: any.
        Kind::Int(0) => Some(Published("0".to_owned())),
        Kind::Str(_)
        | Kind::Int(_)
        | Kind::Null
        | Kind::Bool(_)
        | Kind::Float(_)
        | Kind::Datetime
        | Kind::List(_)
        | Kind::Map(_) => reader.port(key, node).map(|port| Published(port.to_string())),
    });
    let checked = |key: &str, check: fn(&str) -> Result<(), String>| -> Option<String> {
        let node = table.get(key)?;
        let text = reader.string(key, node)?;
        check(&text).map_err(|reason| reader.fail(node.mark, reason)).ok()?;
        Some(text)
    };
    Some(Port {
        place: reader.place(node.mark),
        name: table.text("name"),
        mode: table.text("mode").unwrap_or_else(|| "ingress".to_owned()),
        host_ip: checked("host_ip", check_ip),
        target,
        published,
        protocol: checked("protocol", check_protocol).unwrap_or_else(|| "tcp".to_owned()),
        app_protocol: table.text("app_protocol"),
        extensions: extensions(table),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms() {
        let one = |text: &str| {
            let mut parsed = parse_short(text).unwrap();
            assert_eq!(parsed.len(), 1, "{text}");
            let Parsed { ip, published, target, protocol } = parsed.remove(0);
            (ip.unwrap_or_default(), published, target, protocol)
        };
        for (text, ip, published, target, protocol) in [
            ("80", "", None, 80, "tcp"),
            ("8080:80", "", Some("8080"), 80, "tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1", Some("8080"), 80, "tcp"),
            ("127.0.0.1::80", "127.0.0.1", None, 80, "tcp"),
            ("[::1]:8080:80", "::1", Some("8080"), 80, "tcp"),
            ("53:53/udp", "", Some("53"), 53, "udp"),
            ("80-80:90-90/TCP", "", Some("80"), 90, "tcp"),
            ("0:80", "", Some("0"), 80, "tcp"),
            ("8080-8090:80", "", Some("8080-8090"), 80, "tcp"),
        ] {
            let expected = (ip.to_owned(), published.map(str::to_owned), target, protocol.to_owned());
            assert_eq!(one(text), expected, "{text}");
        }
        let ports: Vec<_> =
            parse_short("9-11:99-101").unwrap().iter().map(|p| (p.published.clone().unwrap(), p.target)).collect();
        assert_eq!(ports, [("10", 100), ("11", 101), ("9", 99)].map(|(host, target)| (host.to_owned(), target)));
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        for (text, reason) in [
            ("", "missing"),
            ("80:", "missing"),
            ("x:80", "`x` is not a port"),
            ("70000:80", "`70000` is not a port"),
            ("0", "`0` is not a port"),
            ("1-3:80-81", "differ"),
            ("9-8", "backwards"),
            ("1-65000", "more than"),
            ("80/icmp", "`icmp`"),
            ("localhost:80:80", "`localhost` is no IP address"),
        ] {
            let error = parse_short(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-z:./\\[\\]-]{0,24}") {
            let _ = parse_short(&text);
        }

        #[test]
        fn what_is_composed_is_read_back(host in 1_u16.., target in 1_u16..) {
            let parsed = parse_short(&format!("127.0.0.1:{host}:{target}")).unwrap();
            proptest::prop_assert_eq!((parsed[0].published.as_ref(), parsed[0].target), (Some(&host.to_string()), target));
        }
    }
}
