//! Hostile arguments.

use core::ops::Bound;
use std::path::{Path, PathBuf};

pub(crate) const I32: [i32; 14] =
    [0, 1, -1, 2, 5, 255, 256, 511, 512, 100_000, i32::MAX - 1, i32::MAX, i32::MIN, i32::MIN + 1];
pub(crate) const U32: [u32; 11] = [0, 1, 2, 7, 256, 257, 512, 513, i32::MAX as u32, 1 << 31, u32::MAX];
pub(crate) const USIZE: [usize; 9] = [0, 1, 2, 255, 256, 1 << 31, 1 << 32, usize::MAX - 1, usize::MAX];
pub(crate) const F32: [f32; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-40,
    1e-6,
    1e6,
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
];
pub(crate) const BOOLS: [bool; 2] = [false, true];

/// Returns texts with everything unexpected.
pub(crate) fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\0",
        "a\0b",
        "\n\r\n\t",
        "Hello world",
        "\u{feff}\u{ee00}\u{2581}\u{120}",
        "e\u{301}\u{200d}\u{10ffff}\u{d7ff}",
        "<s></s><unk><|im_end|><|plamo:bos|>[CLS]<0x0A>\\x00\\",
        "%s%n%d{}",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("a".repeat(100_000));
    texts.push("\u{1f999}".repeat(3000));
    texts.push("\u{301}".repeat(3000));
    texts.push(" \n".repeat(10_000));
    texts
}

/// Returns ranges with both ends of every kind, forwards and backwards.
pub(crate) fn ranges() -> Vec<(Bound<i32>, Bound<i32>)> {
    let ends = [-1, 0, 1, 3, i32::MAX, i32::MIN];
    let mut bounds = vec![Bound::Unbounded];
    bounds.extend(ends.iter().flat_map(|end| [Bound::Included(*end), Bound::Excluded(*end)]));
    bounds.iter().flat_map(|start| bounds.iter().map(|end| (*start, *end))).collect()
}

/// Returns paths that cannot be read, or hold no file of this crate.
pub(crate) fn paths() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        ["", ".", "/", "/nowhere", "a\0b", "/dev/null", "/dev/zero", "/proc/self/mem"]
            .map(PathBuf::from)
            .to_vec();
    paths.push("x".repeat(10_000).into());
    paths.push(std::env::current_exe().unwrap());
    paths
}

/// Returns paths that cannot be written. Devices are left out, because a saved file would replace them.
pub(crate) fn targets(folder: &Path) -> Vec<PathBuf> {
    let file = folder.join("a file");
    std::fs::write(&file, "in place of a folder").unwrap();
    let mut paths: Vec<PathBuf> = ["", ".", "..", "/", "/nowhere/at all", "a\0b"].map(PathBuf::from).to_vec();
    paths.extend([folder.to_owned(), file.join("below"), folder.join("x".repeat(10_000))]);
    paths
}

/// Returns the beginning of a path, for a step.
pub(crate) fn short(path: &Path) -> String {
    format!("{:.80}", path.to_string_lossy().escape_debug().to_string())
}
