//! The client's side: connecting to a server for its devices.

use core::fmt;
use core::time::Duration;
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use super::error::RpcProblem;
use super::link::Link;
use super::protocol::RpcVersion;
use super::relay;
use crate::backend;
use crate::device::{BackendReg, Device};
use crate::error::{Error, ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::guarded;

/// The longest times that the client waits for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcTimeouts {
    pub(super) connect: Duration,
    pub(super) response: Duration,
}

impl Default for RpcTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), response: Duration::from_secs(120) }
    }
}

impl RpcTimeouts {
    /// Sets the time for a connection, and again for the server's greeting. The time for finding the address of a name is
    /// the system's. From 1 ms to 1 day. Default: 5 s.
    #[must_use]
    pub fn connect(mut self, time: Duration) -> Self {
        self.connect = time;
        self
    }

    /// Sets the time that a server may do nothing: neither take a part of a message nor send a part of an answer. It does
    /// both only between computations, so this limits the time for its part of a micro-batch
    /// ([`n_ubatch`](crate::ContextParams::n_ubatch) tokens). From 1 ms to 1 day. Default: 120 s.
    #[must_use]
    pub fn response(mut self, time: Duration) -> Self {
        self.response = time;
        self
    }

    fn check(self) -> Result<()> {
        let range = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
        for (name, value) in [("connect", self.connect), ("response", self.response)] {
            if !range.contains(&value) {
                let value = format!("{value:?}");
                return Err(ParameterProblem::new(name, value, "from 1 ms to 1 day").into());
            }
        }
        Ok(())
    }
}

/// A server whose devices this process can use. Cheap to clone.
#[derive(Clone)]
pub struct RpcEndpoint {
    link: Arc<Link>,
    devices: Arc<[Device]>,
}

impl RpcEndpoint {
    /// Connects to a server, `host:port`, with the default [`RpcTimeouts`].
    ///
    /// A second call with the same address and times returns the same devices as long as the server has not failed. After a
    /// failure it connects anew, and the devices are new ones.
    ///
    /// Each new connection keeps a thread, a port of the loopback interface and the devices as long as the process, because
    /// ggml forgets no server.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rpc`] with [`Unreachable`](RpcProblem::Unreachable), [`Silent`](RpcProblem::Silent),
    /// [`OtherVersion`](RpcProblem::OtherVersion), [`NotRpc`](RpcProblem::NotRpc) or [`NoDevices`](RpcProblem::NoDevices).
    /// [`ErrorKind::InvalidParameter`] for an address without a port. [`ErrorKind::Unsupported`] if the linked library has
    /// no RPC backend.
    ///
    /// Corresponds to `llama_shim_rpc_add_server`.
    pub fn connect(address: &str) -> Result<Self> {
        Self::connect_within(address, RpcTimeouts::default())
    }

    /// Connects to a server, `host:port`.
    ///
    /// # Errors
    ///
    /// The errors of [`RpcEndpoint::connect`], and [`ErrorKind::InvalidParameter`] for a time out of range.
    pub fn connect_within(address: &str, timeouts: RpcTimeouts) -> Result<Self> {
        timeouts.check()?;
        check_address(address)?;
        let function = rpc_function(c"ggml_backend_rpc_add_server")?;
        if let Some((link, devices)) = Link::find(address, timeouts) {
            // A server that this process uses serves no second connection.
            if link.is_connected() {
                return Ok(Self::new(link, devices));
            }
            return match link.dial(true) {
                Err(problem) if !link.is_connected() => Err(ErrorKind::Rpc(link.error(problem)).into()),
                _ => Ok(Self::new(link, devices)),
            };
        }
        let link = Arc::new(Link::new(address, timeouts));
        drop(link.dial(true).map_err(|problem| ErrorKind::Rpc(link.error(problem)))?);
        let devices = register(&link, function)?;
        let (link, devices) = link.add(devices);
        Ok(Self::new(link, devices))
    }

    fn new(link: Arc<Link>, devices: Vec<Device>) -> Self {
        Self { link, devices: devices.into() }
    }

