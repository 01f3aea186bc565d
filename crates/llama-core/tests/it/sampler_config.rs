//! Samplers as values without a model, and in files.

use crate::greedy::load;
use llama_core::sampler::{
    AdaptiveP, Dry, DynamicTemperature, LazyTriggers, MirostatV2, Penalties, SamplerConfig, Xtc,
};
use llama_core::{Model, Sampler, SamplerChain, Token};
use test_models::Tiny;

/// Returns one of each sampler.
fn all() -> Vec<SamplerConfig> {
    let triggers = LazyTriggers::default().words(["{"]).patterns(["(a)"]).tokens([Token::new(5)]);
    vec![
        SamplerConfig::Penalties(Penalties::default().last_n(16).repeat(1.5).frequency(0.25).presence(-0.5)),
        SamplerConfig::Dry(Dry::default().multiplier(0.5).breakers(["\n"])),
        SamplerConfig::LogitBias {
            biases: vec![(Token::new(3), f32::NEG_INFINITY), (Token::new(4), -1.5), (Token::new(5), 2.0)],
        },
        SamplerConfig::Grammar {
            grammar: "root ::= [a-z]*".to_owned(),
            root: "root".to_owned(),
            triggers: None,
        },
        SamplerConfig::Grammar {
            grammar: "start ::= \"{\"".to_owned(),
            root: "start".to_owned(),
            triggers: Some(triggers),
        },
        SamplerConfig::TopNSigma { n: 2.0 },
        SamplerConfig::TopK { k: 40 },
        SamplerConfig::Typical { p: 0.5, min_keep: 2 },
        SamplerConfig::TopP { p: 0.75, min_keep: 1 },
        SamplerConfig::MinP { p: 0.125, min_keep: 3 },
        SamplerConfig::Xtc(Xtc::new(0.5, 0.25).min_keep(1).seed(3)),
        SamplerConfig::Infill,
        SamplerConfig::Temperature { temperature: 0.5 },
        SamplerConfig::DynamicTemperature(
            DynamicTemperature::default().temperature(0.5).delta(0.25).exponent(2.0),
        ),
        SamplerConfig::Mirostat { tau: 5.0, eta: 0.5, m: 50, seed: 9.into() },
        SamplerConfig::MirostatV2(MirostatV2::new(4.0, 0.25).seed(8)),
        SamplerConfig::AdaptiveP(AdaptiveP::new(0.5, 0.75).seed(7)),
        SamplerConfig::Dist { seed: 42.into() },
        SamplerConfig::Greedy,
    ]
}

fn is_selecting(config: &SamplerConfig, model: &Model) -> bool {
    config.clone().with_model(model).is_selecting()
}

#[test]
fn samplers_are_the_same_with_and_without_a_model() {
    let model = load(Tiny::Llama);
    for config in all() {
        let sampler = config.clone().with_model(&model);
        assert_eq!(sampler.config(), Some(config.clone()));
        assert_eq!(sampler, config.with_model(&model));
    }
    let before = all().into_iter().filter(|config| !is_selecting(config, &model));
    let chain = SamplerChain::builder().configs(&model, before).greedy().build().unwrap();
    assert_eq!(chain.len(), 15);
    let other = load(Tiny::Llama);
    assert_ne!(SamplerConfig::Infill.with_model(&model), SamplerConfig::Infill.with_model(&other));
    assert_ne!(Sampler::TopK { k: 1 }, Sampler::TopK { k: 2 });
}

#[cfg(feature = "serde")]
mod serde {
    use llama_core::ErrorKind;

    use llama_core::sampler::Seed;

    use super::*;

