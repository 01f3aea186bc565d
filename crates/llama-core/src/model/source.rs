//! Where a model comes from, and the checks of its files before llama.cpp sees them.

use core::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use llama_gguf::{Gguf, Split, TensorInfo};

use super::params::{ModelParams, invalid};
use super::split;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::file::CFile;
use crate::ffi::string::path_to_c;

/// Where a model comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ModelSource {
    /// A GGUF file, or the first one of a split model whose files are named as [`split_path`](crate::split_path) does.
    File(PathBuf),
    /// All files of a split model, in order, whatever their names.
    Splits(Vec<PathBuf>),
    /// A GGUF file inside a larger file.
    Embedded {
        /// The larger file.
        path: PathBuf,
        /// The byte that the GGUF file begins at.
        offset: u64,
    },
    /// An open file. It stays open as long as the model, and its position moves.
    Handle {
        /// The file.
        file: Arc<File>,
        /// The byte that the GGUF file begins at.
        offset: u64,
    },
}

impl<P: AsRef<Path> + ?Sized> From<&P> for ModelSource {
    fn from(path: &P) -> Self {
        Self::File(path.as_ref().to_owned())
    }
}

impl From<PathBuf> for ModelSource {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<String> for ModelSource {
    fn from(path: String) -> Self {
        Self::File(path.into())
    }
}

/// What error messages call it.
impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Splits(paths) => match paths.first() {
                Some(path) => write!(f, "{} and the rest of {} files", path.display(), paths.len()),
                None => write!(f, "no files"),
            },
            Self::Embedded { path, offset } => write!(f, "byte {offset} of {}", path.display()),
            Self::Handle { offset, .. } => write!(f, "byte {offset} of an open file"),
        }
    }
}

/// What is known of a model's files before llama.cpp reads them.
pub(super) struct Checked {
    /// The files of a model that is named by paths; empty otherwise.
    pub(super) paths: Vec<PathBuf>,
    /// The head of the only or the first file.
    pub(super) head: Gguf,
    /// The tensors of all files.
    pub(super) tensors: Vec<TensorInfo>,
}

impl ModelSource {
    /// The path of the only or first file, `None` for an open file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Embedded { path, .. } => Some(path),
            Self::Splits(paths) => paths.first().map(PathBuf::as_path),
            Self::Handle { .. } => None,
        }
    }

    /// Refuses what is missing, not whole, malformed, or does not belong together.
    pub(super) fn check(&self, params: &ModelParams) -> Result<Checked> {
        let checked = match self {
            Self::File(path) => {
                let head = validate(path)?;
                let paths = split::siblings(path, &head)?;
                check_files(head, paths)
            }
            Self::Splits(paths) => match paths.first() {
                Some(first) => check_files(validate(first)?, paths.clone()),
                None => Err(invalid("paths", "[]", "a model has at least one file".to_owned())),
            },
            Self::Embedded { .. } | Self::Handle { .. } => self.check_embedded(),
        }?;
        params.check_types(checked.head.metadata())?;
        Ok(checked)
    }

    fn check_embedded(&self) -> Result<Checked> {
        let refuse = |source| self.refused(source);
        let mut file = self.open().map_err(refuse)?;
        let length = file.metadata().map_err(|cause| refuse(cannot_read(cause)))?.len();
        let offset = self.offset();
        if offset >= length {
            let reason = format!("the file ends at byte {length}");
            return Err(invalid("offset", &offset, reason));
        }
        let head = llama_gguf::validate_embedded(&mut file, offset).map_err(refuse)?;
        if Split::of(head.metadata()).map_err(refuse)?.is_some_and(|split| split.count > 1) {
            let reason =
                "it is one file of a split model, which cannot be read from inside another file".to_owned();
            return Err(ErrorKind::Unsupported { operation: "loading an embedded model", reason }.into());
        }
        Ok(Checked { paths: Vec::new(), tensors: head.tensors().to_vec(), head })
    }

    /// The only, first or larger file, open for reading.
    pub(crate) fn open(&self) -> Result<File, llama_gguf::Error> {
        match self {
            Self::Handle { file, .. } => file.try_clone().map_err(cannot_read),
            _ => Ok(llama_gguf::open_regular(self.path().unwrap_or(Path::new("")))?.0),
        }
    }

    /// C's stream of that file, where the GGUF file begins.
    pub(crate) fn stream(&self) -> Result<CFile, llama_gguf::Error> {
        CFile::open(self.open()?, self.offset()).map_err(cannot_read)
    }

    /// The byte that the GGUF file begins at.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Embedded { offset, .. } | Self::Handle { offset, .. } => *offset,
            _ => 0,
        }
    }

    /// The error of an embedded model.
    pub(super) fn refused(&self, source: llama_gguf::Error) -> Error {
        ErrorKind::Embedded { model: self.to_string(), source }.into()
    }
}

fn cannot_read(cause: io::Error) -> llama_gguf::Error {
    llama_gguf::Error::Read { offset: 0, cause }
}

fn validate(path: &Path) -> Result<Gguf> {
    // Paths that C cannot be given have errors of their own.
    path_to_c(path)?;
    llama_gguf::validate_file(path).map_err(|source| in_file(path, source))
}

fn in_file(path: &Path, source: llama_gguf::Error) -> Error {
    ErrorKind::File { path: path.to_owned(), source }.into()
}

/// Checks that `head` is the first of these files, and the others.
fn check_files(head: Gguf, paths: Vec<PathBuf>) -> Result<Checked> {
    let mut files = vec![head];
    for path in paths.iter().skip(1) {
        // The later files hold tensors; what they are for stands in the first.
        files.push(llama_gguf::validate_structure(path).map_err(|source| in_file(path, source))?);
    }
    split::check(&paths, &files)?;
    let tensors = files.iter().flat_map(|gguf| gguf.tensors().iter().cloned()).collect();
    Ok(Checked { paths, head: files.swap_remove(0), tensors })
}
