//! Rotary position embeddings.

use llama_sys::{ggml_op as Op, ggml_type as Type};

use super::types::{F32_F16, is_i32, is_packed};
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    matches!(op, Op::GGML_OP_ROPE | Op::GGML_OP_ROPE_BACK).then_some(&ROPE)
}

// The modes of ggml.h, GGML_ROPE_TYPE_*.
const NORMAL: i32 = 0;
const NEOX: i32 = 2;
const MROPE: i32 = 8;
const VISION: i32 = 24;
const IMROPE: i32 = 40;

/// Returns the number of elements of each row that are rotated.
fn n_dims(t: Tensor<'_>) -> i64 {
    i64::from(t.param(1))
}

fn mode(t: Tensor<'_>) -> i32 {
    t.param(2)
}

fn offset(t: Tensor<'_>) -> i64 {
    i64::from(t.param(15))
}

/// Returns how many pairs of a row are rotated by each of the four positions.
fn sections(t: Tensor<'_>) -> [i64; 4] {
    core::array::from_fn(|index| i64::from(t.param(11 + index)))
}

static ROPE: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "source 0 and the result must be in f32, or both in f16, and source 1 (the positions) in i32",
            holds: |t| t.src(0).is_one_of(F32_F16) && t.is(t.src(0).kind()) && is_i32(t.src(1)),
            covers: &[
                "ggml_compute_forward_rope: \"fatal error\"",
                "ggml_compute_forward_rope_back: \"fatal error\"",
                "ggml_compute_forward_rope_flt: src0->type == GGML_TYPE_F32 || src0->type == GGML_TYPE_F16",
                "ggml_compute_forward_rope_flt: src1->type == GGML_TYPE_I32",
            ],
        },
        Condition {
            requires: "the rows of source 0 and of the result must be contiguous",
            holds: |t| is_packed(t.src(0)) && is_packed(t) && t.src(0).has_shape_of(t),
            covers: &[
                "ggml_compute_forward_rope_flt: nb0 == nb00",
                "ggml_compute_forward_rope_flt: nb0 == sizeof(T)",
            ],
        },
        Condition {
            requires: "the number of rotated dimensions (rope.dimension_count) must be even, at least 2, and at most the \
                       length of a row",
            // With 0, the loop that copies the rest of a row does not end.
            holds: |t| (2..=t.ne(0)).contains(&n_dims(t)) && n_dims(t) % 2 == 0,
            covers: &[
                "ggml_compute_forward_rope_flt: n_dims <= ne0",
                "ggml_compute_forward_rope_flt: n_dims % 2 == 0",
            ],
        },
        Condition {
            requires: "the first rotated dimension must be even, and the last within the row",
            holds: |t| offset(t) >= 0 && offset(t) % 2 == 0 && offset(t) + n_dims(t) <= t.ne(0),
            covers: &[
                "ggml_compute_forward_rope_flt: n_offs >= 0",
                "ggml_compute_forward_rope_flt: n_offs % 2 == 0",
                "ggml_compute_forward_rope_flt: n_offs + n_dims <= ne0",
            ],
        },
        Condition {
            requires: "the length of a row must be even",
            // The rest of a row is copied in pairs, and the last pair would exceed the row.
            holds: |t| t.ne(0) % 2 == 0,
            covers: &[],
        },
        Condition {
            requires: "the mode must be one of normal, neox, mrope, imrope and vision",
            holds: |t| [NORMAL, NEOX, MROPE, IMROPE, VISION].contains(&mode(t)),
            covers: &["ggml_compute_forward_rope_flt: \"rope type not supported\""],
        },
        Condition {
            requires: "the sections (rope.dimension_sections) must not be negative, one of the first three must be above 0, \
                       and together they must be at most the length of a row",
            holds: |t| {
                let sections = sections(t);
                mode(t) & MROPE == 0
                    || (sections.iter().all(|n| *n >= 0)
                        && sections[..3].iter().any(|n| *n > 0)
                        && sections.iter().sum::<i64>() <= t.ne(0))
            },
            covers: &[
                "ggml_mrope_cache_init: sect_dims <= ne0",
                "ggml_compute_forward_rope_flt: sections[0] > 0 || sections[1] > 0 || sections[2] > 0",
            ],
        },
        Condition {
            requires: "with the vision mode, the first half of a row must be rotated",
            holds: |t| mode(t) != VISION || (n_dims(t) * 2 == t.ne(0) && offset(t) == 0),
            covers: &[
                "ggml_compute_forward_rope_flt: n_dims == ne0/2",
                "ggml_compute_forward_rope_flt: n_offs == 0",
            ],
        },
        Condition {
            requires: "source 1 must have a position for each token, or four with sections",
            holds: |t| {
                let per_token = if mode(t) & MROPE == 0 { 1 } else { 4 };
                t.src(1).ne(0) >= t.ne(2).saturating_mul(per_token)
            },
            covers: &[],
        },
        Condition {
            requires: "source 2 (the frequency factors) must be in f32 and have one for each rotated pair",
            holds: |t| {
                // The cache of angles covers the whole row.
                t.source(2)
                    .is_none_or(|factors| factors.is(Type::GGML_TYPE_F32) && factors.ne(0) * 2 >= n_dims(t))
            },
            covers: &[
                "ggml_compute_forward_rope_flt: src2->type == GGML_TYPE_F32",
                "ggml_compute_forward_rope_flt: src2->ne[0] >= n_dims / 2",
            ],
        },
    ],
};
