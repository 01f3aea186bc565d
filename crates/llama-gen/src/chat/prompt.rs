//! A rendered conversation.

use std::sync::{Arc, OnceLock};

use llama_core::chat::ChatTurn;
use llama_core::vocab::VocabKind;
use llama_core::{Token, TokenizeOptions, Vocab};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{Answer, AnswerParser, Format};
use super::left_out::{LeftOut, Numbers, not_to_be_lost};
use super::template::Inner;
use super::untrusted::Marker;
use crate::cancel::CancelToken;
use crate::error::{ErrorKind, Result};

/// A rendered conversation: the prompt, and the format of its answer. Created by
/// [`ChatTemplate::render`](super::ChatTemplate::render).
#[derive(Clone, Debug)]
pub struct ChatPrompt {
    template: Arc<Inner>,
    request: Value,
    pub(super) turn: Arc<ChatTurn>,
    description: Description,
    text: String,
    /// The format of the answers, read from the shim for the first parser.
    answers: OnceLock<Result<Arc<Format>, String>>,
    left_out: Vec<LeftOut>,
}

/// The shim's description of a rendered conversation.
#[derive(Clone, Debug, Deserialize)]
struct Description {
    prompt: Vec<PromptPart>,
    format: String,
    generation_prompt: String,
    supports_thinking: bool,
    thinking_start_tag: String,
    thinking_end_tags: Vec<String>,
    grammar: String,
    grammar_lazy: bool,
    grammar_triggers: Vec<ChatTrigger>,
    preserved_tokens: Vec<String>,
    additional_stops: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct PromptPart {
    text: String,
    is_input: bool,
}

/// The grammar that comes with a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChatGrammar<'p> {
    /// GBNF with the rule `root`. It begins with [`ChatPrompt::generation_prompt`], unless it is lazy.
    pub text: &'p str,
    /// Whether the grammar holds only after a trigger.
    pub is_lazy: bool,
    /// The triggers of a lazy grammar.
    pub triggers: &'p [ChatTrigger],
}

/// A trigger, from which on a lazy grammar holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChatTrigger {
    /// A special token, by its text.
    Token(String),
    /// A text, or the special token with this text if there is one.
    Word(String),
    /// A regular expression of C++'s `std::regex`, which matches anywhere in the text.
    Pattern(String),
    /// A regular expression of C++'s `std::regex`, which matches the whole text.
    PatternFull(String),
}

impl ChatPrompt {
    /// Renders a request, and detects the parts that the template drops.
    pub(super) fn new(template: Arc<Inner>, request: Value, cancel: Option<&CancelToken>) -> Result<Self> {
        let prompt = Self::rendered(template, request, cancel)?.with_left_out(cancel)?;
        let lost = not_to_be_lost(&prompt.request, &prompt.left_out);
        if lost.is_empty() {
            return Ok(prompt);
        }
        // Some templates only show an answer without reasoning.
        let (request, dropped) = without_reasoning(&prompt.request, &lost);
        if !dropped.is_empty() {
            let mut prompt = Self::rendered(prompt.template, request, cancel)?.with_left_out(cancel)?;
            if not_to_be_lost(&prompt.request, &prompt.left_out).is_empty() {
                prompt.left_out.extend(dropped);
                return Ok(prompt);
            }
        }
        Err(ErrorKind::LostByTemplate { lost }.into())
    }

    /// Renders a request without detecting dropped parts.
    fn rendered(template: Arc<Inner>, request: Value, cancel: Option<&CancelToken>) -> Result<Self> {
        let cancelled = || cancel.is_some_and(CancelToken::is_cancelled);
        let turn = template.templates.apply_within(request.to_string(), &template.limits, cancelled)?;
        let description: Description = super::from_shim(&turn.describe()?)?;
        let text = description.prompt.iter().map(|part| part.text.as_str()).collect();
        let (answers, left_out) = (OnceLock::new(), Vec::new());
        Ok(Self { template, request, turn: Arc::new(turn), description, text, answers, left_out })
    }

