//! Taking the port, serving on it and draining. The port is reserved before the slow parts of a start, so that a taken
//! one is reported at once, but connections are accepted only when the service can answer them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::{TcpListener, TcpSocket};

use crate::shutdown::Shutdown;

/// Why the service cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program has the port.
    #[error("address {address} is already in use by another program; stop that program or set PORT to another port")]
    Taken {
        /// The address that was asked for.
        address: String,
    },
    /// The system refuses the address for another reason.
    #[error("cannot listen on {address}")]
    Refused {
        /// The address that was asked for.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ListenError {
    fn new(address: String, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { address },
            _ => Self::Refused { address, source },
        }
    }
}

/// A port that is ours but refuses connections still.
#[derive(Debug)]
pub struct Reserved {
    socket: TcpSocket,
    address: String,
}

/// Reserves a port.
pub async fn reserve(host: &str, port: u16) -> Result<Reserved, ListenError> {
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let bound = async {
        let target = tokio::net::lookup_host((host, port)).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Lets a restart take a port whose old connections are in TIME_WAIT; on Windows it would share the port.
        socket.set_reuseaddr(cfg!(not(windows)))?;
        socket.bind(target)?;
        Ok(socket)
    };
    match bound.await {
        Ok(socket) => Ok(Reserved { socket, address }),
        Err(source) => Err(ListenError::new(address, source)),
    }
}

impl Reserved {
    /// Starts to accept connections.
    pub fn listen(self) -> Result<TcpListener, ListenError> {
        self.socket.listen(1024).map_err(|source| ListenError::new(self.address, source))
    }
}

/// Serves until a stop is asked for, then lets the requests under way finish, for `drain` at most.
pub async fn serve(listener: TcpListener, app: Router, shutdown: &Shutdown, drain: Duration) {
    let stop = shutdown.clone();
    // Small answers must not wait for the acknowledgement of earlier ones (Nagle).
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY refused");
        }
    });
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move { stop.requested().await });
    let server = std::pin::pin!(server.into_future());
    let deadline = async {
        shutdown.requested().await;
        tokio::select! {
            () = tokio::time::sleep(drain) => {}
            () = shutdown.hurried() => {}
        }
    };
    tokio::select! {
        result = server => match result {
            Ok(()) => tracing::debug!("all requests finished"),
            Err(error) => tracing::error!(%error, "the listener failed"),
        },
        () = deadline => tracing::warn!("requests still under way were cut off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_before_listening() {
        let first = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let error = reserve("127.0.0.1", port).await.unwrap_err();
        assert!(matches!(error, ListenError::Taken { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&format!("address 127.0.0.1:{port} is already in use")), "{error}");
    }

    #[tokio::test]
    async fn a_reserved_port_refuses_connections_until_it_listens() {
        let reserved = reserve("127.0.0.1", 0).await.unwrap();
        let address = reserved.socket.local_addr().unwrap();
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
        let _listener = reserved.listen().unwrap();
        assert!(tokio::net::TcpStream::connect(address).await.is_ok());
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let error = reserve("192.0.2.1", 0).await.unwrap_err();
        assert!(matches!(error, ListenError::Refused { .. }), "{error:?}");
    }
}
