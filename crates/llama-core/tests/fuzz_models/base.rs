//! Metadata of a small unchanged model of every architecture.
//!
//! One table has a plausible value for each key that some architecture reads; keys that an architecture does not read
//! are harmless. A second table has different values for some architectures.

use llama_gguf::{Metadata, Value};

/// The number of tokens of the vocabulary, which has no texts.
pub(crate) const N_VOCAB: u32 = 96;
pub(crate) const N_EMBD: u32 = 64;
const N_LAYER: u32 = 4;
const N_HEAD: u32 = 2;
/// The size of a head: `N_EMBD / N_HEAD`.
const HEAD: u32 = 32;
const LAYERS: usize = N_LAYER as usize;

/// Returns metadata from which llama.cpp can make a model of the architecture.
pub(crate) fn metadata(architecture: &str) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", architecture).set("tokenizer.ggml.model", "no_vocab");
    metadata.set("tokenizer.ggml.token_type_count", 2_u32);
    for key in ["xielu.alpha_n", "xielu.alpha_p", "xielu.beta", "xielu.eps"] {
        metadata.set(key, 0.5_f32);
    }
    let mut set = |name: &str, value: Value| _ = metadata.set(format!("{architecture}.{name}"), value);
    numbers().into_iter().for_each(|(name, value)| set(name, value.into()));
    floats().into_iter().for_each(|(name, value)| set(name, value.into()));
    lists().into_iter().for_each(|(name, value)| set(name, value));
    for (names, changes) in exceptions() {
        if names.contains(&architecture) {
            for (name, value) in changes {
                match value {
                    Some(value) => _ = metadata.set(format!("{architecture}.{name}"), value),
                    None => _ = metadata.remove(format!("{architecture}.{name}")),
                }
            }
        }
    }
    metadata
}

fn numbers() -> Vec<(&'static str, u32)> {
    vec![
        ("vocab_size", N_VOCAB),
        ("context_length", 256),
        ("embedding_length", N_EMBD),
        ("features_length", N_EMBD),
        ("embedding_length_per_layer_input", 32),
        ("block_count", N_LAYER),
        ("leading_dense_block_count", 1),
        ("feed_forward_length", 96),
        ("expert_feed_forward_length", 64),
        ("expert_shared_feed_forward_length", 64),
        ("expert_chunk_feed_forward_length", 32),
        ("expert_count", 4),
        ("expert_used_count", 2),
        ("expert_shared_count", 1),
        ("expert_gating_func", 2),
        ("experts_per_group", 2),
        ("moe_every_n_layers", 2),
        ("moe_latent_size", 32),
        ("interleave_moe_layer_step", 2),
        ("decoder_start_token_id", 0),
        ("decoder_block_count", 2),
        ("rescale_every_n_layers", 6),
        ("time_mix_extra_dim", 16),
        ("time_decay_extra_dim", 16),
        ("token_shift_count", 2),
        ("full_attention_interval", 2),
        ("attention.head_count", N_HEAD),
        ("attention.head_count_kv", N_HEAD),
        ("attention.key_length", HEAD),
        ("attention.value_length", HEAD),
        ("attention.key_length_swa", HEAD),
        ("attention.value_length_swa", HEAD),
        ("attention.group_norm_groups", 2),
        ("attention.q_lora_rank", 32),
        ("attention.kv_lora_rank", 32),
        ("attention.decay_lora_rank", 16),
        ("attention.iclr_lora_rank", 16),
        ("attention.value_residual_mix_lora_rank", 16),
        ("attention.gate_lora_rank", 16),
        ("attention.relative_buckets_count", 8),
        ("attention.sliding_window", 32),
        ("attention.temperature_length", 128),
        ("attention.indexer.head_count", 4),
        ("attention.indexer.key_length", 64),
        ("attention.indexer.top_k", 8),
        ("attention.indexer.block_size", 4),
        ("attention.indexer.local_blocks", 1),
        ("attention.indexer.kpool", 2),
        ("attention.output_group_count", 2),
        ("attention.output_lora_rank", 16),
        ("hyper_connection.count", 4),
        ("hyper_connection.sinkhorn_iterations", 2),
        ("hyper_connection.low_rank", 8),
        ("hash_layer_count", 0),
        ("rope.dimension_count", HEAD),
        ("rope.dimension_count_swa", HEAD),
        ("rope.scaling.original_context_length", 256),
        ("ssm.conv_kernel", 4),
        ("ssm.inner_size", 128),
        ("ssm.state_size", 16),
        ("ssm.time_step_rank", 4),
        ("ssm.group_count", 2),
        ("kda.head_dim", HEAD),
        ("wkv.head_size", HEAD),
        ("shortconv.l_cache", 3),
        ("posnet.embedding_length", N_EMBD),
        ("posnet.block_count", 2),
        ("convnext.embedding_length", N_EMBD),
        ("convnext.block_count", 2),
        ("target_hidden_size", N_EMBD),
        ("attn_res.block_size", 2),
        ("mudd.feed_forward_length", 16),
        ("hrm.layers_per_stack", 1),
        ("hrm.h_cycles", 2),
        ("hrm.l_cycles", 1),
        ("adapters.count", 2),
        ("adapters.lora_rank", 4),
        ("decision.block_count", 1),
        ("decision.routing_block_count", 1),
        ("decision.head_count", 2),
        ("block_size", 4),
    ]
}

