//! The generated models are valid, small, and the same every time.

use std::fs;
use std::thread;

use llama_gguf::{TensorType, validate_file};
use test_models::Tiny;

/// FNV-1a of each file: raise `GENERATOR_VERSION` when one changes.
const FINGERPRINTS: &[(Tiny, u64)] = &[
    (Tiny::Llama, 0x9095_ca86_a258_e9eb),
    (Tiny::LlamaQ8, 0xbbdc_3db4_8923_f855),
    (Tiny::Qwen2, 0xd169_1ed3_e4e7_cc11),
    (Tiny::Qwen3Moe, 0x9c9b_150a_00c7_c0f7),
    (Tiny::Gemma3, 0xa010_e75a_755c_fee5),
    (Tiny::Mamba, 0xd195_6de0_3b15_4a9a),
    (Tiny::Jamba, 0xb6dc_0b04_4944_96d9),
    (Tiny::Bert, 0x598c_4736_1dce_4b7a),
    (Tiny::BertReranker, 0xe59f_ff02_1ec4_fabf),
    (Tiny::T5, 0x2434_69ca_25a0_fe23),
];

fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[test]
fn files_are_valid_and_small() {
    for &tiny in Tiny::ALL {
        let path = tiny.path();
        let gguf = validate_file(&path).unwrap();
        assert!(tiny.name().starts_with(gguf.metadata().get::<&str>("general.architecture").unwrap()));
        let bytes = fs::metadata(&path).unwrap().len();
        assert!((50_000..800_000).contains(&bytes), "{tiny} has {bytes} bytes");
    }
}

#[test]
fn files_are_the_same_on_every_machine() {
    let found: Vec<_> = Tiny::ALL.iter().map(|&tiny| (tiny, fingerprint(&tiny.bytes()))).collect();
    assert_eq!(found, FINGERPRINTS);
    for &tiny in Tiny::ALL {
        assert_eq!(fs::read(tiny.path()).unwrap(), tiny.bytes(), "{tiny}");
    }
}

#[test]
fn threads_may_ask_at_once() {
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| validate_file(Tiny::Bert.path()).unwrap());
        }
    });
}

#[test]
fn the_quantised_model_has_quantised_matrices() {
    let gguf = validate_file(Tiny::LlamaQ8.path()).unwrap();
    for info in gguf.tensors() {
        let wanted = if info.shape().len() == 2 { TensorType::Q8_0 } else { TensorType::F32 };
        assert_eq!(info.tensor_type(), wanted, "{}", info.name());
    }
}

#[test]
fn chat_models_have_a_template_and_its_tokens() {
    for tiny in [Tiny::Llama, Tiny::LlamaQ8, Tiny::Qwen2, Tiny::Qwen3Moe] {
        let gguf = validate_file(tiny.path()).unwrap();
        let metadata = gguf.metadata();
        assert!(metadata.get::<&str>("tokenizer.chat_template").unwrap().contains("<|im_start|>"));
        let tokens = metadata.get::<&[llama_gguf::Text]>("tokenizer.ggml.tokens").unwrap();
        let kinds = metadata.get::<&[i32]>("tokenizer.ggml.token_type").unwrap();
        for wanted in ["<|im_start|>", "<|im_end|>"] {
            let at = tokens.iter().position(|token| *token == wanted).unwrap();
            assert_eq!(kinds[at], 3, "{wanted} is a control token");
        }
    }
}
