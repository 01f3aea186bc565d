//! Tests that the table matches ggml for each operation: what it accepts is computed, and what it refuses is
//! asserted on.
//!
//! Each source takes each type in turn, and each parameter the values around its limits.

use llama_sys::{ggml_tensor, ggml_type as Type};

use super::arena::{Arena, NONE, Tally};

const F32: Type = Type::GGML_TYPE_F32;
const F16: Type = Type::GGML_TYPE_F16;
const I32: Type = Type::GGML_TYPE_I32;

type Raw = *mut ggml_tensor;

/// Returns all types for which ggml has a size.
fn types() -> impl Iterator<Item = Type> {
    (0..Type::GGML_TYPE_COUNT.0).map(Type).filter(|kind| {
        let traits = crate::graph::tensor::traits(*kind).unwrap();
        traits.type_size > 0 && traits.blck_size > 0
    })
}

/// Tries an operation with every type of each source, with the others as in `base`, and with every pair of the first
/// two.
fn vary<const N: usize>(name: &str, base: [Type; N], build: fn(&Arena, [Type; N]) -> Raw) -> Tally {
    let mut tally = Tally::default();
    let mut compare = |kinds: [Type; N]| {
        let what = format!("{name} of {kinds:?}");
        tally.compare(&what, |arena| build(arena, kinds));
    };
    compare(base);
    for kind in types() {
        for source in 0..N {
            let mut kinds = base;
            kinds[source] = kind;
            compare(kinds);
        }
        for second in types().filter(|_| N > 1) {
            let mut kinds = base;
            (kinds[0], kinds[1]) = (kind, second);
            compare(kinds);
        }
    }
    assert!(tally.accepted > 0, "{name}: {tally:?}");
    tally
}

/// Calls a function of ggml that creates a tensor.
macro_rules! make {
    ($function:ident, $arena:expr $(, $argument:expr)*) => {
        // SAFETY: the context is valid and so are the tensors, which belong to it; ggml asserts on what does not fit,
        // which `Tally::compare` contains.
        unsafe { llama_sys::$function($arena.raw() $(, $argument)*) }
    };
}

#[test]
fn products_of_matrices() {
    let tally = vary("MUL_MAT", [F32, F32], |arena, [a, b]| {
        make!(ggml_mul_mat, arena, arena.tensor(a, &[256, 4, 2]), arena.tensor(b, &[256, 3, 4]))
    });
    assert!(tally.asserted > 0 && tally.unchecked > 0, "{tally:?}");
    let tally = vary("MUL_MAT_ID", [F32, F32, I32], |arena, [a, b, ids]| {
        let (a, b) = (arena.tensor(a, &[256, 4, 2]), arena.tensor(b, &[256, 1, 3]));
        make!(ggml_mul_mat_id, arena, a, b, arena.tensor(ids, &[2, 3]))
    });
    assert!(tally.asserted > 0 && tally.unchecked > 0, "{tally:?}");
    let tally = vary("OUT_PROD", [F32, F32], |arena, [a, b]| {
        make!(ggml_out_prod, arena, arena.tensor(a, &[256, 4]), arena.tensor(b, &[256, 4]))
    });
    assert!(tally.asserted > 0, "{tally:?}");
}

#[test]
fn arithmetic() {
    type Binary = unsafe extern "C-unwind" fn(*mut llama_sys::ggml_context, Raw, Raw) -> Raw;
    const BINARY: [(&str, Binary); 4] = [
        ("ADD", llama_sys::ggml_add),
        ("SUB", llama_sys::ggml_sub),
        ("MUL", llama_sys::ggml_mul),
        ("DIV", llama_sys::ggml_div),
    ];
    for (name, binary) in BINARY {
        let mut tally = Tally::default();
        for (a, b) in types().flat_map(|a| types().map(move |b| (a, b))) {
            tally.compare(&format!("{name} of {a:?} and {b:?}"), |arena| {
                let (a, b) = (arena.tensor(a, &[256, 4]), arena.tensor(b, &[256, 4]));
                // SAFETY: as in `make`.
                unsafe { binary(arena.raw(), a, b) }
            });
        }
        assert!(tally.accepted > 0 && tally.asserted > 0, "{name}: {tally:?}");
    }
    vary("ADD of a row", [F32, F32], |arena, [a, b]| {
        make!(ggml_add, arena, arena.tensor(a, &[256, 4]), arena.tensor(b, &[256]))
    });
    vary("ADD_ID", [F32, F32, I32], |arena, [a, b, ids]| {
        let (a, b) = (arena.tensor(a, &[256, 2, 3]), arena.tensor(b, &[256, 4]));
        make!(ggml_add_id, arena, a, b, arena.tensor(ids, &[2, 3]))
    });
    vary("SCALE", [F32], |arena, [a]| make!(ggml_scale, arena, arena.tensor(a, &[256, 4]), 2.0));
    vary("CLAMP", [F32], |arena, [a]| make!(ggml_clamp, arena, arena.tensor(a, &[256, 4]), 0.0, 1.0));
    vary("ACC", [F32, F32], |arena, [a, b]| {
        let (a, b) = (arena.tensor(a, &[256, 4]), arena.tensor(b, &[256, 2]));
        make!(ggml_acc, arena, a, b, 1024, 4096, 4096, 0)
    });
    vary("SET", [F32, F32], |arena, [a, b]| {
        let (a, b) = (arena.tensor(a, &[256, 4]), arena.tensor(b, &[256, 2]));
        make!(ggml_set, arena, a, b, 1024, 4096, 4096, 0)
    });
}

