//! Which modules of llama-gen may use a context, a clock, a thread or a fixed sequence id.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Finding;
use super::code::Parts;

/// The rules that are switched on. A rule that is off is tested here all the same.
const SWITCHES: [(Rule, bool); 3] =
    [(Rule::Context, true), (Rule::ClockOrThread, true), (Rule::SequenceId, true)];

/// The sources that the rules are for.
const SOURCES: &str = "crates/llama-gen/src/";

/// A restriction on the modules of llama-gen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// `llama_core::Context`, imported or as a path.
    Context,
    /// `Instant::now` and `std::thread`.
    ClockOrThread,
    /// `SeqId::new` with a number, or in a `const` or `static`.
    SequenceId,
}

impl Rule {
    /// Returns the places that the rule does not apply to, relative to [`SOURCES`].
    fn exempt(self) -> &'static [&'static str] {
        match self {
            Self::Context | Self::SequenceId => &["memory/", "memory.rs", "score.rs"],
            Self::ClockOrThread => &["drivers/", "drivers.rs", "score.rs"],
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Context => "only `memory/` and `score.rs` name `llama_core::Context`: go through the board",
            Self::ClockOrThread => {
                "only `drivers/` and `score.rs` call `Instant::now` or `std::thread`: take the time as an argument"
            }
            Self::SequenceId => "only `memory/` and `score.rs` fix a sequence id: take it as an argument",
        }
    }

    /// Whether this use breaks the rule.
    fn forbids(self, found: &Use) -> bool {
        let segments = || found.path.iter().map(String::as_str);
        match self {
            Self::Context => {
                segments().next() == Some("llama_core")
                    && segments().any(|segment| segment == "Context" || segment == "*")
            }
            Self::ClockOrThread => {
                found.path.windows(2).any(|pair| pair == ["Instant", "now"] || pair == ["std", "thread"])
            }
            Self::SequenceId => found.is_constant && found.path.ends_with(&["SeqId".into(), "new".into()]),
        }
    }
}

/// Checks one source file against the rules that are switched on.
pub(super) fn check(path: &Path, name: &str, text: &str, parts: &Parts<'_>) -> Result<Vec<Finding>> {
    let rules = SWITCHES.into_iter().filter(|(_, is_on)| *is_on).map(|(rule, _)| rule);
    findings(path, name, text, &parts.unit_tests(), rules.collect())
}

fn findings(
    path: &Path,
    name: &str,
    text: &str,
    unit_tests: &[Range<usize>],
    mut rules: Vec<Rule>,
) -> Result<Vec<Finding>> {
    let Some(module) = name.strip_prefix(SOURCES) else { return Ok(Vec::new()) };
    rules.retain(|rule| !rule.exempt().iter().any(|place| module.starts_with(place)));
    if rules.is_empty() || module.ends_with("/tests.rs") {
        return Ok(Vec::new());
    }
    let tokens = text.parse().map_err(|error| anyhow::anyhow!("{error}"));
    let tokens: TokenStream = tokens.with_context(|| format!("could not parse {name}"))?;
    let mut uses = Vec::new();
    collect(tokens, false, &mut uses);
    uses.retain(|found| !unit_tests.iter().any(|tests| tests.contains(&found.line)));
    let broken = uses.iter().filter_map(|found| {
        let rule = rules.iter().find(|rule| rule.forbids(found))?;
        Some(Finding::new(path, found.line, rule.sentence()))
    });
    Ok(broken.collect())
}

/// A path in the source. Those in the braces of an import are written out.
#[derive(Debug)]
struct Use {
    line: usize,
    path: Vec<String>,
    /// Whether it stands in a `const` or `static`, or is called with a number.
    is_constant: bool,
}

/// Collects the paths in these tokens, at any depth.
fn collect(tokens: TokenStream, in_constant: bool, uses: &mut Vec<Use>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut in_item = false;
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "static" || is_constant_item(&tokens, at) => {
                in_item = true;
                at += 1;
            }
            TokenTree::Ident(_) => at = path(&tokens, at, &[], in_constant || in_item, uses),
            TokenTree::Group(group) => {
                collect(group.stream(), in_constant || in_item, uses);
                at += 1;
            }
            TokenTree::Punct(punct) => {
                in_item &= punct.as_char() != ';';
                at += 1;
            }
            TokenTree::Literal(_) => at += 1,
        }
    }
}

/// Whether a `const` begins here that is neither a function nor a raw pointer.
fn is_constant_item(tokens: &[TokenTree], at: usize) -> bool {
    let is_word =
        |at: usize, word: &str| matches!(tokens.get(at), Some(TokenTree::Ident(found)) if found == word);
    let is_name =
        matches!(tokens.get(at + 1), Some(TokenTree::Ident(name)) if name != "fn" && name != "unsafe");
    is_word(at, "const") && is_name && is_punct(tokens, at + 2, ':')
}

/// Reads the path that begins here, adds it with what comes before it, and returns where it ends.
fn path(
    tokens: &[TokenTree],
    start: usize,
    before: &[String],
    in_constant: bool,
    uses: &mut Vec<Use>,
) -> usize {
    let mut segments = before.to_vec();
    let mut at = start;
    while let Some(segment) = segment(tokens.get(at)) {
        segments.push(segment);
        at += 1;
        if !is_punct(tokens, at, ':') || !is_punct(tokens, at + 1, ':') {
            break;
        }
        at += 2;
    }
    match tokens.get(at) {
        Some(TokenTree::Group(group))
            if group.delimiter() == Delimiter::Brace && ends_open(tokens, start, at) =>
        {
            list(group.stream(), &segments, in_constant, uses);
            at += 1;
        }
        next => {
            let is_constant = in_constant || next.is_some_and(has_number_only);
            let line = tokens[start].span().start().line;
            uses.push(Use { line, path: segments, is_constant });
        }
    }
    at
}

