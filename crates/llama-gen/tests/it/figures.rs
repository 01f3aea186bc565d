//! The times, tokens and memory that a generation reports.

use core::time::Duration;
use std::thread::sleep;
use std::time::Instant;

use llama_core::device::DeviceKind;
use llama_core::{Context, ContextParams};
use llama_gen::{Event, Finish, GenerationBuilder, Llama};
use test_models::Tiny;

fn tiny() -> Llama {
    Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap()
}

fn eight(llm: &Llama) -> GenerationBuilder {
    llm.generate("hello world").max_tokens(8).temperature(0.0).ignore_eos(true)
}

#[test]
fn times_are_parts_of_each_other() {
    let finish = eight(&tiny()).complete().unwrap().finish;
    let times = finish.timings;
    assert!(times.prompt > Duration::ZERO);
    assert!(times.prompt < times.first_token, "{times:?}");
    assert_eq!(times.first_token + times.generation, times.total);
    assert!(times.sampling > Duration::ZERO && times.sampling < times.total, "{times:?}");
    let rate = |tokens: usize, time: Duration| f64::from(u32::try_from(tokens).unwrap()) / time.as_secs_f64();
    let usage = finish.usage;
    assert!((finish.prompt_tokens_per_second() - rate(usage.evaluated_tokens, times.prompt)).abs() < 1e-6);
    assert!((finish.generation_tokens_per_second() - rate(7, times.generation)).abs() < 1e-6);
}

#[test]
fn the_time_between_events_is_not_counted() {
    let pause = Duration::from_millis(30);
    let start = Instant::now();
    let mut n_events = 0;
    let mut finish: Option<Finish> = None;
    for event in eight(&tiny()).tokens(true).stream().unwrap() {
        sleep(pause);
        n_events += 1;
        if let Event::Finish(end) = event.unwrap() {
            finish = Some(end);
        }
    }
    let total = finish.unwrap().timings.total;
    // All but the last pause were before the end.
    assert!(start.elapsed() >= total + pause * n_events, "{total:?}");
    assert!(n_events >= 9);
}

#[test]
fn what_was_reused_takes_no_time_and_is_counted() {
    let llm = tiny();
    let first = eight(&llm).complete().unwrap().finish.usage;
    assert_eq!((first.reused_tokens, first.evaluated_tokens), (0, first.prompt_tokens));
    let second = eight(&llm).complete().unwrap().finish;
    assert_eq!((second.usage.reused_tokens, second.usage.evaluated_tokens), (first.prompt_tokens - 1, 1));
    // One token was computed: that is what the rate is of.
    let one = 1.0 / second.timings.prompt.as_secs_f64();
    assert!((second.prompt_tokens_per_second() - one).abs() < 1e-6);
}

#[test]
fn memory_is_that_of_the_context() {
    let llm = tiny();
    let memory = eight(&llm).complete().unwrap().finish.memory;
    let context =
        Context::new(llm.model(), &ContextParams::default().n_ctx(256).n_threads(1).plan_outputs(1)).unwrap();
    assert_eq!(memory.devices, context.memory_use().unwrap());
    let cpu = memory.devices.iter().find(|device| device.device.kind() == DeviceKind::Cpu).unwrap();
    assert!(cpu.weights > 0 && cpu.compute > 0 && cpu.memory > 0, "{cpu:?}");
    assert_eq!(memory.checkpoints, 0);
    let mamba = Llama::builder(Tiny::Mamba.path()).n_ctx(256).n_threads(1).load().unwrap();
    let checkpoints = eight(&mamba).complete().unwrap().finish.memory.checkpoints;
    // One before the last token of the prompt: two layers with a state of 16 floats for each of 128, and the last three.
    let state = 2 * 128 * (16 + 3) * 4;
    assert!((state..state + 256).contains(&checkpoints), "{checkpoints}, {state}");
}
