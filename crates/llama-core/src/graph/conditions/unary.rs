//! Elementwise functions, and gates.

use llama_sys::{ggml_glu_op as Glu, ggml_op as Op, ggml_type as Type, ggml_unary_op as Unary};

use super::types::{F32_F16, FLOATS, has_f32_rows, is_packed};
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_UNARY => &UNARY,
        Op::GGML_OP_SQR | Op::GGML_OP_SQRT | Op::GGML_OP_LOG | Op::GGML_OP_SIN | Op::GGML_OP_COS => &FUNCTION,
        Op::GGML_OP_GLU => &GLU,
        Op::GGML_OP_LEAKY_RELU => &LEAKY_RELU,
        Op::GGML_OP_SILU_BACK => &SILU_BACK,
        Op::GGML_OP_FILL => &FILL,
        Op::GGML_OP_TRI => &TRI,
        _ => return None,
    })
}

/// Returns parameter 0, which is a value of one of ggml's enums.
fn variant(t: Tensor<'_>) -> u32 {
    u32::try_from(t.param(0)).unwrap_or(u32::MAX)
}

#[allow(clippy::useless_conversion, reason = "the enum's integer is signed on some platforms")]
fn is_unary(t: Tensor<'_>, function: Unary) -> bool {
    u32::try_from(function.0).is_ok_and(|function| variant(t) == function)
}

/// Returns whether ops.cpp computes the function, with one type for source and result; the others are in
/// unary-ops.cpp.
fn keeps_type(t: Tensor<'_>) -> bool {
    let own = [
        Unary::GGML_UNARY_OP_GELU,
        Unary::GGML_UNARY_OP_GELU_ERF,
        Unary::GGML_UNARY_OP_GELU_QUICK,
        Unary::GGML_UNARY_OP_SILU,
    ];
    own.into_iter().any(|function| is_unary(t, function))
}

/// Returns whether the types are a combination of unary-ops.cpp.
fn has_function_types(t: Tensor<'_>) -> bool {
    let a = t.src(0);
    a.is_one_of(FLOATS) && (t.is(a.kind()) || t.is_f32())
}

const FUNCTION_TYPES: Condition = Condition {
    requires: "the source must be in f32, f16 or bf16, and the result in the same type or in f32",
    holds: has_function_types,
    covers: &[
        "unary_op: \"fatal error\"",
        "unary_op_params: \"fatal error\"",
        "unary_op_functor: \"fatal error\"",
    ],
};

const FUNCTION_ORDER: Condition = Condition {
    requires: "the rows of the source and of the result must be contiguous, and both must have the same shape",
    holds: |t| is_packed(t) && is_packed(t.src(0)) && t.src(0).has_shape_of(t),
    covers: &[
        "apply_unary_op: ggml_is_contiguous_rows(src0) && ggml_is_contiguous_rows(dst) && ggml_are_same_shape(src0, dst)",
        "apply_unary_op: nb0 == sizeof(dst_t)",
        "apply_unary_op: nb00 == sizeof(src0_t)",
        "apply_unary_op_functor: nb0 == sizeof(dst_t)",
        "apply_unary_op_functor: nb00 == sizeof(src0_t)",
    ],
};

static FUNCTION: Operation = Operation { sources: 1, conditions: &[FUNCTION_TYPES, FUNCTION_ORDER] };

static UNARY: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the function must be known to ggml",
            #[allow(clippy::useless_conversion, reason = "the enum's integer is signed on some platforms")]
            holds: |t| u32::try_from(Unary::GGML_UNARY_OP_COUNT.0).is_ok_and(|count| variant(t) < count),
            covers: &["ggml_compute_forward_unary: \"fatal error\""],
        },
        FUNCTION_TYPES,
        FUNCTION_ORDER,
        Condition {
            requires: "for this function, the result must be in the type of the source",
            holds: |t| !keeps_type(t) || t.is(t.src(0).kind()),
            covers: &[
                "ggml_compute_forward_gelu: \"fatal error\"",
                "ggml_compute_forward_gelu_erf: \"fatal error\"",
                "ggml_compute_forward_gelu_quick: \"fatal error\"",
                "ggml_compute_forward_silu: \"fatal error\"",
            ],
        },
        Condition {
            requires: "for this function, the source and the result must be contiguous except for gaps between rows",
            holds: |t| {
                !is_unary(t, Unary::GGML_UNARY_OP_XIELU)
                    || (t.is_contiguous_from(1) && t.src(0).is_contiguous_from(1))
            },
            covers: &["apply_unary_op_functor: ggml_is_contiguous_1(src0) && ggml_is_contiguous_1(dst) && \
                 ggml_are_same_shape(src0, dst)"],
        },
    ],
};

/// Returns whether the gate does not support bf16.
#[allow(clippy::useless_conversion, reason = "the enum's integer is signed on some platforms")]
fn has_no_bf16(t: Tensor<'_>) -> bool {
    [Glu::GGML_GLU_OP_SWIGLU_OAI, Glu::GGML_GLU_OP_SWIGLU_CLAMP]
        .into_iter()
        .any(|gate| u32::try_from(gate.0).is_ok_and(|gate| variant(t) == gate))
}

