//! What is left in memory after a batch that was not computed to its end.

use super::Context;
use super::positions::is_shared;
use crate::batch::Batch;
use crate::error::Result;
use crate::token::SeqId;

impl Context {
    /// After an abort or a failure inside llama.cpp, which has removed the positions of the part that was being
    /// computed (llama-context.cpp, decode): removes what it leaves although it was not computed.
    pub(super) fn remove_what_was_not_computed(&mut self, batch: &Batch) -> Result<()> {
        if !self.has_memory() {
            return Ok(());
        }
        // A state is changed in place. C asks for its last positions to be removed, which it cannot, and does not look
        // at the answer; or it goes back to a snapshot that was not computed (llama-memory-recurrent.cpp, seq_rm).
        if self.keeps_a_state() {
            return self.remove_sequences(batch);
        }
        // C removes a token from the first of its sequences only.
        for entry in batch.entries().filter(|entry| is_shared(*entry)) {
            let mut removed = false;
            for seq_id in entry.seq_ids {
                removed |= self.last_position(*seq_id)? < entry.pos;
            }
            if removed {
                entry.seq_ids.iter().try_for_each(|seq_id| self.remove_from(*seq_id, entry.pos))?;
            }
        }
        Ok(())
    }

    /// Removes everything that a batch may have added.
    pub(super) fn remove_batch(&mut self, batch: &Batch) -> Result<()> {
        if !self.has_memory() {
            return Ok(());
        }
        if self.keeps_a_state() {
            return self.remove_sequences(batch);
        }
        // In rising order, so that the first entry of a sequence removes all.
        for entry in batch.entries() {
            entry.seq_ids.iter().try_for_each(|seq_id| self.remove_from(*seq_id, entry.pos))?;
        }
        Ok(())
    }

    fn remove_sequences(&mut self, batch: &Batch) -> Result<()> {
        batch.seq_ids.iter().try_for_each(|seq_id| self.memory().seq_rm(SeqId::new(*seq_id), ..))
    }

    fn keeps_a_state(&self) -> bool {
        self.facts.is_recurrent || self.facts.is_hybrid
    }

    fn last_position(&mut self, seq_id: i32) -> Result<i32> {
        Ok(self.memory().seq_pos_max(SeqId::new(seq_id))?.map_or(-1, crate::Pos::get))
    }

    /// Removes the end of a sequence, or where the memory refuses that, all of it.
    fn remove_from(&mut self, seq_id: i32, pos: i32) -> Result<()> {
        let seq_id = SeqId::new(seq_id);
        if self.memory().seq_rm(seq_id, pos..).is_ok() {
            return Ok(());
        }
        self.memory().seq_rm(seq_id, ..)
    }
}
