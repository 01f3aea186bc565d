//! State space models, linear attention and triangular systems.

use llama_sys::ggml_op as Op;

use super::types::{has_f32_rows, is_i32, is_packed};
use super::{Condition, Operation};
use crate::graph::tensor::{F32_SIZE, Tensor, size};

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_SSM_CONV => &SSM_CONV,
        Op::GGML_OP_SSM_SCAN => &SSM_SCAN,
        Op::GGML_OP_RWKV_WKV6 => &RWKV_WKV6,
        Op::GGML_OP_RWKV_WKV7 => &RWKV_WKV7,
        Op::GGML_OP_GATED_LINEAR_ATTN => &GATED_LINEAR_ATTN,
        Op::GGML_OP_GATED_DELTA_NET => &GATED_DELTA_NET,
        Op::GGML_OP_SOLVE_TRI => &SOLVE_TRI,
        _ => return None,
    })
}

fn are_f32(t: Tensor<'_>, sources: usize) -> bool {
    t.is_f32() && (0..sources).all(|index| t.src(index).is_f32())
}

static SSM_CONV: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "source 0 must be in f32",
            holds: |t| t.src(0).is_f32(),
            covers: &["ggml_compute_forward_ssm_conv: \"fatal error\""],
        },
        Condition {
            requires: "source 1, the kernel, and the result must be in f32",
            holds: |t| are_f32(t, 2),
            covers: &[],
        },
        Condition {
            requires: "source 0 must be contiguous, source 1, the kernel, must be too and have a row for each of its rows, \
                       and both must be long enough for the result's tokens",
            holds: |t| {
                let (x, kernel) = (t.src(0), t.src(1));
                t.ne(0) == x.ne(1)
                    && kernel.ne(1) == x.ne(1)
                    && has_f32_rows(x)
                    && kernel.is_contiguous()
                    && x.nb(1) == size(x.ne(0)) * F32_SIZE
                    && x.ne(0) >= kernel.ne(0) - 1 + t.ne(1)
                    && x.ne(2) >= t.ne(2)
            },
            covers: &[
                "ggml_compute_forward_ssm_conv_f32: dst->ne[0] == nr",
                "ggml_compute_forward_ssm_conv_f32: src0->nb[0] == sizeof(float)",
                "ggml_compute_forward_ssm_conv_f32: src1->nb[0] == sizeof(float)",
                "ggml_compute_forward_ssm_conv_f32: src0->nb[1] == src0->ne[0]*sizeof(float)",
            ],
        },
    ],
};

static SSM_SCAN: Operation = Operation {
    sources: 7,
    conditions: &[
        Condition {
            requires: "sources 1 to 5 and the result must be in f32, and source 6 (the ids) in i32",
            holds: |t| t.is_f32() && (1..6).all(|index| t.src(index).is_f32()) && is_i32(t.src(6)),
            covers: &[],
        },
        Condition {
            requires: "source 0 must be in f32, and the rows of all sources must be contiguous",
            holds: |t| t.src(0).is_f32() && (0..7).all(|index| is_packed(t.src(index))),
            covers: &[
                "ggml_compute_forward_ssm_scan: \"fatal error\"",
                "ggml_compute_forward_ssm_scan_f32: src0->nb[0] == sizeof(float)",
                "ggml_compute_forward_ssm_scan_f32: src1->nb[0] == sizeof(float)",
                "ggml_compute_forward_ssm_scan_f32: src2->nb[0] == sizeof(float)",
                "ggml_compute_forward_ssm_scan_f32: src3->nb[0] == sizeof(float)",
                "ggml_compute_forward_ssm_scan_f32: src4->nb[0] == sizeof(float)",
                "ggml_compute_forward_ssm_scan_f32: src5->nb[0] == sizeof(float)",
                "ggml_compute_forward_ssm_scan_f32: src6->nb[0] == sizeof(int32_t)",
            ],
        },
        Condition {
            requires: "the heads must be a multiple of the groups (ssm.group_count), of which there must be at least one",
            holds: |t| {
                let (heads, groups) = (t.src(1).ne(1), t.src(4).ne(1));
                groups > 0 && heads % groups == 0
            },
            covers: &["ggml_compute_forward_ssm_scan_f32: nh % ng == 0"],
        },
        Condition {
            requires: "there must be at least one snapshot, and only one if each state has its own factors, and the \
                       result must have room for all",
            holds: |t| {
                let (state, x, decay) = (t.src(0), t.src(1), t.src(3));
                let snapshots = i64::from(t.param(0));
                let states = [state.ne(0), state.ne(1), x.ne(1), x.ne(3), snapshots];
                snapshots >= 1
                    && (decay.ne(0) == 1 || (snapshots == 1 && decay.ne(0) == state.ne(0)))
                    && x.elements() + states.iter().product::<i64>() == t.elements()
            },
            covers: &[
                "ggml_compute_forward_ssm_scan_f32: K >= 1",
                "ggml_compute_forward_ssm_scan_f32: ggml_nelements(src1) + K*nc*nr*nh*ns == ggml_nelements(dst)",
                "ggml_compute_forward_ssm_scan_f32: src3->ne[0] == 1 || K == 1",
            ],
        },
        Condition {
            requires: "the sources must agree on states, heads, tokens and sequences",
            holds: |t| {
                let (state, x, dt, decay, b, c) =
                    (t.src(0), t.src(1), t.src(2), t.src(3), t.src(4), t.src(5));
                let [dim, heads, tokens, sequences] = x.shape();
                state.ne(1) == dim
                    && state.ne(2) == heads
                    && dt.shape()[..3] == [heads, tokens, sequences]
                    && decay.ne(1) == heads
                    && b.ne(0) == state.ne(0)
                    && b.shape()[2..] == [tokens, sequences]
                    && c.has_shape_of(b)
                    && t.src(6).ne(0) >= sequences
            },
            covers: &[],
        },
    ],
};

