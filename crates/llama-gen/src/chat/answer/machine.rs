//! Interprets a grammar over a growing text, without reading its certain part again.
//!
//! Reading is deterministic until a node depends on the end of the text. The state before that node is the checkpoint.
//! Everything read after it is a guess, which the next piece of text discards.

use std::sync::Arc;

use super::grammar::{Grammar, Id, Node, Tag};
use super::leaf::{Certain, Status, Text};
use super::reader::{Mark, Reader};

/// The most levels of a rule within itself, as in llama.cpp's own interpreter (peg-parser.cpp, `RULE_RECURSIVE_LIMIT`).
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Machine {
    grammar: Arc<Grammar>,
    pub(super) input: String,
    pub(super) reader: Reader,
    frames: Vec<Frame>,
    marks: Vec<Mark>,
    action: Action,
    checkpoint: Option<Checkpoint>,
    /// Whether no more text follows, so that nothing is a guess.
    is_last: bool,
    /// The longest match of an outer sequence that failed.
    pub(super) failed: Option<Failed>,
}

/// A node that is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    node: Id,
    /// The index of the child, or the number of repetitions.
    index: usize,
    start: usize,
    pos: usize,
    /// Whether only rules, tags and choices are around it.
    is_outer: bool,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Read {
        node: Id,
        start: usize,
        from: Certain,
    },
    /// Continues the repetition on top of the stack.
    Again,
    Return {
        status: Status,
        end: usize,
    },
}

#[derive(Clone, Debug)]
struct Checkpoint {
    frames: Vec<Frame>,
    marks: Vec<Mark>,
    action: Action,
    mark: Mark,
}

/// The result of reading to the end of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The grammar matches up to `end`. `is_certain`: more text cannot change that.
    Success { end: usize, is_certain: bool },
    /// Nothing matches.
    Fail { is_certain: bool },
    /// More text is needed. The text from `unread` on has not been shown yet.
    NeedMore { unread: usize },
}

/// The matching beginning of an answer that does not match as a whole.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) at: usize,
    pub(super) reader: Reader,
    pub(super) mark: Mark,
}

/// The part of an answer in which a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Outside of calls.
    Text,
    /// Among calls, at the end of one, or within its arguments.
    Calls,
    /// At the beginning of a call.
    Call,
}

/// The meaning of the end of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// More text may follow.
    Open,
    /// The end of the answer.
    Complete,
    /// The end of the answer, where an incomplete node does not match.
    Strict,
}

impl Machine {
    /// Creates a machine whose text begins with the end of the prompt, the beginning of the answer.
    pub(super) fn new(grammar: Arc<Grammar>, generation_prompt: &str) -> Self {
        let action = Action::Read { node: grammar.root, start: 0, from: Certain::nothing(0) };
        Self {
            grammar,
            input: generation_prompt.to_owned(),
            reader: Reader::default(),
            frames: Vec::new(),
            marks: Vec::new(),
            action,
            checkpoint: None,
            is_last: false,
            failed: None,
        }
    }

    /// Reads on to the end of the text.
    pub(super) fn run(&mut self, end: End) -> Outcome {
        if let Some(checkpoint) = self.checkpoint.take() {
            self.reader.be_certain(&checkpoint.mark);
            (self.frames, self.marks, self.action) = (checkpoint.frames, checkpoint.marks, checkpoint.action);
        }
        self.is_last = end != End::Open;
        loop {
            #[cfg(test)]
            super::tests::add_work(1);
            let next = match self.action {
                Action::Read { node, start, from } => self.read(node, start, from, end),
                Action::Again => self.again(end),
                Action::Return { status, end } => {
                    let Some(next) = self.give_back(status, end) else { return self.outcome(status, end) };
                    Ok(next)
                }
            };
            match next {
                Ok(action) => self.action = action,
                Err(unread) => {
                    let hidden = self.hidden().map(|frame| frame.start);
                    return Outcome::NeedMore { unread: hidden.unwrap_or(unread).min(unread) };
                }
            }
        }
    }

