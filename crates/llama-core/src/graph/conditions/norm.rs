//! Normalisations.

use llama_sys::ggml_op as Op;

use super::types::has_f32_rows;
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_NORM | Op::GGML_OP_L2_NORM => &NORM,
        Op::GGML_OP_RMS_NORM => &RMS_NORM,
        Op::GGML_OP_RMS_NORM_BACK => &RMS_NORM_BACK,
        Op::GGML_OP_GROUP_NORM => &GROUP_NORM,
        _ => return None,
    })
}

fn is_f32_of_one_shape(t: Tensor<'_>) -> bool {
    t.src(0).is_f32() && t.is_f32() && t.src(0).has_shape_of(t)
}

const TYPES: Condition = Condition {
    requires: "the source and the result must be in f32 and of the same shape",
    holds: is_f32_of_one_shape,
    covers: &[
        "ggml_compute_forward_norm: \"fatal error\"",
        "ggml_compute_forward_norm_f32: ggml_are_same_shape(src0, dst)",
        "ggml_compute_forward_l2_norm: \"fatal error\"",
        "ggml_compute_forward_l2_norm_f32: ggml_are_same_shape(src0, dst)",
        "ggml_compute_forward_rms_norm: \"fatal error\"",
        "ggml_compute_forward_rms_norm_f32: ggml_are_same_shape(src0, dst)",
        "ggml_compute_forward_rms_norm_mul_fused: \"fatal error\"",
        "ggml_compute_forward_group_norm: \"fatal error\"",
        "ggml_compute_forward_group_norm_f32: ggml_are_same_shape(src0, dst)",
    ],
};

const EPSILON: Condition = Condition {
    requires: "epsilon (attention.layer_norm_epsilon, layer_norm_rms_epsilon) must be at least 0 and not NaN",
    holds: |t| t.param_f32(0) >= 0.0,
    covers: &[
        "ggml_compute_forward_norm_f32: eps >= 0.0f",
        "ggml_compute_forward_l2_norm_f32: eps >= 0.0f",
        "ggml_compute_forward_rms_norm_f32: eps >= 0.0f",
    ],
};

const ROWS: Condition = Condition {
    requires: "the rows of the source must be contiguous",
    holds: |t| has_f32_rows(t.src(0)),
    covers: &[
        "ggml_compute_forward_rms_norm_f32: src0->nb[0] == sizeof(float)",
        "ggml_compute_forward_group_norm_f32: src0->nb[0] == sizeof(float)",
    ],
};

static NORM: Operation = Operation { sources: 1, conditions: &[TYPES, EPSILON] };

static RMS_NORM: Operation = Operation { sources: 1, conditions: &[TYPES, EPSILON, ROWS] };

static GROUP_NORM: Operation = Operation {
    sources: 1,
    conditions: &[
        TYPES,
        ROWS,
        Condition {
            requires: "the number of groups must be above 0, and at most the number of channels",
            holds: |t| (1..=t.src(0).ne(2)).contains(&i64::from(t.param(0))),
            covers: &[],
        },
    ],
};

static RMS_NORM_BACK: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "the sources and the result must be in f32 and of the same shape, with contiguous rows",
        holds: |t| {
            is_f32_of_one_shape(t)
                && t.src(1).has_shape_of(t)
                && has_f32_rows(t.src(0))
                && has_f32_rows(t.src(1))
        },
        covers: &[
            "ggml_compute_forward_rms_norm_back: \"fatal error\"",
            "ggml_compute_forward_rms_norm_back_f32: ggml_are_same_shape(src0, dst) && ggml_are_same_shape(src0, src1)",
            "ggml_compute_forward_rms_norm_back_f32: src0->nb[0] == sizeof(float)",
            "ggml_compute_forward_rms_norm_back_f32: src1->nb[0] == sizeof(float)",
        ],
    }],
};
