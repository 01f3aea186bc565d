//! Decoding and encoding of batches: the checks for llama.cpp's assertions, and the calls.

use super::positions::is_shared;
use super::{Computed, Context, PoolingType};
use crate::batch::Batch;
use crate::error::{DecodeError, ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::guarded;
use crate::ffi::{exit, fork};
use crate::graph::{self, Finding, Violation};
use crate::log;
use crate::model::Model;
use crate::token::{SeqId, Token};

/// The function that computes the batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    Decode,
    Encode,
}

impl Process {
    fn to_raw(self) -> llama_sys::llama_process_type {
        match self {
            Self::Decode => llama_sys::llama_process_type::LLAMA_PROCESS_TYPE_DECODE,
            Self::Encode => llama_sys::llama_process_type::LLAMA_PROCESS_TYPE_ENCODE,
        }
    }
}

impl Context {
    /// Decodes a batch and adds it to the memory. The outputs that its tokens ask for are then available through
    /// [`logits`](Context::logits) and [`embeddings`](Context::embeddings).
    ///
    /// The positions of each sequence must continue those in memory without gaps (with `RoPE` in several dimensions:
    /// without going back). A token of several sequences requires one buffer for all of them
    /// ([`kv_unified`](crate::ContextParams::kv_unified)), and equal positions of these sequences in memory.
    ///
    /// # Errors
    ///
    /// Before anything is computed: [`ErrorKind::EmptyBatch`], [`ErrorKind::BatchTooLarge`],
    /// [`ErrorKind::InvalidToken`], [`ErrorKind::InvalidSeqId`], [`ErrorKind::InvalidPosition`],
    /// [`ErrorKind::InvalidParameter`] for embeddings of another width than the model's, [`ErrorKind::Unsupported`]
    /// for operations that this model or context does not support. From llama.cpp: [`ErrorKind::Decode`], which
    /// tells what is left in memory, and [`ErrorKind::UnsupportedGraph`] for a graph that has changed since the
    /// context was created and cannot be computed. After an error there are no results until the next batch.
    ///
    /// # Panics
    ///
    /// Resumes a panic of an abort callback or an observer.
    ///
    /// Corresponds to `llama_process` and `llama_decode`.
    pub fn decode(&mut self, batch: &Batch) -> Result<()> {
        self.process(batch, Process::Decode)
    }

    /// Encodes a batch without memory. For encoder models, such as BERT and T5's first half. All tokens of the batch
    /// attend to each other.
    ///
    /// # Errors
    ///
    /// The errors of [`Context::decode`]; the whole batch must fit into `n_ubatch`. The memory does not change.
    ///
    /// # Panics
    ///
    /// Panics like [`Context::decode`].
    ///
    /// Corresponds to `llama_process` and `llama_encode`.
    pub fn encode(&mut self, batch: &Batch) -> Result<()> {
        self.process(batch, Process::Encode)
    }

    fn process(&mut self, batch: &Batch, process: Process) -> Result<()> {
        self.check_poison()?;
        if !self.is_plain(batch, process) {
            self.check_batch(batch, process)?;
        }
        if process == Process::Encode {
            self.apply_order()?;
        }
        let inside = exit::enter()?;
        let n_threads = self.threads_for(batch.len());
        fork::check_threads("computing a batch", n_threads)?;
        fork::check_devices("computing a batch")?;
        self.last.clear_outputs();
        self.attached.samplers.clear_rows();
        // Half-moved keys would be left in memory (llama-kv-cache.cpp, update).
        self.raw.hooks.begin(!self.books.has_moves())?;
        let planned = self.may_plan.then(|| self.model().clone());
        let _walk = planned.as_ref().map(Model::walk_adapters);
        self.may_plan = true;
        fork::note_team(n_threads);
        let result = log::explain(|| {
            let result = self.compute(batch, process);
            let result = self.settle(batch, process, result);
            self.settle_graph(result)
        });
        drop(inside);
        self.raw.hooks.resume_panic();
        result?;
        self.may_plan = false;
        self.keep_results(batch, process);
        Ok(())
    }

