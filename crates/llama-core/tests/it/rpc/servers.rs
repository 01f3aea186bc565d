//! Servers in this process: addresses, stopping, devices that cannot be lent.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use llama_core::rpc::{RpcEndpoint, RpcProblem, RpcServer, RpcServerParams, RpcTimeouts};
use llama_core::{Batch, Context, Device, Pos};
use test_models::Tiny;

use super::{connect, load, problem, server};
use crate::greedy::{SEQ, continuation, params, tokens};

#[test]
fn only_the_loopback_interface_is_listened_to_unless_allowed() {
    let params = RpcServerParams::default().address((Ipv4Addr::UNSPECIFIED, 0));
    let error = RpcServer::start(&params).unwrap_err();
    assert_eq!(
        error.to_string(),
        "address is 0.0.0.0:0, but must be an address of the loopback interface: whoever reaches another one can take over \
         this process. RpcServerParams::other_machines allows it"
    );
    assert!(server().address().ip().is_loopback());
    let server = RpcServer::start(&params.other_machines(true).n_threads(1)).unwrap();
    connect((Ipv4Addr::LOCALHOST, server.address().port()).into());
}

#[test]
fn a_stopped_server_is_lost_to_its_client_and_another_one_starts() {
    let first = server();
    let end = connect(first.address());
    let model = load(Tiny::Llama.path(), end.devices()).unwrap();
    let mut context = Context::new(&model, &params()).unwrap();
    let prompt = tokens(&model, "Hello there");
    let expected = continuation(&mut context, &prompt, SEQ, 8);
    first.stop();
    first.wait().unwrap();
    let mut batch = Batch::new();
    let next = i32::try_from(prompt.len() + expected.len() - 1).unwrap();
    batch.push_prompt(&prompt, SEQ, Pos::new(next)).unwrap();
    assert!(matches!(problem(&context.decode(&batch).unwrap_err()), RpcProblem::Lost { .. }));
    drop((context, model));
    // The thread of the first is used again.
    let second = server();
    let end = connect(second.address());
    let model = load(Tiny::Llama.path(), end.devices()).unwrap();
    let mut context = Context::new(&model, &params()).unwrap();
    assert_eq!(continuation(&mut context, &prompt, SEQ, 8), expected);
}

#[test]
fn a_second_client_waits_and_gives_up() {
    let server = server();
    let end = connect(server.address());
    // Another process would use another connection, as this one does through another name.
    let _model = load(Tiny::Llama.path(), end.devices()).unwrap();
    let other = format!("localhost:{}", server.address().port());
    let soon = RpcTimeouts::default().connect(Duration::from_millis(300));
    let error = RpcEndpoint::connect_within(&other, soon).unwrap_err();
    assert!(matches!(problem(&error), RpcProblem::Silent { .. }), "{error:?}");
    end.check().unwrap();
}

#[test]
fn devices_that_cannot_be_lent_are_refused() {
    let cpu = Device::cpu().unwrap();
    let server = server();
    let remote = connect(server.address()).devices()[0];
    let refusal = |devices: &[Device]| {
        RpcServer::start(&RpcServerParams::default().devices(devices.iter().copied()))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refusal(&[]), "devices is , but must be at least one device");
    assert_eq!(refusal(&[cpu, cpu]), "devices is CPU, CPU, but must be a list without duplicates");
    let expected = "devices of this machine: let the client connect to the other server itself";
    assert!(refusal(&[remote]).ends_with(expected), "{}", refusal(&[remote]));
    let threads = RpcServer::start(&RpcServerParams::default().n_threads(0)).unwrap_err();
    assert_eq!(threads.to_string(), "n_threads is 0, but must be from 1 to 512");
}

#[test]
fn an_address_in_use_is_an_error() {
    let server = server();
    let error =
        RpcServer::start(&RpcServerParams::default().address(server.address()).n_threads(1)).unwrap_err();
    let expected = format!("the RPC server failed: it cannot listen on {}: ", server.address());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_client_that_sends_nonsense_is_left_and_the_next_one_is_served() {
    let server = server();
    let hello = [&[14, 24, 0, 0, 0, 0, 0, 0, 0][..], &[0; 24]].concat();
    let command = |command: u8, data: &[u8]| {
        [&hello[..], &[command], &(data.len() as u64).to_le_bytes(), data].concat()
    };
    let endless = [&hello[..], &[6], &u64::MAX.to_le_bytes()].concat();
    let nonsense = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![14; 64],
        vec![255; 4096],
        command(200, &[]),
        // An unknown device, and an address that is no buffer.
        command(0, &[255; 12]),
        command(3, &[255; 8]),
        // A tensor of an unknown type, and a graph that is cut off.
        command(6, &[255; 400]),
        command(10, &[0, 0, 0, 0, 9, 9]),
        endless,
    ];
    for bytes in nonsense {
        let mut client = TcpStream::connect(server.address()).unwrap();
        client.write_all(&bytes).unwrap();
        // It closes the connection, after the answer to the greeting if there was one.
        let mut answer = Vec::new();
        let end = client.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.len() == 36, "{bytes:?}: {answer:?} {end:?}");
    }
    connect(server.address()).check().unwrap();
    let model = load(Tiny::Llama.path(), connect(server.address()).devices()).unwrap();
    let prompt = tokens(&model, "Hello there");
    assert_eq!(continuation(&mut Context::new(&model, &params()).unwrap(), &prompt, SEQ, 8).len(), 8);
}
