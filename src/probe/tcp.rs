//! The `tcp` probe, and how every probe of ours opens a connection: it connects and judges whether somebody is there.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{ATTEMPT_LIMIT, Attempt, Reply, address};
use crate::driver::Control;

/// How long a connection must stand before it counts. Docker's userland proxy accepts on a published port as soon as
/// the container is started, and closes when it finds nobody behind it: on one machine that is a matter of a
/// millisecond.
const STANDS: Duration = Duration::from_millis(50);

/// How often to look whether a connection was taken. Nobody tells of that.
const LOOK: Duration = Duration::from_millis(5);

/// Connects, and looks whether the connection stands, and whether the workload took it where devctl listens for it.
pub(super) async fn ask(host: &str, port: u16, control: Option<&dyn Control>) -> Reply {
    let deadline = Instant::now() + ATTEMPT_LIMIT;
    let mut stream = match connect(host, port, deadline).await {
        Ok(stream) => stream,
        Err(answer) => return Reply::Unreached(answer),
    };
    // Connections are taken in the order in which they were made: when none waits, ours was taken too.
    while control.is_some_and(|control| control.is_waiting(port)) {
        if Instant::now() >= deadline {
            let answer = format!("{} has a connection waiting that the service does not take", address(host, port));
            return Reply::Reached(Attempt::NotYet(answer));
        }
        sleep(LOOK).await;
    }
    let mut byte = [0];
    Reply::Reached(match timeout(STANDS, stream.read(&mut byte)).await {
        // Silence and a greeting are what servers do.
        Err(_) | Ok(Ok(1..)) => Attempt::Ready,
        Ok(Ok(0) | Err(_)) => Attempt::NotYet(closed(host, port)),
    })
}

/// Opens a connection. The error is the answer to show.
pub(super) async fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, String> {
    let stream = match timeout_at(deadline, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(unreached(host, port, &e)),
        Err(_) => return Err(unreached(host, port, &io::ErrorKind::TimedOut.into())),
    };
    // On a loopback port in the ephemeral range the kernel may give the client that same port, and connect the socket
    // to itself.
    if matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer) {
        return Err(nobody(host, port));
    }
    Ok(stream)
}

/// Why no connection could be opened.
pub(super) fn unreached(host: &str, port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => nobody(host, port),
        io::ErrorKind::ConnectionReset => closed(host, port),
        io::ErrorKind::TimedOut => format!("{} takes no connection within 2 s", address(host, port)),
        _ => format!("cannot connect to {}: {error}", address(host, port)),
    }
}

/// Nobody is there.
pub(super) fn nobody(host: &str, port: u16) -> String {
    format!("nobody listens on {}", address(host, port))
}

/// Somebody is there and will not talk: what a published port does while its container does not listen yet.
pub(super) fn closed(host: &str, port: u16) -> String {
    format!("{} closes the connection unanswered", address(host, port))
}

/// Somebody is there and says nothing.
pub(super) fn silent(host: &str, port: u16) -> String {
    format!("{} takes the connection and does not answer within 2 s", address(host, port))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn a_port_nobody_listens_on_is_not_reached() {
        // Bound and not listening: nobody else can take the port while the test runs.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(ask("127.0.0.1", port, None).await, Reply::Unreached(format!("nobody listens on 127.0.0.1:{port}")));
    }

    #[tokio::test]
    async fn a_listener_that_is_silent_or_greets_is_ready() {
        for greeting in [&b""[..], b"220 hello\r\n"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let peer = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(greeting).await.unwrap();
                // Until the probe is gone.
                let _ = stream.read(&mut [0]).await;
            };
            let (reply, ()) = tokio::join!(ask("127.0.0.1", port, None), peer);
            assert_eq!(reply, Reply::Reached(Attempt::Ready));
        }
    }

    #[tokio::test]
    async fn a_listener_that_closes_at_once_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = async { drop(listener.accept().await.unwrap()) };
        let (reply, ()) = tokio::join!(ask("127.0.0.1", port, None), peer);
        assert_eq!(reply, Reply::Reached(Attempt::NotYet(closed("127.0.0.1", port))));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_says_so() {
        // A name with an empty label is refused by every resolver without asking anybody.
        let Reply::Unreached(answer) = ask("no..such..host", 1, None).await else {
            panic!("reached a host of no name")
        };
        assert!(answer.starts_with("cannot connect to no..such..host:1: "), "{answer}");
    }

    #[test]
    fn ipv6_addresses_get_brackets() {
        assert_eq!(nobody("::1", 80), "nobody listens on [::1]:80");
    }
}