    /// Returns the maximum number of threads with which C computes `n_tokens` tokens (llama-context.cpp,
    /// `graph_compute`).
    fn threads_for(&self, n_tokens: usize) -> i32 {
        let raw = self.raw();
        // SAFETY: the context is valid; the functions read numbers.
        unsafe {
            let single = llama_sys::llama_n_threads(raw);
            if n_tokens > 1 { single.max(llama_sys::llama_n_threads_batch(raw)) } else { single }
        }
    }

    /// Records the results of a batch. For the tokens that C outputs without being asked, and the kinds of outputs,
    /// see llama-context.cpp, encode, decode and output_reserve, and llama-graph.cpp, build_logits.
    fn keep_results(&mut self, batch: &Batch, process: Process) {
        // The first half of an encoder-decoder model.
        let encoded = process == Process::Encode && self.has_memory();
        if encoded {
            self.last.set_encoded(batch);
        }
        let pools = self.settings.embeddings && self.facts.pooling != PoolingType::None;
        let computed = Computed {
            logits: !encoded && !pools && self.facts.gives_logits,
            embeddings: encoded || self.settings.embeddings,
        };
        self.last.set_outputs(batch, self.outputs_all(process), computed);
        if process == Process::Decode {
            self.attached.samplers.set_rows(batch, &self.last.outputs);
        }
    }

    /// Passes the batch to C, and returns C's code.
    fn compute(&mut self, batch: &Batch, process: Process) -> Result<i32> {
        let (raw, input, positions) = (self.raw.as_ptr(), &mut self.input, &mut self.positions);
        self.attached.threadpools.begin();
        graph::begin();
        let result = {
            let _pools = self.attached.threadpools.lock()?;
            // SAFETY: the context is valid; the function reads a pointer.
            let memory = unsafe { llama_sys::llama_get_memory(raw) };
            positions
                .check(memory, batch)
                .and_then(|()| input.process(self.raw.as_non_null(), process.to_raw(), batch))
        };
        let result = if self.model().links().is_empty() { result } else { self.wait_for_servers(result) };
        if let Err(error) = &result
            && error.is_contained()
        {
            self.poison_with(error);
        }
        result
    }

    /// Waits for the servers of other machines, which compute while C returns, and fails if one of them has failed.
    #[cold]
    fn wait_for_servers(&mut self, result: Result<i32>) -> Result<i32> {
        let result = result.and_then(|code| {
            // SAFETY: the context is valid.
            unsafe { guarded!(llama_synchronize(self.raw.as_ptr())) }.map(|()| code)
        });
        let checked = self.model().links().check();
        checked.inspect_err(|error| self.poison_with(error)).and(result)
    }

    /// Converts C's code to a result, and adjusts the memory to it.
    fn settle(&mut self, batch: &Batch, process: Process, result: Result<i32>) -> Result<()> {
        let code = result?;
        let cancelled = self.raw.hooks.is_cancelled();
        if code == 0 && !cancelled {
            if process == Process::Decode {
                self.books.settle();
            }
            self.attached.threadpools.end();
            return Ok(());
        }
        self.settle_failure(batch, process, code, cancelled)
    }

    #[cold]
    fn settle_failure(&mut self, batch: &Batch, process: Process, code: i32, cancelled: bool) -> Result<()> {
        match DecodeError::from_code(code) {
            Some(error) if !cancelled && error.memory_is_restored() => {
                return Err(ErrorKind::Decode(error).into());
            }
            _ if process == Process::Encode => {}
            _ if cancelled => self.remove_batch(batch)?,
            _ => self.remove_uncomputed(batch)?,
        }
        // Recorded copies and moves were made before the first part was computed.
        if process == Process::Decode {
            self.books.settle();
        }
        let error = if cancelled { None } else { DecodeError::from_code(code) };
        Err(ErrorKind::Decode(error.unwrap_or(DecodeError::Cancelled)).into())
    }

    /// Replaces a failure by the violation that the check of the graph has found, if it was the cause.
    #[inline]
    fn settle_graph(&mut self, result: Result<()>) -> Result<()> {
        match graph::found() {
            None => result,
            Some(finding) => self.settle_finding(result, finding),
        }
    }

