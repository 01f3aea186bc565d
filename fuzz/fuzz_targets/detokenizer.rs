//! The pieces of a text that arrives in any parts equal its whole lossy conversion.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama_gen::Detokenizer;

fuzz_target!(|input: (&[u8], Vec<u8>)| {
    let (bytes, lengths) = input;
    let mut detokenizer = Detokenizer::new();
    let (mut text, mut rest) = (String::new(), bytes);
    for length in lengths {
        let (chunk, after) = rest.split_at(usize::from(length % 8).min(rest.len()));
        rest = after;
        detokenizer.buffer().extend_from_slice(chunk);
        detokenizer.take(&mut text);
        assert!(detokenizer.pending().len() < 4);
    }
    detokenizer.buffer().extend_from_slice(rest);
    detokenizer.finish(&mut text);
    assert_eq!(text, String::from_utf8_lossy(bytes));
    assert!(detokenizer.pending().is_empty());
});
