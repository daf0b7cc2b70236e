//! The listening sockets that devctl holds for services with `listen = true`, for as long as the services are part of
//! the run: a service that ends and starts again finds its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Error;
use crate::name::ServiceName;
use crate::os::handover::Socket;

/// The sockets of a run.
#[derive(Default)]
pub(super) struct Sockets(Mutex<HashMap<ServiceName, Arc<Socket>>>);

impl Sockets {
    /// The socket of a service, bound where it is not yet, or no longer on the right port.
    pub(super) fn of(&self, service: &ServiceName, port: u16) -> Result<Arc<Socket>, Error> {
        let mut sockets = self.lock();
        if let Some(socket) = sockets.get(service).filter(|socket| socket.port() == port) {
            return Ok(Arc::clone(socket));
        }
        let socket = Socket::bind(port);
        let socket = socket.map_err(|source| Error::Listen { service: service.to_string(), port, source })?;
        let socket = Arc::new(socket);
        sockets.insert(service.clone(), Arc::clone(&socket));
        Ok(socket)
    }

    /// Closes the socket of a service. Connections that nobody took are refused.
    pub(super) fn close(&self, service: &ServiceName) {
        self.lock().remove(service);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceName, Arc<Socket>>> {
        // What is kept here stays whole if a holder panics: each change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
