//! Builds an answer from the matches of the grammar, in their order.

use super::buffer::Buffer;
use super::call::{self, Call, Span};
use super::grammar::Tag;
use super::value::{Python, Value};

/// The parsed part of an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    pub(super) content: Buffer,
    pub(super) reasoning: Buffer,
    /// The arguments of all calls, one after the other.
    pub(super) arguments: Buffer,
    /// The names and ids of all calls.
    pub(super) names: Buffer,
    /// The calls but the last one.
    calls: Vec<Call>,
    /// Calls that are part of a guess.
    guessed: Vec<Call>,
    /// The number of `calls` in use.
    kept: usize,
    is_guessing: bool,
    now: Now,
}

/// The state within the part that is being read. It is copied to go back.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    call: Option<Call>,
    open: Option<Open>,
    /// The character that closes the value that was read last.
    closing: Option<char>,
    /// A character to insert before the next text beyond an offset.
    due: Option<(usize, char)>,
    /// The range of the input with a value that has no schema.
    loose: Option<Span>,
    has_reasoning: bool,
}

/// A part of the answer whose text is passed on while it is read.
#[derive(Clone, Copy, Debug)]
struct Open {
    target: Target,
    /// The offset up to which it was passed on.
    from: usize,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Content,
    Reasoning,
    Arguments(Value),
}

/// A state to go back to: the lengths of all buffers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub(super) content: usize,
    pub(super) reasoning: usize,
    pub(super) arguments: usize,
    names: usize,
    calls: usize,
    now: Now,
}

