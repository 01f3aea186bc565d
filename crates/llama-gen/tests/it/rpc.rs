//! A model with a part on servers of other machines: its text, its layers, and the end of a server.

use llama_core::rpc::{RpcEndpoint, RpcProblem, RpcServer, RpcServerParams};
use llama_core::{Device, ModelParams};
use llama_gen::{Completion, Error, ErrorKind, Llama};
use test_models::Tiny;

const PROMPT: &str = "The quick brown fox jumps over the lazy dog";

fn server() -> RpcServer {
    let cpu = Device::cpu().unwrap();
    RpcServer::start(&RpcServerParams::default().devices([cpu]).n_threads(1)).unwrap()
}

fn run(llm: &Llama) -> Result<Completion, Error> {
    llm.generate(PROMPT).max_tokens(16).temperature(0.0).ignore_eos(true).complete()
}

/// Returns the sorted descriptions of the devices that have weights, from the report of a generation.
fn places(completion: &Completion) -> Vec<String> {
    let devices = completion.finish.memory.devices.iter().filter(|part| part.weights > 0);
    let mut places: Vec<String> = devices.map(|part| part.device.description()).collect();
    places.sort();
    places
}

#[test]
fn layers_are_divided_among_servers_and_a_lost_server_is_an_error() {
    let servers = [server(), server()];
    let addresses = servers.each_ref().map(|server| server.address().to_string());
    let ends = addresses.each_ref().map(|address| RpcEndpoint::connect(address).unwrap());
    let devices = ends.iter().flat_map(RpcEndpoint::devices).copied();
    let params = ModelParams::default().devices(devices).tensor_split([1.0, 1.0]);
    let builder = |params| Llama::builder(Tiny::Llama.path()).n_threads(1).n_ctx(256).model_params(params);
    let here = run(&builder(ModelParams::default()).load().unwrap()).unwrap();
    let llm = builder(params).n_gpu_layers(Some(2)).load().unwrap();
    let divided = run(&llm).unwrap();
    assert_eq!(divided.text, here.text);
    let cpu = Device::cpu().unwrap().description();
    let mut expected = [addresses[0].clone(), addresses[1].clone(), cpu];
    expected.sort();
    assert_eq!(places(&divided), expected);
    // A prompt again, which reuses what is on the servers.
    let again = run(&llm).unwrap();
    assert_eq!((again.text, again.finish.usage.evaluated_tokens), (here.text.clone(), 1));

    servers[1].stop();
    let error = run(&llm).unwrap_err();
    let ErrorKind::Core(core) = error.kind() else { panic!("{error:?}") };
    let llama_core::ErrorKind::Rpc(lost) = core.kind() else { panic!("{error:?}") };
    assert_eq!(lost.address, addresses[1]);
    assert!(matches!(lost.problem, RpcProblem::Lost { .. }), "{error:?}");
    drop(llm);
    // The other server is as it was.
    let left = ModelParams::default().devices(ends[0].devices().iter().copied());
    assert_eq!(run(&builder(left).load().unwrap()).unwrap().text, here.text);
}
