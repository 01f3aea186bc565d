//! What there is to say of a token that was chosen.

use llama_core::{Logits, Token};

use crate::error::Result;
use crate::event::{ChosenToken, TokenProbability};
use crate::generate::Wanted;
use crate::model::Llama;

impl Wanted {
    /// Whether there are events for tokens.
    pub(crate) fn describes_tokens(self) -> bool {
        self.tokens || self.alternatives.is_some()
    }

    /// The token, and the others in its place. `likeliest` is for reuse.
    pub(crate) fn describe(
        self,
        llama: &Llama,
        logits: &Logits<'_>,
        token: Token,
        likeliest: &mut Vec<(Token, f32)>,
    ) -> Result<ChosenToken> {
        let about = |id, log_probability| -> Result<TokenProbability> {
            let mut bytes = Vec::new();
            llama.tokenizer().append_token_bytes(id, false, &mut bytes)?;
            Ok(TokenProbability { id, bytes, log_probability })
        };
        let Some(n) = self.alternatives else {
            return Ok(ChosenToken { token: about(token, None)?, alternatives: Vec::new() });
        };
        let softmax = logits.softmax();
        softmax.top_k(n, likeliest);
        let log_probability = softmax.log_probability(token);
        let alternatives = likeliest.iter().map(|(id, value)| about(*id, Some(*value)));
        Ok(ChosenToken {
            token: about(token, log_probability)?,
            alternatives: alternatives.collect::<Result<_>>()?,
        })
    }
}