impl Reader {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            content: self.content.len(),
            reasoning: self.reasoning.len(),
            arguments: self.arguments.len(),
            names: self.names.len(),
            calls: self.kept + self.guessed.len(),
            now: self.now,
        }
    }

    pub(super) fn go_back(&mut self, mark: &Mark) {
        self.content.truncate(mark.content);
        self.reasoning.truncate(mark.reasoning);
        self.arguments.truncate(mark.arguments);
        self.names.truncate(mark.names);
        self.guessed.truncate(mark.calls.saturating_sub(self.kept));
        self.kept = self.kept.min(mark.calls);
        if !self.is_guessing {
            self.calls.truncate(self.kept);
        }
        self.now = mark.now;
    }

    /// Begins a guess, which [`be_certain`](Self::be_certain) discards.
    pub(super) fn guess(&mut self) {
        self.is_guessing = true;
        self.buffers().into_iter().for_each(Buffer::guess);
    }

    /// Goes back to the beginning of the guess, where `mark` was taken.
    pub(super) fn be_certain(&mut self, mark: &Mark) {
        self.buffers().into_iter().for_each(Buffer::be_certain);
        self.guessed.clear();
        self.kept = self.calls.len();
        self.is_guessing = false;
        self.now = mark.now;
    }

    fn buffers(&mut self) -> [&mut Buffer; 4] {
        [&mut self.content, &mut self.reasoning, &mut self.arguments, &mut self.names]
    }

    /// Returns the calls that have a name, up to a mark, each with the range of its arguments.
    pub(super) fn calls<'r>(
        &'r self,
        mark: &'r Mark,
        from: usize,
    ) -> impl Iterator<Item = (Call, Span)> + 'r {
        let split = mark.calls.min(self.kept);
        let first = from.min(split);
        let ended = self.calls[first..split].iter().chain(&self.guessed[..mark.calls - split]);
        let all = ended.copied().chain(mark.now.call.filter(|call| call.name.is_some()));
        let mut all = all.skip(from - first).peekable();
        core::iter::from_fn(move || {
            let call = all.next()?;
            let end = all.peek().map_or(mark.arguments, |next| next.arguments);
            Some((call, (call.arguments, end)))
        })
    }

    /// Returns whether the reasoning up to a mark has more than whitespace.
    pub(super) fn has_reasoning(mark: &Mark) -> bool {
        mark.now.has_reasoning
    }

    /// Returns whether the last call has a name, so that [`calls`](Self::calls) includes it.
    pub(super) fn has_call(mark: &Mark) -> bool {
        mark.now.call.is_some_and(|call| call.name.is_some())
    }

    /// Passes on the text up to an offset.
    pub(super) fn flush(&mut self, input: &str, to: usize) {
        if let Some((_, char)) = self.now.due.filter(|(at, _)| to > *at) {
            self.now.due = None;
            self.arguments.push(char);
        }
        let Some(mut open) = self.now.open.filter(|open| open.from < to) else { return };
        match &mut open.target {
            Target::Content => self.content.push_str(&input[open.from..to]),
            Target::Reasoning => {
                let text = &input[open.from..to];
                self.now.has_reasoning |= !text.trim_matches([' ', '\n', '\r', '\t']).is_empty();
                self.reasoning.push_str(text);
            }
            Target::Arguments(value) => value.push(input, open.from, to, &mut self.arguments),
        }
        open.from = to;
        self.now.open = Some(open);
    }

    fn open(&mut self, target: Target, at: usize) {
        self.now.open = Some(Open { target, from: at });
    }

    /// Begins a part.
    pub(super) fn enter(&mut self, tag: Tag, input: &str, at: usize) {
        self.flush(input, at);
        match tag {
            Tag::Content => self.open(Target::Content, at),
            Tag::Reasoning => self.open(Target::Reasoning, at),
            Tag::ToolOpen => self.begin_call(),
            _ if self.now.call.is_none() => {}
            Tag::ToolArgs => self.open(Target::Arguments(Value::Start), at),
            Tag::ToolArgOpen => self.close_value(),
            Tag::ToolArgValue => self.open(Target::Arguments(Value::Python(Python::default())), at),
            Tag::ToolArgStringValue => {
                if self.now.closing.is_none() {
                    self.arguments.push('"');
                }
                self.now.closing = Some('"');
                self.open(Target::Arguments(Value::Text), at);
            }
            Tag::ToolArgObject => self.now.due = Some((at, '{')),
            Tag::ToolArgArray => self.now.due = Some((at, '[')),
            Tag::ToolArgItem if !self.is_first() => self.now.due = Some((at, ',')),
            _ => {}
        }
    }

    /// Ends a part that began at `start`.
    pub(super) fn exit(&mut self, tag: Tag, input: &str, start: usize, end: usize) {
        self.flush(input, end);
        if matches!(tag, Tag::Content | Tag::Reasoning) {
            self.now.open = None;
        }
        let Some(mut call) = self.now.call else { return };
        let text = &input[start..end];
        match tag {
            Tag::ToolName => call.name = Some(self.add_name(text.trim_end())),
            Tag::ToolId => {
                let id = text.trim_end();
                let unquoted = id.strip_prefix('"').and_then(|id| id.strip_suffix('"'));
                call.id = self.add_name(unquoted.unwrap_or(id));
            }
            Tag::ToolArgs => {
                self.end_arguments(&mut call, text, start);
                self.now.open = None;
            }
            Tag::ToolArgName => {
                self.add_key(text.strip_prefix(char::is_whitespace).unwrap_or(text).trim_end());
                call.is_built = true;
                self.now.open = None;
            }
            Tag::ToolArgValue | Tag::ToolArgStringValue => self.now.open = None,
            Tag::LooseValue => self.now.loose = Some((start, end)),
            Tag::ToolArgClose => {
                if let Some((start, end)) = self.now.loose.take() {
                    self.arguments.push_str(&loose_value(&input[start..end]));
                }
                self.close_value();
            }
            Tag::ToolArgObject => self.end_container('{', '}'),
            Tag::ToolArgArray => self.end_container('[', ']'),
            Tag::ToolClose => {
                self.close_value();
                self.end_call(&mut call);
            }
            _ => {}
        }
        self.now.call = Some(call);
    }

    /// Begins a rule of Gemma's notation.
    pub(super) fn enter_gemma(&mut self, rule: &str, input: &str, at: usize) {
        self.flush(input, at);
        match rule {
            "gemma4-dict" => self.now.due = Some((at, '{')),
            "gemma4-array" => self.now.due = Some((at, '[')),
            "gemma4-value" if !self.is_first() => self.arguments.push(','),
            "gemma4-string-content" => {
                self.arguments.push('"');
                self.open(Target::Arguments(Value::Text), at);
            }
            _ => {}
        }
    }

    /// Ends a rule of Gemma's notation.
    pub(super) fn exit_gemma(&mut self, rule: &str, input: &str, start: usize, end: usize) {
        self.flush(input, end);
        match rule {
            "gemma4-dict" => self.arguments.push('}'),
            "gemma4-array" => self.arguments.push(']'),
            "gemma4-string-content" => self.now.open = None,
            "gemma4-string" => self.arguments.push('"'),
            "gemma4-dict-key" => self.add_key(input[start..end].trim_end_matches(':')),
            "gemma4-number" | "gemma4-bool" | "gemma4-null" => self.arguments.push_str(&input[start..end]),
            _ => {}
        }
    }

    /// Ends arguments in Gemma's notation, which need no closing.
    pub(super) fn exit_gemma_arguments(&mut self) {
        if let Some(call) = &mut self.now.call {
            call.is_whole = true;
        }
    }

    /// Reads a JSON object as a call. Returns false when it is not one.
    pub(super) fn loose_call(&mut self, text: &str, is_marked: bool) -> bool {
        let Some(loose) = call::loose_call(text, is_marked) else { return false };
        self.begin_call();
        let name = self.add_name(&loose.name);
        let id = self.add_name(&loose.id);
        if let Some(call) = &mut self.now.call {
            (call.name, call.id, call.is_whole) = (Some(name), id, true);
        }
        self.arguments.push_str(&loose.arguments);
        true
    }

    fn begin_call(&mut self) {
        let ended = self.now.call.take().filter(|call| call.name.is_some());
        match ended {
            Some(call) if self.is_guessing => self.guessed.push(call),
            Some(call) => {
                self.calls.push(call);
                self.kept = self.calls.len();
            }
            None => {}
        }
        self.now.closing = None;
        self.now.call = Some(Call { arguments: self.arguments.len(), ..Call::default() });
    }

    fn end_arguments(&mut self, call: &mut Call, text: &str, start: usize) {
        let Some(Open { target: Target::Arguments(value), .. }) = self.now.open else { return };
        match value {
            _ if call.is_built => {}
            Value::Object { .. } => call.is_whole = true,
            Value::Encoded(_)
                if call::is_object(&self.arguments.slice(call.arguments, self.arguments.len())).is_ok() =>
            {
                call.is_whole = true;
            }
            Value::Odd | Value::Encoded(_) => match call::object_within(text) {
                Some(object) if self.arguments.len() == call.arguments => {
                    self.arguments.push_str(&object);
                    call.is_whole = true;
                }
                _ => call.odd = Some((start, start + text.len())),
            },
            _ => {}
        }
    }

    fn end_call(&mut self, call: &mut Call) {
        if call.is_whole || call.odd.is_some() {
            return;
        }
        if self.arguments.len() == call.arguments {
            self.arguments.push('{');
        }
        self.arguments.push('}');
        call.is_whole = true;
    }

    fn end_container(&mut self, open: char, close: char) {
        if self.now.due.take().is_some() {
            self.arguments.push(open);
        }
        self.now.closing = Some(close);
    }

    fn close_value(&mut self) {
        if let Some(closing) = self.now.closing.take() {
            self.arguments.push(closing);
        }
    }

    /// Returns whether the next member or element is the first one.
    fn is_first(&self) -> bool {
        let begins = self.now.call.is_some_and(|call| call.arguments == self.arguments.len());
        begins || self.now.due.is_some() || matches!(self.arguments.last_byte(), Some(b'{' | b'[' | b':'))
    }

    fn add_key(&mut self, name: &str) {
        let begins = self.now.call.is_some_and(|call| call.arguments == self.arguments.len());
        if begins {
            self.arguments.push('{');
        } else if !self.is_first() {
            self.arguments.push(',');
        }
        self.arguments.push('"');
        self.arguments.push_str(&call::escape(name));
        self.arguments.push_str("\":");
    }

    fn add_name(&mut self, name: &str) -> Span {
        let start = self.names.len();
        self.names.push_str(name);
        (start, self.names.len())
    }
}

/// Converts a value without a schema to JSON: JSON other than a string stays unchanged, the rest becomes a string.
fn loose_value(text: &str) -> String {
    let text = text.trim_matches('\n');
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::String(_)) | Err(_) => format!("\"{}\"", call::escape(text)),
        Ok(_) => text.trim().to_owned(),
    }
}
