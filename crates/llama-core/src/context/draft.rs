//! Checks of batches for draft models, whose graphs do not check the kind of the entries.
//!
//! EAGLE-3 and `DFlash` models work on the hidden states of another model. A graph that reads hidden states has no tensor for
//! the ids of tokens, and llama.cpp writes the ids of a batch through a NULL pointer (llama-graph.cpp,
//! `llm_graph_input_embd::set_input`). A graph that reads tokens and embeddings computes with uninitialised memory if the
//! batch lacks one of them.

use crate::batch::Batch;
use crate::error::{ErrorKind, Result};
use crate::model::Model;

/// An architecture of drafts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draft {
    /// The encoder takes hidden states, the decoder tokens with the encoder's outputs (models/eagle3.cpp).
    Eagle3,
    /// The encoder takes hidden states, the decoder hidden states or tokens (models/dflash.cpp).
    DFlash,
}

/// The kind of the entries of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entries {
    Tokens,
    Embeddings,
    Both,
    Mixed,
}

impl Draft {
    /// Returns the draft architecture of a model, `None` for other models.
    pub(super) fn of(model: &Model) -> Result<Option<Self>> {
        Ok(Self::named(&model.architecture()?))
    }

    fn named(architecture: &str) -> Option<Self> {
        match architecture {
            "eagle3" => Some(Self::Eagle3),
            "dflash" => Some(Self::DFlash),
            _ => None,
        }
    }

    /// Refuses a batch whose entries the encoder cannot read.
    pub(super) fn check_encoding(self, batch: &Batch) -> Result<()> {
        if entries(batch) == Entries::Embeddings {
            return Ok(());
        }
        let reason = "its encoder takes hidden states of another model: give each entry of the batch an embedding and no token, \
                      see Batch::push_embedding";
        Err(ErrorKind::Unsupported { operation: "encoding tokens", reason: reason.to_owned() }.into())
    }

    /// Refuses a batch whose entries the decoder cannot read.
    pub(super) fn check_decoding(self, batch: &Batch) -> Result<()> {
        let (operation, reason) = match (self, entries(batch)) {
            (Self::Eagle3, Entries::Both) | (Self::DFlash, Entries::Tokens | Entries::Embeddings) => {
                return Ok(());
            }
            (Self::Eagle3, _) => (
                "decoding tokens or embeddings alone",
                "its decoder reads both: give each entry of the batch a token and an embedding, see \
                 Batch::push_token_and_embedding",
            ),
            (Self::DFlash, _) => (
                "decoding tokens and embeddings together",
                "its decoder reads one of them: give each entry of the batch a token, or each an embedding",
            ),
        };
        Err(ErrorKind::Unsupported { operation, reason: reason.to_owned() }.into())
    }
}

/// Returns the kind of a batch's entries.
fn entries(batch: &Batch) -> Entries {
    let has_token = |token: &i32| *token != llama_sys::LLAMA_TOKEN_NULL;
    let n_tokens = batch.tokens.iter().filter(|token| has_token(token)).count();
    match (n_tokens == batch.len(), batch.places.len()) {
        (true, 0) => Entries::Tokens,
        (true, n_rows) if n_rows == batch.len() => Entries::Both,
        (false, n_rows) if n_rows == batch.len() && n_tokens == 0 => Entries::Embeddings,
        _ => Entries::Mixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tree_names::ARCHITECTURES;
    use crate::token::{Pos, SeqId, Token};

    /// Builds a batch with one entry for each letter: `t` for a token, `e` for an embedding, `b` for both.
    fn batch(kinds: &str) -> Batch {
        let (mut batch, seq_ids, row) = (Batch::new(), [SeqId::new(0)], [0.5; 4]);
        for (kind, pos) in kinds.chars().zip(0..) {
            let (token, pos) = (Token::new(1), Pos::new(pos));
            match kind {
                't' => batch.push(token, pos, &seq_ids, true),
                'e' => batch.push_embedding(&row, pos, &seq_ids, true),
                _ => batch.push_token_and_embedding(token, &row, pos, &seq_ids, true),
            }
            .unwrap();
        }
        batch
    }

    #[test]
    fn kinds_of_entries() {
        for (kinds, expected) in [
            ("ttt", Entries::Tokens),
            ("ee", Entries::Embeddings),
            ("bb", Entries::Both),
            ("te", Entries::Mixed),
            ("et", Entries::Mixed),
            ("tb", Entries::Mixed),
            ("be", Entries::Mixed),
        ] {
            assert_eq!(entries(&batch(kinds)), expected, "{kinds}");
        }
    }

    #[test]
    fn encoders_of_drafts_take_embeddings() {
        for draft in [Draft::Eagle3, Draft::DFlash] {
            draft.check_encoding(&batch("ee")).unwrap();
            for kinds in ["tt", "bb", "te", "eb"] {
                let error = draft.check_encoding(&batch(kinds)).unwrap_err();
                assert_eq!(
                    error.to_string(),
                    "encoding tokens is not possible with this model: its encoder takes hidden states of another model: give \
                     each entry of the batch an embedding and no token, see Batch::push_embedding",
                    "{kinds}"
                );
            }
        }
    }

    #[test]
    fn decoders_of_drafts_take_what_they_read() {
        Draft::Eagle3.check_decoding(&batch("bb")).unwrap();
        for kinds in ["tt", "ee", "te", "tb"] {
            let error = Draft::Eagle3.check_decoding(&batch(kinds)).unwrap_err();
            assert_eq!(
                error.to_string(),
                "decoding tokens or embeddings alone is not possible with this model: its decoder reads both: give each entry \
                 of the batch a token and an embedding, see Batch::push_token_and_embedding",
                "{kinds}"
            );
        }
        for kinds in ["tt", "ee"] {
            Draft::DFlash.check_decoding(&batch(kinds)).unwrap();
        }
        for kinds in ["bb", "te", "tb"] {
            let error = Draft::DFlash.check_decoding(&batch(kinds)).unwrap_err();
            assert_eq!(
                error.to_string(),
                "decoding tokens and embeddings together is not possible with this model: its decoder reads one of them: give \
                 each entry of the batch a token, or each an embedding",
                "{kinds}"
            );
        }
    }

    #[test]
    fn llama_cpp_knows_every_architecture() {
        let drafts: Vec<&&str> = ARCHITECTURES.iter().filter(|name| Draft::named(name).is_some()).collect();
        assert_eq!(drafts, [&"dflash", &"eagle3"]);
    }
}
