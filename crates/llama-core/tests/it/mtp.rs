//! Contexts of the layers that predict several tokens. They work on states of the model, one for each token.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use crate::greedy::{SEQ, difference, params, tokens};
use crate::variant::Parts;
use llama_core::context::ContextType;
use llama_core::model::TensorView;
use llama_core::observer::{TensorData, TensorInfo};
use llama_core::{
    Batch, Context, ContextParams, DecodeError, Error, ErrorKind, Model, ModelParams, Observer, Pos,
    TensorType, Token,
};
use llama_gguf::{Metadata, Value};
use tempfile::TempDir;
use test_models::Tiny;

/// Loads the tiny llama as a `mimo2` with a window in its first layer, and with one more layer, which predicts the
/// token after the next.
fn mimo2(folder: &TempDir, load_mtp: bool) -> Model {
    let mut parts = Parts::new(Tiny::Llama, "mimo2");
    parts.set("mimo2.block_count", 3_u32);
    parts.set("mimo2.nextn_predict_layers", 1_u32);
    parts.set("mimo2.expert_feed_forward_length", 0_u32);
    parts.set("mimo2.attention.sliding_window", 16_u32);
    parts.set("mimo2.attention.sliding_window_pattern", vec![true, false, false]);
    for layer in 0..2 {
        // Query, key and value in one, as the rows of one matrix.
        let [q, k, v] =
            ["q", "k", "v"].map(|x| parts.tensor(&format!("blk.{layer}.attn_{x}.weight")).clone());
        let mut qkv = q.named(format!("blk.{layer}.attn_qkv.weight"));
        qkv.shape[1] += k.shape[1] + v.shape[1];
        qkv.data.extend_from_slice(&k.data);
        qkv.data.extend_from_slice(&v.data);
        parts.tensors.retain(|tensor| ![&q.name, &k.name, &v.name].contains(&&tensor.name));
        parts.tensors.push(qkv);
    }
    let last: Vec<_> =
        parts.tensors.iter().filter(|tensor| tensor.name.starts_with("blk.1.")).cloned().collect();
    for tensor in last {
        parts.tensors.push(tensor.named(tensor.name.replacen("blk.1.", "blk.2.", 1)));
    }
    let norm = parts.tensor("output_norm.weight").clone();
    for name in ["enorm", "hnorm"] {
        parts.tensors.push(norm.named(format!("blk.2.nextn.{name}.weight")));
    }
    // A matrix of twice the width: the one that maps the feed-forward layer back.
    let down = parts.tensor("blk.0.ffn_down.weight").clone();
    let mut project = down.named("blk.2.nextn.eh_proj.weight");
    let row = project.data.len() / usize::try_from(down.shape[1]).unwrap();
    let wanted = row / usize::try_from(down.shape[0]).unwrap() * 128;
    project.data = project.data.chunks_exact(row).flat_map(|row| row[..wanted].to_vec()).collect();
    project.shape[0] = 128;
    parts.tensors.push(project);
    parts.load(folder, &ModelParams::default().load_mtp(load_mtp))
}

/// Reads the hidden states that the prediction uses.
struct States(Arc<Mutex<Vec<f32>>>);

impl Observer for States {
    fn wants(&mut self, tensor: &TensorInfo<'_>) -> bool {
        tensor.name() == "h_nextn"
    }

    fn observe(&mut self, tensor: &TensorData<'_>) -> ControlFlow<()> {
        let mut values = self.0.lock().unwrap();
        tensor.to_f32(&mut values).unwrap();
        ControlFlow::Continue(())
    }
}

/// Returns the states of a prompt's tokens.
fn states(model: &Model, prompt: &[Token]) -> Vec<Vec<f32>> {
    let values = Arc::new(Mutex::new(Vec::new()));
    let mut context = Context::with_observer(model, &params(), States(Arc::clone(&values))).unwrap();
    let mut batch = Batch::new();
    for (pos, token) in (0..).zip(prompt) {
        batch.push(*token, Pos::new(pos), &[SEQ], true).unwrap();
    }
    context.decode(&batch).unwrap();
    let values = values.lock().unwrap();
    values.chunks_exact(64).map(<[f32]>::to_vec).collect()
}

fn mtp() -> ContextParams {
    params().ctx_type(ContextType::Mtp)
}

/// Returns each token with the state of the token before it.
fn pairs(prompt: &[Token], states: &[Vec<f32>], first: usize, n: usize) -> Batch {
    let mut batch = Batch::new();
    for index in first..first + n {
        let pos = Pos::new(i32::try_from(index).unwrap());
        batch.push(prompt[index + 1], pos, &[SEQ], true).unwrap();
        batch.push_state(&states[index]).unwrap();
    }
    batch
}

