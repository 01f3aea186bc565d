//! Parameters of samplers, one field at a time.

use core::fmt::Display;

use llama_core::sampler::{
    AdaptiveP, Dry, DynamicTemperature, Grammar, LazyTriggers, Mirostat, MirostatV2, Penalties, Xtc,
};
use llama_core::{Model, Sampler, Token};

use crate::Case;
use crate::sampler::check;
use crate::subjects::{Subjects, each_model};
use crate::values::{F32, I32, U32, USIZE, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("DynamicTemperature::temperature", |walk, _| {
        each(walk, F32, |value| {
            Sampler::DynamicTemperature(DynamicTemperature::default().temperature(value))
        });
    }),
    ("DynamicTemperature::delta", |walk, _| {
        each(walk, F32, |value| Sampler::DynamicTemperature(DynamicTemperature::default().delta(value)));
    }),
    ("DynamicTemperature::exponent", |walk, _| {
        let wide = DynamicTemperature::default().delta(0.5);
        each(walk, F32, |value| Sampler::DynamicTemperature(wide.exponent(value)));
    }),
    ("Xtc::new", |walk, _| pairs(walk, |a, b| Sampler::Xtc(Xtc::new(a, b)))),
    ("Xtc::min_keep", |walk, _| each(walk, USIZE, |value| Sampler::Xtc(Xtc::new(1.0, 0.1).min_keep(value)))),
    ("Xtc::seed", |walk, _| each(walk, U32, |value| Sampler::Xtc(Xtc::new(0.5, 0.1).seed(value)))),
    ("Mirostat::new", |walk, subjects| {
        each_model(walk, subjects, |walk, model| {
            pairs(walk, |a, b| Sampler::Mirostat(Mirostat::new(model, a, b)));
        });
    }),
    ("Mirostat::m", |walk, subjects| {
        let model = first(subjects);
        each(walk, U32, |value| Sampler::Mirostat(Mirostat::new(&model, 5.0, 0.1).m(value)));
    }),
    ("Mirostat::seed", |walk, subjects| {
        let model = first(subjects);
        each(walk, U32, |value| Sampler::Mirostat(Mirostat::new(&model, 5.0, 0.1).seed(value)));
    }),
    ("MirostatV2::new", |walk, _| pairs(walk, |a, b| Sampler::MirostatV2(MirostatV2::new(a, b)))),
    ("MirostatV2::seed", |walk, _| {
        each(walk, U32, |value| Sampler::MirostatV2(MirostatV2::new(5.0, 0.1).seed(value)));
    }),
    ("AdaptiveP::new", |walk, _| pairs(walk, |a, b| Sampler::AdaptiveP(AdaptiveP::new(a, b)))),
    ("AdaptiveP::seed", |walk, _| {
        each(walk, U32, |value| Sampler::AdaptiveP(AdaptiveP::new(0.5, 0.9).seed(value)));
    }),
    ("Penalties::last_n", |walk, _| {
        each(walk, U32, |value| Sampler::Penalties(Penalties::default().repeat(1.1).last_n(value)));
    }),
    ("Penalties::repeat", |walk, _| {
        each(walk, F32, |value| Sampler::Penalties(Penalties::default().repeat(value)));
    }),
    ("Penalties::frequency", |walk, _| {
        each(walk, F32, |value| Sampler::Penalties(Penalties::default().frequency(value)));
    }),
    ("Penalties::presence", |walk, _| {
        each(walk, F32, |value| Sampler::Penalties(Penalties::default().presence(value)));
    }),
    ("Dry::multiplier", |walk, subjects| dry(walk, subjects, F32, Dry::multiplier)),
    ("Dry::base", |walk, subjects| dry(walk, subjects, F32, Dry::base)),
    ("Dry::allowed_length", |walk, subjects| dry(walk, subjects, U32, Dry::allowed_length)),
    ("Dry::last_n", |walk, subjects| dry(walk, subjects, U32, Dry::last_n)),
    ("Dry::breakers", |walk, subjects| {
        let model = first(subjects);
        for text in texts() {
            let params = Dry::default().breakers([text.as_str(), "\n"]);
            check(walk, text.len(), |builder| builder.dry(&model, params));
        }
    }),
    ("Grammar::new", |walk, subjects| {
        let model = first(subjects);
        for text in texts() {
            for (grammar, root) in [(text.as_str(), "root"), ("root ::= \"a\"", text.as_str())] {
                check(walk, text.len(), |b| b.push(Sampler::Grammar(Grammar::new(&model, grammar, root))));
            }
        }
    }),
    ("Grammar::triggers", |walk, subjects| {
        lazy(walk, subjects, "none", LazyTriggers::default());
        let model = first(subjects);
        let grammar = Grammar::new(&model, "root ::= \"a\"+", "root").triggers(None);
        check(walk, "not lazy", |builder| builder.push(Sampler::Grammar(grammar)));
    }),
    ("LazyTriggers::words", |walk, subjects| {
        texts()
            .iter()
            .for_each(|text| lazy(walk, subjects, text.len(), LazyTriggers::default().words([text])));
    }),
    ("LazyTriggers::patterns", |walk, subjects| {
        for text in texts().iter().map(String::as_str).chain(["(", "a{999999}", "\\"]) {
            lazy(walk, subjects, text.len(), LazyTriggers::default().patterns([text]));
        }
    }),
    ("LazyTriggers::tokens", |walk, subjects| {
        for id in I32 {
            lazy(walk, subjects, id, LazyTriggers::default().tokens([Token::new(id)]));
        }
    }),
];

fn first(subjects: &mut Subjects) -> Model {
    subjects.models()[0].it.clone()
}

fn each<T: Display + Copy>(
    walk: &mut Walk,
    values: impl IntoIterator<Item = T>,
    sampler: impl Fn(T) -> Sampler,
) {
    for value in values {
        check(walk, value, |builder| builder.push(sampler(value)));
    }
}

fn pairs(walk: &mut Walk, sampler: impl Fn(f32, f32) -> Sampler) {
    for first in F32 {
        for second in F32 {
            check(walk, format!("{first} {second}"), |builder| builder.push(sampler(first, second)));
        }
    }
}

fn dry<T: Display + Copy>(
    walk: &mut Walk,
    subjects: &mut Subjects,
    values: impl IntoIterator<Item = T>,
    set: impl Fn(Dry, T) -> Dry,
) {
    let model = first(subjects);
    each(walk, values, |value| Sampler::Dry { model: model.clone(), params: set(Dry::default(), value) });
}

fn lazy(walk: &mut Walk, subjects: &mut Subjects, what: impl Display, triggers: LazyTriggers) {
    let grammar = Grammar::new(&first(subjects), "root ::= \"a\"+", "root").triggers(triggers);
    check(walk, what, |builder| builder.push(Sampler::Grammar(grammar)));
}
