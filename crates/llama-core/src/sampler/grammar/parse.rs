//! A parser for GBNF that accepts the same grammars as llama.cpp's (llama-grammar.cpp, `llama_grammar_parser`).

use std::collections::HashMap;

use super::{Flaw, Resolve};

/// llama.cpp's limit of repetitions; a larger upper limit means unlimited.
const MAX_REPETITIONS: u64 = 2000;
/// llama.cpp's limit of nested groups.
const MAX_DEPTH: u32 = 256;
/// Limit of elements in all rules. llama.cpp needs some 30 bytes for each.
const MAX_ELEMENTS: usize = 4_000_000;

/// An element of a rule, reduced to what the checks need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// Start of another alternative.
    Alternative,
    /// Reference to the rule with this index.
    Rule(usize),
    /// A character, the first of a class of characters, or a token.
    Terminal,
    /// Further characters of a class.
    Continuation,
}

/// A rule, either written or generated for a group or a repetition.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// The name; a generated rule has the name of the rule it was generated for.
    pub(super) name: String,
    pub(super) is_generated: bool,
    pub(super) elements: Vec<Element>,
    is_defined: bool,
    /// Byte offset at which the name was first seen.
    first: usize,
}

/// A parsed grammar.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) rules: Vec<Rule>,
}

pub(super) fn parse(text: &str, n_vocab: u32, resolve: &Resolve<'_>) -> Result<Parsed, Flaw> {
    let mut parser =
        Parser { text, at: 0, n_vocab, resolve, ids: HashMap::new(), rules: Vec::new(), n_elements: 0 };
    parser.grammar().map_err(|(at, message)| Flaw { at: Some(line_and_column(text, at)), message })?;
    Ok(Parsed { rules: parser.rules })
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A byte offset and a description of the problem there.
type Wrong = (usize, String);

struct Parser<'a> {
    text: &'a str,
    at: usize,
    n_vocab: u32,
    resolve: &'a Resolve<'a>,
    ids: HashMap<&'a str, usize>,
    rules: Vec<Rule>,
    n_elements: usize,
}

/// The rule being read.
struct Current<'a> {
    name: &'a str,
    elements: Vec<Element>,
    nested: bool,
    depth: u32,
}

/// The part of a rule to which a repetition applies.
#[derive(Clone, Copy)]
struct Last {
    start: usize,
    /// Number of rules generated from it; llama.cpp limits the product of nested repetitions.
    n_rules: u64,
}

impl<'a> Parser<'a> {
    fn grammar(&mut self) -> Result<(), Wrong> {
        self.space(true);
        while self.at < self.text.len() {
            self.rule()?;
        }
        match self.rules.iter().find(|rule| !rule.is_defined) {
            Some(rule) => Err((rule.first, format!("the rule `{}` is not defined", rule.name))),
            None => Ok(()),
        }
    }

    fn rule(&mut self) -> Result<(), Wrong> {
        let at = self.at;
        let name = self.name();
        if name.is_empty() {
            return Err((at, "expected the name of a rule (letters, digits, `-`)".to_owned()));
        }
        let id = self.symbol(name, at);
        self.space(false);
        if !self.text[self.at..].starts_with("::=") {
            return self.fail("expected `::=` after the name of the rule");
        }
        self.at += 3;
        self.space(true);
        self.alternatives(name, id, false, 0)?;
        match self.byte() {
            b'\r' => self.at += if self.text[self.at..].starts_with("\r\n") { 2 } else { 1 },
            b'\n' => self.at += 1,
            _ if self.at < self.text.len() => return self.fail("expected the end of the line"),
            _ => {}
        }
        self.space(true);
        Ok(())
    }

    fn alternatives(&mut self, name: &'a str, id: usize, nested: bool, depth: u32) -> Result<(), Wrong> {
        let mut current = Current { name, elements: Vec::new(), nested, depth };
        self.sequence(&mut current)?;
        while self.byte() == b'|' {
            self.push(&mut current.elements, Element::Alternative)?;
            self.at += 1;
            self.space(true);
            self.sequence(&mut current)?;
        }
        self.rules[id].elements = current.elements;
        self.rules[id].is_defined = true;
        Ok(())
    }

