//! Tests that a chain is unusable after a contained failure, and that its copies are not affected.

use llama_sys::llama_shim_outcome;

use crate::error::ErrorKind;
use crate::ffi::guard::guarded;
use crate::sampler::Candidates;
use crate::{Sampler, SamplerChain, Token};

const ROW: [f32; 3] = [0.0, 2.0, 1.0];

#[test]
fn contained_assertion_poisons_the_chain() {
    let mut chain = SamplerChain::builder().top_k(2).dist(1).build().unwrap();
    let mut copy = chain.try_clone().unwrap();
    let error = chain
        // SAFETY: the text is NUL-terminated.
        .call(|| unsafe {
            guarded!(llama_shim_fail(
                llama_shim_outcome::LLAMA_SHIM_OUTCOME_ASSERTION,
                c"on purpose".as_ptr()
            ))
        })
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Internal { line: 1, .. }), "{error:?}");
    assert!(chain.is_poisoned());
    let results = [
        chain.accept(Token::new(1)),
        chain.accept_prompt(&[Token::new(1)]),
        chain.apply(&mut Candidates::from_logits(&ROW)),
        chain.reset(),
        chain.sample_logits(&ROW).map(drop),
        chain.grammar_state().map(drop),
        chain.is_finished().map(drop),
        chain.insert(0, Sampler::TopK { k: 1 }),
        chain.remove(0).map(drop),
        chain.replace(1, Sampler::Greedy).map(drop),
        chain.copy_state_from(&copy),
        copy.copy_state_from(&chain),
        chain.try_clone().map(drop),
        chain.for_device(3, 1).map(drop),
        chain.detached().map(drop),
    ];
    for result in results {
        let error = result.unwrap_err();
        let ErrorKind::Poisoned { object, cause } = error.kind() else { panic!("{error:?}") };
        assert_eq!(
            (*object, cause.contains("shim/guard.cpp:1: on purpose")),
            ("sampler chain", true),
            "{cause}"
        );
    }
    assert_eq!((chain.names(), chain.len(), chain.seed()), (copy.names(), 2, Some(1)));
    assert!(!copy.is_poisoned());
    copy.sample_logits(&ROW).unwrap();
}
