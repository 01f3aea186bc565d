//! Conversations in files.

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use llama_core::Token;
use llama_gguf::AtomicFile;
use serde::{Deserialize, Serialize};

use super::history::{End, History, PastTurn, Transcript};
use super::memory::{ChatMemory, file_beside};
use super::message::Message;
use super::session::Chat;
use super::settings::Settings;
use crate::error::{ErrorKind, Result};
use crate::model::Llama;

/// Marks a JSON file as a conversation.
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
    /// The tokens of the memory's file. Empty without such a file.
    memory: Vec<i32>,
    transcript: SavedTranscript,
}

#[derive(Serialize, Deserialize)]
struct SavedTranscript {
    text: String,
    tokens: Vec<i32>,
    /// Lengths of text and tokens after each turn, `None` for a turn before the transcript.
    ends: Vec<Option<(usize, usize)>>,
}

impl Chat {
    /// Saves the conversation in two files: its messages and settings as JSON, and its memory in a file with `.memory`
    /// appended to the name. Undone turns are not saved.
    ///
    /// The file of the memory may be large. Without it [`Chat::load`] works too, but the next turn decodes the whole
    /// conversation again.
    ///
    /// Each file is written under another name and renamed when it is complete. A replaced file keeps its mode; for a symbolic
    /// link, the target is replaced.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ChatFile`] or [`ErrorKind::Core`] when a file cannot be written.
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
        write(path, &saved).map_err(|cause| in_file(path, cause))
    }

    /// Loads a conversation that was [saved](Self::save): its messages, its settings and its memory, so that nothing is
    /// decoded again.
    ///
    /// The memory is left out, with a warning in the log, when its file is missing or damaged, or when it was saved by
    /// another model.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ChatFile`] for a file that is not a conversation, and the errors of
    /// [`ChatBuilder::start`](super::ChatBuilder::start).
    pub fn load(llama: &Llama, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|cause| in_file(path, cause))?;
        let saved = read(&text).map_err(|cause| in_file(path, cause))?;
        saved.settings.params.validate()?;
        let template = saved.settings.make_template(llama.model())?;
        let turns = saved.turns.into_iter().map(|messages| PastTurn { messages, end: None });
        let mut history = History::new(saved.given);
        history.turns = turns.collect();
        let memory = match remember(llama, path, &saved.memory) {
            // The memory is of this model, so the tokens of the transcript are too.
            Some(memory) => {
                saved.transcript.restore(&mut history);
                memory
            }
            None => ChatMemory::new(llama),
        };
        Ok(Self::new(llama.clone(), template, saved.settings, history, memory))
    }
}

impl SavedTranscript {
    fn new(history: &History) -> Self {
        let end = |turn: &PastTurn| turn.end.map(|end| (end.text, end.tokens));
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

/// Loads the memory, or logs why that fails: the conversation is complete without it.
fn remember(llama: &Llama, path: &Path, tokens: &[i32]) -> Option<ChatMemory> {
    let tokens: Vec<_> = tokens.iter().copied().map(Token::new).collect();
    if tokens.is_empty() {
        return None;
    }
    let loaded = ChatMemory::load(llama, &file_beside(path), &tokens);
    loaded
        .inspect_err(|error| {
            tracing::warn!("the conversation {} will be decoded again: {error}", path.display());
        })
        .ok()
}

fn read(text: &str) -> io::Result<Saved> {
    let saved: Saved = serde_json::from_str(text)?;
    if saved.format != FORMAT || saved.version != VERSION {
        let (format, version) = (saved.format, saved.version);
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the format is {format:?}, version {version}, but must be {FORMAT:?}, version {VERSION}"),
        ));
    }
    Ok(saved)
}

/// Writes the file under another name, and renames it when it is complete.
fn write(path: &Path, saved: &Saved) -> io::Result<()> {
    let file = AtomicFile::create(path)?;
    let mut writer = BufWriter::new(file.as_file());
    serde_json::to_writer_pretty(&mut writer, saved)?;
    writer.write_all(b"\n")?;
    writer.flush()?;
    drop(writer);
    file.commit()
}

fn in_file(path: &Path, cause: io::Error) -> crate::error::Error {
    ErrorKind::ChatFile { path: path.to_owned(), cause }.into()
}