#[test]
fn states_of_the_model_predict() {
    let folder = TempDir::new().unwrap();
    let model = mimo2(&folder, true);
    let prompt = tokens(&model, "Hello world, this is a test");
    let states = states(&model, &prompt);
    assert_eq!(states.len(), prompt.len());
    let n = prompt.len() - 1;

    let mut context = Context::new(&model, &mtp()).unwrap();
    context.decode(&pairs(&prompt, &states, 0, n)).unwrap();
    let all: Vec<Vec<f32>> = context.logits_rows().unwrap().map(|(_, row)| row.to_vec()).collect();
    assert_eq!(all.len(), n);
    assert!(all.iter().flatten().all(|value| value.is_finite()));
    // One by one, with the memory of those before.
    let mut context = Context::new(&model, &mtp()).unwrap();
    for (index, expected) in all.iter().enumerate() {
        context.decode(&pairs(&prompt, &states, index, 1)).unwrap();
        assert!(difference(expected, &context.logits(0).unwrap()) < 1e-3, "{index}");
    }
    // Other states, other predictions.
    let mut turned = states.clone();
    turned.reverse();
    context.memory().clear(false).unwrap();
    context.decode(&pairs(&prompt, &turned, 0, n)).unwrap();
    assert!(difference(&all[n - 1], &context.logits(n - 1).unwrap()) > 1e-2);
    assert!(context.warm_up().is_err());
}

#[test]
fn states_are_needed_of_every_entry() {
    let folder = TempDir::new().unwrap();
    let model = mimo2(&folder, true);
    let mut context = Context::new(&model, &mtp()).unwrap();
    let mut batch = Batch::new();
    batch.push(Token::new(5), Pos::new(0), &[SEQ], true).unwrap();
    // llama.cpp asserts on this.
    let error = context.decode(&batch).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "states"),
        "{error:?}"
    );
    assert!(error.to_string().contains("must be 1, one for each entry of the batch"), "{error}");
    for wrong in [1, 63, 128] {
        let mut batch = batch.clone();
        batch.push_state(&vec![0.5; wrong]).unwrap();
        let error = context.decode(&batch).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "state"),
            "{error:?}"
        );
    }
    // Tokens and embeddings are not mixed here, and each kind is good for itself.
    let row = [0.5; 64];
    batch.push_embedding(&row, Pos::new(1), &[SEQ], true).unwrap();
    batch.push_state(&row).unwrap();
    batch.push_state(&row).unwrap();
    let error = context.decode(&batch).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Decode(DecodeError::InvalidBatch)), "{error:?}");
    batch.clear();
    batch.push_embedding(&row, Pos::new(0), &[SEQ], true).unwrap();
    batch.push_state(&row).unwrap();
    context.decode(&batch).unwrap();
    assert!(context.logits(0).unwrap().iter().all(|value| value.is_finite()));
    assert!(!context.is_poisoned());
}

/// The prediction layers must be loaded. When they are only in the file, llama.cpp would assert on them.
#[test]
fn layers_have_to_be_loaded() {
    let folder = TempDir::new().unwrap();
    let model = mimo2(&folder, false);
    assert!(!model.params().loads_mtp());
    let error = Context::new(&model, &mtp()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    assert!(error.to_string().contains("load it with ModelParams::load_mtp(true)"), "{error}");
    Context::new(&model, &params()).unwrap();
}

/// Returns metadata of a `dots3note` of two layers, the second with a window.
fn dots3note() -> Metadata {
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", "dots3note").set("tokenizer.ggml.model", "no_vocab");
    let mut set = |name: &str, value: Value| _ = metadata.set(format!("dots3note.{name}"), value);
    for (name, value) in [
        ("vocab_size", 32_u32),
        ("context_length", 64),
        ("embedding_length", 64),
        ("block_count", 2),
        ("leading_dense_block_count", 2),
        ("feed_forward_length", 64),
        ("expert_feed_forward_length", 64),
        ("expert_shared_count", 1),
        ("expert_gating_func", 2),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.q_lora_rank", 32),
        ("attention.indexer.head_count", 2),
        ("attention.indexer.key_length", 64),
        ("attention.indexer.top_k", 8),
        ("attention.sliding_window", 32),
    ] {
        set(name, value.into());
    }
    for end in ["", "_swa"] {
        for (name, value) in [
            ("attention.kv_lora_rank", 32_u32),
            ("attention.key_length", 48),
            ("attention.value_length", 32),
            ("attention.key_length_mla", 32),
            ("attention.value_length_mla", 16),
            ("rope.dimension_count", 16),
        ] {
            set(&format!("{name}{end}"), value.into());
        }
        set(&format!("rope.freq_base{end}"), 10_000_f32.into());
    }
    set("attention.layer_norm_rms_epsilon", 1e-5_f32.into());
    set("attention.sliding_window_pattern", vec![false, true].into());
    set("attention.indexer.types", vec![true, false].into());
    metadata
}

#[test]
fn contexts_without_a_graph_are_refused() {
    let none: [(&str, TensorType); 0] = [];
    let zeros = |_: &TensorView<'_>, bytes: &mut [u8]| {
        bytes.fill(0);
        Ok::<(), Error>(())
    };
    let model = Model::from_metadata(&dots3note(), none, &ModelParams::default(), zeros).unwrap();
    Context::new(&model, &params()).unwrap();
    let error = Context::new(&model, &params().ctx_type(ContextType::Mtp)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "creating an MTP context is not possible with this model: llama.cpp has no graph for its layers that predict several \
         tokens (nextn)"
    );
}