    fn outcome(&mut self, status: Status, end: usize) -> Outcome {
        let is_certain = self.checkpoint.is_none();
        self.action = Action::Return { status, end };
        match status {
            Status::Success => Outcome::Success { end, is_certain },
            _ => Outcome::Fail { is_certain },
        }
    }

    /// Returns the lengths of the parsed texts that can be shown.
    pub(super) fn shown(&self) -> Mark {
        let hidden = self.hidden().and_then(|hidden| {
            let marked = self.frames.iter().take_while(|frame| !core::ptr::eq(*frame, hidden));
            self.marks.get(marked.filter(|frame| self.has_mark(frame)).count()).copied()
        });
        hidden.unwrap_or_else(|| self.reader.mark())
    }

    /// Returns the outermost unfinished node whose text is not shown yet.
    fn hidden(&self) -> Option<&Frame> {
        let nodes = &self.grammar.nodes;
        let hides = |frame: &&Frame| {
            matches!(nodes[frame.node], Node::Atomic { .. } | Node::And { .. } | Node::Not { .. })
        };
        self.frames.iter().find(hides)
    }

    /// Returns the part of the answer in which the text ends.
    pub(super) fn place(&self) -> Place {
        let nodes = &self.grammar.nodes;
        let is_loose = |node| matches!(nodes[node], Node::Call { .. });
        if matches!(self.action, Action::Read { node, .. } if is_loose(node)) {
            return Place::Call;
        }
        let place = self.frames.iter().map(|frame| match &nodes[frame.node] {
            Node::Tag { tag: Tag::ToolOpen, .. } => Place::Call,
            Node::Tag { tag: Tag::Tool, .. } | Node::Rule { trigger: true, .. } => Place::Calls,
            _ => Place::Text,
        });
        place.max().unwrap_or(Place::Text)
    }

    /// Discards the state of the grammar. Nothing is read after that.
    pub(super) fn stop(&mut self) {
        self.frames.clear();
        self.marks.clear();
        self.checkpoint = None;
    }

    fn has_mark(&self, frame: &Frame) -> bool {
        match self.grammar.nodes[frame.node] {
            Node::Sequence { .. } => frame.is_outer,
            Node::Rule { .. } | Node::Tag { .. } => false,
            _ => true,
        }
    }

    /// Stores the state as the checkpoint, unless it is a guess already. The next match depends on the end of the text.
    fn keep(&mut self, action: Action, at: usize) {
        if self.checkpoint.is_some() || self.is_last {
            return;
        }
        self.reader.flush(&self.input, at);
        let mark = self.reader.mark();
        let (frames, marks) = (self.frames.clone(), self.marks.clone());
        self.checkpoint = Some(Checkpoint { frames, marks, action, mark });
        self.reader.guess();
    }

    /// Reads a node, or begins to. The error is the offset at which more text is needed.
    fn read(&mut self, node: Id, start: usize, from: Certain, end: End) -> Result<Action, usize> {
        let grammar = Arc::clone(&self.grammar);
        let read = |child| Action::Read { node: child, start, from: Certain::nothing(start) };
        match &grammar.nodes[node] {
            Node::Same { child } => return Ok(read(*child)),
            Node::Sequence { children } | Node::Choice { children } if children.is_empty() => {
                let matches = matches!(grammar.nodes[node], Node::Sequence { .. });
                let status = if matches { Status::Success } else { Status::Fail };
                return Ok(Action::Return { status, end: start });
            }
            Node::Sequence { children } | Node::Choice { children } => {
                self.begin(node, start);
                return Ok(read(children[0]));
            }
            Node::Repetition { .. } => {
                self.begin(node, start);
                return Ok(Action::Again);
            }
            Node::And { child } | Node::Not { child } | Node::Atomic { child } => {
                self.begin(node, start);
                return Ok(read(*child));
            }
            Node::Rule { child, name, .. } => {
                if self.frames.iter().filter(|frame| frame.node == node).count() >= MAX_DEPTH {
                    return Ok(Action::Return { status: Status::Fail, end: start });
                }
                self.begin(node, start);
                if grammar.is_gemma {
                    self.reader.enter_gemma(name, &self.input, start);
                }
                return Ok(read(*child));
            }
            Node::Tag { child, tag } => {
                self.begin(node, start);
                if !(grammar.is_gemma && *tag == Tag::ToolArgs) {
                    self.reader.enter(*tag, &self.input, start);
                }
                return Ok(read(*child));
            }
            _ => {}
        }
        self.read_leaf(&grammar.nodes[node], node, start, from, end)
    }