    #[cold]
    fn settle_finding(&mut self, result: Result<()>, finding: Finding) -> Result<()> {
        match (result, finding.is_refused) {
            // Found in a graph for batches of another shape, not for this one.
            (Ok(()), false) => Ok(()),
            // A graph other than the batch's was not computed, such as the one that moves keys, and nothing was
            // undone.
            (Ok(()), true) => {
                let error = finding.violation.into();
                self.poison_with(&error);
                Err(error)
            }
            (Err(error), is_refused) => {
                self.last.outputs.clear();
                self.plan_again()?;
                if !is_refused {
                    return Err(error);
                }
                self.facts.takes_embeddings &= !matches!(finding.violation, Violation::StaleTokens { .. });
                Err(finding.violation.into())
            }
        }
    }

    /// Makes C discard its plan, so that the graph of the next batch is built and checked again. Toggling the
    /// embeddings setting twice does this (llama-context.cpp, `set_embeddings`).
    fn plan_again(&mut self) -> Result<()> {
        if self.is_poisoned() {
            return Ok(());
        }
        let embeddings = self.settings.embeddings;
        self.call(|raw| {
            // SAFETY: the context is valid.
            unsafe {
                guarded!(llama_set_embeddings(raw, !embeddings))?;
                guarded!(llama_set_embeddings(raw, embeddings))
            }
        })
    }

    /// Returns whether all tokens of a batch have outputs, whether they ask for them or not.
    fn outputs_all(&self, process: Process) -> bool {
        self.settings.embeddings || (process == Process::Encode && self.has_memory())
    }

    /// Makes C apply the recorded order of the last batch's rows. Decoding discards a record that was not needed;
    /// encoding keeps it, and it would be applied to the encoder's rows (llama-context.cpp, `output_swaps`).
    fn apply_order(&mut self) -> Result<()> {
        if self.last.ordered.get() {
            return Ok(());
        }
        // SAFETY: the context is valid.
        self.call(|raw| unsafe { guarded!(llama_get_logits(raw)) }).map(drop)
    }

    /// Discards the results of the last batch. Their order is applied first, for the reason given at `apply_order`.
    pub(crate) fn discard_outputs(&mut self) -> Result<()> {
        self.apply_order()?;
        self.last.outputs.clear();
        Ok(())
    }

    /// Returns whether a batch is of the usual kind, tokens of one sequence each for a decoder, and valid. This is
    /// one fast check; `check_batch` finds the reason for a refusal.
    #[inline]
    fn is_plain(&self, batch: &Batch, process: Process) -> bool {
        let (limits, facts) = (&self.limits, &self.facts);
        let longest = limits.n_batch.min(limits.n_outputs_max) as usize;
        let n_seq_max = i32::try_from(limits.n_seq_max).unwrap_or(i32::MAX);
        let all_below = |values: &[i32], end: i32| values.iter().all(|value| (0..end).contains(value));
        process == Process::Decode
            && self.settings.causal
            && !self.settings.embeddings
            && facts.has_memory
            && !facts.has_encoder
            && !facts.needs_states
            && batch.states.is_empty()
            && batch.places.is_empty()
            && (batch.len() == 1 || self.attached.samplers.is_empty())
            && (1..=longest).contains(&batch.len())
            // Each entry has at least one sequence.
            && batch.seq_ids.len() == batch.len()
            && all_below(&batch.seq_ids, n_seq_max)
            && all_below(&batch.tokens, facts.n_vocab)
            && all_below(&batch.positions, facts.end_of_positions)
    }

    fn check_batch(&self, batch: &Batch, process: Process) -> Result<()> {
        if batch.is_empty() {
            return Err(ErrorKind::EmptyBatch.into());
        }
        self.check_process(process)?;
        self.check_size(batch, process)?;
        self.check_outputs(batch, process)?;
        self.check_tokens(batch)?;
        self.check_rows(batch)?;
        self.check_draft(batch, process)?;
        batch.seq_ids.iter().try_for_each(|seq_id| self.check_seq_id(SeqId::new(*seq_id)))?;
        self.check_shared(batch)?;
        check_positions(batch, self.model().n_positions())?;
        if process == Process::Encode {
            return Ok(());
        }
        self.check_encoded(batch)?;
        self.check_samplers(batch, self.outputs_all(process))
    }

