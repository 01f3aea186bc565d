#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod atomic_file;
mod error;
mod flaw;
mod metadata;
mod reader;
mod source;
mod split;
mod tensor;
mod tensor_type;
mod text;
mod validate;
mod value;
mod writer;

pub use atomic_file::AtomicFile;
pub use error::Error;
pub use flaw::Flaw;
pub use metadata::Metadata;
pub use reader::{DEFAULT_ALIGNMENT, Gguf, OLDEST_VERSION, VERSION, open_regular};
pub use split::Split;
pub use tensor::{MAX_DIMENSIONS, MAX_NAME, TensorInfo};
pub use tensor_type::TensorType;
pub use text::Text;
pub use validate::{
    validate_embedded, validate_file, validate_open, validate_open_structure, validate_structure,
};
pub use value::{Array, FromValue, Value, ValueType};
pub use writer::Writer;
