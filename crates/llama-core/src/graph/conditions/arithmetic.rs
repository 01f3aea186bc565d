//! Elementwise arithmetic of two tensors, and of a tensor and a number.

use llama_sys::{ggml_op as Op, ggml_type as Type};

use super::types::{F32_F16, FLOATS, PACKED, has_f32_rows, is_i32, is_packed};
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_ADD => &ADD,
        Op::GGML_OP_SUB | Op::GGML_OP_MUL | Op::GGML_OP_DIV => &BINARY,
        Op::GGML_OP_ADD_ID => &ADD_ID,
        Op::GGML_OP_ADD1 => &ADD1,
        Op::GGML_OP_ACC => &ACC,
        Op::GGML_OP_SET => &SET,
        Op::GGML_OP_SCALE => &SCALE,
        Op::GGML_OP_CLAMP => &CLAMP,
        _ => return None,
    })
}

/// Returns whether the types are a combination of binary-ops.cpp, `binary_op`.
fn has_binary_types(t: Tensor<'_>) -> bool {
    let (a, b) = (t.src(0), t.src(1));
    let is_rounded = a.is_one_of(&[Type::GGML_TYPE_F16, Type::GGML_TYPE_BF16]);
    a.is_one_of(FLOATS)
        && ((b.kind() == a.kind() && t.kind() == a.kind())
            || (is_rounded && b.is_f32() && (t.is_f32() || t.kind() == a.kind())))
}

/// Returns whether the shapes and strides satisfy binary-ops.cpp, `apply_binary_op`.
fn has_binary_order(t: Tensor<'_>) -> bool {
    let (a, b) = (t.src(0), t.src(1));
    b.can_repeat_to(a) && a.has_shape_of(t) && is_packed(t) && is_packed(a)
}

const BINARY_TYPES: Condition = Condition {
    requires: "both sources must be in f32, f16 or bf16, of the same type as the result, or source 0 in f16 or bf16 and \
               source 1 in f32",
    holds: has_binary_types,
    covers: &["binary_op: \"%s: unsupported types: dst: %s, src0: %s, src1: %s\\n\""],
};

const BINARY_ORDER: Condition = Condition {
    requires: "source 1 must fit into source 0 evenly, the result must have the shape of source 0, and the rows of \
               both must be contiguous",
    holds: has_binary_order,
    covers: &[
        "apply_binary_op: ggml_can_repeat(src1, src0) && ggml_are_same_shape(src0, dst)",
        "apply_binary_op: nb0 == sizeof(dst_t)",
        "apply_binary_op: nb00 == sizeof(src0_t)",
    ],
};

static BINARY: Operation = Operation { sources: 2, conditions: &[BINARY_TYPES, BINARY_ORDER] };

fn is_quantized_sum(t: Tensor<'_>) -> bool {
    t.src(0).is_one_of(PACKED)
}

static ADD: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "the sources must be in f32, f16 or bf16, or source 0 in a quantised type",
            holds: |t| is_quantized_sum(t) || t.src(0).is_one_of(FLOATS),
            covers: &["ggml_compute_forward_add: \"fatal error\""],
        },
        Condition {
            requires: BINARY_TYPES.requires,
            holds: |t| is_quantized_sum(t) || has_binary_types(t),
            covers: &[],
        },
        Condition {
            requires: BINARY_ORDER.requires,
            holds: |t| is_quantized_sum(t) || has_binary_order(t),
            covers: &[],
        },
        Condition {
            requires: "in a sum with a quantised tensor, source 1 must be in f32, all must have the same shape, and no rows \
                       may be permuted",
            holds: |t| {
                let (a, b) = (t.src(0), t.src(1));
                !is_quantized_sum(t)
                    || (b.has_shape_of(a)
                        && t.has_shape_of(a)
                        && is_packed(a)
                        && has_f32_rows(b)
                        && t.is_in_order()
                        && a.ne(0) % a.block_size() == 0)
            },
            covers: &[
                "ggml_compute_forward_add_q_f32: ggml_are_same_shape(src0, src1) && ggml_are_same_shape(src0, dst)",
                "ggml_compute_forward_add_q_f32: nb00 == ggml_type_size(type)",
                "ggml_compute_forward_add_q_f32: nb10 == sizeof(float)",
                "ggml_compute_forward_add_q_f32: nb0 <= nb1",
                "ggml_compute_forward_add_q_f32: nb1 <= nb2",
                "ggml_compute_forward_add_q_f32: nb2 <= nb3",
                "ggml_compute_forward_add_q_f32: ggml_is_quantized(src0->type) || src0->type == GGML_TYPE_F8_E4M3",
                "ggml_compute_forward_add_q_f32: src1->type == GGML_TYPE_F32",
                "ggml_compute_forward_add_q_f32: ne00 % ggml_blck_size(type) == 0",
            ],
        },
        Condition {
            requires: "in a sum with a quantised tensor, the result must be in a type that can be written row by row",
            holds: |t| !is_quantized_sum(t) || t.is_f32() || super::types::can_pack(t.kind()),
            covers: &[],
        },
    ],
};