static GLU: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the gate must be known to ggml",
            #[allow(clippy::useless_conversion, reason = "the enum's integer is signed on some platforms")]
            holds: |t| u32::try_from(Glu::GGML_GLU_OP_COUNT.0).is_ok_and(|count| variant(t) < count),
            covers: &["ggml_compute_forward_glu: \"fatal error\""],
        },
        Condition {
            requires: "the sources and the result must be in f32, f16 or bf16 (bf16 only if this gate supports it), of the \
                       same type",
            holds: |t| {
                t.src(0).is_one_of(FLOATS)
                    && t.is(t.src(0).kind())
                    && t.source(1).is_none_or(|b| b.is(t.kind()))
                    && !(has_no_bf16(t) && t.is(Type::GGML_TYPE_BF16))
            },
            covers: &[
                "ggml_compute_forward_reglu: \"fatal error\"",
                "ggml_compute_forward_geglu: \"fatal error\"",
                "ggml_compute_forward_geglu_erf: \"fatal error\"",
                "ggml_compute_forward_geglu_quick: \"fatal error\"",
                "ggml_compute_forward_swiglu: \"fatal error\"",
                "ggml_compute_forward_swiglu_oai: \"fatal error\"",
                "ggml_compute_forward_swiglu_clamp: \"fatal error\"",
                "ggml_compute_forward_reglu_*: src0->type == src1->type",
                "ggml_compute_forward_geglu_*: src0->type == src1->type",
                "ggml_compute_forward_swiglu_*: src0->type == src1->type",
                "ggml_compute_forward_glu_bf16_rows: src0->type == src1->type",
            ],
        },
        Condition {
            requires: "the sources and the result must be contiguous except for gaps between rows",
            holds: |t| {
                t.is_contiguous_from(1)
                    && t.src(0).is_contiguous_from(1)
                    && t.source(1).is_none_or(|b| b.is_contiguous_from(1))
            },
            covers: &[
                "ggml_compute_forward_reglu_*: ggml_is_contiguous_1(src0)",
                "ggml_compute_forward_reglu_*: ggml_is_contiguous_1(dst)",
                "ggml_compute_forward_reglu_*: ggml_is_contiguous_1(src1)",
                "ggml_compute_forward_geglu_*: ggml_is_contiguous_1(src0)",
                "ggml_compute_forward_geglu_*: ggml_is_contiguous_1(dst)",
                "ggml_compute_forward_geglu_*: ggml_is_contiguous_1(src1)",
                "ggml_compute_forward_swiglu_*: ggml_is_contiguous_1(src0)",
                "ggml_compute_forward_swiglu_*: ggml_is_contiguous_1(dst)",
                "ggml_compute_forward_swiglu_*: ggml_is_contiguous_1(src1)",
                "ggml_compute_forward_glu_bf16_rows: ggml_is_contiguous_1(src0)",
                "ggml_compute_forward_glu_bf16_rows: ggml_is_contiguous_1(dst)",
                "ggml_compute_forward_glu_bf16_rows: ggml_is_contiguous_1(src1)",
            ],
        },
        Condition {
            requires: "the result must have the shape of the sources, or half the length of the rows of a single one",
            holds: |t| {
                let (a, b) = (t.src(0), t.source(1));
                let width = if b.is_some() { a.ne(0) } else { a.ne(0) / 2 };
                t.ne(0) == width && t.rows() == a.rows() && b.is_none_or(|b| b.has_shape_of(a))
            },
            covers: &[
                "ggml_compute_forward_reglu_*: dst->ne[0] == nc",
                "ggml_compute_forward_reglu_*: ggml_nrows(dst) == nr",
                "ggml_compute_forward_geglu_*: dst->ne[0] == nc",
                "ggml_compute_forward_geglu_*: ggml_nrows(dst) == nr",
                "ggml_compute_forward_swiglu_*: dst->ne[0] == nc",
                "ggml_compute_forward_swiglu_*: ggml_nrows(dst) == nr",
                "ggml_compute_forward_glu_bf16_rows: dst->ne[0] == nc",
                "ggml_compute_forward_glu_bf16_rows: ggml_nrows(dst) == nr",
            ],
        },
    ],
};

static LEAKY_RELU: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32, or both in f16, with contiguous rows",
        holds: |t| {
            t.src(0).is_one_of(F32_F16) && t.is(t.src(0).kind()) && is_packed(t) && is_packed(t.src(0))
        },
        covers: &["ggml_compute_forward_leaky_relu: \"fatal error\""],
    }],
};

static SILU_BACK: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "the sources and the result must be in f32, or all in f16, of the same shape, with contiguous rows",
        holds: |t| {
            let (a, b) = (t.src(0), t.src(1));
            let is_alike =
                |other: Tensor<'_>| other.is(a.kind()) && other.has_shape_of(a) && is_packed(other);
            a.is_one_of(F32_F16) && is_packed(a) && is_alike(b) && is_alike(t)
        },
        covers: &["ggml_compute_forward_silu_back: \"fatal error\""],
    }],
};

static FILL: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32, or both in f16, with contiguous rows",
        holds: |t| t.src(0).is_one_of(F32_F16) && t.is(t.src(0).kind()) && is_packed(t),
        covers: &["ggml_compute_forward_fill: \"unsupported type for ggml_compute_forward_fill: %s\""],
    }],
};

static TRI: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source must be contiguous and in f32, the result in f32 too, and the triangle one of the four kinds",
        holds: |t| {
            t.src(0).is_f32() && t.src(0).is_contiguous() && has_f32_rows(t) && (0..4).contains(&t.param(0))
        },
        covers: &[
            "ggml_compute_forward_tri: \"fatal error\"",
            "ggml_compute_forward_tri_f32: ggml_is_contiguous(src0)",
            "ggml_compute_forward_tri_f32: \"invalid tri type\"",
        ],
    }],
};
