//! Conversations in files.

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use llama_core::Token;
use llama_gguf::AtomicFile;
use serde::{Deserialize, Serialize};

use super::history::{End, History, Transcript, Turn};
use super::memory::{Memory, file_beside};
use super::message::Message;
use super::session::Chat;
use super::settings::Settings;
use crate::error::{ErrorKind, Result};
use crate::model::Llama;

/// What such a file says it is.
const FORMAT: &str = "llama-gen chat";
const VERSION: u32 = 1;

/// The file of a conversation.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: String,
    version: u32,
    #[serde(flatten)]
    settings: Settings,
    given: Vec<Message>,
    turns: Vec<Vec<Message>>,
    /// The tokens in the file of the memory. Empty when there is none.
    memory: Vec<i32>,
    transcript: SavedTranscript,
}

#[derive(Serialize, Deserialize)]
struct SavedTranscript {
    text: String,
    tokens: Vec<i32>,
    /// Lengths of text and tokens after each turn.
    ends: Vec<Option<(usize, usize)>>,
}

impl Chat {
    /// Saves the conversation: its messages and settings as JSON, and beside it, in a file of the same name with
    /// `.memory` at its end, what is in memory, so that it need not be computed again. Turns that were undone are not
    /// saved.
    ///
    /// Each file is written under another name and renamed when it is complete. A file that is replaced keeps its mode, and
    /// a symbolic link stays: the file that it leads to is replaced. The second file may be large; the first one alone is
    /// enough to continue from.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ChatFile`] and [`ErrorKind::Core`] when a file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let memory = self.memory.save(&file_beside(path))?;
        let saved = Saved {
            format: FORMAT.to_owned(),
            version: VERSION,
            settings: self.settings.clone(),
            given: self.history.given.clone(),
            turns: self.history.turns.iter().map(|turn| turn.messages.clone()).collect(),
            memory: numbers(&memory),
            transcript: SavedTranscript::new(&self.history),
        };
        write(path, &saved).map_err(|source| in_file(path, source))
    }

    /// See [`ChatBuilder::load`](super::ChatBuilder::load).
    pub(super) fn load(llama: Llama, path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|source| in_file(path, source))?;
        let saved = read(&text).map_err(|source| in_file(path, source))?;
        saved.settings.params.validate()?;
        let template = saved.settings.make_template(llama.model())?;
        let turns = saved.turns.into_iter().map(|messages| Turn { messages, end: None });
        let mut history = History::new(saved.given);
        history.turns = turns.collect();
        let memory = match remember(&llama, path, &saved.memory) {
            // It is of the same model, so the transcript's tokens are too.
            Some(memory) => {
                saved.transcript.restore(&mut history);
                memory
            }
            None => Memory::new(&llama),
        };
        Ok(Self::new(llama, template, saved.settings, history, memory))
    }
}

impl SavedTranscript {
    fn new(history: &History) -> Self {
        let end = |turn: &Turn| turn.end.map(|end| (end.text, end.tokens));
        Self {
            text: history.transcript.text.clone(),
            tokens: numbers(&history.transcript.tokens),
            ends: history.turns.iter().map(end).collect(),
        }
    }

    fn restore(self, history: &mut History) {
        let is_inside = |(text, tokens): &(usize, usize)| {
            self.text.is_char_boundary(*text) && *tokens <= self.tokens.len()
        };
        for (turn, end) in history.turns.iter_mut().zip(&self.ends) {
            turn.end = end.filter(is_inside).map(|(text, tokens)| End { text, tokens });
        }
        let tokens = self.tokens.into_iter().map(Token::new).collect();
        history.transcript = Transcript { text: self.text, tokens };
    }
}

fn numbers(tokens: &[Token]) -> Vec<i32> {
    tokens.iter().map(|token| token.get()).collect()
}

/// Loads the memory. Without it the conversation is the same, and computed again.
fn remember(llama: &Llama, path: &Path, tokens: &[i32]) -> Option<Memory> {
    let tokens: Vec<_> = tokens.iter().copied().map(Token::new).collect();
    if tokens.is_empty() {
        return None;
    }
    let loaded = Memory::load(llama, &file_beside(path), &tokens);
    loaded
        .inspect_err(|error| {
            tracing::warn!("the conversation {} is computed again: {error}", path.display());
        })
        .ok()
}

fn read(text: &str) -> io::Result<Saved> {
    let saved: Saved = serde_json::from_str(text)?;
    if saved.format != FORMAT || saved.version != VERSION {
        let (format, version) = (saved.format, saved.version);
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is a {format:?} of version {version}: this is for {FORMAT:?} of version {VERSION}"),
        ));
    }
    Ok(saved)
}

/// Writes a file that appears under its name only when it is complete.
fn write(path: &Path, saved: &Saved) -> io::Result<()> {
    let file = AtomicFile::create(path)?;
    let mut writer = BufWriter::new(file.as_file());
    serde_json::to_writer_pretty(&mut writer, saved)?;
    writer.write_all(b"\n")?;
    writer.flush()?;
    drop(writer);
    file.commit()
}

fn in_file(path: &Path, source: io::Error) -> crate::error::Error {
    ErrorKind::ChatFile { path: path.to_owned(), source }.into()
}
