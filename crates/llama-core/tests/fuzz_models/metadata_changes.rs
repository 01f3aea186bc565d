//! Makes metadata wrong.

use llama_gguf::{Array, Metadata, Value};

use crate::random::Random;
use crate::tree_names::KEYS;

/// Numbers at which behaviour changes: sizes, limits of llama.cpp's arrays, the ends of the integers.
const NUMBERS: [u32; 34] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    12,
    15,
    16,
    17,
    24,
    31,
    32,
    33,
    34,
    48,
    63,
    64,
    65,
    96,
    127,
    128,
    256,
    257,
    512,
    513,
    1024,
    1025,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
];
const FLOATS: [f32; 12] =
    [0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, -1e30, 0.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];

/// Changes metadata and describes the change.
pub(crate) fn apply(random: &mut Random, architecture: &str, metadata: &mut Metadata) -> String {
    let key = key(random, architecture, metadata);
    let old = metadata.value(&key).cloned();
    if random.once_in(8) && old.is_some() {
        metadata.remove(&key);
        return format!("without {key}");
    }
    let value = match &old {
        Some(old) if !random.once_in(10) => changed(random, old),
        _ => any(random),
    };
    let change = format!("{key} is {value:?}");
    metadata.set(key, value);
    change
}

/// Returns mostly a key of the model, or another that llama.cpp knows.
fn key(random: &mut Random, architecture: &str, metadata: &Metadata) -> String {
    let prefix = format!("{architecture}.");
    let names = ["general.architecture", "tokenizer.ggml.model"];
    let present: Vec<&str> =
        metadata.iter().filter_map(|(key, _)| key.as_str()).filter(|key| !names.contains(key)).collect();
    if random.once_in(5) || present.is_empty() {
        return format!("{prefix}{}", random.pick(KEYS));
    }
    random.pick(&present).to_owned()
}

fn number(random: &mut Random) -> u32 {
    if random.once_in(10) {
        u32::MAX - u32::try_from(random.below(40)).unwrap()
    } else {
        random.pick(&NUMBERS)
    }
}

/// Returns a value similar to the old one.
fn changed(random: &mut Random, old: &Value) -> Value {
    match old {
        Value::U32(old) => near(random, *old).into(),
        Value::F32(_) => random.pick(&FLOATS).into(),
        Value::Bool(old) => (!old).into(),
        Value::Array(Array::U32(old)) => list(random, old, number).into(),
        Value::Array(Array::I32(old)) => list(random, old, |random| number(random).cast_signed()).into(),
        Value::Array(Array::F32(old)) => list(random, old, |random| random.pick(&FLOATS)).into(),
        _ => any(random),
    }
}

fn near(random: &mut Random, old: u32) -> u32 {
    match random.below(8) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => old.wrapping_mul(2),
        3 => old / 2,
        _ => number(random),
    }
}

/// Returns a list of another length, or with other elements.
fn list<T: Copy>(random: &mut Random, old: &[T], mut element: impl FnMut(&mut Random) -> T) -> Vec<T> {
    let mut list = old.to_vec();
    match random.below(6) {
        0 => list.truncate(random.below(list.len() + 1)),
        1 => (0..=random.below(4)).for_each(|_| list.push(element(random))),
        2 => list.clear(),
        3 => {
            let value = element(random);
            list.fill(value);
        }
        _ if !list.is_empty() => {
            let at = random.below(list.len());
            list[at] = element(random);
        }
        _ => list.push(element(random)),
    }
    list
}

/// Returns a value of any type.
fn any(random: &mut Random) -> Value {
    let number = number(random);
    let length = random.pick(&[0, 1, 2, 3, 4, 4, 4, 5, 8, 512, 513]);
    match random.below(12) {
        0..=3 => number.into(),
        4 => number.cast_signed().into(),
        5 => u64::from(number).into(),
        6 => random.pick(&FLOATS).into(),
        7 => random.once_in(2).into(),
        8 => random.pick(&["", "linear", "yarn", "gelu", "none", "x"]).into(),
        9 => vec![number; length].into(),
        10 => vec![number.cast_signed(); length].into(),
        _ => vec![random.pick(&FLOATS); length].into(),
    }
}
