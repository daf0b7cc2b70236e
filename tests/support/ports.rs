//! TCP ports for tests that run side by side: each is reserved by a locked file for as long as its test runs, so that two
//! test processes never get the same one, and lies below the range from which systems give ports to clients.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 20_000;
const COUNT: u16 = 7_000;

/// A port of this machine that is this test's own until the value is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _reserved: File,
}

impl Port {
    /// Reserves a port on which nobody listens.
    pub(crate) fn reserve() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = std::env::temp_dir().join("devctl-test-ports");
        std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written to");
        let start = std::process::id() % u32::from(COUNT);
        let start = u16::try_from(start).expect("smaller than COUNT");
        for _ in 0..COUNT {
            let number = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
            let file = File::options().create(true).append(true).open(folder.join(number.to_string()));
            let Ok(file) = file else { continue };
            if file.try_lock().is_ok() && is_free(number) {
                return Self { number, _reserved: file };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

/// A port that is this process's own until it ends: for tests that use the library, and whose servers come and go.
pub(crate) fn free_port() -> u16 {
    static HELD: Mutex<Vec<Port>> = Mutex::new(Vec::new());
    let port = Port::reserve();
    let number = port.number();
    HELD.lock().expect("nobody panics with it").push(port);
    number
}

/// Whether nobody listens on the port, on any address.
pub(crate) fn is_free(port: u16) -> bool {
    let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map(drop);
    // A machine without IPv6 cannot bind there, which says nothing about the port.
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).map(drop);
    let taken = |bound: std::io::Result<()>| bound.is_err_and(|e| e.kind() == std::io::ErrorKind::AddrInUse);
    !taken(v4) && !taken(v6)
}
