//! Copies, conversions, concatenations, paddings and ranges.

use llama_sys::{ggml_op as Op, ggml_type as Type};

use super::types::{FLOATS, can_pack, can_unpack, has_f32_rows, is_packed};
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_DUP | Op::GGML_OP_CONT => &DUP,
        Op::GGML_OP_CPY => &CPY,
        Op::GGML_OP_CONCAT => &CONCAT,
        Op::GGML_OP_REPEAT => &REPEAT,
        Op::GGML_OP_REPEAT_BACK => &REPEAT_BACK,
        Op::GGML_OP_PAD => &PAD,
        Op::GGML_OP_PAD_REFLECT_1D => &PAD_REFLECT,
        Op::GGML_OP_ROLL => &ROLL,
        Op::GGML_OP_UPSCALE => &UPSCALE,
        Op::GGML_OP_ARANGE => &ARANGE,
        Op::GGML_OP_TIMESTEP_EMBEDDING => &TIMESTEP_EMBEDDING,
        Op::GGML_OP_DIAG => &DIAG,
        Op::GGML_OP_DIAG_MASK_INF | Op::GGML_OP_DIAG_MASK_ZERO => &DIAG_MASK,
        _ => return None,
    })
}

/// Returns whether `ggml_compute_forward_dup` has the conversion.
fn is_converted(t: Tensor<'_>) -> bool {
    let (from, to) = (t.src(0), t);
    if from.kind() == to.kind() {
        return true;
    }
    let to_float = to.is_one_of(FLOATS);
    match from.kind() {
        Type::GGML_TYPE_F32 => to_float || to.is(Type::GGML_TYPE_I32) || is_packed_into(from, to),
        Type::GGML_TYPE_F16 | Type::GGML_TYPE_BF16 => to_float || is_packed_into(from, to),
        Type::GGML_TYPE_F8_E4M3 => to_float,
        Type::GGML_TYPE_I32 => to.is_f32(),
        _ => from.is_quantized() && can_unpack(from.kind()) && to.is_f32(),
    }
}

/// Returns whether rows of floats are quantised, which requires a contiguous result.
fn is_packed_into(from: Tensor<'_>, to: Tensor<'_>) -> bool {
    to.is(Type::GGML_TYPE_F8_E4M3)
        || (can_pack(to.kind()) && to.is_contiguous() && is_packed(from) && from.ne(0) % to.block_size() == 0)
}

/// Returns whether `ggml_compute_forward_dup_from_q` supports the layout; its source 1 is the target of the copy.
fn is_unpacked_in_order(t: Tensor<'_>) -> bool {
    let from = t.src(0);
    let is_unpacked = from.is_quantized() && t.is_f32();
    !is_unpacked || (is_packed(t) && (t.ne(0) % from.block_size() == 0 || t.is_contiguous()))
}

const UNPACKABLE: Condition = Condition {
    requires: "the source must not be in q8_1 or another quantised type that cannot be dequantised",
    holds: |t| {
        let from = t.src(0);
        from.kind() == t.kind() || !from.is_quantized() || can_unpack(from.kind())
    },
    covers: &[],
};

const CONVERTED: Condition = Condition {
    requires: "ggml must have a conversion from the type of the source to that of the result, whose rows must be contiguous \
               if they are quantised",
    holds: is_converted,
    covers: &[
        "ggml_compute_forward_dup: \"not implemented\"",
        "ggml_compute_forward_dup: \"fatal error\"",
        "ggml_compute_forward_dup_flt: !ggml_is_quantized(src0->type) && !ggml_is_quantized(dst->type)",
        "ggml_compute_forward_dup_to_q: !ggml_is_quantized(src0->type)",
        "ggml_compute_forward_dup_to_q: \"not implemented\"",
        "ggml_compute_forward_dup_bytes: src0->type == dst->type",
        "ggml_compute_forward_dup_same_cont: src0->type == dst->type",
        "ggml_compute_forward_dup_same_cont: ggml_is_contiguous(dst) && ggml_is_contiguous(src0)",
    ],
};

const AS_MANY: Condition = Condition {
    requires: "the result must have as many elements as the source",
    holds: |t| t.elements() == t.src(0).elements(),
    covers: &["ggml_compute_forward_dup_*: ggml_nelements(dst) == ggml_nelements(src0)"],
};

const UNPACKED: Condition = Condition {
    requires: "a result into which a quantised source is dequantised must have rows of whole blocks, or be contiguous",
    holds: is_unpacked_in_order,
    covers: &[
        "ggml_compute_forward_dup_from_q: nb10 == ggml_type_size(dst->type)",
        "ggml_compute_forward_dup_from_q: (ne10 % qk) == 0 || ggml_is_contiguous(dst)",
    ],
};