fn floats() -> Vec<(&'static str, f32)> {
    vec![
        ("attention.layer_norm_epsilon", 1e-5),
        ("attention.layer_norm_rms_epsilon", 1e-5),
        ("attention.group_norm_epsilon", 1e-5),
        ("attention.xsa_epsilon", 1e-5),
        ("post_norm_epsilon", 1e-5),
        ("hyper_connection.epsilon", 1e-5),
        ("hyper_connection.magnitude", 2.0),
        ("attention.clamp_kqv", 8.0),
        ("attention.scale", 0.25),
        ("attention.temperature_scale", 0.1),
        ("attention.compress_rope_freq_base", 10_000.0),
        ("logit_scale", 1.0),
        ("residual_scale", 1.0),
        ("embedding_scale", 1.0),
        ("expert_weights_scale", 1.0),
        ("expert_group_scale", 0.05),
        ("final_logit_softcapping", 30.0),
        ("rope.freq_base", 10_000.0),
        ("rope.freq_base_swa", 10_000.0),
        ("rope.freq_base_spatial", 10_000.0),
        ("rope.scaling.yarn_log_multiplier", 0.1),
        ("kda.gate_lower_bound", -5.0),
        ("activation.situ_beta", 1.0),
        ("activation.situ_linear_beta", 1.0),
        ("swiglu_clamp_exp", 7.0),
        ("swiglu_clamp_shexp", 7.0),
    ]
}

fn lists() -> Vec<(&'static str, Value)> {
    let alternating: Vec<u32> = (0..N_LAYER).map(|layer| u32::from(layer % 2 == 0)).collect();
    vec![
        ("attention.causal", true.into()),
        ("use_parallel_residual", true.into()),
        ("expert_weights_norm", true.into()),
        ("rope.dimension_sections", vec![4_i32, 4, 4, 4].into()),
        ("attention.sliding_window_pattern", alternating.clone().into()),
        ("attention.rope_pattern", alternating.into()),
        ("attention.compress_ratios", vec![0_u32; LAYERS].into()),
        ("attention.indexer.types", vec![1_u32; LAYERS].into()),
        ("attention.kv_source_layers", Vec::<u32>::new().into()),
        ("attention.indexer.source_layers", Vec::<u32>::new().into()),
        ("target_layers", vec![0_i32, 1, 2].into()),
        ("adapters.token_ids_activate", vec![1_i32, 2].into()),
        ("adapters.token_ids_substitute", vec![3_i32, 4].into()),
    ]
}

