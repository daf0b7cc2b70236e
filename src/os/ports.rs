//! Who listens on a TCP port of this machine.
//!
//! Linux is asked through procfs: it shows the sockets of all users with their user id, where the `listeners` crate,
//! which asks the other systems, shows nothing of them. Only this network namespace is seen: a container's listener is
//! not, but Docker's proxy in front of it is.

use std::net::{IpAddr, SocketAddr, TcpListener};

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process id, where it may be known: other users' sockets show only their user.
    pub pid: Option<u32>,
    /// The command line, or the process's name where that is all there is.
    pub command: Option<String>,
    /// The user id, where known.
    pub uid: Option<u32>,
    /// The address it listens on.
    pub address: SocketAddr,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.command, self.uid) {
            (Some(pid), Some(command), _) => write!(f, "pid {pid} ({command})"),
            (Some(pid), None, _) => write!(f, "pid {pid}"),
            (None, _, Some(uid)) => write!(f, "a process of user id {uid}"),
            (None, _, None) => f.write_str("a process that this user may not see"),
        }
    }
}

impl Owner {
    /// How to make it let go of the port, where that can be typed.
    pub fn how_to_stop(&self, port: u16) -> Option<String> {
        if self.is_docker_proxy() {
            return Some(format!("stop its container: `docker ps --filter publish={port}` shows it"));
        }
        let pid = self.pid?;
        Some(if cfg!(windows) {
            format!("stop it: `taskkill /F /PID {pid}`")
        } else {
            format!("stop it: `kill {pid}`")
        })
    }

    /// Whether this is Docker's proxy, which listens in the place of a container.
    pub fn is_docker_proxy(&self) -> bool {
        let program = self.command.as_deref().and_then(|command| command.split_whitespace().next());
        program.is_some_and(|program| program.rsplit('/').next() == Some("docker-proxy"))
    }
}

/// Whether a listener could be bound to that address now. Where it cannot be tried, because the address is not this
/// machine's or the port is a privileged one, it counts as free when nobody is seen listening there.
///
/// Listeners on the wildcard address and those on a single one exclude each other. Connections that linger after a
/// server's end do not count: servers bind with `SO_REUSEADDR`, and so does this.
pub fn is_free(ip: IpAddr, port: u16) -> bool {
    match TcpListener::bind((ip, port)) {
        Ok(listener) => {
            drop(listener);
            // The others let a single address be bound beside the wildcard one.
            cfg!(target_os = "linux") || !is_listened(ip, port)
        }
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => false,
        Err(_) => !is_listened(ip, port),
    }
}

/// Whether a listener is seen that a new one on `ip` would get in the way of.
fn is_listened(ip: IpAddr, port: u16) -> bool {
    owners(port).iter().any(|owner| overlap(owner.address.ip(), ip)) || accepts(ip, port)
}

/// Whether listeners on these two addresses exclude each other.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    // `::` takes IPv4 connections too, unless it is told not to; that cannot be seen from outside.
    let any6 = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unspecified());
    let (one, other) = (one.to_canonical(), other.to_canonical());
    one == other
        || any6(one)
        || any6(other)
        || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

/// Whether a connection is taken: the last resort for listeners of other users where they cannot be listed.
fn accepts(ip: IpAddr, port: u16) -> bool {
    let ip = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        other => other,
    };
    ip.is_loopback()
        && std::net::TcpStream::connect_timeout(&(ip, port).into(), std::time::Duration::from_millis(200)).is_ok()
}

/// The processes that listen on a TCP port, whatever the address, ordered by process id. Several may share a socket.
pub fn owners(port: u16) -> Vec<Owner> {
    let mut owners = system::owners(port);
    owners.sort_by_key(|owner| (owner.pid.is_none(), owner.pid, owner.address));
    owners
}

