//! Numbers of heads and experts, which must fit each other.

use super::Keys;

/// Architectures without attention, whose models may have no attention heads.
const WITHOUT_HEADS: &[&str] =
    &["mamba", "mamba2", "rwkv6", "rwkv7", "arwkv7", "rwkv6qwen2", "wavtokenizer-dec", "clip", "gptj"];
/// Architectures whose queries share heads of keys in every layer (models/limite.cpp, rwkv6-base.cpp).
const SHARE_HEADS: &[&str] = &["limite", "rwkv6qwen2"];
/// Architectures that divide by the number of groups of their recurrent layers: models/mamba-base.cpp and its callers, and
/// those whose groups are heads of keys (models/qwen3next.cpp, qwen35.cpp, qwen35moe.cpp, qwen4exp.cpp).
const GROUPS: &[&str] = &[
    "falcon-h1",
    "granitehybrid",
    "mamba2",
    "nemotron_h",
    "nemotron_h_moe",
    "qwen35",
    "qwen35moe",
    "qwen3next",
    "qwen4exp",
];
/// Architectures that divide the width of a layer by the number of experts per token before checking whether there
/// are experts.
const EXPERTS: &[&str] = &[
    "glm4moe",
    "grovemoe",
    "llada-moe",
    "mellum",
    "qwen2moe",
    "qwen35moe",
    "qwen3moe",
    "qwen3next",
    "qwen3vlmoe",
    "qwen4exp",
    "rnd1",
];
/// Architectures that alternate layers with and without experts by a step (models/ernie4-5-moe.cpp).
const EXPERT_STEP: &[&str] = &["ernie4_5-moe"];
/// Architectures that divide heads into output groups (models/deepseek4.cpp, dflash.cpp).
const OUTPUT_GROUPS: &[&str] = &["deepseek4", "deepseek41"];

pub(super) fn flaw(keys: Keys<'_>) -> Option<String> {
    heads(keys)
        .or_else(|| shared_heads(keys))
        .or_else(|| recurrent_heads(keys))
        .or_else(|| experts(keys))
        .or_else(|| output_groups(keys))
}

/// Checks the heads of the first layer, by which llama.cpp divides the width of a layer.
fn heads(keys: Keys<'_>) -> Option<String> {
    let name = "attention.head_count";
    match keys.numbers(name).first() {
        _ if keys.is_one_of(WITHOUT_HEADS) => None,
        Some(0) => Some(keys.wrong(name, 0, "at least 1, also in the first layer of a list")),
        Some(_) => None,
        None => Some(keys.missing(name, "at least 1")),
    }
}

/// Checks that each head of keys is shared by the same number of heads of queries, which ggml asserts when the graph
/// is built (ggml.c, `ggml_can_mul_mat`). Numbers that differ between the layers are lists, and are only checked for
/// 0.
fn shared_heads(keys: Keys<'_>) -> Option<String> {
    let name = "attention.head_count_kv";
    if keys.is_one_of(SHARE_HEADS) && keys.numbers(name).contains(&0) {
        return Some(keys.wrong(name, 0, "at least 1"));
    }
    let heads = keys.number("attention.head_count")?;
    let shared = keys.number(name).filter(|shared| *shared > 0)?;
    (!heads.is_multiple_of(shared))
        .then(|| keys.wrong(name, shared, format_args!("a divisor of attention.head_count, {heads}")))
}

fn recurrent_heads(keys: Keys<'_>) -> Option<String> {
    let name = "ssm.group_count";
    if keys.is_one_of(GROUPS) && keys.number(name) == Some(0) {
        return Some(keys.wrong(name, 0, "at least 1"));
    }
    // A layer has as many heads as fit into it (models/rwkv6.cpp, rwkv7.cpp).
    let width = keys.number("embedding_length")?;
    let size = keys.number("wkv.head_size").filter(|size| *size > 0)?;
    (!width.is_multiple_of(size))
        .then(|| keys.wrong("wkv.head_size", size, format_args!("a divisor of embedding_length, {width}")))
}

