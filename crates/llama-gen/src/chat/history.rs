//! The turns of a conversation, with undo and redo.

use llama_core::{Token, Vocab};

use super::message::Message;
use crate::error::Result;

/// The turns of a conversation, and the tokens that the model has read and chosen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// The messages that the conversation began with.
    pub(super) given: Vec<Message>,
    pub(super) turns: Vec<PastTurn>,
    /// Undone turns, the next to redo at the end.
    undone: Vec<Undone>,
    pub(super) transcript: Transcript,
}

/// A finished turn: the messages that were sent, and the answer.
#[derive(Clone, Debug)]
pub(super) struct PastTurn {
    pub(super) messages: Vec<Message>,
    /// The end of the transcript after this turn; `None` when the transcript begins later.
    pub(super) end: Option<End>,
}

/// A position in a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) text: usize,
    pub(super) tokens: usize,
}

/// A prompt and its answer, as text and as the tokens that were really used: a model may choose other tokens for a text
/// than the tokenizer does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transcript {
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
}

#[derive(Clone, Debug)]
struct Undone {
    turn: PastTurn,
    /// The end of the transcript that was cut off with the turn.
    tail: Option<Transcript>,
}

impl History {
    pub(super) fn new(given: Vec<Message>) -> Self {
        Self { given, ..Self::default() }
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.given.iter().chain(self.turns.iter().flat_map(|turn| &turn.messages))
    }

    /// Adds a turn. `transcript` is the whole transcript with it; `went_on` says whether it begins with the current one.
    pub(super) fn push(&mut self, messages: Vec<Message>, transcript: Option<Transcript>, went_on: bool) {
        if !went_on || transcript.is_none() {
            self.forget_transcript();
        }
        self.transcript = transcript.unwrap_or_default();
        let end = (!self.transcript.tokens.is_empty()).then(|| self.transcript.end());
        self.turns.push(PastTurn { messages, end });
        self.undone.clear();
    }

    fn forget_transcript(&mut self) {
        self.transcript = Transcript::default();
        self.turns.iter_mut().for_each(|turn| turn.end = None);
    }

    /// Undoes the last turn. Returns false when there is none.
    pub(super) fn undo(&mut self) -> bool {
        let Some(turn) = self.turns.pop() else { return false };
        let before = self.turns.last().and_then(|turn| turn.end);
        let tail = match (before, turn.end) {
            (Some(before), Some(_)) => Some(self.transcript.split_off(before)),
            (None, Some(_)) if self.turns.is_empty() => Some(core::mem::take(&mut self.transcript)),
            _ => {
                self.forget_transcript();
                None
            }
        };
        self.undone.push(Undone { turn, tail });
        true
    }

    /// Redoes the turn that was undone last. Returns false when there is none.
    pub(super) fn redo(&mut self) -> bool {
        let Some(Undone { mut turn, tail }) = self.undone.pop() else { return false };
        match tail {
            Some(tail) => self.transcript.append(&tail),
            None => turn.end = None,
        }
        self.turns.push(turn);
        true
    }

    /// Returns the number of turns that can be redone.
    pub(super) fn n_undone(&self) -> usize {
        self.undone.len()
    }
}

impl Transcript {
    fn end(&self) -> End {
        End { text: self.text.len(), tokens: self.tokens.len() }
    }

    fn split_off(&mut self, at: End) -> Self {
        Self { text: self.text.split_off(at.text), tokens: self.tokens.split_off(at.tokens) }
    }

    fn append(&mut self, tail: &Self) {
        self.text.push_str(&tail.text);
        self.tokens.extend_from_slice(&tail.tokens);
    }

    /// Appends an answer. Returns `None` when its tokens are not valid UTF-8.
    pub(super) fn with_answer(mut self, vocab: Vocab<'_>, answer: &[Token]) -> Result<Option<Self>> {
        let mut bytes = Vec::new();
        for token in answer {
            vocab.append_token_bytes(*token, true, &mut bytes)?;
        }
        let Ok(text) = String::from_utf8(bytes) else { return Ok(None) };
        self.text.push_str(&text);
        self.tokens.extend_from_slice(answer);
        Ok(Some(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(n: usize) -> Transcript {
        let tokens = (0..n).map(|id| Token::new(i32::try_from(id).unwrap())).collect();
        Transcript { text: "x".repeat(2 * n), tokens }
    }

    fn texts(history: &History) -> Vec<String> {
        history.messages().map(Message::text).collect()
    }

    fn history() -> History {
        let mut history = History::new(vec![Message::user("given")]);
        for (n, text) in ["one", "two", "three"].into_iter().enumerate() {
            history.push(vec![Message::user(text)], Some(transcript(3 * (n + 1))), n > 0);
        }
        history
    }

    #[test]
    fn turns_go_back_and_forth_with_their_tokens() {
        let mut history = history();
        assert!(history.undo() && history.undo());
        assert_eq!(texts(&history), ["given", "one"]);
        assert_eq!(history.transcript, transcript(3));
        assert!(history.redo());
        assert_eq!(history.transcript, transcript(6));
        assert!(history.undo() && history.undo() && !history.undo());
        assert_eq!(history.transcript, Transcript::default());
        assert!(history.redo() && history.redo() && history.redo() && !history.redo());
        assert_eq!(texts(&history), ["given", "one", "two", "three"]);
        assert_eq!(history.transcript, transcript(9));
    }

    #[test]
    fn a_new_turn_ends_what_can_be_put_back() {
        let mut history = history();
        history.undo();
        history.push(vec![Message::user("other")], Some(transcript(7)), true);
        assert!(!history.redo());
        assert_eq!(texts(&history), ["given", "one", "two", "other"]);
        history.undo();
        assert_eq!(history.transcript, transcript(6));
    }

    #[test]
    fn a_transcript_that_begins_anew_does_not_go_back_further() {
        let mut history = history();
        history.push(vec![Message::user("four")], Some(transcript(2)), false);
        assert!(history.undo());
        assert_eq!(history.transcript, Transcript::default());
        assert!(history.redo());
        assert_eq!(history.turns.last().unwrap().end, None);
        history.push(vec![Message::user("five")], None, true);
        assert_eq!(history.transcript, Transcript::default());
        assert_eq!(texts(&history).len(), 6);
    }
}