/// Adds the paths in the braces of an import.
fn list(tokens: TokenStream, before: &[String], in_constant: bool, uses: &mut Vec<Use>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        at = if segment(tokens.get(at)).is_some() {
            path(&tokens, at, before, in_constant, uses)
        } else {
            at + 1
        };
    }
}

fn segment(token: Option<&TokenTree>) -> Option<String> {
    match token? {
        TokenTree::Ident(word) => Some(word.to_string()),
        TokenTree::Punct(punct) if punct.as_char() == '*' => Some("*".into()),
        _ => None,
    }
}

fn is_punct(tokens: &[TokenTree], at: usize, mark: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

/// Whether the path that begins at `start` ends before `at` with `::`.
fn ends_open(tokens: &[TokenTree], start: usize, at: usize) -> bool {
    at >= start + 2 && is_punct(tokens, at - 1, ':') && is_punct(tokens, at - 2, ':')
}

/// Whether it is a number in parentheses.
fn has_number_only(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let tokens: Vec<_> = group.stream().into_iter().collect();
    group.delimiter() == Delimiter::Parenthesis && matches!(tokens.as_slice(), [TokenTree::Literal(_)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: Rule, module: &str, text: &str) -> Vec<usize> {
        let name = format!("{SOURCES}{module}");
        let unit_tests = Parts::of(text).unit_tests();
        let found = findings(Path::new(&name), &name, text, &unit_tests, vec![rule]).unwrap();
        found.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_context_is_found_however_it_is_named() {
        let found = |text| lines(Rule::Context, "step.rs", text);
        assert_eq!(found("use llama_core::Context;"), [1]);
        assert_eq!(found("use llama_core::{\n    Batch,\n    Context as Core,\n};"), [3]);
        assert_eq!(found("use llama_core::{context::{Context}, Batch};"), [1]);
        assert_eq!(found("fn a(context: &mut llama_core::Context) {}"), [1]);
        assert_eq!(found("fn a() {\n    b(llama_core::Context::new)\n}"), [2]);
        assert_eq!(found("use llama_core::*;"), [1]);
        assert_eq!(
            found("use llama_core::{Batch, ContextParams};\nuse anyhow::Context;\n// llama_core::Context"),
            [0; 0]
        );
    }

    #[test]
    fn clocks_and_threads_are_found() {
        let found = |text| lines(Rule::ClockOrThread, "generation.rs", text);
        assert_eq!(found("fn a() {\n    let start = Instant::now();\n}"), [2]);
        assert_eq!(found("let a = b(std::time::Instant::now());"), [1]);
        assert_eq!(found("use std::thread::{self, JoinHandle};"), [1, 1]);
        assert_eq!(found("use std::{\n    sync::Arc,\n    thread,\n};"), [3]);
        assert_eq!(found("use std::time::Instant;\nfn a(now: Instant) {}\nlet thread = 1;"), [0; 0]);
    }

    #[test]
    fn fixed_sequence_ids_are_found() {
        let found = |text| lines(Rule::SequenceId, "step.rs", text);
        assert_eq!(found("const SEQUENCE: SeqId = SeqId::new(0);"), [1]);
        assert_eq!(
            found("const ALL: [llama_core::SeqId; 1] = [\n    llama_core::SeqId::new(FIRST),\n];"),
            [2]
        );
        assert_eq!(found("static FIRST: SeqId = SeqId::new(A);"), [1]);
        assert_eq!(found("fn a() {\n    b(SeqId::new(3));\n}"), [2]);
        assert_eq!(found("const A: i32 = 0;\nconst fn a(n: i32) -> SeqId { SeqId::new(n) }"), [0; 0]);
        assert_eq!(found("fn a(p: *const u8) -> SeqId { SeqId::new(n) }"), [0; 0]);
    }

    #[test]
    fn the_places_that_own_a_thing_may_use_it() {
        let context = "use llama_core::Context;\nconst S: SeqId = SeqId::new(0);";
        let clock = "use std::thread;\nfn a() { Instant::now(); }";
        for (rule, text, places) in [
            (Rule::Context, context, ["memory/board.rs", "memory.rs", "score.rs"]),
            (Rule::SequenceId, context, ["memory/cells.rs", "memory/mod.rs", "score.rs"]),
            (Rule::ClockOrThread, clock, ["drivers/stream.rs", "drivers/beam_search.rs", "score.rs"]),
        ] {
            for place in places {
                assert_eq!(lines(rule, place, text), [0; 0], "{place}");
            }
            assert_ne!(lines(rule, "chat/memory.rs", text), [0; 0]);
            assert_ne!(lines(rule, "step.rs", text), [0; 0]);
        }
    }

    #[test]
    fn unit_tests_and_other_crates_are_exempt() {
        let text = "use llama_core::Context;\n";
        assert_eq!(lines(Rule::Context, "infill/tests.rs", text), [0; 0]);
        let module = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n    {text}}}\n");
        assert_eq!(lines(Rule::Context, "infill.rs", &module), [0; 0]);
        let name = "crates/llama-core/src/batch.rs";
        assert_eq!(findings(Path::new(name), name, text, &[], vec![Rule::Context]).unwrap(), []);
    }
}
