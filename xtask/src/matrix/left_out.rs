//! Tests that the rows with `panic = "abort"` leave out.

/// Tests of llama-core that are left out with `panic = "abort"`, most because panics do not pass through a call there.
pub(super) const CORE: &[&str] = &[
    "a_panic_of_the_caller_goes_on_afterwards",
    "a_panic_of_the_caller_is_passed_on",
    "a_panic_of_the_callback_arrives",
    "a_panic_of_the_function_is_resumed",
    // It looks at exit codes, and the harness runs each test in a process with a code of its own.
    "a_process_ends_as_it_should_whatever_its_threads_do",
    "custom_sampler_beside_a_lazy_grammar",
    // Its closures panic, and its log callback, which is Rust code, lets an exception pass.
    "every_function_survives",
    // It compiles programs, which has nothing to do with panics, and takes minutes.
    "lifetimes_and_threads",
    "panic_ends_the_capture",
    "panic_of_a_custom_sampler_leaves_the_context_usable",
    "panic_of_the_callback_is_resumed",
    "panics_arrive_and_leave_nothing_of_the_batch",
    "panics_go_on_after_the_call_and_leave_the_chain_usable",
    "panics_of_copying_and_dropping_stay_contained",
    "what_processors_leave_is_checked_when_it_is_sampled",
];

/// Tests of llama-gen that are left out with `panic = "abort"`.
pub(super) const GEN: &[&str] = &[
    "a_panic_of_a_compactor_passes_and_harms_nobody",
    "a_panic_of_a_criterion_gives_the_context_back_unharmed",
    "a_panic_on_the_thread_passes_to_whoever_waits",
];