/// Names of architectures with the keys whose values differ from the tables above; `None` leaves a key out.
type Exception = (&'static [&'static str], Vec<(&'static str, Option<Value>)>);

fn exceptions() -> Vec<Exception> {
    let some = |value: u32| Some(Value::from(value));
    let recurrent_first: Vec<u32> =
        (0..N_LAYER).map(|layer| if layer % 2 == 0 { 0 } else { N_HEAD }).collect();
    let latent_first: Vec<u32> = (0..N_LAYER).map(|layer| layer % 2).collect();
    let latent = vec![
        ("attention.head_count_kv", some(1)),
        ("attention.key_length", some(48)),
        ("attention.value_length", some(32)),
        ("attention.key_length_mla", some(32)),
        ("attention.value_length_mla", some(16)),
        ("rope.dimension_count", some(16)),
    ];
    vec![
        (
            &["jamba", "plamo2", "granitehybrid", "lfm2", "lfm2moe", "lfm3"],
            vec![("attention.head_count_kv", Some(recurrent_first.into()))],
        ),
        (
            &[
                "deepseek2",
                "deepseek32",
                "mistral4",
                "glm-dsa",
                "hy_v4",
                "mistral-large4",
                "kimi-linear",
                "kimi-k3",
                "bailingmoe3",
                "glm5-next",
                "dots3note",
            ],
            latent,
        ),
        (
            &["kimi-linear", "kimi-k3", "bailingmoe3", "glm5-next"],
            vec![("attention.head_count_kv", Some(latent_first.into()))],
        ),
        (
            &["dots3note"],
            vec![
                ("attention.key_length_swa", some(48)),
                ("attention.value_length_swa", some(32)),
                ("attention.key_length_mla_swa", some(32)),
                ("attention.value_length_mla_swa", some(16)),
                ("attention.kv_lora_rank_swa", some(32)),
                ("rope.dimension_count_swa", some(16)),
                ("attention.sliding_window_pattern", Some(vec![0_u32, 1, 0, 1].into())),
                ("attention.indexer.types", Some(vec![1_u32, 0, 1, 0].into())),
            ],
        ),
        (
            &["bert", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "modern-bert", "lfm2"],
            vec![("decision.block_count", None)],
        ),
        (&["mamba", "mamba2"], vec![("attention.head_count", some(0)), ("rope.dimension_count", None)]),
        (&["arwkv7", "rwkv6qwen2"], vec![("token_shift_count", some(1))]),
        (&["chameleon"], vec![("vocab_size", some(8256))]),
        (
            &["deepseek4", "deepseek41"],
            vec![
                ("attention.head_count_kv", some(1)),
                ("expert_gating_func", some(4)),
                ("attention.compress_ratios", Some(vec![4_u32, 128, 4, 0].into())),
            ],
        ),
        (
            &["deepseek41"],
            vec![
                ("attention.compress_ratios", Some(vec![2_u32, 2, 1, 0].into())),
                ("attention.kv_source_layers", Some(vec![0_u32, 2].into())),
                ("attention.indexer.source_layers", Some(vec![0_u32, 2].into())),
            ],
        ),
        (&["dflash"], vec![("hyper_connection.count", None), ("attention.kv_lora_rank", None)]),
        (&["eagle3"], vec![("block_count", some(1))]),
        (&["gemma4-assistant"], vec![("embedding_length_out", some(N_EMBD))]),
        (&["minimax-m3"], vec![("attention.indexer.head_count", some(N_HEAD))]),
        (
            &["nemotron_h", "nemotron_h_moe"],
            vec![
                ("attention.head_count_kv", Some(vec![0_u32, N_HEAD, 0, 0].into())),
                ("feed_forward_length", Some(vec![0_u32, 0, 96, 96].into())),
            ],
        ),
        (&["plamo2"], vec![("ssm.group_count", some(0))]),
        (&["plm"], vec![("rope.dimension_count", some(16)), ("attention.value_length", some(16))]),
        (
            &["glm5-next"],
            vec![
                ("rope.dimension_count", some(0)),
                ("attention.key_length_mla", some(32)),
                ("attention.key_length", some(32)),
            ],
        ),
        (&["qwen35", "qwen35moe", "qwen3next", "qwen4exp", "clef"], vec![("ssm.state_size", some(32))]),
    ]
}