    /// Refuses ids outside of the vocabulary. Entries that are an embedding have -1.
    fn check_tokens(&self, batch: &Batch) -> Result<()> {
        let n_vocab = self.facts.n_vocab;
        let is_embedding = |index| batch.places.binary_search_by_key(&index, |place| place.index).is_ok();
        let is_token = |token: i32| (0..n_vocab).contains(&token);
        let is_row = |index, token| token == llama_sys::LLAMA_TOKEN_NULL && is_embedding(index);
        let mut entries = batch.tokens.iter().enumerate();
        let wrong = entries.find(|(index, token)| !is_token(**token) && !is_row(*index, **token));
        wrong.map_or(Ok(()), |(_, token)| self.model().vocab().check(Token::new(*token)))
    }

    /// Refuses embeddings and states where the graph asserts that there are none, and their absence where it asserts
    /// that they exist.
    fn check_rows(&self, batch: &Batch) -> Result<()> {
        if batch.places.is_empty() && batch.states.is_empty() && !self.facts.needs_states {
            return Ok(());
        }
        if !self.facts.takes_embeddings && !batch.places.is_empty() {
            let reason = "it only supports tokens".to_owned();
            return Err(ErrorKind::Unsupported { operation: "decoding embeddings", reason }.into());
        }
        let (states, len) = (batch.states.len(), batch.len());
        if (self.facts.needs_states || states > 0) && states != len {
            let expected = format!("{len}, one for each entry of the batch: see Batch::push_state");
            return Err(ParameterProblem::new("states", states, expected).into());
        }
        Ok(())
    }

    /// Refuses tokens where a draft's graph reads embeddings, and embeddings where it reads tokens.
    fn check_draft(&self, batch: &Batch, process: Process) -> Result<()> {
        match (self.facts.draft, process) {
            (None, _) => Ok(()),
            (Some(draft), Process::Encode) => draft.check_encoding(batch),
            (Some(draft), Process::Decode) => draft.check_decoding(batch),
        }
    }

    /// Checks `GGML_ASSERT(n_outputs_max <= cparams.n_outputs_max)` in llama-context.cpp, `output_reserve`.
    fn check_outputs(&self, batch: &Batch, process: Process) -> Result<()> {
        let limit = self.limits.n_outputs_max;
        if limit as usize >= batch.len() {
            return Ok(());
        }
        let wanted = batch.outputs.iter().filter(|output| **output != 0).count();
        let n_outputs = if self.outputs_all(process) { batch.len() } else { wanted };
        if n_outputs <= limit as usize {
            return Ok(());
        }
        let reason = format!(
            "at least {n_outputs}, the number of tokens whose results the batch wants: ask for fewer, or create the context \
             with a larger n_outputs_max"
        );
        Err(ParameterProblem::new("n_outputs_max", limit, reason).into())
    }

    /// Refuses tokens of several sequences where C finds no cells for them, or asserts that there is one sequence
    /// (llama-batch.cpp, `split_equal`; llama-kv-cache.cpp, `find_slot`). A recurrent state is computed for one set
    /// of sequences at a time, except where batches are divided by sequences: there the tokens of one sequence would
    /// change the state of another (llama-batch.cpp, `split_seq`).
    fn check_shared(&self, batch: &Batch) -> Result<()> {
        let by_sequences = self.settings.embeddings || !self.settings.causal;
        let has_states = self.facts.is_recurrent || (self.facts.is_hybrid && by_sequences);
        if !self.has_memory() || (self.facts.is_unified && !has_states) || !batch.entries().any(is_shared) {
            return Ok(());
        }
        let reason = if has_states {
            "its memory has a state for each sequence: decode it for one, and copy the sequence with Memory::seq_cp"
        } else {
            "its sequences have separate buffers: create the context with kv_unified(true)"
        };
        Err(ErrorKind::Unsupported { operation: "a token of several sequences", reason: reason.to_owned() }
            .into())
    }

