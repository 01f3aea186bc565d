//! A proxy on the loopback interface that delivers every byte later, as a distant server's network does.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes, and the time at which they arrive.
type Parcel = (Instant, Vec<u8>);

/// Starts a proxy to a server, which delays each direction by half of the round trip. It runs as long as the process.
pub(crate) fn start(server: SocketAddr, round_trip: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming() {
            let connected = client.and_then(|client| connect(client, server, round_trip / 2));
            if let Err(error) = connected {
                eprintln!("the proxy cannot connect: {error}");
            }
        }
    });
    Ok(address)
}

fn connect(client: TcpStream, server: SocketAddr, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    carry(client.try_clone()?, server.try_clone()?, delay);
    carry(server, client, delay);
    Ok(())
}

/// Carries bytes in one direction. Any number of them is on the way at once.
fn carry(from: TcpStream, to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || take(from, &sender, delay));
    thread::spawn(move || deliver(&receiver, to));
}

fn take(mut from: TcpStream, parcels: &Sender<Parcel>, delay: Duration) {
    let mut buffer = vec![0; 1 << 18];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if parcels.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(parcels: &Receiver<Parcel>, mut to: TcpStream) {
    for (due, bytes) in parcels {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
