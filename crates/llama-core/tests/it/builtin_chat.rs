//! llama.cpp's built-in chat templates.

use llama_core::ErrorKind;
use llama_core::chat::{apply_builtin_template, builtin_templates};

fn reason(template: &str, messages: &[(&str, &str)]) -> String {
    match apply_builtin_template(template, messages, true).unwrap_err().kind() {
        ErrorKind::Chat { reason, .. } => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_name_is_a_template() {
    let names = builtin_templates().unwrap();
    assert!(names.len() > 40, "{names:?}");
    assert!(names.is_sorted());
    for name in ["chatml", "llama2", "llama3", "gemma", "phi4"] {
        assert!(names.iter().any(|found| found == name), "{name}");
    }
    for name in &names {
        let messages = [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi"), ("user", "Bye")];
        let prompt = apply_builtin_template(name, &messages, true).unwrap();
        assert!(prompt.contains("Hello") && prompt.contains("Bye"), "{name}: {prompt}");
    }
}

#[test]
fn the_text_is_exact() {
    let messages = [("system", "Be brief."), ("user", "Hello")];
    let prompt = apply_builtin_template("llama3", &messages, true).unwrap();
    assert_eq!(
        prompt,
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n"
    );
    let closed = apply_builtin_template("chatml", &messages[1..], false).unwrap();
    assert_eq!(closed, "<|im_start|>user\nHello<|im_end|>\n");
}

#[test]
fn a_jinja_text_is_recognised_and_lengths_do_not_matter() {
    let jinja = "{% for m in messages %}<|im_start|>{{ m.role }}{% endfor %}";
    for length in [0, 1, 100, 500, 100_000] {
        let content = "x".repeat(length);
        let many = vec![("user", content.as_str()); 7];
        let prompt = apply_builtin_template(jinja, &many, true).unwrap();
        assert_eq!(
            prompt.len(),
            7 * (length + "<|im_start|>user\n<|im_end|>\n".len()) + "<|im_start|>assistant\n".len()
        );
    }
}

#[test]
fn what_is_no_conversation_is_refused() {
    assert_eq!(reason("chatml", &[]), "there are no messages");
    assert!(reason("no such", &[("user", "x")]).contains("no template with that name"));
    let error = apply_builtin_template("chatml", &[("user", "a\0b")], true).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InteriorNul { what: "content", position: 1, .. }), "{error:?}");
}
