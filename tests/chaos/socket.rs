//! The control socket as any program would use it: a few lines of HTTP.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::support::DEADLINE;

/// Where the socket of a project is, whether or not anybody listens.
pub(crate) fn place(root: &Path) -> Option<PathBuf> {
    let path = root.join(".devctl/control.sock");
    match std::fs::read_link(&path) {
        Ok(target) => Some(target),
        Err(_) => path.symlink_metadata().is_ok().then_some(path),
    }
}

/// Sends a request and gives the whole answer; `None` where nobody listens or the listener goes away.
pub(crate) fn ask(root: &Path, method: &str, route: &str, body: &str) -> Option<String> {
    let mut stream = UnixStream::connect(place(root)?).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).expect("the deadline is not zero");
    let length = body.len();
    let request = format!(
        "{method} {route} HTTP/1.1\r\nhost: devctl\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("{method} {route}: no answer within {DEADLINE:?}")
        }
        Ok(_) | Err(_) => Some(String::from_utf8_lossy(&answer).into_owned()),
    }
}
