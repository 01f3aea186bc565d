//! Models that are split over several files.

use crate::error::Error;
use crate::metadata::Metadata;

/// The part of a split model that a file is. Each part is a GGUF file of its own; the first holds the metadata.
///
/// ```
/// use llama_gguf::{Metadata, Split};
///
/// let mut metadata = Metadata::new();
/// assert_eq!(Split::of(&metadata)?, None);
/// metadata.set("split.no", 1u16).set("split.count", 3u16).set("split.tensors.count", 291i32);
/// let split = Split::of(&metadata)?.expect("the keys are there");
/// assert_eq!((split.number, split.count, split.tensors), (1, 3, 291));
/// # Ok::<(), llama_gguf::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// The number of this part, from 0.
    pub number: u64,
    /// The number of parts.
    pub count: u64,
    /// The number of tensors in all parts together.
    pub tensors: u64,
}

impl Split {
    /// The key of the number of a part.
    pub const NUMBER: &'static str = "split.no";
    /// The key of the number of parts.
    pub const COUNT: &'static str = "split.count";
    /// The key of the number of tensors in all parts.
    pub const TENSORS: &'static str = "split.tensors.count";

    /// Reads the keys, or returns `None` without `split.count`.
    ///
    /// # Errors
    /// [`Error::MissingKey`] if one of the other keys is missing, [`Error::WrongValueType`] if a value is not a
    /// count.
    pub fn of(metadata: &Metadata) -> Result<Option<Self>, Error> {
        if !metadata.contains(Self::COUNT) {
            return Ok(None);
        }
        Ok(Some(Self {
            number: metadata.unsigned(Self::NUMBER)?,
            count: metadata.unsigned(Self::COUNT)?,
            tensors: metadata.unsigned(Self::TENSORS)?,
        }))
    }
}
