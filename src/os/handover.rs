//! A listening socket that devctl holds for a service and hands to each of its lives, so that a restart refuses no
//! connection: they wait in the kernel's queue until the next life takes them.
//!
//! A child gets it as systemd's services get theirs (`sd_listen_fds(3)`): file 3, and `LISTEN_FDS`, `LISTEN_PID` and
//! `LISTEN_FDNAMES` in its environment. Its own process id is known only after the fork, so the child itself writes it
//! into an environment that was laid out before.
#![cfg_attr(unix, expect(unsafe_code, reason = "a child has to be prepared between fork and exec"))]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

#[cfg(unix)]
pub(super) use child::{Exec, Failure};

/// A socket that listens, and whose connections are taken by others.
#[derive(Debug)]
pub struct Socket {
    #[cfg_attr(not(unix), expect(dead_code, reason = "held open; nothing is handed over there"))]
    listener: TcpListener,
    address: SocketAddr,
}

impl Socket {
    /// Listens on a port of the loopback address.
    pub fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        #[cfg(unix)]
        child::lengthen_queue(&listener)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether a connection waits that nobody has taken yet. The kernel makes connections as soon as somebody listens, so
    /// a connection alone does not show that the service is there.
    #[cfg(unix)]
    pub fn is_waiting(&self) -> bool {
        use std::os::fd::AsFd;

        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut socket = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut socket, PollTimeout::ZERO), Ok(1..))
    }

    /// Nobody waits, as nothing is handed over here.
    #[cfg(not(unix))]
    pub fn is_waiting(&self) -> bool {
        false
    }
}

#[cfg(unix)]
mod child {
    use std::ffi::{CString, c_char};
    use std::io::{self, PipeReader, Read};
    use std::net::TcpListener;
    use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
    use std::os::unix::ffi::OsStrExt;
    use std::ptr;

    use nix::fcntl::{FcntlArg, fcntl};

    use super::Socket;
    use crate::os::spawn::Order;

    /// The number under which a child gets its socket: the first after the standard files.
    const FIRST: RawFd = 3;

    /// As many connections may wait as the system allows. A restart takes as long as the service takes to start.
    const QUEUE: libc::c_int = 4096;

    const PID: &[u8] = b"LISTEN_PID=";

    /// Room for the largest process id, and for the end of the string.
    const DIGITS: usize = 11;