    /// Refuses to decode a sequence that was not encoded. The graph of a decoder after an encoder asserts that there
    /// is an encoder's output. For a sequence that is not in it, attention is a softmax over nothing, and the logits
    /// are NaN (llama-graph.cpp, llm_graph_input_attn_cross).
    fn check_encoded(&self, batch: &Batch) -> Result<()> {
        if !self.facts.has_encoder || !self.has_memory() {
            return Ok(());
        }
        let is_encoded = |seq_id: &i32| self.last.encoded.binary_search(seq_id).is_ok();
        let Some(entry) = batch.entries().find(|entry| !entry.seq_ids.iter().any(is_encoded)) else {
            return Ok(());
        };
        let operation = "decoding before encoding";
        let reason = format!(
            "its decoder needs the encoder's output, but the last encoded batch had no tokens of sequence {}: \
             call encode first",
            entry.seq_ids.first().copied().unwrap_or(0)
        );
        Err(ErrorKind::Unsupported { operation, reason }.into())
    }

    fn check_process(&self, process: Process) -> Result<()> {
        let refuse = |operation, reason: &str| {
            Err(ErrorKind::Unsupported { operation, reason: reason.to_owned() }.into())
        };
        match process {
            Process::Encode if !self.facts.has_encoder && self.has_memory() => {
                refuse("encoding", "it has no encoder: use decode")
            }
            // For an encoder alone llama.cpp would compute another encoding, with a cache that it does not use.
            Process::Decode if !self.facts.has_decoder && self.has_memory() => {
                refuse("decoding", "it has no decoder: use encode")
            }
            // llama_decode falls back to the encoder for models without memory (llama-context.cpp, decode).
            _ => Ok(()),
        }
    }

    /// Checks `GGML_ASSERT(n_tokens_all <= cparams.n_batch)` and related assertions in llama-context.cpp.
    fn check_size(&self, batch: &Batch, process: Process) -> Result<()> {
        let at_once = self.at_once(batch, process);
        for (which, limit, n_tokens) in
            [("n_batch", self.limits.n_batch, batch.len()), ("n_ubatch", self.limits.n_ubatch, at_once)]
        {
            let limit = limit as usize;
            if n_tokens > limit {
                return Err(ErrorKind::BatchTooLarge { n_tokens, limit, which }.into());
            }
        }
        Ok(())
    }

    /// Returns how many tokens must be computed at once: all tokens if they attend to each other, and tokens that
    /// are pooled. llama.cpp pools each part of a divided batch separately and keeps the last (llama-context.cpp,
    /// decode), which is only correct for last-token pooling. Batches are divided by sequences if these have
    /// separate places in memory (llama-batch.cpp, split_seq).
    fn at_once(&self, batch: &Batch, process: Process) -> usize {
        if process == Process::Encode || !self.settings.causal || !self.has_memory() {
            return batch.len();
        }
        if !self.settings.embeddings || matches!(self.facts.pooling, PoolingType::None | PoolingType::Last) {
            return 0;
        }
        if self.facts.is_unified && !self.facts.is_recurrent && !self.facts.is_hybrid {
            return batch.len();
        }
        let of = |seq_id: i32| batch.seq_ids.iter().filter(|other| **other == seq_id).count();
        (0..i32::try_from(self.limits.n_seq_max).unwrap_or(i32::MAX)).map(of).max().unwrap_or(0)
    }

    /// Returns whether the model has memory between batches, which encoders such as BERT do not. Corresponds to
    /// `llama_get_memory`.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        self.facts.has_memory
    }
}

/// Refuses invalid positions. llama.cpp stores positions without checking their sign, adds one to the largest, and
/// looks learned positions up in a table: on ggml's threads, where a failed assertion cannot be contained.
fn check_positions(batch: &Batch, n_positions: Option<u32>) -> Result<()> {
    let end = n_positions.and_then(|n| i32::try_from(n).ok()).unwrap_or(i32::MAX);
    let Some(index) = batch.positions.iter().position(|pos| !(0..end).contains(pos)) else {
        return Ok(());
    };
    let before: i32 = batch.seq_id_counts[..index].iter().sum();
    let seq_id = usize::try_from(before).ok().and_then(|at| batch.seq_ids.get(at)).copied().unwrap_or(0);
    let pos = batch.positions[index];
    let reason = match n_positions {
        _ if pos < 0 => "it must be at least 0".to_owned(),
        Some(n) => format!("it must be in 0..{n}, the positions that the model has learned"),
        None => format!("it must be below {end}"),
    };
    Err(ErrorKind::InvalidPosition { pos, seq_id, reason }.into())
}
