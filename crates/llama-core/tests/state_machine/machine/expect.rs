//! The expected outcome of each call, from the known state of the context.

use llama_core::context::PoolingType;
use test_models::Tiny;

use super::{Machine, bound};
use crate::batches;
use crate::memory::Room;
use crate::outcome::Expected::{self, Fine, FineOr, Refused};
use crate::plan::Shape;
use crate::traits;

impl Machine {
    pub(super) fn expect_context(&self, shape: &Shape) -> Expected {
        use llama_core::context::{CacheType, FlashAttention};
        if shape.n_batch < shape.n_seq_max {
            return Refused("InvalidParameter");
        }
        let quantised = |kind: CacheType| matches!(kind, CacheType::Q8_0 | CacheType::Q4_0);
        let pools = !matches!(shape.pooling, None | Some(PoolingType::None));
        if (quantised(shape.types.1) || pools) && traits::has_encoder(self.tiny) {
            return Refused("InvalidParameter");
        }
        if shape.pooling == Some(PoolingType::Rank) && self.tiny != Tiny::BertReranker {
            return Refused("InvalidParameter");
        }
        if quantised(shape.types.1) && shape.flash == FlashAttention::Disabled {
            return Refused("ContextCreation");
        }
        Fine
    }

    pub(super) fn expect_process(&self, encode: bool) -> Expected {
        let Some(context) = &self.context else { return Fine };
        let with_memory = self.memory.exists();
        if self.entries.is_empty() {
            return Refused("EmptyBatch");
        }
        if encode && with_memory && !traits::has_encoder(self.tiny) {
            return Refused("Unsupported");
        }
        let too_large = |n: usize, limit: u32| n > limit as usize;
        if too_large(self.entries.len(), context.n_batch())
            || too_large(self.at_once(encode), context.n_ubatch())
        {
            return Refused("BatchTooLarge");
        }
        let n_vocab = i32::try_from(self.model.vocab().n_tokens()).unwrap();
        if self.entries.iter().any(|entry| !(0..n_vocab).contains(&entry.token)) {
            return Refused("InvalidToken");
        }
        if self.entries.iter().flat_map(|entry| &entry.seqs).any(|seq| self.known(*seq).is_none()) {
            return Refused("InvalidSeqId");
        }
        let tokens = batches::tokens(&self.entries);
        let whole_sequences = self.embeddings || !self.causal;
        let shared = tokens.iter().any(|(_, seqs)| seqs.count_ones() > 1);
        if shared && !encode && !self.memory.can_share(whole_sequences) {
            return Refused("Unsupported");
        }
        if !self.positions_in_range() {
            return Refused("InvalidPosition");
        }
        if !encode
            && traits::has_encoder(self.tiny)
            && tokens.iter().any(|(_, seqs)| seqs & self.encoded == 0)
        {
            return Refused("Unsupported");
        }
        if !batches::is_consistent(&tokens, &self.memory) {
            return Refused("InvalidPosition");
        }
        if encode {
            return Fine;
        }
        match self.memory.room(&tokens) {
            Room::Enough => Fine,
            Room::TooLittle => Refused("Decode(NoSlot)"),
            Room::Unknown => FineOr("Decode(NoSlot)"),
        }
    }

    pub(super) fn positions_in_range(&self) -> bool {
        let learned = traits::has_learned_positions(self.tiny);
        let end = if learned { traits::LEARNED_POSITIONS } else { i32::MAX };
        self.entries.iter().all(|entry| (0..end).contains(&entry.pos))
    }

    pub(super) fn can_shift(&self) -> bool {
        self.memory.can_shift() && traits::can_rotate(self.tiny, &self.shape)
    }

    pub(super) fn expect_memory(&self) -> Expected {
        if self.memory.exists() { Fine } else { Refused("Unsupported") }
    }

    /// Returns the number of tokens of the batch that must be computed at once.
    pub(super) fn at_once(&self, encode: bool) -> usize {
        let pooling = traits::pooling(self.tiny, &self.shape);
        if encode || !self.causal || !self.memory.exists() {
            self.entries.len()
        } else if !self.embeddings || matches!(pooling, PoolingType::None | PoolingType::Last) {
            0
        } else if self.memory.can_share(false) && !self.memory.is_summed_up() {
            self.entries.len()
        } else {
            let seqs = || {
                self.entries.iter().flat_map(|entry| &entry.seqs).filter(|seq| self.known(**seq).is_some())
            };
            seqs().map(|seq| seqs().filter(|other| *other == seq).count()).max().unwrap_or(0)
        }
    }

    /// Returns the error for an invalid sequence or range, before the memory is asked.
    pub(super) fn expect_arguments(
        &self,
        seqs: &[i32],
        range: Option<(i32, Option<i32>)>,
    ) -> Option<Expected> {
        if seqs.iter().any(|seq| self.known(*seq).is_none()) {
            return Some(Refused("InvalidSeqId"));
        }
        let (start, end) = range?;
        let bad = start < 0 || end.is_some_and(|end| end < start);
        bad.then_some(Refused("InvalidRange"))
    }

