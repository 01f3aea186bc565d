//! NUMA is initialised first and once. The test runs in a child process, because the setting affects the whole process.

use crate::greedy::{SEQ, load, logits_after, params, tokens};
use llama_core::device::{NumaStrategy, init_numa, is_numa};
use llama_core::{Context, ErrorKind, init};
use test_models::Tiny;
use test_models::child::alone;

#[test]
fn numa_comes_first_and_once() {
    alone(module_path!(), "numa_comes_first_and_once", || {
        init_numa(NumaStrategy::Distribute).unwrap();
        let too_late = |strategy| {
            let error = init_numa(strategy).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::TooLate { .. }), "{error:?}");
            assert!(
                error.to_string().contains("call init_numa once, before every other function"),
                "{error}"
            );
        };
        too_late(NumaStrategy::Distribute);
        init();
        too_late(NumaStrategy::Isolate);
        let nodes = std::fs::read_dir("/sys/devices/system/node").map_or(0, |folder| {
            let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.filter(|name| name.strip_prefix("node").is_some_and(|n| n.parse::<u32>().is_ok())).count()
        });
        assert_eq!(is_numa(), nodes > 1);
        let model = load(Tiny::Llama);
        let mut context = Context::new(&model, &params()).unwrap();
        assert_eq!(logits_after(&mut context, &tokens(&model, "Hello world"), SEQ, 0).len(), 507);
        too_late(NumaStrategy::Numactl);
    });
}
