//! Attention: softmax, flash attention, and the selection of attended cells.

use llama_sys::{ggml_op as Op, ggml_type as Type};

use super::types::{F32_F16, can_unpack, factor_of, has_f32_rows, is_packed};
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_SOFT_MAX => &SOFT_MAX,
        Op::GGML_OP_SOFT_MAX_BACK => &SOFT_MAX_BACK,
        Op::GGML_OP_FLASH_ATTN_EXT => &FLASH_ATTN_EXT,
        Op::GGML_OP_LIGHTNING_INDEXER => &LIGHTNING_INDEXER,
        Op::GGML_OP_WIN_PART | Op::GGML_OP_WIN_UNPART => &WINDOWS,
        Op::GGML_OP_GET_REL_POS => &GET_REL_POS,
        Op::GGML_OP_ADD_REL_POS => &ADD_REL_POS,
        _ => return None,
    })
}

fn is_f16(t: Tensor<'_>) -> bool {
    t.is(Type::GGML_TYPE_F16)
}

/// Returns whether the part of a mask for a row of `of` can be found by division.
fn covers_rows(mask: Tensor<'_>, of: Tensor<'_>) -> bool {
    let divides = |d: usize| mask.ne(d) > 0 && of.ne(d) % mask.ne(d) == 0;
    mask.ne(0) == of.ne(0) && mask.ne(1) >= of.ne(1) && divides(2) && divides(3)
}

static SOFT_MAX: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "source 0 and the result must be in f32, contiguous and of the same shape",
            holds: |t| has_f32_rows(t.src(0)) && has_f32_rows(t) && t.src(0).has_shape_of(t),
            covers: &["ggml_compute_forward_soft_max: \"fatal error\""],
        },
        Condition {
            requires: "source 1 (the mask) must be in f32 or f16, contiguous, and have a row for each of source 0's",
            holds: |t| {
                t.source(1).is_none_or(|mask| {
                    mask.is_one_of(F32_F16) && is_packed(mask) && covers_rows(mask, t.src(0))
                })
            },
            covers: &[],
        },
        Condition {
            requires: "source 2 (the sinks) must be in f32, one for each head",
            holds: |t| t.source(2).is_none_or(|sinks| sinks.is_f32() && sinks.ne(0) >= t.ne(2)),
            covers: &[],
        },
    ],
};

static SOFT_MAX_BACK: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "the sources and the result must be in f32, contiguous and of the same shape, without ALiBi",
        holds: |t| {
            let is_alike =
                |other: Tensor<'_>| other.is_f32() && other.is_contiguous() && other.has_shape_of(t);
            is_alike(t) && is_alike(t.src(0)) && is_alike(t.src(1)) && t.param_f32(1) == 0.0
        },
        covers: &[
            "ggml_compute_forward_soft_max_ext_back: \"fatal error\"",
            "ggml_compute_forward_soft_max_ext_back_f32: ggml_is_contiguous(src0)",
            "ggml_compute_forward_soft_max_ext_back_f32: ggml_is_contiguous(src1)",
            "ggml_compute_forward_soft_max_ext_back_f32: ggml_is_contiguous(dst)",
            "ggml_compute_forward_soft_max_ext_back_f32: ggml_are_same_shape(src0, dst)",
            "ggml_compute_forward_soft_max_ext_back_f32: ggml_are_same_shape(src1, dst)",
            "ggml_compute_forward_soft_max_ext_back_f32: max_bias == 0.0f",
        ],
    }],
};