#[test]
fn copies() {
    let tally = vary("CPY", [F32, F32], |arena, [a, b]| {
        make!(ggml_cpy, arena, arena.tensor(a, &[256, 4]), arena.tensor(b, &[256, 4]))
    });
    assert!(tally.asserted > 0, "{tally:?}");
    vary("CONT of a transposed tensor", [F32], |arena, [a]| {
        let turned = make!(ggml_transpose, arena, arena.tensor(a, &[256, 256]));
        make!(ggml_cont, arena, turned)
    });
    vary("DUP", [F32], |arena, [a]| make!(ggml_dup, arena, arena.tensor(a, &[256, 4])));
    vary("CONCAT", [F32, F32], |arena, [a, b]| {
        make!(ggml_concat, arena, arena.tensor(a, &[256, 4]), arena.tensor(b, &[256, 4]), 0)
    });
    vary("REPEAT", [F32], |arena, [a]| {
        make!(ggml_repeat_4d, arena, arena.tensor(a, &[256, 2]), 256, 4, 1, 1)
    });
    vary("PAD", [F32], |arena, [a]| make!(ggml_pad, arena, arena.tensor(a, &[256, 4]), 1, 1, 0, 0));
    vary("ROLL", [F32], |arena, [a]| make!(ggml_roll, arena, arena.tensor(a, &[256, 4]), 1, 1, 0, 0));
    vary("UPSCALE", [F32], |arena, [a]| {
        make!(ggml_interpolate, arena, arena.tensor(a, &[256, 4]), 512, 8, 1, 1, 0)
    });
    vary("DIAG", [F32], |arena, [a]| make!(ggml_diag, arena, arena.tensor(a, &[256])));
    vary("TIMESTEP_EMBEDDING", [F32], |arena, [a]| {
        make!(ggml_timestep_embedding, arena, arena.tensor(a, &[256]), 8, 100)
    });
    vary("DIAG_MASK_INF", [F32], |arena, [a]| {
        make!(ggml_diag_mask_inf, arena, arena.tensor(a, &[256, 4]), 2)
    });
    let mut tally = Tally::default();
    for (start, stop, step) in [(0.0, 4.0, 1.0), (0.0, 3.5, 0.5), (-1.0, 1.0, 0.3)] {
        tally.compare("ARANGE", |arena| make!(ggml_arange, arena, start, stop, step));
    }
    assert_eq!(tally.accepted, 3);
}

#[test]
fn rows() {
    let tally = vary("GET_ROWS", [F32, I32], |arena, [a, b]| {
        make!(ggml_get_rows, arena, arena.tensor(a, &[256, 4]), arena.tensor(b, &[3]))
    });
    assert!(tally.asserted > 0, "{tally:?}");
    let tally = vary("SET_ROWS", [F32, F32, I32], |arena, [into, rows, indices]| {
        let (into, rows) = (arena.tensor(into, &[256, 4]), arena.tensor(rows, &[256, 1]));
        make!(ggml_set_rows, arena, into, rows, arena.tensor(indices, &[1]))
    });
    assert!(tally.accepted > 20, "{tally:?}");
}

