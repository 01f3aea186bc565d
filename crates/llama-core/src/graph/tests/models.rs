//! Models that C loads but cannot compute. They are passed to C unchecked, since the checks of files refuse many of
//! them.

use llama_gguf::{Gguf, TensorType, Value, Writer};
use tempfile::TempDir;
use test_models::Tiny;

use crate::context::{Context, ContextParams, FlashAttention};
use crate::error::{Error, ErrorKind};
use crate::model::Model;

/// The parts of a file, to be modified.
struct Parts {
    metadata: Vec<(String, Value)>,
    tensors: Vec<(String, TensorType, Vec<u64>, Vec<u8>)>,
}

impl Parts {
    fn of(tiny: Tiny) -> Self {
        let bytes = tiny.bytes();
        let gguf = Gguf::from_bytes(&bytes).unwrap();
        let metadata = gguf.metadata().iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
        let tensors = gguf.tensors().iter().map(|info| {
            let name = info.name().to_string();
            let data = gguf.tensor_data(&bytes, &name).unwrap().to_vec();
            (name, info.tensor_type(), info.shape().to_vec(), data)
        });
        Self { metadata, tensors: tensors.collect() }
    }

    fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.metadata.retain(|(old, _)| old != key);
        self.metadata.push((key.to_owned(), value.into()));
        self
    }

    /// Changes the type of a tensor and fills it with zeros.
    fn retype(mut self, name: &str, to: TensorType) -> Self {
        let tensor = self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap();
        let elements: u64 = tensor.2.iter().product();
        tensor.1 = to;
        tensor.3 = vec![0; usize::try_from(elements / to.block_size() * to.block_bytes()).unwrap()];
        self
    }

    fn model(self) -> Option<Model> {
        let folder = TempDir::new().unwrap();
        let mut writer = Writer::new();
        for (key, value) in self.metadata {
            writer.set(key.as_str(), value);
        }
        for (name, kind, shape, data) in self.tensors {
            writer.tensor(name.as_str(), kind, &shape, data).unwrap();
        }
        let path = folder.path().join("model.gguf");
        writer.write_file(&path).unwrap();
        Model::load_unchecked(&path)
    }

    /// Returns the error of creating a context of the model.
    fn error(self) -> Error {
        let model = self.model().expect("llama.cpp refuses the file");
        Context::new(&model, &params()).expect_err("the context was created")
    }
}

fn params() -> ContextParams {
    ContextParams::default().n_ctx(256).n_threads(1)
}

/// Asserts tensor, operation, and the beginning of the condition.
#[track_caller]
fn assert_refused(error: &Error, expected: [&str; 3]) {
    let ErrorKind::UnsupportedGraph { tensor, operation, condition, .. } = error.kind() else {
        panic!("{error:?}")
    };
    assert_eq!([tensor.as_str(), operation.as_str()], expected[..2], "{condition}");
    assert!(condition.starts_with(expected[2]), "{condition}");
}

#[test]
fn matrices_without_a_dot_product() {
    let types = [
        TensorType::I8,
        TensorType::I16,
        TensorType::I32,
        TensorType::I64,
        TensorType::F64,
        TensorType::Q8_1,
    ];
    let name = "blk.0.attn_q.weight";
    for kind in types {
        let error = Parts::of(Tiny::Llama).retype(name, kind).error();
        let expected = "source 0 must be of a type that matrices are multiplied in";
        assert_refused(&error, ["Qcur-0", "MUL_MAT", expected]);
        let operand =
            format!("source 0 is \"{name}\" in {kind} [64, 64], source 1 is \"attn_norm-0\" in f32 [64");
        assert!(error.to_string().contains(&operand), "{error}");
    }
}

