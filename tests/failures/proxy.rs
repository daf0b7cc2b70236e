//! A socket in front of the engine's own, which can be cut off as if the engine had died.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{Project, variable};

/// Whoever connects to it talks to the engine, until it is cut.
pub(crate) struct Proxy {
    path: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    engine: PathBuf,
    /// The request that the engine does not live to see.
    last: Option<&'static str>,
    cut: AtomicBool,
    streams: Mutex<Vec<UnixStream>>,
}

impl Proxy {
    /// Listens in the project's folder. `last`: the beginning of the request at which it cuts itself off, such as
    /// `POST /containers/create`. `None` where the engine has no Unix socket to stand in front of.
    pub(crate) fn start(project: &Project, last: Option<&'static str>) -> Option<Self> {
        let engine = match variable("DOCKER_HOST") {
            None => PathBuf::from("/var/run/docker.sock"),
            Some(host) => PathBuf::from(host.strip_prefix("unix://")?),
        };
        UnixStream::connect(&engine).ok()?;
        let path = project.root().join("engine.sock");
        let listener = UnixListener::bind(&path).expect("the project's folder is ours");
        let shared = Arc::new(Shared { engine, last, cut: AtomicBool::new(false), streams: Mutex::default() });
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            // Ends with the listener, and with it whoever connects is refused.
            move || {
                for client in listener.incoming().flatten().take_while(|_| !shared.is_cut()) {
                    shared.serve(client);
                }
            }
        });
        Some(Self { path, shared })
    }

    /// What `DOCKER_HOST` has to be.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Cuts every connection, and refuses new ones.
    pub(crate) fn cut(&self) {
        self.shared.cut();
        // Wakes the thread that waits for clients, so that it sees the cut and goes.
        drop(UnixStream::connect(&self.path));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    fn cut(&self) {
        // Under the lock, so that no connection that is being made escapes.
        let streams = self.streams.lock().expect("no thread panics while it holds this");
        self.cut.store(true, Ordering::SeqCst);
        for stream in streams.iter() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn serve(self: &Arc<Self>, client: UnixStream) {
        let Ok(engine) = UnixStream::connect(&self.engine) else { return };
        let twin = |stream: &UnixStream| stream.try_clone().expect("there are file descriptors left");
        let (from_client, from_engine) = (twin(&client), twin(&engine));
        let mut streams = self.streams.lock().expect("no thread panics while it holds this");
        if self.is_cut() {
            return;
        }
        streams.extend([twin(&client), twin(&engine)]);
        drop(streams);
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.carry(from_client, engine, shared.last));
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.carry(from_engine, client, None));
    }

    /// Passes on what is read, until there is no more or the last request is met.
    fn carry(&self, mut from: UnixStream, mut to: UnixStream, last: Option<&str>) {
        let mut chunk = [0; 16 * 1024];
        // What came before, as far as a request line could have begun in it.
        let mut before: Vec<u8> = Vec::new();
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            if let Some(last) = last.map(str::as_bytes) {
                before.extend_from_slice(&chunk[..count]);
                if before.windows(last.len()).any(|window| window == last) {
                    return self.cut();
                }
                before.drain(..before.len().saturating_sub(last.len()));
            }
            if to.write_all(&chunk[..count]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Write));
    }
}