#[test]
fn norms() {
    for kind in types() {
        let mut tally = Tally::default();
        for eps in [1e-5, 0.0, -1.0, f32::NAN, f32::INFINITY] {
            let what = format!("{kind:?} {eps}");
            tally.compare(&format!("NORM {what}"), |arena| {
                make!(ggml_norm, arena, arena.tensor(kind, &[256, 4]), eps)
            });
            tally.compare(&format!("RMS_NORM {what}"), |arena| {
                make!(ggml_rms_norm, arena, arena.tensor(kind, &[256, 4]), eps)
            });
            tally.compare(&format!("L2_NORM {what}"), |arena| {
                make!(ggml_l2_norm, arena, arena.tensor(kind, &[256, 4]), eps)
            });
        }
        let expected = if kind == F32 { (9, 6) } else { (0, 15) };
        assert_eq!((tally.accepted, tally.asserted), expected, "{kind:?} {tally:?}");
    }
    let mut tally = Tally::default();
    for groups in [-1, 0, 1, 2, 8, 9] {
        tally.compare(&format!("GROUP_NORM {groups}"), |arena| {
            make!(ggml_group_norm, arena, arena.tensor(F32, &[4, 2, 8]), groups, 1e-5)
        });
    }
    assert_eq!((tally.accepted, tally.unchecked), (3, 3));
}

/// Builds a rotation of rows of 64 elements.
fn rope(arena: &Arena, kinds: [Type; 2], n_dims: i32, mode: i32, sections: [i32; 4], factors: Raw) -> Raw {
    let mut sections = sections;
    let positions = if mode & 8 == 0 { 3 } else { 12 };
    let (a, b) = (arena.tensor(kinds[0], &[64, 2, 3]), arena.tensor(kinds[1], &[positions]));
    let sections = sections.as_mut_ptr();
    make!(ggml_rope_multi, arena, a, b, factors, n_dims, sections, mode, 0, 1e4, 1.0, 0.0, 1.0, 32.0, 1.0)
}

#[test]
fn rotations() {
    vary("ROPE", [F32, I32], |arena, kinds| rope(arena, kinds, 64, 0, [0; 4], NONE));
    let mut tally = Tally::default();
    for mode in [0, 2, 8, 24, 40, 4, 6, 16, 128] {
        // Numbers below 2 never end, or cannot be told from others before they do.
        for n_dims in (1..=70).chain([i32::MAX, i32::MAX - 1]) {
            for sections in
                [[0; 4], [0, 0, 0, 4], [16, 8, 8, 0], [64, 0, 0, 0], [64, 1, 0, 0], [32, 32, 0, 1]]
            {
                let what = format!("ROPE mode {mode}, {n_dims} dimensions, sections {sections:?}");
                tally.compare(&what, |arena| rope(arena, [F32, I32], n_dims, mode, sections, NONE));
            }
        }
    }
    assert!(tally.accepted > 400 && tally.asserted > 400, "{tally:?}");
    for n_dims in [0, -2, i32::MIN] {
        let arena = Arena::new();
        let raw = rope(&arena, [F32, I32], n_dims, 0, [0; 4], NONE);
        // SAFETY: ggml has built the tensor.
        let node = crate::graph::tensor::Tensor::new(unsafe { &*raw });
        let condition = crate::graph::broken_condition(node).unwrap();
        assert!(condition.requires.contains("rope.dimension_count"), "{}", condition.requires);
    }
    let mut tally = Tally::default();
    for offset in [0, 1, 2, 31, 32, 33, 34, 63, 64] {
        tally.compare(&format!("ROPE from {offset}"), |arena| {
            let raw = rope(arena, [F32, I32], 32, 2, [0; 4], NONE);
            // SAFETY: the tensor is a rotation.
            unsafe { llama_sys::ggml_rope_set_offset(raw, offset) }
        });
    }
    assert_eq!((tally.accepted, tally.asserted), (3, 6), "{tally:?}");
    vary("ROPE with factors", [F32, I32, F32], |arena, [a, b, factors]| {
        let factors = arena.tensor(factors, &[256]);
        rope(arena, [a, b], 64, 0, [0; 4], factors)
    });
}