/// Whether one of these processes listens on a TCP port. `None` where it cannot be told. Looks at these processes
/// alone, so it is cheap enough to be asked at every probe.
pub fn listens(pids: &[u32], port: u16) -> Option<bool> {
    system::listens(pids, port)
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;
    use std::io;

    use procfs::net::{TcpNetEntry, TcpState};

    use super::{Owner, portable};

    pub(super) fn owners(port: u16) -> Vec<Owner> {
        let Some(sockets) = sockets(port) else { return portable::owners(port) };
        if sockets.is_empty() {
            return Vec::new();
        }
        let mut owners = Vec::new();
        let mut seen = vec![false; sockets.len()];
        for pid in pids() {
            // Processes of other users cannot be looked into, and any may be gone by now.
            let Ok(inodes) = socket_inodes(pid) else { continue };
            for (socket, seen) in sockets.iter().zip(&mut seen) {
                if inodes.contains(&socket.inode) {
                    *seen = true;
                    let command = command(pid);
                    owners.push(Owner {
                        pid: Some(pid),
                        command,
                        uid: Some(socket.uid),
                        address: socket.local_address,
                    });
                }
            }
        }
        let unseen = sockets.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(socket, _)| socket);
        owners.extend(unseen.map(|socket| Owner {
            pid: None,
            command: None,
            uid: Some(socket.uid),
            address: socket.local_address,
        }));
        owners
    }

    pub(super) fn listens(pids: &[u32], port: u16) -> Option<bool> {
        // Each table costs the kernel milliseconds on a big machine, and most servers are in the first.
        let first = holds(pids, &listening(procfs::net::tcp().ok()?, port));
        if first == Some(true) {
            return first;
        }
        match holds(pids, &listening(procfs::net::tcp6().unwrap_or_default(), port)) {
            Some(false) => first,
            found => found,
        }
    }

    /// Whether one of these processes holds one of these sockets. `None` where it cannot be told.
    fn holds(pids: &[u32], sockets: &[TcpNetEntry]) -> Option<bool> {
        if sockets.is_empty() {
            return Some(false);
        }
        let mut hidden = false;
        for &pid in pids {
            match socket_inodes(pid) {
                Ok(inodes) if sockets.iter().any(|socket| inodes.contains(&socket.inode)) => return Some(true),
                Ok(_) => {}
                Err(e) => hidden |= e.kind() == io::ErrorKind::PermissionDenied,
            }
        }
        // A process that changed its user, or whose program file may not be read, hides its descriptors from us.
        if hidden { None } else { Some(false) }
    }

    /// The sockets that listen on a port. `None` where the tables cannot be read.
    fn sockets(port: u16) -> Option<Vec<TcpNetEntry>> {
        let mut sockets = procfs::net::tcp().ok()?;
        // Missing where IPv6 is switched off.
        sockets.extend(procfs::net::tcp6().unwrap_or_default());
        Some(listening(sockets, port))
    }

    fn listening(mut sockets: Vec<TcpNetEntry>, port: u16) -> Vec<TcpNetEntry> {
        sockets.retain(|socket| socket.state == TcpState::Listen && socket.local_address.port() == port);
        sockets
    }

    fn pids() -> impl Iterator<Item = u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// The inodes of the sockets that a process holds. Read by hand: `procfs` also opens and stats every
    /// descriptor.
    fn socket_inodes(pid: u32) -> io::Result<Vec<u64>> {
        let mut inodes = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // Descriptors come and go while they are listed.
            let Ok(target) = entry.and_then(|entry| fs::read_link(entry.path())) else { continue };
            let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
            inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
        }
        Ok(inodes)
    }

    /// The command line on one line; the name of a process that has none.
    fn command(pid: u32) -> Option<String> {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = super::one_line(&line);
        if !line.is_empty() {
            return Some(line);
        }
        let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
        Some(super::one_line(&name)).filter(|name| !name.is_empty())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) use super::portable::{listens, owners};
}

/// The way that works on every system, for the current user's processes at least.
mod portable {
    use listeners::{Listener, Protocol, SocketState};

    use super::Owner;

    pub(super) fn owners(port: u16) -> Vec<Owner> {
        let found = listening(port).unwrap_or_default();
        found
            .into_iter()
            .map(|listener| {
                let listeners::Process { pid, name, path, .. } = listener.process;
                let command = Some(if path.is_empty() { name } else { path }).filter(|command| !command.is_empty());
                Owner { pid: Some(pid), command, uid: None, address: listener.socket }
            })
            .collect()
    }

    #[cfg_attr(target_os = "linux", expect(dead_code, reason = "Linux has its own way"))]
    pub(super) fn listens(pids: &[u32], port: u16) -> Option<bool> {
        Some(listening(port)?.iter().any(|listener| pids.contains(&listener.process.pid)))
    }

    fn listening(port: u16) -> Option<Vec<Listener>> {
        let all = listeners::get_all().ok()?;
        let ours = |listener: &Listener| {
            listener.protocol == Protocol::TCP
                && listener.state == SocketState::Listen
                && listener.socket.port() == port
        };
        Some(all.into_iter().filter(ours).collect())
    }
}

