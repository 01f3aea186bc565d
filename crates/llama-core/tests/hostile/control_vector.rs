//! Control vectors: invalid files, and contexts of other models.

use core::ops::Bound;
use std::fs;

use llama_core::{Context, ControlVector};
use tempfile::TempDir;
use test_models::{Tiny, Tuned};

use crate::Case;
use crate::damage::damaged;
use crate::memory::go_on;
use crate::parts::changed;
use crate::subjects::{Subjects, each_context};
use crate::values::{F32, U32, paths, short};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("ControlVector::from_slice", from_slice),
    ("ControlVector::load", load),
    ("ControlVector::add", add),
    ("ControlVector::n_embd", |walk, _| each(walk, |vector| _ = vector.n_embd())),
    ("ControlVector::last_layer", |walk, _| each(walk, |vector| _ = vector.last_layer())),
    ("ControlVector::direction", |walk, _| {
        each(walk, |vector| {
            for layer in U32 {
                assert!(vector.direction(layer).is_none_or(|row| row.len() == vector.n_embd() as usize));
            }
        });
    }),
    ("Context::set_control_vector", set),
    ("Context::clear_control_vector", |walk, subjects| {
        each_context(walk, subjects, |walk, context| {
            (0..2).for_each(|_| _ = walk.call("", || context.clear_control_vector()));
        });
    }),
];

/// Returns narrow and wide, short and long vectors, some of the tiny models' width.
fn all() -> Vec<ControlVector> {
    let of = |n_embd: u32, layers: usize, value| {
        ControlVector::from_slice(n_embd, &vec![value; n_embd as usize * layers]).unwrap()
    };
    let mut all = vec![of(1, 1, 0.0), of(1, 1000, 1.0), of(100_000, 1, f32::MAX)];
    all.extend([1, 2, 3, 1000].map(|layers| of(64, layers, 1.0)));
    all.extend([f32::MAX, f32::MIN, 1e-40].map(|value| of(64, 1, value)));
    all.push(ControlVector::load(Tuned::ControlVector.path(), 1.0).unwrap());
    all
}

fn each(walk: &mut Walk, with: impl Fn(&ControlVector)) {
    all().iter().for_each(|vector| walk.run(vector.n_embd(), || with(vector)));
}

fn from_slice(walk: &mut Walk, _: &mut Subjects) {
    for n_embd in U32 {
        for (n, value) in [0, 1, 2, 7, 64, 256, 257, 1000].into_iter().zip(F32.into_iter().cycle()) {
            for value in [value, f32::NAN] {
                walk.call(format!("{n} of {value} for {n_embd}"), || {
                    ControlVector::from_slice(n_embd, &vec![value; n])
                });
            }
        }
    }
}

fn load(walk: &mut Walk, subjects: &mut Subjects) {
    for path in
        paths().into_iter().chain(Tuned::ALL.iter().map(|tuned| tuned.path())).chain([Tiny::T5.path()])
    {
        for strength in F32 {
            walk.call(format!("{} {strength}", short(&path)), || ControlVector::load(&path, strength));
        }
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("vector");
    let good = Tuned::ControlVector.bytes();
    let mut loaded = Vec::new();
    for (what, bytes) in damaged(&good, 500, 1).chain(changed(&good)) {
        fs::write(&path, bytes).unwrap();
        loaded.extend(walk.call(what, || ControlVector::load(&path, 1.0)));
    }
    let mut left = 3;
    each_context(walk, subjects, |walk, context| {
        if left > 0 && !walk.is_poisoned() {
            left -= 1;
            loaded.iter().for_each(|vector| try_it(walk, context, vector));
        }
    });
}

/// Sets it for all layers, computes, and removes it.
fn try_it(walk: &mut Walk, context: &mut Context, vector: &ControlVector) {
    walk.call(format!("{} wide", vector.n_embd()), || context.set_control_vector(vector, ..));
    go_on(walk, context);
    walk.call("cleared", || context.clear_control_vector());
}

fn add(walk: &mut Walk, _: &mut Subjects) {
    let all = all();
    for (index, other) in all.iter().enumerate() {
        for (vector, strength) in all.iter().flat_map(|vector| F32.map(|strength| (vector, strength))) {
            let mut sum = vector.clone();
            let added = walk.call(format!("{strength} of {index}"), || sum.add(other, strength));
            assert!(added.is_some() || sum == *vector);
        }
    }
}

fn set(walk: &mut Walk, subjects: &mut Subjects) {
    let all = all();
    let ends: Vec<Bound<u32>> = [0, 1, 2, u32::MAX]
        .into_iter()
        .flat_map(|end| [Bound::Included(end), Bound::Excluded(end)])
        .chain([Bound::Unbounded])
        .collect();
    each_context(walk, subjects, |walk, context| {
        let own = context.model().n_embd();
        let own = ControlVector::from_slice(own, &vec![0.5; own as usize]).unwrap();
        for range in ends.iter().flat_map(|start| ends.iter().map(move |end| (*start, *end))) {
            walk.call(format!("{range:?}"), || context.set_control_vector(&own, range));
        }
        go_on(walk, context);
        all.iter().for_each(|vector| try_it(walk, context, vector));
    });
}
