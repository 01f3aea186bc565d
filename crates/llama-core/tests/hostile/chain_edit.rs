//! Chains that are changed after they were made.

use llama_core::{Sampler, SamplerChain};

use crate::Case;
use crate::sampler::{each_chain, samplers};
use crate::subjects::Subjects;
use crate::values::USIZE;
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("SamplerChain::insert", |walk, subjects| {
        edit(walk, subjects, SamplerChain::insert);
    }),
    ("SamplerChain::remove", |walk, subjects| {
        edit(walk, subjects, |chain, index, sampler| {
            let _ = chain.insert(0, sampler);
            chain.remove(index).map(drop)
        });
    }),
    ("SamplerChain::replace", |walk, subjects| {
        edit(walk, subjects, |chain, index, sampler| chain.replace(index, sampler).map(drop));
    }),
    ("SamplerChain::copy_state_from", copy_state_from),
    ("SamplerChain::is_finished", |walk, subjects| {
        each_chain(walk, subjects, |walk, chain| {
            walk.call("", || chain.is_finished());
            let _ = chain.sample_logits(&[0.0; 9]);
            walk.call("after a token", || chain.is_finished());
        });
    }),
    ("SamplerChain::grammar_state", |walk, subjects| {
        each_chain(walk, subjects, |walk, chain| {
            walk.call("", || chain.grammar_state());
            let _ = chain.sample_logits(&[0.0; 9]);
            walk.call("after a token", || chain.grammar_state());
        });
    }),
];

/// Edits at every place, with every sampler, most of which do not fit there.
fn edit(
    walk: &mut Walk,
    subjects: &mut Subjects,
    edit: impl Fn(&mut SamplerChain, usize, Sampler) -> llama_core::Result<()>,
) {
    let all = samplers(&subjects.models()[0].it);
    let others = samplers(&subjects.models()[5].it);
    let n_tokens = subjects.models()[0].it.vocab().n_tokens();
    each_chain(walk, subjects, |walk, chain| {
        for (number, sampler) in all.iter().chain(&others).enumerate() {
            for index in USIZE.into_iter().chain([3, chain.len().saturating_sub(1), chain.len()]) {
                walk.call(format!("{number} at {index}"), || edit(chain, index, sampler.clone()));
            }
            // What the changes have come to must work, or be refused for its samplers' values.
            walk.call(format!("{number}, used"), || chain.sample_logits(&vec![0.5; n_tokens]));
            if chain.len() > 20 {
                (10..chain.len()).rev().for_each(|index| _ = chain.remove(index));
            }
        }
    });
}

fn copy_state_from(walk: &mut Walk, subjects: &mut Subjects) {
    let mut others: Vec<SamplerChain> = Vec::new();
    each_chain(walk, subjects, |walk, chain| {
        for other in &mut others {
            walk.call("of another", || chain.copy_state_from(other));
            let poisons = chain.is_poisoned();
            let copied = walk.run("to another", || other.copy_state_from(chain));
            assert!(copied.is_err() || !poisons);
        }
        let Some(mut clone) = walk.call("a clone", || chain.try_clone()) else { return };
        let _ = clone.sample_logits(&[0.5; 9]);
        walk.call("of a clone", || chain.copy_state_from(&clone));
        walk.call("to a clone", || clone.copy_state_from(chain));
        others.push(clone);
    });
}