static DUP: Operation = Operation {
    sources: 1,
    conditions: &[
        UNPACKABLE,
        CONVERTED,
        AS_MANY,
        UNPACKED,
        Condition {
            requires: "a quantised source must be copied to a target, not made contiguous",
            // `ggml_compute_forward_dup_from_q` reads the shape of source 1, which only a copy has.
            holds: |t| {
                let from = t.src(0);
                from.kind() == t.kind() || !from.is_quantized() || t.source(1).is_some()
            },
            covers: &[],
        },
    ],
};

static CPY: Operation = Operation { sources: 2, conditions: &[UNPACKABLE, CONVERTED, AS_MANY, UNPACKED] };

static CONCAT: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "the sources and the result must be of the same type, and be joined in one of four dimensions",
            holds: |t| t.is(t.src(0).kind()) && t.is(t.src(1).kind()) && (0..4).contains(&t.param(0)),
            covers: &["ggml_compute_forward_concat: dim >= 0 && dim < 4"],
        },
        Condition {
            requires: "the result must have the sum of the sources' elements in the joined dimension, and equal the sources \
                       in the others",
            holds: |t| {
                let joined = usize::try_from(t.param(0)).unwrap_or(0);
                (0..4).all(|d| {
                    let (a, b) = (t.src(0).ne(d), t.src(1).ne(d));
                    if d == joined { t.ne(d) == a + b } else { t.ne(d) == a && a == b }
                })
            },
            covers: &[],
        },
        Condition {
            requires: "the rows of the result must be contiguous, and so must those of quantised sources, in whole blocks",
            holds: |t| {
                let (a, b) = (t.src(0), t.src(1));
                let block = t.block_size();
                is_packed(t)
                    && (!t.is_quantized() || (is_packed(a) && is_packed(b)))
                    && (t.param(0) != 0 || (a.ne(0) % block == 0 && b.ne(0) % block == 0))
            },
            covers: &[
                "ggml_compute_forward_concat: nb0 == ggml_type_size(dst->type)",
                "ggml_compute_forward_concat: !ggml_is_quantized(dst->type) || (nb00 == nb0 && nb10 == nb0)",
                "ggml_compute_forward_concat: dim != 0 || (ne00 % ggml_blck_size(dst->type) == 0 && ne10 % \
                 ggml_blck_size(dst->type) == 0)",
                // Types that are not quantised have 1, 2, 4 or 8 bytes.
                "ggml_concat_copy_rows: \"unsupported element size\"",
            ],
        },
    ],
};

static REPEAT: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the source and the result must be in f32, f16, bf16, i16 or i32, of the same type",
            holds: |t| {
                t.is(t.src(0).kind())
                    && (t.is_one_of(FLOATS) || t.is_one_of(&[Type::GGML_TYPE_I16, Type::GGML_TYPE_I32]))
            },
            covers: &["ggml_compute_forward_repeat: \"fatal error\""],
        },
        Condition {
            requires: "the source must fit into the result evenly, and the rows of both must be contiguous",
            holds: |t| t.src(0).can_repeat_to(t) && is_packed(t) && is_packed(t.src(0)),
            covers: &[
                "ggml_compute_forward_repeat_f*: ggml_can_repeat(src0, dst)",
                "ggml_compute_forward_repeat_f*: nb0 == sizeof(float)",
                "ggml_compute_forward_repeat_f*: nb00 == sizeof(float)",
                "ggml_compute_forward_repeat_f*: nb0 == sizeof(ggml_fp16_t)",
                "ggml_compute_forward_repeat_f*: nb00 == sizeof(ggml_fp16_t)",
            ],
        },
    ],
};

static REPEAT_BACK: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32, the result must fit into the source evenly, and the \
                   rows of both must be contiguous",
        holds: |t| t.can_repeat_to(t.src(0)) && has_f32_rows(t) && has_f32_rows(t.src(0)),
        covers: &[
            "ggml_compute_forward_repeat_back: \"fatal error\"",
            "ggml_compute_forward_repeat_back_f32: ggml_can_repeat(dst, src0)",
            "ggml_compute_forward_repeat_back_f32: nb0 == sizeof(float)",
            "ggml_compute_forward_repeat_back_f32: nb00 == sizeof(float)",
        ],
    }],
};

static PAD: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32",
        holds: |t| t.src(0).is_f32() && t.is_f32(),
        covers: &["ggml_compute_forward_pad: \"fatal error\""],
    }],
};

