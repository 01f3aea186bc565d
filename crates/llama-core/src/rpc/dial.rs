//! Connecting to a server and greeting it, within a time.

use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Instant;

use super::error::RpcProblem;
use super::protocol::{CAPABILITIES, GREETING, HELLO, RpcVersion};

/// The longest answer to a greeting that is read. Other programs send text, of which 8 bytes are a large number.
const MOST: u64 = 1024;

/// Connects to a server, checks its version, and returns the connection, which is ready for commands. `connecting` limits
/// the connection, and `greeting` the answer.
pub(super) fn dial(address: &str, connecting: Duration, greeting: Duration) -> Result<TcpStream, RpcProblem> {
    let mut server = connect(address, connecting)?;
    let answer = greet(&mut server, &[0; CAPABILITIES], greeting)?;
    let found = match answer {
        Some(version) => version,
        // Before version 4 the greeting had no data, and a server closes the connection when it has.
        None => greet(&mut connect(address, connecting)?, &[], greeting)?.ok_or(RpcProblem::NotRpc)?,
    };
    let expected = RpcVersion::linked();
    // ggml accepts every patch number, although it numbers ggml's operations: a server with other numbers computes
    // something else.
    if found != expected {
        return Err(RpcProblem::OtherVersion { found, expected });
    }
    Ok(server)
}

fn connect(address: &str, limit: Duration) -> Result<TcpStream, RpcProblem> {
    let unreachable = |cause: io::Error| RpcProblem::Unreachable { cause: cause.to_string() };
    let end = Instant::now() + limit;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for resolved in address.to_socket_addrs().map_err(unreachable)? {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&resolved, left) {
            Ok(server) => {
                server.set_nodelay(true).map_err(unreachable)?;
                return Ok(server);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// Sends a greeting, and returns the version in the answer, or `None` if the server closes the connection instead.
fn greet(server: &mut TcpStream, data: &[u8], limit: Duration) -> Result<Option<RpcVersion>, RpcProblem> {
    let mut request = vec![HELLO];
    request.extend((data.len() as u64).to_le_bytes());
    request.extend(data);
    match exchange(server, &request, limit) {
        Ok(version) => version.map(Some).ok_or(RpcProblem::NotRpc),
        Err(error) if is_timeout(&error) => Err(RpcProblem::Silent { waited: limit }),
        Err(_) => Ok(None),
    }
}

/// Returns the version in the answer, or `None` if it is no answer to a greeting.
fn exchange(server: &mut TcpStream, request: &[u8], limit: Duration) -> io::Result<Option<RpcVersion>> {
    let end = Instant::now() + limit;
    server.set_write_timeout(Some(limit))?;
    server.write_all(request)?;
    let mut length = [0; 8];
    read_until(server, &mut length, end)?;
    let length = u64::from_le_bytes(length);
    if !(3..=MOST).contains(&length) {
        return Ok(None);
    }
    let mut answer = vec![0; usize::try_from(length).unwrap_or(GREETING)];
    read_until(server, &mut answer, end)?;
    Ok(Some(RpcVersion::new(answer[0], answer[1], answer[2])))
}

/// Fills the buffer, or fails at the time `end`.
fn read_until(server: &mut TcpStream, mut buffer: &mut [u8], end: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        server.set_read_timeout(Some(left))?;
        match server.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => buffer = &mut buffer[n..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns whether a read or write ended because of its limit: Unix and Windows call it differently.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
