//! Types of tensors by their role, and tensors that llama.cpp uses without checking that they exist.

use std::collections::BTreeSet;

use llama_gguf::{TensorInfo, TensorType};

use super::{Keys, MAX_LAYERS};
use crate::model::effective::Effective;

/// Architectures, the first tensor, and the sets of which one must be complete in addition.
type Together = (&'static [&'static str], &'static str, &'static [&'static [&'static str]]);

/// Tensors that llama.cpp reads without checking that they exist, in a layer that has the first tensor: lists of
/// architectures, the first tensor, and the sets of further tensors of which one must be complete. A set that
/// contains a name after `!` applies to layers without that tensor.
const TOGETHER: &[Together] = &[
    // models/mamba-base.cpp, `build_mamba2_layer`
    (
        &["falcon-h1", "granitehybrid", "nemotron_h", "nemotron_h_moe"],
        "ssm_conv1d.weight",
        &[&["ssm_conv1d.bias"]],
    ),
    // llama-graph.cpp, `build_qkv`
    (
        &["phi3", "pockettts"],
        "attn_norm.weight",
        &[&["attn_qkv.weight"], &["attn_q.weight", "attn_k.weight", "attn_v.weight"]],
    ),
    // llama-graph.cpp, `build_moe_ffn`
    (
        &["hy_v3"],
        "ffn_gate_inp.weight",
        &[
            &["ffn_down_exps.weight", "ffn_gate_up_exps.weight"],
            &["ffn_down_exps.weight", "ffn_up_exps.weight"],
        ],
    ),
    (&["mimo2", "step35"], "ffn_gate_inp.weight", &[&["ffn_down_exps.weight", "ffn_up_exps.weight"]]),
    // models/qwen35.cpp, qwen35moe.cpp, `build_qkvz`
    (&["qwen35", "qwen35moe", "clef"], "ssm_conv1d.weight", &[&["attn_qkv.weight", "attn_gate.weight"]]),
    // models/qwen3next.cpp, `build_qkvz`
    (
        &["qwen3next"],
        "ssm_conv1d.weight",
        &[&["attn_qkv.weight", "attn_gate.weight"], &["ssm_in.weight", "!attn_qkv.weight"]],
    ),
    // models/kimi-k3.cpp, the shared experts
    (&["kimi-k3"], "ffn_gate_shexp.weight", &[&["ffn_down_shexp.weight", "ffn_up_shexp.weight"]]),
];

/// Architectures whose files may have all layers, only the layers that predict further tokens, or only the others.
/// If a tensor of the first layer of a kind is missing, llama.cpp requires no tensor of that kind (llama-model.cpp,
/// `nextn_flags`).
const IN_PARTS: &[&str] = &[
    "bailingmoe3",
    "cohere2moe",
    "deepseek2",
    "deepseek2-ocr",
    "deepseek32",
    "deepseek4",
    "glm-dsa",
    "glm4moe",
    "glm5-next",
    "hy_v3",
    "mellum",
    "mimo2",
    "mistral4",
    "nemotron_h",
    "nemotron_h_moe",
    "qwen35",
    "qwen35moe",
    "qwen3next",
    "qwen4exp",
    "step35",
];

/// Tensors that models of these architectures must have, with their names in the file.
const ALWAYS: &[(&[&str], &[&str])] = &[
    // Layers without biases use those of the first layer (models/t5.cpp).
    (&["t5"], &["enc.blk.0.attn_rel_b.weight", "dec.blk.0.attn_rel_b.weight"]),
    (&["t5encoder"], &["enc.blk.0.attn_rel_b.weight"]),
];

/// Tensors that make llama.cpp use other tensors, which it never loads for these architectures.
const NEVER: &[(&[&str], &str)] = &[
    // models/rwkv6-base.cpp, `is_qrwkv`
    (&["rwkv6qwen2"], "time_mix_first.weight"),
];