/// Returns whether tokens, heads and states fit, for linear attention with a square matrix per head. `factors` are
/// the sources with a vector for each token and head, `state` is the source with the state.
fn is_linear_attention(t: Tensor<'_>, factors: &[usize], state: usize) -> bool {
    let [head_size, heads, tokens, _] = t.src(1).shape();
    let state = t.src(state);
    let sequences = state.ne(1);
    let width = head_size.saturating_mul(heads);
    factors.iter().all(|index| t.src(*index).shape()[..3] == [head_size, heads, tokens])
        && heads > 0
        && t.ne(0) == width
        && sequences > 0
        && tokens % sequences == 0
        && state.elements() == head_size.saturating_mul(width).saturating_mul(sequences)
        && t.ne(1) == tokens + head_size * sequences
}

fn are_contiguous(t: Tensor<'_>, sources: usize) -> bool {
    are_f32(t, sources) && t.is_contiguous() && (0..sources).all(|index| t.src(index).is_contiguous())
}

const SAME_TOKENS: &str = "the sources must have the same heads (wkv.head_size) and tokens, with equally many tokens per \
                           sequence";

const WHOLE_HEADS: Condition = Condition {
    requires: "the width must be a multiple of the heads, of which there must be at least one",
    holds: |t| t.src(1).ne(1) > 0 && t.ne(0) % t.src(1).ne(1) == 0,
    covers: &[
        "ggml_compute_forward_rwkv_wkv6_f32: C % HEADS == 0",
        "ggml_compute_forward_rwkv_wkv7_f32: C % HEADS == 0",
        "ggml_compute_forward_gla_f32: C % HEADS == 0",
    ],
};

static RWKV_WKV6: Operation = Operation {
    sources: 6,
    conditions: &[
        Condition {
            requires: "the sources and the result must be in f32 and contiguous",
            holds: |t| are_contiguous(t, 6),
            covers: &[],
        },
        Condition {
            requires: "source 0 must be in f32",
            holds: |t| t.src(0).is_f32(),
            covers: &["ggml_compute_forward_rwkv_wkv6: \"fatal error\""],
        },
        Condition {
            requires: SAME_TOKENS,
            // Source 3 is a vector of the model with one number for each element of a token.
            holds: |t| is_linear_attention(t, &[0, 1, 2, 4], 5) && t.src(3).elements() >= t.ne(0),
            covers: &[],
        },
        WHOLE_HEADS,
    ],
};

static RWKV_WKV7: Operation = Operation {
    sources: 7,
    conditions: &[
        Condition {
            requires: "the sources and the result must be in f32 and contiguous",
            holds: |t| are_contiguous(t, 7),
            covers: &[],
        },
        Condition {
            requires: "source 0 must be in f32",
            holds: |t| t.src(0).is_f32(),
            covers: &["ggml_compute_forward_rwkv_wkv7: \"fatal error\""],
        },
        Condition {
            requires: SAME_TOKENS,
            holds: |t| {
                is_linear_attention(t, &[1, 2, 3, 4, 5], 6) && t.src(0).elements() == t.src(1).elements()
            },
            covers: &[],
        },
        WHOLE_HEADS,
    ],
};

