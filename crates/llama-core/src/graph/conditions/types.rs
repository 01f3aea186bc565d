//! Sets of types that several operations support.

use llama_sys::ggml_type as Type;

use crate::graph::tensor::Tensor;

/// f32 and the floating-point types of 16 bits.
pub(super) const FLOATS: &[Type] = &[Type::GGML_TYPE_F32, Type::GGML_TYPE_F16, Type::GGML_TYPE_BF16];

pub(super) const F32_F16: &[Type] = &[Type::GGML_TYPE_F32, Type::GGML_TYPE_F16];

/// Types from which rows are dequantised; `ggml_compute_forward_get_rows` and others list them.
pub(super) const PACKED: &[Type] = &[
    Type::GGML_TYPE_Q1_0,
    Type::GGML_TYPE_Q2_0,
    Type::GGML_TYPE_Q4_0,
    Type::GGML_TYPE_Q4_1,
    Type::GGML_TYPE_Q5_0,
    Type::GGML_TYPE_Q5_1,
    Type::GGML_TYPE_Q8_0,
    Type::GGML_TYPE_MXFP4,
    Type::GGML_TYPE_NVFP4,
    Type::GGML_TYPE_F8_E4M3,
    Type::GGML_TYPE_Q2_K,
    Type::GGML_TYPE_Q3_K,
    Type::GGML_TYPE_Q4_K,
    Type::GGML_TYPE_Q5_K,
    Type::GGML_TYPE_Q6_K,
    Type::GGML_TYPE_TQ1_0,
    Type::GGML_TYPE_TQ2_0,
    Type::GGML_TYPE_IQ2_XXS,
    Type::GGML_TYPE_IQ2_XS,
    Type::GGML_TYPE_IQ3_XXS,
    Type::GGML_TYPE_IQ1_S,
    Type::GGML_TYPE_IQ1_M,
    Type::GGML_TYPE_IQ4_NL,
    Type::GGML_TYPE_IQ4_XS,
    Type::GGML_TYPE_IQ3_S,
    Type::GGML_TYPE_IQ2_S,
];

/// Returns the type of vectors that are multiplied with matrices of a type, or `None` if ggml does not compute such
/// products (ggml-cpu.c, `type_traits_cpu`).
pub(in crate::graph) fn factor_of(matrix: Type) -> Option<Type> {
    Some(match matrix {
        Type::GGML_TYPE_F32 | Type::GGML_TYPE_F8_E4M3 => Type::GGML_TYPE_F32,
        Type::GGML_TYPE_F16 => Type::GGML_TYPE_F16,
        Type::GGML_TYPE_BF16 => Type::GGML_TYPE_BF16,
        Type::GGML_TYPE_Q1_0
        | Type::GGML_TYPE_Q2_0
        | Type::GGML_TYPE_Q4_0
        | Type::GGML_TYPE_Q5_0
        | Type::GGML_TYPE_Q8_0
        | Type::GGML_TYPE_MXFP4
        | Type::GGML_TYPE_NVFP4
        | Type::GGML_TYPE_IQ4_NL => Type::GGML_TYPE_Q8_0,
        Type::GGML_TYPE_Q4_1 | Type::GGML_TYPE_Q5_1 => Type::GGML_TYPE_Q8_1,
        Type::GGML_TYPE_Q2_K
        | Type::GGML_TYPE_Q3_K
        | Type::GGML_TYPE_Q4_K
        | Type::GGML_TYPE_Q5_K
        | Type::GGML_TYPE_Q6_K
        | Type::GGML_TYPE_TQ1_0
        | Type::GGML_TYPE_TQ2_0
        | Type::GGML_TYPE_IQ2_XXS
        | Type::GGML_TYPE_IQ2_XS
        | Type::GGML_TYPE_IQ3_XXS
        | Type::GGML_TYPE_IQ1_S
        | Type::GGML_TYPE_IQ1_M
        | Type::GGML_TYPE_IQ4_XS
        | Type::GGML_TYPE_IQ3_S
        | Type::GGML_TYPE_IQ2_S => Type::GGML_TYPE_Q8_K,
        _ => return None,
    })
}

/// Returns whether floats can be converted to a type (ggml-cpu.c, `from_float` of `type_traits_cpu`).
pub(in crate::graph) fn can_pack(kind: Type) -> bool {
    let reference_only = [
        Type::GGML_TYPE_IQ2_XXS,
        Type::GGML_TYPE_IQ2_XS,
        Type::GGML_TYPE_IQ3_XXS,
        Type::GGML_TYPE_IQ3_S,
        Type::GGML_TYPE_IQ2_S,
        Type::GGML_TYPE_IQ1_S,
        Type::GGML_TYPE_IQ1_M,
    ];
    let also = [Type::GGML_TYPE_Q8_1, Type::GGML_TYPE_Q8_K, Type::GGML_TYPE_I32];
    (factor_of(kind).is_some() && !reference_only.contains(&kind)) || also.contains(&kind)
}

/// Returns whether ggml converts a type to floats.
pub(super) fn can_unpack(kind: Type) -> bool {
    crate::graph::tensor::traits(kind).is_some_and(|traits| traits.to_float.is_some())
}

pub(super) fn is_i32(tensor: Tensor<'_>) -> bool {
    tensor.is(Type::GGML_TYPE_I32)
}

/// Returns whether the elements of a row of floats are adjacent.
pub(super) fn has_f32_rows(tensor: Tensor<'_>) -> bool {
    tensor.is_f32() && tensor.nb(0) == crate::graph::tensor::F32_SIZE
}

/// Returns whether adjacent elements have a distance of one type size.
pub(super) fn is_packed(tensor: Tensor<'_>) -> bool {
    tensor.nb(0) == tensor.type_size()
}