static ADD_ID: Operation = Operation {
    sources: 3,
    conditions: &[
        Condition {
            requires: "sources 0 and 1 and the result must be in f32, source 2 in i32",
            holds: |t| t.is_f32() && t.src(0).is_f32() && t.src(1).is_f32() && is_i32(t.src(2)),
            covers: &[
                "ggml_compute_forward_add_id_f32: dst->type == GGML_TYPE_F32",
                "ggml_compute_forward_add_id_f32: src0->type == GGML_TYPE_F32",
                "ggml_compute_forward_add_id_f32: src1->type == GGML_TYPE_F32",
                "ggml_compute_forward_add_id_f32: src2->type == GGML_TYPE_I32",
                "ggml_compute_forward_add_id: \"unsupported type for ggml_compute_forward_add_id: %s\"",
            ],
        },
        Condition {
            requires: "the rows of all sources must be contiguous, and those of sources 0 and 1 must be of the same length",
            holds: |t| {
                is_packed(t) && is_packed(t.src(0)) && is_packed(t.src(1)) && t.src(0).ne(0) == t.src(1).ne(0)
            },
            covers: &[
                "ggml_compute_forward_add_id_f32: src0->nb[0] == sizeof(float)",
                "ggml_compute_forward_add_id_f32: src1->nb[0] == sizeof(float)",
                "ggml_compute_forward_add_id_f32: nb0 == sizeof(float)",
                "ggml_compute_forward_add_id_f32: nb10 == sizeof(float)",
            ],
        },
    ],
};

/// Returns whether the types satisfy `ggml_compute_forward_add1`.
fn has_add1_types(t: Tensor<'_>) -> bool {
    let (a, b) = (t.src(0), t.src(1));
    match a.kind() {
        Type::GGML_TYPE_F32 => b.is_f32() && t.is_f32(),
        Type::GGML_TYPE_F16 | Type::GGML_TYPE_BF16 => {
            (b.is_f32() || b.kind() == a.kind()) && t.kind() == a.kind()
        }
        kind => {
            (a.is_one_of(PACKED) || kind == Type::GGML_TYPE_Q8_1)
                && super::types::can_pack(kind)
                && super::types::can_unpack(kind)
                && b.is_f32()
                && t.kind() == kind
        }
    }
}

static ADD1: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "source 0 must be in f32, f16, bf16 or a quantised type that can be written, source 1 in f32 or the \
                       same type",
            holds: has_add1_types,
            covers: &[
                "ggml_compute_forward_add1: \"fatal error\"",
                "ggml_compute_forward_add1_*: src0->type == GGML_TYPE_F16",
                "ggml_compute_forward_add1_*: src1->type == GGML_TYPE_F32",
                "ggml_compute_forward_add1_*: src1->type == GGML_TYPE_F16",
                "ggml_compute_forward_add1_*: src1->type == GGML_TYPE_BF16",
                "ggml_compute_forward_add1_*: dst->type == GGML_TYPE_F16",
                "ggml_compute_forward_add1_*: dst->type == GGML_TYPE_BF16",
                "ggml_compute_forward_add1_*: src0->type == GGML_TYPE_BF16",
                "ggml_compute_forward_add1_*: ggml_is_quantized(src0->type) || src0->type == GGML_TYPE_F8_E4M3",
                "ggml_compute_forward_add1_*: dst->type == src0->type",
            ],
        },
        Condition {
            requires: "source 1 must be a scalar, the result must have the shape of source 0, and no rows may be permuted",
            holds: |t| {
                let a = t.src(0);
                t.src(1).is_scalar() && a.has_shape_of(t) && is_packed(a) && is_packed(t) && t.is_in_order()
            },
            covers: &[
                "ggml_compute_forward_add1_*: ggml_are_same_shape(src0, dst)",
                "ggml_compute_forward_add1_*: ggml_is_scalar(src1)",
                "ggml_compute_forward_add1_*: nb0 == sizeof(float)",
                "ggml_compute_forward_add1_*: nb00 == sizeof(float)",
                "ggml_compute_forward_add1_*: nb0 == sizeof(ggml_fp16_t)",
                "ggml_compute_forward_add1_*: nb00 == sizeof(ggml_fp16_t)",
                "ggml_compute_forward_add1_*: nb0 == sizeof(ggml_bf16_t)",
                "ggml_compute_forward_add1_*: nb00 == sizeof(ggml_bf16_t)",
                "ggml_compute_forward_add1_*: nb00 == ggml_type_size(type)",
                "ggml_compute_forward_add1_*: nb0 <= nb1",
                "ggml_compute_forward_add1_*: nb1 <= nb2",
                "ggml_compute_forward_add1_*: nb2 <= nb3",
            ],
        },
    ],
};

