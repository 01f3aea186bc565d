//! The context of a conversation and its memory.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use llama_core::Token;

use crate::error::{ErrorKind, Result};
use crate::memory::{Idle, ONLY};
use crate::model::Llama;

/// The memory of one conversation: a context that no other generation uses, so that the next turn finds it unchanged.
#[derive(Debug)]
pub(super) struct ChatMemory {
    pool: Arc<Idle>,
}

impl ChatMemory {
    /// Creates an empty memory. It takes an idle context of the model; without one, the first turn creates a context.
    pub(super) fn new(llama: &Llama) -> Self {
        let pool = llama.idle().alone();
        if let Some(mut lease) = llama.idle().take_oldest() {
            lease.move_to(&pool);
        }
        Self { pool }
    }

    /// The pool that holds the context between turns.
    pub(super) fn pool(&self) -> &Arc<Idle> {
        &self.pool
    }

    /// Copies the memory into a context of its own.
    pub(super) fn try_clone(&self) -> Result<Self> {
        let pool = self.pool.alone();
        if let Some(mut lease) = self.pool.take_oldest() {
            drop(pool.try_clone(&mut lease)?);
        }
        Ok(Self { pool })
    }

    /// Saves the memory to a file and returns its tokens. An empty memory has no tokens, and its file is removed.
    pub(super) fn save(&self, path: &Path) -> Result<Vec<Token>> {
        if let Some(mut lease) = self.pool.take_oldest() {
            let cells = lease.cells(ONLY);
            if cells.is_exact() && cells.len() > 0 {
                let tokens = cells.tokens().to_vec();
                lease.save(path)?;
                return Ok(tokens);
            }
        }
        remove(path)?;
        Ok(Vec::new())
    }

    /// Loads a memory that was saved with these tokens.
    pub(super) fn load(llama: &Llama, path: &Path, tokens: &[Token]) -> Result<Self> {
        let pool = llama.idle().alone();
        if pool.load(path, tokens)?.is_none() {
            let reason = format!("{} belongs to another conversation", path.display());
            return Err(ErrorKind::Chat { reason }.into());
        }
        Ok(Self { pool })
    }
}

/// Returns the path of the memory's file, beside that of the conversation.
pub(super) fn file_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".memory");
    name.into()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(ErrorKind::ChatFile { path: path.to_owned(), cause }.into())
        }
        _ => Ok(()),
    }
}