    #[test]
    fn samplers_are_what_they_were_when_they_were_written() {
        let text = serde_json::to_string(&all()).unwrap();
        assert_eq!(serde_json::from_str::<Vec<SamplerConfig>>(&text).unwrap(), all());
        for (config, expected) in [
            (SamplerConfig::Greedy, r#""greedy""#),
            (SamplerConfig::TopK { k: 40 }, r#"{"top-k":{"k":40}}"#),
            (SamplerConfig::Temperature { temperature: 0.5 }, r#"{"temp":{"temperature":0.5}}"#),
            (
                SamplerConfig::LogitBias {
                    biases: vec![(Token::new(3), f32::NEG_INFINITY), (Token::new(4), 1.5)],
                },
                r#"{"logit-bias":{"biases":[[3,"-inf"],[4,1.5]]}}"#,
            ),
            (
                SamplerConfig::MirostatV2(MirostatV2::new(5.0, 0.5).seed(1)),
                r#"{"mirostat-v2":{"tau":5.0,"eta":0.5,"seed":1}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&config).unwrap(), expected);
        }
    }

    /// The names equal llama.cpp's, which `Sampler::name` returns.
    #[test]
    fn names_are_those_of_llama_cpp() {
        let model = load(Tiny::Llama);
        for config in all() {
            let value = serde_json::to_value(&config).unwrap();
            let name = value.as_str().or_else(|| value.as_object()?.keys().next().map(String::as_str));
            assert_eq!(name, Some(config.with_model(&model).name()));
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let random = Seed::Random;
        let read = |text| serde_json::from_str::<SamplerConfig>(text).unwrap();
        for (text, expected) in [
            (r#"{"dist": {}}"#, SamplerConfig::Dist { seed: random }),
            (r#"{"dist": {"seed": -1}}"#, SamplerConfig::Dist { seed: random }),
            (r#"{"dist": {"seed": 0}}"#, SamplerConfig::Dist { seed: Seed::Fixed(0) }),
            (r#"{"dist": {"seed": 4294967295}}"#, SamplerConfig::Dist { seed: Seed::Fixed(u32::MAX) }),
            (r#"{"top-p": {"p": 1}}"#, SamplerConfig::TopP { p: 1.0, min_keep: 1 }),
            (r#"{"penalties": {"repeat": 1.5}}"#, SamplerConfig::Penalties(Penalties::default().repeat(1.5))),
            (r#"{"dry": {}}"#, SamplerConfig::Dry(Dry::default())),
            (
                r#"{"mirostat": {"tau": 5, "eta": 0.5}}"#,
                SamplerConfig::Mirostat { tau: 5.0, eta: 0.5, m: 100, seed: random },
            ),
            (
                r#"{"xtc": {"probability": 0.5, "threshold": 0.25}}"#,
                SamplerConfig::Xtc(Xtc::new(0.5, 0.25).min_keep(1).seed(random)),
            ),
            (
                r#"{"grammar": {"grammar": "root ::= \"a\""}}"#,
                SamplerConfig::Grammar {
                    grammar: "root ::= \"a\"".to_owned(),
                    root: "root".to_owned(),
                    triggers: None,
                },
            ),
            (
                r#"{"logit-bias": {"biases": [[7, -100]]}}"#,
                SamplerConfig::LogitBias { biases: vec![(Token::new(7), -100.0)] },
            ),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_when_it_is_read_or_when_it_is_built() {
        for text in [
            r#""none-such""#,
            r#"{"dist": {"seed": -2}}"#,
            r#"{"dist": {"seed": 4294967296}}"#,
            r#"{"dist": {"seed": 1.5}}"#,
            r#"{"top-k": {}}"#,
            r#"{"top-k": {"k": -1}}"#,
            r#"{"top-k": {"k": 1.5}}"#,
            r#"{"top-k": {"k": 1, "p": 1}}"#,
            r#"{"penalties": {"penalty": 1}}"#,
            r#"{"temp": {"temperature": null}}"#,
            r#"{"logit-bias": {"biases": [[1, "inf"]]}}"#,
            r#"{"logit-bias": {"biases": [[1, null]]}}"#,
            r#"{"logit-bias": {"biases": [[99999999999, 1]]}}"#,
            r#"{"grammar": {"grammar": "root ::= \"a\"", "model": "x"}}"#,
        ] {
            assert!(serde_json::from_str::<SamplerConfig>(text).is_err(), "{text}");
        }
        let model = load(Tiny::Llama);
        let text = r#"[{"top-p": {"p": 7}}, {"temp": {"temperature": -1}}, {"logit-bias": {"biases": [[-5, 1e39]]}}]"#;
        let configs: Vec<SamplerConfig> = serde_json::from_str(text).unwrap();
        let error = SamplerChain::builder().configs(&model, configs).build().unwrap_err();
        let ErrorKind::InvalidSamplers { problems, .. } = error.kind() else { panic!("{error:?}") };
        let places: Vec<(usize, &str)> = problems.iter().map(|it| (it.index, it.sampler)).collect();
        assert_eq!(
            places,
            [(0, "top-p"), (1, "temp"), (2, "logit-bias"), (2, "logit-bias"), (2, "logit-bias")]
        );
    }

    #[test]
    fn ids_are_numbers() {
        let ids = (Token::new(-1), llama_core::SeqId::new(2), llama_core::Pos::new(3));
        assert_eq!(serde_json::to_string(&ids).unwrap(), "[-1,2,3]");
        assert_eq!(serde_json::from_str::<Token>("77").unwrap(), Token::new(77));
    }
}
