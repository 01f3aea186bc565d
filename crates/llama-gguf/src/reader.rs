//! Reads the head of a file: header, metadata and tensor table.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use crate::error::Error;
use crate::flaw::Flaw;
use crate::metadata::Metadata;
use crate::source::Source;
use crate::tensor::{MAX_DIMENSIONS, MAX_NAME, TensorInfo};
use crate::tensor_type::TensorType;
use crate::text::Text;
use crate::value::{Array, Value, ValueType};

/// The version of the format that [`Writer`](crate::Writer) writes. Corresponds to `GGUF_VERSION`.
pub const VERSION: u32 = 3;

/// The oldest supported version of the format.
pub const OLDEST_VERSION: u32 = 2;

/// The alignment of tensor data in a file that does not set it. Corresponds to `GGUF_DEFAULT_ALIGNMENT`.
pub const DEFAULT_ALIGNMENT: u32 = 32;

/// The key that sets the alignment.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";

/// The longest array that llama.cpp reads, in elements.
const MAX_ARRAY: u64 = 1 << 30;

/// The head of a GGUF file: everything except the tensor data.
///
/// Reading makes all checks that llama.cpp makes on this part of a file. [`validate_file`](crate::validate_file) also
/// checks that the tensor data is present.
#[derive(Clone, Debug)]
pub struct Gguf {
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    index: HashMap<Text, usize>,
    alignment: u32,
    data_offset: u64,
    data_bytes: u64,
}