/// Tensors that the layers of `glm-dsa` which choose tokens compute with (models/glm-dsa.cpp).
const INDEXER: [&str; 5] = [
    "indexer.k_norm.weight",
    "indexer.k_norm.bias",
    "indexer.proj.weight",
    "indexer.attn_k.weight",
    "indexer.attn_q_b.weight",
];

/// Tables of token and expert numbers, which are integers.
const TABLES: [&str; 2] = ["d2t", "ffn_gate_tid2eid.weight"];

pub(super) fn flaw(metadata: Effective<'_>, tensors: &[TensorInfo]) -> Option<String> {
    let keys = Keys { architecture: metadata.text("general.architecture")?, metadata };
    tensors.iter().find_map(wrong_type).or_else(|| {
        let names: BTreeSet<&str> = tensors.iter().filter_map(|tensor| tensor.name().as_str()).collect();
        missing(keys, &names)
    })
}

/// Returns the flaw of a model for which llama.cpp creates all tensors that the architecture can have.
pub(super) fn flaw_of_all(metadata: Effective<'_>) -> Option<String> {
    let architecture = metadata.text("general.architecture")?;
    let (_, tensor) = NEVER.iter().find(|(architectures, _)| architectures.contains(&architecture))?;
    Some(format!(
        "models of {architecture} must not have the tensor {tensor}, which llama.cpp creates if there is no file: load the \
         model from a file"
    ))
}

/// Returns whether a tensor is added to the embeddings. llama.cpp adds the first row of the token types to every
/// token (models/bert.cpp).
pub(in crate::model) fn is_added(name: &[u8]) -> bool {
    name == b"token_types.weight"
}

/// Returns whether ggml multiplies matrices of this type (ggml-cpu.c, `type_traits_cpu`). Applies to the types of
/// llama.cpp's files, but not to the types of intermediate products.
pub(in crate::model) fn is_weight_type(ty: TensorType) -> bool {
    let is_float = matches!(ty, TensorType::F32 | TensorType::F16 | TensorType::BF16 | TensorType::F8_E4M3);
    is_float || (ty.is_quantized() && !matches!(ty, TensorType::Q8_1 | TensorType::Q8_K))
}

/// Finds a tensor of a wrong type. The kernels that add and multiply norms and biases support only F32, and the
/// kernels for matrices support no integers (binary-ops.cpp, ggml-cpu.c). ggml detects this only on its threads.
fn wrong_type(tensor: &TensorInfo) -> Option<String> {
    let (name, ty) = (tensor.name(), tensor.tensor_type());
    let text = name.to_str_lossy();
    if TABLES.iter().any(|table| text.ends_with(table)) {
        return None;
    }
    let is_row = tensor.shape().iter().skip(1).all(|size| *size == 1);
    let must = match is_row {
        _ if is_added(name.as_bytes()) && ty.is_quantized() => {
            "must not be quantised, because it is added to the embeddings"
        }
        _ if is_norm_or_bias(&text) && ty != TensorType::F32 => "must be in f32, like every norm and bias",
        true if ty.is_quantized() => "must not be quantised, because it has one dimension",
        _ if !is_weight_type(ty) => "must be in f32, f16, bf16 or a quantised type of files",
        _ => return None,
    };
    Some(format!("tensor {name} is in {ty}, but {must}"))
}

fn is_norm_or_bias(name: &str) -> bool {
    name.ends_with("norm.weight") || name.ends_with(".bias")
}