    pub(super) fn expect_remove(&self, seq: i32, start: i32, end: Option<i32>) -> Expected {
        if let Some(refused) = self.expect_arguments(&[seq], Some((start, end))) {
            return refused;
        }
        if !self.memory.exists() {
            return Refused("Unsupported");
        }
        let (start, end) = (i64::from(start), bound(end));
        let extent = self.known(seq).and_then(|seq| self.memory.extent(seq));
        let Some(extent) = extent.filter(|_| start < end) else { return Fine };
        let (from_start, to_end) = (start == 0, end > extent.last);
        if self.memory.is_summed_up() && start <= extent.last && !(from_start && to_end) {
            return Refused("Unsupported");
        }
        let lost = |width: i64| *extent.first.start() > (start - width + 1).max(0);
        if self.memory.window().is_some_and(lost) && !from_start && start <= extent.last && to_end {
            return Refused("Unsupported");
        }
        Fine
    }

    pub(super) fn expect_copy(&self, from: i32, to: i32, start: i32, end: Option<i32>) -> Expected {
        if let Some(refused) = self.expect_arguments(&[from, to], Some((start, end))) {
            return refused;
        }
        if !self.memory.exists() {
            return Refused("Unsupported");
        }
        let (whole, empty) = (start == 0 && end.is_none(), i64::from(start) >= bound(end));
        if from == to || empty || whole {
            return Fine;
        }
        if !self.memory.can_share(false) || self.memory.is_summed_up() {
            return Refused("Unsupported");
        }
        let extent = self.known(from).and_then(|seq| self.memory.extent(seq));
        let (Some(extent), Some(width)) = (extent, self.memory.window()) else { return Fine };
        let end = bound(end);
        if end <= extent.last && *extent.first.start() > (end - width + 1).max(0) {
            return Refused("Unsupported");
        }
        Fine
    }

    pub(super) fn expect_add(&self, seq: i32, start: i32, end: Option<i32>, delta: i32) -> Expected {
        if let Some(refused) = self.expect_shift(seq, start, end) {
            return refused;
        }
        let Some(seq) = self.known(seq).filter(|_| delta != 0) else { return Fine };
        let (start, end, delta) = (i64::from(start), bound(end), i64::from(delta));
        if start >= end {
            return Fine;
        }
        if self.memory.is_summed_up() && self.splits(seq, start, end) {
            return Refused("Unsupported");
        }
        let leaves = |pos: i64| !(0..i64::from(i32::MAX)).contains(&(pos + delta));
        if self.memory.any(seq, start, end, leaves) {
            return Refused("InvalidPosition");
        }
        // Where there is a gap, or the beginning is not known for certain, the range itself counts.
        let last = self.memory.extent(seq).map_or(-1, |extent| extent.last);
        let range_leaves = start <= last && (leaves(start) || leaves(last.min(end - 1)));
        if range_leaves { FineOr("InvalidPosition") } else { Fine }
    }

    /// Whether a range contains a part of a sequence but not the whole.
    pub(super) fn splits(&self, seq: u32, start: i64, end: i64) -> bool {
        let extent = self.memory.extent(seq);
        extent.is_some_and(|extent| start <= extent.last && !(start == 0 && end > extent.last))
    }

    pub(super) fn expect_shift(&self, seq: i32, start: i32, end: Option<i32>) -> Option<Expected> {
        if let Some(refused) = self.expect_arguments(&[seq], Some((start, end))) {
            return Some(refused);
        }
        (!self.memory.exists() || !self.can_shift()).then_some(Refused("Unsupported"))
    }

    pub(super) fn expect_divide(&self, seq: i32, start: i32, end: Option<i32>, divisor: i32) -> Expected {
        if let Some(refused) = self.expect_arguments(&[seq], Some((start, end))) {
            return refused;
        }
        if divisor < 1 {
            return Refused("InvalidParameter");
        }
        if let Some(refused) = self.expect_shift(seq, start, end) {
            return refused;
        }
        let (start, end) = (i64::from(start), bound(end));
        let Some(seq) = self.known(seq).filter(|_| divisor != 1 && start < end) else { return Fine };
        if self.memory.is_summed_up() && self.splits(seq, start, end) { Refused("Unsupported") } else { Fine }
    }

    /// Whether the token at an index has a row.
    pub(super) fn has_output(&self, index: Option<usize>) -> bool {
        let results = self.results.as_ref();
        results.zip(index).and_then(|(results, index)| results.outputs.get(index)).copied().unwrap_or(false)
    }

    pub(super) fn expect_logits(&self, index: Option<usize>) -> Expected {
        let logits = self.results.as_ref().is_some_and(|results| results.logits);
        if self.has_output(index) && logits { Fine } else { Refused("NoOutput") }
    }
}