impl Gguf {
    /// Reads the head of a file.
    ///
    /// # Errors
    /// [`Error::InFile`] around any error except those of writing.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let (file, length) = open_regular(path).map_err(|error| error.in_file(path))?;
        Self::parse(BufReader::new(file), Some(length)).map_err(|error| error.in_file(path))
    }

    /// Reads the head of a file that is in memory. The tensor data may be missing.
    ///
    /// # Errors
    /// The errors of [`Gguf::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse(bytes, Some(bytes.len() as u64))
    }

    /// Reads the head of a file from a stream, and stops after its last byte.
    ///
    /// There are many small reads: wrap files and sockets in a [`BufReader`].
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Corrupt`] and the errors of the header, if llama.cpp would not read it as a
    /// GGUF file; [`Error::Read`] if the stream fails.
    pub fn read(reader: impl Read) -> Result<Self, Error> {
        Self::parse(reader, None)
    }

    /// Reads as [`Gguf::read`] does, from a stream of known length, so that an impossible length in the file is found
    /// early.
    pub(crate) fn read_sized(reader: impl Read, length: u64) -> Result<Self, Error> {
        Self::parse(reader, Some(length))
    }

    fn parse(reader: impl Read, length: Option<u64>) -> Result<Self, Error> {
        let mut source = Source::new(reader, length);
        let version = read_version(&mut source)?;
        let tensor_count = read_count(&mut source, "tensors")?;
        let pair_count = read_count(&mut source, "metadata keys")?;
        let (metadata, alignment) = read_metadata(&mut source, pair_count)?;
        let mut gguf = Self {
            version,
            metadata,
            tensors: Vec::new(),
            index: HashMap::new(),
            alignment,
            data_offset: 0,
            data_bytes: 0,
        };
        for number in 0..tensor_count {
            gguf.read_tensor_info(&mut source, number)?;
        }
        gguf.data_offset = match gguf.tensors.is_empty() {
            true => source.offset(),
            false => source.offset().next_multiple_of(alignment.into()),
        };
        gguf.check_data_end(source.offset())?;
        Ok(gguf)
    }

    fn read_tensor_info(&mut self, source: &mut Source<impl Read>, number: u64) -> Result<(), Error> {
        let at = source.offset();
        let corrupt = |flaw| Error::Corrupt { offset: at, flaw };
        let name = source.text(format_args!("the name of tensor {number}"))?;
        if name.len() > MAX_NAME {
            return Err(corrupt(Flaw::NameLength { name: name.excerpt(), length: name.len() }));
        }
        if self.index.contains_key(&name) {
            return Err(corrupt(Flaw::DuplicateTensor { name: name.to_string() }));
        }
        let item = format_args!("the description of tensor \"{name}\"");
        let dimensions = source.u32(item)?;
        let count = usize::try_from(dimensions).unwrap_or(usize::MAX);
        if count > MAX_DIMENSIONS {
            return Err(corrupt(Flaw::Dimensions { name: name.to_string(), count }));
        }
        let shape = source.numbers(count as u64, u64::from_le_bytes, item)?;
        let id = source.u32(item)?;
        let tensor_type = TensorType::from_id(id)
            .ok_or_else(|| corrupt(Flaw::TensorType { name: name.to_string(), id }))?;
        let offset = source.u64(item)?;
        let info = TensorInfo::new(name.clone(), tensor_type, shape.clone())
            .map_err(|error| corrupt(Flaw::from_shape(error, name.to_string(), &shape)))?;
        self.place(info, offset).map_err(corrupt)
    }

    /// Adds a tensor to the table if its data directly follows the previous tensor.
    fn place(&mut self, info: TensorInfo, offset: u64) -> Result<(), Flaw> {
        let alignment = u64::from(self.alignment);
        let name = info.name();
        if offset != self.data_bytes {
            let expected = self.data_bytes;
            return Err(Flaw::Offset { name: name.to_string(), offset, expected, alignment });
        }
        self.data_bytes = info
            .bytes()
            .checked_next_multiple_of(alignment)
            .and_then(|padded| self.data_bytes.checked_add(padded))
            .ok_or_else(|| Flaw::DataOverflow { name: name.to_string() })?;
        self.index.insert(name.clone(), self.tensors.len());
        self.tensors.push(info.at(offset));
        Ok(())
    }

    /// Checks that positions in the file can be computed without overflow.
    fn check_data_end(&self, offset: u64) -> Result<(), Error> {
        let Some(last) = self.tensors.last() else { return Ok(()) };
        match self.data_offset.checked_add(self.data_bytes) {
            Some(_) => Ok(()),
            None => {
                Err(Error::Corrupt { offset, flaw: Flaw::DataOverflow { name: last.name().to_string() } })
            }
        }
    }

    /// Returns the version of the format, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the key/value pairs.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the tensors in the order of the file.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Returns the tensor with this name.
    #[must_use]
    pub fn tensor(&self, name: impl AsRef<[u8]>) -> Option<&TensorInfo> {
        self.index.get(name.as_ref()).map(|&at| &self.tensors[at])
    }

    /// Returns the alignment of every tensor's data in bytes, a power of two.
    #[must_use]
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    /// Returns the offset of the data section in the file, in bytes. Corresponds to `gguf_get_data_offset`.
    #[must_use]
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// Returns the size of the data section in bytes, with the padding after the last tensor.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Returns the range of bytes in the file that holds a tensor's data.
    #[must_use]
    pub fn tensor_range(&self, info: &TensorInfo) -> Range<u64> {
        let start = self.data_offset.saturating_add(info.offset());
        start..start.saturating_add(info.bytes())
    }

    /// Returns the data of a tensor in a file that is in memory or mapped.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], or [`Error::TruncatedData`] if `file` ends before the data.
    pub fn tensor_data<'a>(&self, file: &'a [u8], name: &str) -> Result<&'a [u8], Error> {
        let info = self.known(name)?;
        let range = self.tensor_range(info);
        let ends = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        ends.and_then(|(start, end)| file.get(start..end))
            .ok_or_else(|| self.truncated(info, file.len() as u64))
    }

    /// Reads the data of a tensor.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TruncatedData`] if `file` ends before the data, or [`Error::Read`].
    pub fn read_tensor(&self, file: &mut (impl Read + Seek), name: &str) -> Result<Vec<u8>, Error> {
        let info = self.known(name)?;
        let range = self.tensor_range(info);
        let failed = |cause| Error::Read { offset: range.start, cause };
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        let mut data = Vec::new();
        file.take(info.bytes()).read_to_end(&mut data).map_err(failed)?;
        match data.len() as u64 {
            read if read == info.bytes() => Ok(data),
            read => Err(self.truncated(info, range.start + read)),
        }
    }

    fn known(&self, name: &str) -> Result<&TensorInfo, Error> {
        self.tensor(name).ok_or_else(|| Error::MissingTensor { name: name.to_owned() })
    }

    /// Returns the error for a file of `length` bytes that is too short for this tensor.
    pub(crate) fn truncated(&self, info: &TensorInfo, length: u64) -> Error {
        let Range { start: offset, end } = self.tensor_range(info);
        Error::TruncatedData { name: info.name().to_string(), offset, end, length }
    }
}