    /// Returns the address that the caller has given.
    #[must_use]
    pub fn address(&self) -> &str {
        self.link.address()
    }

    /// Returns the server's devices, in its order, for [`ModelParams::devices`](crate::ModelParams::devices). They are not
    /// in the list of [`devices`](crate::device::devices), so no model uses them unless it is told to.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Returns the failure of the server, if a call has found one. It is final: the models and contexts with a part on the
    /// server are unusable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rpc`] with [`Lost`](RpcProblem::Lost) or [`Stalled`](RpcProblem::Stalled), [`ErrorKind::Forked`] in a
    /// fork of the process that connected.
    pub fn check(&self) -> Result<()> {
        self.link.check()
    }
}

impl fmt::Debug for RpcEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcEndpoint")
            .field("address", &self.address())
            .field("devices", &self.devices)
            .finish()
    }
}

impl Device {
    /// Connects to a server, `host:port`, and returns its devices: a short form of [`RpcEndpoint::connect`].
    ///
    /// # Errors
    ///
    /// The errors of [`RpcEndpoint::connect`].
    pub fn rpc(address: &str) -> Result<Vec<Self>> {
        RpcEndpoint::connect(address).map(|endpoint| endpoint.devices().to_vec())
    }
}

/// Makes ggml ask the server, through a new relay, for its devices.
fn register(link: &Arc<Link>, function: NonNull<core::ffi::c_void>) -> Result<Vec<Device>> {
    let address = relay::start(link.clone()).map_err(|error| {
        let reason = format!("the relay to the server cannot listen on the loopback interface: {error}");
        Error::from(ErrorKind::Unsupported { operation: "using devices of other machines", reason })
    })?;
    let address = CString::new(address).unwrap_or_default();
    // SAFETY: the function is ggml_backend_rpc_add_server (`rpc_function`), and the address is NUL-terminated. It locks its
    // tables itself, and entries of them live as long as the process (ggml-rpc.cpp).
    let reg = unsafe { guarded!(llama_shim_rpc_add_server(function.as_ptr(), address.as_ptr())) };
    link.check()?;
    let devices = BackendReg::from_raw(reg?).map(|reg| reg.devices()).unwrap_or_default();
    if devices.is_empty() {
        return Err(ErrorKind::Rpc(link.error(RpcProblem::NoDevices)).into());
    }
    // ggml keeps what the server answers to the first call: alignment and limit of buffers. The answers must be the
    // server's own.
    for device in &devices {
        let _ = device.buffer_type();
    }
    link.check()?;
    Ok(devices)
}

/// Refuses addresses that cannot be resolved for want of a port.
fn check_address(address: &str) -> Result<()> {
    let port = address.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
    match port {
        Some((host, Ok(1..))) if !host.is_empty() => Ok(()),
        _ => Err(ParameterProblem::new("address", address, "a host and a port from 1 to 65535, `host:port`")
            .into()),
    }
}

/// Returns a function of the RPC backend, which may be a module, after checking that this crate knows its protocol.
/// Corresponds to `ggml_backend_reg_get_proc_address`.
pub(super) fn rpc_function(name: &core::ffi::CStr) -> Result<NonNull<core::ffi::c_void>> {
    backend::init();
    let unsupported = |reason: String| -> Error {
        ErrorKind::Unsupported { operation: "using devices of other machines", reason }.into()
    };
    let version = RpcVersion::linked();
    if !version.is_known() {
        let reason =
            format!("the linked llama.cpp has version {version} of the RPC protocol, which is not 8.0");
        return Err(unsupported(reason));
    }
    let reg = BackendReg::by_name("RPC").ok_or_else(|| {
        unsupported("the linked llama.cpp has no RPC backend: build it with the feature `rpc`".to_owned())
    })?;
    // SAFETY: backends live forever, and the name is NUL-terminated.
    let address = unsafe { guarded!(ggml_backend_reg_get_proc_address(reg.as_ptr(), name.as_ptr())) }?;
    NonNull::new(address)
        .ok_or_else(|| unsupported(format!("the RPC backend has no {}", name.to_string_lossy())))
}
