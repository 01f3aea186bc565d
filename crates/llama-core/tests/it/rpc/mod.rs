//! Devices of other machines: texts, servers that are not there or are something else, and servers that fail.

mod failing;
mod proxy;
mod servers;
mod strangers;
mod texts;

use llama_core::rpc::{RpcEndpoint, RpcProblem, RpcServer, RpcServerParams, RpcTimeouts};
use llama_core::{Device, Error, ErrorKind, Model, ModelParams};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Starts a server in this process that lends the CPU, with one thread.
fn server() -> RpcServer {
    let cpu = Device::cpu().unwrap();
    RpcServer::start(&RpcServerParams::default().devices([cpu]).n_threads(1)).unwrap()
}

fn connect(address: SocketAddr) -> RpcEndpoint {
    RpcEndpoint::connect(&address.to_string()).unwrap()
}

/// Returns times for a server that is to be found silent soon. They are long enough for one that is not.
fn impatient() -> RpcTimeouts {
    RpcTimeouts::default().response(Duration::from_secs(2))
}

/// Loads a model with all its layers on the devices.
fn load(path: impl AsRef<Path>, devices: &[Device]) -> Result<Model, Error> {
    Model::load(path, &ModelParams::default().devices(devices.iter().copied()))
}

/// Returns the problem of a server.
#[track_caller]
fn problem(error: &Error) -> &RpcProblem {
    match error.kind() {
        ErrorKind::Rpc(error) => &error.problem,
        other => panic!("{other:?}"),
    }
}
