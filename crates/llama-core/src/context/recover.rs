//! Cleanup of the memory after a batch that was not computed completely.

use super::Context;
use super::positions::is_shared;
use crate::batch::Batch;
use crate::error::Result;
use crate::token::SeqId;

impl Context {
    /// Removes what C leaves in memory although it was not computed. For use after an abort or a failure inside
    /// llama.cpp, which removes the positions of the part that was being computed (llama-context.cpp, decode).
    pub(super) fn remove_uncomputed(&mut self, batch: &Batch) -> Result<()> {
        if !self.has_memory() {
            return Ok(());
        }
        // A recurrent state is changed in place. C requests the removal of its last positions, which is not
        // possible, and ignores the result; or it restores a snapshot that was not computed
        // (llama-memory-recurrent.cpp, seq_rm).
        if self.keeps_a_state() {
            return self.remove_sequences(batch);
        }
        // C removes a token only from the first of its sequences.
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
        // In ascending order, so that the first entry of a sequence removes all.
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

    /// Removes the end of a sequence, or the whole sequence if the memory refuses that.
    fn remove_from(&mut self, seq_id: i32, pos: i32) -> Result<()> {
        let seq_id = SeqId::new(seq_id);
        if self.memory().seq_rm(seq_id, pos..).is_ok() {
            return Ok(());
        }
        self.memory().seq_rm(seq_id, ..)
    }
}