#[test]
fn vectors_and_tables_of_other_types() {
    let cases = [
        (Tiny::Llama, "blk.0.attn_norm.weight", TensorType::F16, "MUL", "both sources must be in f32"),
        (Tiny::Llama, "blk.1.ffn_norm.weight", TensorType::I8, "MUL", "both sources must be in f32"),
        (Tiny::Qwen2, "blk.0.attn_q.bias", TensorType::BF16, "ADD", "both sources must be in f32"),
        (
            Tiny::Llama,
            "token_embd.weight",
            TensorType::I8,
            "GET_ROWS",
            "source 0 must be in f32, f16, bf16, i32",
        ),
        (Tiny::Llama, "token_embd.weight", TensorType::Q8_1, "GET_ROWS", "source 0 must not be in q8_1"),
        (Tiny::Bert, "token_types.weight", TensorType::I16, "ADD", "both sources must be in f32"),
        (
            Tiny::Mamba,
            "blk.0.ssm_conv1d.weight",
            TensorType::F16,
            "SSM_CONV",
            "source 1, the kernel, and the result",
        ),
        (Tiny::Mamba, "blk.0.ssm_d", TensorType::F16, "MUL", "both sources must be in f32"),
        (
            Tiny::Qwen3Moe,
            "blk.0.ffn_gate_exps.weight",
            TensorType::I16,
            "MUL_MAT_ID",
            "source 0 must be of a type",
        ),
    ];
    let mut found = Vec::new();
    for (tiny, name, kind, operation, condition) in cases {
        let error = Parts::of(tiny).retype(name, kind).error();
        let ErrorKind::UnsupportedGraph { operation: op, condition: why, .. } = error.kind() else {
            panic!("{name}: {error:?}")
        };
        found.push((
            name,
            op == operation && why.starts_with(condition) && why.contains(name),
            error.to_string(),
        ));
    }
    assert!(found.iter().all(|(_, right, _)| *right), "{found:#?}");
}

#[test]
fn values_that_are_only_asserted_on_while_a_thread_computes() {
    let dimensions = "the number of rotated dimensions (rope.dimension_count) must be even";
    let cases: [(Tiny, &str, Value, &str, &str); 6] = [
        (Tiny::Gemma3, "gemma3.rope.dimension_count", Value::U32(0), "ROPE", dimensions),
        (Tiny::Gemma3, "gemma3.rope.dimension_count", Value::U32(7), "ROPE", dimensions),
        (Tiny::Gemma3, "gemma3.rope.dimension_count", Value::U32(4096), "ROPE", dimensions),
        (Tiny::Gemma3, "gemma3.rope.dimension_count", Value::U32(u32::MAX), "ROPE", dimensions),
        (Tiny::Llama, "llama.attention.layer_norm_rms_epsilon", Value::F32(-1.0), "RMS_NORM", "epsilon"),
        (Tiny::Llama, "llama.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN), "RMS_NORM", "epsilon"),
    ];
    let mut found = Vec::new();
    for (tiny, key, value, operation, condition) in cases {
        let error = Parts::of(tiny).set(key, value.clone()).error();
        let ErrorKind::UnsupportedGraph { operation: op, condition: why, .. } = error.kind() else {
            panic!("{key} {value:?}: {error:?}")
        };
        found.push((key, op == operation && why.starts_with(condition), error.to_string()));
    }
    assert!(found.iter().all(|(_, right, _)| *right), "{found:#?}");
}

/// Tests that the table refuses nothing that can be computed: every tiny model, with all parameters that change its
/// graph.
#[test]
fn good_models_pass() {
    for tiny in Tiny::ALL.iter().copied() {
        let model = Parts::of(tiny).model().unwrap();
        for flash_attention in [FlashAttention::Disabled, FlashAttention::Enabled] {
            for n_seq_max in [1, 4] {
                let params = params().flash_attention(flash_attention).n_seq_max(n_seq_max).n_ctx(1024);
                let result = Context::new(&model, &params);
                assert!(result.is_ok(), "{tiny} {flash_attention:?} {n_seq_max}: {:?}", result.err());
            }
        }
    }
}