/// Opens a regular file for reading, and returns it with its length in bytes. Refuses pipes and devices, whose
/// opening would wait for the other end.
///
/// # Errors
///
/// [`Error::NotFound`], [`Error::Directory`], [`Error::NotRegular`] for pipes and devices, [`Error::Read`].
pub fn open_regular(path: impl AsRef<Path>) -> Result<(File, u64), Error> {
    let path = path.as_ref();
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => Error::NotFound,
        _ => Error::Read { offset: 0, cause },
    };
    let check = |metadata: &fs::Metadata| match () {
        () if metadata.is_dir() => Err(Error::Directory),
        () if !metadata.is_file() => Err(Error::NotRegular),
        () => Ok(metadata.len()),
    };
    // Checked before opening, because opening a pipe waits for its other end.
    check(&path.metadata().map_err(failed)?)?;
    let file = File::open(path).map_err(failed)?;
    // Checked again on the open file, which may be another one than a moment ago.
    let length = check(&file.metadata().map_err(failed)?)?;
    Ok((file, length))
}

fn read_version(source: &mut Source<impl Read>) -> Result<u32, Error> {
    let magic = source.up_to(4)?;
    if magic.is_empty() {
        return Err(Error::Empty);
    }
    if !b"GGUF".starts_with(&magic) {
        return Err(not_gguf(magic, &source.up_to(60)?));
    }
    if magic.len() < 4 {
        let (needed, available) = (4, magic.len() as u64);
        return Err(Error::Truncated { offset: 0, item: "the magic number".into(), needed, available });
    }
    let version = source.u32(format_args!("the version"))?;
    match version {
        OLDEST_VERSION..=VERSION => Ok(version),
        // The lower half of a small number with swapped bytes is zero.
        _ if version != 0 && version & 0xffff == 0 => Err(Error::BigEndian { version }),
        _ => Err(Error::UnsupportedVersion { version }),
    }
}

fn not_gguf(mut head: Vec<u8>, more: &[u8]) -> Error {
    head.extend_from_slice(more);
    let hint = if head.starts_with(b"version https://git-lfs") {
        "it is a Git LFS pointer, run `git lfs pull` to get the file itself"
    } else if head.starts_with(b"<") {
        "it looks like a web page, perhaps an error page of a download"
    } else if head.starts_with(b"PK") {
        "it looks like a zip archive or a PyTorch checkpoint, convert it to GGUF first"
    } else if head.get(8..10) == Some(b"{\"") {
        "it looks like safetensors, convert it to GGUF first"
    } else if head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        "it looks like a text file"
    } else if matches!(&head[..4.min(head.len())], b"tjgg" | b"lmgg" | b"fmgg" | b"algg") {
        "it is in a format from before GGUF, convert the model again"
    } else {
        "check that it is the right file"
    };
    head.truncate(16);
    Error::NotGguf { begins: head.escape_ascii().to_string(), hint }
}

fn read_count(source: &mut Source<impl Read>, what: &'static str) -> Result<u64, Error> {
    let offset = source.offset();
    let count = source.u64(format_args!("the number of {what}"))?;
    if i64::try_from(count).is_err() {
        return Err(Error::Corrupt { offset, flaw: Flaw::Count { what, count } });
    }
    Ok(count)
}

fn read_metadata(source: &mut Source<impl Read>, count: u64) -> Result<(Metadata, u32), Error> {
    let mut metadata = Metadata::new();
    let mut alignment = DEFAULT_ALIGNMENT;
    for index in 0..count {
        let offset = source.offset();
        let corrupt = |flaw| Error::Corrupt { offset, flaw };
        let key = source.text(format_args!("metadata key {index}"))?;
        if key.is_empty() {
            return Err(corrupt(Flaw::EmptyKey { index }));
        }
        if metadata.contains(&key) {
            return Err(corrupt(Flaw::DuplicateKey { key: key.excerpt() }));
        }
        let value = read_value(source, &key)?;
        if key == ALIGNMENT_KEY {
            alignment = checked_alignment(&value).map_err(corrupt)?;
        }
        metadata.set(key, value);
    }
    Ok((metadata, alignment))
}