    fn read_leaf(
        &mut self,
        leaf: &Node,
        node: Id,
        start: usize,
        from: Certain,
        end: End,
    ) -> Result<Action, usize> {
        let text = Text { text: &self.input, is_complete: end != End::Open, is_strict: end == End::Strict };
        let step = text.read(leaf, start, from);
        #[cfg(test)]
        super::tests::add_work(step.end.max(step.certain.at).saturating_sub(from.at));
        if step.touched {
            self.keep(Action::Read { node, start, from: step.certain }, step.certain.at);
        }
        if step.status == Status::NeedMore {
            self.reader.flush(&self.input, step.certain.at);
            return Err(step.certain.at);
        }
        if let Node::Call { is_marked } = leaf
            && step.status == Status::Success
        {
            self.reader.flush(&self.input, start);
            let is_call = self.reader.loose_call(&self.input[start..step.end], *is_marked);
            let status = if is_call { Status::Success } else { Status::Fail };
            return Ok(Action::Return { status, end: step.end });
        }
        Ok(Action::Return { status: step.status, end: step.end })
    }

    fn begin(&mut self, node: Id, start: usize) {
        let is_outer = self.frames.iter().all(|frame| {
            matches!(
                self.grammar.nodes[frame.node],
                Node::Rule { .. } | Node::Tag { .. } | Node::Choice { .. }
            )
        });
        let frame = Frame { node, index: 0, start, pos: start, is_outer };
        if self.has_mark(&frame) {
            self.reader.flush(&self.input, start);
            self.marks.push(self.reader.mark());
        }
        self.frames.push(frame);
    }

    fn again(&mut self, end: End) -> Result<Action, usize> {
        let Some(frame) = self.frames.last().copied() else { return Err(self.input.len()) };
        let Node::Repetition { child, min, max } = self.grammar.nodes[frame.node] else {
            return Err(frame.pos);
        };
        let count = i64::try_from(frame.index).unwrap_or(i64::MAX);
        let is_at_end = frame.pos >= self.input.len();
        if max >= 0 && count >= max {
            return Ok(self.end_repetition(Status::Success, frame.pos));
        }
        if !is_at_end {
            return Ok(Action::Read { node: child, start: frame.pos, from: Certain::nothing(frame.pos) });
        }
        self.keep(Action::Again, frame.pos);
        if count >= min {
            return Ok(self.end_repetition(Status::Success, frame.pos));
        }
        if end == End::Strict {
            return Ok(self.end_repetition(Status::Fail, frame.pos));
        }
        Err(frame.pos)
    }

    fn end_repetition(&mut self, status: Status, end: usize) -> Action {
        self.frames.pop();
        self.marks.pop();
        Action::Return { status, end }
    }

