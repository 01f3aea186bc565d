//! The fused operations of DeepSeek V4's hyper-connections.

use llama_sys::ggml_op as Op;

use super::types::has_f32_rows;
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_DSV4_HC_COMB => &COMB,
        Op::GGML_OP_DSV4_HC_PRE => &PRE,
        Op::GGML_OP_DSV4_HC_POST => &POST,
        _ => return None,
    })
}

/// Number of streams that `ggml_compute_forward_dsv4_hc_comb_f32` supports.
const STREAMS: i64 = 4;

/// Number of mixing weights: factors before and after, and a square matrix.
const MIXES: i64 = (2 + STREAMS) * STREAMS;

fn starts_with(t: Tensor<'_>, shape: &[i64]) -> bool {
    t.shape().starts_with(shape)
}

static COMB: Operation = Operation {
    sources: 3,
    conditions: &[
        Condition {
            requires: "the sources and the result must be in f32",
            holds: |t| t.is_f32() && (0..3).all(|index| t.src(index).is_f32()),
            covers: &[
                "ggml_compute_forward_dsv4_hc_comb: \"fatal error\"",
                "ggml_compute_forward_dsv4_hc_comb_f32: mixes->type == GGML_TYPE_F32",
                "ggml_compute_forward_dsv4_hc_comb_f32: scale->type == GGML_TYPE_F32",
                "ggml_compute_forward_dsv4_hc_comb_f32: base->type == GGML_TYPE_F32",
                "ggml_compute_forward_dsv4_hc_comb_f32: dst->type == GGML_TYPE_F32",
            ],
        },
        Condition {
            requires: "there must be 4 streams with 24 mixes for each token and 3 scales",
            holds: |t| {
                let (mixes, scale, base) = (t.src(0), t.src(1), t.src(2));
                mixes.ne(0) == MIXES
                    && starts_with(t, &[STREAMS, STREAMS, mixes.ne(1)])
                    && scale.ne(0) >= 3
                    && base.ne(0) == MIXES
            },
            covers: &[
                "ggml_compute_forward_dsv4_hc_comb_f32: mixes->ne[0] == hc_mix_dim",
                "ggml_compute_forward_dsv4_hc_comb_f32: dst->ne[0] == hc",
                "ggml_compute_forward_dsv4_hc_comb_f32: dst->ne[1] == hc",
                "ggml_compute_forward_dsv4_hc_comb_f32: dst->ne[2] == n_tokens",
                "ggml_compute_forward_dsv4_hc_comb_f32: scale->ne[0] >= 3",
                "ggml_compute_forward_dsv4_hc_comb_f32: base->ne[0] == hc_mix_dim",
            ],
        },
        Condition {
            requires: "the number of iterations (hyper_connection.sinkhorn_iterations) must be above 0",
            holds: |t| t.param(1) > 0,
            covers: &["ggml_compute_forward_dsv4_hc_comb_f32: n_iter > 0"],
        },
    ],
};

static PRE: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "the sources and the result must be in f32",
            holds: |t| t.is_f32() && t.src(0).is_f32() && t.src(1).is_f32(),
            covers: &[
                "ggml_compute_forward_dsv4_hc_pre: \"fatal error\"",
                "ggml_compute_forward_dsv4_hc_pre_f32: x->type == GGML_TYPE_F32",
                "ggml_compute_forward_dsv4_hc_pre_f32: weights->type == GGML_TYPE_F32",
                "ggml_compute_forward_dsv4_hc_pre_f32: dst->type == GGML_TYPE_F32",
            ],
        },
        Condition {
            requires: "source 1 must have a factor for each stream and token, or with gates one for each element",
            holds: |t| {
                let (x, weights) = (t.src(0), t.src(1));
                let [n_embd, streams, n_tokens, _] = x.shape();
                let is_gated = t.param(1) != 0;
                starts_with(t, &[n_embd, n_tokens])
                    && if is_gated {
                        starts_with(weights, &[n_embd, streams, n_tokens])
                    } else {
                        starts_with(weights, &[streams, n_tokens])
                    }
            },
            covers: &[
                "ggml_compute_forward_dsv4_hc_pre_f32: dst->ne[0] == n_embd",
                "ggml_compute_forward_dsv4_hc_pre_f32: dst->ne[1] == n_tokens",
                "ggml_compute_forward_dsv4_hc_pre_f32: weights->ne[0] == n_embd",
                "ggml_compute_forward_dsv4_hc_pre_f32: weights->ne[1] == hc",
                "ggml_compute_forward_dsv4_hc_pre_f32: weights->ne[2] == n_tokens",
                "ggml_compute_forward_dsv4_hc_pre_f32: weights->ne[0] == hc",
                "ggml_compute_forward_dsv4_hc_pre_f32: weights->ne[1] == n_tokens",
            ],
        },
    ],
};

static POST: Operation = Operation {
    sources: 3,
    conditions: &[
        Condition {
            requires: "the sources and the result must be in f32",
            holds: |t| {
                t.is_f32()
                    && (0..3).all(|index| t.src(index).is_f32())
                    && t.source(3).is_none_or(Tensor::is_f32)
            },
            covers: &[
                "ggml_compute_forward_dsv4_hc_post: \"fatal error\"",
                "ggml_compute_forward_dsv4_hc_post_f32: x->type == GGML_TYPE_F32",
                "ggml_compute_forward_dsv4_hc_post_f32: residual->type == GGML_TYPE_F32",
                "ggml_compute_forward_dsv4_hc_post_f32: post->type == GGML_TYPE_F32",
                "ggml_compute_forward_dsv4_hc_post_f32: dst->type == GGML_TYPE_F32",
                "ggml_compute_forward_dsv4_hc_post_f32: comb->type == GGML_TYPE_F32",
            ],
        },
        Condition {
            requires: "the sources and the result must have the same streams, tokens and elements",
            holds: |t| {
                let (x, residual, post) = (t.src(0), t.src(1), t.src(2));
                let (n_embd, n_tokens, streams) = (x.ne(0), x.ne(1), residual.ne(1));
                starts_with(t, &[n_embd, streams, n_tokens])
                    && starts_with(residual, &[n_embd, streams, n_tokens])
                    && starts_with(post, &[streams, n_tokens])
                    && t.source(3).is_none_or(|comb| starts_with(comb, &[streams, streams, n_tokens]))
            },
            covers: &[
                "ggml_compute_forward_dsv4_hc_post_f32: dst->ne[0] == n_embd",
                "ggml_compute_forward_dsv4_hc_post_f32: dst->ne[1] == hc",
                "ggml_compute_forward_dsv4_hc_post_f32: dst->ne[2] == n_tokens",
                "ggml_compute_forward_dsv4_hc_post_f32: residual->ne[0] == n_embd",
                "ggml_compute_forward_dsv4_hc_post_f32: residual->ne[2] == n_tokens",
                "ggml_compute_forward_dsv4_hc_post_f32: post->ne[0] == hc",
                "ggml_compute_forward_dsv4_hc_post_f32: post->ne[1] == n_tokens",
                "ggml_compute_forward_dsv4_hc_post_f32: comb->ne[0] == hc",
                "ggml_compute_forward_dsv4_hc_post_f32: comb->ne[1] == hc",
                "ggml_compute_forward_dsv4_hc_post_f32: comb->ne[2] == n_tokens",
            ],
        },
        Condition { requires: "the rows of the result must be contiguous", holds: has_f32_rows, covers: &[] },
    ],
};
