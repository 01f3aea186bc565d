//! A program with feature `cuda` on a machine without a driver of NVIDIA: it starts and computes on the CPU.

use std::io::Write as _;

use crate::greedy::{fresh_continuation, load, tokens};
use crate::logged::log_of;
use llama_core::device::{BackendReg, DeviceKind, devices};
use llama_core::{Model, ModelParams};
use test_models::Tiny;
use test_models::child::alone;

/// The line of the log, after time and level. The reason is CUDA's.
const LINE: &str = "llama_cpp: ggml_cuda_init: failed to initialize CUDA: CUDA driver version is insufficient for CUDA runtime version";

#[test]
fn the_log_says_so_once_and_the_cpu_computes() {
    alone(module_path!(), "the_log_says_so_once_and_the_cpu_computes", || {
        let ((model, found), log) = log_of(|| {
            let model = load(Tiny::LlamaQ8);
            let found = fresh_continuation(&model, &tokens(&model, "Hello world"), 8);
            (model, found)
        });
        let cuda = BackendReg::by_name("CUDA").expect("the backend is there without a driver");
        if !cuda.devices().is_empty() {
            writeln!(std::io::stderr(), "skipped: this machine has a GPU and a driver").unwrap();
            return;
        }
        let errors: Vec<&str> = log.lines().filter(|line| line.contains(" ERROR ")).collect();
        let [line] = errors.as_slice() else { panic!("{errors:#?} of {log}") };
        assert!(line.ends_with(LINE), "{line}");
        assert!(devices().iter().all(|device| device.kind() != DeviceKind::Gpu));
        let on_cpu = Model::load(Tiny::LlamaQ8.path(), &ModelParams::default().devices([])).unwrap();
        assert_eq!(found, fresh_continuation(&on_cpu, &tokens(&model, "Hello world"), 8));
    });
}
