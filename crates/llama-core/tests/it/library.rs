//! Feature `dynamic`: without a library every function fails in its own way and none ends the process, and with one the
//! process goes on. `LLAMA_LIBRARY` must name a shared build of the pinned llama.cpp.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use llama_core::device::{self, BackendReg, Device, NumaStrategy, SystemReport};
use llama_core::library::{self, Fault};
use llama_core::model::{max_tensor_overrides, split_path, split_prefix};
use llama_core::threadpool::{Threadpool, ThreadpoolParams};
use llama_core::{Error, ErrorKind, Model, ModelParams, SamplerChain, chat};
use test_models::{Tiny, child};

use crate::greedy;

/// Hands the real library to a child whose `LLAMA_LIBRARY` names none.
const REAL: &str = "LLAMA_CORE_REAL_LIBRARY";

/// The variable that [`library::load`] reads.
const VARIABLE: &str = "LLAMA_LIBRARY";

#[track_caller]
fn assert_not_loaded<T>(result: Result<T, Error>) {
    let error = result.err().unwrap();
    let ErrorKind::Library(problems) = error.kind() else { panic!("{error:?}") };
    assert!(matches!(&problems.attempts[0].faults[..], [Fault::CannotOpen { .. }]), "{error}");
    assert_eq!(problems.attempts[0].path, Path::new("no such library"));
}

#[test]
#[allow(clippy::print_stdout, reason = "a child tells its parent how far it came")]
fn without_a_library_every_call_fails_and_a_later_load_succeeds() {
    if let Some(real) = env::var_os(REAL) {
        nothing_works();
        library::load(Some(Path::new(&real))).unwrap();
        everything_works();
        println!("all of it");
        return;
    }
    let test = "without_a_library_every_call_fails_and_a_later_load_succeeds";
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([&child::test_name(module_path!(), test), "--exact", "--nocapture"]);
    let output = child
        .env(REAL, real_library())
        .env(VARIABLE, "no such library")
        .env_remove("LLAMA_CHILD_ALONE")
        .output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("all of it"), "{text}{errors}");
}

fn real_library() -> PathBuf {
    env::var_os(VARIABLE).expect("LLAMA_LIBRARY must name a shared build of the pinned llama.cpp").into()
}

/// Calls every function that needs no object.
fn nothing_works() {
    llama_core::init();
    assert_eq!(library::path(), None);
    assert_eq!((llama_core::version(), llama_core::system_info()), (String::new(), String::new()));
    assert!(!device::supports_mmap() && !device::supports_mlock());
    assert!(!device::supports_gpu_offload() && !device::supports_rpc());
    assert_eq!((device::max_devices(), max_tensor_overrides()), (0, 0));
    assert!(device::devices().is_empty() && device::backend_regs().is_empty());
    assert!(Device::cpu().is_none() && Device::by_name("CPU").is_none());
    assert!(BackendReg::by_name("CPU").is_none());
    assert!(!device::is_numa());
    assert_not_loaded(device::init_numa(NumaStrategy::Distribute));
    let report = SystemReport::new();
    assert!(report.backends.is_empty() && report.features.contains(&"dynamic"), "{report}");
    assert_not_loaded(Model::load(Tiny::Llama.path(), &ModelParams::default()));
    assert_not_loaded(Model::load(Tiny::Llama.path(), &ModelParams::default().vocab_only(true)));
    let gguf = llama_gguf::Gguf::from_bytes(&Tiny::Llama.bytes()).unwrap();
    let types = [("", llama_core::TensorType::F16); 0];
    let made =
        Model::from_metadata(gguf.metadata(), types, &ModelParams::default(), |_, _| Ok::<(), String>(()));
    assert_not_loaded(made);
    assert_not_loaded(split_path("model", 0, 3));
    assert_not_loaded(split_prefix("model-00001-of-00003.gguf", 0, 3));
    assert_not_loaded(SamplerChain::builder().top_k(40).dist(1).build());
    assert_not_loaded(Threadpool::new(&ThreadpoolParams::new(1)));
    assert_not_loaded(chat::builtin_templates());
    #[cfg(feature = "common")]
    assert_not_loaded(llama_core::sampler::json_schema_to_grammar("{}"));
    // The second attempt gives the same answer.
    assert_not_loaded(library::load(None));
}

fn everything_works() {
    assert!(library::path().unwrap().is_file());
    library::load(None).unwrap();
    assert!(!llama_core::version().is_empty() && device::max_devices() > 0);
    let model = greedy::load(Tiny::Llama);
    let prompt = greedy::tokens(&model, "One two");
    assert_eq!(greedy::ids(&greedy::fresh_continuation(&model, &prompt, 4)), [406, 357, 401, 491]);
}
