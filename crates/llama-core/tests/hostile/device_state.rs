//! States that contexts keep on the device.

use llama_core::SeqId;
use llama_core::state::DeviceState;

use crate::Case;
use crate::memory::go_on;
use crate::state::{PARTS, each_sequence};
use crate::subjects::{Subjects, each_context};
use crate::values::I32;
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Context::keep_seq_state", |walk, subjects| {
        each_sequence(walk, subjects, |walk, context, id, part| {
            walk.call(format!("{id} {part:?}"), || context.keep_seq_state(id, part));
        });
    }),
    ("Context::restore_seq_state", restore),
    ("DeviceState::seq_id", |walk, subjects| states(walk, subjects, |state| _ = state.seq_id())),
    ("DeviceState::part", |walk, subjects| states(walk, subjects, |state| _ = state.part())),
    ("DeviceState::end", |walk, subjects| states(walk, subjects, |state| _ = state.end())),
];

/// Restores states of this context and of others, of existing and missing sequences, before and after others were
/// kept.
fn restore(walk: &mut Walk, subjects: &mut Subjects) {
    let mut others: Vec<DeviceState> = Vec::new();
    each_context(walk, subjects, |walk, context| {
        for other in &others {
            walk.call("another's", || context.restore_seq_state(SeqId::new(0), other));
        }
        for part in PARTS {
            let Ok(state) = context.keep_seq_state(SeqId::new(0), part) else { continue };
            for id in I32.map(SeqId::new) {
                walk.call(format!("{part:?} as {id}"), || context.restore_seq_state(id, &state));
            }
            if context.has_memory() {
                walk.call("cleared", || context.memory().clear(true));
                walk.call("after that", || context.restore_seq_state(SeqId::new(0), &state));
            }
            go_on(walk, context);
            walk.call("with another batch", || context.restore_seq_state(SeqId::new(0), &state));
            let _ = context.keep_seq_state(SeqId::new(0), part);
            let again = walk.call("superseded", || context.restore_seq_state(SeqId::new(0), &state));
            assert!(again.is_none());
            go_on(walk, context);
            others.truncate(3);
            others.push(state);
        }
    });
}

fn states(walk: &mut Walk, subjects: &mut Subjects, with: impl Fn(&DeviceState)) {
    each_sequence(walk, subjects, |walk, context, id, part| {
        if let Ok(state) = context.keep_seq_state(id, part) {
            walk.run(format!("{id} {part:?}"), || with(&state));
        }
    });
}
