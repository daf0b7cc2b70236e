//! stub
use super::Supervisor;
use super::socket::Socket;
/// Server.
#[derive(Debug)]
pub struct Server;
impl Server {
    /// Start.
    pub fn start(_socket: Socket, _s: impl Supervisor) -> Self {
        Self
    }
    /// Finish.
    pub async fn finish(self) {}
}
