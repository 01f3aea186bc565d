//! Writes files.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::atomic_file::AtomicFile;
use crate::error::Error;
use crate::flaw::Flaw;
use crate::metadata::Metadata;
use crate::reader::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, VERSION, checked_alignment};
use crate::tensor::{MAX_NAME, TensorInfo};
use crate::tensor_type::TensorType;
use crate::text::Text;
use crate::value::{Array, Value};

/// Collects metadata and tensors, then writes them as a GGUF file of version 3.
///
/// Tensor data is borrowed, or comes from a closure that is called when the tensor is written, so that a whole model
/// need not be in memory.
///
/// ```
/// use llama_gguf::{Gguf, TensorType, Writer};
///
/// let mut writer = Writer::new();
/// writer.set("general.architecture", "demo").set("demo.block_count", 1u32);
/// writer.tensor("ones", TensorType::F32, &[2], 1f32.to_le_bytes().repeat(2))?;
/// writer.tensor_with("zeros", TensorType::F16, &[4, 2], |out| out.write_all(&[0; 16]))?;
/// let mut file = Vec::new();
/// writer.write_to(&mut file)?;
///
/// let gguf = Gguf::from_bytes(&file)?;
/// assert_eq!(gguf.tensor("zeros").expect("it was written").shape(), [4, 2]);
/// assert_eq!(gguf.tensor_data(&file, "zeros")?, [0; 16]);
/// # Ok::<(), llama_gguf::Error>(())
/// ```
#[derive(Default)]
pub struct Writer<'a> {
    metadata: Metadata,
    tensors: Vec<(TensorInfo, Data<'a>)>,
    names: HashSet<Text>,
}

/// A closure that writes the data of one tensor.
type Stream<'a> = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + 'a>;

enum Data<'a> {
    Bytes(Cow<'a, [u8]>),
    Stream(Stream<'a>),
}

impl<'a> Writer<'a> {
    /// Creates a file without metadata and tensors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a metadata value; see [`Metadata::set`]. `general.alignment` sets the alignment.
    ///
    /// # Panics
    /// If the key is empty.
    pub fn set(&mut self, key: impl Into<Text>, value: impl Into<Value>) -> &mut Self {
        self.metadata.set(key, value);
        self
    }

    /// Returns the metadata, to replace it as a whole: `*writer.metadata_mut() = gguf.metadata().clone()`.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// Adds a tensor whose data is in memory. `shape` has the fastest-running dimension first.
    ///
    /// # Errors
    /// [`Error::Unwritable`] if llama.cpp would not read this name, shape and type, if there already is a tensor of
    /// this name, or if the size of the data differs from the size of shape and type.
    pub fn tensor(
        &mut self,
        name: impl Into<Text>,
        tensor_type: TensorType,
        shape: &[u64],
        data: impl Into<Cow<'a, [u8]>>,
    ) -> Result<&mut Self, Error> {
        let info = self.new_tensor(&name.into(), tensor_type, shape)?;
        let data = data.into();
        if data.len() as u64 != info.bytes() {
            return Err(wrong_length(&info, data.len() as u64));
        }
        self.add(info, Data::Bytes(data));
        Ok(self)
    }

    /// Adds a tensor whose data a closure will write. It must write exactly as many bytes as shape and type take.
    ///
    /// # Errors
    /// The errors of [`Writer::tensor`]; the size of the data is checked while writing.
    pub fn tensor_with(
        &mut self,
        name: impl Into<Text>,
        tensor_type: TensorType,
        shape: &[u64],
        data: impl FnOnce(&mut dyn Write) -> io::Result<()> + 'a,
    ) -> Result<&mut Self, Error> {
        let info = self.new_tensor(&name.into(), tensor_type, shape)?;
        self.add(info, Data::Stream(Box::new(data)));
        Ok(self)
    }

    /// Writes the file to a stream; wrap files and sockets in a [`BufWriter`].
    ///
    /// # Errors
    /// [`Error::Unwritable`] if the alignment is invalid or a closure wrote too little or too much, [`Error::Write`]
    /// if the stream or a closure failed. After an error the bytes in `out` are not a valid file.
    pub fn write_to(self, out: impl Write) -> Result<(), Error> {
        let alignment = match self.metadata.value(ALIGNMENT_KEY) {
            Some(value) => checked_alignment(value).map_err(unwritable)?,
            None => DEFAULT_ALIGNMENT,
        };
        let offsets = data_offsets(&self.tensors, alignment.into())?;
        let mut out = Output { inner: out, written: 0 };
        write_head(&mut out, &self.metadata, &self.tensors, &offsets).map_err(failed)?;
        for (info, data) in self.tensors {
            out.pad(alignment.into()).map_err(failed)?;
            write_data(&mut out, &info, data)?;
        }
        out.pad(alignment.into()).map_err(failed)?;
        out.inner.flush().map_err(failed)
    }

    /// Writes the file to a path: under a temporary name beside it, then synced and renamed. Other programs never see
    /// an incomplete file, and only a complete file replaces an existing one.
    ///
    /// # Errors
    /// [`Error::InFile`] around the errors of [`Writer::write_to`]. The temporary file is then removed.
    pub fn write_file(self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.replace_file(path).map_err(|error| error.in_file(path))
    }

    fn replace_file(self, path: &Path) -> Result<(), Error> {
        let file = AtomicFile::create(path).map_err(failed)?;
        self.write_to(BufWriter::with_capacity(1 << 16, file.as_file() as &File))?;
        file.commit().map_err(failed)
    }

    fn new_tensor(&self, name: &Text, tensor_type: TensorType, shape: &[u64]) -> Result<TensorInfo, Error> {
        if name.len() > MAX_NAME {
            return Err(unwritable(Flaw::NameLength { name: name.excerpt(), length: name.len() }));
        }
        if self.names.contains(name) {
            return Err(unwritable(Flaw::DuplicateTensor { name: name.to_string() }));
        }
        TensorInfo::new(name.clone(), tensor_type, shape.to_vec())
            .map_err(|error| unwritable(Flaw::from_shape(error, name.to_string(), shape)))
    }

    fn add(&mut self, info: TensorInfo, data: Data<'a>) {
        self.names.insert(info.name().clone());
        self.tensors.push((info, data));
    }
}

impl std::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tensors: Vec<_> = self.tensors.iter().map(|(info, _)| info).collect();
        f.debug_struct("Writer").field("metadata", &self.metadata).field("tensors", &tensors).finish()
    }
}