/// A command line as one line of bounded length: its parts are separated by NUL and may hold anything.
#[cfg(target_os = "linux")]
fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write as _};
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn listen(ip: IpAddr) -> (TcpListener, u16) {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn a_wildcard_listener_takes_every_address_and_a_single_one_the_wildcard() {
        for (held, asked) in [(LOOPBACK, LOOPBACK), (LOOPBACK, ANY), (ANY, LOOPBACK), (ANY, ANY)] {
            let (_listener, port) = listen(held);
            assert!(!is_free(asked, port), "{held} is held, {asked} is asked");
        }
    }

    #[test]
    fn a_dual_stack_listener_takes_ipv4_too() {
        let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) else {
            // Not by `eprintln!`: the test runner would swallow it.
            drop(writeln!(std::io::stderr(), "SKIPPED: no IPv6 on this machine"));
            return;
        };
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(LOOPBACK, port));
    }

    #[test]
    fn lingering_connections_do_not_hold_a_port() {
        let (listener, port) = listen(LOOPBACK);
        let mut client = TcpStream::connect((LOOPBACK, port)).unwrap();
        // The side that closes first lingers: the server's.
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        drop(listener);
        assert!(is_free(LOOPBACK, port));
    }

    #[test]
    fn an_address_of_another_machine_is_held_by_nobody_here() {
        // TEST-NET-1 is nobody's.
        assert!(is_free("192.0.2.1".parse().unwrap(), 1));
    }

    #[test]
    fn the_owner_is_found_with_its_command() {
        let (_listener, port) = listen(LOOPBACK);
        let owners = owners(port);
        let [owner] = &owners[..] else { panic!("one listener, found {owners:?}") };
        assert_eq!((owner.pid, owner.address), (Some(std::process::id()), (LOOPBACK, port).into()));
        let name = std::env::current_exe().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        assert!(owner.command.as_ref().unwrap().contains(&name), "{owner}");
        assert!(owner.how_to_stop(port).unwrap().contains(&std::process::id().to_string()));
    }

    #[test]
    fn a_port_that_nobody_listens_on_has_no_owner() {
        let (listener, port) = listen(LOOPBACK);
        drop(listener);
        assert_eq!(owners(port), []);
        assert_eq!(listens(&[std::process::id()], port), Some(false));
    }

    #[test]
    fn a_process_is_asked_for_its_own_listeners() {
        let (_listener, port) = listen(LOOPBACK);
        assert_eq!(listens(&[std::process::id()], port), Some(true));
        assert_eq!(listens(&[1, std::process::id()], port), Some(true));
        assert_eq!(listens(&[], port), Some(false));
        // A connection to the port is no listener.
        let (other, other_port) = listen(LOOPBACK);
        let _connection = TcpStream::connect((LOOPBACK, other_port)).unwrap();
        drop(other);
        assert_eq!(listens(&[std::process::id()], other_port), Some(false));
    }

    #[test]
    fn addresses_overlap_as_the_kernel_has_it() {
        let table = [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0", "127.0.0.1", true),
            ("::", "127.0.0.1", true),
            ("::1", "127.0.0.1", false),
            ("0.0.0.0", "::1", false),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
        ];
        for (one, other, expected) in table {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn dockers_proxy_is_known_by_its_program() {
        let owner = |command: &str| Owner {
            pid: None,
            command: Some(command.to_owned()),
            uid: Some(0),
            address: (LOOPBACK, 5432).into(),
        };
        let proxy = owner("/usr/bin/docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port 5432");
        assert!(proxy.is_docker_proxy());
        assert_eq!(proxy.how_to_stop(5432).unwrap(), "stop its container: `docker ps --filter publish=5432` shows it");
        assert!(!owner("vim docker-proxy").is_docker_proxy());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_command_line_is_one_short_line() {
        assert_eq!(one_line(b"python3\0-c\0import x\nx.run()\0"), "python3 -c import x x.run()");
        assert_eq!(one_line(b"nginx: master process nginx\0\0\0\0"), "nginx: master process nginx");
        assert_eq!(one_line(b"\x1b[31mred\0"), "[31mred");
        assert_eq!(one_line("ä".repeat(500).as_bytes()).chars().count(), 161);
    }
}
