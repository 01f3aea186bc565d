//! `mamba`: a recurrent model, whose memory is a state of fixed size.

use llama_gguf::{TensorType, Writer};

use crate::model::{Model, N_EMBD};
use crate::vocab::Vocab;

const LAYERS: u64 = 2;
/// The width of the recurrence; llama.cpp requires twice the width of the model.
const INNER: u64 = 2 * N_EMBD;
const STATE: u64 = 16;
const CONV: u64 = 4;
const RANK: u64 = 8;

/// The keys of the recurrence, which the hybrid model uses too.
pub(crate) const KEYS: [(&str, u64); 4] = [
    ("ssm.conv_kernel", CONV),
    ("ssm.inner_size", INNER),
    ("ssm.state_size", STATE),
    ("ssm.time_step_rank", RANK),
];

pub(crate) fn f32() -> Writer<'static> {
    let mut model = Model::new("mamba", "mamba", TensorType::F32);
    model.keys(&KEYS);
    model.keys(&[("block_count", LAYERS), ("feed_forward_length", 0), ("attention.head_count", 0)]);
    model.key("attention.layer_norm_rms_epsilon", 1e-5f32);
    model.vocabulary(&Vocab::bpe(), 1.0);
    model.norm("output_norm.weight", N_EMBD);
    for layer in 0..LAYERS {
        let block = format!("blk.{layer}");
        model.norm(&format!("{block}.attn_norm.weight"), N_EMBD);
        recurrence(&mut model, &block);
    }
    model.finish()
}

/// Adds the tensors of one recurrent block.
pub(crate) fn recurrence(model: &mut Model, block: &str) {
    model.matrix(&format!("{block}.ssm_in.weight"), &[N_EMBD, 2 * INNER], 1.5);
    model.vector(&format!("{block}.ssm_conv1d.weight"), &[CONV, INNER], 0.0, 0.7);
    model.vector(&format!("{block}.ssm_conv1d.bias"), &[INNER], 0.0, 0.1);
    model.matrix(&format!("{block}.ssm_x.weight"), &[INNER, RANK + 2 * STATE], 2.0);
    model.matrix(&format!("{block}.ssm_dt.weight"), &[RANK, INNER], 1.0);
    // After softplus this is a time step of about a tenth, so the state remembers about ten tokens.
    model.vector(&format!("{block}.ssm_dt.bias"), &[INNER], -2.0, 0.5);
    model.values(&format!("{block}.ssm_a"), &[STATE, INNER], &decay());
    model.vector(&format!("{block}.ssm_d"), &[INNER], 0.5, 0.1);
    model.matrix(&format!("{block}.ssm_out.weight"), &[INNER, N_EMBD], 3.0);
}

/// Adds the norms of the recurrence, which only the hybrid model has.
pub(crate) fn recurrence_norms(model: &mut Model, block: &str) {
    model.norm(&format!("{block}.ssm_dt_norm.weight"), RANK);
    model.norm(&format!("{block}.ssm_b_norm.weight"), STATE);
    model.norm(&format!("{block}.ssm_c_norm.weight"), STATE);
}

/// Returns the usual initial decay: -1, -2, -3 and so on for the numbers of each state. The values are negative, so
/// that the state forgets.
fn decay() -> Vec<f32> {
    (0..INNER).flat_map(|_| (1..=STATE).map(|n| -f32::from(u8::try_from(n).expect("it is small")))).collect()
}
