//! Addresses at which there is no server, or something else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use llama_core::rpc::{RpcEndpoint, RpcProblem, RpcTimeouts};

use super::{problem, server};

/// Starts a program that runs `answer` for each connection.
fn stranger(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().for_each(|client| answer(client.unwrap())));
    address
}

/// Reads a greeting and returns the length of its data.
fn greeting(client: &mut TcpStream) -> u64 {
    let mut header = [0; 9];
    client.read_exact(&mut header).unwrap();
    assert_eq!(header[0], 14, "the greeting comes first");
    let length = u64::from_le_bytes(header[1..].try_into().unwrap());
    client.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).unwrap();
    length
}

fn refusal(address: SocketAddr) -> llama_core::Error {
    let soon = RpcTimeouts::default().connect(Duration::from_millis(300));
    RpcEndpoint::connect_within(&address.to_string(), soon).unwrap_err()
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = refusal(address);
    let RpcProblem::Unreachable { cause, .. } = problem(&error) else { panic!("{error:?}") };
    assert_eq!(
        error.to_string(),
        format!(
            "the RPC server {address} cannot be reached: {cause}. Start the server there, and check the address and the \
             firewall"
        )
    );
}

#[test]
fn another_protocol_version_is_refused_with_both_versions() {
    let address = stranger(|mut client| {
        assert_eq!(greeting(&mut client), 24);
        let mut answer = [0; 36];
        answer[0] = 28;
        answer[8..11].copy_from_slice(&[9, 2, 7]);
        client.write_all(&answer).unwrap();
    });
    assert_eq!(
        refusal(address).to_string(),
        format!(
            "the RPC server {address} has version 9.2.7 of the RPC protocol, but must have 8.0.1: run a server of the same \
             llama.cpp version on it"
        )
    );
}

/// ggml itself accepts other patch numbers, although they number its operations differently.
#[test]
fn another_patch_version_is_refused_too() {
    let address = stranger(|mut client| {
        greeting(&mut client);
        let mut answer = [0; 36];
        answer[0] = 28;
        answer[8..11].copy_from_slice(&[8, 0, 2]);
        client.write_all(&answer).unwrap();
    });
    assert!(matches!(problem(&refusal(address)), RpcProblem::OtherVersion { found, .. } if found.patch == 2));
}

#[test]
fn an_old_server_that_does_not_know_the_greeting_tells_its_version() {
    // Before version 4 a greeting had no data and its answer three bytes, and a server left when a length was wrong.
    let address = stranger(|mut client| {
        if greeting(&mut client) == 0 {
            client.write_all(&[3, 0, 0, 0, 0, 0, 0, 0, 3, 5, 1]).unwrap();
        }
    });
    let error = refusal(address);
    let RpcProblem::OtherVersion { found, .. } = problem(&error) else { panic!("{error:?}") };
    assert_eq!(found.to_string(), "3.5.1");
}

#[test]
fn another_program_is_no_server() {
    let http = stranger(|mut client| client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap());
    let closing = stranger(drop);
    for address in [http, closing] {
        assert!(matches!(problem(&refusal(address)), RpcProblem::NotRpc), "{:?}", refusal(address));
    }
}

#[test]
fn a_program_that_says_nothing_is_an_error_after_the_time() {
    let address = stranger(|client| {
        thread::spawn(move || {
            let _client = client;
            thread::sleep(Duration::from_secs(3600));
        });
    });
    let error = refusal(address);
    assert!(matches!(problem(&error), RpcProblem::Silent { waited, .. } if waited.as_millis() == 300));
    assert_eq!(
        error.to_string(),
        format!(
            "the RPC server {address} accepts connections, but has not answered within 0.3 s: it may serve another client, \
             because a server serves one at a time, or hang"
        )
    );
}

#[test]
fn an_address_needs_a_host_and_a_port() {
    for address in ["", "localhost", ":50052", "localhost:0", "localhost:70000", "localhost:x"] {
        let error = RpcEndpoint::connect(address).unwrap_err();
        let reason = "a host and a port from 1 to 65535, `host:port`";
        assert!(error.to_string().contains(reason), "{address}: {error}");
    }
    // A name is resolved.
    let server = server();
    let name = format!("localhost:{}", server.address().port());
    assert_eq!(RpcEndpoint::connect(&name).unwrap().address(), name);
}

#[test]
fn a_time_out_of_range_is_refused() {
    for time in [Duration::ZERO, Duration::MAX] {
        let error = RpcEndpoint::connect_within("localhost:1", RpcTimeouts::default().response(time));
        assert!(error.unwrap_err().to_string().contains("from 1 ms to 1 day"));
    }
}
