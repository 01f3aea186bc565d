//! Results of the device, compared with the CPU's: logits, texts, embeddings, samplers, adapters.

use super::{assert_close, gpu, on, on_cpu};
use crate::going_on::{GENERATIVE, read_input};
use crate::greedy::{SEQ, decode, difference, go_on, ids, params, tokens};
use llama_core::context::{CacheType, FlashAttention};
use llama_core::{Context, ContextParams, LoraAdapter, Model, SamplerChain, Token};
use test_models::{Tiny, Tuned};

const TEXT: &str = "Once upon a time, in a small village by the sea, there lived";

/// Returns the parameters with which the device's texts equal the CPU's: no rounding of keys and values, and no flash
/// attention, which adds in another order.
fn exact() -> ContextParams {
    params().type_k(CacheType::F32).type_v(CacheType::F32).flash_attention(FlashAttention::Disabled)
}

/// Returns the logits after a model's input, and the greedy text from there.
fn read(model: &Model, params: &ContextParams, n: usize) -> (Vec<f32>, Vec<i32>) {
    let mut context = Context::new(model, params).unwrap();
    let input = read_input(&mut context);
    decode(&mut context, &input, SEQ, 0);
    let row = context.logits(input.len() - 1).unwrap();
    let (logits, next) = (row.to_vec(), row.argmax());
    (logits, ids(&go_on(&mut context, SEQ, input.len(), next, n)))
}

#[test]
fn logits_are_those_of_the_cpu() {
    let Some(device) = gpu() else { return };
    for tiny in GENERATIVE {
        let (there, here) = (on(device, tiny.path()), on_cpu(tiny.path()));
        let quantised = params().type_k(CacheType::Q8_0);
        for (kind, params) in [("f16", params()), ("f32", exact()), ("q8_0", quantised)] {
            let (found, _) = read(&there, &params, 1);
            let (expected, _) = read(&here, &params, 1);
            assert_close(&expected, &found, format_args!("{tiny} {kind}"));
        }
    }
}

#[test]
fn greedy_text_is_that_of_the_cpu() {
    let Some(device) = gpu() else { return };
    for tiny in GENERATIVE {
        let (_, found) = read(&on(device, tiny.path()), &exact(), 16);
        let (_, expected) = read(&on_cpu(tiny.path()), &exact(), 16);
        assert_eq!(found, expected, "{tiny}");
    }
}

#[test]
fn text_of_a_real_model_is_that_of_the_cpu() {
    let Some(device) = gpu() else { return };
    let text = |model: &Model| {
        let mut context = Context::new(model, &exact()).unwrap();
        let prompt = tokens(model, TEXT);
        decode(&mut context, &prompt, SEQ, 0);
        let row = context.logits(prompt.len() - 1).unwrap();
        let (logits, next) = (row.to_vec(), row.argmax());
        (logits, crate::greedy::text(model, &go_on(&mut context, SEQ, prompt.len(), next, 16)))
    };
    let (found, there) = text(&on(device, test_models::smollm2()));
    let (expected, here) = text(&on_cpu(test_models::smollm2()));
    assert_close(&expected, &found, "SmolLM2");
    assert_eq!(there, here);
}

#[test]
fn embeddings_are_those_of_the_cpu() {
    let Some(device) = gpu() else { return };
    let embed = |model: &Model| {
        let mut context = Context::new(model, &params().embeddings(true)).unwrap();
        let prompt = tokens(model, "hello world, how are you");
        let mut batch = llama_core::Batch::new();
        batch.push_prompt(&prompt, SEQ, llama_core::Pos::new(0)).unwrap();
        context.encode(&batch).unwrap();
        context.embeddings_seq(SEQ).unwrap().to_vec()
    };
    let found = embed(&on(device, Tiny::Bert.path()));
    assert_close(&embed(&on_cpu(Tiny::Bert.path())), &found, "embeddings");
}

/// Attached chains run on the device and choose what chains on the CPU choose from its logits.
#[test]
fn attached_samplers_choose_like_those_of_the_cpu() {
    let Some(device) = gpu() else { return };
    for tiny in [Tiny::Llama, Tiny::Qwen2, Tiny::Mamba] {
        let model = on(device, tiny.path());
        // Without `top_k`: Vulkan's list has another order than the CPU's, and the same random number chooses another token.
        for builder in [SamplerChain::builder().greedy(), SamplerChain::builder().temperature(0.7).dist(1)] {
            let mut attached = Context::new(&model, &params()).unwrap();
            attached.set_sampler(SEQ, builder.clone().build().unwrap()).unwrap();
            let found = sampled(&mut attached, |context, index| context.sample(index).unwrap());
            let mut chain = builder.clone().build().unwrap();
            let mut plain = Context::new(&model, &params()).unwrap();
            let expected = sampled(&mut plain, |context, index| chain.sample(context, index).unwrap());
            assert_eq!(found, expected, "{tiny} {builder:?}");
        }
    }
}

/// Returns twelve tokens after a prompt.
fn sampled(context: &mut Context, mut sample: impl FnMut(&mut Context, usize) -> Token) -> Vec<i32> {
    let prompt = tokens(context.model(), TEXT);
    decode(context, &prompt, SEQ, 0);
    let mut found = vec![sample(context, prompt.len() - 1)];
    while found.len() < 12 {
        decode(context, &found[found.len() - 1..], SEQ, prompt.len() + found.len() - 1);
        found.push(sample(context, 0));
    }
    ids(&found)
}

#[test]
fn adapters_change_the_device_like_the_cpu() {
    let Some(device) = gpu() else { return };
    let logits = |model: &Model, scale: f32| {
        let lora = LoraAdapter::load(model, Tuned::Lora.path()).unwrap();
        let mut context = Context::new(model, &exact()).unwrap();
        context.set_adapters(&[(&lora, scale)]).unwrap();
        let prompt = tokens(model, "Hello world, how are you?");
        crate::greedy::logits_after(&mut context, &prompt, SEQ, 0)
    };
    let (there, here) = (on(device, Tuned::Base.path()), on_cpu(Tuned::Base.path()));
    for scale in [0.0, 0.5, 1.0] {
        assert_close(&logits(&here, scale), &logits(&there, scale), format_args!("adapter of scale {scale}"));
    }
    assert!(difference(&logits(&there, 0.0), &logits(&there, 1.0)) > 0.1);
}
