//! Servers that die or stall: an error within the time, and the process lives on.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use llama_core::rpc::{RpcEndpoint, RpcProblem};
use llama_core::{Batch, Context, Error, Model, Pos};
use test_models::{Tiny, child};

use super::proxy::{Fault, Proxy};
use super::{connect, impatient, load, problem, server};
use crate::greedy::{self, SEQ, fresh_continuation, params, tokens};

/// A prompt of several micro-batches.
fn prompt(model: &Model) -> Batch {
    let mut tokens = tokens(model, "Hello there");
    while tokens.len() < 100 {
        tokens.extend_from_within(1..);
    }
    let mut batch = Batch::new();
    batch.push_prompt(&tokens[..100], SEQ, Pos::new(0)).unwrap();
    batch
}

fn context(model: &Model) -> Result<Context, Error> {
    Context::new(model, &params().n_ubatch(16))
}

/// Checks that the process is usable: the CPU and a server write the same text.
#[track_caller]
fn assert_alive(address: SocketAddr) {
    let here = greedy::load(Tiny::Llama);
    let prompt = tokens(&here, "Hello there");
    let expected = fresh_continuation(&here, &prompt, 8);
    let end = connect(address);
    let there = load(Tiny::Llama.path(), end.devices()).unwrap();
    assert_eq!(fresh_continuation(&there, &prompt, 8), expected);
}

#[test]
fn a_connection_that_breaks_in_the_middle_of_a_prompt_is_an_error() {
    let server = server();
    let proxy = Proxy::start(server.address(), Fault::Close);
    let end = connect(proxy.address);
    let model = load(Tiny::Llama.path(), end.devices()).unwrap();
    let mut context = context(&model).unwrap();
    let batch = prompt(&model);
    proxy.allow(40_000);
    let error = context.decode(&batch).unwrap_err();
    assert_eq!(
        error.kind().to_string(),
        format!(
            "the RPC server {} is lost: it has closed the connection. Drop the models and contexts that use it, connect \
             again, and load the model again",
            proxy.address
        )
    );
    assert!(context.is_poisoned());
    // Everything that needs the server fails in the same way.
    let all = [
        context.decode(&batch).unwrap_err(),
        context.logits(0).unwrap_err(),
        context.state_data(&mut Vec::new()).unwrap_err(),
        context.synchronize().unwrap_err(),
        Context::new(&model, &params()).unwrap_err(),
        load(Tiny::Llama.path(), end.devices()).unwrap_err(),
        end.check().unwrap_err(),
    ];
    for error in &all {
        assert!(matches!(problem(error), RpcProblem::Lost { .. }), "{error:?}");
    }
    assert_eq!((end.devices()[0].memory().free, end.devices()[0].memory().total), (0, 0));
    drop((context, model));
    proxy.mend();
    assert_alive(proxy.address);
}

#[test]
fn a_server_that_stalls_in_the_middle_of_a_prompt_is_an_error() {
    let server = server();
    let proxy = Proxy::start(server.address(), Fault::Stall);
    let end = RpcEndpoint::connect_within(&proxy.address.to_string(), impatient()).unwrap();
    let model = load(Tiny::Llama.path(), end.devices()).unwrap();
    let mut context = context(&model).unwrap();
    let batch = prompt(&model);
    proxy.allow(40_000);
    let error = context.decode(&batch).unwrap_err();
    assert_eq!(
        error.kind().to_string(),
        format!(
            "the RPC server {} has not answered within 2 s, the response timeout, and is lost: raise the timeout if it is \
             only slow; otherwise drop the models and contexts that use it, connect again, and load the model again",
            proxy.address
        )
    );
    drop((context, model));
    // The server still waits for the rest of a message.
    drop(server);
    assert_alive(super::server().address());
}

/// A server in a program of its own, which ends with the value.
struct Program(Child, SocketAddr);

impl Program {
    fn start() -> Self {
        let name = child::test_name(module_path!(), "serves_in_a_program_of_its_own");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&name, "--exact", "--nocapture"])
            .env(SERVES, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address =
            lines.map_while(Result::ok).find_map(|line| line.split_once("listens on ")?.1.parse().ok());
        Self(child, address.unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The variable that makes a test serve.
const SERVES: &str = "LLAMA_TEST_SERVES";

#[test]
#[allow(clippy::print_stdout, reason = "the parent reads it")]
fn serves_in_a_program_of_its_own() {
    if std::env::var_os(SERVES).is_some() {
        let server = server();
        println!("listens on {}", server.address());
        server.wait().unwrap();
    }
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_prompt_is_an_error() {
    let program = Program::start();
    let address = program.1;
    let victim = Arc::new(Mutex::new(Some(program)));
    let killed = victim.clone();
    let proxy = Proxy::start(address, Fault::Run(Arc::new(move || drop(killed.lock().unwrap().take()))));
    let end = connect(proxy.address);
    let model = load(Tiny::Llama.path(), end.devices()).unwrap();
    let mut context = context(&model).unwrap();
    let batch = prompt(&model);
    proxy.allow(40_000);
    let error = context.decode(&batch).unwrap_err();
    assert!(victim.lock().unwrap().is_none());
    assert!(matches!(problem(&error), RpcProblem::Lost { .. }), "{error:?}");
    drop((context, model));
    let again = RpcEndpoint::connect(&address.to_string()).unwrap_err();
    assert!(matches!(problem(&again), RpcProblem::Unreachable { .. }), "{again:?}");
    assert_alive(Program::start().1);
}

/// Loads, decodes, and saves the state, with a connection that breaks after a number of bytes.
fn work(proxy: &Proxy, end: &RpcEndpoint, bytes: usize) -> Result<(), Error> {
    proxy.allow(bytes);
    let model = load(Tiny::Llama.path(), end.devices())?;
    let mut context = context(&model)?;
    context.decode(&prompt(&model))?;
    context.logits(99)?;
    let mut state = Vec::new();
    context.state_data(&mut state)?;
    context.set_state_data(&state)?;
    context.memory().clear(true)
}

#[test]
fn wherever_the_connection_breaks_there_is_an_error() {
    child::alone(module_path!(), "wherever_the_connection_breaks_there_is_an_error", || {
        let server = server();
        let proxy = Proxy::start(server.address(), Fault::Close);
        let (mut bytes, mut failures) = (0, 0);
        loop {
            proxy.mend();
            let end = connect(proxy.address);
            match work(&proxy, &end, bytes) {
                Err(error) => {
                    // The first bytes are those of a greeting.
                    let problem = problem(&error);
                    assert!(
                        matches!(problem, RpcProblem::Lost { .. } | RpcProblem::NotRpc),
                        "{bytes}: {error:?}"
                    );
                }
                Ok(()) => {
                    assert!(!proxy.is_used_up(), "{bytes}");
                    break;
                }
            }
            failures += 1;
            // Early on, every message is met.
            bytes += 7 + bytes / 8;
        }
        proxy.mend();
        assert!(failures > 50, "{failures}");
        assert_alive(proxy.address);
    });
}
