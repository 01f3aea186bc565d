//! Adapters, control vectors and models made in memory are created and dropped without a leak.
//!
//! A single test, because the measured memory of the process includes that of concurrent tests.

mod greedy;
mod heap;

use greedy::{SEQ, decode, load, params, tokens};
use heap::assert_returned;
use llama_core::{Context, ControlVector, LoraAdapter, Model, ModelParams};
use llama_gguf::{Gguf, TensorType};
use test_models::{Tiny, Tuned};

/// The bytes that the allocator keeps for later but counts as in use. The number settles after some hundred rounds. A
/// hundred lost adapters would be a million bytes.
const SLACK: usize = 60_000;

#[test]
fn memory_stays_flat() {
    adapters_of_one_model();
    adapters_in_contexts();
    adapters_that_are_refused();
    control_vectors();
    models_made_in_memory();
    saved_models();
}

fn adapters_of_one_model() {
    let model = load(Tiny::Llama);
    assert_returned(500, SLACK, || drop(LoraAdapter::load(&model, Tuned::Lora.path()).unwrap()));
}

/// Attaches adapters, drops them while attached, and frees them with the context and the model.
fn adapters_in_contexts() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello");
    let mut context = Context::new(&model, &params()).unwrap();
    assert_returned(100, SLACK, || {
        let lora = LoraAdapter::load(&model, Tuned::Lora.path()).unwrap();
        context.set_adapters(&[(&lora, 1.0)]).unwrap();
        drop(lora);
        context.memory().clear(false).unwrap();
        decode(&mut context, &prompt, SEQ, 0);
    });
    assert_returned(100, SLACK, || {
        let model = load(Tiny::Llama);
        let mut context = Context::new(&model, &params()).unwrap();
        context.set_adapters(&[(&LoraAdapter::load(&model, Tuned::Lora.path()).unwrap(), 1.0)]).unwrap();
        drop(model);
        decode(&mut context, &prompt, SEQ, 0);
    });
}

fn adapters_that_are_refused() {
    let model = load(Tiny::Llama);
    assert_returned(500, SLACK, || {
        LoraAdapter::load(&model, Tuned::WrongArchitecture.path()).unwrap_err();
    });
}

fn control_vectors() {
    let model = load(Tiny::Gemma3);
    let mut context = Context::new(&model, &params()).unwrap();
    let vector = ControlVector::from_slice(64, &[0.5; 128]).unwrap();
    let prompt = tokens(&model, "Hello");
    assert_returned(100, SLACK, || {
        context.set_control_vector(&vector, ..).unwrap();
        context.memory().clear(false).unwrap();
        decode(&mut context, &prompt, SEQ, 0);
        context.clear_control_vector().unwrap();
    });
}

fn models_made_in_memory() {
    let metadata = Gguf::from_bytes(&Tiny::Llama.bytes()).unwrap().metadata().clone();
    let none = [("", TensorType::F16); 0];
    assert_returned(100, SLACK, || {
        Model::from_metadata(&metadata, none, &ModelParams::default(), |_, _| Ok::<(), String>(())).unwrap();
    });
    assert_returned(100, SLACK, || {
        Model::from_metadata(&metadata, none, &ModelParams::default(), |_, _| Err("no")).unwrap_err();
    });
}

fn saved_models() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    let model = Model::load(Tiny::LlamaQ8.path(), &ModelParams::default().use_extra_bufts(false)).unwrap();
    assert_returned(50, SLACK, || model.save(&path).unwrap());
}