#[test]
fn functions_and_gates() {
    for function in 0..=llama_sys::ggml_unary_op::GGML_UNARY_OP_TRUNC.0 {
        let function = llama_sys::ggml_unary_op(function);
        let mut tally = Tally::default();
        for kind in types() {
            tally.compare(&format!("{function:?} of {kind:?}"), |arena| {
                make!(ggml_unary, arena, arena.tensor(kind, &[256, 4]), function)
            });
        }
        assert_eq!(tally.accepted, 3, "{function:?} {tally:?}");
    }
    for gate in 0..llama_sys::ggml_glu_op::GGML_GLU_OP_COUNT.0 {
        let gate = llama_sys::ggml_glu_op(gate);
        let mut tally = Tally::default();
        for kind in types() {
            tally.compare(&format!("{gate:?} of {kind:?}"), |arena| {
                make!(ggml_glu, arena, arena.tensor(kind, &[512, 4]), gate, false)
            });
            tally.compare(&format!("{gate:?} of two {kind:?}"), |arena| {
                let (a, b) = (arena.tensor(kind, &[256, 4]), arena.tensor(kind, &[256, 4]));
                make!(ggml_glu_split, arena, a, b, gate)
            });
        }
        assert!([4, 6].contains(&tally.accepted) && tally.asserted > 50, "{gate:?} {tally:?}");
    }
    vary("SQR", [F32], |arena, [a]| make!(ggml_sqr, arena, arena.tensor(a, &[256, 4])));
    vary("LEAKY_RELU", [F32], |arena, [a]| {
        make!(ggml_leaky_relu, arena, arena.tensor(a, &[256, 4]), 0.1, false)
    });
    vary("FILL", [F32], |arena, [a]| make!(ggml_fill, arena, arena.tensor(a, &[256, 4]), 1.0));
    vary("TRI", [F32], |arena, [a]| {
        make!(ggml_tri, arena, arena.tensor(a, &[256, 256]), llama_sys::ggml_tri_type::GGML_TRI_TYPE_LOWER)
    });
}

#[test]
fn sums_and_orders() {
    vary("SUM", [F32], |arena, [a]| make!(ggml_sum, arena, arena.tensor(a, &[256, 4])));
    vary("SUM_ROWS", [F32], |arena, [a]| make!(ggml_sum_rows, arena, arena.tensor(a, &[256, 4])));
    vary("MEAN", [F32], |arena, [a]| make!(ggml_mean, arena, arena.tensor(a, &[256, 4])));
    vary("CUMSUM", [F32], |arena, [a]| make!(ggml_cumsum, arena, arena.tensor(a, &[256, 4])));
    vary("ARGMAX", [F32], |arena, [a]| make!(ggml_argmax, arena, arena.tensor(a, &[256, 4])));
    vary("COUNT_EQUAL", [I32, I32], |arena, [a, b]| {
        make!(ggml_count_equal, arena, arena.tensor(a, &[256]), arena.tensor(b, &[256]))
    });
    vary("ARGSORT", [F32], |arena, [a]| {
        make!(
            ggml_argsort,
            arena,
            arena.tensor(a, &[256, 4]),
            llama_sys::ggml_sort_order::GGML_SORT_ORDER_DESC
        )
    });
    vary("TOP_K", [F32], |arena, [a]| make!(ggml_top_k, arena, arena.tensor(a, &[256, 4]), 8));
    vary("TOP_K_MASK", [F16, I32], |arena, [mask, top_k]| {
        let (mask, top_k) = (arena.tensor(mask, &[256, 4]), arena.tensor(top_k, &[8, 4]));
        make!(ggml_top_k_mask, arena, mask, top_k, NONE, NONE, NONE)
    });
}

#[test]
fn attention() {
    vary("SOFT_MAX", [F32, F16], |arena, [a, mask]| {
        let (a, mask) = (arena.tensor(a, &[256, 4, 2]), arena.tensor(mask, &[256, 4]));
        make!(ggml_soft_max_ext, arena, a, mask, 1.0, 0.0)
    });
    let tally = vary("FLASH_ATTN_EXT", [F16, F16, F32, F16], |arena, [k, v, q, mask]| {
        let (q, k, v) =
            (arena.tensor(q, &[256, 3, 4]), arena.tensor(k, &[256, 32, 2]), arena.tensor(v, &[256, 32, 2]));
        make!(ggml_flash_attn_ext, arena, q, k, v, arena.tensor(mask, &[32, 3]), 1.0, 0.0, 0.0)
    });
    assert!(tally.accepted > 100, "{tally:?}");
    vary("LIGHTNING_INDEXER", [F16, F32, F32, F16], |arena, [k, q, weights, mask]| {
        let (q, k) = (arena.tensor(q, &[256, 2, 3]), arena.tensor(k, &[256, 1, 32]));
        let (weights, mask) = (arena.tensor(weights, &[2, 3]), arena.tensor(mask, &[32, 3]));
        make!(ggml_lightning_indexer, arena, q, k, weights, mask)
    });
}

