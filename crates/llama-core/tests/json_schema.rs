//! JSON schemas to grammars.

#![cfg(feature = "common")]

use llama_core::{ErrorKind, Model, ModelParams, SamplerChain, json_schema_to_grammar};
use test_models::Tiny;

fn reason(schema: &str) -> String {
    match json_schema_to_grammar(schema).unwrap_err().kind() {
        ErrorKind::JsonSchema { reason } => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_grammar_is_made_that_a_sampler_takes() {
    let schema = r#"{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
                     "required": ["name", "age"], "additionalProperties": false}"#;
    let grammar = json_schema_to_grammar(schema).unwrap();
    assert!(grammar.contains("root ::= \"{\" space name-kv"), "{grammar}");
    let model = Model::load(Tiny::Llama.path(), &ModelParams::default().vocab_only(true)).unwrap();
    SamplerChain::builder().grammar(&model, &grammar, "root").greedy().build().unwrap();
}

#[test]
fn what_is_no_schema_is_refused() {
    assert!(reason("").contains("parse error"));
    assert!(reason("{").contains("parse error"));
    assert!(reason("\u{0}").contains("parse error"));
    assert!(reason(r#"{"type": "strnig"}"#).contains("strnig"));
    assert!(reason(r##"{"$ref": "#/nowhere"}"##).contains("nowhere"));
    assert!(reason(r#"{"type": "string", "pattern": "("}"#).contains("begin with '^'"));
    assert!(reason(r#"{"type": "string", "pattern": "^(?=a)$"}"#).contains("^(?=a)$ is not supported"));
    assert!(reason(r#"{"type": "string", "pattern": "^(a$"}"#).contains("unbalanced"));
    json_schema_to_grammar(r#"{"const": {"pattern": "a"}}"#).unwrap();
}

#[test]
fn deep_schemas_are_refused() {
    let many = 100_000;
    let nested = "{\"items\":".repeat(many) + "{}" + &"}".repeat(many);
    assert!(reason(&nested).contains("128"));
    assert!(reason(&"[".repeat(many)).contains("128"));
    let pattern = format!("{{\"type\": \"string\", \"pattern\": \"^{}$\"}}", "(".repeat(200));
    assert!(reason(&pattern).contains("not supported"));
}
