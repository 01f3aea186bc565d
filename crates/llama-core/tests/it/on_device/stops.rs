//! Computations that are stopped, memory that the device does not have, and devices that are not in the list.

use std::process::Command;

use super::{LLAMA_TEST_DEVICE, gpu, on};
use crate::greedy::{SEQ, decode, load, logits_after, params, tokens};
use llama_core::context::CacheType;
use llama_core::{AbortFlag, Batch, Context, DecodeError, ErrorKind, Pos, device};
use test_models::Tiny;
use test_models::child::test_name;

/// A batch is divided into parts, between which the CPU looks at the flag: devices do not.
#[test]
fn a_raised_flag_stops_a_prompt() {
    let Some(device) = gpu() else { return };
    let model = on(device, Tiny::Llama.path());
    let prompt = tokens(&model, &"Hello world, how are you? ".repeat(8));
    let mut context = Context::new(&model, &params().n_ctx(1024).n_ubatch(8)).unwrap();
    let flag = AbortFlag::new();
    context.set_abort_flag(&flag).unwrap();
    flag.abort();
    let mut batch = Batch::new();
    batch.push_prompt(&prompt, SEQ, Pos::new(0)).unwrap();
    let error = context.decode(&batch).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Decode(DecodeError::Aborted)), "{error:?}");
    let last = context.memory().seq_pos_max(SEQ).unwrap().map_or(-1, Pos::get);
    assert!(last + 1 < i32::try_from(prompt.len()).unwrap(), "{last}");
    flag.reset();
    context.memory().clear(true).unwrap();
    logits_after(&mut context, &prompt, SEQ, 0);
}

#[test]
fn a_context_that_the_device_cannot_hold_is_refused_with_figures() {
    let Some(device) = gpu() else { return };
    let model = on(device, Tiny::Llama.path());
    let huge = params().n_ctx(1 << 30).n_batch(64).n_ubatch(64).type_k(CacheType::F32).type_v(CacheType::F32);
    let error = Context::new(&model, &huge).unwrap_err();
    let ErrorKind::DoesNotFit { what: "context", required, free, .. } = *error.kind() else {
        panic!("{error}")
    };
    assert!(required > free, "{error}");
    assert!(error.to_string().contains(&device.name()), "{error}");
    // The next one computes.
    let mut context = Context::new(&model, &params()).unwrap();
    let prompt = tokens(&model, "Hello world");
    decode(&mut context, &prompt, SEQ, 0);
}

/// Runs a test of this file alone in a process whose ggml sees no device of Vulkan.
fn without_devices(test: &str, visible: &str) {
    let program = std::env::current_exe().unwrap();
    let test = test_name(module_path!(), test);
    let output = Command::new(program)
        .args(["--exact", &test, "--nocapture"])
        .env("GGML_VK_VISIBLE_DEVICES", visible)
        .env(LLAMA_TEST_DEVICE, "gone")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

/// A device of an earlier run is not in the list of the next one: its name finds nothing, and models load on the CPU.
#[test]
fn a_device_that_is_gone_leaves_the_cpu() {
    if std::env::var(LLAMA_TEST_DEVICE).as_deref() != Ok("gone") {
        if gpu().is_some_and(|device| device.name().starts_with("Vulkan")) {
            without_devices("a_device_that_is_gone_leaves_the_cpu", "99");
        }
        return;
    }
    assert!(device::devices().iter().all(|device| !device.name().starts_with("Vulkan")));
    assert!(llama_core::Device::by_name("Vulkan0").is_none());
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params()).unwrap();
    let uses = context.memory_use().unwrap();
    assert!(uses.iter().all(|used| Some(used.device) == llama_core::Device::cpu()), "{uses:?}");
    decode(&mut context, &tokens(&model, "Hello world"), SEQ, 0);
}
