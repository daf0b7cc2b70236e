//! The server: which route does what, and how it begins and ends. What the routes answer is in `routes`, what goes on
//! and on in `streams`, who is let in in `door`.

mod door;
mod problem;
mod routes;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use routes::ROUTES;

use super::Supervisor;
use super::socket::Socket;
use door::{Door, Guest, Limits};

/// How long clients may take to read the last events once everything is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the routes know.
#[derive(Clone)]
struct Shared {
    supervisor: Arc<dyn Supervisor>,
    /// Cancelled when the server ends: whatever goes on and on ends then.
    closing: CancellationToken,
    limits: Limits,
}

/// A server that runs. Dropped, it ends at once; [`Server::close`] lets clients read what is left to say.
#[must_use = "the server ends when it is dropped"]
pub struct Server {
    supervisor: Arc<dyn Supervisor>,
    closing: CancellationToken,
    task: JoinHandle<()>,
    // Its files go last.
    socket: Socket,
}

impl Server {
    /// Serves a supervisor on a socket.
    pub fn start(socket: Socket, supervisor: Arc<dyn Supervisor>) -> Self {
        Self::with_limits(socket, supervisor, Limits::default())
    }

    fn with_limits(socket: Socket, supervisor: Arc<dyn Supervisor>, limits: Limits) -> Self {
        let closing = CancellationToken::new();
        let shared = Shared { supervisor: Arc::clone(&supervisor), closing: closing.clone(), limits };
        let door = Door::new(Arc::clone(&socket.listener), limits);
        let service = routes::router(shared).into_make_service_with_connect_info::<Guest>();
        let served = axum::serve(door, service).with_graceful_shutdown(closing.clone().cancelled_owned());
        let task = tokio::spawn(async move {
            // It ends when it is told to, and never with an error.
            let _ = served.await;
        });
        Self { supervisor, closing, task, socket }
    }

    /// Where it can be reached.
    pub fn path(&self) -> &std::path::Path {
        self.socket.path()
    }

    /// Ends: nobody is let in any more, and clients get the events and lines that there are, if they read them soon.
    pub async fn close(mut self) {
        self.supervisor.events().close();
        self.closing.cancel();
        // Whoever has not read it by now is not going to.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.cancel();
        self.task.abort();
    }
}
