//! Generating on the device that `LLAMA_TEST_DEVICE` names, compared with the CPU: texts, conversations, memory that is used
//! again, and a long prompt that is cancelled. Without the variable the tests say so and pass.

use std::io::Write as _;

use llama_core::context::{CacheType, FlashAttention};
use llama_core::{ContextParams, Device, ModelParams};
use llama_gen::{CancelToken, Event, FinishReason, Llama, LlamaBuilder};
use test_models::{Tiny, smollm2};

const LLAMA_TEST_DEVICE: &str = "LLAMA_TEST_DEVICE";

const PROMPT: &str = "Once upon a time, in a small village by the sea, there lived";

/// Returns the device of the tests, or `None` after a line that says that none is named.
fn device() -> Option<Device> {
    let name = std::env::var(LLAMA_TEST_DEVICE).unwrap_or_default();
    if name.is_empty() {
        let mut log = std::io::stderr();
        writeln!(log, "skipped: {LLAMA_TEST_DEVICE} names no device").unwrap();
        return None;
    }
    Some(
        Device::by_name(&name)
            .unwrap_or_else(|| panic!("{LLAMA_TEST_DEVICE} is {name}, but there is no such device")),
    )
}

/// Returns the parameters with which texts do not depend on the device.
fn exact() -> ContextParams {
    ContextParams::default()
        .n_ctx(512)
        .type_k(CacheType::F32)
        .type_v(CacheType::F32)
        .flash_attention(FlashAttention::Disabled)
}

/// Returns a builder with all layers on these devices.
fn builder(path: &std::path::Path, devices: Vec<Device>) -> LlamaBuilder {
    Llama::builder(path).model_params(ModelParams::default().devices(devices)).context_params(exact())
}

fn text(llm: &Llama, prompt: &str) -> (String, usize) {
    let completion =
        llm.generate(prompt).max_tokens(12).temperature(0.0).ignore_eos(true).complete().unwrap();
    (completion.text, completion.finish.usage.reused_tokens)
}

#[test]
fn texts_are_those_of_the_cpu() {
    let Some(device) = device() else { return };
    for tiny in [Tiny::Llama, Tiny::Qwen2, Tiny::Gemma3, Tiny::Mamba] {
        let there = builder(&tiny.path(), vec![device]).load().unwrap();
        let here = builder(&tiny.path(), Vec::new()).load().unwrap();
        assert_eq!(text(&there, PROMPT), text(&here, PROMPT), "{tiny}");
    }
}

#[test]
fn memory_on_the_device_is_used_again() {
    let Some(device) = device() else { return };
    let llm = builder(&Tiny::Llama.path(), vec![device]).load().unwrap();
    let (first, reused) = text(&llm, PROMPT);
    assert_eq!(reused, 0);
    let (again, reused) = text(&llm, PROMPT);
    assert_eq!(again, first);
    assert!(reused > 10, "{reused}");
    let longer = format!("{PROMPT} an old man");
    let alone = builder(&Tiny::Llama.path(), Vec::new()).load().unwrap();
    assert_eq!(text(&llm, &longer).0, text(&alone, &longer).0);
}

#[test]
fn a_conversation_goes_on_on_the_device() {
    let Some(device) = device() else { return };
    let answers = |devices| {
        let llm = builder(&smollm2(), devices).load().unwrap();
        let mut chat = llm
            .chat()
            .system("You are a helpful assistant.")
            .temperature(0.0)
            .max_tokens(24)
            .start()
            .unwrap();
        ["What is the capital of France?", "And of Italy?"].map(|question| {
            let reply = chat.send(question).unwrap();
            (reply.text().to_owned(), reply.finish.usage.reused_tokens)
        })
    };
    let there = answers(vec![device]);
    assert_eq!(there, answers(Vec::new()));
    assert_eq!(there[0].0, "The capital of France is Paris.");
    assert!(there[1].1 > 20, "{there:?}");
}

/// A prompt is computed in parts, between which the flag is looked at.
#[test]
fn a_long_prompt_is_cancelled_on_the_device() {
    let Some(device) = device() else { return };
    let llm = builder(&Tiny::Llama.path(), vec![device])
        .context_params(exact().n_ctx(2048).n_batch(64))
        .load()
        .unwrap();
    let prompt = format!("{PROMPT} ").repeat(40);
    let cancel = CancelToken::new();
    let events =
        llm.generate(&prompt[..]).max_tokens(4).progress(true).cancel_token(&cancel).stream().unwrap();
    let mut parts = 0;
    let mut finish = None;
    for event in events {
        match event.unwrap() {
            Event::Progress(_) => {
                parts += 1;
                cancel.cancel();
            }
            Event::Finish(end) => finish = Some(end),
            other => panic!("{other:?} after the cancel"),
        }
    }
    let finish = finish.unwrap();
    assert_eq!((finish.reason, parts), (FinishReason::Cancelled, 1));
    assert_eq!(finish.usage.evaluated_tokens, 64);
    // The context is usable, and has what was computed.
    assert!(text(&llm, &prompt[..200]).1 > 30);
}
