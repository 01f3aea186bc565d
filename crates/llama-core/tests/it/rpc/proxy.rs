//! A proxy between a client and a server, which can break or stop the connection after a number of bytes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

/// The fault of a connection whose bytes are used up.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It closes both connections.
    Close,
    /// It passes nothing on any more, and keeps the connections.
    Stall,
    /// It runs a function, and passes everything on.
    Run(Arc<dyn Fn() + Send + Sync>),
}

/// A proxy, for as long as the process.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    left: Arc<AtomicI64>,
}

/// No fault.
const NEVER: i64 = i64::MAX;

impl Proxy {
    /// Starts a proxy that passes everything on until [`allow`](Self::allow) is called.
    pub(crate) fn start(server: SocketAddr, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, left) = (listener.local_addr().unwrap(), Arc::new(AtomicI64::new(NEVER)));
        let of_thread = left.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server));
                // A client finds out by itself.
                let Ok(server) = server else { continue };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (left, fault) = (of_thread.clone(), fault.clone());
                    thread::spawn(move || pass(from, to, &left, &fault));
                }
            }
        });
        Self { address, left }
    }

    /// Allows this many more bytes in both directions together.
    pub(crate) fn allow(&self, bytes: usize) {
        self.left.store(i64::try_from(bytes).unwrap(), Ordering::SeqCst);
    }

    /// Passes everything on again, in new connections.
    pub(crate) fn mend(&self) {
        self.left.store(NEVER, Ordering::SeqCst);
    }

    /// Returns whether the fault has happened.
    pub(crate) fn is_used_up(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64, fault: &Fault) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let mut allowed = length;
        if left.load(Ordering::SeqCst) != NEVER {
            let before = left.fetch_sub(i64::try_from(length).unwrap(), Ordering::SeqCst);
            if before < i64::try_from(length).unwrap() {
                match fault {
                    Fault::Run(run) if before >= 0 => run(),
                    Fault::Run(_) => {}
                    _ => allowed = usize::try_from(before).unwrap_or(0),
                }
            }
        }
        if to.write_all(&buffer[..allowed]).is_err() {
            break;
        }
        if allowed < length {
            match fault {
                Fault::Close => break,
                _ => loop {
                    thread::sleep(Duration::from_secs(3600));
                },
            }
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