static GATED_LINEAR_ATTN: Operation = Operation {
    sources: 5,
    conditions: &[
        Condition {
            requires: "the sources and the result must be in f32 and contiguous",
            holds: |t| are_contiguous(t, 5),
            covers: &[],
        },
        Condition {
            requires: "source 0 must be in f32",
            holds: |t| t.src(0).is_f32(),
            covers: &["ggml_compute_forward_gla: \"fatal error\""],
        },
        Condition { requires: SAME_TOKENS, holds: |t| is_linear_attention(t, &[0, 1, 2, 3], 4), covers: &[] },
        WHOLE_HEADS,
    ],
};

static GATED_DELTA_NET: Operation = Operation {
    sources: 6,
    conditions: &[
        Condition {
            requires: "sources 1 to 5 and the result must be in f32",
            holds: |t| t.is_f32() && (1..6).all(|index| t.src(index).is_f32()),
            covers: &[],
        },
        Condition {
            requires: "source 0 must be in f32",
            holds: |t| t.src(0).is_f32(),
            covers: &["ggml_compute_forward_gated_delta_net: \"fatal error\""],
        },
        Condition {
            requires: "the rows of queries, keys and values must be contiguous, and the other sources must be contiguous",
            holds: |t| {
                (0..3).all(|index| t.src(index).has_whole_rows())
                    && (3..6).all(|index| t.src(index).is_contiguous())
            },
            covers: &[
                "ggml_compute_forward_gated_delta_net_one_chunk: ggml_is_contiguous_rows(src_q)",
                "ggml_compute_forward_gated_delta_net_one_chunk: ggml_is_contiguous_rows(src_k)",
                "ggml_compute_forward_gated_delta_net_one_chunk: ggml_is_contiguous_rows(src_v)",
                "ggml_compute_forward_gated_delta_net_one_chunk: ggml_is_contiguous(src_g)",
                "ggml_compute_forward_gated_delta_net_one_chunk: ggml_is_contiguous(src_beta)",
                "ggml_compute_forward_gated_delta_net_one_chunk: ggml_is_contiguous(src_state)",
            ],
        },
        Condition {
            requires: "the gates must be one number or one for each element, beta one number, and there must be at least \
                       one snapshot",
            holds: |t| {
                let (value, gate) = (t.src(2).ne(0), t.src(3).ne(0));
                (gate == 1 || gate == value) && t.src(4).ne(0) == 1 && t.param(0) >= 1
            },
            covers: &[
                "ggml_compute_forward_gated_delta_net_one_chunk: src_g->ne[0] == 1 || src_g->ne[0] == S_v",
                "ggml_compute_forward_gated_delta_net_one_chunk: src_beta->ne[0] == 1",
                "ggml_compute_forward_gated_delta_net_one_chunk: K >= 1",
            ],
        },
        Condition {
            requires: "queries, keys and values must have rows of the same length, and the heads of the values must \
                       be a multiple of the others'",
            holds: |t| {
                let v = t.src(2);
                let fits = |a: Tensor<'_>| {
                    a.ne(0) == v.ne(0)
                        && a.ne(1) > 0
                        && v.ne(1) % a.ne(1) == 0
                        && a.ne(2) == v.ne(2)
                        && a.ne(3) > 0
                        && v.ne(3) % a.ne(3) == 0
                };
                fits(t.src(0)) && fits(t.src(1)) && t.src(0).ne(1) == t.src(1).ne(1)
            },
            covers: &[],
        },
    ],
};

static SOLVE_TRI: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "the sources and the result must be in f32, source 0 be square matrices, and the result have the shape of \
                   source 1, with as many rows and matrices as source 0",
        holds: |t| {
            let (a, b) = (t.src(0), t.src(1));
            are_f32(t, 2) && a.ne(0) == a.ne(1) && t.has_shape_of(b) && a.shape()[1..] == b.shape()[1..]
        },
        covers: &[
            "ggml_compute_forward_solve_tri: \"fatal error\"",
            "ggml_compute_forward_solve_tri_f32: src0->type == GGML_TYPE_F32",
            "ggml_compute_forward_solve_tri_f32: src1->type == GGML_TYPE_F32",
            "ggml_compute_forward_solve_tri_f32: dst->type == GGML_TYPE_F32",
            "ggml_compute_forward_solve_tri_f32: ne00 == ne01",
            "ggml_compute_forward_solve_tri_f32: ne0 == ne10",
            "ggml_compute_forward_solve_tri_f32: ne1 == ne11",
            "ggml_compute_forward_solve_tri_f32: ne02 == ne12 && ne12 == ne2",
            "ggml_compute_forward_solve_tri_f32: ne03 == ne13 && ne13 == ne3",
        ],
    }],
};