/// Returns the position of each tensor's data in the data section.
fn data_offsets(tensors: &[(TensorInfo, Data<'_>)], alignment: u64) -> Result<Vec<u64>, Error> {
    let mut end = 0u64;
    let mut offsets = Vec::with_capacity(tensors.len());
    for (info, _) in tensors {
        offsets.push(end);
        end = info
            .bytes()
            .checked_next_multiple_of(alignment)
            .and_then(|padded| end.checked_add(padded))
            .ok_or_else(|| unwritable(Flaw::DataOverflow { name: info.name().to_string() }))?;
    }
    Ok(offsets)
}

fn write_head(
    out: &mut Output<impl Write>,
    metadata: &Metadata,
    tensors: &[(TensorInfo, Data<'_>)],
    offsets: &[u64],
) -> io::Result<()> {
    out.write_all(b"GGUF")?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&(tensors.len() as u64).to_le_bytes())?;
    out.write_all(&(metadata.len() as u64).to_le_bytes())?;
    for (key, value) in metadata.iter() {
        write_text(out, key)?;
        out.write_all(&value.value_type().id().to_le_bytes())?;
        write_value(out, value)?;
    }
    for ((info, _), offset) in tensors.iter().zip(offsets) {
        write_text(out, info.name())?;
        // At most MAX_DIMENSIONS, which `TensorInfo::new` has checked.
        let dimensions = u32::try_from(info.shape().len()).unwrap_or(u32::MAX);
        out.write_all(&dimensions.to_le_bytes())?;
        write_all(out, info.shape(), u64::to_le_bytes)?;
        out.write_all(&info.tensor_type().id().to_le_bytes())?;
        out.write_all(&offset.to_le_bytes())?;
    }
    Ok(())
}

fn write_text(out: &mut impl Write, text: &Text) -> io::Result<()> {
    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(text.as_bytes())
}

fn write_value(out: &mut impl Write, value: &Value) -> io::Result<()> {
    match value {
        Value::U8(value) => out.write_all(&value.to_le_bytes()),
        Value::I8(value) => out.write_all(&value.to_le_bytes()),
        Value::U16(value) => out.write_all(&value.to_le_bytes()),
        Value::I16(value) => out.write_all(&value.to_le_bytes()),
        Value::U32(value) => out.write_all(&value.to_le_bytes()),
        Value::I32(value) => out.write_all(&value.to_le_bytes()),
        Value::F32(value) => out.write_all(&value.to_le_bytes()),
        Value::Bool(value) => out.write_all(&[u8::from(*value)]),
        Value::String(text) => write_text(out, text),
        Value::U64(value) => out.write_all(&value.to_le_bytes()),
        Value::I64(value) => out.write_all(&value.to_le_bytes()),
        Value::F64(value) => out.write_all(&value.to_le_bytes()),
        Value::Array(array) => write_array(out, array),
    }
}

fn write_array(out: &mut impl Write, array: &Array) -> io::Result<()> {
    out.write_all(&array.element_type().id().to_le_bytes())?;
    out.write_all(&(array.len() as u64).to_le_bytes())?;
    match array {
        Array::U8(values) => out.write_all(values),
        Array::I8(values) => write_all(out, values, i8::to_le_bytes),
        Array::U16(values) => write_all(out, values, u16::to_le_bytes),
        Array::I16(values) => write_all(out, values, i16::to_le_bytes),
        Array::U32(values) => write_all(out, values, u32::to_le_bytes),
        Array::I32(values) => write_all(out, values, i32::to_le_bytes),
        Array::F32(values) => write_all(out, values, f32::to_le_bytes),
        Array::Bool(values) => write_all(out, values, |value| [u8::from(value)]),
        Array::String(texts) => texts.iter().try_for_each(|text| write_text(out, text)),
        Array::U64(values) => write_all(out, values, u64::to_le_bytes),
        Array::I64(values) => write_all(out, values, i64::to_le_bytes),
        Array::F64(values) => write_all(out, values, f64::to_le_bytes),
    }
}

fn write_all<T: Copy, const N: usize>(
    out: &mut impl Write,
    values: &[T],
    to_le: fn(T) -> [u8; N],
) -> io::Result<()> {
    values.iter().try_for_each(|&value| out.write_all(&to_le(value)))
}

fn write_data(out: &mut Output<impl Write>, info: &TensorInfo, data: Data<'_>) -> Result<(), Error> {
    let stream = match data {
        Data::Bytes(bytes) => return out.write_all(&bytes).map_err(failed),
        Data::Stream(stream) => stream,
    };
    let mut limited = Limited { out, expected: info.bytes(), given: 0 };
    let result = stream(&mut limited);
    let given = limited.given;
    // Whatever error the closure returns, a wrong length of the stream caused it.
    if given > info.bytes() || (result.is_ok() && given != info.bytes()) {
        return Err(wrong_length(info, given));
    }
    result.map_err(failed)
}

fn unwritable(flaw: Flaw) -> Error {
    Error::Unwritable { flaw }
}

fn wrong_length(info: &TensorInfo, found: u64) -> Error {
    unwritable(Flaw::DataLength { name: info.name().to_string(), expected: info.bytes(), found })
}

fn failed(cause: io::Error) -> Error {
    Error::Write { cause }
}

/// A writer that counts bytes, because padding depends on the position in the file.
struct Output<W> {
    inner: W,
    written: u64,
}

impl<W: Write> Output<W> {
    fn pad(&mut self, alignment: u64) -> io::Result<()> {
        let padding = self.written.next_multiple_of(alignment) - self.written;
        io::copy(&mut io::Read::take(io::repeat(0), padding), self).map(drop)
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A writer that accepts exactly the bytes of one tensor.
struct Limited<'o, W> {
    out: &'o mut Output<W>,
    expected: u64,
    given: u64,
}

impl<W: Write> Write for Limited<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.given + bytes.len() as u64 > self.expected {
            self.given += bytes.len() as u64;
            return Err(io::Error::other("more bytes than the shape and type of the tensor take"));
        }
        let written = self.out.write(bytes)?;
        self.given += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