    fn with_left_out(mut self, cancel: Option<&CancelToken>) -> Result<Self> {
        let mut request = self.request.clone();
        if let Some(numbers) = Numbers::insert(&mut request) {
            let numbered = Self::rendered(Arc::clone(&self.template), request, cancel)?;
            self.left_out = numbers.missing_in(&numbered.text);
        }
        Ok(self)
    }

    /// Returns the parts of the conversation that the template drops from the prompt: reasoning of earlier turns, calls,
    /// tools. Messages of users and tools are never dropped: [`render`](super::ChatTemplate::render) fails instead.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Returns the prompt as text, to read: it does not tell which parts are from the template and which from messages.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the end of the prompt that is the beginning of the answer.
    #[must_use]
    pub fn generation_prompt(&self) -> &str {
        &self.description.generation_prompt
    }

    /// Returns whether the model can reason before it answers, according to its template.
    #[must_use]
    pub fn supports_thinking(&self) -> bool {
        self.description.supports_thinking
    }

    /// Returns the marks before and after the model's reasoning, empty if they are unknown.
    #[must_use]
    pub fn thinking_tags(&self) -> (&str, &[String]) {
        (&self.description.thinking_start_tag, &self.description.thinking_end_tags)
    }

    /// Returns the texts that end the answer, besides the model's own tokens.
    #[must_use]
    pub fn stops(&self) -> &[String] {
        &self.description.additional_stops
    }

    /// Returns llama.cpp's name of the answer's format.
    #[must_use]
    pub fn format(&self) -> &str {
        &self.description.format
    }

