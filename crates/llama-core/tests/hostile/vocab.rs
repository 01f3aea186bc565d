//! Vocabularies, tokenising and detokenising.
#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "a path to the method is good for one lifetime only"
)]

use core::ops::ControlFlow;

use llama_core::{DetokenizeOptions, Model, Token, TokenizeOptions, Vocab};

use crate::Case;
use crate::subjects::{Subjects, each_model};
use crate::values::{BOOLS, I32, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Vocab::tokenize", tokenize),
    ("Vocab::tokenize_with", tokenize_with),
    ("Vocab::detokenize", detokenize),
    ("Vocab::detokenize_bytes", detokenize_bytes),
    ("Vocab::append_token_bytes", append_token_bytes),
    ("Vocab::token_to_bytes", token_to_bytes),
    ("Vocab::text", |walk, subjects| {
        each_token(walk, subjects, |walk, vocab, token| _ = walk.call(token, || vocab.text(token)));
    }),
    ("Vocab::score", |walk, subjects| {
        each_token(walk, subjects, |walk, vocab, token| _ = walk.call(token, || vocab.score(token)));
    }),
    ("Vocab::attributes", |walk, subjects| {
        each_token(walk, subjects, |walk, vocab, token| _ = walk.call(token, || vocab.attributes(token)));
    }),
    ("Vocab::is_control", |walk, subjects| {
        each_token(walk, subjects, |walk, vocab, token| _ = walk.call(token, || vocab.is_control(token)));
    }),
    ("Vocab::is_eog", |walk, subjects| {
        each_token(walk, subjects, |walk, vocab, token| _ = walk.run(token, || vocab.is_eog(token)));
    }),
    ("Vocab::kind", |walk, subjects| plain(walk, subjects, |vocab| _ = vocab.kind())),
    ("Vocab::model", |walk, subjects| plain(walk, subjects, |vocab| _ = vocab.model().clone())),
    ("Vocab::as_ptr", |walk, subjects| plain(walk, subjects, |vocab| assert!(!vocab.as_ptr().is_null()))),
    ("Vocab::n_tokens", |walk, subjects| plain(walk, subjects, |vocab| _ = vocab.n_tokens())),
    ("Vocab::adds_bos", |walk, subjects| plain(walk, subjects, |vocab| _ = vocab.adds_bos())),
    ("Vocab::adds_eos", |walk, subjects| plain(walk, subjects, |vocab| _ = vocab.adds_eos())),
    ("Vocab::adds_sep", |walk, subjects| plain(walk, subjects, |vocab| _ = vocab.adds_sep())),
    ("Vocab::suppressed", |walk, subjects| plain(walk, subjects, |vocab| _ = vocab.suppressed())),
    ("Vocab::bos", |walk, subjects| special(walk, subjects, |vocab| vocab.bos())),
    ("Vocab::eos", |walk, subjects| special(walk, subjects, |vocab| vocab.eos())),
    ("Vocab::eot", |walk, subjects| special(walk, subjects, |vocab| vocab.eot())),
    ("Vocab::sep", |walk, subjects| special(walk, subjects, |vocab| vocab.sep())),
    ("Vocab::nl", |walk, subjects| special(walk, subjects, |vocab| vocab.nl())),
    ("Vocab::pad", |walk, subjects| special(walk, subjects, |vocab| vocab.pad())),
    ("Vocab::mask", |walk, subjects| special(walk, subjects, |vocab| vocab.mask())),
    ("Vocab::fim_pre", |walk, subjects| special(walk, subjects, |vocab| vocab.fim_pre())),
    ("Vocab::fim_suf", |walk, subjects| special(walk, subjects, |vocab| vocab.fim_suf())),
    ("Vocab::fim_mid", |walk, subjects| special(walk, subjects, |vocab| vocab.fim_mid())),
    ("Vocab::fim_pad", |walk, subjects| special(walk, subjects, |vocab| vocab.fim_pad())),
    ("Vocab::fim_rep", |walk, subjects| special(walk, subjects, |vocab| vocab.fim_rep())),
    ("Vocab::fim_sep", |walk, subjects| special(walk, subjects, |vocab| vocab.fim_sep())),
    ("TokenizeOptions::add_special", |walk, subjects| options(walk, subjects, TokenizeOptions::add_special)),
    ("TokenizeOptions::parse_special", |walk, subjects| {
        options(walk, subjects, TokenizeOptions::parse_special);
    }),
    ("TokenizeOptions::piece_size", |walk, subjects| {
        each_model(walk, subjects, |walk, model| {
            for size in [0, 1, 511, 512, 513, usize::MAX] {
                let options = TokenizeOptions::default().piece_size(size);
                for text in texts() {
                    let what = format!("{:?} of {} bytes", text.chars().next(), text.len());
                    walk.call(format!("{size} {what}"), || model.vocab().tokenize(&text, options));
                }
            }
        });
    }),
    ("TokenizeOptions::adds_special", |walk, _| {
        BOOLS.into_iter().for_each(|add| {
            let options = TokenizeOptions::default().add_special(add);
            assert_eq!(walk.run(add, || options.adds_special()), add);
        });
    }),
    ("TokenizeOptions::parses_special", |walk, _| {
        BOOLS.into_iter().for_each(|parse| {
            let options = TokenizeOptions::default().parse_special(parse);
            assert_eq!(walk.run(parse, || options.parses_special()), parse);
        });
    }),
    ("DetokenizeOptions::remove_special", |walk, subjects| {
        removing(walk, subjects, DetokenizeOptions::remove_special);
    }),
    ("DetokenizeOptions::unparse_special", |walk, subjects| {
        removing(walk, subjects, DetokenizeOptions::unparse_special);
    }),
];