    /// Makes the queue longer than the standard library does.
    pub(super) fn lengthen_queue(listener: &TcpListener) -> io::Result<()> {
        // SAFETY: a plain system call on a file that is open. A socket that listens already only gets the new length.
        if unsafe { libc::listen(listener.as_raw_fd(), QUEUE) } == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Everything that a child needs to put the socket in its place and become the program, made before the fork:
    /// after it, nothing may be allocated.
    pub(in crate::os) struct Exec {
        /// What the pointers below point into.
        _strings: Vec<CString>,
        program: *const c_char,
        args: Vec<*const c_char>,
        env: Vec<*const c_char>,
        /// `LISTEN_PID=` and room for a number.
        pid: Box<[u8]>,
        /// Whatever is in the way of `FIRST` in the child is overwritten there; these two are not, they have higher
        /// numbers.
        socket: OwnedFd,
        failed: OwnedFd,
    }

    // SAFETY: the pointers point into memory on the heap that this value owns, and that nobody changes but the child,
    // which has one thread.
    unsafe impl Send for Exec {}
    // SAFETY: as above.
    unsafe impl Sync for Exec {}

    /// Where the child says why it could not become the program.
    pub(in crate::os) struct Failure(PipeReader);

    impl Exec {
        /// Prepares a child. `name` is what `LISTEN_FDNAMES` says.
        pub(in crate::os) fn prepare(order: &Order, socket: &Socket, name: &str) -> io::Result<(Self, Failure)> {
            // The file is one for all lives: what an earlier one changed is no surprise to the next.
            socket.listener.set_nonblocking(false)?;
            let (failure, failed) = io::pipe()?;
            let mut strings = Vec::new();
            let mut keep = |bytes: Vec<u8>| -> io::Result<*const c_char> {
                let string = CString::new(bytes)?;
                let pointer = string.as_ptr();
                strings.push(string);
                Ok(pointer)
            };
            let program = keep(order.program.as_os_str().as_bytes().to_vec())?;
            let mut args = vec![program];
            for arg in &order.args {
                args.push(keep(arg.clone().into_bytes())?);
            }
            args.push(ptr::null());
            let of_another = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
            let mut env = Vec::new();
            for (name, value) in order.env.iter().filter(|(name, _)| !of_another.contains(&name.as_str())) {
                env.push(keep(format!("{name}={value}").into_bytes())?);
            }
            env.push(keep(b"LISTEN_FDS=1".to_vec())?);
            env.push(keep(format!("LISTEN_FDNAMES={name}").into_bytes())?);
            let mut pid = vec![0; PID.len() + DIGITS].into_boxed_slice();
            pid[..PID.len()].copy_from_slice(PID);
            env.push(pid.as_ptr().cast());
            env.push(ptr::null());
            let (socket, failed) = (above(&socket.listener)?, above(&failed)?);
            Ok((Self { _strings: strings, program, args, env, pid, socket, failed }, Failure(failure)))
        }

        /// Becomes the program. Runs between fork and exec, and never comes back: the pipe through which the standard
        /// library would hear of an error may be what was overwritten.
        pub(in crate::os) fn run(&mut self) -> io::Result<()> {
            write_number(&mut self.pid[PID.len()..], std::process::id());
            // SAFETY: system calls that are allowed between fork and exec, on files that are open and with strings that
            // end in zero and lists that end in null, as `prepare` made them.
            unsafe {
                // The copy is not closed on exec; the original has another number.
                if libc::dup2(self.socket.as_raw_fd(), FIRST) != -1 {
                    libc::execve(self.program, self.args.as_ptr(), self.env.as_ptr());
                }
                let error = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL).to_ne_bytes();
                libc::write(self.failed.as_raw_fd(), error.as_ptr().cast(), error.len());
                libc::_exit(127);
            }
        }
    }

    impl Failure {
        /// Waits until the child became the program, or says why it did not.
        pub(in crate::os) fn wait(mut self) -> io::Result<()> {
            let mut code = [0; 4];
            match self.0.read_exact(&mut code) {
                Ok(()) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(code))),
                // Closed without a word, by exec.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                Err(e) => Err(e),
            }
        }
    }

    /// A copy with a number beyond the one that the child's socket gets, closed on exec.
    fn above(file: &impl AsFd) -> io::Result<OwnedFd> {
        let copy = fcntl(file, FcntlArg::F_DUPFD_CLOEXEC(FIRST + 1))?;
        // SAFETY: the number was just given to us, and to nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(copy) })
    }

    /// Writes a number in decimal digits; what follows is zero already. Allocates nothing.
    fn write_number(to: &mut [u8], number: u32) {
        let digits = number.checked_ilog10().unwrap_or_default() as usize + 1;
        let mut left = number;
        for at in (0..digits).rev() {
            to[at] = b'0' + u8::try_from(left % 10).unwrap_or_default();
            left /= 10;
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn numbers_are_written_with_all_their_digits() {
            for number in [0, 7, 10, 99_999, 4_194_304, u32::MAX] {
                let mut room = [0; DIGITS];
                write_number(&mut room, number);
                let text = number.to_string();
                assert_eq!(&room[..text.len()], text.as_bytes());
                assert!(room[text.len()..].iter().all(|b| *b == 0) && text.len() < DIGITS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_connection_waits_until_somebody_takes_it() {
        let socket = Socket::bind(0).unwrap();
        assert!(!socket.is_waiting());
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, socket.port())).unwrap();
        assert!(socket.is_waiting());
        let _server = socket.listener.accept().unwrap();
        assert!(!socket.is_waiting());
    }

    #[test]
    fn a_port_is_bound_once() {
        let socket = Socket::bind(0).unwrap();
        assert_eq!(Socket::bind(socket.port()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
