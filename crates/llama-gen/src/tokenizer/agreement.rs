//! Comparison of the token ids of two tokenizers.

use llama_core::vocab::VocabKind;
use llama_core::{Token, Vocab};

use super::Tokenizer;
use crate::error::{ErrorKind, Result};

/// The most tokens that an error names.
const NAMED: usize = 3;

/// Checks that every token of a tokenizer has the same bytes as in a model's vocabulary.
///
/// The vocabulary may have more tokens than the tokenizer, since models are padded to round sizes, but not fewer. Tokens
/// that the model marks as unused are ignored. For a model without a vocabulary only the size is compared.
///
/// Tokenizers with the same tokens may still split a text differently. To find out, tokenise sample texts with both.
///
/// # Errors
///
/// [`ErrorKind::TokenizerMismatch`] with the first tokens that differ.
pub fn check_agreement(tokenizer: &dyn Tokenizer, vocab: Vocab<'_>) -> Result<()> {
    let (n_tokens, n_vocab) = (tokenizer.n_tokens(), vocab.n_tokens());
    if n_tokens > n_vocab {
        let reason = format!("it has {n_tokens} tokens, but must have at most the {n_vocab} of the model");
        return Err(ErrorKind::TokenizerMismatch { reason }.into());
    }
    if vocab.kind() == VocabKind::None {
        return Ok(());
    }
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let (mut different, mut named) = (0_usize, Vec::new());
    for token in (0..i32::try_from(n_tokens).unwrap_or(i32::MAX)).map(Token::new) {
        if vocab.attributes(token)?.is_unused() {
            continue;
        }
        theirs.clear();
        ours.clear();
        tokenizer.append_token_bytes(token, true, &mut theirs)?;
        vocab.append_token_bytes(token, true, &mut ours)?;
        if !is_same(&theirs, &ours) {
            different += 1;
            if different <= NAMED {
                let [theirs, ours] = [&theirs, &ours].map(|bytes| String::from_utf8_lossy(bytes));
                named.push(format!("token {token} is {theirs:?} in the tokenizer and {ours:?} in the model"));
            }
        }
    }
    if different == 0 {
        return Ok(());
    }
    let more = different.saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let reason = format!("{}{more}", named.join(", "));
    Err(ErrorKind::TokenizerMismatch { reason }.into())
}

/// Returns whether the bytes of a token are the same. Some converters to GGUF write BERT's `[unused0]` and the like with a space
/// before it, others without.
fn is_same(theirs: &[u8], ours: &[u8]) -> bool {
    let name = |bytes: &[u8]| {
        let bytes = bytes.trim_ascii_start();
        (bytes.len() > 2 && bytes.starts_with(b"[") && bytes.ends_with(b"]")).then(|| bytes.to_vec())
    };
    theirs == ours || name(theirs).is_some_and(|name_there| name(ours) == Some(name_there))
}
