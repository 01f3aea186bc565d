//! The generated models are valid, small, and always equal.

use std::fs;
use std::thread;

use llama_gguf::{TensorType, validate_file};
use test_models::{Tiny, Tuned};

/// FNV-1a hashes of the files. Increase `GENERATOR_VERSION` when one changes.
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

/// FNV-1a hashes of the files for fine-tuning.
const TUNED_FINGERPRINTS: &[(Tuned, u64)] = &[
    (Tuned::Base, 0x3904_ec03_b0e7_8826),
    (Tuned::Lora, 0x3fda_af21_9ed1_9358),
    (Tuned::SecondLora, 0x58f5_c4ea_5efa_8e59),
    (Tuned::ActivatedLora, 0x5159_9230_49a6_a2d5),
    (Tuned::WrongArchitecture, 0xf479_97be_4147_16ae),
    (Tuned::Merged, 0xc3ff_403b_1c0c_223f),
    (Tuned::MergedBoth, 0xa66c_ad9d_1e3b_0923),
    (Tuned::ControlVector, 0xd7ca_8c06_aaa4_713a),
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
fn tuned_files_are_valid_and_the_same_on_every_machine() {
    let found: Vec<_> = Tuned::ALL.iter().map(|&tuned| (tuned, fingerprint(&tuned.bytes()))).collect();
    assert_eq!(found, TUNED_FINGERPRINTS);
    for &tuned in Tuned::ALL {
        validate_file(tuned.path()).unwrap();
        assert_eq!(fs::read(tuned.path()).unwrap(), tuned.bytes(), "{tuned}");
    }
}

/// Compares row 3 of the first layer's queries with a computation by hand.
#[test]
fn merged_models_differ_by_the_product_of_the_adapters() {
    let floats = |tuned: Tuned, name: &str| -> Vec<f32> {
        let bytes = tuned.bytes();
        let gguf = llama_gguf::Gguf::from_bytes(&bytes).unwrap();
        let (numbers, _) = gguf.tensor_data(&bytes, name).unwrap().as_chunks::<4>();
        numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()
    };
    let name = "blk.0.attn_q.weight";
    let [base, merged, both] =
        [Tuned::Base, Tuned::Merged, Tuned::MergedBoth].map(|tuned| floats(tuned, name));
    let product = |tuned, rank: usize, row: usize, column: usize| -> f32 {
        let (a, b) = (floats(tuned, &format!("{name}.lora_a")), floats(tuned, &format!("{name}.lora_b")));
        (0..rank).map(|r| b[row * rank + r] * a[r * 64 + column]).sum()
    };
    for column in [0, 17, 63] {
        let at = 3 * 64 + column;
        let first = 8.0 / 4.0 * product(Tuned::Lora, 4, 3, column);
        let second = 0.5 * product(Tuned::SecondLora, 2, 3, column);
        assert!((merged[at] - base[at] - first).abs() < 1e-6, "{column}");
        assert!((both[at] - base[at] - first - second).abs() < 1e-6, "{column}");
    }
    // Matrices without an adapter are unchanged.
    let others = |tuned| ["output.weight", "blk.1.ffn_up.weight"].map(|name| floats(tuned, name));
    assert_eq!(others(Tuned::Base), others(Tuned::MergedBoth));
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
