//! Numbers and types in a model file that llama.cpp does not check and cannot compute with are refused at load.

use llama_core::{ContextParams, Error, ErrorKind, Model, ModelParams};
use llama_gguf::{Gguf, TensorType, Writer};
use test_models::{Tiny, rewritten};

#[track_caller]
fn assert_refused(bytes: &[u8], words: &str) {
    let (_folder, path) = rewritten::saved(bytes);
    let error = Model::load(&path, &ModelParams::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Hyperparameter { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot compute {}: {words}", path.display()));
    assert!(error.log().is_empty(), "llama.cpp has not seen it: {error:?}");
}

fn with(tiny: Tiny, key: &str, value: u32) -> Vec<u8> {
    rewritten::with_metadata(tiny, |metadata| _ = metadata.set(key, value))
}

#[test]
fn rotations_that_never_end_or_have_half_a_pair() {
    for (tiny, key) in [(Tiny::Llama, "llama"), (Tiny::Qwen2, "qwen2"), (Tiny::Gemma3, "gemma3")] {
        for value in [0, 7] {
            let key = format!("{key}.rope.dimension_count");
            assert_refused(
                &with(tiny, &key, value),
                &format!("{key} is {value}, but must be an even number of at least 2"),
            );
        }
    }
}

#[test]
fn encoders_and_decoders_without_bounds() {
    for value in [0, 1, 30, 4096] {
        let bytes = with(Tiny::T5, "t5.attention.relative_buckets_count", value);
        let words =
            format!("t5.attention.relative_buckets_count is {value}, but must be a multiple of 4 below 256");
        assert_refused(&bytes, &words);
    }
    for value in [0, 3, 513] {
        let bytes = with(Tiny::T5, "t5.decoder_block_count", value);
        let words = format!("t5.decoder_block_count is {value}, but must be between 1 and block_count, 2");
        assert_refused(&bytes, &words);
    }
}

#[test]
fn quantised_rows() {
    let bytes = Tiny::Llama.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let name = "output_norm.weight";
    let zeros = vec![0; 4096];
    let mut writer = Writer::new();
    *writer.metadata_mut() = gguf.metadata().clone();
    for info in gguf.tensors() {
        let data = gguf.tensor_data(&bytes, &info.name().to_string()).unwrap();
        let quantised = *info.name() == *name;
        let tensor_type = if quantised { TensorType::Q8_0 } else { info.tensor_type() };
        let size = usize::try_from(info.elements() / 32 * 34).unwrap();
        let data = if quantised { &zeros[..size] } else { data };
        writer.tensor(info.name().to_string(), tensor_type, info.shape(), data).unwrap();
    }
    let mut file = Vec::new();
    writer.write_to(&mut file).unwrap();
    let words = format!("tensor {name} is in q8_0, but must be in f32, like every norm and bias");
    assert_refused(&file, &words);
}

#[test]
fn variances_heads_and_layers_that_cannot_be_computed() {
    for value in [-1.0_f32, f32::NAN, f32::INFINITY] {
        let key = "llama.attention.layer_norm_rms_epsilon";
        let bytes = rewritten::with_metadata(Tiny::Llama, |metadata| _ = metadata.set(key, value));
        assert_refused(&bytes, &format!("{key} is {value}, but must be a finite number of at least 0"));
    }
    let key = "qwen2.attention.head_count_kv";
    let words = format!("{key} is 3, but must be a divisor of attention.head_count, 2");
    assert_refused(&with(Tiny::Qwen2, key, 3), &words);
    let key = "jamba.attention.head_count_kv";
    let words = format!(
        "{key} must be a list with 0 for recurrent layers and another number for the others, and contain both"
    );
    for value in [0, 2] {
        assert_refused(&with(Tiny::Jamba, key, value), &words);
    }
    let bytes = rewritten::with_metadata(Tiny::Jamba, |metadata| _ = metadata.remove(key));
    assert_refused(&bytes, &words);
}

/// Sets the numbers by other ways than a file's metadata.
#[test]
fn overrides_plans_and_models_made_in_memory() {
    #[track_caller]
    fn assert_refused(result: Result<impl Sized, Error>, model: &str) {
        let Err(error) = result else { panic!("{model} was taken") };
        let words = "llama.rope.dimension_count is 0, but must be an even number of at least 2";
        assert!(matches!(error.kind(), ErrorKind::Hyperparameter { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("cannot compute {model}: {words}"));
    }
    let key = "llama.rope.dimension_count";
    let (path, context) = (Tiny::Llama.path(), ContextParams::default());
    // C makes a 0 of both.
    for zero in [0, 1_i64 << 32] {
        let params = ModelParams::default().kv_override(key, zero);
        assert_refused(Model::load(&path, &params), &path.display().to_string());
        assert_refused(Model::plan(&path, &params, &context), &path.display().to_string());
    }
    let bytes = with(Tiny::Llama, key, 0);
    let (_folder, file) = rewritten::saved(&bytes);
    assert_refused(Model::plan(&file, &ModelParams::default(), &context), &file.display().to_string());
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let none: [(&str, TensorType); 0] = [];
    let made =
        Model::from_metadata(gguf.metadata(), none, &ModelParams::default(), |_, _| Ok::<(), Error>(()));
    assert_refused(made, "the given metadata");
}

/// Sets a key to an invalid number of every kind, for every architecture.
#[test]
fn numbers_that_are_no_sizes() {
    for (tiny, key, value, words) in [
        (Tiny::Qwen2, "qwen2.rope.dimension_count", u32::MAX, "between 0 and 2147483647"),
        (
            Tiny::Qwen2,
            "qwen2.rope.dimension_count",
            64,
            "at most the size of a head, which is 32 by embedding_length and attention.head_count",
        ),
        (Tiny::Qwen2, "qwen2.attention.head_count", 0, "at least 1, also in the first layer of a list"),
        (Tiny::Mamba, "mamba.ssm.conv_kernel", 0, "between 1 and 256"),
        (Tiny::Jamba, "jamba.ssm.time_step_rank", 0, "between 1 and 65536"),
        (Tiny::Gemma3, "gemma3.attention.sliding_window", u32::MAX, "between 0 and 8388608"),
        (Tiny::Qwen3Moe, "qwen3moe.expert_used_count", 0, "at least 1"),
        (Tiny::Llama, "llama.ssm.conv_kernel", 257, "between 1 and 256"),
    ] {
        assert_refused(&with(tiny, key, value), &format!("{key} is {value}, but must be {words}"));
    }
}

/// Returns a copy of a tiny model whose tensors are changed: `None` leaves one out.
fn with_tensors(tiny: Tiny, change: impl Fn(&str, TensorType) -> Option<TensorType>) -> Vec<u8> {
    let bytes = tiny.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let mut writer = Writer::new();
    *writer.metadata_mut() = gguf.metadata().clone();
    for info in gguf.tensors() {
        let name = info.name().to_string();
        let Some(kind) = change(&name, info.tensor_type()) else { continue };
        let size = info.elements() / kind.block_size() * kind.block_bytes();
        writer.tensor(name, kind, info.shape(), vec![0; usize::try_from(size).unwrap()]).unwrap();
    }
    let mut file = Vec::new();
    writer.write_to(&mut file).unwrap();
    file
}

#[test]
fn matrices_and_norms_of_types_that_are_not_computed_with() {
    for kind in
        [TensorType::I8, TensorType::I16, TensorType::I32, TensorType::I64, TensorType::F64, TensorType::Q8_1]
    {
        let name = "blk.0.ffn_up.weight";
        let bytes = with_tensors(Tiny::Llama, |other, old| Some(if other == name { kind } else { old }));
        let words =
            format!("tensor {name} is in {kind}, but must be in f32, f16, bf16 or a quantised type of files");
        assert_refused(&bytes, &words);
    }
    for (tiny, name) in [(Tiny::Llama, "output_norm.weight"), (Tiny::Qwen2, "blk.1.attn_k.bias")] {
        for kind in [TensorType::F16, TensorType::BF16, TensorType::I8] {
            let bytes = with_tensors(tiny, |other, old| Some(if other == name { kind } else { old }));
            assert_refused(
                &bytes,
                &format!("tensor {name} is in {kind}, but must be in f32, like every norm and bias"),
            );
        }
    }
}

#[test]
fn tensors_that_are_read_whether_or_not_they_are_there() {
    for side in ["enc", "dec"] {
        let name = format!("{side}.blk.0.attn_rel_b.weight");
        let bytes = with_tensors(Tiny::T5, |other, old| (other != name).then_some(old));
        assert_refused(&bytes, &format!("tensor {name} is missing, which t5 needs always"));
    }
}

/// Drafts whose table of embeddings belongs to another model are not saved.
#[test]
fn a_model_without_embeddings_is_not_saved() {
    let key = |name: &str| format!("eagle3.{name}");
    let mut metadata = llama_gguf::Metadata::new();
    metadata.set("general.architecture", "eagle3").set("tokenizer.ggml.model", "no_vocab");
    for (name, value) in [
        ("vocab_size", 32_u32),
        ("context_length", 64),
        ("embedding_length", 64),
        ("block_count", 1),
        ("feed_forward_length", 64),
        ("attention.head_count", 2),
        ("target_hidden_size", 64),
    ] {
        metadata.set(key(name), value);
    }
    metadata
        .set(key("attention.layer_norm_rms_epsilon"), 1e-5_f32)
        .set(key("target_layers"), vec![0_i32, 1, 2]);
    let none: [(&str, TensorType); 0] = [];
    let params = ModelParams::default();
    let model = Model::from_metadata(&metadata, none, &params, |_, _| Ok::<(), Error>(())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = model.save(folder.path().join("saved.gguf")).unwrap_err();
    let words = "llama.cpp's writer needs the tensor token_embd.weight, which the model does not have: copy its file instead";
    assert!(error.to_string().ends_with(words), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
