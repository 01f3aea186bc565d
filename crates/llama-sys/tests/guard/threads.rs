//! Failures while several threads compute, with OpenMP and without: no thread is left behind.

use core::ffi::c_void;
use std::process::Command;

use llama_sys::llama_shim_outcome as Outcome;
use test_models::Tiny;

use super::{Model, assert_contained, guarded, look_up_a_wrong_position};

const N_THREADS: i32 = 4;
/// Set in the environment of a child of this program that is to end itself.
const CHILD: &str = "LLAMA_SYS_TEST_CHILD";

/// Returns the number of threads of this process, where the system reports it.
fn count_threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

#[test]
fn failures_before_the_threads_begin_are_contained_and_leave_none() {
    let model = Model::load(Tiny::Llama);
    let context = model.context_with_threads(16, N_THREADS);
    // With OpenMP the threads of the first computation are reused by the next.
    assert_eq!(context.decode(&mut [1, 261, 301]), 0);
    let before = count_threads();
    for _ in 0..10 {
        let context = model.context_with_threads(16, N_THREADS);
        let outcome = context.guarded_decode(&mut [5; 17]);
        assert_contained(outcome, "src/llama-context.cpp", "n_tokens_all <= cparams.n_batch");
    }
    assert_eq!(context.decode(&mut [5]), 0);
    // Other tests of this program also run in threads, unless each has its own process.
    if std::env::var_os("NEXTEST").is_some() {
        assert_eq!(count_threads(), before);
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "what the parent reads")]
fn a_failure_in_the_middle_of_a_computation_ends_the_process() {
    if std::env::var_os(CHILD).is_some() {
        let model = Model::load(Tiny::Bert);
        let context = model.context_with_threads(64, N_THREADS);
        println!("began {:?}", look_up_a_wrong_position(&context));
        std::process::exit(0);
    }
    let name = "threads::a_failure_in_the_middle_of_a_computation_ends_the_process";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && !out.contains("began"), "{out}{err}");
    assert!(err.contains("GGML_ASSERT(i01 >= 0 && i01 < ne01) failed"), "{err}");
    assert!(err.contains("llama.cpp failed while several threads compute"), "{err}");
    #[cfg(unix)]
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(6), "{err}");
}

/// A callback for the middle of a computation, which stores the result of its failing call.
unsafe extern "C-unwind" fn fail_once(data: *mut c_void) -> bool {
    // SAFETY: the test passes its own variable, which nobody else uses meanwhile.
    let outcome = unsafe { &mut *data.cast::<Option<(Outcome, String)>>() };
    if outcome.is_none() {
        let how = Outcome::LLAMA_SHIM_OUTCOME_ASSERTION;
        // SAFETY: the text is NUL-terminated.
        *outcome = Some(unsafe { guarded!(llama_shim_fail(how, c"in a callback".as_ptr())) });
    }
    false
}

#[test]
fn a_failure_in_a_callback_of_a_computation_is_contained() {
    for n_threads in [1, N_THREADS] {
        let model = Model::load(Tiny::Llama);
        let expected = model.continuation();
        let context = model.context_with_threads(16, n_threads);
        let mut outcome: Option<(Outcome, String)> = None;
        // SAFETY: the context is valid, and the variable outlives the computation.
        unsafe {
            llama_sys::llama_set_abort_callback(context.raw, Some(fail_once), (&raw mut outcome).cast());
        }
        let decoded = context.guarded_decode(&mut [1, 261, 301]);
        assert_eq!(decoded, (Outcome::LLAMA_SHIM_OUTCOME_COMPLETED, String::new()));
        let text = "shim/guard.cpp:1: in a callback".to_owned();
        assert_eq!(outcome, Some((Outcome::LLAMA_SHIM_OUTCOME_ASSERTION, text)));
        drop(context);
        assert_eq!(model.continuation(), expected);
    }
}