/// Returns the alignment that a value of `general.alignment` sets.
pub(crate) fn checked_alignment(value: &Value) -> Result<u32, Flaw> {
    match *value {
        Value::U32(alignment) if alignment.is_power_of_two() => Ok(alignment),
        Value::U32(alignment) => Err(Flaw::Alignment { alignment }),
        ref other => Err(Flaw::AlignmentType { found: other.describe() }),
    }
}

fn read_value_type(source: &mut Source<impl Read>, key: &Text) -> Result<ValueType, Error> {
    let offset = source.offset();
    let id = source.u32(format_args!("the type of metadata key \"{}\"", key.excerpt()))?;
    let flaw = || Flaw::ValueType { key: key.excerpt(), id };
    ValueType::from_id(id).ok_or_else(|| Error::Corrupt { offset, flaw: flaw() })
}

fn read_value(source: &mut Source<impl Read>, key: &Text) -> Result<Value, Error> {
    let excerpt = key.excerpt();
    let item = format_args!("the value of metadata key \"{excerpt}\"");
    Ok(match read_value_type(source, key)? {
        ValueType::U8 => source.array(item).map(u8::from_le_bytes)?.into(),
        ValueType::I8 => source.array(item).map(i8::from_le_bytes)?.into(),
        ValueType::U16 => source.array(item).map(u16::from_le_bytes)?.into(),
        ValueType::I16 => source.array(item).map(i16::from_le_bytes)?.into(),
        ValueType::U32 => source.u32(item)?.into(),
        ValueType::I32 => source.array(item).map(i32::from_le_bytes)?.into(),
        ValueType::F32 => source.array(item).map(f32::from_le_bytes)?.into(),
        ValueType::Bool => source.array(item).map(bool_from_le_bytes)?.into(),
        ValueType::String => source.text(item)?.into(),
        ValueType::U64 => source.u64(item)?.into(),
        ValueType::I64 => source.array(item).map(i64::from_le_bytes)?.into(),
        ValueType::F64 => source.array(item).map(f64::from_le_bytes)?.into(),
        ValueType::Array => read_array(source, key)?.into(),
    })
}

fn read_array(source: &mut Source<impl Read>, key: &Text) -> Result<Array, Error> {
    let offset = source.offset();
    let corrupt = |flaw| Error::Corrupt { offset, flaw };
    let excerpt = key.excerpt();
    let item = format_args!("the array of metadata key \"{excerpt}\"");
    let element = read_value_type(source, key)?;
    if element == ValueType::Array {
        return Err(corrupt(Flaw::NestedArray { key: key.excerpt() }));
    }
    let n = source.u64(item)?;
    if n > MAX_ARRAY {
        return Err(corrupt(Flaw::ArrayLength { key: key.excerpt(), length: n, limit: MAX_ARRAY }));
    }
    source.require(n.saturating_mul(element.min_bytes()), item)?;
    Ok(match element {
        ValueType::U8 => Array::U8(source.numbers(n, u8::from_le_bytes, item)?),
        ValueType::I8 => Array::I8(source.numbers(n, i8::from_le_bytes, item)?),
        ValueType::U16 => Array::U16(source.numbers(n, u16::from_le_bytes, item)?),
        ValueType::I16 => Array::I16(source.numbers(n, i16::from_le_bytes, item)?),
        ValueType::U32 => Array::U32(source.numbers(n, u32::from_le_bytes, item)?),
        ValueType::I32 => Array::I32(source.numbers(n, i32::from_le_bytes, item)?),
        ValueType::F32 => Array::F32(source.numbers(n, f32::from_le_bytes, item)?),
        ValueType::Bool => Array::Bool(source.numbers(n, bool_from_le_bytes, item)?),
        ValueType::String => Array::String((0..n).map(|_| source.text(item)).collect::<Result<_, _>>()?),
        ValueType::U64 => Array::U64(source.numbers(n, u64::from_le_bytes, item)?),
        ValueType::I64 => Array::I64(source.numbers(n, i64::from_le_bytes, item)?),
        ValueType::F64 => Array::F64(source.numbers(n, f64::from_le_bytes, item)?),
        ValueType::Array => unreachable!("refused above"),
    })
}

/// Returns true for any byte other than zero, as llama.cpp does.
fn bool_from_le_bytes([byte]: [u8; 1]) -> bool {
    byte != 0
}
