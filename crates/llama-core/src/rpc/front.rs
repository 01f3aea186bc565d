//! The front door of a server: it listens where other machines connect, can be closed, and passes bytes on to ggml's server.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

/// Bytes that are passed on at once.
const CHUNK: usize = 256 << 10;

/// Pause after the system had no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// An open door.
pub(super) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The state that the threads of a door share.
struct Shared {
    /// Address of ggml's server.
    behind: String,
    is_closed: AtomicBool,
    /// The connections, both ends of each, and the threads that pass bytes on.
    connections: Mutex<Vec<Connection>>,
}

/// A client's connection, and the one to ggml's server.
struct Connection {
    ends: [TcpStream; 2],
    threads: Vec<JoinHandle<()>>,
}

impl Front {
    /// Opens a door to ggml's server at the address `behind`.
    pub(super) fn open(address: SocketAddr, behind: String) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (is_closed, connections) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { behind, is_closed, connections });
        let of_thread = shared.clone();
        let thread = thread::Builder::new().name("llama-rpc-front".to_owned());
        let thread = thread.spawn(move || of_thread.accept(&listener))?;
        Ok(Self { address, shared, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns whether the door is closed: by a call, or because there is nothing behind it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::SeqCst)
    }

    /// Closes the door and all connections. Only the first call does anything.
    pub(super) fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        let Some(thread) = self.thread.lock().take() else { return };
        // Wakes the thread that accepts.
        let own = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let wakes = TcpStream::connect_timeout(&(own, self.address.port()).into(), Duration::from_secs(5));
        if wakes.is_ok() || thread.is_finished() {
            let _ = thread.join();
        }
        let connections = core::mem::take(&mut *self.shared.connections.lock());
        for connection in connections {
            connection.close();
        }
    }
}

impl Shared {
    fn accept(&self, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.is_closed.load(Ordering::SeqCst) {
                return;
            }
            self.connections.lock().retain(|connection| !connection.has_ended());
            match client.map(|client| self.take(client)) {
                Ok(Ok(connection)) => self.connections.lock().push(connection),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    // ggml's server has ended.
                    self.is_closed.store(true, Ordering::SeqCst);
                    return;
                }
                Ok(Err(error)) | Err(error) => {
                    tracing::warn!("the RPC server cannot take a connection: {error}");
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Connects a client with ggml's server.
    fn take(&self, client: TcpStream) -> io::Result<Connection> {
        let server = TcpStream::connect(&self.behind)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let pass = |from: &TcpStream, to: &TcpStream| {
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            let thread = thread::Builder::new().name("llama-rpc-front".to_owned());
            thread.spawn(move || pass(&from, &to))
        };
        let threads = vec![pass(&client, &server)?, pass(&server, &client)?];
        Ok(Connection { ends: [client, server], threads })
    }
}

impl Connection {
    fn has_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    fn close(self) {
        for end in &self.ends {
            let _ = end.shutdown(Shutdown::Both);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// Passes bytes on until one end closes, and closes the other.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if to.write_all(&buffer[..length]).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
