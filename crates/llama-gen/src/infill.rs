//! Filling in the middle: what goes between two texts.

use llama_core::{Token, TokenizeOptions, Vocab};

use crate::error::{ErrorKind, Result};
use crate::generate::Generate;
use crate::model::Llama;

/// A gap between two texts, described and not yet filled. Made by [`Llama::infill`].
#[derive(Clone, Debug)]
#[must_use = "nothing is generated until `generate` is called and its result is run"]
pub struct Infill {
    llama: Llama,
    prefix: String,
    suffix: String,
    prompt: String,
    files: Vec<(String, String)>,
    order: InfillOrder,
    most: Option<usize>,
}

/// In which order a model reads what is around the gap. It is what the model was trained with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InfillOrder {
    /// Before the gap, after it, the gap: most models.
    #[default]
    PrefixSuffixMiddle,
    /// After the gap, before it, the gap.
    SuffixPrefixMiddle,
}

impl Llama {
    /// Begins to describe a gap between two texts, for models that were trained to fill it.
    ///
    /// ```no_run
    /// use llama_gen::Llama;
    ///
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// let llm = Llama::load("qwen2.5-coder.gguf")?;
    /// let infill = llm.infill("fn add(a: i32, b: i32) -> i32 {\n    ", "\n}\n");
    /// println!("{}", infill.generate()?.max_tokens(64).temperature(0.0).complete()?.text());
    /// # Ok(())
    /// # }
    /// ```
    pub fn infill(&self, prefix: impl Into<String>, suffix: impl Into<String>) -> Infill {
        Infill {
            llama: self.clone(),
            prefix: prefix.into(),
            suffix: suffix.into(),
            prompt: String::new(),
            files: Vec::new(),
            order: InfillOrder::default(),
            most: None,
        }
    }
}

impl Infill {
    /// The beginning of the gap: what is generated goes on from it.
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = prompt.into();
        self
    }

    /// Adds another file that the model may look at, with its name. Models without a token for that get them as plain
    /// text.
    pub fn file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// In which order the model reads. Default: what is before the gap first.
    pub fn order(mut self, order: InfillOrder) -> Self {
        self.order = order;
        self
    }

    /// The most tokens of both texts together. What is too much goes far from the gap: of what is before it, which gets
    /// three quarters, the beginning, and of what is after it the end. Default: as many as there are.
    pub fn max_context(mut self, tokens: usize) -> Self {
        self.most = Some(tokens);
        self
    }

    /// The generation that fills the gap.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoInfill`] for a model without the tokens for it, [`ErrorKind::Core`] when tokenising fails.
    pub fn generate(&self) -> Result<Generate> {
        Ok(self.llama.generate(self.tokens()?))
    }

    /// Returns the prompt as the model reads it: the texts, and the tokens that say where they are.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate).
    pub fn prompt_tokens(&self) -> Result<Vec<Token>> {
        self.tokens()
    }

    /// The prompt: texts, and the tokens that say where they are.
    fn tokens(&self) -> Result<Vec<Token>> {
        let vocab = self.llama.model().vocab();
        let needed =
            [("fim_pre", vocab.fim_pre()), ("fim_suf", vocab.fim_suf()), ("fim_mid", vocab.fim_mid())];
        let [Some(before), Some(after), Some(middle)] = needed.map(|(_, token)| token) else {
            let missing = needed.iter().filter(|(_, token)| token.is_none()).map(|(name, _)| *name);
            return Err(ErrorKind::NoInfill { missing: missing.collect::<Vec<_>>().join(", ") }.into());
        };
        let (prefix, suffix) = (self.tokenize(&self.prefix)?, self.tokenize(&self.suffix)?);
        let (prefix, suffix) = cut(&prefix, &suffix, self.most);
        let prefix = [&[before][..], prefix, &self.tokenize(&self.prompt)?].concat();
        let suffix = [&[after][..], suffix].concat();
        let mut tokens = Vec::new();
        tokens.extend(vocab.bos().filter(|_| vocab.adds_bos()));
        tokens.extend(self.other_files(vocab)?);
        tokens.extend(match self.order {
            InfillOrder::PrefixSuffixMiddle => [prefix, suffix].concat(),
            InfillOrder::SuffixPrefixMiddle => [suffix, prefix].concat(),
        });
        tokens.push(middle);
        Ok(tokens)
    }

    /// The other files, as llama.cpp writes them.
    fn other_files(&self, vocab: Vocab<'_>) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        if self.files.is_empty() {
            return Ok(tokens);
        }
        if let Some(repository) = vocab.fim_rep() {
            tokens.push(repository);
            tokens.extend(self.tokenize("myproject\n")?);
        }
        let separator = vocab.fim_sep();
        for (name, text) in &self.files {
            match separator {
                Some(separator) => {
                    tokens.push(separator);
                    tokens.extend(self.tokenize(&format!("{name}\n"))?);
                }
                None => tokens.extend(self.tokenize("\n\n--- snippet ---\n\n")?),
            }
            tokens.extend(self.tokenize(text)?);
        }
        // The file with the gap.
        if let Some(separator) = separator {
            tokens.push(separator);
            tokens.extend(self.tokenize("filename\n")?);
        }
        Ok(tokens)
    }

    /// Names of special tokens are text.
    fn tokenize(&self, text: &str) -> Result<Vec<Token>> {
        self.llama.tokenizer().tokenize(text, TokenizeOptions::default().add_special(false))
    }
}

/// What is nearest to the gap of both.
fn cut<'t>(prefix: &'t [Token], suffix: &'t [Token], most: Option<usize>) -> (&'t [Token], &'t [Token]) {
    let Some(most) = most.filter(|most| prefix.len() + suffix.len() > *most) else { return (prefix, suffix) };
    // What one does not need the other gets.
    let of_suffix = suffix.len().min((most / 4).max(most.saturating_sub(prefix.len())));
    let of_prefix = prefix.len().min(most - of_suffix);
    (&prefix[prefix.len() - of_prefix..], &suffix[..of_suffix])
}
