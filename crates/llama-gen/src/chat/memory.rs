//! The context of a conversation and its memory.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use llama_core::{Pos, SeqId, StatePart, Token};

use crate::error::{ErrorKind, Result};
use crate::model::Llama;
use crate::slot::Slot;
use crate::slots::Slots;

const SEQUENCE: SeqId = SeqId::new(0);

/// The memory of one conversation: a context that no other generation uses, so that the next turn finds it unchanged.
#[derive(Debug)]
pub(super) struct ChatMemory {
    home: Arc<Slots>,
}

impl ChatMemory {
    /// Creates an empty memory. It takes an idle context of the model; without one, the first turn creates a context.
    pub(super) fn new(llama: &Llama) -> Self {
        let home = llama.slots().alone();
        if let Some(slot) = llama.slots().take_oldest() {
            home.give_back(slot);
        }
        Self { home: Arc::new(home) }
    }

    pub(super) fn home(&self) -> Arc<Slots> {
        Arc::clone(&self.home)
    }

    /// Copies the memory into a context of its own.
    pub(super) fn try_clone(&self) -> Result<Self> {
        let home = self.home.alone();
        if let Some(mut slot) = self.home.take_oldest() {
            let clone = slot.try_clone(home.checkpoint_bytes());
            self.home.give_back(slot);
            home.give_back(clone?);
        }
        Ok(Self { home: Arc::new(home) })
    }

    /// Saves the memory to a file and returns its tokens. An empty memory has no tokens, and its file is removed.
    pub(super) fn save(&self, path: &Path) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        let saved = match self.home.take_oldest() {
            Some(mut slot) => {
                if slot.is_exact() {
                    tokens.extend_from_slice(slot.tokens());
                }
                let saved = if tokens.is_empty() { remove(path) } else { save(&mut slot, path) };
                self.home.give_back(slot);
                saved
            }
            None => remove(path),
        };
        saved.map(|()| tokens)
    }

    /// Loads a memory that was saved with these tokens.
    pub(super) fn load(llama: &Llama, path: &Path, tokens: &[Token]) -> Result<Self> {
        let home = llama.slots().alone();
        let mut context = home.new_context()?;
        let saved = context.load_seq_state(path, SEQUENCE, StatePart::All)?;
        let last = context.memory().seq_pos_max(SEQUENCE)?.map(Pos::get);
        if saved != tokens || last.and_then(|last| usize::try_from(last).ok()) != tokens.len().checked_sub(1)
        {
            let reason = format!("{} belongs to another conversation", path.display());
            return Err(ErrorKind::Chat { reason }.into());
        }
        home.give_back(Slot::of_filled(context, saved, home.checkpoint_bytes())?);
        Ok(Self { home: Arc::new(home) })
    }
}

fn save(slot: &mut Slot, path: &Path) -> Result<()> {
    let tokens = slot.tokens().to_vec();
    Ok(slot.context().save_seq_state(path, SEQUENCE, StatePart::All, &tokens)?)
}

/// Returns the path of the memory's file, beside that of the conversation.
pub(super) fn file_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".memory");
    name.into()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ErrorKind::ChatFile { path: path.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}
