//! Models that are divided among servers and the CPU write the CPU's text.

use llama_core::rpc::RpcEndpoint;
use llama_core::{Context, Device, Model, ModelParams, Pos};
use test_models::Tiny;

use super::{connect, load, server};
use crate::greedy::{self, SEQ, continuation, fresh_continuation, params, text, tokens};

/// Returns the sorted descriptions of the devices that have weights.
fn places(context: &Context) -> Vec<String> {
    let used = context.memory_use().unwrap();
    let with_weights = used.iter().filter(|part| part.weights > 0);
    let mut places: Vec<String> = with_weights.map(|part| part.device.description()).collect();
    places.sort();
    places
}

/// Loads a model with half of its layers on each of two servers and the rest on the CPU, and compares its text.
fn compare(path: &std::path::Path, n_layers: u32, prompt: &str, n: usize) -> String {
    let (first, second) = (server(), server());
    let ends = [connect(first.address()), connect(second.address())];
    let devices: Vec<Device> = ends.iter().flat_map(RpcEndpoint::devices).copied().collect();
    let split = ModelParams::default().devices(devices).n_gpu_layers(Some(n_layers)).tensor_split([1.0, 1.0]);
    let (here, divided) =
        (Model::load(path, &ModelParams::default()).unwrap(), Model::load(path, &split).unwrap());
    let mut context = Context::new(&divided, &params()).unwrap();
    let mut expected = vec![first.address().to_string(), second.address().to_string()];
    expected.push(Device::cpu().unwrap().description());
    expected.sort();
    assert_eq!(places(&context), expected);
    let prompt = tokens(&here, prompt);
    let found = continuation(&mut context, &prompt, SEQ, n);
    assert_eq!(text(&here, &found), text(&here, &fresh_continuation(&here, &prompt, n)));
    text(&here, &found)
}

#[test]
fn a_model_over_two_servers_and_the_cpu_gives_the_cpus_text() {
    for tiny in [Tiny::Llama, Tiny::LlamaQ8] {
        compare(&tiny.path(), 2, "Hello there", 24);
    }
}

#[test]
fn a_real_model_over_two_servers_and_the_cpu_gives_the_cpus_text() {
    let text = compare(&test_models::smollm2(), 20, "The capital of France is", 12);
    assert!(text.starts_with(" Paris."), "{text}");
}

#[test]
fn a_state_moves_between_a_server_and_the_cpu() {
    let server = server();
    let end = connect(server.address());
    let (here, there) = (greedy::load(Tiny::Llama), load(Tiny::Llama.path(), end.devices()).unwrap());
    let prompt = tokens(&here, "Hello there");
    let mut remote = Context::new(&there, &params()).unwrap();
    let expected = continuation(&mut remote, &prompt, SEQ, 8);
    remote.memory().seq_rm(SEQ, Pos::new(i32::try_from(prompt.len()).unwrap())..).unwrap();
    let mut state = Vec::new();
    remote.state_data(&mut state).unwrap();
    let mut local = Context::new(&here, &params()).unwrap();
    local.set_state_data(&state).unwrap();
    assert_eq!(greedy::go_on(&mut local, SEQ, prompt.len(), expected[0], 8), expected);
}

#[test]
fn a_device_of_a_server_has_its_address_and_memory() {
    let server = server();
    let end = connect(server.address());
    let [device] = end.devices() else { panic!("{end:?}") };
    assert_eq!(device.description(), server.address().to_string());
    assert_eq!(device.kind(), llama_core::device::DeviceKind::Gpu);
    assert!(device.name().starts_with("RPC"), "{device:?}");
    assert!(device.memory().total > 0);
    assert!(!llama_core::device::devices().contains(device));
    // The same server has the same devices.
    assert_eq!(connect(server.address()).devices(), [*device]);
    assert_eq!(Device::rpc(&server.address().to_string()).unwrap(), [*device]);
}