fn missing(keys: Keys<'_>, names: &BTreeSet<&str>) -> Option<String> {
    let exists = |name: &String| names.contains(name.as_str());
    let always = ALWAYS.iter().filter(|(architectures, _)| keys.is_one_of(architectures));
    let always =
        always.flat_map(|(_, names)| names.iter().map(|name| ((*name).to_owned(), "always".to_owned())));
    if let Some((name, when)) =
        always.chain(indexers(keys)).chain(first_layers(keys, names)).find(|(name, _)| !exists(name))
    {
        return Some(format!("tensor {name} is missing, which {} needs {when}", keys.architecture));
    }
    let of_layers = TOGETHER.iter().filter(|(architectures, ..)| keys.is_one_of(architectures));
    of_layers
        .flat_map(|&(_, first, sets)| {
            names.iter().filter_map(move |name| Some((name.strip_suffix(first)?, first, sets)))
        })
        .find_map(|(layer, first, sets)| {
            let tensor = |name: &str| format!("{layer}{name}");
            let applies = |set: &&&[&str]| {
                set.iter().filter_map(|name| name.strip_prefix('!')).all(|name| !exists(&tensor(name)))
            };
            let missing = |set: &&[&str]| {
                set.iter()
                    .filter(|name| !name.starts_with('!'))
                    .map(|name| tensor(name))
                    .find(|name| !exists(name))
            };
            let missing = sets.iter().filter(applies).map(missing).collect::<Option<Vec<_>>>()?.join(" or ");
            Some(format!(
                "tensor {missing} is missing, which {} needs with {layer}{first}",
                keys.architecture
            ))
        })
        .or_else(|| unwanted(keys, names))
}

fn unwanted(keys: Keys<'_>, names: &BTreeSet<&str>) -> Option<String> {
    let never = NEVER.iter().filter(|(architectures, _)| keys.is_one_of(architectures));
    let found = never.flat_map(|&(_, end)| names.iter().filter(move |name| name.ends_with(end))).next()?;
    Some(format!("tensor {found} exists, but models of {} must not have it", keys.architecture))
}

/// Returns the tensors by which llama.cpp detects the parts of a file, for the parts of which the file has tensors.
fn first_layers(keys: Keys<'_>, names: &BTreeSet<&str>) -> Vec<(String, String)> {
    let predicted = keys.number("nextn_predict_layers").unwrap_or(0) as usize;
    if predicted == 0 || !keys.is_one_of(IN_PARTS) {
        return Vec::new();
    }
    let trunk = keys.n_layer().saturating_sub(predicted);
    let norm = if keys.architecture == "qwen4exp" { "hc_attn_norm.weight" } else { "attn_norm.weight" };
    let layers = names.iter().filter_map(|name| layer(name));
    let (predicted, others): (BTreeSet<usize>, BTreeSet<usize>) = layers.partition(|layer| *layer >= trunk);
    let mut needed = Vec::new();
    if !others.is_empty() {
        needed.push((format!("blk.0.{norm}"), "with other tensors of layers".to_owned()));
    }
    if !predicted.is_empty() {
        let when = "with other tensors of layers that predict further tokens".to_owned();
        needed.push((format!("blk.{trunk}.nextn.eh_proj.weight"), when));
    }
    needed
}

