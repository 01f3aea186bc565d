//! Losses and optimiser steps.

use llama_sys::ggml_op as Op;

use super::types::has_f32_rows;
use super::{Condition, Operation};
use crate::graph::tensor::Tensor;

pub(super) fn of(op: Op) -> Option<&'static Operation> {
    Some(match op {
        Op::GGML_OP_CROSS_ENTROPY_LOSS => &CROSS_ENTROPY_LOSS,
        Op::GGML_OP_CROSS_ENTROPY_LOSS_BACK => &CROSS_ENTROPY_LOSS_BACK,
        Op::GGML_OP_OPT_STEP_ADAMW => &OPT_STEP_ADAMW,
        Op::GGML_OP_OPT_STEP_SGD => &OPT_STEP_SGD,
        Op::GGML_OP_FLASH_ATTN_BACK => &FLASH_ATTN_BACK,
        _ => return None,
    })
}

static CROSS_ENTROPY_LOSS: Operation = Operation {
    sources: 2,
    conditions: &[Condition {
        requires: "the sources must be in f32 and of the same shape, with contiguous rows, and the result a scalar in f32",
        holds: |t| {
            let (a, b) = (t.src(0), t.src(1));
            has_f32_rows(a) && has_f32_rows(b) && a.has_shape_of(b) && t.is_scalar() && t.is_f32()
        },
        covers: &[
            "ggml_compute_forward_cross_entropy_loss: \"fatal error\"",
            "ggml_compute_forward_cross_entropy_loss_f32: src0->type == GGML_TYPE_F32",
            "ggml_compute_forward_cross_entropy_loss_f32: src1->type == GGML_TYPE_F32",
            "ggml_compute_forward_cross_entropy_loss_f32: src0->nb[0] == ggml_type_size(src0->type)",
            "ggml_compute_forward_cross_entropy_loss_f32: src1->nb[0] == ggml_type_size(src1->type)",
            "ggml_compute_forward_cross_entropy_loss_f32: ggml_are_same_shape(src0, src1)",
            "ggml_compute_forward_cross_entropy_loss_f32: ggml_is_scalar(dst)",
            "ggml_compute_forward_cross_entropy_loss_f32: dst->type == GGML_TYPE_F32",
        ],
    }],
};

static CROSS_ENTROPY_LOSS_BACK: Operation = Operation {
    sources: 3,
    conditions: &[Condition {
        requires: "the sources and the result must be in f32 and contiguous, and sources 1 and 2 of the result's shape",
        holds: |t| {
            let (gradient, a, b) = (t.src(0), t.src(1), t.src(2));
            let is_whole = |t: Tensor<'_>| t.is_f32() && t.is_contiguous();
            is_whole(t)
                && is_whole(gradient)
                && is_whole(a)
                && is_whole(b)
                && a.has_shape_of(b)
                && a.has_shape_of(t)
        },
        covers: &[
            "ggml_compute_forward_cross_entropy_loss_back: \"fatal error\"",
            "ggml_compute_forward_cross_entropy_loss_back_f32: ggml_is_contiguous(dst)",
            "ggml_compute_forward_cross_entropy_loss_back_f32: ggml_is_contiguous(src0f)",
            "ggml_compute_forward_cross_entropy_loss_back_f32: ggml_is_contiguous(src1f)",
            "ggml_compute_forward_cross_entropy_loss_back_f32: ggml_is_contiguous(grad)",
            "ggml_compute_forward_cross_entropy_loss_back_f32: ggml_are_same_shape(src0f, src1f) && \
             ggml_are_same_shape(src0f, dst)",
        ],
    }],
};

static OPT_STEP_ADAMW: Operation = Operation {
    sources: 5,
    conditions: &[Condition {
        requires: "the parameters, their gradients and moments must be in f32 and of the same shape, and there must be 7 \
                   numbers",
        holds: |t| {
            let parameters = t.src(0);
            has_f32_rows(parameters)
                && (1..4).all(|index| has_f32_rows(t.src(index)) && t.src(index).has_shape_of(parameters))
                && t.src(4).is_f32()
                && t.src(4).elements() == 7
        },
        covers: &[
            "ggml_compute_forward_opt_step_adamw: \"fatal error\"",
            "ggml_compute_forward_opt_step_adamw_f32: ggml_are_same_shape(src0, src0_grad)",
            "ggml_compute_forward_opt_step_adamw_f32: ggml_are_same_shape(src0, src0_grad_m)",
            "ggml_compute_forward_opt_step_adamw_f32: ggml_are_same_shape(src0, src0_grad_v)",
            "ggml_compute_forward_opt_step_adamw_f32: ggml_nelements(adamw_params) == 7",
            "ggml_compute_forward_opt_step_adamw_f32: nb00 == sizeof(float)",
        ],
    }],
};

static OPT_STEP_SGD: Operation = Operation {
    sources: 3,
    conditions: &[Condition {
        requires: "the parameters and their gradients must be in f32 and of the same shape, and there must be 2 numbers",
        holds: |t| {
            let (parameters, gradients, numbers) = (t.src(0), t.src(1), t.src(2));
            has_f32_rows(parameters)
                && has_f32_rows(gradients)
                && gradients.has_shape_of(parameters)
                && numbers.is_f32()
                && numbers.elements() == 2
        },
        covers: &[
            "ggml_compute_forward_opt_step_sgd: \"fatal error - sgd is F32 only\"",
            "ggml_compute_forward_opt_step_sgd_f32: ggml_are_same_shape(src0, src0_grad)",
            "ggml_compute_forward_opt_step_sgd_f32: ggml_nelements(sgd_params) == 2",
            "ggml_compute_forward_opt_step_sgd_f32: nb00 == sizeof(float)",
        ],
    }],
};

static FLASH_ATTN_BACK: Operation = Operation {
    sources: 4,
    conditions: &[Condition {
        requires: "ggml has no function that creates this operation",
        holds: |_| false,
        covers: &["ggml_compute_forward_flash_attn_back*"],
    }],
};
