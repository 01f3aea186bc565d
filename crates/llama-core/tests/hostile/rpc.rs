//! Devices of other machines, and servers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use llama_core::device::devices;
use llama_core::rpc::{RpcEndpoint, RpcServer, RpcServerParams, RpcTimeouts, RpcVersion};
use llama_core::{Context, ContextParams, Device, Model, ModelParams};
use test_models::Tiny;

use crate::Case;
use crate::values::texts;
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("RpcVersion::linked", |walk, _| _ = walk.run("", || RpcVersion::linked().to_string())),
    ("RpcEndpoint::connect", |walk, _| addresses(walk, |address| RpcEndpoint::connect(address).map(drop))),
    ("RpcEndpoint::connect_within", |walk, _| {
        let soon =
            RpcTimeouts::default().connect(Duration::from_millis(1)).response(Duration::from_millis(1));
        addresses(walk, |address| RpcEndpoint::connect_within(address, soon).map(drop));
    }),
    ("Device::rpc", |walk, _| addresses(walk, |address| Device::rpc(address).map(drop))),
    ("RpcTimeouts::connect", |walk, _| times(walk, |time| RpcTimeouts::default().connect(time))),
    ("RpcTimeouts::response", |walk, _| times(walk, |time| RpcTimeouts::default().response(time))),
    ("RpcEndpoint::address", |walk, _| endpoint(walk, |end| _ = end.address().to_owned())),
    ("RpcEndpoint::devices", |walk, _| endpoint(walk, |end| _ = format!("{:?}", end.devices()))),
    ("RpcEndpoint::check", |walk, _| endpoint(walk, |end| _ = end.check().is_ok())),
    ("RpcServerParams::address", |walk, _| {
        for address in [[0, 0, 0, 0], [255, 255, 255, 255], [224, 0, 0, 1], [127, 9, 9, 9]] {
            let address = SocketAddr::from((address, 0));
            start(walk, address, &RpcServerParams::default().address(address));
        }
    }),
    ("RpcServerParams::other_machines", |walk, _| {
        let address = (Ipv4Addr::BROADCAST, 1);
        start(walk, "a broadcast", &RpcServerParams::default().address(address).other_machines(true));
    }),
    ("RpcServerParams::devices", |walk, _| {
        let all = devices();
        for list in [vec![], all.clone(), [&all[..], &all[..]].concat()] {
            start(walk, list.len(), &RpcServerParams::default().devices(list));
        }
    }),
    ("RpcServerParams::n_threads", |walk, _| {
        for n_threads in [0, 1, 513, u32::MAX] {
            start(walk, n_threads, &RpcServerParams::default().n_threads(n_threads));
        }
    }),
    ("RpcServer::start", |walk, _| (0..3).for_each(|_| start(walk, "again", &one_thread()))),
    ("RpcServer::address", |walk, _| server(walk, |server| _ = server.address())),
    ("RpcServer::wait", |walk, _| {
        server(walk, |server| {
            server.stop();
            (0..2).for_each(|_| assert!(server.wait().is_ok()));
        });
    }),
    ("RpcServer::stop", |walk, _| server(walk, |server| (0..2).for_each(|_| server.stop()))),
];

fn one_thread() -> RpcServerParams {
    RpcServerParams::default().n_threads(1)
}

fn start(walk: &mut Walk, what: impl std::fmt::Display, params: &RpcServerParams) {
    walk.call(what, || RpcServer::start(params));
}

fn server(walk: &mut Walk, run: impl FnOnce(&RpcServer)) {
    if let Some(server) = walk.call("a server", || RpcServer::start(&one_thread())) {
        walk.run("", || run(&server));
    }
}

/// Runs a call before and after the server is lost, with a model and a context on it, which are dropped afterwards.
fn endpoint(walk: &mut Walk, run: impl Fn(&RpcEndpoint)) {
    let server = RpcServer::start(&one_thread()).unwrap();
    let end = RpcEndpoint::connect(&server.address().to_string()).unwrap();
    let params = ModelParams::default().devices(end.devices().iter().copied());
    let model = Model::load(Tiny::Llama.path(), &params).unwrap();
    let mut context = Context::new(&model, &ContextParams::default().n_ctx(64)).unwrap();
    walk.run("before", || run(&end));
    server.stop();
    walk.run("stopped", || run(&end));
    walk.run("memory", || _ = context.memory().clear(true));
    walk.run("warm up", || _ = context.warm_up());
    walk.run("lost", || run(&end));
}

fn times<T>(walk: &mut Walk, set: impl Fn(Duration) -> T) {
    for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        walk.run(format!("{time:?}"), || set(time));
    }
}

fn addresses(walk: &mut Walk, connect: impl Fn(&str) -> Result<(), llama_core::Error>) {
    let odd = ["127.0.0.1:1", "[::1]:1", "::1", "[::1", "256.0.0.1:1", "127.0.0.1:-1", "\0:1", "a b:1"];
    for address in texts().into_iter().chain(odd.map(str::to_owned)) {
        walk.call(address.len(), || connect(&address));
        walk.call("with a port", || connect(&format!("{address}:1")));
    }
}