    fn sequence(&mut self, current: &mut Current<'a>) -> Result<(), Wrong> {
        let mut last = Last { start: current.elements.len(), n_rules: 1 };
        loop {
            let start = current.elements.len();
            match self.byte() {
                b'"' => {
                    self.literal(current)?;
                    last = Last { start, n_rules: 1 };
                }
                b'[' => {
                    self.class(current)?;
                    last = Last { start, n_rules: 1 };
                }
                b'<' | b'!' => {
                    self.token()?;
                    self.push(&mut current.elements, Element::Terminal)?;
                    last = Last { start, n_rules: 1 };
                }
                b'.' => {
                    self.at += 1;
                    self.push(&mut current.elements, Element::Terminal)?;
                    last = Last { start, n_rules: 1 };
                }
                b'(' => last = Last { start, n_rules: self.group(current)? },
                byte if is_word(byte) => {
                    let at = self.at;
                    let name = self.name();
                    let id = self.symbol(name, at);
                    self.push(&mut current.elements, Element::Rule(id))?;
                    last = Last { start, n_rules: 1 };
                }
                b'*' | b'+' | b'?' | b'{' => self.repetition(current, &mut last)?,
                _ => return Ok(()),
            }
            self.space(current.nested);
        }
    }

    fn literal(&mut self, current: &mut Current<'a>) -> Result<(), Wrong> {
        self.at += 1;
        while self.byte() != b'"' {
            self.character("the text in quotes does not end")?;
            self.push(&mut current.elements, Element::Terminal)?;
        }
        self.at += 1;
        Ok(())
    }

