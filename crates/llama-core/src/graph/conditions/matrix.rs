//! Products of matrices.

use llama_sys::{ggml_op as Op, ggml_type as Type};

use super::types::{F32_F16, PACKED, factor_of, has_f32_rows, is_i32, is_packed};
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_MUL_MAT => &MUL_MAT,
        Op::GGML_OP_MUL_MAT_ID => &MUL_MAT_ID,
        Op::GGML_OP_OUT_PROD => &OUT_PROD,
        _ => return None,
    })
}

/// Returns whether parameter 1 marks a product with a Hadamard matrix, which is not read:
/// `GGML_HINT_SRC0_IS_HADAMARD`.
fn is_hadamard(t: Tensor<'_>) -> bool {
    t.op() == Op::GGML_OP_MUL_MAT && t.param(1) == 1
}

fn has_dot_product(t: Tensor<'_>) -> bool {
    is_hadamard(t) || factor_of(t.src(0).kind()).is_some()
}

fn dot_products_take_source_1(t: Tensor<'_>) -> bool {
    let (matrix, vector) = (t.src(0), t.src(1));
    let factor = factor_of(matrix.kind());
    let is_widened = t.op() == Op::GGML_OP_MUL_MAT
        && factor == Some(Type::GGML_TYPE_F32)
        && vector.is_one_of(&[Type::GGML_TYPE_F16, Type::GGML_TYPE_BF16]);
    is_hadamard(t) || vector.is_f32() || factor == Some(vector.kind()) || is_widened
}

const MATRIX_TYPE: Condition = Condition {
    requires: "source 0 must be of a type that matrices are multiplied in (f32, f16, bf16, f8_e4m3 or quantised; not q8_1 \
               or q8_K)",
    holds: has_dot_product,
    covers: &[],
};

const ORDER: Condition = Condition {
    requires: "the rows of the sources must be contiguous, and the result must be in f32 and not permuted",
    holds: |t| {
        is_hadamard(t) || (is_packed(t.src(0)) && is_packed(t.src(1)) && has_f32_rows(t) && t.is_in_order())
    },
    covers: &[
        "ggml_compute_forward_mul_mat*: nb00 == ggml_type_size(src0->type)",
        "ggml_compute_forward_mul_mat*: nb00 == ggml_type_size(type)",
        "ggml_compute_forward_mul_mat*: nb10 == ggml_type_size(src1->type)",
        "ggml_compute_forward_mul_mat*: nb0 == sizeof(float)",
        "ggml_compute_forward_mul_mat*: nb0 <= nb1",
        "ggml_compute_forward_mul_mat*: nb1 <= nb2",
        "ggml_compute_forward_mul_mat*: nb2 <= nb3",
    ],
};

const VECTOR_TYPE: Condition = Condition {
    requires: "source 1 must be in f32, or in the type that source 0 is multiplied by",
    holds: dot_products_take_source_1,
    covers: &[
        "ggml_compute_forward_mul_mat: !widen || vec_dot_type == GGML_TYPE_F32",
        "ggml_compute_forward_mul_mat: !widen || src1->type == GGML_TYPE_F16 || src1->type == GGML_TYPE_BF16",
        "ggml_compute_forward_mul_mat_id: src1->type == GGML_TYPE_F32",
    ],
};

static MUL_MAT: Operation = Operation {
    sources: 2,
    conditions: &[
        MATRIX_TYPE,
        VECTOR_TYPE,
        ORDER,
        Condition {
            requires: "the result must have the rows of source 0 as columns, and the other dimensions of source 1, which \
                       must be multiples of those of source 0",
            holds: |t| {
                let (a, b) = (t.src(0), t.src(1));
                is_hadamard(t)
                    || (t.shape() == [a.ne(1), b.ne(1), b.ne(2), b.ne(3)]
                        && a.ne(0) == b.ne(0)
                        && b.ne(2) % a.ne(2).max(1) == 0
                        && b.ne(3) % a.ne(3).max(1) == 0)
            },
            covers: &[
                "ggml_compute_forward_mul_mat: ne0 == ne01",
                "ggml_compute_forward_mul_mat: ne1 == ne11",
                "ggml_compute_forward_mul_mat: ne2 == ne12",
                "ggml_compute_forward_mul_mat: ne3 == ne13",
            ],
        },
        Condition {
            requires: "a product with a Hadamard matrix must be of rows in f32 or f16 whose length is a power of two, and \
                       in f32",
            holds: |t| {
                let rows = t.src(1);
                !is_hadamard(t)
                    || (rows.is_one_of(F32_F16)
                        && is_packed(rows)
                        && has_f32_rows(t)
                        && u64::try_from(rows.ne(0)).is_ok_and(u64::is_power_of_two)
                        && t.has_shape_of(rows))
            },
            covers: &[
                "ggml_compute_forward_fwht_impl: src1->type == (std::is_same_v<src_t, float> ? GGML_TYPE_F32 : \
                 GGML_TYPE_F16)",
                "ggml_compute_forward_fwht_impl: dst->type == GGML_TYPE_F32",
                "ggml_compute_forward_fwht_impl: (n & (n - 1)) == 0",
                "ggml_compute_forward_fwht: \"fatal error - fwht supports F32 and F16 input\"",
            ],
        },
    ],
};

