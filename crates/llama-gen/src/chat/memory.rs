//! What a conversation has in the memory of its own context.

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

/// The memory of one conversation: a context that nobody else uses, so that it is there when the next turn comes.
#[derive(Debug)]
pub(super) struct Memory {
    home: Arc<Slots>,
}

impl Memory {
    /// An empty one: the context that the model has in store, or a new one with the first turn.
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

    /// A copy with a context of its own.
    pub(super) fn try_clone(&self) -> Result<Self> {
        let home = self.home.alone();
        if let Some(mut slot) = self.home.take_oldest() {
            let clone = slot.try_clone(home.checkpoint_bytes());
            self.home.give_back(slot);
            home.give_back(clone?);
        }
        Ok(Self { home: Arc::new(home) })
    }

    /// Saves what is in memory: the tokens of it. Nothing, and no file, when there is none.
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

    /// What was saved with these tokens.
    pub(super) fn load(llama: &Llama, path: &Path, tokens: &[Token]) -> Result<Self> {
        let home = llama.slots().alone();
        let mut context = home.new_context()?;
        let saved = context.load_seq_state(path, SEQUENCE, StatePart::All)?;
        let last = context.memory().seq_pos_max(SEQUENCE)?.map(Pos::get);
        if saved != tokens || last.and_then(|last| usize::try_from(last).ok()) != tokens.len().checked_sub(1)
        {
            let reason = format!("{} was saved with another conversation", path.display());
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

/// The file beside a conversation's that holds its memory.
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