#[test]
fn recurrences() {
    vary("SSM_CONV", [F32, F32], |arena, [x, kernel]| {
        make!(ggml_ssm_conv, arena, arena.tensor(x, &[6, 8, 2]), arena.tensor(kernel, &[4, 8]))
    });
    let mut tally = Tally::default();
    // Heads must be a multiple of groups.
    for (heads, groups) in [(4, 1), (4, 2), (4, 4), (4, 3), (4, 8)] {
        for decay in [1, 16] {
            tally.compare(&format!("SSM_SCAN {heads} {groups} {decay}"), |arena| {
                let f32 = |shape: &[i64]| arena.tensor(F32, shape);
                let (s, x, dt) = (f32(&[16, 8, heads, 2]), f32(&[8, heads, 3, 2]), f32(&[heads, 3, 2]));
                let (a, b, c) = (f32(&[decay, heads]), f32(&[16, groups, 3, 2]), f32(&[16, groups, 3, 2]));
                make!(ggml_ssm_scan, arena, s, x, dt, a, b, c, arena.tensor(I32, &[2]), 1)
            });
        }
    }
    assert_eq!((tally.accepted, tally.asserted), (6, 4), "{tally:?}");
    vary("SSM_SCAN", [F32, F32, F32, F32, F32, F32, I32], |arena, [s, x, dt, a, b, c, ids]| {
        let (s, x) = (arena.tensor(s, &[256, 8, 4, 2]), arena.tensor(x, &[8, 4, 3, 2]));
        let (dt, a) = (arena.tensor(dt, &[4, 3, 2]), arena.tensor(a, &[1, 4]));
        let (b, c) = (arena.tensor(b, &[256, 1, 3, 2]), arena.tensor(c, &[256, 1, 3, 2]));
        make!(ggml_ssm_scan, arena, s, x, dt, a, b, c, arena.tensor(ids, &[2]), 1)
    });
    let shape = [32, 2, 4];
    let mut tally = Tally::default();
    for sequences in [1, 2, 3, 4, 8] {
        tally.compare(&format!("RWKV_WKV6 of {sequences}"), |arena| {
            let f32 = |shape: &[i64]| arena.tensor(F32, shape);
            let state = f32(&[32 * 32 * 2, sequences]);
            make!(
                ggml_rwkv_wkv6,
                arena,
                f32(&shape),
                f32(&shape),
                f32(&shape),
                f32(&[64]),
                f32(&shape),
                state
            )
        });
        tally.compare(&format!("GATED_LINEAR_ATTN of {sequences}"), |arena| {
            let f32 = |shape: &[i64]| arena.tensor(F32, shape);
            let state = f32(&[32 * 32 * 2, sequences]);
            make!(
                ggml_gated_linear_attn,
                arena,
                f32(&shape),
                f32(&shape),
                f32(&shape),
                f32(&shape),
                state,
                1.0
            )
        });
        tally.compare(&format!("RWKV_WKV7 of {sequences}"), |arena| {
            let f32 = |shape: &[i64]| arena.tensor(F32, shape);
            let state = f32(&[32 * 32 * 2, sequences]);
            let all: [Raw; 6] = core::array::from_fn(|_| f32(&shape));
            make!(ggml_rwkv_wkv7, arena, all[0], all[1], all[2], all[3], all[4], all[5], state)
        });
    }
    // ggml does not check that the sequences are complete.
    assert_eq!((tally.accepted, tally.unchecked + tally.asserted), (9, 6), "{tally:?}");
    vary("GATED_DELTA_NET", [F32; 6], |arena, [q, k, v, g, beta, state]| {
        let (q, k, v) = (
            arena.tensor(q, &[32, 2, 3, 1]),
            arena.tensor(k, &[32, 2, 3, 1]),
            arena.tensor(v, &[32, 4, 3, 1]),
        );
        let (g, beta) = (arena.tensor(g, &[1, 4, 3, 1]), arena.tensor(beta, &[1, 4, 3, 1]));
        make!(ggml_gated_delta_net, arena, q, k, v, g, beta, arena.tensor(state, &[32, 32, 4, 1]), 1)
    });
    vary("SOLVE_TRI", [F32, F32], |arena, [a, b]| {
        let (a, b) = (arena.tensor(a, &[32, 32]), arena.tensor(b, &[8, 32]));
        make!(ggml_solve_tri, arena, a, b, true, true, false)
    });
}

