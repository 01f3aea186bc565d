//! Asynchronous turns: the text of the blocking ones, and a conversation that a dropped or cancelled turn leaves in order.

use futures::executor::block_on;
use futures::future::join;
use futures::{FutureExt as _, StreamExt as _};
use llama_gen::chat::{Chat, ChatEvent, ChatEventStream, Reply};
use llama_gen::{CancelToken, ErrorKind, FinishReason, GenerationParams, Llama};
use test_models::smollm2;

const QUESTIONS: [&str; 2] = ["What is the capital of France?", "And of Italy?"];

const ANSWERS: [&str; 2] = ["The capital of France is Paris.", "The capital of Italy is Rome."];

fn llama() -> Llama {
    Llama::builder(smollm2()).n_ctx(512).n_threads(1).load().unwrap()
}

fn start(llm: &Llama) -> Chat {
    let chat = llm.chat().system("You are a helpful assistant.").temperature(0.0).max_tokens(24);
    chat.start().unwrap()
}

/// Waits for the first event with text.
async fn first_text(events: &mut ChatEventStream<'_>) -> String {
    loop {
        let event = events.next().await.unwrap().unwrap();
        if !event.text().is_empty() {
            return event.text().to_owned();
        }
    }
}

fn assert_remembers(chat: &mut Chat) {
    let reply = chat.send(QUESTIONS[1]).unwrap();
    assert_eq!(reply.text(), ANSWERS[1]);
    assert!(reply.finish.usage.evaluated_tokens <= 16, "{:?}", reply.finish.usage);
}

#[test]
fn asynchronous_turns_are_the_blocking_ones() {
    let llm = llama();
    let (mut blocking, mut chat) = (start(&llm), start(&llm));
    for (question, answer) in QUESTIONS.iter().zip(ANSWERS) {
        let expected = blocking.send(*question).unwrap();
        let reply = block_on(chat.send_async(*question)).unwrap();
        assert_eq!(reply.text(), answer);
        assert_eq!(
            (&reply.raw, &reply.prompt, &reply.tokens),
            (&expected.raw, &expected.prompt, &expected.tokens)
        );
        assert_eq!(reply.finish.usage, expected.finish.usage);
    }
    assert!(chat.messages().eq(blocking.messages()));
    assert!(chat.undo() && chat.undo() && blocking.undo() && blocking.undo());
    let expected: Vec<ChatEvent> = blocking.stream(QUESTIONS[0]).unwrap().map(Result::unwrap).collect();
    let events: Vec<ChatEvent> = block_on(async {
        let stream = chat.stream_async(QUESTIONS[0]).unwrap();
        assert!(!stream.prompt().is_empty());
        stream.map(Result::unwrap).collect().await
    });
    let [Some(ChatEvent::Finish(reply)), Some(ChatEvent::Finish(last))] =
        [&events, &expected].map(|it| it.last())
    else {
        panic!("{events:?}")
    };
    assert_eq!(reply.message, last.message);
    // All but the last, which has times.
    assert_eq!(events[..events.len() - 1], expected[..expected.len() - 1]);
}

#[test]
fn a_turn_that_is_dropped_leaves_the_conversation_as_it_was() {
    let llm = llama();
    let mut chat = start(&llm);
    block_on(chat.send_async(QUESTIONS[0])).unwrap();
    block_on(async {
        let mut events = chat.stream_async(QUESTIONS[1]).unwrap();
        assert!(!first_text(&mut events).await.is_empty());
    });
    assert_eq!((chat.n_turns(), chat.messages().count()), (1, 2));
    // A future that was polled once, and one that never was.
    assert!(chat.send_async(QUESTIONS[1]).now_or_never().is_none());
    drop(chat.send_async(QUESTIONS[1]));
    assert_eq!((chat.n_turns(), chat.messages().count()), (1, 2));
    assert_remembers(&mut chat);
}

#[test]
fn a_cancelled_turn_keeps_what_came() {
    let llm = llama();
    let mut chat = start(&llm);
    *chat.params_mut() = GenerationParams::default().max_tokens(300).ignore_eos(true);
    let cancel = CancelToken::new();
    let (first, rest) = block_on(async {
        let mut events = chat.turn(QUESTIONS[0]).cancel_token(&cancel).stream_async().unwrap();
        let first = first_text(&mut events).await;
        cancel.cancel();
        (first, events.map(Result::unwrap).collect::<Vec<_>>().await)
    });
    let text: String = rest.iter().map(ChatEvent::text).collect();
    let Some(ChatEvent::Finish(reply)) = rest.last() else { panic!("{rest:?}") };
    assert_eq!(reply.text(), first + &text);
    assert_eq!(reply.finish.reason, FinishReason::Cancelled);
    // The generation may be a few events ahead of the stream's reader.
    assert!((1..40).contains(&reply.tokens.len()), "{}", reply.tokens.len());
    assert_eq!((chat.n_turns(), chat.messages().last()), (1, Some(&reply.message)));
    let cancelled = CancelToken::new();
    cancelled.cancel();
    let reply = block_on(chat.turn(QUESTIONS[1]).cancel_token(&cancelled).complete_async());
    // A template is rendered only while the token is not cancelled.
    assert!(matches!(reply.unwrap_err().kind(), ErrorKind::Core(_)));
    assert_eq!(chat.n_turns(), 1);
}

#[test]
fn two_conversations_are_answered_at_once() {
    let llm = llama();
    let (mut one, mut two) = (start(&llm), start(&llm));
    let replies = block_on(join(one.send_async(QUESTIONS[0]), two.send_async(QUESTIONS[1])));
    let replies: [Reply; 2] = [replies.0.unwrap(), replies.1.unwrap()];
    assert_eq!(replies[0].text(), ANSWERS[0]);
    assert_eq!(two.messages().last().unwrap().text(), replies[1].text());
    assert_remembers(&mut one);
    assert_eq!((one.n_turns(), two.n_turns()), (2, 1));
}

#[test]
fn errors_are_those_of_blocking_turns() {
    let llm = llama();
    let mut chat = start(&llm);
    block_on(chat.send_async(QUESTIONS[0])).unwrap();
    let error = block_on(chat.send_async("a\0b")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidPrompt { .. }), "{error}");
    let error = block_on(chat.turn_of([]).complete_async()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Chat { .. }), "{error}");
    let error = block_on(chat.turn("x").progress(true).complete_async()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidParameters { .. }), "{error}");
    let wrong = GenerationParams::default().max_tokens(0);
    let error = chat.turn("x").params(wrong).stream_async().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidParameters { .. }), "{error}");
    // Found on the generation's thread.
    let items: Vec<_> = block_on(chat.stream_async("word ".repeat(2000)).unwrap().collect());
    let [Err(error)] = items.as_slice() else { panic!("{items:?}") };
    assert!(matches!(error.kind(), ErrorKind::PromptTooLong { n_ctx: 512, .. }), "{error}");
    assert_eq!((chat.n_turns(), chat.messages().count()), (1, 2));
    assert_remembers(&mut chat);
}

#[test]
fn turns_can_be_awaited_on_any_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let llm = llama();
    let mut chat = start(&llm);
    let asked = is_send(async move {
        let reply = chat.send_async(QUESTIONS[0]).await.unwrap();
        let mut events = is_send(chat.stream_async(QUESTIONS[1]).unwrap());
        first_text(&mut events).await;
        drop(events);
        (reply, chat.n_turns())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (reply, n_turns) = runtime.block_on(async { tokio::spawn(asked).await.unwrap() });
    assert_eq!((reply.text(), n_turns), (ANSWERS[0], 1));
}
