//! Model parameters other than numbers and switches, which are checked when a model is loaded.

use llama_core::device::devices;
use llama_core::model::{KvValue, LazyMode, LoadMode, TensorPlace};
use llama_core::{Context, ContextParams, Model, ModelParams};
use llama_gguf::Gguf;
use test_models::Tiny;

use crate::Case;
use crate::subjects::{Subjects, try_fill};
use crate::values::{BOOLS, F32, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("ModelParams::devices", |walk, _| {
        let one = devices();
        let many = one.iter().copied().cycle().take(1000).collect();
        for devices in [Vec::new(), one, many] {
            load(walk, devices.len(), &ModelParams::default().devices(devices));
        }
    }),
    ("ModelParams::tensor_split", |walk, _| {
        for (value, n) in F32.into_iter().flat_map(|value| [1, 2, 16, 17, 10_000].map(|n| (value, n))) {
            load(walk, format!("{n} of {value}"), &ModelParams::default().tensor_split(vec![value; n]));
        }
    }),
    ("ModelParams::tensor_override", tensor_override),
    ("ModelParams::experts_on_cpu", |walk, _| {
        for tiny in Tiny::ALL {
            walk.on(tiny, false);
            use_it(walk, "", *tiny, &ModelParams::default().experts_on_cpu().experts_on_cpu());
        }
    }),
    ("ModelParams::kv_override", kv_override),
    ("ModelParams::lazy_mode", |walk, _| {
        for (lazy, mode) in [LazyMode::Off, LazyMode::Auto, LazyMode::On].into_iter().flat_map(|lazy| {
            [LoadMode::Auto, LoadMode::Read, LoadMode::Mmap, LoadMode::DirectIo].map(|mode| (lazy, mode))
        }) {
            load(walk, format!("{lazy:?} {mode}"), &ModelParams::default().lazy_mode(lazy).load_mode(mode));
        }
    }),
    ("ModelParams::no_alloc", |walk, _| switch(walk, ModelParams::no_alloc)),
    ("ModelParams::use_extra_bufts", |walk, _| switch(walk, ModelParams::use_extra_bufts)),
    ("ModelParams::no_host", |walk, _| switch(walk, ModelParams::no_host)),
    ("ModelParams::load_mtp", |walk, _| switch(walk, ModelParams::load_mtp)),
    ("ModelParams::is_no_alloc", |walk, _| {
        for value in BOOLS {
            walk.run(value, || assert_eq!(ModelParams::default().no_alloc(value).is_no_alloc(), value));
        }
    }),
    ("ModelParams::loads_mtp", |walk, _| {
        for value in BOOLS {
            walk.run(value, || assert_eq!(ModelParams::default().load_mtp(value).loads_mtp(), value));
        }
    }),
];

const SOME: [Tiny; 3] = [Tiny::Qwen3Moe, Tiny::Jamba, Tiny::Bert];

/// Uses a model that could be loaded, which must work.
fn use_it(walk: &mut Walk, what: &str, tiny: Tiny, params: &ModelParams) {
    let Some(model) = walk.call(what, || Model::load(tiny.path(), params)) else { return };
    walk.call(format!("{what}, text"), || model.vocab().tokenize("<s> a \0", Default::default()));
    let params = ContextParams::default().n_ctx(256).n_threads(1);
    if let Some(mut context) =
        walk.call_contained(format!("{what}, context"), || Context::new(&model, &params))
    {
        walk.call(format!("{what}, batch"), || try_fill(&mut context));
    }
}

fn load(walk: &mut Walk, what: impl core::fmt::Display, params: &ModelParams) {
    for tiny in SOME {
        walk.on(tiny, false);
        use_it(walk, &what.to_string(), tiny, params);
    }
}

fn switch(walk: &mut Walk, set: fn(ModelParams, bool) -> ModelParams) {
    for value in BOOLS {
        load(walk, value, &set(set(ModelParams::default(), !value), value));
    }
}

