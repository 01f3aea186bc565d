//! Adapters, control vectors and models made in memory are created and dropped without a leak.
//!
//! Runs in a child process, because the measured memory of a process includes that of concurrent tests.

use crate::greedy::{SEQ, decode, load, params, tokens};
use llama_core::{Context, ControlVector, LoraAdapter, Model, ModelParams};
use llama_gguf::{Gguf, TensorType};
use test_models::child::alone;
use test_models::{Tiny, Tuned};

/// The bytes that the allocator keeps for later but counts as in use. The number settles after some hundred rounds. A
/// hundred lost adapters would be a million bytes.
const SLACK: usize = 60_000;

#[test]
fn memory_stays_flat() {
    alone(module_path!(), "memory_stays_flat", || {
        adapters_of_one_model();
        adapters_in_contexts();
        adapters_that_are_refused();
        control_vectors();
        models_made_in_memory();
        saved_models();
    });
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

/// Returns the bytes that the process has allocated and not freed, `None` where the C library does not tell. Nothing is
/// compared there: the topic `leak` finds large losses.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
fn allocated_bytes() -> Option<usize> {
    /// `struct mallinfo2` of malloc.h.
    #[repr(C)]
    struct Info {
        numbers: [usize; 10],
    }
    unsafe extern "C" {
        fn mallinfo2() -> Info;
    }
    // SAFETY: takes no arguments and returns ten numbers; glibc has it since 2.33.
    let Info { numbers } = unsafe { mallinfo2() };
    // `hblkhd`, what is mapped on its own, and `uordblks`, the rest.
    Some(numbers[4] + numbers[7])
}

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
fn allocated_bytes() -> Option<usize> {
    None
}

/// Runs `round` `rounds` times and asserts that at most `allowed` more bytes are allocated afterwards, in one of three tries:
/// caches of the allocator fill up in the first rounds, and a leak shows in every try.
#[track_caller]
fn assert_returned(rounds: usize, allowed: usize, mut round: impl FnMut()) {
    let mut lost = 0;
    for _try in 0..3 {
        let before = allocated_bytes();
        (0..rounds).for_each(|_| round());
        let (Some(before), Some(after)) = (before, allocated_bytes()) else {
            return;
        };
        lost = after.saturating_sub(before);
        if lost <= allowed {
            return;
        }
    }
    panic!("{rounds} rounds lost {lost} bytes; at most {allowed} are allowed");
}