/// Returns whether the range that is written, given by parameters 0 to 3, is inside the result.
fn is_within(t: Tensor<'_>) -> bool {
    let b = t.src(1);
    let at = |dimension: usize, stride: usize| {
        usize::try_from(b.ne(dimension).max(1) - 1).ok()?.checked_mul(stride)
    };
    let param = |index: usize| usize::try_from(t.param(index)).ok();
    let end = || {
        let last = param(3)?
            .checked_add(at(0, t.type_size())?)?
            .checked_add(at(1, param(0)?)?)?
            .checked_add(at(2, param(1)?)?)?
            .checked_add(at(3, param(2)?)?)?;
        last.checked_add(t.type_size())
    };
    let size = usize::try_from(t.elements()).ok().and_then(|n| n.checked_mul(t.type_size()));
    end().zip(size).is_some_and(|(end, size)| end <= size)
}

fn is_view_in_order(t: Tensor<'_>) -> bool {
    let (a, b) = (t.src(0), t.src(1));
    a.has_shape_of(t) && t.is_contiguous() && a.is_contiguous() && is_packed(b)
}

static ACC: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "source 0 must be in f32",
            holds: |t| t.src(0).is_f32(),
            covers: &["ggml_compute_forward_acc: \"fatal error\""],
        },
        Condition {
            requires: "source 1 and the result must be in f32",
            holds: |t| t.src(1).is_f32() && t.is_f32(),
            covers: &[],
        },
        Condition {
            requires: "source 0 and the result must be contiguous and of the same shape, and source 1 must be added inside it",
            holds: |t| is_view_in_order(t) && is_within(t),
            covers: &[
                "ggml_compute_forward_acc_f32: ggml_are_same_shape(src0, dst)",
                "ggml_compute_forward_acc_f32: ggml_is_contiguous(dst) && ggml_is_contiguous(src0)",
                "ggml_compute_forward_acc_f32: offset + *",
                "ggml_compute_forward_acc_f32: nb10 == sizeof(float)",
            ],
        },
    ],
};

static SET: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "source 0 must be in f32 or i32",
            holds: |t| t.src(0).is_one_of(&[Type::GGML_TYPE_F32, Type::GGML_TYPE_I32]),
            covers: &["ggml_compute_forward_set: \"fatal error\""],
        },
        Condition {
            requires: "source 1 and the result must be in the type of source 0",
            holds: |t| t.src(1).is(t.src(0).kind()) && t.is(t.src(0).kind()),
            covers: &[],
        },
        Condition {
            requires: "source 0 and the result must be contiguous and of the same shape, and source 1 must be set inside it",
            holds: |t| is_view_in_order(t) && is_within(t),
            covers: &[
                "ggml_compute_forward_set_*: ggml_are_same_shape(src0, dst)",
                "ggml_compute_forward_set_*: ggml_is_contiguous(dst) && ggml_is_contiguous(src0)",
                "ggml_compute_forward_set_*: offset + *",
                "ggml_compute_forward_set_*: nb10 == sizeof(float)",
                "ggml_compute_forward_set_*: nb10 == sizeof(int32_t)",
            ],
        },
    ],
};

static SCALE: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the source and the result must be in f32, or both in bf16",
            holds: |t| {
                t.src(0).is_one_of(&[Type::GGML_TYPE_F32, Type::GGML_TYPE_BF16]) && t.is(t.src(0).kind())
            },
            covers: &["ggml_compute_forward_scale: \"fatal error\""],
        },
        Condition {
            requires: "the rows of the source and of the result must be contiguous, and both must have the same shape",
            holds: |t| t.src(0).has_whole_rows() && t.has_whole_rows() && t.src(0).has_shape_of(t),
            covers: &[
                "ggml_compute_forward_scale_*: ggml_is_contiguous_rows(src0)",
                "ggml_compute_forward_scale_*: ggml_is_contiguous_rows(dst)",
                "ggml_compute_forward_scale_*: ggml_are_same_shape(src0, dst)",
            ],
        },
    ],
};

static CLAMP: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the source and the result must be in f32, or both in f16",
            holds: |t| t.src(0).is_one_of(F32_F16) && t.is(t.src(0).kind()),
            covers: &["ggml_compute_forward_clamp: \"fatal error\""],
        },
        Condition {
            requires: "the rows of the source and of the result must be contiguous",
            holds: |t| is_packed(t.src(0)) && is_packed(t),
            covers: &[
                "ggml_compute_forward_clamp_*: nb0 == sizeof(float)",
                "ggml_compute_forward_clamp_*: nb00 == sizeof(float)",
                "ggml_compute_forward_clamp_*: nb0 == sizeof(ggml_fp16_t)",
                "ggml_compute_forward_clamp_*: nb00 == sizeof(ggml_fp16_t)",
            ],
        },
    ],
};