#[test]
fn convolutions() {
    vary("CONV_2D", [F32, F32], |arena, [kernel, x]| {
        let (kernel, x) = (arena.tensor(kernel, &[256, 2, 2, 3]), arena.tensor(x, &[256, 4, 2, 1]));
        make!(ggml_conv_2d_direct, arena, kernel, x, 1, 1, 0, 0, 1, 1)
    });
    vary("CONV_2D_DW", [F32, F32], |arena, [kernel, x]| {
        let (kernel, x) = (arena.tensor(kernel, &[256, 2, 1, 2]), arena.tensor(x, &[256, 4, 2, 1]));
        make!(ggml_conv_2d_dw_direct, arena, kernel, x, 1, 1, 0, 0, 1, 1)
    });
    vary("CONV_TRANSPOSE_1D", [F32, F32], |arena, [kernel, x]| {
        let (kernel, x) = (arena.tensor(kernel, &[256, 2, 3]), arena.tensor(x, &[256, 3]));
        make!(ggml_conv_transpose_1d, arena, kernel, x, 1, 0, 1)
    });
    for kind in [F32, F16] {
        vary("IM2COL", [F16, F32], if kind == F32 { im2col_f32 } else { im2col_f16 });
    }
    vary("POOL_1D", [F32], |arena, [x]| {
        make!(
            ggml_pool_1d,
            arena,
            arena.tensor(x, &[256, 4]),
            llama_sys::ggml_op_pool::GGML_OP_POOL_AVG,
            2,
            2,
            0
        )
    });
    vary("COL2IM_1D", [F32], |arena, [x]| make!(ggml_col2im_1d, arena, arena.tensor(x, &[256, 4]), 1, 1, 0));
}

fn im2col_f32(arena: &Arena, [kernel, x]: [Type; 2]) -> Raw {
    let (kernel, x) = (arena.tensor(kernel, &[256, 2, 3]), arena.tensor(x, &[256, 2]));
    make!(ggml_im2col, arena, kernel, x, 1, 0, 0, 0, 1, 0, false, F32)
}

fn im2col_f16(arena: &Arena, [kernel, x]: [Type; 2]) -> Raw {
    let (kernel, x) = (arena.tensor(kernel, &[256, 2, 3]), arena.tensor(x, &[256, 2]));
    make!(ggml_im2col, arena, kernel, x, 1, 0, 0, 0, 1, 0, false, F16)
}

#[test]
fn hyper_connections() {
    let mut tally = Tally::default();
    for iterations in [-1, 0, 1, 5] {
        tally.compare(&format!("DSV4_HC_COMB {iterations}"), |arena| {
            let f32 = |shape: &[i64]| arena.tensor(F32, shape);
            make!(ggml_dsv4_hc_comb, arena, f32(&[24, 3]), f32(&[3]), f32(&[24]), 1e-5, iterations)
        });
    }
    assert!(tally.accepted == 2 && tally.asserted + tally.unbuilt == 2, "{tally:?}");
    vary("DSV4_HC_PRE", [F32, F32], |arena, [x, weights]| {
        make!(ggml_dsv4_hc_pre, arena, arena.tensor(x, &[256, 4, 3]), arena.tensor(weights, &[4, 3]))
    });
    vary("DSV4_HC_POST", [F32, F32, F32, F32], |arena, [x, residual, post, comb]| {
        let (x, residual) = (arena.tensor(x, &[256, 3]), arena.tensor(residual, &[256, 4, 3]));
        let (post, comb) = (arena.tensor(post, &[4, 3]), arena.tensor(comb, &[4, 4, 3]));
        make!(ggml_dsv4_hc_post, arena, x, residual, post, comb)
    });
}

/// Tests that the factor types and the writable types equal ggml's.
#[test]
fn types_match_ggml() {
    use crate::graph::conditions::types::{can_pack, factor_of};
    for kind in types() {
        // SAFETY: below the number of types, the function returns an entry of a constant table (ggml-cpu.c).
        let traits = unsafe { &*llama_sys::ggml_get_type_traits_cpu(kind) };
        let factor = traits.vec_dot.map(|_| traits.vec_dot_type);
        assert_eq!(factor_of(kind), factor, "{kind:?}");
        assert_eq!(can_pack(kind), traits.from_float.is_some(), "{kind:?}");
    }
}
