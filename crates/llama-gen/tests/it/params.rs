//! Parameters: names in JSON, defaults, resolved values, and refusals.

use llama_core::{Model, ModelParams, Token};
use llama_gen::{
    BiasTarget, ErrorKind, GenerationParams, GrammarParams, GrammarTriggers, Llama, LogitBias,
    ParameterProblem, Preset, RepetitionGuard, ResolvedSampling, SamplerName, SamplingParams,
};
use serde_json::json;
use std::time::Duration;
use test_models::{Tiny, rewritten};

fn tiny() -> Model {
    Model::load(Tiny::Llama.path(), &ModelParams::default()).unwrap()
}

fn read(json: serde_json::Value) -> GenerationParams {
    serde_json::from_value(json).unwrap()
}

fn refused(json: serde_json::Value) -> String {
    serde_json::from_value::<GenerationParams>(json).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_those_of_llama_cpp() {
    let expected = json!({
        "temperature": 0.8, "dynatemp_range": 0.0, "dynatemp_exponent": 1.0, "top_k": 40, "top_p": 0.95,
        "min_p": 0.05, "typical_p": 1.0, "top_n_sigma": -1.0, "xtc_probability": 0.0, "xtc_threshold": 0.1,
        "min_keep": 0, "repeat_last_n": 64, "repeat_penalty": 1.0, "frequency_penalty": 0.0,
        "presence_penalty": 0.0, "dry_multiplier": 0.0, "dry_base": 1.75, "dry_allowed_length": 2,
        "dry_penalty_last_n": 64, "dry_sequence_breakers": ["\n", ":", "\"", "*"], "mirostat": 0,
        "mirostat_tau": 5.0, "mirostat_eta": 0.1, "adaptive_target": -1.0, "adaptive_decay": 0.9,
        "samplers": ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
        "logit_bias": [], "seed": null, "grammar": null,
    });
    // Through text: floats are those of 32 bits.
    let text = serde_json::to_string(&ResolvedSampling::default()).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
}

#[test]
fn names_of_llama_cpp_and_openai_mean_the_same() {
    let pairs = [
        (json!({"n_predict": 5}), json!({"max_tokens": 5})),
        (json!({"max_completion_tokens": 5}), json!({"max_tokens": 5})),
        (json!({"max_new_tokens": 5}), json!({"max_tokens": 5})),
        (json!({"temp": 0.5}), json!({"temperature": 0.5})),
        (json!({"penalty_repeat": 1.5}), json!({"repeat_penalty": 1.5})),
        (json!({"repetition_penalty": 1.5}), json!({"repeat_penalty": 1.5})),
        (json!({"penalty_last_n": 7}), json!({"repeat_last_n": 7})),
        (json!({"penalty_freq": 1.0}), json!({"frequency_penalty": 1.0})),
        (json!({"penalty_present": 1.0}), json!({"presence_penalty": 1.0})),
        (json!({"typ_p": 0.5}), json!({"typical_p": 0.5})),
        (json!({"stop": "x"}), json!({"stop": ["x"]})),
        (json!({"stop_token_ids": [1, 2]}), json!({"stop_tokens": [1, 2]})),
        (json!({"stop_tokens": 1}), json!({"stop_tokens": [1]})),
        (json!({"samplers": "kpt"}), json!({"samplers": ["top-k", "nucleus", "TEMP"]})),
        (json!({"logit_bias": {"5": 1.5, "Hi": -2.0}}), json!({"logit_bias": [[5, 1.5], ["Hi", -2.0]]})),
        (json!({"grammar": "root ::= \"a\""}), json!({"grammar": {"text": "root ::= \"a\""}})),
    ];
    for (left, right) in pairs {
        assert_eq!(read(left.clone()), read(right), "{left}");
        assert_ne!(read(left.clone()), GenerationParams::default(), "{left}");
    }
}

#[test]
fn null_and_minus_one_are_what_they_are_in_llama_cpp() {
    let default = GenerationParams::default();
    for name in
        ["temperature", "stop", "logit_bias", "seed", "max_tokens", "samplers", "grammar", "ignore_eos"]
    {
        assert_eq!(read(json!({name: null})), default, "{name}");
    }
    assert_eq!(read(json!({"seed": -1})).sampling.seed, None);
    assert_eq!(read(json!({"seed": 4_294_967_294_u32})).sampling.seed, Some(4_294_967_294));
    let long = read(json!({"seed": 0x0000_0001_0000_0002_u64})).sampling.seed;
    assert_eq!(long, Some(3), "longer seeds are folded");
    assert_eq!(read(json!({"n_predict": -1})).max_tokens, None);
    assert_eq!(read(json!({"top_k": -1})).sampling.top_k, Some(0));
    assert_eq!(read(json!({"repeat_last_n": -1})).sampling.repeat_last_n, Some(u32::MAX));
}

#[test]
fn everything_survives_json() {
    let mut params = GenerationParams::default();
    params.sampling = SamplingParams::default()
        .temperature(0.7)
        .top_k(5)
        .samplers(vec![SamplerName::TopK, SamplerName::Temperature])
        .logit_bias(vec![
            LogitBias::new(Token::new(7), 1.5),
            LogitBias::forbid("bad"),
            LogitBias::new("", 0.25),
        ])
        .dry_sequence_breakers(vec!["\n".to_owned()])
        .grammar(
            GrammarParams::new("r ::= \"a\"")
                .root("r")
                .triggers(GrammarTriggers::new().word("<tool>").pattern("x+").token(Token::new(3))),
        )
        .seed(9);
    params.max_tokens = Some(4);
    params.max_time = Some(Duration::from_millis(1500));
    params.stop = vec!["x".to_owned(), "yz".to_owned()];
    params.stop_tokens = vec![Token::new(2)];
    params.repetition_guard = Some(RepetitionGuard::default().repeats(3));
    params.parse_special = true;
    params.ignore_eos = true;
    let text = serde_json::to_string(&params).unwrap();
    assert_eq!(serde_json::from_str::<GenerationParams>(&text).unwrap(), params);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["logit_bias"], json!([[7, 1.5], ["bad", false], ["", 0.25]]));
    assert_eq!(value["max_time_ms"], json!(1500));
    assert_eq!(serde_json::to_string(&GenerationParams::default()).unwrap(), "{}");
}

