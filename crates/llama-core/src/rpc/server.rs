//! The server's side: lending the devices of this machine.

use core::fmt;
use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use parking_lot::Mutex;

use super::front::Front;
use super::link::Link;
use super::serving::{Serving, Setup, failed};
use crate::context::check_threads;
use crate::device::{self, Device, DeviceKind};
use crate::error::{Error, ParameterProblem, Result};
use crate::ffi::fork;

/// The parameters of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcServerParams {
    address: SocketAddr,
    other_machines: bool,
    devices: Option<Vec<Device>>,
    n_threads: Option<u32>,
}

impl Default for RpcServerParams {
    fn default() -> Self {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        Self { address, other_machines: false, devices: None, n_threads: None }
    }
}

impl RpcServerParams {
    /// Sets the address to listen on. Port 0 means any free port. Default: port 0 of the loopback interface.
    #[must_use]
    pub fn address(mut self, address: impl Into<SocketAddr>) -> Self {
        self.address = address.into();
        self
    }

    /// Sets whether the address may be one that other machines can reach. Whoever reaches it can use the devices, read what
    /// is on them, and take over the process: the protocol has no authentication, and the server trusts its client.
    /// Default: false.
    #[must_use]
    pub fn other_machines(mut self, allowed: bool) -> Self {
        self.other_machines = allowed;
        self
    }

    /// Sets the devices to lend. Default: all GPUs, or the CPU if there are none.
    #[must_use]
    pub fn devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        self.devices = Some(devices.into_iter().collect());
        self
    }

    /// Sets the number of threads with which the CPU computes, 1..=512. Default: the processors that this process may use.
    #[must_use]
    pub fn n_threads(mut self, n_threads: u32) -> Self {
        self.n_threads = Some(n_threads);
        self
    }

    fn check(&self) -> Result<Setup> {
        if !self.other_machines && !self.address.ip().is_loopback() {
            let expected = "an address of the loopback interface: whoever reaches another one can take over this process. \
                            RpcServerParams::other_machines allows it";
            return Err(invalid("address", self.address, expected));
        }
        let n_threads = match self.n_threads {
            Some(n_threads) => check_threads("n_threads", n_threads)?.unsigned_abs() as usize,
            None => thread::available_parallelism().map_or(1, core::num::NonZero::get),
        };
        let devices = self.devices.clone().unwrap_or_else(default_devices);
        check_devices(&devices)?;
        Ok(Setup { devices, n_threads })
    }
}

/// A server in this process, which lends devices to a model on another machine. Dropping it stops it.
///
/// ```no_run
/// use std::net::Ipv4Addr;
///
/// use llama_core::rpc::{RpcServer, RpcServerParams};
///
/// # fn main() -> Result<(), llama_core::Error> {
/// let params = RpcServerParams::default().address((Ipv4Addr::UNSPECIFIED, 50052)).other_machines(true);
/// let server = RpcServer::start(&params)?;
/// println!("listening on {}", server.address());
/// server.wait()?;
/// # Ok(())
/// # }
/// ```
///
/// It serves one client at a time; the next one waits. What a client keeps on the devices is freed when it leaves.
///
/// It shares the fate of the process: a client can make ggml fail an assertion while several threads compute, or write to
/// memory that is not its own. Run it in a program of its own to keep other work safe from that.
///
/// Stopping closes all connections. The thread of ggml's server, which cannot be ended, then waits as long as the process,
/// with the devices initialised but no memory of a client; the next server with the same devices and threads uses it.
pub struct RpcServer {
    front: Front,
    /// Number of forks after which its threads exist.
    generation: u32,
    serving: Mutex<Option<Serving>>,
}

impl RpcServer {
    /// Starts a server on threads of its own, and returns when it listens.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`](crate::ErrorKind::InvalidParameter) for an address outside of the loopback
    /// interface without [`other_machines`](RpcServerParams::other_machines), for a number of threads out of range, and for
    /// devices that cannot be lent: none, the same one twice, accelerators, devices of other machines.
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the linked library has no RPC backend.
    /// [`ErrorKind::RpcServer`](crate::ErrorKind::RpcServer) if it cannot listen, or a device cannot be used.
    ///
    /// Corresponds to `llama_shim_rpc_start_server`.
    pub fn start(params: &RpcServerParams) -> Result<Self> {
        let setup = params.check()?;
        let serving = Serving::begin(&setup)?;
        match Front::open(params.address, serving.address()) {
            Ok(front) => {
                Ok(Self { front, generation: fork::generation(), serving: Mutex::new(Some(serving)) })
            }
            Err(error) => {
                serving.park();
                Err(failed(format!("it cannot listen on {}: {error}", params.address)))
            }
        }
    }

    /// Returns the address on which it listens, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// Waits until the server is stopped by another thread, or fails.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RpcServer`](crate::ErrorKind::RpcServer) if ggml's server has failed: a client has made it fail an
    /// assertion.
    pub fn wait(&self) -> Result<()> {
        loop {
            let ended = self.serving.lock().as_ref().and_then(|serving| serving.ended().map(str::to_owned));
            if let Some(reason) = ended {
                self.front.close();
                return Err(failed(reason));
            }
            if self.front.is_closed() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops the server: closes all connections, and waits for at most 10 s until a running computation has ended. Does
    /// nothing in a fork of the process that started it.
    pub fn stop(&self) {
        if self.generation != fork::generation() {
            return;
        }
        self.front.close();
        if let Some(serving) = self.serving.lock().take() {
            serving.park();
        }
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for RpcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcServer").field("address", &self.address()).finish_non_exhaustive()
    }
}

fn default_devices() -> Vec<Device> {
    let is_gpu = |device: &Device| matches!(device.kind(), DeviceKind::Gpu | DeviceKind::IntegratedGpu);
    let gpus: Vec<_> = device::devices().into_iter().filter(is_gpu).collect();
    if gpus.is_empty() { Device::cpu().into_iter().collect() } else { gpus }
}

fn check_devices(devices: &[Device]) -> Result<()> {
    let names = || devices.iter().map(Device::name).collect::<Vec<_>>().join(", ");
    let refuse = |expected: &str| Err(invalid("devices", names(), expected));
    if devices.is_empty() {
        return refuse("at least one device");
    }
    if devices.iter().enumerate().any(|(index, device)| devices[..index].contains(device)) {
        return refuse("a list without duplicates");
    }
    if devices.iter().any(|device| device.kind() == DeviceKind::Accelerator) {
        return refuse("devices that compute every operation: accelerators only support the CPU");
    }
    if devices.iter().any(|device| Link::of(*device).is_some()) {
        return refuse("devices of this machine: let the client connect to the other server itself");
    }
    Ok(())
}

fn invalid(name: &'static str, value: impl fmt::Display, expected: &str) -> Error {
    ParameterProblem::new(name, value, expected).into()
}
