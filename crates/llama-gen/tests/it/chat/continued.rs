//! Answers that are continued.

use llama_gen::chat::{ChatRequest, ChatTemplate, ContinueAnswer, Message};

use super::templates::{load, names};

fn continued(template: &ChatTemplate, answer: Message, which: ContinueAnswer) -> llama_gen::Result<String> {
    let request = ChatRequest::new([Message::user("Hi"), answer]).continue_answer(which);
    template.render(&request).map(|prompt| prompt.text().to_owned())
}

#[test]
fn a_template_that_ends_a_conversation_otherwise_continues_an_answer() {
    let prompt = continued(&load("phi-3"), Message::assistant("Yes,"), ContinueAnswer::Yes).unwrap();
    assert_eq!(prompt, "<|user|>\nHi<|end|>\n<|assistant|>\nYes,");
}

#[test]
fn white_space_at_the_end_stays() {
    let prompt = continued(&load("llama-3"), Message::assistant("Yes, \n"), ContinueAnswer::Content).unwrap();
    assert!(prompt.ends_with("<|start_header_id|>assistant<|end_header_id|>\n\nYes, \n"), "{prompt}");
}

#[test]
fn every_template_continues_as_it_writes_answers() {
    let mut refused = Vec::new();
    for name in names() {
        let template = load(&name);
        let whole = ChatRequest::new([Message::user("Hi"), Message::assistant("Yes, 0123")])
            .add_generation_prompt(false);
        let whole = template.render(&whole).unwrap();
        let begun = template.render(&ChatRequest::new([Message::user("Hi")])).unwrap();
        let before =
            template.render(&ChatRequest::new([Message::user("Hi")]).add_generation_prompt(false)).unwrap();
        match continued(&template, Message::assistant("Yes, "), ContinueAnswer::Yes) {
            Ok(prompt) => {
                assert!(whole.text().starts_with(&prompt), "{name}: {prompt:?} {:?}", whole.text());
                let without = prompt.strip_suffix("Yes, ").unwrap_or_else(|| panic!("{name}: {prompt:?}"));
                assert!(
                    without.starts_with(begun.text()) || without.starts_with(before.text()),
                    "{name}: {prompt:?}"
                );
            }
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn reasoning_is_continued() {
    let thinking = Message::assistant("").reasoning("Well,");
    for which in [ContinueAnswer::Yes, ContinueAnswer::Reasoning] {
        let prompt = continued(&load("qwen3"), thinking.clone(), which).unwrap();
        assert!(prompt.ends_with("<|im_start|>assistant\n<think>\nWell,"), "{prompt}");
        let prompt = continued(&load("deepseek-r1"), thinking.clone(), which).unwrap();
        assert!(prompt.ends_with("<think>\nWell,") && prompt.matches("<think>").count() == 1, "{prompt}");
    }
    let error = continued(&load("chatml"), thinking, ContinueAnswer::Reasoning).unwrap_err();
    assert!(error.to_string().contains("cannot be continued"), "{error}");
}

#[test]
fn only_answers_are_continued() {
    let question = ChatRequest::new([Message::user("Hi")]).continue_answer(true);
    let error = load("chatml").render(&question).unwrap_err();
    assert!(error.to_string().contains("the last message is of the role user"), "{error}");
}

#[test]
fn the_answer_that_is_read_begins_with_what_was_continued() {
    let request = ChatRequest::new([Message::user("Hi"), Message::assistant("Yes,")]).continue_answer(true);
    for name in ["chatml", "phi-3", "qwen2.5"] {
        let prompt = load(name).render(&request).unwrap();
        assert_eq!(prompt.parse(" sir.").unwrap().content, "Yes, sir.", "{name}");
    }
}
