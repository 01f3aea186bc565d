//! The source of a model, and the checks of its files before llama.cpp sees them.

use core::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use llama_gguf::{Gguf, Split, TensorInfo};

use super::opened::Opened;
use super::params::{ModelParams, invalid};
use super::split;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::string::path_to_c;

/// The source of a model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ModelSource {
    /// A GGUF file, or the first one of a split model whose files are named by [`split_path`](crate::model::split_path).
    File(PathBuf),
    /// All files of a split model, in order and with any names.
    Splits(Vec<PathBuf>),
    /// A GGUF file inside a larger file.
    Embedded {
        /// The larger file.
        path: PathBuf,
        /// The offset of the GGUF file in bytes.
        offset: u64,
    },
    /// An open file. It stays open as long as the model, and its position moves.
    Handle {
        /// The file.
        file: Arc<File>,
        /// The offset of the GGUF file in bytes.
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

/// Writes the name of the source for error messages.
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

/// The facts about a model's files before llama.cpp reads them.
pub(super) struct Checked {
    /// The paths of the files, empty if the model is not named by paths.
    pub(super) paths: Vec<PathBuf>,
    /// The files, at least one, in the order of the paths.
    pub(super) files: Vec<Opened>,
    /// The head of the only or first file.
    pub(super) head: Gguf,
    /// The tensors of all files.
    pub(super) tensors: Vec<TensorInfo>,
}

impl ModelSource {
    /// Returns the path of the only or first file, or `None` for an open file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Embedded { path, .. } => Some(path),
            Self::Splits(paths) => paths.first().map(PathBuf::as_path),
            Self::Handle { .. } => None,
        }
    }

    /// Refuses files that are missing, incomplete, malformed, or do not belong together.
    pub(super) fn check(&self, params: &ModelParams) -> Result<Checked> {
        let whole: Check = |path, file| llama_gguf::validate_open(path, file);
        let checked = match self {
            Self::File(path) => {
                let first = validate(path, whole)?;
                let paths = split::siblings(path, &first.1)?;
                check_files(first, paths)
            }
            Self::Splits(paths) => match paths.first() {
                Some(first) => check_files(validate(first, whole)?, paths.clone()),
                None => Err(invalid("paths", "[]", "a list of at least one file".to_owned())),
            },
            Self::Embedded { .. } | Self::Handle { .. } => self.check_embedded(),
        }?;
        params.check_types(checked.head.metadata())?;
        Ok(checked)
    }

    fn check_embedded(&self) -> Result<Checked> {
        let refuse = |source| self.refused(source);
        let opened = self.open().map_err(refuse)?;
        let (length, offset) = (opened.length(), self.offset());
        if offset >= length {
            let reason = format!("before the end of the file at byte {length}");
            return Err(invalid("offset", &offset, reason));
        }
        let head = llama_gguf::validate_embedded(&mut opened.file(), offset).map_err(refuse)?;
        if Split::of(head.metadata()).map_err(refuse)?.is_some_and(|split| split.count > 1) {
            let reason =
                "it is one file of a split model, which cannot be read from inside another file".to_owned();
            return Err(ErrorKind::Unsupported { operation: "loading an embedded model", reason }.into());
        }
        Ok(Checked { paths: Vec::new(), files: vec![opened], tensors: head.tensors().to_vec(), head })
    }

    /// Opens the only, first or larger file for reading.
    pub(crate) fn open(&self) -> Result<Opened, llama_gguf::Error> {
        let file = match self {
            Self::Handle { file, .. } => file.try_clone().map_err(cannot_read)?,
            _ => llama_gguf::open_regular(self.path().unwrap_or(Path::new("")))?.0,
        };
        Opened::new(file).map_err(cannot_read)
    }

    /// Returns the offset of the GGUF file in bytes.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Embedded { offset, .. } | Self::Handle { offset, .. } => *offset,
            _ => 0,
        }
    }

    /// Returns the error of an embedded model.
    pub(super) fn refused(&self, source: llama_gguf::Error) -> Error {
        ErrorKind::Embedded { model: self.to_string(), cause: source }.into()
    }
}

pub(crate) fn cannot_read(cause: io::Error) -> llama_gguf::Error {
    llama_gguf::Error::Read { offset: 0, cause }
}

/// An open file and its head.
type Validated = (Opened, Gguf);

/// Opens a file and checks it with `check`, one of `llama_gguf`'s functions.
fn validate(path: &Path, check: Check) -> Result<Validated> {
    // Paths that cannot be converted for C have their own errors.
    path_to_c(path)?;
    open_and(path, check).map_err(|cause| ErrorKind::File { path: path.to_owned(), cause }.into())
}

type Check = fn(&Path, &File) -> Result<Gguf, llama_gguf::Error>;

fn open_and(path: &Path, check: Check) -> Result<Validated, llama_gguf::Error> {
    let opened = Opened::new(llama_gguf::open_regular(path)?.0).map_err(cannot_read)?;
    let head = check(path, opened.file())?;
    Ok((opened, head))
}

/// Checks that `first` is the first of these files, and checks the others.
fn check_files(first: Validated, paths: Vec<PathBuf>) -> Result<Checked> {
    let (mut files, mut heads) = (vec![first.0], vec![first.1]);
    for path in paths.iter().skip(1) {
        // The later files hold tensors, which the first file describes.
        let (file, head) = validate(path, |path, file| llama_gguf::validate_open_structure(path, file))?;
        files.push(file);
        heads.push(head);
    }
    split::check(&paths, &heads)?;
    let tensors = heads.iter().flat_map(|gguf| gguf.tensors().iter().cloned()).collect();
    Ok(Checked { paths, files, head: heads.swap_remove(0), tensors })
}