    /// Returns the result of a child to its parent node. `None` at the root.
    fn give_back(&mut self, status: Status, end: usize) -> Option<Action> {
        let grammar = Arc::clone(&self.grammar);
        let frame = self.frames.last().copied()?;
        let matched = status == Status::Success;
        Some(match &grammar.nodes[frame.node] {
            Node::Sequence { children } => self.after_part(children, frame, matched, end),
            Node::Choice { children } => self.after_option(children, frame, matched, end),
            Node::Repetition { min, .. } => self.after_repeat(*min, frame, matched, end),
            node => {
                self.frames.pop();
                self.after_only(node, frame, matched, end)
            }
        })
    }

    fn after_part(&mut self, children: &[Id], frame: Frame, matched: bool, end: usize) -> Action {
        let next = frame.index + 1;
        if matched && next < children.len() {
            if let Some(top) = self.frames.last_mut() {
                (top.index, top.pos) = (next, end);
            }
            if frame.is_outer
                && let Some(mark) = self.marks.last_mut()
            {
                *mark = self.reader.mark();
            }
            return Action::Read { node: children[next], start: end, from: Certain::nothing(end) };
        }
        self.frames.pop();
        let mark = if frame.is_outer { self.marks.pop() } else { None };
        if let Some(mark) = mark.filter(|_| !matched && self.checkpoint.is_none()) {
            self.fail_at(frame.pos, &mark);
        }
        Action::Return { status: if matched { Status::Success } else { Status::Fail }, end }
    }

    fn fail_at(&mut self, at: usize, mark: &Mark) {
        if self.failed.as_ref().is_none_or(|failed| failed.at < at) {
            self.reader.go_back(mark);
            self.failed = Some(Failed { at, reader: self.reader.clone(), mark: *mark });
        }
    }

    fn after_option(&mut self, children: &[Id], frame: Frame, matched: bool, end: usize) -> Action {
        let next = frame.index + 1;
        if !matched {
            if let Some(mark) = self.marks.last().copied() {
                self.reader.go_back(&mark);
            }
            if let (Some(child), Some(top)) = (children.get(next), self.frames.last_mut()) {
                top.index = next;
                return Action::Read {
                    node: *child,
                    start: frame.start,
                    from: Certain::nothing(frame.start),
                };
            }
        }
        self.frames.pop();
        self.marks.pop();
        Action::Return { status: if matched { Status::Success } else { Status::Fail }, end }
    }

    fn after_repeat(&mut self, min: i64, frame: Frame, matched: bool, end: usize) -> Action {
        if matched && end > frame.pos {
            if let (Some(top), Some(mark)) = (self.frames.last_mut(), self.marks.last_mut()) {
                (top.index, top.pos) = (frame.index + 1, end);
                *mark = self.reader.mark();
            }
            return Action::Again;
        }
        if let Some(mark) = self.marks.last().copied() {
            self.reader.go_back(&mark);
        }
        let is_enough = i64::try_from(frame.index).is_ok_and(|count| count >= min);
        self.end_repetition(if is_enough { Status::Success } else { Status::Fail }, frame.pos)
    }

    /// Handles the result of the only child of a node that was taken off the stack.
    fn after_only(&mut self, node: &Node, frame: Frame, matched: bool, end: usize) -> Action {
        let is = |matched| if matched { Status::Success } else { Status::Fail };
        match node {
            Node::And { .. } | Node::Not { .. } => {
                if let Some(mark) = self.marks.pop() {
                    self.reader.go_back(&mark);
                }
                let wanted = matches!(node, Node::And { .. });
                return Action::Return { status: is(matched == wanted), end: frame.start };
            }
            Node::Atomic { .. } => _ = self.marks.pop(),
            Node::Rule { name, .. } if matched && self.grammar.is_gemma => {
                self.reader.exit_gemma(name, &self.input, frame.start, end);
            }
            Node::Tag { tag: Tag::ToolArgs, .. } if matched && self.grammar.is_gemma => {
                self.reader.exit_gemma_arguments();
            }
            Node::Tag { tag, .. } if matched => self.reader.exit(*tag, &self.input, frame.start, end),
            _ => {}
        }
        Action::Return { status: is(matched), end }
    }
}