static MUL_MAT_ID: Operation = Operation {
    sources: 3,
    conditions: &[
        MATRIX_TYPE,
        VECTOR_TYPE,
        ORDER,
        Condition {
            requires: "source 2 must be in i32, and source 0 must have one matrix for each expert",
            holds: |t| is_i32(t.src(2)) && t.src(0).ne(3) == 1 && t.src(0).ne(0) == t.src(1).ne(0),
            covers: &[],
        },
    ],
};

static OUT_PROD: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "source 0 must be in f32, f16 or a quantised type, and source 1 and the result in f32",
            holds: |t| {
                let is_float = t.src(0).is_one_of(F32_F16);
                t.src(0).is_one_of(PACKED) || (is_float && t.src(1).is_f32() && t.is_f32())
            },
            covers: &[
                "ggml_compute_forward_out_prod: \"fatal error\"",
                "ggml_compute_forward_out_prod_*: dst->type == GGML_TYPE_F32",
                "ggml_compute_forward_out_prod_*: src0->type == GGML_TYPE_F32",
                "ggml_compute_forward_out_prod_*: src0->type == GGML_TYPE_F16",
                "ggml_compute_forward_out_prod_*: src1->type == GGML_TYPE_F32",
            ],
        },
        Condition {
            requires: "in a product with a quantised tensor, source 1 and the result must be in f32",
            holds: |t| t.src(1).is_f32() && t.is_f32(),
            covers: &[],
        },
        Condition {
            requires: "the rows of source 0 and of the result must be contiguous",
            holds: |t| is_packed(t.src(0)) && is_packed(t),
            covers: &[
                "ggml_compute_forward_out_prod_*: nb00 == sizeof(float)",
                "ggml_compute_forward_out_prod_*: nb00 == ggml_type_size(type)",
                "ggml_compute_forward_out_prod_*: nb00 == sizeof(ggml_fp16_t)",
                "ggml_compute_forward_out_prod_*: nb0 == sizeof(float)",
                "ggml_compute_forward_out_prod_*: nb0  == sizeof(float)",
            ],
        },
        Condition {
            requires: "the result must have the columns of both sources, and the other dimensions of source 1, which must \
                       be those of source 0 or, in f32, multiples",
            holds: |t| {
                let (a, b) = (t.src(0), t.src(1));
                let fits = |d: usize| {
                    b.ne(d) == t.ne(d)
                        && if a.is_f32() { t.ne(d) % a.ne(d).max(1) == 0 } else { a.ne(d) == b.ne(d) }
                };
                t.ne(0) == a.ne(0) && t.ne(1) == b.ne(0) && fits(2) && fits(3)
            },
            covers: &[
                "ggml_compute_forward_out_prod_*: ne0 == ne00",
                "ggml_compute_forward_out_prod_*: ne1 == ne10",
                "ggml_compute_forward_out_prod_*: ne2 == ne12",
                "ggml_compute_forward_out_prod_*: ne3 == ne13",
                "ggml_compute_forward_out_prod_*: ne2  == ne12",
                "ggml_compute_forward_out_prod_*: ne3  == ne13",
                "ggml_compute_forward_out_prod_*: ne2 == ne02",
                "ggml_compute_forward_out_prod_*: ne3 == ne03",
                "ggml_compute_forward_out_prod_*: ne02 == ne12",
                "ggml_compute_forward_out_prod_*: ne03 == ne13",
                "ggml_compute_forward_out_prod_*: ne2 % ne02 == 0",
                "ggml_compute_forward_out_prod_*: ne3 % ne03 == 0",
            ],
        },
    ],
};