    fn class(&mut self, current: &mut Current<'a>) -> Result<(), Wrong> {
        const OPEN: &str = "the character class does not end";
        self.at += 1;
        if self.byte() == b'^' {
            self.at += 1;
        }
        let mut element = Element::Terminal;
        while self.byte() != b']' {
            self.character(OPEN)?;
            self.push(&mut current.elements, element)?;
            element = Element::Continuation;
            if self.byte() == b'-' && self.byte_at(1) != b']' {
                self.at += 1;
                self.character(OPEN)?;
                self.push(&mut current.elements, element)?;
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a token, `<[12]>` or `<text>`, with an optional `!` in front for any other token.
    fn token(&mut self) -> Result<(), Wrong> {
        if self.byte() == b'!' {
            self.at += 1;
        }
        let start = self.at;
        self.expect(b'<')?;
        if self.byte() == b'[' {
            self.at += 1;
            let id = self.number()?;
            self.expect(b']')?;
            self.expect(b'>')?;
            if id >= u64::from(self.n_vocab) {
                let limit = self.n_vocab;
                let message = format!("token {id} is out of range: the vocabulary has {limit} tokens");
                return Err((start, message));
            }
            return Ok(());
        }
        self.at += self.text[self.at..].find('>').unwrap_or(self.text.len() - self.at);
        self.expect(b'>')?;
        (self.resolve)(&self.text[start..self.at]).map(drop).map_err(|message| (start, message))
    }

    /// Reads a group and returns the number of rules generated from it.
    fn group(&mut self, current: &mut Current<'a>) -> Result<u64, Wrong> {
        if current.depth >= MAX_DEPTH {
            return self.fail("groups are nested more than 256 deep");
        }
        self.at += 1;
        self.space(true);
        let before = self.rules.len();
        let id = self.generate(current.name);
        self.alternatives(current.name, id, true, current.depth + 1)?;
        if self.byte() != b')' {
            return self.fail("expected `)`");
        }
        self.at += 1;
        self.push(&mut current.elements, Element::Rule(id))?;
        Ok((self.rules.len() - before) as u64)
    }

    fn repetition(&mut self, current: &mut Current<'a>, last: &mut Last) -> Result<(), Wrong> {
        let at = self.at;
        let mark = char::from(self.byte());
        self.at += 1;
        let (min, max) = match mark {
            '*' => (0, None),
            '+' => (1, None),
            '?' => (0, Some(1)),
            _ => self.bounds(current.nested)?,
        };
        if min > MAX_REPETITIONS {
            return Err((at, format!("{min} repetitions: llama.cpp takes at most {MAX_REPETITIONS}")));
        }
        // llama.cpp treats an upper limit that is too large as unlimited, and does not compare the two limits: it
        // would run out of memory on "a"{5,2}.
        let max = max.filter(|max| *max <= MAX_REPETITIONS);
        if let Some(max) = max.filter(|max| *max < min) {
            return Err((
                at,
                format!("repeats from {min} up to {max} times, but the second must not be less"),
            ));
        }
        if last.start == current.elements.len() {
            return Err((at, format!("nothing to repeat before `{mark}`")));
        }
        self.repeat(current, last, min, max).map_err(|message| (at, message))
    }

    /// Reads the two numbers of `{2,5}` after the brace.
    fn bounds(&mut self, nested: bool) -> Result<(u64, Option<u64>), Wrong> {
        self.space(nested);
        let min = self.number()?;
        self.space(nested);
        if self.byte() == b'}' {
            self.at += 1;
            return Ok((min, Some(min)));
        }
        if self.byte() != b',' {
            return self.fail("expected `,` or `}`");
        }
        self.at += 1;
        self.space(nested);
        let max = if self.byte().is_ascii_digit() { Some(self.number()?) } else { None };
        self.space(nested);
        self.expect(b'}')?;
        Ok((min, max))
    }

    /// Rewrites a repetition into rules, as llama.cpp does (`handle_repetitions`).
    fn repeat(
        &mut self,
        current: &mut Current<'a>,
        last: &mut Last,
        min: u64,
        max: Option<u64>,
    ) -> Result<(), String> {
        let total = max.filter(|max| *max > 0).unwrap_or(min).max(1);
        if last.n_rules * total > MAX_REPETITIONS {
            let n = last.n_rules;
            return Err(format!(
                "{total} repetitions of {n} rules: llama.cpp takes at most {MAX_REPETITIONS} of both"
            ));
        }
        let repeated = current.elements[last.start..].to_vec();
        if min == 0 {
            current.elements.truncate(last.start);
        }
        for _ in 1..min {
            self.count(repeated.len())?;
            current.elements.extend_from_slice(&repeated);
        }
        let mut inner = None;
        for index in 0..max.map_or(1, |max| max - min) {
            self.count(repeated.len() + 3)?;
            let id = self.generate(current.name);
            let mut elements = repeated.clone();
            match max {
                None => elements.push(Element::Rule(id)),
                Some(_) if index > 0 => elements.extend(inner.map(Element::Rule)),
                Some(_) => {}
            }
            elements.push(Element::Alternative);
            self.rules[id].elements = elements;
            self.rules[id].is_defined = true;
            inner = Some(id);
        }
        current.elements.extend(inner.map(Element::Rule));
        last.n_rules *= total;
        Ok(())
    }

    fn character(&mut self, at_end: &str) -> Result<(), Wrong> {
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else {
            return self.fail(at_end);
        };
        if first != '\\' {
            self.at += first.len_utf8();
            return Ok(());
        }
        let digits = match self.byte_at(1) {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            b't' | b'r' | b'n' | b'\\' | b'"' | b'[' | b']' | b'-' => 0,
            _ => return self.fail(r#"unknown escape: only \t \r \n \\ \" \[ \] \- \x00 \u0000 \U00000000"#),
        };
        self.at += 2;
        let is_hex = |index| self.byte_at(index).is_ascii_hexdigit();
        if !(0..digits).all(is_hex) {
            return self.fail(&format!("expected {digits} hexadecimal digits"));
        }
        self.at += digits;
        Ok(())
    }

    fn number(&mut self) -> Result<u64, Wrong> {
        let start = self.at;
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        if start == self.at {
            return self.fail("expected a number");
        }
        self.text[start..self.at].parse().map_err(|_| (start, "the number is too large".to_owned()))
    }

    fn name(&mut self) -> &'a str {
        let start = self.at;
        while is_word(self.byte()) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn space(&mut self, newline: bool) {
        loop {
            match self.byte() {
                b' ' | b'\t' => self.at += 1,
                b'\r' | b'\n' if newline => self.at += 1,
                b'#' => {
                    self.at += self.text[self.at..].find(['\r', '\n']).unwrap_or(self.text.len() - self.at);
                }
                _ => return,
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Wrong> {
        if self.byte() != byte {
            return self.fail(&format!("expected `{}`", char::from(byte)));
        }
        self.at += 1;
        Ok(())
    }

    fn fail<T>(&self, message: &str) -> Result<T, Wrong> {
        Err((self.at, message.to_owned()))
    }

    /// Returns the current byte, or 0 at the end. Grammars with NUL bytes have been refused before.
    fn byte(&self) -> u8 {
        self.byte_at(0)
    }

    fn byte_at(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn symbol(&mut self, name: &'a str, first: usize) -> usize {
        let next = self.rules.len();
        let id = *self.ids.entry(name).or_insert(next);
        if id == next {
            let rule = Rule {
                name: name.to_owned(),
                is_generated: false,
                elements: Vec::new(),
                is_defined: false,
                first,
            };
            self.rules.push(rule);
        }
        id
    }

    fn generate(&mut self, name: &str) -> usize {
        let (name, first) = (name.to_owned(), self.at);
        self.rules.push(Rule { name, is_generated: true, elements: Vec::new(), is_defined: false, first });
        self.rules.len() - 1
    }

    fn push(&mut self, elements: &mut Vec<Element>, element: Element) -> Result<(), Wrong> {
        self.count(1).map_err(|message| (self.at, message))?;
        elements.push(element);
        Ok(())
    }

    fn count(&mut self, elements: usize) -> Result<(), String> {
        self.n_elements += elements;
        if self.n_elements > MAX_ELEMENTS {
            return Err(format!(
                "the grammar has more than {MAX_ELEMENTS} elements when repetitions are written out"
            ));
        }
        Ok(())
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}
