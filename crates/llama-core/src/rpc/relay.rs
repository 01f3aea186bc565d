//! The relay between ggml's client and a server.
//!
//! ggml's client fails an assertion on its own thread when a message cannot be sent or an answer does not arrive
//! (ggml-rpc.cpp, `rpc_dispatcher::work`), which ends the process, and it waits without a limit (transport.cpp). So it never
//! meets the server. Every message to the relay succeeds, and every answer has the right length: the server's, or one that
//! stands in for it after the server has failed. The failure is recorded in the [`Link`], and the callers of llama.cpp ask
//! there.
//!
//! A relay listens as long as the process, because ggml connects again whenever the last object on a server was freed, also
//! in order to free one (ggml-rpc.cpp, `get_dispatcher`).

use core::time::Duration;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::error::RpcProblem;
use super::link::Link;
use super::protocol::{Answer, COMM_INIT, HEADER, HELLO, RpcVersion, answer};

/// Bytes that are passed on at once. Requests up to this length are sent in one piece.
const CHUNK: usize = 256 << 10;

/// Pause after the system had no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts the relay to a server, and returns the address for ggml.
pub(super) fn start(link: Arc<Link>) -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?.to_string();
    let name = "llama-rpc-relay";
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        for client in listener.incoming() {
            let link = link.clone();
            let started = client.and_then(|client| {
                thread::Builder::new().name(name.to_owned()).spawn(move || Relay::new(&link).run(&client))
            });
            if let Err(error) = started {
                tracing::warn!("the relay to an RPC server cannot take a connection: {error}");
                thread::sleep(PAUSE);
            }
        }
    })?;
    Ok(address)
}

/// One connection of ggml's client.
struct Relay<'l> {
    link: &'l Link,
    /// The server, until it fails.
    server: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl<'l> Relay<'l> {
    fn new(link: &'l Link) -> Self {
        Self { link, server: None, buffer: Vec::new() }
    }

    /// Serves the client until it closes the connection.
    fn run(mut self, client: &TcpStream) {
        let _connected = self.link.connected();
        if let Err(error) = client.set_nodelay(true).and_then(|()| self.serve(client)) {
            tracing::debug!("ggml has left the relay to {}: {error}", self.link.address());
        }
    }

    fn serve(&mut self, client: &TcpStream) -> io::Result<()> {
        let mut requests = BufReader::with_capacity(CHUNK, client);
        let mut answers = client;
        loop {
            let mut header = [0; HEADER];
            requests.read_exact(&mut header)?;
            let command = header[0];
            let mut length = [0; HEADER - 1];
            length.copy_from_slice(&header[1..]);
            let length = u64::from_le_bytes(length);
            match command {
                HELLO => {
                    discard(&mut requests, length)?;
                    self.greet();
                    send(&mut answers, &RpcVersion::linked().greeting())?;
                }
                COMM_INIT => {
                    // The servers would listen to each other on every interface.
                    discard(&mut requests, length)?;
                    send(&mut answers, &[0])?;
                }
                _ => self.pass_on(&header, length, &mut requests, &mut answers)?,
            }
        }
    }

    /// Connects to the server, unless it has failed before.
    fn greet(&mut self) {
        self.server = None;
        if self.link.has_failed() {
            return;
        }
        match self.link.dial(false) {
            Ok(server) => self.server = Some(server),
            Err(problem) => self.link.fail(problem),
        }
    }

    /// Passes a request to the server, and its answer to the client.
    fn pass_on(
        &mut self,
        header: &[u8; HEADER],
        length: u64,
        requests: &mut impl Read,
        answers: &mut impl Write,
    ) -> io::Result<()> {
        // Requests with an answer are short.
        let first = usize::try_from(length).map_or(CHUNK, |length| length.min(CHUNK));
        self.buffer.resize(HEADER + first, 0);
        self.buffer[..HEADER].copy_from_slice(header);
        requests.read_exact(&mut self.buffer[HEADER..])?;
        let expected = answer(header[0], &self.buffer[HEADER..]).ok_or(io::ErrorKind::InvalidData)?;
        self.send_buffer();
        let mut rest = length - first as u64;
        while rest > 0 {
            let next = usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK));
            self.buffer.resize(next, 0);
            requests.read_exact(&mut self.buffer)?;
            self.send_buffer();
            rest -= next as u64;
        }
        match expected {
            Answer::None => Ok(()),
            Answer::Message(instead) => send(answers, &self.message(instead)),
            Answer::Tensor(length) => self.tensor(length, answers),
        }
    }

    /// Sends the buffer to the server.
    fn send_buffer(&mut self) {
        let buffer = core::mem::take(&mut self.buffer);
        self.attempt(|server| server.write_all(&buffer));
        self.buffer = buffer;
    }

    /// Returns the server's answer of a fixed length, or `instead`, which has this length.
    fn message(&mut self, instead: Vec<u8>) -> Vec<u8> {
        let received = self.attempt(|server| {
            expect_length(server, instead.len() as u64)?;
            let mut message = vec![0; instead.len()];
            server.read_exact(&mut message)?;
            Ok(message)
        });
        received.unwrap_or(instead)
    }

    /// Passes the bytes of a tensor on. Those that the server fails to send are zero.
    fn tensor(&mut self, length: u64, answers: &mut impl Write) -> io::Result<()> {
        answers.write_all(&length.to_le_bytes())?;
        self.attempt(|server| expect_length(server, length));
        let mut rest = length;
        let mut buffer = core::mem::take(&mut self.buffer);
        while rest > 0 {
            buffer.resize(usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK)), 0);
            let received = self.attempt(|server| match server.read(&mut buffer)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                received => Ok(received),
            });
            let length = received.unwrap_or_else(|| {
                buffer.fill(0);
                buffer.len()
            });
            answers.write_all(&buffer[..length])?;
            rest -= length as u64;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Runs an exchange with the server. Returns `None` if there is no server any more, or if it fails now.
    fn attempt<R>(&mut self, exchange: impl FnOnce(&mut TcpStream) -> io::Result<R>) -> Option<R> {
        let result = exchange(self.server.as_mut()?);
        result.map_err(|error| self.fail(&error)).ok()
    }

    #[cold]
    fn fail(&mut self, error: &io::Error) {
        self.server = None;
        let problem = match error.kind() {
            io::ErrorKind::InvalidData => RpcProblem::Lost { cause: error.to_string() },
            _ => self.link.problem(error),
        };
        self.link.fail(problem);
    }
}

/// Reads the length of an answer, which the client knows in advance.
fn expect_length(server: &mut TcpStream, expected: u64) -> io::Result<()> {
    let mut length = [0; 8];
    server.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length == expected {
        return Ok(());
    }
    let fault = format!("it has sent an answer of {length} bytes where {expected} were due");
    Err(io::Error::new(io::ErrorKind::InvalidData, fault))
}

/// Sends an answer in one piece.
fn send(answers: &mut impl Write, message: &[u8]) -> io::Result<()> {
    answers.write_all(&[&(message.len() as u64).to_le_bytes()[..], message].concat())
}

fn discard(requests: &mut impl Read, length: u64) -> io::Result<()> {
    io::copy(&mut requests.take(length), &mut io::sink()).map(drop)
}