    /// Returns the grammar that constrains tool calls and answers with a schema, or `None` when there is none.
    #[must_use]
    pub fn grammar(&self) -> Option<ChatGrammar<'_>> {
        let Description { grammar, grammar_lazy, grammar_triggers, .. } = &self.description;
        (!grammar.is_empty()).then_some(ChatGrammar {
            text: grammar,
            is_lazy: *grammar_lazy,
            triggers: grammar_triggers,
        })
    }

    /// Returns the special tokens that are part of an answer's text, because the parser needs them. Others are left out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`] when the model has no tokenizer, and [`ErrorKind::InvalidPrompt`] for a template that was created
    /// without a model.
    pub fn shown_tokens(&self) -> Result<Vec<Token>> {
        let vocab = self.template.model()?.vocab();
        let options = TokenizeOptions::default().add_special(false).parse_special(true);
        let mut shown = Vec::new();
        for text in &self.description.preserved_tokens {
            if let [token] = vocab.tokenize(text, options)?.as_slice() {
                shown.push(*token);
            }
        }
        Ok(shown)
    }

    /// Tokenises the prompt. Special tokens of the template become tokens; their names in a message stay text.
    ///
    /// That holds for control tokens of the vocabulary, and for tokens of other types that the template uses as markers, such
    /// as `<|START_OF_TURN_TOKEN|>`. Other tokens that the vocabulary's author has added as text (user-defined tokens) are
    /// created from any text, as everywhere in llama.cpp.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPrompt`] when a message names a special token and the template changes the name, so that the two
    /// cannot be distinguished; for a NUL byte; for a template that was created without a model.
    pub fn tokens(&self) -> Result<Vec<Token>> {
        let vocab = self.template.model()?.vocab();
        let mut tokens: Vec<Token> = vocab.bos().filter(|_| vocab.adds_bos()).into_iter().collect();
        self.append_tokens(vocab, 0, &mut tokens)?;
        let is_closed = self.request["add_generation_prompt"] == Value::Bool(false);
        tokens.extend(vocab.eos().filter(|_| vocab.adds_eos() && is_closed));
        Ok(tokens)
    }

    /// Tokenises the text from an offset on, and appends the tokens.
    pub(super) fn append_tokens(&self, vocab: Vocab<'_>, from: usize, tokens: &mut Vec<Token>) -> Result<()> {
        if let Some(position) = self.text.find('\0') {
            let reason =
                format!("it has a NUL byte at position {position}, which no model was trained on: remove it");
            return Err(ErrorKind::InvalidPrompt { reason }.into());
        }
        let mut start = from;
        let cuts = self.cuts()?.into_iter().filter(|cut| *cut > from).chain([self.text.len()]);
        for end in cuts {
            append_part(vocab, &self.text[start..end], start > 0, tokens)?;
            start = end;
        }
        Ok(())
    }

    /// Returns the offsets at which the text is cut, so that the names of special tokens in messages are split.
    fn cuts(&self) -> Result<Vec<usize>> {
        let parts = self.description.prompt.iter().map(|part| (part.text.as_str(), part.is_input));
        let special = self.template.special()?.of_prompt(parts)?;
        let marker = Marker::new();
        let mut request = self.request.clone();
        let mut any = false;
        for field in ["messages", "tools"] {
            if let Some(value) = request.get_mut(field) {
                any |= marker.insert(value, special)?;
            }
        }
        if !any {
            return Ok(Vec::new());
        }
        let marked = Self::rendered(Arc::clone(&self.template), request, None)?;
        marker.find(&marked.text, &self.text).ok_or_else(|| {
            let reason = "a message names a special token of the model, and the chat template changes such texts, so that \
                          it cannot be distinguished from the template's own: remove it from the message, or use another \
                          template";
            ErrorKind::InvalidPrompt { reason: reason.to_owned() }.into()
        })
    }

    /// Parses a whole answer. [`AnswerParser`] parses one while it streams, with the same result.
    ///
    /// Any answer can be parsed: text that does not fit the template's format is content, and incomplete calls are left out.
    /// [`Answer::problem`] says so.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`] when llama.cpp gives no grammar for the answers of the template, which is not expected.
    pub fn parse(&self, answer: &str) -> Result<Answer> {
        let mut parser = self.parser();
        parser.push(answer);
        parser.finish().0
    }

    /// Creates a parser for an answer that streams.
    #[must_use]
    pub fn parser(&self) -> AnswerParser {
        AnswerParser::new(
            self.answers.get_or_init(|| self.read_grammar().map_err(|error| error.to_string())).clone(),
        )
    }

    fn read_grammar(&self) -> Result<Arc<Format>> {
        let tools = self.request.get("tools").and_then(Value::as_array).into_iter().flatten();
        let offered =
            tools.filter_map(|tool| tool["function"]["name"].as_str().map(ToOwned::to_owned)).collect();
        let Description { format, generation_prompt, .. } = &self.description;
        Ok(Arc::new(Format::new(&self.turn.grammar()?, format, generation_prompt, offered)?))
    }
}

/// Removes the reasoning of the answers whose content is dropped. Returns the request and the removed parts.
fn without_reasoning(request: &Value, lost: &[LeftOut]) -> (Value, Vec<LeftOut>) {
    let mut request = request.clone();
    let mut dropped = Vec::new();
    for item in lost {
        if let LeftOut::Content { message } = *item {
            let fields = request["messages"][message].as_object_mut();
            if fields.and_then(|fields| fields.remove("reasoning_content")).is_some() {
                dropped.push(LeftOut::Reasoning { message });
            }
        }
    }
    (request, dropped)
}

/// Tokenises a part of the prompt and appends the tokens. `goes_on` says that other text comes before it.
fn append_part(vocab: Vocab<'_>, text: &str, goes_on: bool, tokens: &mut Vec<Token>) -> Result<()> {
    let options = TokenizeOptions::default().add_special(false).parse_special(true);
    if text.is_empty() {
        return Ok(());
    }
    // SentencePiece adds a space before a text, but not after a new line, whose tokens are known.
    if goes_on && vocab.kind() == VocabKind::Spm {
        let line = vocab.tokenize("\n", options)?;
        let behind = vocab.tokenize(&format!("\n{text}"), options)?;
        if let Some(rest) = behind.strip_prefix(line.as_slice()) {
            tokens.extend_from_slice(rest);
            return Ok(());
        }
    }
    tokens.extend(vocab.tokenize(text, options)?);
    Ok(())
}