fn tensor_override(walk: &mut Walk, _: &mut Subjects) {
    let patterns = [
        "(",
        "[",
        "a{999999999}",
        "a{2,1}",
        "*",
        "\\",
        "[z-a]",
        "(?<x>a)",
        "(?=a)",
        "\\1",
        "^",
        ".*",
        "(a*)*b",
    ];
    let deep = format!("{}a{}", "(".repeat(128), ")".repeat(128));
    for pattern in texts().into_iter().chain(patterns.map(str::to_owned)).chain([deep]) {
        let what = format!("{:.20} {}", pattern.escape_debug().to_string(), pattern.len());
        load(walk, &what, &ModelParams::default().tensor_override(&pattern, TensorPlace::Cpu));
    }
    for device in devices() {
        load(walk, device.name(), &ModelParams::default().tensor_override("attn", device));
        let unused = ModelParams::default().devices([]).tensor_override(".", TensorPlace::Device(device));
        load(walk, "a device that is not used", &unused);
    }
    let many =
        (0..100_000).fold(ModelParams::default(), |params, _| params.tensor_override("a", TensorPlace::Cpu));
    load(walk, "many", &many);
}

/// Sets every number of a model to invalid values, and keys and texts that are too long for C.
fn kv_override(walk: &mut Walk, _: &mut Subjects) {
    for text in texts() {
        let what = format!("{:?} of {}", text.chars().next(), text.len());
        load(walk, &what, &ModelParams::default().kv_override(&text, 1_i64));
        load(walk, &what, &ModelParams::default().kv_override("general.name", text.as_str()));
    }
    for key in ["split.count", "general.alignment", "tokenizer.ggml.model", "general.architecture"] {
        for value in [KvValue::Int(7), KvValue::Str("x".to_owned()), KvValue::Bool(true)] {
            let params = ModelParams::default().kv_override(key, value.clone());
            load(walk, format!("{key} {value:?}"), &params);
        }
    }
    for tiny in
        Tiny::ALL.iter().filter(|tiny| ![Tiny::LlamaQ8, Tiny::Qwen2, Tiny::BertReranker].contains(tiny))
    {
        walk.on(tiny, false);
        let gguf = Gguf::from_bytes(&tiny.bytes()).unwrap();
        let keys = gguf.metadata().iter().map(|(key, _)| key.to_string());
        for key in keys.filter(|key| !key.starts_with("general.")) {
            // Ids of tokens are many.
            let n = if key.ends_with("_token_id") { 2 } else { usize::MAX };
            for value in odd_values(gguf.metadata().value(&key).unwrap()).into_iter().take(n) {
                let what = format!("{key} {value:?}");
                use_it(walk, &what, *tiny, &ModelParams::default().kv_override(&key, value));
            }
        }
        // Those that the tiny models do not have.
        let architecture = gguf.metadata().get::<&str>("general.architecture").unwrap();
        for (key, value) in NUMBERS.iter().flat_map(|key| [0_i64, 3, 1 << 32].map(|value| (key, value))) {
            let key = format!("{architecture}.{key}");
            let what = format!("{key} {value}");
            use_it(walk, &what, *tiny, &ModelParams::default().kv_override(&key, value));
        }
    }
}

/// Numbers that most architectures can have.
const NUMBERS: [&str; 8] = [
    "rope.dimension_count",
    "rope.dimension_count_swa",
    "attention.key_length",
    "attention.value_length",
    "attention.relative_buckets_count",
    "decoder_block_count",
    "expert_used_count",
    "pooling_type",
];

/// Returns odd values of the key's own type, so that llama.cpp accepts them.
fn odd_values(value: &llama_gguf::Value) -> Vec<KvValue> {
    use llama_gguf::Value;
    match value {
        Value::Array(_) => vec![KvValue::Int(1)],
        Value::Bool(value) => vec![KvValue::Bool(!value)],
        Value::String(_) => ["", "gpt2", "llama", "bert", "t5", "rwkv", "plamo2", "no_vocab", "yarn"]
            .map(|text| KvValue::Str(text.to_owned()))
            .to_vec(),
        Value::F32(_) | Value::F64(_) => {
            [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX].map(KvValue::Float).to_vec()
        }
        _ => [-1, 1 << 20, 0, 1, 3, i64::MIN].map(KvValue::Int).to_vec(),
    }
}