static PAD_REFLECT: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the source and the result must be in f32",
            holds: |t| t.src(0).is_f32() && t.is_f32(),
            covers: &[
                "ggml_compute_forward_pad_reflect_1d: src0->type == GGML_TYPE_F32",
                "ggml_compute_forward_pad_reflect_1d: dst->type == GGML_TYPE_F32",
            ],
        },
        Condition {
            requires: "the padding on either side must be shorter than a row",
            holds: |t| {
                let (left, right, row) = (i64::from(t.param(0)), i64::from(t.param(1)), t.src(0).ne(0));
                (0..row).contains(&left) && (0..row).contains(&right) && t.ne(0) == row + left + right
            },
            covers: &[],
        },
    ],
};

static ROLL: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32 and of the same shape",
        holds: |t| t.src(0).is_f32() && t.is_f32() && t.src(0).has_shape_of(t),
        covers: &["ggml_compute_forward_roll: \"fatal error\""],
    }],
};

static UPSCALE: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the source and the result must be in f32",
            holds: |t| t.src(0).is_f32() && t.is_f32(),
            covers: &[
                "ggml_compute_forward_upscale: \"fatal error\"",
                "ggml_compute_forward_upscale_f32: src0->type == GGML_TYPE_F32",
            ],
        },
        Condition {
            requires: "the mode must be one of nearest, bilinear and bicubic",
            holds: |t| (0..=2).contains(&(t.param(0) & 0xff)),
            covers: &["ggml_compute_forward_upscale_f32: \"unsupported upscale mode\""],
        },
    ],
};

/// Returns the number of steps from parameter 0 to parameter 1, counted as in `ggml_compute_forward_arange_f32`.
#[allow(clippy::cast_possible_truncation, reason = "as C converts it, saturated where C does not define it")]
fn steps(t: Tensor<'_>) -> i64 {
    ((t.param_f32(1) - t.param_f32(0)) / t.param_f32(2)).ceil() as i64
}

static ARANGE: Operation = Operation {
    sources: 0,
    conditions: &[Condition {
        requires: "the result must be in f32 and have as many elements as there are steps",
        holds: |t| has_f32_rows(t) && t.elements() == steps(t),
        covers: &[
            "ggml_compute_forward_arange: \"fatal error\"",
            "ggml_compute_forward_arange_f32: dst->nb[0] == sizeof(float)",
            "ggml_compute_forward_arange_f32: ggml_nelements(dst) == steps",
        ],
    }],
};

static TIMESTEP_EMBEDDING: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32, with contiguous rows",
        holds: |t| has_f32_rows(t.src(0)) && has_f32_rows(t),
        covers: &[
            "ggml_compute_forward_timestep_embedding: \"fatal error\"",
            "ggml_compute_forward_timestep_embedding_f32: src0->nb[0] == sizeof(float)",
        ],
    }],
};

static DIAG: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the source and the result must be in f32, with contiguous rows",
            holds: |t| has_f32_rows(t.src(0)) && has_f32_rows(t),
            covers: &[
                "ggml_compute_forward_diag: \"fatal error\"",
                "ggml_compute_forward_diag_f32: nb00 == sizeof(float)",
                "ggml_compute_forward_diag_f32: nb0 == sizeof(float)",
            ],
        },
        Condition {
            requires: "the source must be rows of the length of the result's square matrices",
            holds: |t| {
                let a = t.src(0);
                a.ne(0) == t.ne(0)
                    && a.ne(0) == t.ne(1)
                    && a.ne(1) == 1
                    && a.ne(2) == t.ne(2)
                    && a.ne(3) == t.ne(3)
            },
            covers: &[
                "ggml_compute_forward_diag_f32: ne00 == ne0",
                "ggml_compute_forward_diag_f32: ne00 == ne1",
                "ggml_compute_forward_diag_f32: ne01 == 1",
                "ggml_compute_forward_diag_f32: ne02 == ne2",
                "ggml_compute_forward_diag_f32: ne03 == ne3",
            ],
        },
    ],
};

static DIAG_MASK: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32, contiguous and of the same size, and the number of earlier tokens \
                   must not be negative",
        holds: |t| {
            let a = t.src(0);
            has_f32_rows(a)
                && has_f32_rows(t)
                && a.is_contiguous()
                && t.is_contiguous()
                && a.elements() == t.elements()
                && t.param(0) >= 0
        },
        covers: &[
            "ggml_compute_forward_diag_mask_inf: \"fatal error\"",
            "ggml_compute_forward_diag_mask_zero: \"fatal error\"",
            "ggml_compute_forward_diag_mask_f32: n_past >= 0",
            "ggml_compute_forward_diag_mask_f32: ggml_nelements(dst) == ggml_nelements(src0)",
            "ggml_compute_forward_diag_mask_f32: ggml_is_contiguous(dst) && ggml_is_contiguous(src0)",
            "ggml_compute_forward_diag_mask_f32: dst->nb[0] == sizeof(float)",
            "ggml_compute_forward_diag_mask_f32: src0->nb[0] == sizeof(float)",
        ],
    }],
};
