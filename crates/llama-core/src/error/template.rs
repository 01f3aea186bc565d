//! The limit that a chat template has reached.

use std::fmt;

/// A limit of [`TemplateLimits`](crate::chat::TemplateLimits) that a template has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum TemplateLimit {
    /// [`TemplateLimits::steps`](crate::chat::TemplateLimits::steps).
    Steps,
    /// [`TemplateLimits::depth`](crate::chat::TemplateLimits::depth).
    Depth,
    /// [`TemplateLimits::output_bytes`](crate::chat::TemplateLimits::output_bytes).
    OutputBytes,
    /// [`TemplateLimits::memory_bytes`](crate::chat::TemplateLimits::memory_bytes).
    MemoryBytes,
    /// [`TemplateLimits::time`](crate::chat::TemplateLimits::time), in milliseconds.
    Time,
}

impl fmt::Display for TemplateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steps => "steps",
            Self::Depth => "depth",
            Self::OutputBytes => "output_bytes",
            Self::MemoryBytes => "memory_bytes",
            Self::Time => "time",
        })
    }
}

impl TemplateLimit {
    /// Returns the unit of the limit's value.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Depth => "levels",
            Self::OutputBytes => "bytes of text",
            Self::MemoryBytes => "bytes of values",
            Self::Time => "milliseconds",
        }
    }
}
