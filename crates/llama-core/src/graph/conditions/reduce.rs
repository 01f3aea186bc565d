//! Sums, means, sorts and counts.

use llama_sys::{ggml_op as Op, ggml_type as Type};

use super::types::{F32_F16, FLOATS, has_f32_rows, is_i32, is_packed};
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_SUM => &SUM,
        Op::GGML_OP_SUM_ROWS => &SUM_ROWS,
        Op::GGML_OP_MEAN => &MEAN,
        Op::GGML_OP_CUMSUM => &CUMSUM,
        Op::GGML_OP_ARGMAX => &ARGMAX,
        Op::GGML_OP_COUNT_EQUAL => &COUNT_EQUAL,
        Op::GGML_OP_ARGSORT => &ARGSORT,
        Op::GGML_OP_TOP_K => &TOP_K,
        Op::GGML_OP_TOP_K_MASK => &TOP_K_MASK,
        _ => return None,
    })
}

fn has_one_for_each_row(t: Tensor<'_>) -> bool {
    t.ne(0) == 1 && t.shape()[1..] == t.src(0).shape()[1..]
}

static SUM: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source must be in f32, f16 or bf16 with contiguous rows, and the result a scalar of that type",
        holds: |t| {
            t.src(0).is_one_of(FLOATS) && t.is(t.src(0).kind()) && is_packed(t.src(0)) && t.is_scalar()
        },
        covers: &["ggml_compute_forward_sum: \"fatal error\""],
    }],
};

static SUM_ROWS: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32 with contiguous rows, and the result have one number for \
                   each row",
        holds: |t| has_f32_rows(t.src(0)) && has_f32_rows(t) && has_one_for_each_row(t),
        covers: &[
            "ggml_compute_forward_sum_rows: \"fatal error\"",
            "ggml_compute_forward_sum_rows_f32: src0->nb[0] == sizeof(float)",
            "ggml_compute_forward_sum_rows_f32: dst->nb[0] == sizeof(float)",
            "ggml_compute_forward_sum_rows_f32: ne0 == 1",
            "ggml_compute_forward_sum_rows_f32: ne1 == ne01",
            "ggml_compute_forward_sum_rows_f32: ne2 == ne02",
            "ggml_compute_forward_sum_rows_f32: ne3 == ne03",
        ],
    }],
};

static MEAN: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32 with contiguous rows, and the result have one number for \
                   each row",
        holds: |t| has_f32_rows(t.src(0)) && t.is_f32() && has_one_for_each_row(t),
        covers: &["ggml_compute_forward_mean: \"fatal error\""],
    }],
};

static CUMSUM: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32 and of the same shape, with contiguous rows",
        holds: |t| has_f32_rows(t.src(0)) && has_f32_rows(t) && t.src(0).has_shape_of(t),
        covers: &[
            "ggml_compute_forward_cumsum: \"fatal error\"",
            "ggml_compute_forward_cumsum_f32: src0->nb[0] == sizeof(float)",
            "ggml_compute_forward_cumsum_f32: dst->nb[0] == sizeof(float)",
            "ggml_compute_forward_cumsum_f32: ne0 == ne00",
            "ggml_compute_forward_cumsum_f32: ne1 == ne01",
            "ggml_compute_forward_cumsum_f32: ne2 == ne02",
            "ggml_compute_forward_cumsum_f32: ne3 == ne03",
        ],
    }],
};

static ARGMAX: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source must be in f32 with contiguous rows, and the result in i32, one number for each row",
        holds: |t| has_f32_rows(t.src(0)) && is_i32(t) && is_packed(t) && t.ne(0) == t.src(0).ne(1),
        covers: &["ggml_compute_forward_argmax: \"fatal error\""],
    }],
};

static COUNT_EQUAL: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "the sources must be in i32 and of the same shape, and the result a scalar in i64",
        holds: |t| {
            let (a, b) = (t.src(0), t.src(1));
            is_i32(a) && is_i32(b) && a.has_shape_of(b) && t.is_scalar() && t.is(Type::GGML_TYPE_I64)
        },
        covers: &[
            "ggml_compute_forward_count_equal: \"fatal error\"",
            "ggml_compute_forward_count_equal_i32: src0->type == GGML_TYPE_I32",
            "ggml_compute_forward_count_equal_i32: src1->type == GGML_TYPE_I32",
            "ggml_compute_forward_count_equal_i32: ggml_are_same_shape(src0, src1)",
            "ggml_compute_forward_count_equal_i32: ggml_is_scalar(dst)",
            "ggml_compute_forward_count_equal_i32: dst->type == GGML_TYPE_I64",
        ],
    }],
};

static ARGSORT: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the source must be in f32, and the result (the indices) in i32 and of the same shape",
            holds: |t| has_f32_rows(t.src(0)) && is_i32(t) && is_packed(t) && t.has_shape_of(t.src(0)),
            covers: &[
                "ggml_compute_forward_argsort: \"fatal error\"",
                "ggml_compute_forward_argsort_f32: nb0 == sizeof(float)",
            ],
        },
        Condition {
            requires: "the order must be ascending or descending",
            holds: |t| (0..2).contains(&t.param(0)),
            covers: &["ggml_compute_forward_argsort_f32: \"invalid sort order\""],
        },
    ],
};

static TOP_K: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source must be in f32, and the result (the indices) in i32 and at most as many as the elements",
        holds: |t| has_f32_rows(t.src(0)) && is_i32(t) && is_packed(t) && t.ne(0) <= t.src(0).ne(0),
        covers: &[
            "ggml_compute_forward_top_k: \"fatal error\"",
            "ggml_compute_forward_top_k_f32: nb0 == sizeof(float)",
        ],
    }],
};

static TOP_K_MASK: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "source 0 (the mask) and the result must be in f32, or both in f16, with contiguous rows, the \
                   scores in f32 and the indices in i32",
        holds: |t| {
            let mask = t.src(0);
            mask.is_one_of(F32_F16)
                && t.is(mask.kind())
                && is_packed(t)
                && is_packed(mask)
                && is_i32(t.src(1))
                && t.source(2).is_none_or(Tensor::is_f32)
                && t.source(3).is_none_or(is_i32)
                && t.source(4).is_none_or(is_i32)
        },
        covers: &[
            "ggml_compute_forward_top_k_mask: dst->type == mask->type",
            "ggml_compute_forward_top_k_mask: dst->nb[0] == ggml_type_size(dst->type)",
        ],
    }],
};
