//! Devices of other machines, by ggml's RPC backend: a model that one machine cannot hold is divided among several.
//!
//! Each machine that lends its devices runs an [`RpcServer`] or llama.cpp's `rpc-server`. The machine with the model
//! file connects with [`RpcEndpoint::connect`] and passes the devices to
//! [`ModelParams::devices`](crate::ModelParams::devices), together with its own GPUs if it has any. Its CPU always takes
//! part.
//!
//! ```no_run
//! use llama_core::rpc::RpcEndpoint;
//! use llama_core::{Model, ModelParams};
//!
//! # fn main() -> Result<(), llama_core::Error> {
//! let first = RpcEndpoint::connect("192.168.1.20:50052")?;
//! let second = RpcEndpoint::connect("192.168.1.21:50052")?;
//! let devices = first.devices().iter().chain(second.devices()).copied();
//! let model = Model::load("model.gguf", &ModelParams::default().devices(devices))?;
//! # let _ = model;
//! # Ok(())
//! # }
//! ```
//!
//! # Failures
//!
//! ggml's client ends the process when a connection breaks, on a thread of its own, where no guard can contain it, and it
//! waits for an answer without a limit. Therefore ggml never sees the network here: it connects to a relay, which is a
//! thread of this crate on the loopback interface. The relay passes the messages on, with a limit on every wait. When the
//! server is lost, the relay answers ggml in its place with zeros until the call returns, and the call then returns
//! [`ErrorKind::Rpc`](crate::ErrorKind::Rpc). All models and contexts with a part on that server are unusable from then on,
//! and can be dropped as usual. Everything else goes on, and the server can be connected to again.
//!
//! # Trust
//!
//! The protocol has neither encryption nor authentication, and a client can make a server read and write outside of its
//! buffers. Use it in networks where every machine is trusted. A server that lies about its results makes wrong text, and
//! can end the client's process by indices that do not exist.

mod dial;
mod endpoint;
mod error;
mod front;
mod link;
mod protocol;
mod relay;
mod server;
mod serving;

pub use endpoint::{RpcEndpoint, RpcTimeouts};
pub use error::{RpcError, RpcProblem};
pub(crate) use link::Link;
pub use protocol::RpcVersion;
pub use server::{RpcServer, RpcServerParams};
