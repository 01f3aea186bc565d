//! A grammar that the text must match.

use llama_core::Token;
use llama_core::sampler::LazyTriggers;
use serde::{Deserialize, Deserializer, Serialize};

use super::lenient;

/// A grammar in GBNF, llama.cpp's notation. See
/// [`SamplerChainBuilder::grammar`](llama_core::sampler::SamplerChainBuilder::grammar).
///
/// In JSON it is a string as in llama.cpp, with the start rule `root`, which holds from the first token; or an object with
/// these fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Either", into = "Either")]
#[non_exhaustive]
pub struct GrammarParams {
    /// The rules.
    pub text: String,
    /// The start rule.
    pub root: String,
    /// The triggers that switch the grammar on. `None`: it holds from the first token.
    pub triggers: Option<GrammarTriggers>,
}

/// The triggers of a lazy grammar, each of which switches it on. See [`LazyTriggers`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GrammarTriggers {
    /// Texts from which the grammar holds.
    #[serde(deserialize_with = "lenient::one_or_more")]
    pub words: Vec<String>,
    /// Regular expressions of C++'s `std::regex`.
    #[serde(deserialize_with = "lenient::one_or_more")]
    pub patterns: Vec<String>,
    /// Tokens from which the grammar holds.
    #[serde(with = "lenient::tokens")]
    pub tokens: Vec<Token>,
}

impl GrammarParams {
    /// Creates a grammar with the start rule `root`, which holds from the first token.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), root: DEFAULT_ROOT.to_owned(), triggers: None }
    }

    /// Sets the start rule.
    #[must_use]
    pub fn root(mut self, root: impl Into<String>) -> Self {
        self.root = root.into();
        self
    }

    /// Sets the triggers that switch the grammar on. Text before a trigger is free.
    #[must_use]
    pub fn triggers(mut self, triggers: GrammarTriggers) -> Self {
        self.triggers = Some(triggers);
        self
    }
}

impl GrammarTriggers {
    /// Creates an empty list of triggers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text from which the grammar holds.
    #[must_use]
    pub fn word(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Adds a regular expression of C++'s `std::regex`. The grammar holds from its first group on.
    #[must_use]
    pub fn pattern(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.push(pattern.into());
        self
    }

    /// Adds a token from which the grammar holds.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.tokens.push(token);
        self
    }

    pub(crate) fn to_lazy(&self) -> LazyTriggers {
        LazyTriggers::default()
            .words(self.words.clone())
            .patterns(self.patterns.clone())
            .tokens(self.tokens.clone())
    }
}

impl From<&str> for GrammarParams {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for GrammarParams {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

const DEFAULT_ROOT: &str = "root";

/// The two forms in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a grammar must be a text, or an object with text, root and triggers")]
enum Either {
    Text(String),
    Object(Object),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    text: String,
    #[serde(default = "default_root", deserialize_with = "null_or_root")]
    root: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    triggers: Option<GrammarTriggers>,
}

fn null_or_root<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(default_root))
}

fn default_root() -> String {
    DEFAULT_ROOT.to_owned()
}

impl From<Either> for GrammarParams {
    fn from(either: Either) -> Self {
        match either {
            Either::Text(text) => Self::new(text),
            Either::Object(Object { text, root, triggers }) => Self { text, root, triggers },
        }
    }
}

impl From<GrammarParams> for Either {
    fn from(GrammarParams { text, root, triggers }: GrammarParams) -> Self {
        if triggers.is_none() && root == DEFAULT_ROOT {
            Self::Text(text)
        } else {
            Self::Object(Object { text, root, triggers })
        }
    }
}