fn plain(walk: &mut Walk, subjects: &mut Subjects, run: impl Fn(Vocab<'_>)) {
    each_model(walk, subjects, |walk, model| walk.run("", || run(model.vocab())));
}

fn special(walk: &mut Walk, subjects: &mut Subjects, get: fn(&Vocab<'_>) -> Option<Token>) {
    each_model(walk, subjects, |walk, model| {
        let token = walk.run("", || get(&model.vocab()));
        let n_tokens = i32::try_from(model.vocab().n_tokens()).unwrap();
        assert!(token.is_none_or(|token| (0..n_tokens).contains(&token.get())));
    });
}

fn each_token(walk: &mut Walk, subjects: &mut Subjects, mut with: impl FnMut(&mut Walk, Vocab<'_>, Token)) {
    each_model(walk, subjects, |walk, model| {
        I32.into_iter().for_each(|id| with(walk, model.vocab(), Token::new(id)));
    });
}

fn tokenize_with(walk: &mut Walk, subjects: &mut Subjects) {
    each_model(walk, subjects, |walk, model| {
        for (text, stops) in texts().into_iter().flat_map(|text| BOOLS.map(|stops| (text.clone(), stops))) {
            let what = format!("{:?} of {} bytes {stops}", text.chars().next(), text.len());
            let mut go_on = || if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            walk.call(what, || model.vocab().tokenize_with(&text, TokenizeOptions::default(), &mut go_on));
        }
    });
}

fn tokenize(walk: &mut Walk, subjects: &mut Subjects) {
    each_model(walk, subjects, |walk, model| {
        for text in texts() {
            for (add, parse) in BOOLS.into_iter().flat_map(|add| BOOLS.map(|parse| (add, parse))) {
                let options = TokenizeOptions::default().add_special(add).parse_special(parse);
                let what = format!("{:?} of {} bytes {add} {parse}", text.chars().next(), text.len());
                if let Some(tokens) = walk.call(what, || model.vocab().tokenize(&text, options)) {
                    let n_tokens = i32::try_from(model.vocab().n_tokens()).unwrap();
                    assert!(tokens.iter().all(|token| (0..n_tokens).contains(&token.get())));
                }
            }
        }
    });
}

fn options(walk: &mut Walk, subjects: &mut Subjects, set: fn(TokenizeOptions, bool) -> TokenizeOptions) {
    each_model(walk, subjects, |walk, model| {
        for value in BOOLS {
            let options = set(TokenizeOptions::default(), value);
            walk.call(value, || model.vocab().tokenize("<s> a \0", options));
        }
    });
}

/// Returns sequences of tokens, most of them invalid.
fn runs(model: &Model) -> Vec<Vec<Token>> {
    let n_tokens = i32::try_from(model.vocab().n_tokens()).unwrap();
    let mut runs: Vec<Vec<i32>> = I32.iter().map(|id| vec![*id]).collect();
    runs.extend([vec![], (0..n_tokens).collect(), (0..n_tokens).rev().collect(), vec![n_tokens - 1; 10_000]]);
    runs.push(vec![0, 1, 2, -1]);
    runs.into_iter().map(|run| run.into_iter().map(Token::new).collect()).collect()
}

fn detokenize(walk: &mut Walk, subjects: &mut Subjects) {
    each_model(walk, subjects, |walk, model| {
        for tokens in runs(model) {
            let what = format!("{} from {:?}", tokens.len(), tokens.first());
            walk.call(what, || model.vocab().detokenize(&tokens, DetokenizeOptions::default()));
        }
    });
}

fn detokenize_bytes(walk: &mut Walk, subjects: &mut Subjects) {
    each_model(walk, subjects, |walk, model| {
        for tokens in runs(model) {
            for (remove, unparse) in BOOLS.into_iter().flat_map(|one| BOOLS.map(|other| (one, other))) {
                let options = DetokenizeOptions::default().remove_special(remove).unparse_special(unparse);
                let what = format!("{} from {:?} {remove} {unparse}", tokens.len(), tokens.first());
                walk.call(what, || model.vocab().detokenize_bytes(&tokens, options));
            }
        }
    });
}

fn removing(walk: &mut Walk, subjects: &mut Subjects, set: fn(DetokenizeOptions, bool) -> DetokenizeOptions) {
    each_model(walk, subjects, |walk, model| {
        for (value, id) in BOOLS.into_iter().flat_map(|value| [0, 1, 2].map(|id| (value, id))) {
            let options = set(DetokenizeOptions::default(), value);
            walk.call(format!("{id} {value}"), || model.vocab().detokenize(&[Token::new(id)], options));
        }
    });
}

fn append_token_bytes(walk: &mut Walk, subjects: &mut Subjects) {
    each_model(walk, subjects, |walk, model| {
        let vocab = model.vocab();
        for (id, special) in I32.into_iter().flat_map(|id| BOOLS.map(|special| (id, special))) {
            let mut bytes = b"before".to_vec();
            walk.call(format!("{id} {special}"), || {
                vocab.append_token_bytes(Token::new(id), special, &mut bytes)
            });
            assert!(bytes.starts_with(b"before"));
        }
    });
}

fn token_to_bytes(walk: &mut Walk, subjects: &mut Subjects) {
    each_token(walk, subjects, |walk, vocab, token| {
        for special in BOOLS {
            walk.call(format!("{token} {special}"), || vocab.token_to_bytes(token, special));
        }
    });
}
