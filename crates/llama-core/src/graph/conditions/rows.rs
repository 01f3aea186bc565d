//! Rows that are read and written by index.

use llama_sys::{ggml_op as Op, ggml_type as Type};

use super::types::{F32_F16, FLOATS, PACKED, can_pack, has_f32_rows, is_i32, is_packed};
use super::{Condition, Operation};

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_GET_ROWS => &GET_ROWS,
        Op::GGML_OP_GET_ROWS_BACK => &GET_ROWS_BACK,
        Op::GGML_OP_SET_ROWS => &SET_ROWS,
        _ => return None,
    })
}

static GET_ROWS: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "source 0 must be in f32, f16, bf16, i32 or a quantised type other than q8_K",
            holds: |t| {
                let rows = t.src(0);
                rows.is_one_of(FLOATS)
                    || rows.is_one_of(PACKED)
                    || rows.is_one_of(&[Type::GGML_TYPE_I32, Type::GGML_TYPE_Q8_1])
            },
            covers: &["ggml_compute_forward_get_rows: \"fatal error\""],
        },
        Condition {
            requires: "source 0 must not be in q8_1, which cannot be dequantised, and source 1 (the indices) must be in i32",
            holds: |t| !t.src(0).is(Type::GGML_TYPE_Q8_1) && is_i32(t.src(1)),
            covers: &[],
        },
        Condition {
            requires: "the result must have one row for each index, of the length of source 0's rows, which must lie \
                       together",
            holds: |t| {
                let (rows, indices) = (t.src(0), t.src(1));
                is_packed(rows)
                    && is_packed(t)
                    && t.type_size() == 4
                    && t.ne(0) == rows.ne(0)
                    && t.rows() == indices.elements()
                    && rows.ne(2) == indices.ne(1)
                    && rows.ne(0) % rows.block_size() == 0
            },
            covers: &[],
        },
    ],
};

static GET_ROWS_BACK: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "source 0 must be in f32 or f16 with contiguous rows, source 1 in i32, and the result contiguous \
                   in f32, with rows as long as source 0's",
        holds: |t| {
            let a = t.src(0);
            a.is_one_of(F32_F16)
                && is_packed(a)
                && is_i32(t.src(1))
                && has_f32_rows(t)
                && t.is_contiguous()
                && t.ne(0) == a.ne(0)
        },
        covers: &[
            "ggml_compute_forward_get_rows_back: \"fatal error\"",
            "ggml_compute_forward_get_rows_back_*: ggml_is_contiguous(dst)",
            "ggml_compute_forward_get_rows_back_*: dst->ne[0] == nc",
            "ggml_compute_forward_get_rows_back_*: src0->nb[0] == sizeof(ggml_fp16_t)",
            "ggml_compute_forward_get_rows_back_*: src0->nb[0] == sizeof(float)",
        ],
    }],
};

static SET_ROWS: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "the result must be in a type that can be written row by row",
            holds: |t| can_pack(t.kind()) || (t.src(0).is(Type::GGML_TYPE_F16) && t.is(Type::GGML_TYPE_F16)),
            covers: &[],
        },
        Condition {
            requires: "source 0 must be in f32 or f16, and source 1 (the indices) in i64 or i32",
            holds: |t| {
                t.src(0).is_one_of(F32_F16) && t.src(1).is_one_of(&[Type::GGML_TYPE_I64, Type::GGML_TYPE_I32])
            },
            covers: &[
                "ggml_compute_forward_set_rows: \"src0->type = %d (%s) not supported\"",
                "ggml_compute_forward_set_rows: \"src1->type = %d (%s) not supported\"",
                "ggml_compute_forward_set_rows_impl: src0->type == GGML_TYPE_F32 || src0->type == GGML_TYPE_F16",
                "ggml_compute_forward_set_rows_impl: \"src0->type = %d (%s) not supported\"",
            ],
        },
        Condition {
            requires: "the rows of source 0 and of the result must be of the same length, in whole blocks, and be contiguous",
            holds: |t| {
                let (rows, indices) = (t.src(0), t.src(1));
                rows.has_whole_rows()
                    && t.has_whole_rows()
                    && t.ne(0) == rows.ne(0)
                    && t.ne(0) % t.block_size() == 0
                    && t.ne(2) == rows.ne(2)
                    && t.ne(3) == rows.ne(3)
                    && indices.ne(0) >= rows.ne(1)
                    && indices.ne(1) > 0
                    && indices.ne(2) > 0
            },
            covers: &[],
        },
    ],
};
