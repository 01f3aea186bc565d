//! Checks of a whole file before other code trusts it.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::Error;
use crate::reader::{Gguf, open_regular};
use crate::split::Split;
use crate::text::Text;

/// The key that names the kind of model in a file.
const ARCHITECTURE: &str = "general.architecture";

/// Checks that a file is a complete GGUF file that names its architecture, and returns its head.
///
/// The function refuses everything that llama.cpp's reader refuses, with the byte and the reason, and accepts
/// everything that llama.cpp can load. It reads only the head, so the cost does not depend on the size of the model.
/// For files that are not models or adapters, see [`validate_structure`].
///
/// # Errors
/// [`Error::InFile`] around the reason: the path ([`Error::NotFound`], [`Error::Directory`],
/// [`Error::NotRegular`]), the header ([`Error::Empty`], [`Error::NotGguf`], [`Error::BigEndian`],
/// [`Error::UnsupportedVersion`]), its end ([`Error::Truncated`], [`Error::TruncatedData`]), its contents
/// ([`Error::Corrupt`]), or `general.architecture` ([`Error::MissingKey`], [`Error::WrongValueType`]).
///
/// ```
/// let error = llama_gguf::validate_file("Cargo.toml").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "Cargo.toml: not a GGUF file: it begins with \"[package]\\nname =\" instead of \"GGUF\"; \
///      it looks like a text file"
/// );
/// ```
pub fn validate_file(path: impl AsRef<Path>) -> Result<Gguf, Error> {
    let path = path.as_ref();
    let (file, _) = open_regular(path).map_err(|error| error.in_file(path))?;
    validate_open(path, &file)
}

/// Checks that a file is a complete GGUF file, whatever its purpose, and returns its head.
///
/// # Errors
/// The errors of [`validate_file`], except that `general.architecture` may be missing.
pub fn validate_structure(path: impl AsRef<Path>) -> Result<Gguf, Error> {
    let path = path.as_ref();
    let (file, _) = open_regular(path).map_err(|error| error.in_file(path))?;
    validate_open_structure(path, &file)
}

/// Checks an open file as [`validate_file`] does, from its beginning, so that later reads see the bytes that were
/// checked even when another file takes its name. `path` is the name in errors. The position of the handle moves.
///
/// # Errors
/// The errors of [`validate_file`].
///
/// ```
/// let (file, _) = llama_gguf::open_regular("Cargo.toml")?;
/// let error = llama_gguf::validate_open("model", &file).unwrap_err();
/// assert!(error.to_string().starts_with("model: not a GGUF file"));
/// # Ok::<(), llama_gguf::Error>(())
/// ```
pub fn validate_open(path: impl AsRef<Path>, file: &File) -> Result<Gguf, Error> {
    let path = path.as_ref();
    let gguf = validate_open_structure(path, file)?;
    check_architecture(&gguf).map_err(|error| error.in_file(path))?;
    Ok(gguf)
}

/// Checks an open file as [`validate_structure`] does: see [`validate_open`].
///
/// # Errors
/// The errors of [`validate_structure`].
pub fn validate_open_structure(path: impl AsRef<Path>, file: &File) -> Result<Gguf, Error> {
    check_structure(file).map_err(|error| error.in_file(path.as_ref()))
}

/// Checks the GGUF file that begins at byte `offset` of a larger file, with any bytes after it, and returns its head.
/// Positions in the head and in errors count from `offset`.
///
/// # Errors
/// The errors of [`validate_file`], without the path around them; [`Error::Empty`] if there are no bytes at `offset`.
///
/// ```
/// use std::io::Cursor;
///
/// let mut writer = llama_gguf::Writer::new();
/// writer.set("general.architecture", "demo");
/// let mut file = b"something else".to_vec();
/// writer.write_to(&mut file)?;
/// let gguf = llama_gguf::validate_embedded(&mut Cursor::new(file), 14)?;
/// assert_eq!(gguf.metadata().get::<&str>("general.architecture")?, "demo");
/// # Ok::<(), llama_gguf::Error>(())
/// ```
pub fn validate_embedded(file: &mut (impl Read + Seek), offset: u64) -> Result<Gguf, Error> {
    let failed = |cause| Error::Read { offset: 0, cause };
    let length = file.seek(SeekFrom::End(0)).map_err(failed)?.saturating_sub(offset);
    if length == 0 {
        return Err(Error::Empty);
    }
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let gguf = Gguf::read_sized(BufReader::new(file), length)?;
    check_length(&gguf, length)?;
    check_architecture(&gguf)?;
    Ok(gguf)
}

fn check_structure(mut file: &File) -> Result<Gguf, Error> {
    let failed = |cause| Error::Read { offset: 0, cause };
    let length = file.metadata().map_err(failed)?.len();
    file.rewind().map_err(failed)?;
    let gguf = Gguf::read_sized(BufReader::new(file), length)?;
    check_length(&gguf, length)?;
    Ok(gguf)
}

/// Checks that the file holds all tensors. The padding after the last one may be missing, because llama.cpp never
/// reads it.
fn check_length(gguf: &Gguf, length: u64) -> Result<(), Error> {
    // Tensors follow each other, so the first incomplete one is the first that ends past the file. A tensor of no
    // bytes still needs the file to reach the data section.
    match gguf.tensors().iter().find(|info| gguf.tensor_range(info).end > length) {
        Some(info) => Err(gguf.truncated(info, length)),
        None => Ok(()),
    }
}

/// Checks that the file names its architecture. The later parts of a split model hold tensors only.
fn check_architecture(gguf: &Gguf) -> Result<(), Error> {
    let later_part = matches!(Split::of(gguf.metadata()), Ok(Some(split)) if split.number > 0);
    match gguf.metadata().find::<&Text>(ARCHITECTURE)? {
        None if !later_part => Err(Error::MissingKey { key: ARCHITECTURE.to_owned() }),
        _ => Ok(()),
    }
}
