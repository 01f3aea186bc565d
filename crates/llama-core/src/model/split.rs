//! Models in several files: their names, and the checks that the files belong together.

use core::ffi::c_char;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use llama_gguf::{Gguf, Split, Value};

use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::guarded;
use crate::ffi::string::path_to_c;

/// The largest number of files of a model, which is held in 16 bits.
const MAX_FILES: u32 = u16::MAX as u32;

/// Returns the name of a file of a split model: `split_path("model", 0, 3)` is `model-00001-of-00003.gguf`.
/// Corresponds to `llama_split_path`.
///
/// # Errors
///
/// [`ErrorKind::InvalidParameter`] if `index` is not below `count`, or `count` is 0 or above 65535.
/// [`ErrorKind::InteriorNul`] and [`ErrorKind::PathNotUnicode`] for the prefix.
pub fn split_path(prefix: impl AsRef<Path>, index: u32, count: u32) -> Result<PathBuf> {
    let prefix = path_to_c(prefix.as_ref())?;
    let (index, count) = numbers(index, count)?;
    // `-00001-of-00003.gguf`
    let mut buffer = vec![0_u8; prefix.as_bytes().len() + 32];
    // SAFETY: the prefix is NUL-terminated, and the buffer has `len` bytes.
    let length = unsafe {
        guarded!(llama_split_path(
            buffer.as_mut_ptr().cast::<c_char>(),
            buffer.len(),
            prefix.as_ptr(),
            index,
            count,
        ))
    }?;
    buffer.truncate(usize::try_from(length).unwrap_or(0));
    Ok(path_from_bytes(buffer))
}

/// Returns the prefix from which [`split_path`] created the name, or `None` if the name has another form, index or
/// count. Corresponds to `llama_split_prefix`.
///
/// # Errors
///
/// The errors of [`split_path`].
pub fn split_prefix(path: impl AsRef<Path>, index: u32, count: u32) -> Result<Option<PathBuf>> {
    let path = path_to_c(path.as_ref())?;
    let (index, count) = numbers(index, count)?;
    let mut buffer = vec![0_u8; path.as_bytes().len() + 1];
    // SAFETY: the path is NUL-terminated, and the buffer has `len` bytes.
    let length = unsafe {
        guarded!(llama_split_prefix(
            buffer.as_mut_ptr().cast::<c_char>(),
            buffer.len(),
            path.as_ptr(),
            index,
            count,
        ))
    }?;
    buffer.truncate(usize::try_from(length).unwrap_or(0));
    Ok((!buffer.is_empty()).then(|| path_from_bytes(buffer)))
}

fn numbers(index: u32, count: u32) -> Result<(i32, i32)> {
    let refuse = |name, value: u32, reason: String| Err(ParameterProblem::new(name, value, reason).into());
    if count == 0 || count > MAX_FILES {
        return refuse("count", count, format!("from 1 to {MAX_FILES}"));
    }
    if index >= count {
        return refuse("index", index, format!("below the number of files (0..{count})"));
    }
    Ok((i32::try_from(index).unwrap_or(0), i32::try_from(count).unwrap_or(1)))
}

#[cfg(unix)]
fn path_from_bytes(bytes: Vec<u8>) -> PathBuf {
    let text: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(bytes);
    text.into()
}

#[cfg(not(unix))]
fn path_from_bytes(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// Returns the files of the model whose first file is given: the file itself, or all files by its name and count.
pub(super) fn siblings(path: &Path, gguf: &Gguf) -> Result<Vec<PathBuf>> {
    let Some(split) = part(path, gguf)? else {
        return Ok(vec![path.to_owned()]);
    };
    let (index, count) = (u32::from(split.index), u32::from(split.count));
    let Some(prefix) = split_prefix(path, index, count)? else {
        let reason = format!(
            "it is file {} of {count}, but its name does not end in {}: rename it, or give all files to \
             Model::load_splits",
            index + 1,
            split_path("", index, count)?.display()
        );
        return refuse(path, reason);
    };
    if index != 0 {
        let first = split_path(prefix, 0, count)?;
        return refuse(
            path,
            format!("it is file {} of {count}: give the first, {}", index + 1, first.display()),
        );
    }
    (0..count).map(|index| split_path(&prefix, index, count)).collect()
}

/// Checks that the files are all files of one model, in order.
pub(super) fn check(paths: &[PathBuf], files: &[Gguf]) -> Result<()> {
    let parts = paths.iter().zip(files).map(|(path, gguf)| Ok((path, part(path, gguf)?)));
    let parts: Vec<(&PathBuf, Option<Part>)> = parts.collect::<Result<_>>()?;
    let given = paths.len();
    if let [(_, None)] = parts.as_slice() {
        return Ok(());
    }
    for (position, (path, part)) in parts.iter().enumerate() {
        let Some(part) = part else {
            return refuse(
                path,
                format!("it is a complete model, but one of {given} given files: give it alone"),
            );
        };
        if usize::from(part.count) != given {
            return refuse(path, format!("it is one of {} files, but {given} were given", part.count));
        }
        if usize::from(part.index) != position {
            let (number, place) = (u32::from(part.index) + 1, position + 1);
            return refuse(path, format!("it is file {number} of {given}, but was given as number {place}"));
        }
    }
    check_tensors(paths, files)
}

/// Checks that the files hold each tensor once, and as many as the first file announces.
fn check_tensors(paths: &[PathBuf], files: &[Gguf]) -> Result<()> {
    let (Some(path), Some(gguf)) = (paths.first(), files.first()) else {
        return Ok(());
    };
    let mut seen = HashSet::new();
    for (path, gguf) in paths.iter().zip(files) {
        if let Some(tensor) = gguf.tensors().iter().find(|tensor| !seen.insert(tensor.name())) {
            return refuse(path, format!("its tensor {} is also in an earlier file", tensor.name()));
        }
    }
    match gguf.metadata().value(Split::TENSORS) {
        _ if files.len() == 1 => Ok(()),
        Some(Value::I32(count)) if usize::try_from(*count) == Ok(seen.len()) => Ok(()),
        Some(Value::I32(count)) => {
            refuse(path, format!("it announces {count} tensors, but the files hold {}", seen.len()))
        }
        _ => {
            refuse(path, format!("its {} is missing or of another type, but must be an i32", Split::TENSORS))
        }
    }
}

/// The place of a file in a split model.
#[derive(Clone, Copy, Debug)]
struct Part {
    index: u16,
    count: u16,
}

/// Returns the place of a file, or `None` if it is not part of a split model. llama.cpp asserts on the type of these
/// numbers (llama-model-loader.cpp).
fn part(path: &Path, gguf: &Gguf) -> Result<Option<Part>> {
    let number = |key| match gguf.metadata().value(key) {
        Some(Value::U16(number)) => Ok(*number),
        _ => refuse(path, format!("its {key} is missing or of another type, but must be a u16")),
    };
    if !gguf.metadata().contains(Split::COUNT) || number(Split::COUNT)? <= 1 {
        return Ok(None);
    }
    Ok(Some(Part { index: number(Split::NUMBER)?, count: number(Split::COUNT)? }))
}

fn refuse<T>(path: &Path, reason: String) -> Result<T> {
    Err(ErrorKind::Split { path: path.to_owned(), reason }.into())
}