fn experts(keys: Keys<'_>) -> Option<String> {
    let name = "interleave_moe_layer_step";
    if keys.is_one_of(EXPERT_STEP) && keys.number(name) == Some(0) {
        return Some(keys.wrong(name, 0, "at least 1"));
    }
    if !keys.is_one_of(EXPERTS) {
        return None;
    }
    let name = "expert_used_count";
    match keys.numbers(name).iter().min() {
        None => Some(keys.missing(name, "at least 1")),
        Some(0) => Some(keys.wrong(name, 0, "at least 1")),
        Some(_) => None,
    }
}

fn output_groups(keys: Keys<'_>) -> Option<String> {
    let name = "attention.output_group_count";
    if !keys.is_one_of(OUTPUT_GROUPS) {
        return None;
    }
    let heads = keys.number("attention.head_count")?;
    let groups = keys.number(name).filter(|groups| *groups > 0)?;
    (!heads.is_multiple_of(groups))
        .then(|| keys.wrong(name, groups, format_args!("a divisor of attention.head_count, {heads}")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_known, flaw_of};
    use super::*;

    #[test]
    fn llama_cpp_knows_every_architecture() {
        let lists = [WITHOUT_HEADS, SHARE_HEADS, GROUPS, EXPERTS, EXPERT_STEP, OUTPUT_GROUPS];
        assert_known(lists.concat(), []);
    }

    #[test]
    fn heads_exist_and_are_shared_evenly() {
        let flaw = |all: u32, shared: u32| {
            flaw_of(
                "llama",
                &[("attention.head_count", all.into()), ("attention.head_count_kv", shared.into())],
            )
        };
        assert_eq!(flaw(4, 2), None);
        assert_eq!(flaw(4, 0), None);
        assert_eq!(
            flaw(4, 3).unwrap(),
            "llama.attention.head_count_kv is 3, but must be a divisor of attention.head_count, 4"
        );
        assert_eq!(
            flaw(0, 0).unwrap(),
            "llama.attention.head_count is 0, but must be at least 1, also in the first layer of a list"
        );
        assert_eq!(
            flaw_of("llama", &[]).unwrap(),
            "llama.attention.head_count is missing, but must be at least 1"
        );
        assert_eq!(flaw_of("mamba", &[]), None);
    }

    #[test]
    fn divisors_are_not_zero() {
        let head = ("attention.head_count", 4_u32.into());
        for (architecture, name, value, words) in [
            ("limite", "attention.head_count_kv", 0_u32, "is 0, but must be at least 1"),
            ("mamba2", "ssm.group_count", 0, "is 0, but must be at least 1"),
            ("qwen3next", "ssm.group_count", 0, "is 0, but must be at least 1"),
            ("qwen35", "ssm.group_count", 0, "is 0, but must be at least 1"),
            ("ernie4_5-moe", "interleave_moe_layer_step", 0, "is 0, but must be at least 1"),
            ("qwen3moe", "expert_used_count", 0, "is 0, but must be at least 1"),
            (
                "deepseek4",
                "attention.output_group_count",
                3,
                "is 3, but must be a divisor of attention.head_count, 4",
            ),
        ] {
            let flaw = flaw_of(architecture, &[head.clone(), (name, value.into())]);
            assert_eq!(flaw, Some(format!("{architecture}.{name} {words}")));
        }
        let sizes = [("embedding_length", 64_u32.into()), ("wkv.head_size", 24_u32.into())];
        assert_eq!(
            flaw_of("rwkv6", &sizes).unwrap(),
            "rwkv6.wkv.head_size is 24, but must be a divisor of embedding_length, 64"
        );
        assert_eq!(
            flaw_of("qwen2moe", &[head]).unwrap(),
            "qwen2moe.expert_used_count is missing, but must be at least 1"
        );
    }
}