/// Returns the number of the layer in a tensor's name.
fn layer(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// Returns the tensors that the indexers of `glm-dsa` need. Without a list all layers have an indexer. The
/// exceptions are models of a later version, which llama.cpp detects by their longer context and whose layers it
/// knows (models/glm-dsa.cpp, `is_pre_5_2`).
fn indexers(keys: Keys<'_>) -> Vec<(String, String)> {
    if keys.architecture != "glm-dsa" {
        return Vec::new();
    }
    let is_later = keys.number("context_length").is_some_and(|length| length >= 1 << 20);
    let chooses = |layer: usize| i64::from(!is_later || layer < 2 || layer % 4 == 2);
    let types = keys
        .per_layer("attention.indexer.types")
        .unwrap_or_else(|| (0..keys.n_layer().min(MAX_LAYERS)).map(chooses).collect());
    let layers = keys.n_layer().saturating_sub(keys.number("nextn_predict_layers").unwrap_or(0) as usize);
    let of_layer = |layer: usize| {
        INDEXER.map(|name| (format!("blk.{layer}.{name}"), "in a layer that chooses tokens".to_owned()))
    };
    let full = types.iter().enumerate().take(layers).filter(|(_, kind)| **kind != 0);
    full.flat_map(|(layer, _)| of_layer(layer)).collect()
}

#[cfg(test)]
mod tests {
    use llama_gguf::{Gguf, Metadata, Value, Writer};

    use super::super::tests::assert_known;
    use super::*;
    use crate::model::ModelParams;

    /// Returns the flaw of tensors with these names, types and shapes.
    fn flaw_of(
        architecture: &str,
        values: &[(&str, Value)],
        tensors: &[(&str, TensorType, &[u64])],
    ) -> Option<String> {
        let mut writer = Writer::new();
        writer.set("general.architecture", architecture);
        for (name, value) in values {
            writer.set(format!("{architecture}.{name}"), value.clone());
        }
        for (name, ty, shape) in tensors {
            let size = shape.iter().product::<u64>() / ty.block_size() * ty.block_bytes();
            writer.tensor(*name, *ty, shape, vec![0; usize::try_from(size).unwrap()]).unwrap();
        }
        let mut file = Vec::new();
        writer.write_to(&mut file).unwrap();
        let gguf = Gguf::from_bytes(&file).unwrap();
        let metadata: &Metadata = gguf.metadata();
        flaw(Effective::new(metadata, &ModelParams::default()), gguf.tensors())
    }

    #[test]
    fn llama_cpp_knows_every_architecture() {
        assert_known(IN_PARTS.iter().copied(), []);
        let lists = TOGETHER.iter().map(|(names, ..)| names).chain(ALWAYS.iter().map(|(names, _)| names));
        assert_known(
            lists.chain(NEVER.iter().map(|(names, _)| names)).flat_map(|names| names.iter().copied()),
            [],
        );
        assert_known(["glm-dsa"], []);
    }

    #[test]
    fn types_fit_the_role() {
        let flaw = |name: &str, ty: TensorType, shape: &[u64]| flaw_of("llama", &[], &[(name, ty, shape)]);
        for ty in [TensorType::F32, TensorType::F16, TensorType::BF16, TensorType::Q8_0, TensorType::IQ1_S] {
            assert_eq!(flaw("blk.0.attn_q.weight", ty, &[256, 2]), None, "{ty}");
        }
        for ty in [TensorType::I8, TensorType::I16, TensorType::I32, TensorType::I64, TensorType::F64] {
            let words = format!(
                "tensor blk.0.attn_q.weight is in {ty}, but must be in f32, f16, bf16 or a quantised type of files"
            );
            assert_eq!(flaw("blk.0.attn_q.weight", ty, &[256, 2]), Some(words));
            assert_eq!(flaw("d2t", ty, &[256]), None);
        }
        for ty in [TensorType::Q8_1, TensorType::Q8_K] {
            assert!(flaw("blk.0.attn_q.weight", ty, &[256, 2]).is_some(), "{ty}");
        }
        for name in ["output_norm.weight", "blk.0.attn_q_norm.weight", "blk.0.attn_q.bias"] {
            for ty in [TensorType::F16, TensorType::BF16, TensorType::I8, TensorType::Q8_0] {
                for shape in [&[256_u64] as &[u64], &[256, 2]] {
                    let words =
                        format!("tensor {name} is in {ty}, but must be in f32, like every norm and bias");
                    assert_eq!(flaw(name, ty, shape), Some(words));
                }
            }
            assert_eq!(flaw(name, TensorType::F32, &[256]), None);
        }
        assert_eq!(
            flaw("blk.0.ssm_d", TensorType::Q8_0, &[32]).unwrap(),
            "tensor blk.0.ssm_d is in q8_0, but must not be quantised, because it has one dimension"
        );
    }

    #[test]
    fn tensors_that_must_not_exist_are_refused() {
        let mut metadata = Metadata::new();
        metadata.set("general.architecture", "rwkv6qwen2");
        assert_eq!(
            flaw_of_all(Effective::new(&metadata, &ModelParams::default())).unwrap(),
            "models of rwkv6qwen2 must not have the tensor time_mix_first.weight, which llama.cpp creates if there is no \
             file: load the model from a file"
        );
        metadata.set("general.architecture", "rwkv6");
        assert_eq!(flaw_of_all(Effective::new(&metadata, &ModelParams::default())), None);
    }

    #[test]
    fn tensors_that_belong_together_are_complete() {
        let row = |name: &'static str| (name, TensorType::F32, &[32_u64] as &[u64]);
        let both = [row("blk.1.ssm_conv1d.weight"), row("blk.1.ssm_conv1d.bias")];
        assert_eq!(flaw_of("falcon-h1", &[], &both), None);
        assert_eq!(
            flaw_of("nemotron_h", &[], &both[..1]).unwrap(),
            "tensor blk.1.ssm_conv1d.bias is missing, which nemotron_h needs with blk.1.ssm_conv1d.weight"
        );
        assert_eq!(flaw_of("mamba", &[], &both[..1]), None);
        let biases = [row("enc.blk.0.attn_rel_b.weight"), row("dec.blk.0.attn_rel_b.weight")];
        assert_eq!(flaw_of("t5", &[], &biases), None);
        assert_eq!(
            flaw_of("t5", &[], &biases[..1]).unwrap(),
            "tensor dec.blk.0.attn_rel_b.weight is missing, which t5 needs always"
        );
        assert_eq!(
            flaw_of("rwkv6qwen2", &[], &[row("blk.0.time_mix_first.weight")]).unwrap(),
            "tensor blk.0.time_mix_first.weight exists, but models of rwkv6qwen2 must not have it"
        );
        let moe = [
            row("blk.3.ffn_gate_inp.weight"),
            row("blk.3.ffn_down_exps.weight"),
            row("blk.3.ffn_up_exps.weight"),
        ];
        assert_eq!(flaw_of("hy_v3", &[], &moe), None);
        assert_eq!(
            flaw_of("hy_v3", &[], &moe[..2]).unwrap(),
            "tensor blk.3.ffn_gate_up_exps.weight or blk.3.ffn_up_exps.weight is missing, which hy_v3 needs with \
             blk.3.ffn_gate_inp.weight"
        );
        let linear = [
            row("blk.0.ssm_conv1d.weight"),
            row("blk.0.ssm_in.weight"),
            row("blk.0.attn_qkv.weight"),
            row("blk.0.attn_gate.weight"),
        ];
        assert_eq!(flaw_of("qwen3next", &[], &linear), None);
        assert_eq!(flaw_of("qwen3next", &[], &linear[..2]), None);
        assert_eq!(
            flaw_of("qwen3next", &[], &linear[..3]).unwrap(),
            "tensor blk.0.attn_gate.weight is missing, which qwen3next needs with blk.0.ssm_conv1d.weight"
        );
        assert_eq!(
            flaw_of("qwen3next", &[], &linear[..1]).unwrap(),
            "tensor blk.0.attn_qkv.weight or blk.0.ssm_in.weight is missing, which qwen3next needs with \
             blk.0.ssm_conv1d.weight"
        );
        let layers = [("block_count", 3_u32.into()), ("nextn_predict_layers", 1_u32.into())];
        let trunk =
            [row("blk.0.attn_norm.weight"), row("blk.1.attn_norm.weight"), row("blk.2.nextn.eh_proj.weight")];
        for part in [&trunk[..], &trunk[..2], &trunk[2..]] {
            assert_eq!(flaw_of("qwen35", &layers, part), None);
        }
        assert_eq!(
            flaw_of("qwen35", &layers, &trunk[1..]).unwrap(),
            "tensor blk.0.attn_norm.weight is missing, which qwen35 needs with other tensors of layers"
        );
        let layers = [("block_count", 2_u32.into()), ("attention.indexer.types", vec![0_u32, 1].into())];
        assert_eq!(
            flaw_of("glm-dsa", &layers, &[]).unwrap(),
            "tensor blk.1.indexer.k_norm.weight is missing, which glm-dsa needs in a layer that chooses tokens"
        );
        assert_eq!(flaw_of("glm-dsa", &[("block_count", 0_u32.into())], &[]), None);
    }
}
