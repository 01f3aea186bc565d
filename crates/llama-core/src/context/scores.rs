//! Refusing scores that no classifier gives.

use super::params::{ContextParams, PoolingType};
use crate::error::{ErrorKind, Result};
use crate::model::Model;

impl ContextParams {
    /// Refuses scores of a model without the classifier that gives them: llama.cpp would take the first numbers of the
    /// hidden state for them (llama-graph.cpp, `build_pooling`).
    pub(super) fn check_ranks(&self, model: &Model) -> Result<()> {
        let value = match self.pooling_type {
            Some(PoolingType::Rank) => "Rank",
            None if self.embeddings && model.wants_ranks()? => "the model's own, Rank",
            _ => return Ok(()),
        };
        if model.has_classifier() {
            return Ok(());
        }
        let reason = "the model has no classifier (no tensor `cls` or `cls.output`) to give scores: use another pooling \
                      type, or a reranker";
        Err(ErrorKind::InvalidParameter {
            name: "pooling_type",
            value: value.to_owned(),
            reason: reason.to_owned(),
        }
        .into())
    }
}
