//! Draws and writes the weights of tiny models.

use std::collections::HashMap;

use llama_gguf::{TensorType, Value, Writer};

use crate::quantize::encode;
use crate::rng::Rng;
use crate::vocab::Vocab;

/// The width of every tiny model.
pub(crate) const N_EMBD: u64 = 64;
/// The width of the feed-forward layers.
pub(crate) const N_FF: u64 = 128;
/// The number of attention heads.
pub(crate) const N_HEAD: u64 = 2;
/// The number of heads of keys and values, where they are grouped.
pub(crate) const N_HEAD_KV: u64 = 1;
/// The width of a head: a whole block, so that keys and values can be quantised.
pub(crate) const HEAD: u64 = 32;
/// The number of positions that a model claims to be trained for.
pub(crate) const N_CTX: u32 = 512;

/// A model under construction.
pub(crate) struct Model {
    name: &'static str,
    arch: &'static str,
    matrices: TensorType,
    writer: Writer<'static>,
    /// Values that are added to matrices after they are drawn.
    changes: HashMap<String, Vec<f32>>,
}

impl Model {
    /// Creates a model; `matrices` is the type of weights that are multiplied with, and all other weights are F32.
    pub(crate) fn new(name: &'static str, arch: &'static str, matrices: TensorType) -> Self {
        let mut writer = Writer::new();
        writer
            .set("general.architecture", arch)
            .set("general.name", format!("tiny {name}"))
            .set("general.quantization_version", 2u32);
        let mut model = Self { name, arch, matrices, writer, changes: HashMap::new() };
        model.key("context_length", N_CTX);
        model.key("embedding_length", narrow(N_EMBD));
        model
    }

    /// Adds values to a matrix that is written later. Several changes of one matrix add up.
    pub(crate) fn change(&mut self, name: &str, values: &[f32]) {
        let sum = self.changes.entry(name.to_owned()).or_insert_with(|| vec![0.0; values.len()]);
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum += value;
        }
    }

    /// Sets a key of the architecture.
    pub(crate) fn key(&mut self, key: &str, value: impl Into<Value>) {
        self.writer.set(format!("{}.{key}", self.arch), value);
    }

    /// Sets keys of the architecture to numbers.
    pub(crate) fn keys(&mut self, keys: &[(&str, u64)]) {
        for &(key, value) in keys {
            self.key(key, narrow(value));
        }
    }

    /// Writes the vocabulary, the embedding of its tokens, and the output matrix.
    ///
    /// `embedding` is the deviation of an embedding. Tokens that must not appear in text (control tokens, bytes) have
    /// an output of zero, which is never the greatest.
    pub(crate) fn vocabulary(&mut self, vocab: &Vocab, embedding: f32) {
        self.embedding(vocab, embedding);
        let mut weights = self.draw("output.weight", N_EMBD * vocab.len(), 3.0 / N_EMBD_ROOT);
        let row = size(N_EMBD);
        for (weights, &printable) in weights.chunks_mut(row).zip(vocab.printable()) {
            if !printable {
                weights.fill(0.0);
            }
        }
        self.tensor("output.weight", self.matrices, &[N_EMBD, vocab.len()], &weights);
    }

    /// Writes the vocabulary and the embedding of its tokens, for models that generate no text.
    pub(crate) fn embedding(&mut self, vocab: &Vocab, deviation: f32) {
        vocab.write(&mut self.writer);
        let weights = self.draw("token_embd.weight", N_EMBD * vocab.len(), deviation);
        self.tensor("token_embd.weight", self.matrices, &[N_EMBD, vocab.len()], &weights);
    }

    /// Writes a matrix that keeps the size of its factor, times `gain`.
    pub(crate) fn matrix(&mut self, name: &str, shape: &[u64], gain: f32) {
        let n_in = u16::try_from(shape[0]).expect("tiny models are small");
        let mut weights = self.draw(name, shape.iter().product(), gain / f32::from(n_in).sqrt());
        if let Some(change) = self.changes.get(name) {
            for (weight, change) in weights.iter_mut().zip(change) {
                *weight += change;
            }
        }
        self.tensor(name, self.matrices, shape, &weights);
    }

    /// Writes numbers around `mean`, always in F32: norms and biases.
    pub(crate) fn vector(&mut self, name: &str, shape: &[u64], mean: f32, deviation: f32) {
        let mut values = self.draw(name, shape.iter().product(), deviation);
        for value in &mut values {
            *value += mean;
        }
        self.tensor(name, TensorType::F32, shape, &values);
    }

    /// Writes the scale of a norm.
    pub(crate) fn norm(&mut self, name: &str, n: u64) {
        self.vector(name, &[n], 1.0, 0.1);
    }

    /// Writes the four matrices of attention, with `prefix` before each name and `output` as the last one's.
    pub(crate) fn attention(&mut self, prefix: &str, n_head_kv: u64, output: &str) {
        self.matrix(&format!("{prefix}q.weight"), &[N_EMBD, HEAD * N_HEAD], 2.0);
        self.matrix(&format!("{prefix}k.weight"), &[N_EMBD, HEAD * n_head_kv], 2.0);
        self.matrix(&format!("{prefix}v.weight"), &[N_EMBD, HEAD * n_head_kv], 1.0);
        self.matrix(&format!("{prefix}{output}.weight"), &[HEAD * N_HEAD, N_EMBD], 2.0);
    }

    /// Writes the three matrices of a gated feed-forward layer.
    pub(crate) fn feed_forward(&mut self, block: &str) {
        self.matrix(&format!("{block}.ffn_gate.weight"), &[N_EMBD, N_FF], 1.0);
        self.matrix(&format!("{block}.ffn_up.weight"), &[N_EMBD, N_FF], 1.0);
        self.matrix(&format!("{block}.ffn_down.weight"), &[N_FF, N_EMBD], 2.0);
    }

    /// Writes these values in F32, for tensors that are not random.
    pub(crate) fn values(&mut self, name: &str, shape: &[u64], values: &[f32]) {
        self.tensor(name, TensorType::F32, shape, values);
    }

    pub(crate) fn finish(self) -> Writer<'static> {
        self.writer
    }

    fn draw(&self, name: &str, count: u64, deviation: f32) -> Vec<f32> {
        let mut rng = Rng::from_names(&[self.name, name]);
        (0..count).map(|_| rng.unit() * deviation).collect()
    }

    fn tensor(&mut self, name: &str, tensor_type: TensorType, shape: &[u64], values: &[f32]) {
        let data = encode(values, tensor_type);
        self.writer.tensor(name, tensor_type, shape, data).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// The root of [`N_EMBD`].
const N_EMBD_ROOT: f32 = 8.0;

/// Returns a size as `u32`, its type in metadata.
fn narrow(value: u64) -> u32 {
    value.try_into().expect("tiny models are small")
}

/// Returns a size in memory.
fn size(value: u64) -> usize {
    value.try_into().expect("tiny models are small")
}
