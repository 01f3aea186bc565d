//! Parameters outside their ranges.

use llama_core::context::{CacheType, FlashAttention};
use llama_core::{Context, ContextParams, Error, ErrorKind, Model, ModelParams};
use test_models::Tiny;

use super::{assert_llama_cpp_says, assert_says};
use crate::greedy::{load, params, tokens};

fn refused(params: &ContextParams) -> Error {
    Context::new(&load(Tiny::Llama), params).unwrap_err()
}

/// Asserts that a parameter is refused with its name and value, and with these words for the range.
#[track_caller]
fn assert_invalid(params: &ContextParams, parameter: &str, value: &str, range: &str) {
    let error = refused(params);
    match error.kind() {
        ErrorKind::InvalidParameter(problem) => {
            assert_eq!((problem.name.as_str(), problem.value.as_str()), (parameter, value));
        }
        other => panic!("{other:?}"),
    }
    assert_says(&error, &[&format!("{parameter} is {value}, but must be "), range]);
}

#[test]
fn threads() {
    for value in [0, 513, 100_000, u32::MAX] {
        let (text, range) = (value.to_string(), "must be from 1 to 512");
        assert_invalid(&params().n_threads(value), "n_threads", &text, range);
        assert_invalid(&params().n_threads_batch(value), "n_threads_batch", &text, range);
    }
}

#[test]
fn threads_of_a_context() {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params()).unwrap();
    assert_says(&context.set_n_threads(0, 1).unwrap_err(), &["n_threads is 0, but must be from 1 to 512"]);
    assert_says(&context.set_n_threads(1, 4096).unwrap_err(), &["n_threads_batch is 4096, but must be "]);
    assert_eq!((context.n_threads(), context.n_threads_batch()), (1, 1));
    context.set_n_threads(1, 2).unwrap();
    assert_eq!((context.n_threads(), context.n_threads_batch()), (1, 2));
}

#[test]
fn sequences() {
    for value in [0, 257, u32::MAX] {
        assert_invalid(&params().n_seq_max(value), "n_seq_max", &value.to_string(), "must be from 1 to 256");
    }
    let context = Context::new(&load(Tiny::Llama), &params().n_seq_max(256).kv_unified(true)).unwrap();
    assert_eq!(context.n_seq_max(), 256);
}

#[test]
fn batches() {
    for value in [0, 1 << 31, u32::MAX] {
        let text = value.to_string();
        assert_invalid(&params().n_batch(value), "n_batch", &text, "1 to 2147483647");
        assert_invalid(&params().n_ubatch(value), "n_ubatch", &text, "1 to 2147483647");
    }
    // llama.cpp asserts that there is room for a result of each sequence.
    let few = params().n_seq_max(8).n_batch(7);
    assert_invalid(&few, "n_batch", "7", "must be at least n_seq_max, 8");
    assert_eq!(Context::new(&load(Tiny::Llama), &params().n_seq_max(8).n_batch(8)).unwrap().n_batch(), 8);
}

#[test]
fn sizes() {
    assert_invalid(&params().n_ctx(1 << 31), "n_ctx", "2147483648", "at most 2147483647");
    assert_eq!(Context::new(&load(Tiny::Llama), &params().n_ctx(0)).unwrap().n_ctx(), 512);
    // llama.cpp rounds up to what its kernels like.
    assert_eq!(Context::new(&load(Tiny::Llama), &params().n_ctx(1)).unwrap().n_ctx(), 256);
}

#[test]
fn more_memory_than_there_is() {
    // Linux may grant it and end the process when it is written to: it is refused before.
    let error = refused(&params().n_ctx(i32::MAX as u32 - 255).type_k(CacheType::F32));
    let ErrorKind::DoesNotFit { what: "context", estimated, required, free, .. } = *error.kind() else {
        panic!("{error:?}")
    };
    assert!(estimated && required > free);
    assert_says(&error, &["the context does not fit into memory", "CPU", "fewer tokens (n_ctx, n_ubatch)"]);
}

#[test]
fn rope() {
    for (value, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (-1.0, "-1")] {
        assert_invalid(&params().rope_freq_base(value), "rope_freq_base", text, "a positive number");
        assert_invalid(&params().rope_freq_scale(value), "rope_freq_scale", text, "a positive number");
    }
}

#[test]
fn quantised_values_without_flash_attention() {
    let error = refused(&params().type_v(CacheType::Q4_0).flash_attention(FlashAttention::Disabled));
    assert!(matches!(error.kind(), ErrorKind::ContextCreation { n_ctx: 256, .. }), "{error:?}");
    assert_llama_cpp_says(&error, "quantized V cache requires flash_attn");
}

#[test]
fn gpus() {
    let wrong = ModelParams::default().main_gpu(u32::MAX);
    let error = Model::load(Tiny::Llama.path(), &wrong).unwrap_err();
    assert_says(&error, &["main_gpu is 4294967295, but must be an index of a GPU"]);
    let many = ModelParams::default().n_gpu_layers(Some(u32::MAX));
    assert_eq!(Model::load(Tiny::Llama.path(), &many).unwrap().n_layer(), 2);
}

#[test]
fn tokens_outside_the_vocabulary() {
    let model = load(Tiny::Llama);
    let vocab = model.vocab();
    for id in [-1, 507, i32::MAX, i32::MIN] {
        let token = llama_core::Token::new(id);
        let text = format!("token {id} is out of range: the vocabulary has 507 tokens (0..507)");
        let errors = [
            vocab.text(token).unwrap_err(),
            vocab.score(token).unwrap_err(),
            vocab.attributes(token).unwrap_err(),
            vocab.is_control(token).unwrap_err(),
            vocab.token_to_bytes(token, true).unwrap_err(),
            vocab.detokenize(&[token], llama_core::DetokenizeOptions::default()).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error.kind(), ErrorKind::InvalidToken { n_vocab: 507, .. }), "{error:?}");
            assert_eq!(error.to_string(), text);
        }
        assert!(!vocab.is_eog(token));
    }
    assert_eq!(tokens(&model, "Hello").len(), 7);
}
