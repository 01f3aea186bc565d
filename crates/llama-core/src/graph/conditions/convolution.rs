//! Convolutions and pooling.

use llama_sys::{ggml_op as Op, ggml_type as Type};

use super::types::{F32_F16, FLOATS, has_f32_rows, is_packed};
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_CONV_TRANSPOSE_1D | Op::GGML_OP_CONV_TRANSPOSE_2D => &CONV_TRANSPOSE,
        Op::GGML_OP_IM2COL => &IM2COL,
        Op::GGML_OP_IM2COL_3D => &IM2COL_3D,
        Op::GGML_OP_IM2COL_BACK => &IM2COL_BACK,
        Op::GGML_OP_COL2IM_1D => &COL2IM_1D,
        Op::GGML_OP_CONV_2D | Op::GGML_OP_CONV_3D => &CONV,
        Op::GGML_OP_CONV_2D_DW => &CONV_2D_DW,
        Op::GGML_OP_POOL_1D | Op::GGML_OP_POOL_2D => &POOL,
        Op::GGML_OP_POOL_2D_BACK => &POOL_BACK,
        _ => return None,
    })
}

static CONV_TRANSPOSE: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "the kernel must be in f32 or f16, source 1 and the result in f32",
            holds: |t| t.src(0).is_one_of(F32_F16) && t.src(1).is_f32() && t.is_f32(),
            covers: &[
                "ggml_compute_forward_conv_transpose_1d: \"fatal error\"",
                "ggml_compute_forward_conv_transpose_2d: \"fatal error\"",
                "ggml_compute_forward_conv_transpose_*: src0->type == GGML_TYPE_F16",
                "ggml_compute_forward_conv_transpose_*: src0->type == GGML_TYPE_F32",
                "ggml_compute_forward_conv_transpose_*: src0->type == GGML_TYPE_F16 || src0->type == GGML_TYPE_F32",
                "ggml_compute_forward_conv_transpose_*: src1->type == GGML_TYPE_F32",
                "ggml_compute_forward_conv_transpose_*: dst->type == GGML_TYPE_F32",
            ],
        },
        Condition {
            requires: "the rows of both sources must be contiguous",
            holds: |t| is_packed(t.src(0)) && is_packed(t.src(1)),
            covers: &[
                "ggml_compute_forward_conv_transpose_*: nb00 == sizeof(ggml_fp16_t)",
                "ggml_compute_forward_conv_transpose_*: nb00 == sizeof(float)",
                "ggml_compute_forward_conv_transpose_*: nb00 == ggml_type_size(src0->type)",
                "ggml_compute_forward_conv_transpose_*: nb10 == sizeof(float)",
            ],
        },
    ],
};

static IM2COL: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "the result must be in f32 or f16, source 1 in f32 or, for a result in f16, in f16, with contiguous rows",
        holds: |t| {
            let b = t.src(1);
            t.is_one_of(F32_F16)
                && (b.is_f32() || (b.is(Type::GGML_TYPE_F16) && t.is(Type::GGML_TYPE_F16)))
                && is_packed(b)
        },
        covers: &[
            "ggml_compute_forward_im2col: \"fatal error\"",
            "ggml_compute_forward_im2col_f32: src1->type == GGML_TYPE_F32",
            "ggml_compute_forward_im2col_f32: dst->type == GGML_TYPE_F32",
            "ggml_compute_forward_im2col_f32: nb10 == sizeof(float)",
            "ggml_compute_forward_im2col_f16: src1->type == GGML_TYPE_F16 || src1->type == GGML_TYPE_F32",
            "ggml_compute_forward_im2col_f16: dst->type == GGML_TYPE_F16",
            "ggml_compute_forward_im2col_f16: nb10 == ggml_type_size(src1->type)",
        ],
    }],
};

static IM2COL_3D: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "the result must be in f32 or f16, and source 1 in f32, with contiguous rows",
        holds: |t| t.is_one_of(F32_F16) && has_f32_rows(t.src(1)),
        covers: &[
            "ggml_compute_forward_im2col_3d: \"fatal error\"",
            "ggml_compute_forward_im2col_3d_*: src1->type == GGML_TYPE_F32",
            "ggml_compute_forward_im2col_3d_*: dst->type == GGML_TYPE_F16",
            "ggml_compute_forward_im2col_3d_*: dst->type == GGML_TYPE_F32",
            "ggml_compute_forward_im2col_3d_*: nb10 == sizeof(float)",
        ],
    }],
};

static IM2COL_BACK: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "source 0 and the result must be in f32, source 1 in f32 or f16, with contiguous rows",
        holds: |t| t.src(0).is_f32() && t.src(1).is_one_of(F32_F16) && has_f32_rows(t),
        covers: &[
            "ggml_compute_forward_im2col_back_f32: src0->type == GGML_TYPE_F32",
            "ggml_compute_forward_im2col_back_f32: src1->type == GGML_TYPE_F32 || src1->type == GGML_TYPE_F16",
            "ggml_compute_forward_im2col_back_f32: dst->type == GGML_TYPE_F32",
            "ggml_compute_forward_im2col_back_f32: nb0 == sizeof(float)",
        ],
    }],
};

