//! Numbers and types in a model file that llama.cpp takes unseen and cannot compute with are refused at load.

#[path = "rewritten/mod.rs"]
mod rewritten;

use llama_core::{ContextParams, Error, ErrorKind, Model, ModelParams};
use llama_gguf::{Gguf, TensorType, Writer};
use test_models::Tiny;

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
        for value in [0, 7, u32::MAX] {
            let key = format!("{key}.rope.dimension_count");
            assert_refused(
                &with(tiny, &key, value),
                &format!("{key} is {value}: it is an even number, at least 2"),
            );
        }
    }
}

#[test]
fn encoders_and_decoders_without_bounds() {
    for value in [0, 1, 30, 4096, u32::MAX] {
        let bytes = with(Tiny::T5, "t5.attention.relative_buckets_count", value);
        let words =
            format!("t5.attention.relative_buckets_count is {value}: it is a multiple of 4 below 256");
        assert_refused(&bytes, &words);
    }
    for value in [0, 513, u32::MAX] {
        let bytes = with(Tiny::T5, "t5.decoder_block_count", value);
        assert_refused(&bytes, &format!("t5.decoder_block_count is {value}: it is between 1 and 512"));
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
    let words = format!("tensor {name} has one dimension and the type q8_0: only matrices can be quantised");
    assert_refused(&file, &words);
}

#[test]
fn variances_heads_and_layers_that_cannot_be_computed() {
    for value in [-1.0_f32, f32::NAN, f32::INFINITY] {
        let key = "llama.attention.layer_norm_rms_epsilon";
        let bytes = rewritten::with_metadata(Tiny::Llama, |metadata| _ = metadata.set(key, value));
        assert_refused(&bytes, &format!("{key} is {value}: it is a small number, 0 or more"));
    }
    let key = "qwen2.attention.head_count_kv";
    let words = format!("{key} is 3: it is a divisor of attention.head_count, 2");
    assert_refused(&with(Tiny::Qwen2, key, 3), &words);
    let key = "jamba.attention.head_count_kv";
    let words = format!("{key} is a list with 0 for recurrent layers and another number for the others");
    for value in [0, 2] {
        assert_refused(&with(Tiny::Jamba, key, value), &words);
    }
    let bytes = rewritten::with_metadata(Tiny::Jamba, |metadata| _ = metadata.remove(key));
    assert_refused(&bytes, &words);
}

/// The same numbers by other ways than a file's metadata.
#[test]
fn overrides_plans_and_models_made_in_memory() {
    #[track_caller]
    fn assert_refused(result: Result<impl Sized, Error>, model: &str) {
        let Err(error) = result else { panic!("{model} was taken") };
        let words = "llama.rope.dimension_count is 0: it is an even number, at least 2";
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
