//! Access to the tensors of a graph.

use core::ffi::CStr;

use llama_sys::{ggml_op, ggml_tensor, ggml_type};

/// A tensor of a graph, with access to its sources.
#[derive(Clone, Copy)]
pub(super) struct Tensor<'t>(&'t ggml_tensor);

/// Size in bytes of a float, and of a 32-bit index.
pub(super) const F32_SIZE: usize = 4;

impl<'t> Tensor<'t> {
    pub(super) fn new(raw: &'t ggml_tensor) -> Self {
        Self(raw)
    }

    pub(super) fn op(self) -> ggml_op {
        self.0.op
    }

    pub(super) fn kind(self) -> ggml_type {
        self.0.type_
    }

    pub(super) fn is(self, kind: ggml_type) -> bool {
        self.0.type_ == kind
    }

    pub(super) fn is_f32(self) -> bool {
        self.is(ggml_type::GGML_TYPE_F32)
    }

    pub(super) fn is_one_of(self, kinds: &[ggml_type]) -> bool {
        kinds.contains(&self.0.type_)
    }

    /// Returns the number of elements in a dimension.
    pub(super) fn ne(self, dimension: usize) -> i64 {
        self.0.ne[dimension]
    }

    pub(super) fn shape(self) -> [i64; 4] {
        self.0.ne
    }

    /// Returns the distance in bytes between adjacent elements of a dimension.
    pub(super) fn nb(self, dimension: usize) -> usize {
        self.0.nb[dimension]
    }

    /// Returns a source of the tensor, if there is one.
    pub(super) fn source(self, index: usize) -> Option<Self> {
        // SAFETY: the sources of a graph's tensor are valid or NULL (ggml.c, ggml_new_tensor_impl and the functions
        // that set them), and live as long as it: they belong to the graph's context or to the model.
        unsafe { self.0.src[index].as_ref() }.map(Self)
    }

    /// Returns the tensor that a view refers to, or the tensor itself if it is not a view.
    pub(super) fn root(self) -> Self {
        // SAFETY: as for the sources. A view of a view refers to the first tensor (ggml.c, ggml_new_tensor_impl).
        unsafe { self.0.view_src.as_ref() }.map_or(self, Self)
    }

    /// Returns a source that the operation's entry in the table requires. To be called after that check.
    pub(super) fn src(self, index: usize) -> Self {
        self.source(index).unwrap_or(self)
    }

    /// Returns a parameter of the operation.
    pub(super) fn param(self, index: usize) -> i32 {
        self.0.op_params[index]
    }

    pub(super) fn param_f32(self, index: usize) -> f32 {
        f32::from_ne_bytes(self.0.op_params[index].to_ne_bytes())
    }

    pub(super) fn has_flag(self, flag: llama_sys::ggml_tensor_flag) -> bool {
        #[allow(clippy::useless_conversion, reason = "the enum's integer is signed on some platforms")]
        i32::try_from(flag.0).is_ok_and(|flag| self.0.flags & flag != 0)
    }

    /// Returns whether the tensor has no elements, so that it is not computed.
    pub(super) fn is_empty(self) -> bool {
        self.0.ne.contains(&0)
    }

    pub(super) fn elements(self) -> i64 {
        self.0.ne.iter().product()
    }

    pub(super) fn rows(self) -> i64 {
        self.0.ne[1..].iter().product()
    }

    pub(super) fn has_shape_of(self, other: Self) -> bool {
        self.0.ne == other.0.ne
    }

    pub(super) fn is_scalar(self) -> bool {
        self.0.ne == [1; 4]
    }

    pub(super) fn type_size(self) -> usize {
        type_size(self.kind())
    }

    pub(super) fn block_size(self) -> i64 {
        block_size(self.kind())
    }

    pub(super) fn is_quantized(self) -> bool {
        traits(self.kind()).is_some_and(|traits| traits.is_quantized)
    }

    /// Returns whether the elements of a row are adjacent, as `ggml_is_contiguous_rows` does.
    pub(super) fn has_whole_rows(self) -> bool {
        self.ne(0) == self.block_size() || self.nb(0) == self.type_size()
    }