static FLASH_ATTN_EXT: Operation = Operation {
    sources: 3,
    conditions: &[
        Condition {
            requires: "the values must be in f32 or a type that can be dequantised",
            holds: |t| t.src(2).is_f32() || can_unpack(t.src(2).kind()),
            covers: &[
                "ggml_compute_forward_flash_attn_ext_f16*: (v->type == GGML_TYPE_F32 || v_to_float) && \"fattn: unsupported \
                 V-type\"",
            ],
        },
        Condition {
            requires: "the queries and the result must be in f32, and the keys in a type that matrices are multiplied in (f32, \
                       f16, bf16, f8_e4m3 or quantised; not q8_1 or q8_K)",
            // ggml asserts on the keys' type, but for another function than the one it calls.
            holds: |t| t.src(0).is_f32() && t.is_f32() && factor_of(t.src(1).kind()).is_some(),
            covers: &[],
        },
        Condition {
            requires: "the rows of queries, keys, values and the result must be contiguous, and the result must not be \
                       permuted",
            holds: |t| (0..3).all(|index| is_packed(t.src(index))) && has_f32_rows(t) && t.is_in_order(),
            covers: &[
                "ggml_compute_forward_flash_attn_ext_*: nbq0 == ggml_type_size(q->type)",
                "ggml_compute_forward_flash_attn_ext_*: nbk0 == ggml_type_size(k->type)",
                "ggml_compute_forward_flash_attn_ext_*: nbv0 == ggml_type_size(v->type)",
                "ggml_compute_forward_flash_attn_ext_*: nb0 == sizeof(float)",
                "ggml_compute_forward_flash_attn_ext_*: nb0 <= nb1",
                "ggml_compute_forward_flash_attn_ext_*: nb1 <= nb2",
                "ggml_compute_forward_flash_attn_ext_*: nb2 <= nb3",
            ],
        },
        Condition {
            requires: "queries and keys must have rows of the same length, the result that of the values, and the heads of the \
                       queries must be a multiple of those of keys and values",
            holds: |t| {
                let (q, k, v) = (t.src(0), t.src(1), t.src(2));
                let divides = |d: usize, of: Tensor<'_>| of.ne(d) > 0 && q.ne(d) % of.ne(d) == 0;
                q.ne(0) == k.ne(0)
                    && t.shape() == [v.ne(0), q.ne(2), q.ne(1), q.ne(3)]
                    && k.ne(1) == v.ne(1)
                    && [2, 3].into_iter().all(|d| divides(d, k) && divides(d, v))
            },
            covers: &[
                "ggml_compute_forward_flash_attn_ext_*: ne0 == DV",
                "ggml_compute_forward_flash_attn_ext_*: ne2 == N",
                "ggml_compute_forward_flash_attn_ext_*: neq0 == DK",
                "ggml_compute_forward_flash_attn_ext_*: nek0 == DK",
                "ggml_compute_forward_flash_attn_ext_*: nev0 == DV",
                "ggml_compute_forward_flash_attn_ext_*: neq1 == N",
            ],
        },
        Condition {
            requires: "the mask must be in f16 and have a row for each query, and the sinks must be in f32, one for each head",
            holds: |t| {
                let q = t.src(0);
                let divides = |d: usize, mask: Tensor<'_>| mask.ne(d) > 0 && q.ne(d) % mask.ne(d) == 0;
                let fits = |mask: Tensor<'_>| {
                    is_f16(mask)
                        && is_packed(mask)
                        && mask.ne(0) >= t.src(1).ne(1)
                        && mask.ne(1) >= q.ne(1)
                        && divides(2, mask)
                        && divides(3, mask)
                };
                t.source(3).is_none_or(fits)
                    && t.source(4).is_none_or(|sinks| sinks.is_f32() && sinks.ne(0) >= q.ne(2))
            },
            covers: &[],
        },
        Condition {
            requires: "the precision must be the default or f32",
            holds: |t| {
                use llama_sys::ggml_prec as Precision;
                let known = [Precision::GGML_PREC_DEFAULT, Precision::GGML_PREC_F32];
                #[allow(
                    clippy::useless_conversion,
                    reason = "the enum's integer is signed on some platforms"
                )]
                known.iter().any(|precision| i32::try_from(precision.0) == Ok(t.param(3)))
            },
            covers: &["ggml_compute_forward_flash_attn_ext: \"fatal error\""],
        },
    ],
};

static LIGHTNING_INDEXER: Operation = Operation {
    sources: 4,
    conditions: &[
        Condition {
            requires: "queries, weights and the result must be in f32, the mask in f16, and the keys in f32 or a type that \
                       can be unpacked",
            holds: |t| {
                let (q, k, weights, mask) = (t.src(0), t.src(1), t.src(2), t.src(3));
                t.is_f32()
                    && q.is_f32()
                    && weights.is_f32()
                    && is_f16(mask)
                    && (k.is_f32() || can_unpack(k.kind()))
            },
            covers: &[
                "ggml_compute_forward_lightning_indexer: dst->type == GGML_TYPE_F32",
                "ggml_compute_forward_lightning_indexer: q->type == GGML_TYPE_F32",
                "ggml_compute_forward_lightning_indexer: w->type == GGML_TYPE_F32",
                "ggml_compute_forward_lightning_indexer: m->type == GGML_TYPE_F16",
                "ggml_compute_forward_lightning_indexer: (k->type == GGML_TYPE_F32 || k_to_float) && \"lightning indexer: \
                 unsupported K-type\"",
            ],
        },
        Condition {
            requires: "the rows of all sources and of the result must be contiguous",
            holds: |t| is_packed(t) && (0..4).all(|index| is_packed(t.src(index))),
            covers: &[
                "ggml_compute_forward_lightning_indexer: nb0 == ggml_type_size(dst->type)",
                "ggml_compute_forward_lightning_indexer: nbq0 == ggml_type_size( q->type)",
                "ggml_compute_forward_lightning_indexer: nbk0 == ggml_type_size( k->type)",
                "ggml_compute_forward_lightning_indexer: nbw0 == ggml_type_size( w->type)",
                "ggml_compute_forward_lightning_indexer: nbm0 == ggml_type_size( m->type)",
            ],
        },
        Condition {
            requires: "queries and keys must have rows of the same length",
            holds: |t| t.src(0).ne(0) == t.src(1).ne(0) && t.ne(0) == t.src(1).ne(2) && t.src(3).ne(3) > 0,
            covers: &[],
        },
    ],
};

static WINDOWS: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f32",
        holds: |t| t.src(0).is_f32() && t.is_f32(),
        covers: &[
            "ggml_compute_forward_win_part: \"fatal error\"",
            "ggml_compute_forward_win_unpart: \"fatal error\"",
        ],
    }],
};

static GET_REL_POS: Operation = Operation {
    sources: 1,
    conditions: &[Condition {
        requires: "the source and the result must be in f16 or bf16, of the same type",
        holds: |t| t.src(0).is_one_of(&[Type::GGML_TYPE_F16, Type::GGML_TYPE_BF16]) && t.is(t.src(0).kind()),
        covers: &["ggml_compute_forward_get_rel_pos: \"fatal error\""],
    }],
};

static ADD_REL_POS: Operation = Operation {
    sources: 3,
    conditions: &[Condition {
        requires: "the sources and the result must be in f32",
        holds: |t| t.is_f32() && (0..3).all(|index| t.src(index).is_f32()),
        covers: &["ggml_compute_forward_add_rel_pos: \"fatal error\""],
    }],
};