static COL2IM_1D: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the source and the result must be contiguous in f32, f16 or bf16, of the same type",
            holds: |t| {
                t.src(0).is_one_of(FLOATS)
                    && t.is(t.src(0).kind())
                    && t.is_contiguous()
                    && t.src(0).is_contiguous()
            },
            covers: &[
                "ggml_compute_forward_col2im_1d: \"col2im_1d: unsupported type %d\"",
                "ggml_compute_forward_col2im_1d_impl: ggml_is_contiguous(src)",
                "ggml_compute_forward_col2im_1d_impl: ggml_is_contiguous(dst)",
            ],
        },
        Condition {
            requires: "the step and the number of channels must be above 0",
            holds: |t| t.param(0) > 0 && t.param(1) > 0,
            covers: &[],
        },
    ],
};

const IN_F32: Condition = Condition {
    requires: "source 1 and the result must be in f32",
    holds: |t| t.src(1).is_f32() && t.is_f32(),
    covers: &[],
};

static CONV: Operation = Operation {
    sources: 2,
    conditions: &[
        IN_F32,
        Condition {
            requires: "the kernel must be contiguous and in f32 or f16",
            holds: |t| t.src(0).is_one_of(F32_F16) && t.src(0).is_contiguous(),
            covers: &[
                "ggml_compute_forward_conv_2d_impl: ggml_is_contiguous(kernel)",
                "ggml_compute_forward_conv_2d_impl: kernel_type == GGML_TYPE_F16 || kernel_type == GGML_TYPE_F32",
                "ggml_compute_forward_conv_2d_impl: kernel->type == kernel_type",
                "ggml_compute_forward_conv_3d_impl: ggml_is_contiguous(kernel)",
                "ggml_compute_forward_conv_3d_impl: kernel_type == GGML_TYPE_F16 || kernel_type == GGML_TYPE_F32",
                "ggml_compute_forward_conv_3d_impl: kernel->type == kernel_type",
            ],
        },
        Condition {
            requires: "the kernel must have the channels of source 1",
            holds: |t| t.op() != Op::GGML_OP_CONV_2D || t.src(0).ne(2) == t.src(1).ne(2),
            covers: &["ggml_compute_forward_conv_2d_impl: c_in == kernel->ne[2]"],
        },
    ],
};

/// Returns whether `ggml_is_contiguous_channels` holds.
fn has_channels_first(t: Tensor<'_>) -> bool {
    t.nb(0) > t.nb(2) && t.nb(1) > t.nb(0) && t.nb(2) == t.type_size()
}

static CONV_2D_DW: Operation = Operation {
    sources: 2,
    conditions: &[
        IN_F32,
        Condition {
            requires: "the kernel must be in f32 or f16",
            holds: |t| t.src(0).is_one_of(F32_F16),
            covers: &[
                "ggml_compute_forward_conv_2d_dw: kernel->type == GGML_TYPE_F32 || kernel->type == GGML_TYPE_F16",
            ],
        },
        Condition {
            requires: "the kernel must have the channels of source 1, and the result its batch",
            holds: |t| t.src(0).ne(3) == t.src(1).ne(2) && t.ne(3) == t.src(1).ne(3),
            covers: &[
                "ggml_compute_forward_conv_2d_dw: kernel->ne[3] == p.channels",
                "ggml_compute_forward_conv_2d_dw: dst->ne[3] == p.batch",
            ],
        },
        Condition {
            requires: "source 1 must be contiguous, or have its channels first, and then the kernel too",
            holds: |t| {
                let (kernel, src) = (t.src(0), t.src(1));
                src.is_contiguous()
                    || (has_channels_first(src)
                        && kernel.nb(0) >= kernel.nb(2)
                        && kernel.nb(1) >= kernel.nb(0))
            },
            covers: &[
                "ggml_compute_forward_conv_2d_dw: kernel->nb[0] >= kernel->nb[2] && kernel->nb[1] >= kernel->nb[0]",
                "ggml_compute_forward_conv_2d_dw: \"non-contiguous memory layout not supported\"",
            ],
        },
    ],
};

const POOL_KIND: Condition = Condition {
    requires: "the kind of pooling must be maximum or average",
    holds: |t| (0..2).contains(&t.param(0)),
    covers: &[
        "ggml_compute_forward_pool_1d_ksp: \"fatal error\"",
        "ggml_compute_forward_pool_2d: \"fatal error\"",
        "ggml_compute_forward_pool_2d_back: false",
    ],
};

static POOL: Operation = Operation {
    sources: 1,
    conditions: &[
        Condition {
            requires: "the source must be in f32 or f16, and the result in f32",
            holds: |t| t.src(0).is_one_of(F32_F16) && t.is_f32(),
            covers: &[],
        },
        POOL_KIND,
        Condition {
            requires: "the size of the pooling window must be above 0",
            holds: |t| t.param(1) > 0 && (t.op() == Op::GGML_OP_POOL_1D || t.param(2) > 0),
            covers: &[],
        },
    ],
};

static POOL_BACK: Operation = Operation {
    sources: 2,
    conditions: &[
        Condition {
            requires: "source 0 must be in f32, and the result in f32 or f16",
            holds: |t| t.src(0).is_f32() && t.is_one_of(F32_F16),
            covers: &[],
        },
        POOL_KIND,
    ],
};