    /// Returns whether the elements are contiguous from dimension `from` on, as `ggml_is_contiguous_n` does.
    pub(super) fn is_contiguous_from(self, from: usize) -> bool {
        let mut next = self.type_size();
        if self.ne(0) != self.block_size() && self.nb(0) != next {
            return false;
        }
        next = next.saturating_mul(size(self.ne(0) / self.block_size()));
        for dimension in 1..4 {
            if dimension > from {
                if self.ne(dimension) != 1 && self.nb(dimension) != next {
                    return false;
                }
                next = next.saturating_mul(size(self.ne(dimension)));
            } else {
                // Lower dimensions may have gaps.
                next = size(self.ne(dimension)).saturating_mul(self.nb(dimension));
            }
        }
        true
    }

    pub(super) fn is_contiguous(self) -> bool {
        self.is_contiguous_from(0)
    }

    /// Returns whether the dimensions are not permuted.
    pub(super) fn is_in_order(self) -> bool {
        self.0.nb[0] <= self.0.nb[1] && self.0.nb[1] <= self.0.nb[2] && self.0.nb[2] <= self.0.nb[3]
    }

    /// Returns whether copies of the tensor fill the other one.
    pub(super) fn can_repeat_to(self, other: Self) -> bool {
        self.0.ne.iter().zip(other.0.ne).all(|(from, to)| *from > 0 && to % from == 0)
    }

    /// Returns llama.cpp's name of the tensor.
    pub(super) fn name(self) -> String {
        self.with_name(|name| String::from_utf8_lossy(name).into_owned())
    }

    pub(super) fn is_named(self, name: &[u8]) -> bool {
        self.with_name(|own| own == name)
    }

    fn with_name<R>(self, read: impl FnOnce(&[u8]) -> R) -> R {
        let name = &self.0.name;
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        // SAFETY: `c_char` has the size and every value of `u8`, and the slice is a part of the array.
        read(unsafe { core::slice::from_raw_parts(name.as_ptr().cast::<u8>(), length) })
    }

    /// Returns the name of the operation with its variant: `MUL_MAT`, `SILU`.
    pub(super) fn operation(self) -> String {
        // SAFETY: the tensor is valid; the function reads the operation and looks its name up (ggml.c, ggml_op_desc).
        let name = unsafe { llama_sys::ggml_op_desc(self.0) };
        if name.is_null() {
            return String::new();
        }
        // SAFETY: a constant string of ggml's.
        unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
    }

    /// Describes name, type and shape, for errors.
    pub(super) fn describe(self) -> String {
        let last = self.0.ne.iter().rposition(|n| *n != 1).unwrap_or(0);
        format!("\"{}\" in {} {:?}", self.name(), type_name(self.kind()), &self.0.ne[..=last])
    }
}

/// Converts a size that ggml has computed to an unsigned number.
pub(super) fn size(n: i64) -> usize {
    usize::try_from(n).unwrap_or(0)
}

/// Returns ggml's properties of a type, or `None` for an unknown type.
pub(super) fn traits(kind: ggml_type) -> Option<&'static llama_sys::ggml_type_traits> {
    if kind.0 >= ggml_type::GGML_TYPE_COUNT.0 {
        return None;
    }
    // SAFETY: below the number of types, the function returns an entry of a constant table (ggml.c).
    unsafe { llama_sys::ggml_get_type_traits(kind).as_ref() }
}

pub(super) fn type_size(kind: ggml_type) -> usize {
    traits(kind).map_or(0, |traits| traits.type_size)
}

pub(super) fn block_size(kind: ggml_type) -> i64 {
    traits(kind).map_or(1, |traits| traits.blck_size.max(1))
}

pub(super) fn type_name(kind: ggml_type) -> String {
    match traits(kind) {
        Some(traits) if !traits.type_name.is_null() => {
            // SAFETY: the names of types are constant strings, or NULL for numbers that are no longer used (ggml.c).
            unsafe { CStr::from_ptr(traits.type_name) }.to_string_lossy().into_owned()
        }
        _ => format!("type {}", kind.0),
    }
}