#[test]
fn what_is_not_a_parameter_is_refused() {
    for (json, expected) in [
        (json!({"temprature": 1}), "unknown field `temprature`"),
        (json!({"top_k": "five"}), "invalid type"),
        (json!({"max_tokens": 1, "n_predict": 2}), "duplicate field `max_tokens`"),
        (json!({"samplers": ["top_q"]}), "the sampler is \"top_q\", but must be one of penalties, dry,"),
        (json!({"samplers": "kz"}), "\"z\" is not the letter of a sampler"),
        (json!({"logit_bias": {"5": true}}), "a bias is true, but must be a number, or false"),
        (json!({"logit_bias": [[5]]}), "invalid length 1"),
        (json!({"seed": 1.5}), "a seed must be a whole number"),
        (json!({"grammar": {"txt": ""}}), "a grammar must be a text, or an object"),
        (json!({"repetition_guard": {"period": 1}}), "unknown field `period`"),
    ] {
        let found = refused(json.clone());
        assert!(found.contains(expected), "{json}: {found}");
    }
}

#[test]
fn parameters_can_be_a_part_of_a_larger_request() {
    #[derive(serde::Deserialize)]
    struct Request {
        prompt: String,
        #[serde(flatten)]
        params: GenerationParams,
    }
    let request: Request =
        serde_json::from_value(json!({"prompt": "x", "temp": 0.5, "stop": "y", "stream": true})).unwrap();
    assert_eq!((request.prompt.as_str(), request.params.sampling.temperature), ("x", Some(0.5)));
    assert_eq!(request.params.stop, ["y"]);
    // All names that parameters are written by are taken out of the request.
    let mut all = serde_json::to_value(ResolvedSampling::default()).unwrap();
    let more = json!({
        "max_tokens": 3, "max_time_ms": 5, "stop_tokens": [1], "repetition_guard": {}, "parse_special": true,
        "ignore_eos": true, "seed": 1, "grammar": "root ::= [a]", "prompt": "x",
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request: Request = serde_json::from_value(all.clone()).unwrap();
    all.as_object_mut().unwrap().remove("prompt");
    assert_eq!(request.params, read(all));
}

#[test]
fn the_models_own_metadata_comes_before_llama_cpps_defaults() {
    let bytes = rewritten::with_metadata(Tiny::Llama, |metadata| {
        metadata
            .set("general.sampling.sequence", "top_k;temp;no_such")
            .set("general.sampling.top_k", 7i32)
            .set("general.sampling.temp", 0.25f32)
            .set("general.sampling.penalty_last_n", -1i32)
            .set("general.sampling.min_p", "much")
            .set("general.sampling.mirostat_tau", 3f32);
    });
    let (_folder, path) = rewritten::saved(&bytes);
    let model = Model::load(path, &ModelParams::default()).unwrap();
    let resolved = SamplingParams::default().top_p(0.5).resolve(&model).unwrap();
    assert_eq!((resolved.top_k, resolved.temperature, resolved.top_p), (7, 0.25, 0.5));
    assert_eq!((resolved.min_p, resolved.mirostat_tau, resolved.repeat_last_n), (0.05, 3.0, u32::MAX));
    assert_eq!(resolved.samplers, [SamplerName::TopK, SamplerName::Temperature]);
    let mine = SamplingParams::default().top_k(3).resolve(&model).unwrap();
    assert_eq!((mine.top_k, mine.temperature), (3, 0.25), "the caller's come before the model's");
    assert_eq!(SamplingParams::recommended(&tiny()).unwrap(), SamplingParams::default());
}

#[test]
fn chains_are_those_of_llama_cpps_tools() {
    let model = tiny();
    let names = |params: SamplingParams| params.to_chain(&model).unwrap().names().join(" ");
    let all = || SamplingParams::default().seed(1);
    assert_eq!(names(all()), "top-k top-p min-p temp dist");
    assert_eq!(names(all().temperature(0.0)), "greedy");
    assert_eq!(names(all().temperature(0.0).repeat_penalty(1.5)), "penalties greedy");
    let every = all()
        .repeat_penalty(1.1)
        .dry_multiplier(0.8)
        .top_n_sigma(2.0)
        .typical_p(0.9)
        .xtc_probability(0.5)
        .dynatemp_range(0.2)
        .logit_bias(vec![LogitBias::new(Token::new(5), 1.0)])
        .grammar("root ::= [a-z]+");
    assert_eq!(
        names(every.clone()),
        "logit-bias grammar penalties dry top-n-sigma top-k typical top-p min-p xtc temp-ext dist"
    );
    // At temperature 0 what may remove the most likely token stays, with all that it depends on.
    assert!(names(every.temperature(0.0).dynatemp_range(0.0)).ends_with("xtc temp greedy"));
    let ordered = |samplers: &[SamplerName]| all().samplers(samplers.to_vec());
    use SamplerName::{AdaptiveP, Infill, MinP, Temperature, TopK};
    assert_eq!(names(ordered(&[])), "dist");
    assert_eq!(names(ordered(&[Temperature, MinP])), "temp min-p dist");
    assert_eq!(names(ordered(&[TopK]).top_k(1)), "greedy");
    assert_eq!(names(ordered(&[TopK, Infill])), "top-k infill dist");
    assert_eq!(names(ordered(&[AdaptiveP, MinP]).adaptive_target(0.5)), "min-p adaptive-p");
    assert_eq!(names(ordered(&[AdaptiveP, MinP])), "min-p dist");
    assert_eq!(names(all().mirostat(1)), "temp mirostat");
    assert_eq!(names(all().mirostat(2).grammar("root ::= \"a\"")), "grammar temp mirostat-v2");
}

#[test]
fn all_problems_come_in_one_error() {
    let params: GenerationParams = read(json!({
        "temperature": -1, "dynatemp_range": -0.5, "top_p": 1.5, "min_p": 2, "typical_p": 0, "xtc_threshold": 0,
        "repeat_penalty": 0, "frequency_penalty": 1e9, "dry_base": 0.5, "dry_sequence_breakers": [""],
        "mirostat": 3, "mirostat_tau": 0, "adaptive_target": 2, "adaptive_decay": 1, "samplers": ["infill"],
        "repeat_last_n": 99_999_999, "logit_bias": [["a", 1e9]], "max_tokens": 0, "stop": ["", "x"],
        "repetition_guard": {"max_period": 0, "repeats": 1},
    }));
    let error = params.validate().unwrap_err();
    let ErrorKind::InvalidParameters { problems, .. } = error.kind() else { panic!("{error}") };
    let mut names: Vec<&str> = problems.iter().map(|problem| problem.name.as_str()).collect();
    names.dedup();
    assert_eq!(names.len(), 20, "{problems:#?}");
    assert_eq!(problems[0].to_string(), "temperature is -1, but must be 0, or at least 0.00001");
    for expected in [
        ParameterProblem::new("repetition_guard.repeats", 1, "at least 2"),
        ParameterProblem::new("mirostat", 3, "0, 1 or 2"),
        ParameterProblem::new("dry_sequence_breakers[0]", "\"\"", "from 1 to 40 bytes long, without NUL"),
    ] {
        assert!(problems.contains(&expected), "{problems:#?}");
    }
    let written = serde_json::to_value(&problems[1]).unwrap();
    assert_eq!(written, json!({"name": "dynatemp_range", "value": "-0.5", "expected": "from 0 to 1000000"}));
    assert!(GenerationParams::default().validate().is_ok());
}

#[test]
fn what_only_the_model_can_tell_is_checked_with_it() {
    let model = tiny();
    let n_vocab = model.vocab().n_tokens();
    let problems = |json| {
        let params: GenerationParams = read(json);
        params.validate().unwrap();
        let error = params.validate_for(&model).unwrap_err();
        let ErrorKind::InvalidParameters { problems, .. } = error.kind() else { panic!("{error}") };
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let range = format!("but must be in the vocabulary of {n_vocab} tokens (0..{n_vocab})");
    assert_eq!(
        problems(json!({"logit_bias": {"99999": 1}, "stop_tokens": [-1]})),
        [
            format!("logit_bias[0].target is token 99999, {range}"),
            format!("stop_tokens[0] is token -1, {range}")
        ]
    );
    let grammar = problems(json!({"grammar": "root ::= ("}));
    let expected = "grammar is \"root ::= (\", but must be usable with this model: the grammar is not valid: line 1, column 11";
    assert!(grammar[0].starts_with(expected), "{grammar:?}");
    assert!(GenerationParams::default().validate_for(&model).is_ok());
}

#[test]
fn setters_are_named_after_the_fields() {
    let params = GenerationParams::default()
        .sampling(SamplingParams::default().seed(1))
        .max_tokens(5)
        .max_time(Duration::from_millis(20))
        .stop(["x", "y"])
        .stop_tokens([Token::new(3)])
        .repetition_guard(RepetitionGuard::default())
        .parse_special(true)
        .ignore_eos(true);
    let json = json!({
        "seed": 1, "max_tokens": 5, "max_time_ms": 20, "stop": ["x", "y"], "stop_tokens": [3],
        "repetition_guard": {}, "parse_special": true, "ignore_eos": true,
    });
    assert_eq!(params, read(json));
}

#[test]
fn open_parameters_are_those_of_the_defaults() {
    let defaults = read(json!({
        "temperature": 0.5, "top_k": 3, "max_tokens": 5, "max_time_ms": 20, "stop": "x", "stop_tokens": 3,
        "repetition_guard": {}, "ignore_eos": true,
    }));
    assert_eq!(GenerationParams::default().or(&defaults), defaults);
    assert_eq!(defaults.clone().or(&GenerationParams::default()), defaults);
    let params =
        read(json!({"temperature": 1.0, "max_tokens": 1, "stop": ["y", "z"], "parse_special": true}));
    let expected = json!({
        "temperature": 1.0, "top_k": 3, "max_tokens": 1, "max_time_ms": 20, "stop": ["y", "z"], "stop_tokens": 3,
        "repetition_guard": {}, "parse_special": true, "ignore_eos": true,
    });
    assert_eq!(params.or(&defaults), read(expected));
}

#[test]
fn presets_are_valid_and_have_names() {
    let model = tiny();
    for preset in Preset::ALL {
        assert_eq!(preset.as_str().parse(), Ok(*preset));
        assert_eq!(serde_json::to_value(preset).unwrap(), json!(preset.as_str()));
        preset.params().to_chain(&model).unwrap();
    }
    assert!("wild".parse::<Preset>().unwrap_err().to_string().contains("must be greedy, neutral"));
    let names = |preset: Preset| preset.params().to_chain(&model).unwrap().names().join(" ");
    assert_eq!(names(Preset::Greedy), "greedy");
    assert_eq!(names(Preset::Neutral), "dist");
    assert_eq!(names(Preset::Creative), "dry min-p temp dist");
    let mine = SamplingParams::default().top_k(10).or(&Preset::Precise.into());
    assert_eq!((mine.top_k, mine.temperature), (Some(10), Some(0.2)));
}

#[test]
fn every_sampler_generates() {
    let llm = Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap();
    let sets = [
        json!({"repeat_penalty": 1.3, "frequency_penalty": 0.1, "presence_penalty": 0.1, "repeat_last_n": -1}),
        json!({"dry_multiplier": 0.8, "dry_penalty_last_n": -1}),
        json!({"top_n_sigma": 1.0, "typical_p": 0.9}),
        json!({"xtc_probability": 1.0, "xtc_threshold": 0.001}),
        json!({"dynatemp_range": 0.5}),
        json!({"mirostat": 1}),
        json!({"mirostat": 2}),
        json!({"samplers": "kia"}),
        json!({"samplers": ["min_p", "adaptive_p"], "adaptive_target": 0.3}),
        json!({"samplers": [], "min_keep": 3}),
    ];
    let plain = |json: serde_json::Value| {
        let mut params = read(json);
        params.sampling.seed = Some(3);
        params.max_tokens = Some(16);
        params.ignore_eos = true;
        llm.generate("hello").params(params).complete().unwrap()
    };
    for json in sets {
        let (first, second) = (plain(json.clone()), plain(json.clone()));
        assert_eq!(first.text, second.text, "{json}");
        assert_eq!(first.finish.usage.completion_tokens, 16, "{json}");
    }
}

#[test]
fn the_short_way_chooses_the_tokens_of_the_chain() {
    let model = tiny();
    let llm = Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap();
    let params = || SamplingParams::default().seed(5).repeat_penalty(1.1);
    let text = |sampling: SamplingParams| {
        let generate = llm.generate("hello").sampling(sampling).max_tokens(24);
        generate.ignore_eos(true).complete().unwrap().text
    };
    // A grammar that allows everything has no form for rows, so that a chain does the same work.
    let chain = params().grammar("root ::= [^\\U0010FFFF]*");
    assert!(chain.to_chain(&model).unwrap().names().contains(&"grammar".to_owned()));
    let bytes = vec![LogitBias::forbid("\u{fffd}")];
    assert_eq!(text(params().logit_bias(bytes.clone())), text(chain.logit_bias(bytes)));
}

#[test]
fn biases_force_and_forbid_tokens() {
    let llm = Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap();
    let run = |biases: Vec<LogitBias>| {
        let sampling = SamplingParams::default().temperature(0.0).logit_bias(biases);
        llm.generate("hello").sampling(sampling).max_tokens(4).complete().unwrap().text
    };
    let free = run(Vec::new());
    assert_eq!(run(vec![LogitBias::new("river", 1e6)]), " river river river river");
    let vocab = llm.model().vocab();
    // The tokenizer adds a space of its own in front.
    let first = vocab
        .tokenize(free.trim_start(), llama_core::TokenizeOptions::default().add_special(false))
        .unwrap()[0];
    assert_ne!(run(vec![LogitBias::forbid(first)]), free);
    // Several biases of one token add up.
    assert_eq!(run(vec![LogitBias::new(first, 1e6), LogitBias::new(first, -1e6)]), free);
    assert_eq!(BiasTarget::from("x"), BiasTarget::Text("x".to_owned()));
}
