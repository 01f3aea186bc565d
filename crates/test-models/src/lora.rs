//! Low-rank adapters, as files and merged into a model.

use llama_gguf::{TensorType, Writer};

use crate::model::{HEAD, Model, N_EMBD, N_FF, N_HEAD, N_HEAD_KV};
use crate::quantize::encode;
use crate::rng::Rng;

/// A LoRA. Each of its targets has a matrix `a` from `n_in` to `rank` and a matrix `b` from `rank` to `n_out`.
#[derive(Clone, Copy)]
pub(crate) struct Lora {
    name: &'static str,
    /// The seed of the weights: adapters of one seed and rank have equal weights.
    seed: &'static str,
    arch: &'static str,
    rank: u64,
    /// The alpha, or 0 when the file has none: then an adapter is not divided by its rank.
    alpha: f32,
    targets: &'static [Target],
    /// The invocation tokens of an activated LoRA.
    invocation: &'static [u32],
}

/// An adapted matrix, present in both layers.
#[derive(Clone, Copy)]
struct Target {
    name: &'static str,
    n_in: u64,
    n_out: u64,
}

const QUERY: Target = Target { name: "attn_q", n_in: N_EMBD, n_out: HEAD * N_HEAD };
const VALUE: Target = Target { name: "attn_v", n_in: N_EMBD, n_out: HEAD * N_HEAD_KV };
const DOWN: Target = Target { name: "ffn_down", n_in: N_FF, n_out: N_EMBD };
const LAYERS: u64 = 2;

/// A LoRA of rank 4 on the queries and the end of the feed-forward layers.
pub(crate) const FIRST: Lora = Lora {
    name: "lora",
    seed: "lora",
    arch: "llama",
    rank: 4,
    alpha: 8.0,
    targets: &[QUERY, DOWN],
    invocation: &[],
};

/// A LoRA of rank 2 on the queries and the values, without an alpha.
pub(crate) const SECOND: Lora =
    Lora { name: "lora-second", seed: "lora-second", rank: 2, alpha: 0.0, targets: &[QUERY, VALUE], ..FIRST };

/// An activated LoRA: [`FIRST`] with invocation tokens.
pub(crate) const ACTIVATED: Lora = Lora { name: "alora", invocation: &[1, 260, 261], ..FIRST };

/// [`FIRST`], declared for another architecture.
pub(crate) const OF_QWEN2: Lora = Lora { name: "lora-qwen2", arch: "qwen2", ..FIRST };

impl Lora {
    pub(crate) fn writer(self) -> Writer<'static> {
        let mut writer = Writer::new();
        writer
            .set("general.architecture", self.arch)
            .set("general.type", "adapter")
            .set("general.name", format!("tiny {}", self.name))
            .set("adapter.type", "lora")
            .set("adapter.lora.task_name", "test");
        if self.alpha != 0.0 {
            writer.set("adapter.lora.alpha", self.alpha);
        }
        if !self.invocation.is_empty() {
            writer.set("adapter.alora.invocation_tokens", self.invocation.to_vec());
        }
        for (name, target) in self.matrices() {
            let (a, b) = self.draw(&name, target);
            let mut tensor = |part: &str, shape: &[u64], values: &[f32]| {
                let data = encode(values, TensorType::F32);
                let name = format!("{name}.{part}");
                writer.tensor(name, TensorType::F32, shape, data).unwrap_or_else(|error| panic!("{error}"));
            };
            tensor("lora_a", &[target.n_in, self.rank], &a);
            tensor("lora_b", &[self.rank, target.n_out], &b);
        }
        writer
    }

    /// Adds the adapter's changes at this scale to the matrices of a model.
    pub(crate) fn merge(self, model: &mut Model, scale: f32) {
        let rank = u16::try_from(self.rank).expect("ranks are small");
        let scale = if self.alpha == 0.0 { scale } else { scale * self.alpha / f32::from(rank) };
        for (name, target) in self.matrices() {
            let (a, b) = self.draw(&name, target);
            let (rank, n_in) =
                (usize::from(rank), usize::try_from(target.n_in).expect("tiny models are small"));
            let change: Vec<f32> = b
                .chunks(rank)
                .flat_map(|b| {
                    let a = &a;
                    (0..n_in).map(move |i| {
                        let sum: f32 = b.iter().zip(a.chunks(n_in)).map(|(b, a)| b * a[i]).sum();
                        scale * sum
                    })
                })
                .collect();
            model.change(&name, &change);
        }
    }

    /// Returns the names of the adapted matrices.
    fn matrices(self) -> impl Iterator<Item = (String, Target)> {
        (0..LAYERS).flat_map(move |layer| {
            self.targets.iter().map(move |target| (format!("blk.{layer}.{}.weight", target.name), *target))
        })
    }

    /// Draws both matrices. Their product is a fraction of a model's matrices, whose values are around `1 /
    /// sqrt(n_in)`.
    fn draw(self, name: &str, target: Target) -> (Vec<f32>, Vec<f32>) {
        let n_in = u16::try_from(target.n_in).expect("tiny models are small");
        let draw = |part: &str, count: u64, deviation: f32| -> Vec<f32> {
            let mut rng = Rng::from_names(&[self.seed, name, part]);
            (0..count).map(|_| rng.unit() * deviation).collect()
        };
        (
            draw("lora_a", target.n_in * self.rank, 1.0 / f32::from(n_in).sqrt()),
            draw("lora_b", self.rank * target.n_out, 0.25),
        )
    }
}

/// Returns a control vector for the `llama` model: a direction for its second layer, the first that can have one.
pub(crate) fn control_vector() -> Writer<'static> {
    let mut writer = Writer::new();
    writer
        .set("general.architecture", "controlvector")
        .set("controlvector.model_hint", "llama")
        .set("controlvector.layer_count", 1i32);
    let mut rng = Rng::from_names(&["control-vector", "direction.1"]);
    let values: Vec<f32> = (0..N_EMBD).map(|_| rng.unit() * 0.5).collect();
    let data = encode(&values, TensorType::F32);
    writer.tensor("direction.1", TensorType::F32, &[N_EMBD], data).unwrap_or_else(|error| panic!("{error}"));
    writer
}
