//! The errors of devices of other machines.

use core::fmt;
use core::time::Duration;

use super::protocol::RpcVersion;

/// The failure of a server, with its address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpcError {
    /// Address of the server, as the caller has given it.
    pub address: String,
    /// Fault of the server or of the connection to it.
    pub problem: RpcProblem,
}

/// The fault of a server or of the connection to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RpcProblem {
    /// No connection: nothing listens there, or the name has no address.
    #[error("cannot be reached: {cause}. Start the server there, and check the address and the firewall")]
    #[non_exhaustive]
    Unreachable {
        /// The system's reason.
        cause: String,
    },
    /// The connection was accepted, but the greeting was not answered in time.
    #[error(
        "accepts connections, but has not answered within {}: it may serve another client, because a server serves one at \
         a time, or hang",
        Seconds(*waited)
    )]
    #[non_exhaustive]
    Silent {
        /// The time that the connection and the greeting were given.
        waited: Duration,
    },
    /// The server's protocol is of another version than the linked llama.cpp's.
    #[error(
        "has version {found} of the RPC protocol, but must have {expected}: run a server of the same llama.cpp version on it"
    )]
    #[non_exhaustive]
    OtherVersion {
        /// The server's version.
        found: RpcVersion,
        /// The version of the linked llama.cpp.
        expected: RpcVersion,
    },
    /// Something that is not such a server answers there, or one that is too old to say its version.
    #[error(
        "does not answer as ggml's RPC servers do: something else listens there, or a server of a very old version"
    )]
    NotRpc,
    /// The server lends no device.
    #[error("has no devices: start it with at least one")]
    NoDevices,
    /// The connection broke. Everything that was on the server is lost.
    #[error(
        "is lost: {cause}. Drop the models and contexts that use it, connect again, and load the model again"
    )]
    #[non_exhaustive]
    Lost {
        /// The system's reason, or the fault of the answer.
        cause: String,
    },
    /// The server did nothing for longer than [`RpcTimeouts::response`](super::RpcTimeouts::response). Everything that was
    /// on it is lost.
    #[error(
        "has not answered within {}, the response timeout, and is lost: raise the timeout if it is only slow; otherwise drop \
         the models and contexts that use it, connect again, and load the model again",
        Seconds(*waited)
    )]
    #[non_exhaustive]
    Stalled {
        /// The time that the server was given.
        waited: Duration,
    },
}

impl std::error::Error for RpcError {}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the RPC server {} {}", self.address, self.problem)
    }
}

/// A time in seconds.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}
