//! Checks of grammars before llama.cpp sees them.
//!
//! llama.cpp's parser prints problems to stderr and reports only "failed", and for some grammars it never returns.
//! Therefore grammars are parsed here too, in the same way: errors have a line, a column and a reason, and grammars
//! that would not terminate are refused.

mod parse;
mod rules;

use core::fmt;

use crate::error::GrammarPosition;

/// Looks up the id of a token that a grammar names by its text.
pub(super) type Resolve<'a> = dyn Fn(&str) -> Result<u32, String> + 'a;

/// A problem with a grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Line and column, from 1; the column counts characters. `None` for a problem without a position.
    at: Option<(usize, usize)>,
    message: String,
}

impl Flaw {
    /// Returns the position of the problem in the text.
    pub(super) fn position(&self) -> Option<GrammarPosition> {
        self.at.map(|(line, column)| GrammarPosition { line, column })
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Checks a grammar. `resolve` looks up tokens by their text, `n_vocab` is the number of tokens.
pub(super) fn check(text: &str, root: &str, n_vocab: u32, resolve: &Resolve<'_>) -> Result<(), Flaw> {
    let parsed = parse::parse(text, n_vocab, resolve)?;
    if parsed.rules.is_empty() {
        return Err(Flaw { at: None, message: "the grammar has no rules".to_owned() });
    }
    if parsed.rules.iter().all(|rule| rule.name != root || rule.is_generated) {
        return Err(Flaw { at: None, message: format!("the grammar has no root rule `{root}`") });
    }
    rules::check(&parsed.rules).map_err(|message| Flaw { at: None, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> String {
        let resolve = |text: &str| (text == "<known>").then_some(7).ok_or_else(|| format!("no token {text}"));
        check(text, "root", 100, &resolve).map_or_else(|flaw| flaw.to_string(), |()| "good".to_owned())
    }

    #[test]
    fn good_grammars_pass() {
        let good = [
            r#"root ::= "a""#,
            "# comment\nroot ::= item+ # more\nitem ::= [a-z\\]] | \"\\x41\\u00e9\\U0001F600\"\n",
            r#"root ::= ( "a" | "b" )* "c"? [^x] . "d"{2,5} "e"{3} "f"{1,}"#,
            "root ::= \"a\" |\n  \"b\"\r\nws ::= [ \\t\\n]*",
            // Nullable loops terminate: llama.cpp remembers the stacks that it has seen.
            r#"root ::= ((("a")*)*)+ "b""#,
            "root ::= (ws)* \"x\"\nws ::= [ ]*",
            r#"root ::= <[5]> !<[6]> <known> "x"{0,0} """#,
            // Never ends, but every step can continue.
            r#"root ::= "a" root"#,
            "root ::= \"a\"\nroot ::= \"b\"",
            r#"root ::= "é" [à-ÿ] "漢""#,
        ];
        for text in good {
            assert_eq!(verdict(text), "good", "{text}");
        }
    }

    #[test]
    fn flaws_have_a_place_and_a_reason() {
        let bad = [
            ("root := \"a\"", "line 1, column 6: expected `::=` after the name of the rule"),
            ("root ::= \"a", "line 1, column 12: the text in quotes does not end"),
            ("root ::= [a-z", "line 1, column 14: the character class does not end"),
            ("root ::= [a-", "line 1, column 13: the character class does not end"),
            ("root ::= \"é\\q\"", "line 1, column 12: unknown escape"),
            ("root ::= \"\\u12\"", "line 1, column 13: expected 4 hexadecimal digits"),
            ("root ::= (\"a\"", "line 1, column 14: expected `)`"),
            ("root ::= \"a\")", "line 1, column 13: expected the end of the line"),
            ("root ::= *", "line 1, column 10: nothing to repeat before `*`"),
            ("root ::= \"\"+", "line 1, column 12: nothing to repeat before `+`"),
            ("root ::= \"a\"{,3}", "line 1, column 14: expected a number"),
            ("root ::= \"a\"{2;3}", "line 1, column 15: expected `,` or `}`"),
            ("root ::= \"a\"{2,3", "line 1, column 17: expected `}`"),
            (
                "root ::= \"a\"{5,2}",
                "line 1, column 13: repeats from 5 up to 2 times, but the second must not be less",
            ),
            ("root ::= \"a\"{2001}", "line 1, column 13: 2001 repetitions: llama.cpp takes at most 2000"),
            ("root ::= \"a\"{99999999999999999999}", "line 1, column 14: the number is too large"),
            ("root ::= (\"a\"{0,1000}){3}", "line 1, column 23: 3 repetitions of 1001 rules"),
            ("\n  \nroot ::= \"a\"\n= 3", "line 4, column 1: expected the name of a rule"),
            ("root ::= \"a\" other", "line 1, column 14: the rule `other` is not defined"),
            (
                "root ::= <[100]>",
                "line 1, column 10: token 100 is out of range: the vocabulary has 100 tokens",
            ),
            ("root ::= <[1>", "line 1, column 13: expected `]`"),
            ("root ::= <unknown>", "line 1, column 10: no token <unknown>"),
            ("root ::= <unknown", "line 1, column 18: expected `>`"),
            ("root ::= !a", "line 1, column 11: expected `<`"),
            ("", "the grammar has no rules"),
            ("# nothing", "the grammar has no rules"),
            ("start ::= \"a\"", "the grammar has no root rule `root`"),
        ];
        for (text, expected) in bad {
            let found = verdict(text);
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }

    #[test]
    fn grammars_that_would_not_terminate_are_refused() {
        let recursive = [
            "root ::= root \"x\" | \"y\"",
            "root ::= a \"x\"\na ::= b | \"z\"\nb ::= root",
            // llama.cpp does not detect this one: `a` can only be empty through `b`. It runs out of memory.
            "root ::= a root \"x\" | \"y\"\na ::= b\nb ::= \"\"",
        ];
        for text in recursive {
            let found = verdict(text);
            assert!(found.contains("left-recursive"), "{text}: {found}");
        }
        let found = verdict("root ::= \"a\" b\nb ::= c b\nc ::= d\nd ::= \"\"");
        assert!(found.contains("rule `b` can never match"), "{found}");
        let deep = format!("root ::= {}\"a\"{}", "(".repeat(300), ")".repeat(300));
        assert!(verdict(&deep).contains("nested more than 256 deep"));
        let mut paths = String::from("root ::= r0\n");
        for index in 0..64 {
            paths.push_str(&format!("r{index} ::= r{} | r{}\n", index + 1, index + 1));
        }
        paths.push_str("r64 ::= \"x\"");
        assert!(verdict(&paths).contains("more than 10000000 ways"), "{}", verdict(&paths));
        let large = format!("root ::= \"{}\"{{2000}}", "a".repeat(10_000));
        assert!(verdict(&large).contains("more than 4000000 elements"), "{}", verdict(&large));
    }
}
