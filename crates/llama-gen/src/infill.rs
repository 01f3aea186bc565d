//! Filling in the middle: generating the text between two others.

#[cfg(test)]
mod tests;

use llama_core::{Token, TokenizeOptions, Vocab};

use crate::error::{ErrorKind, Result};
use crate::generation_builder::GenerationBuilder;
use crate::model::Llama;

/// A gap between two texts that has not been filled yet. Created by [`Llama::infill`].
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
    n_answer: usize,
}

/// The default number of tokens that are reserved for the answer.
const ANSWER: usize = 64;

/// The order of the texts around the gap in the prompt. A model needs the order that it was trained with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InfillOrder {
    /// The text before the gap, the text after it, the gap: most models.
    #[default]
    PrefixSuffixMiddle,
    /// The text after the gap, the text before it, the gap.
    SuffixPrefixMiddle,
}

impl Llama {
    /// Creates a gap between two texts, for models that were trained to fill it.
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
            n_answer: ANSWER,
        }
    }
}

impl Infill {
    /// Sets the beginning of the gap. The generated text continues it.
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = prompt.into();
        self
    }

    /// Adds another file for reference, with its name. Models without a token for files get it as plain text. If all files
    /// together do not fit into the context, their beginning is left out.
    pub fn file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// Sets the order of the texts around the gap. Default: the text before the gap first.
    pub fn order(mut self, order: InfillOrder) -> Self {
        self.order = order;
        self
    }

    /// Sets the most tokens of both texts together. The text before the gap gets three quarters and loses its beginning, the
    /// text after it gets a quarter and loses its end.
    ///
    /// Default: as in llama.cpp's server, three quarters of `n_batch` for the text before the gap, and a quarter for the text
    /// after it and the [`prompt`](Self::prompt). A batch larger than the context counts as large as the context.
    pub fn max_context(mut self, tokens: usize) -> Self {
        self.most = Some(tokens);
        self
    }

    /// Sets the expected number of tokens of the answer. Other files get the tokens of the context without a batch and twice
    /// that number. Default: 64.
    pub fn answer(mut self, tokens: usize) -> Self {
        self.n_answer = tokens;
        self
    }

    /// Creates the generation that fills the gap.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoInfill`] for a model without the tokens for it, [`ErrorKind::Core`] when tokenising fails.
    pub fn generate(&self) -> Result<GenerationBuilder> {
        Ok(self.llama.generate(self.tokens()?))
    }

    /// Returns the prompt as the model reads it: the texts, with the tokens that mark them.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate).
    pub fn prompt_tokens(&self) -> Result<Vec<Token>> {
        self.tokens()
    }

    /// Builds the prompt: the texts, with the tokens that mark them.
    fn tokens(&self) -> Result<Vec<Token>> {
        let vocab = self.llama.model().vocab();
        let needed =
            [("fim_pre", vocab.fim_pre()), ("fim_suf", vocab.fim_suf()), ("fim_mid", vocab.fim_mid())];
        let [Some(before), Some(after), Some(middle)] = needed.map(|(_, token)| token) else {
            let missing = needed.iter().filter(|(_, token)| token.is_none()).map(|(name, _)| *name);
            return Err(ErrorKind::NoInfill { missing: missing.collect::<Vec<_>>().join(", ") }.into());
        };
        let (prefix, suffix) = (self.tokenize(&self.prefix)?, self.tokenize(&self.suffix)?);
        let prompt = self.tokenize(&self.prompt)?;
        let (prefix, suffix) = match self.most {
            Some(most) => cut(&prefix, &suffix, most),
            None => self.cut_to_batch(&prefix, &suffix, prompt.len()),
        };
        let prefix = [&[before][..], prefix, &prompt].concat();
        let suffix = [&[after][..], suffix].concat();
        let mut tokens = self.other_files(vocab)?;
        tokens.extend(vocab.bos().filter(|_| vocab.adds_bos()));
        tokens.extend(match self.order {
            InfillOrder::PrefixSuffixMiddle => [prefix, suffix].concat(),
            InfillOrder::SuffixPrefixMiddle => [suffix, prefix].concat(),
        });
        tokens.push(middle);
        Ok(tokens)
    }

    /// Builds the part with the other files, as llama.cpp's server does: if the vocabulary has tokens for them, the names of a
    /// repository and of the file with the gap are there even without other files.
    fn other_files(&self, vocab: Vocab<'_>) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
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
        let room = self.llama.n_ctx().saturating_sub(self.n_batch() + 2 * self.n_answer);
        tokens.drain(..tokens.len().saturating_sub(room));
        Ok(tokens)
    }

    /// Cuts both texts to the tokens nearest to the gap, as many as llama.cpp's server takes.
    fn cut_to_batch<'t>(
        &self,
        prefix: &'t [Token],
        suffix: &'t [Token],
        n_prompt: usize,
    ) -> (&'t [Token], &'t [Token]) {
        let quarter = self.n_batch() / 4;
        let of_prefix = prefix.len().min(3 * quarter);
        let of_suffix = suffix.len().min(quarter.saturating_sub(2 + n_prompt));
        (&prefix[prefix.len() - of_prefix..], &suffix[..of_suffix])
    }

    fn n_batch(&self) -> usize {
        self.llama.n_batch().min(self.llama.n_ctx())
    }

    /// Tokenises a text. Names of special tokens in it stay text.
    fn tokenize(&self, text: &str) -> Result<Vec<Token>> {
        self.llama.tokenizer().tokenize(text, TokenizeOptions::default().add_special(false))
    }
}

/// Cuts both texts to the `most` tokens nearest to the gap.
fn cut<'t>(prefix: &'t [Token], suffix: &'t [Token], most: usize) -> (&'t [Token], &'t [Token]) {
    // Each text gets the tokens that the other does not need.
    let of_suffix = suffix.len().min((most / 4).max(most.saturating_sub(prefix.len())));
    let of_prefix = prefix.len().min(most - of_suffix);
    (&prefix[prefix.len() - of_prefix..], &suffix[..of_suffix])
}
