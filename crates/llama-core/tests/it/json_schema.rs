//! JSON schemas to grammars.

use llama_core::sampler::json_schema_to_grammar;
use llama_core::{ErrorKind, Model, ModelParams, SamplerChain};
use test_models::Tiny;

fn reason(schema: &str) -> String {
    match json_schema_to_grammar(schema).unwrap_err().kind() {
        ErrorKind::JsonSchema { reason, .. } => reason.clone(),
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

fn object(optional: usize) -> String {
    let properties: Vec<_> = (0..optional).map(|i| format!("\"p{i}\": {{\"type\": \"null\"}}")).collect();
    format!("{{\"type\": \"object\", \"properties\": {{{}}}}}", properties.join(", "))
}

#[test]
fn many_optional_properties_are_refused_before_any_work() {
    json_schema_to_grammar(&object(300)).unwrap();
    // Making the grammar of so many would take days, and more memory than there is.
    for schema in [
        object(20_000),
        format!("{{\"allOf\": [{}]}}", vec![object(200); 8].join(", ")),
        format!("{{\"anyOf\": [{}]}}", vec![object(300); 40].join(", ")),
        format!("{{\"properties\": {{\"a\": {}}}, \"required\": [\"a\"]}}", object(20_000)),
        format!("{{\"type\": \"array\", \"items\": {}}}", object(20_000)),
        format!("{{\"$ref\": \"#/$defs/a\", \"$defs\": {{\"a\": {}}}}}", object(20_000)),
    ] {
        assert!(reason(&schema).contains("too large for a grammar"), "{}", reason(&schema));
    }
}

#[test]
fn references_that_multiply_are_refused() {
    let mut levels: Vec<String> = (0..60)
        .map(|i| {
            let next = format!("{{\"$ref\": \"#/$defs/l{}\"}}", i + 1);
            format!("\"l{i}\": {{\"type\": \"object\", \"properties\": {{\"x\": {{\"allOf\": [{next}, {next}]}}}}}}")
        })
        .collect();
    levels.push("\"l60\": {\"type\": \"object\", \"properties\": {}}".to_owned());
    let schema = format!("{{\"$ref\": \"#/$defs/l0\", \"$defs\": {{{}}}}}", levels.join(", "));
    assert!(reason(&schema).contains("too large for a grammar"));
    // A tree is a schema that refers to itself.
    let tree = r##"{"$ref": "#/$defs/t", "$defs": {"t": {"type": "object", "properties":
                   {"children": {"type": "array", "items": {"$ref": "#/$defs/t"}}}, "required": ["children"]}}}"##;
    assert!(json_schema_to_grammar(tree).unwrap().contains("root ::= "));
}

#[test]
fn long_repetitions_are_refused() {
    for (schema, name) in [
        (r#"{"type": "string", "minLength": 1000000000}"#, "minLength"),
        (r#"{"type": "string", "maxLength": 2001}"#, "maxLength"),
        (r#"{"type": "array", "items": {"type": "null"}, "minItems": 1000000000}"#, "minItems"),
        (r#"{"type": "array", "items": {"type": "null"}, "maxItems": 1e18}"#, "maxItems"),
    ] {
        let reason = reason(schema);
        assert!(reason.contains(name) && reason.contains("2000 is the most"), "{reason}");
    }
    json_schema_to_grammar(r#"{"type": "string", "maxLength": 2000}"#).unwrap();
}
