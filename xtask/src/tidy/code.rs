//! Splits source text into code, comments and literals.

use std::ops::Range;

/// The parts of a Rust, C or C++ source. `code` and `comments` have the lines of the source, and blanks where the
/// other parts are.
pub(super) struct Parts<'s> {
    pub(super) code: String,
    pub(super) comments: String,
    pub(super) literals: Vec<Literal<'s>>,
}

/// A string or character literal, with its quotes.
pub(super) struct Literal<'s> {
    /// The line that it begins in, counted from 1.
    pub(super) line: usize,
    pub(super) text: &'s str,
}

impl<'s> Parts<'s> {
    pub(super) fn of(source: &'s str) -> Self {
        let mut parts = Self { code: String::new(), comments: String::new(), literals: Vec::new() };
        let mut line = 1;
        let mut rest = source;
        while let Some(piece) = Piece::first_of(rest, parts.code.chars().next_back()) {
            let (text, after) = rest.split_at(piece.length);
            let blank = || text.chars().map(|c| if c == '\n' { '\n' } else { ' ' });
            match piece.kind {
                Kind::Code => {
                    parts.code.push_str(text);
                    parts.comments.extend(blank());
                }
                Kind::Comment => {
                    parts.comments.push_str(text);
                    parts.code.extend(blank());
                }
                Kind::Literal => {
                    parts.literals.push(Literal { line, text });
                    parts.code.extend(blank());
                    parts.comments.extend(blank());
                }
            }
            line += text.matches('\n').count();
            rest = after;
        }
        parts
    }

    /// Returns the lines of the modules under `#[cfg(test)]`, counted from 1.
    pub(super) fn unit_tests(&self) -> Vec<Range<usize>> {
        const ATTRIBUTE: &str = "#[cfg(test)]";
        let line_at = |at: usize| self.code[..at].matches('\n').count() + 1;
        let mut modules = Vec::new();
        for (start, _) in self.code.match_indices(ATTRIBUTE) {
            let item = self.code[start + ATTRIBUTE.len()..].trim_start();
            if item.starts_with("mod ") {
                let end = self.code.len() - item.len() + block_length(item);
                modules.push(line_at(start)..line_at(end) + 1);
            }
        }
        modules
    }
}

/// Returns the length of an item: to the brace that closes its block, or to a semicolon before any block.
fn block_length(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(c, '}' | ';') {
            return at;
        }
    }
    item.len()
}

enum Kind {
    Code,
    Comment,
    Literal,
}

/// A stretch of source of one kind.
struct Piece {
    kind: Kind,
    length: usize,
}

impl Piece {
    /// Returns the piece that the text begins with; `before` is the last character of the code before it.
    fn first_of(text: &str, before: Option<char>) -> Option<Self> {
        let first = text.chars().next()?;
        let literal = |length| Some(Self { kind: Kind::Literal, length });
        if text.starts_with("//") {
            return Some(Self { kind: Kind::Comment, length: text.find('\n').unwrap_or(text.len()) });
        }
        if text.starts_with("/*") {
            return Some(Self { kind: Kind::Comment, length: block_comment(text) });
        }
        if first == '"' {
            return literal(quoted(text, '"'));
        }
        if first == '\'' && is_character(text) {
            return literal(quoted(text, '\''));
        }
        let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        if let Some(length) = raw_string(text).filter(|_| !in_word) {
            return literal(length);
        }
        Some(Self { kind: Kind::Code, length: first.len_utf8() })
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Returns the length of a literal that begins with its quote, to the quote that no backslash precedes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Whether a `'` begins a character literal. Otherwise it is a lifetime or a digit separator.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => true,
        (Some(c), Some('\'')) => c != '\'',
        _ => false,
    }
}

/// Returns the length of a Rust raw string, with its `r`, `br` or `cr`.
fn raw_string(text: &str) -> Option<usize> {
    let after = ["r", "br", "cr"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = after.chars().take_while(|&c| c == '#').count();
    let content = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - content.len();
    Some(content.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// Returns the numbers of the lines that contain the whole word, counted from 1.
pub(super) fn lines_with_word<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let has = move |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
        })
    };
    text.lines().enumerate().filter(move |(_, line)| has(line)).map(|(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> String {
        Parts::of(source).code
    }

    fn comments(source: &str) -> String {
        Parts::of(source).comments.trim().to_owned()
    }

    #[test]
    fn comments_and_code_part() {
        let source = "let a = 1; // first\n/* two\n lines */ let b;\n";
        assert_eq!(code(source), "let a = 1;         \n      \n          let b;\n");
        assert_eq!(Parts::of(source).comments.lines().count(), 3);
        assert_eq!(comments("x /* a /* nested */ b */ y"), "/* a /* nested */ b */");
        assert_eq!(comments("/* never closed"), "/* never closed");
    }

    #[test]
    fn literals_keep_their_lines() {
        let parts = Parts::of("a(\"one\");\n// \"none\"\nb(\"two \\\n more\", 'c');\nd(r#\"\"#)\n");
        let found: Vec<_> = parts.literals.iter().map(|literal| (literal.line, literal.text)).collect();
        assert_eq!(found, [(1, "\"one\""), (3, "\"two \\\n more\""), (4, "'c'"), (5, "r#\"\"#")]);
    }

    #[test]
    fn modules_of_unit_tests_are_found() {
        let lines = |source| Parts::of(source).unit_tests().into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(
            lines("fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { '{'; }\n}\nfn c() {}\n"),
            [2, 3, 4, 5]
        );
        assert_eq!(lines("#[cfg(test)]\nmod tests;\nmod other {\n}\n"), [1, 2]);
        assert_eq!(lines("#[cfg(test)]\nfn helper() {}\n"), [0; 0]);
    }

    #[test]
    fn what_is_quoted_is_neither() {
        for source in [
            "a(\"unsafe // x\")",
            "a(r\"unsafe\\\")",
            "a(r##\"un\"#safe\"##)",
            "a(b\"unsafe\")",
            "a(\"\\\"unsafe\")",
        ] {
            let parts = Parts::of(source);
            assert!(!parts.code.contains("safe"), "{source}: {}", parts.code);
            assert_eq!(parts.comments.trim(), "", "{source}");
            assert!(parts.code.ends_with(')'), "{source}: {}", parts.code);
        }
    }

    #[test]
    fn lifetimes_and_characters_are_told_apart() {
        assert_eq!(code("fn a<'a>(x: &'a str) {}"), "fn a<'a>(x: &'a str) {}");
        assert_eq!(code("x == '\"' // c").trim_end(), "x ==");
        assert_eq!(code("x == '\\'' || y").split_whitespace().collect::<String>(), "x==||y");
        assert_eq!(code("1'000'000; // C++").trim_end(), "1'000'000;");
        assert_eq!(code("for r in bar\"\"").trim_end(), "for r in bar");
    }

    #[test]
    fn words_stand_alone() {
        let found: Vec<_> =
            lines_with_word("unsafe {\nunsafe_op\nnot_unsafe\n(unsafe)\n", "unsafe").collect();
        assert_eq!(found, [1, 4]);
    }
}
