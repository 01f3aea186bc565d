//! ggml's server, which never returns, on a thread of its own.
//!
//! `ggml_backend_rpc_start_server` accepts one client after the other and has no way to stop (ggml-rpc.cpp). So it listens
//! on a port of the loopback interface that only the front door knows, and when the door is closed, it waits there: for the
//! next server of this process with the same devices, or for the end of the process.

use core::time::Duration;
use std::ffi::CString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;

use super::dial::dial;
use super::endpoint::rpc_function;
use super::error::RpcProblem;
use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::{exit, fork};
use crate::log;

/// Time in which a server must begin to listen: drivers of GPUs take seconds to start.
const STARTING: Duration = Duration::from_secs(60);

/// Time in which a server must notice that its client has left. It may be computing a last micro-batch.
pub(super) const LEAVING: Duration = Duration::from_secs(10);

/// Number of ports that are tried. Another program may take one between the choice and its use.
const ATTEMPTS: usize = 5;

/// Servers without a front door.
static PARKED: Mutex<Vec<Serving>> = Mutex::new(Vec::new());

/// The settings of a server, which cannot be changed later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) devices: Vec<Device>,
    pub(super) n_threads: usize,
}

/// A thread that serves, and its port.
#[derive(Clone)]
pub(super) struct Serving {
    setup: Setup,
    port: u16,
    /// The reason why the thread has ended.
    ended: Arc<OnceLock<String>>,
    /// Number of forks after which the thread exists.
    generation: u32,
}

impl Serving {
    /// Takes a parked server with the same settings, or starts one.
    pub(super) fn begin(setup: &Setup) -> Result<Self> {
        let parked = {
            let mut parked = PARKED.lock();
            let fits = |serving: &Self| serving.setup == *setup && serving.generation == fork::generation();
            parked.iter().position(fits).map(|index| parked.swap_remove(index))
        };
        if let Some(serving) = parked
            && serving.is_free()
        {
            return Ok(serving);
        }
        let mut last = Self::start(setup);
        for _ in 1..ATTEMPTS {
            match last {
                Ok(_) => break,
                Err(error) => tracing::debug!("starting an RPC server again: {error}"),
            }
            last = Self::start(setup);
        }
        last
    }

    fn start(setup: &Setup) -> Result<Self> {
        let function = rpc_function(c"ggml_backend_rpc_start_server")?;
        let port = free_port().map_err(|error| failed(error.to_string()))?;
        let ended = Arc::new(OnceLock::new());
        let serving = Self { setup: setup.clone(), port, ended, generation: fork::generation() };
        let (address, function) = (serving.address(), function.as_ptr() as usize);
        let (setup, ended) = (setup.clone(), serving.ended.clone());
        let thread = thread::Builder::new().name("llama-rpc-server".to_owned());
        let started = thread.spawn(move || {
            let error = serve(&address, function, &setup);
            let _ = ended.set(error.to_string());
        });
        started.map_err(|error| failed(error.to_string()))?;
        serving.wait_until_free()?;
        Ok(serving)
    }

    /// Returns the address on which it listens.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Returns why the thread has ended, if it has.
    pub(super) fn ended(&self) -> Option<&str> {
        self.ended.get().map(String::as_str)
    }

    fn wait_until_free(&self) -> Result<()> {
        let end = Instant::now() + STARTING;
        loop {
            if let Some(reason) = self.ended() {
                return Err(failed(reason.to_owned()));
            }
            match dial(&self.address(), LEAVING, LEAVING) {
                Ok(_) => return Ok(()),
                Err(RpcProblem::Unreachable { .. }) if Instant::now() < end => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(problem) => return Err(failed(format!("it {problem}"))),
            }
        }
    }

    /// Returns whether it waits for a client.
    fn is_free(&self) -> bool {
        self.ended().is_none() && dial(&self.address(), LEAVING, LEAVING).is_ok()
    }

    /// Keeps the server for another front door, if it waits for a client. One that does not is left to itself.
    pub(super) fn park(self) {
        if self.is_free() {
            PARKED.lock().push(self);
        }
    }
}

/// Serves until ggml's server fails, and returns the reason. `function` is the address of its function.
fn serve(address: &str, function: usize, setup: &Setup) -> Error {
    // The end of the process does not wait for a thread that never ends.
    exit::unawaited();
    let mut devices: Vec<_> = setup.devices.iter().map(Device::raw).collect();
    let address = CString::new(address).unwrap_or_default();
    let result: Result<()> = log::explain(|| {
        // SAFETY: the function is ggml_backend_rpc_start_server (`rpc_function`); the address is NUL-terminated, NULL means
        // no cache, and the array has as many devices as stated. All of it lives through the call. It keeps its state in
        // local variables (ggml-rpc.cpp).
        unsafe {
            guarded!(llama_shim_rpc_start_server(
                function as *mut core::ffi::c_void,
                address.as_ptr(),
                core::ptr::null(),
                setup.n_threads,
                devices.len(),
                devices.as_mut_ptr(),
            ))
        }?;
        Err(failed("it has returned".to_owned()))
    });
    result.err().unwrap_or_else(|| failed("it has returned".to_owned()))
}

/// Returns a port on which nothing listens now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

pub(super) fn failed(reason: String) -> Error {
    ErrorKind::RpcServer { reason }.into()
}
