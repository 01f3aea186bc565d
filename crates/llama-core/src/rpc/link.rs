//! The state of the connection to a server, which models and contexts with a part there share.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use super::dial::{dial, is_timeout};
use super::endpoint::RpcTimeouts;
use super::error::{RpcError, RpcProblem};
use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::fork;

/// The servers that were connected to, with their devices. ggml does not forget them either.
static LINKS: RwLock<Vec<(Arc<Link>, Vec<Device>)>> = RwLock::new(Vec::new());

/// A server that was connected to.
pub(crate) struct Link {
    address: String,
    timeouts: RpcTimeouts,
    /// The first failure, which is final.
    failure: OnceLock<RpcProblem>,
    /// Number of open connections of ggml.
    connections: AtomicUsize,
    /// Number of forks after which the relay's threads exist.
    generation: u32,
}

impl Link {
    pub(super) fn new(address: &str, timeouts: RpcTimeouts) -> Self {
        let (failure, connections) = (OnceLock::new(), AtomicUsize::new(0));
        Self { address: address.to_owned(), timeouts, failure, connections, generation: fork::generation() }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns whether ggml has a connection now. A server serves no second one.
    pub(super) fn is_connected(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 0
    }

    /// Counts a connection until the guard is dropped.
    pub(super) fn connected(&self) -> Connected<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(self)
    }

    /// Connects to the server. For a connection of ggml the greeting may take as long as any answer, because the server may
    /// still be busy with the previous connection.
    pub(super) fn dial(&self, is_first: bool) -> Result<TcpStream, RpcProblem> {
        let RpcTimeouts { connect, response } = self.timeouts;
        let server = dial(&self.address, connect, if is_first { connect } else { response })?;
        let limited =
            server.set_read_timeout(Some(response)).and_then(|()| server.set_write_timeout(Some(response)));
        limited.map(|()| server).map_err(|error| self.problem(&error))
    }

    /// Returns the problem for a failed read or write.
    pub(super) fn problem(&self, error: &io::Error) -> RpcProblem {
        use io::ErrorKind as Kind;
        match error.kind() {
            _ if is_timeout(error) => RpcProblem::Stalled { waited: self.timeouts.response },
            // It depends on the moment which of them it is.
            Kind::UnexpectedEof | Kind::BrokenPipe | Kind::ConnectionReset | Kind::ConnectionAborted => {
                RpcProblem::Lost { cause: "it has closed the connection".to_owned() }
            }
            _ => RpcProblem::Lost { cause: error.to_string() },
        }
    }

    /// Records a failure. The first one counts. Nothing is logged, because a subscriber may wait for a thread that waits
    /// for the relay.
    pub(super) fn fail(&self, problem: RpcProblem) {
        let _ = self.failure.set(problem);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Returns the server's failure as an error, if it has failed, and an error in a fork of the process that connected.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        if !self.has_failed() && !self.is_of_parent() { Ok(()) } else { Err(self.failure()) }
    }

    #[cold]
    fn failure(&self) -> Error {
        match self.failure.get() {
            Some(problem) => ErrorKind::Rpc(self.error(problem.clone())).into(),
            None => {
                let reason = format!(
                    "the connection to the RPC server {} belongs to the parent process: connect in the child",
                    self.address
                );
                ErrorKind::Forked { operation: "using devices of other machines", reason }.into()
            }
        }
    }

    /// Returns whether the threads that serve this connection are in the parent process.
    pub(crate) fn is_of_parent(&self) -> bool {
        self.generation != fork::generation()
    }

    pub(super) fn error(&self, problem: RpcProblem) -> RpcError {
        RpcError { address: self.address.clone(), problem }
    }

    /// Returns the server of a device, or `None` for a device of this machine.
    pub(crate) fn of(device: Device) -> Option<Arc<Self>> {
        LINKS.read().iter().find(|(_, devices)| devices.contains(&device)).map(|(link, _)| link.clone())
    }

    /// Returns a connection of this process that has not failed, with its devices.
    pub(super) fn find(address: &str, timeouts: RpcTimeouts) -> Option<(Arc<Self>, Vec<Device>)> {
        let fits = |link: &Self| link.address == address && link.timeouts == timeouts && link.check().is_ok();
        LINKS.read().iter().find(|(link, _)| fits(link)).cloned()
    }

    /// Adds a connection, unless another thread has added one to the same server. Returns the one that is to be used.
    pub(super) fn add(self: Arc<Self>, devices: Vec<Device>) -> (Arc<Self>, Vec<Device>) {
        LINKS.write().push((self.clone(), devices.clone()));
        Self::find(&self.address, self.timeouts).unwrap_or((self, devices))
    }
}

/// A guard that counts a connection.
pub(super) struct Connected<'l>(&'l Link);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
