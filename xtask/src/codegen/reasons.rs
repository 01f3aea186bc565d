//! The reasons why C functions have no Rust item. A function with neither an item nor a reason is "not yet".

use std::collections::HashMap;

use anyhow::bail;

use super::functions::{Headers, Status};

/// A reason and its functions.
pub(super) struct Reason {
    /// The header that declares them.
    header: &'static str,
    /// Their name, or the beginning of their names and a `*`.
    functions: &'static str,
    /// The reason as printed in the table.
    why: &'static str,
}

const fn reason(header: &'static str, functions: &'static str, why: &'static str) -> Reason {
    Reason { header, functions, why }
}

const TOGETHER: &str = "`llama_core` uses it internally to make several calls as one";
const GRAPHS: &str = "graph building is not wrapped: llama.cpp builds the graphs of its models";
const SCHEDULING: &str = "llama.cpp manages graphs, their buffers and their scheduling itself";
const BACKENDS: &str = "llama.cpp creates and drives its backends itself";
const DROPPED: &str = "done when the Rust value is dropped";
const NAMES: &str = "the variants of the Rust enum have names";
const PAUSING: &str =
    "not in the CPU backend's registry; ggml pauses a pool when a context computes with another pool";
const FEATURES: &str =
    "`BackendReg::features` returns them, also for a CPU module that was loaded at run time";
const LOADING: &str =
    "loading a library runs its code, which is not safe; `init` finds modules next to the program";
const DEFAULTS: &str = "the Rust parameters start from these defaults";
const GGUF: &str = "GGUF files are read and written by `llama_gguf`, in Rust";
const TRAINING: &str = "planned: training has its own issue";
const QUANTISING: &str = "planned: quantising has its own issue";
const PRINTING: &str = "prints to stderr; the same figures are available as values";
const FLOATS: &str = "the `half` crate converts floats";

/// When several match a function, the longest `functions` wins. Deprecated functions, and functions that
/// `build/bindings.rs` lists as undefined, need no reason.
pub(super) const REASONS: &[Reason] = &[
    reason(
        "llama.h",
        "llama_batch_get_one",
        "borrows a mutable token array without a lifetime; `Batch` owns its tokens",
    ),
    reason("llama.h", "llama_batch_init", "`Batch` keeps its arrays in Rust"),
    reason("llama.h", "llama_batch_free", "`Batch` keeps its arrays in Rust"),
    reason("llama.h", "llama_batch_ext_free", DROPPED),
    reason("llama.h", "llama_flash_attn_type_name", NAMES),
    reason("llama.h", "llama_max_parallel_sequences", "`ContextParams::n_seq_max` is checked against it"),
    reason("llama.h", "llama_backend_free", "the backend lives as long as the process"),
    reason("llama.h", "llama_free", DROPPED),
    reason("llama.h", "llama_sampler_free", DROPPED),
    reason("llama.h", "llama_context_default_params", DEFAULTS),
    reason("llama.h", "llama_sampler_chain_default_params", DEFAULTS),
    reason("llama.h", "llama_log_get", "`llama_core` sets the callback itself"),
    reason("llama.h", "llama_time_us", "`std::time::Instant` is Rust's clock"),
    reason("llama.h", "llama_model_quantize*", QUANTISING),
    reason("llama.h", "llama_opt_*", TRAINING),
    reason("llama.h", "llama_perf_context_print", PRINTING),
    reason("llama.h", "llama_perf_sampler_print", PRINTING),
    reason("ggml.h", "*", GRAPHS),
    reason("ggml.h", "ggml_abort", "for C code; a failed assertion of ggml reaches Rust as an error"),
    reason("ggml.h", "ggml_set_abort_callback", "the shim's guard owns this callback"),
    reason("ggml.h", "ggml_log_*", "`llama_log_set` sets ggml's log callback too"),
    reason("ggml.h", "ggml_threadpool_params_*", DEFAULTS),
    reason("ggml.h", "ggml_fopen", "use `std::fs::File`"),
    reason("ggml.h", "ggml_print_object*", PRINTING),
    reason("ggml.h", "ggml_time_*", "`std::time::Instant` is Rust's clock"),
    reason("ggml.h", "ggml_cycles*", "`std::time::Instant` is Rust's clock"),
    reason("ggml.h", "ggml_fp16_*", FLOATS),
    reason("ggml.h", "ggml_bf16_*", FLOATS),
    reason("ggml.h", "ggml_fp32_*", FLOATS),
    reason("ggml.h", "ggml_quantize_*", QUANTISING),
    reason("ggml.h", "ggml_opt_step_*", TRAINING),
    reason("ggml-alloc.h", "*", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_load", LOADING),
    reason("ggml-backend.h", "ggml_backend_unload", LOADING),
    reason("ggml-cpu.h", "ggml_cpu_has_*", FEATURES),
    reason("ggml-cpu.h", "ggml_cpu_get_sve_cnt", FEATURES),
    reason("ggml-cpu.h", "ggml_cpu_get_rvv_vlen", FEATURES),
    reason("ggml-backend.h", "ggml_backend_buft_*", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_buffer_*", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_tensor_*", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_graph_*", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_event_*", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_sched_*", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_meta_*", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_guid", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_name", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_free", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_get_*", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_alloc_buffer", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_synchronize", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_supports_*", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_offload_op", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_init_*", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_dev_init", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_dev_buffer_*", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_dev_host_buffer_type", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_dev_supports_*", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_dev_offload_op", BACKENDS),
    reason("ggml-backend.h", "ggml_backend_register", "for the authors of backends"),
    reason("ggml-backend.h", "ggml_backend_device_register", "for the authors of backends"),
    reason("ggml-backend.h", "ggml_backend_compare_graph_backend", GRAPHS),
    reason("ggml-backend.h", "ggml_backend_view_init", SCHEDULING),
    reason("ggml-backend.h", "ggml_backend_cpu_buffer_*", SCHEDULING),
    reason("ggml-cpu.h", "ggml_backend_*", BACKENDS),
    reason("ggml-cpu.h", "ggml_cpu_init", BACKENDS),
    reason("ggml-cpu.h", "ggml_numa_init", "`llama_numa_init` calls it"),
    reason("ggml-cpu.h", "ggml_threadpool_free", DROPPED),
    reason("ggml-cpu.h", "ggml_threadpool_pause", PAUSING),
    reason("ggml-cpu.h", "ggml_threadpool_resume", PAUSING),
    reason("ggml-cpu.h", "ggml_new_*", GRAPHS),
    reason("ggml-cpu.h", "ggml_set_*", GRAPHS),
    reason("ggml-cpu.h", "ggml_get_*", GRAPHS),
    reason("ggml-cpu.h", "ggml_graph_*", GRAPHS),
    reason("ggml-cpu.h", "ggml_cpu_fp32_*", FLOATS),
    reason("ggml-cpu.h", "ggml_cpu_fp16_*", FLOATS),
    reason("ggml-cpu.h", "ggml_cpu_bf16_*", FLOATS),
    reason("ggml-opt.h", "*", TRAINING),
    reason("gguf.h", "*", GGUF),
    reason("guard.h", "*", "the containment inside `llama_core`: calls that can fail go through it"),
    reason("process.h", "*", TOGETHER),
    reason("samplers.h", "*", TOGETHER),
    reason("by_address.h", "*", TOGETHER),
    reason("common.h", "llama_shim_string_free", "each string is copied and freed where C returns it"),
    reason("common_chat.h", "llama_shim_chat_templates_free", DROPPED),
    reason("common_chat.h", "llama_shim_chat_turn_free", DROPPED),
];

/// Returns the reason for each bound function without an item, if there is one.
///
/// # Errors
///
/// A reason matches no function, or every function that it matches has an item.
pub(super) fn assign<'a>(
    headers: &Headers,
    reasons: &'a [Reason],
    has_item: impl Fn(&str) -> bool,
) -> anyhow::Result<HashMap<String, &'a str>> {
    let mut assigned = HashMap::new();
    let mut used = vec![false; reasons.len()];
    for (header, functions) in &headers.functions {
        let open = functions
            .iter()
            .filter(|function| function.status == Status::Bound && !has_item(&function.c_name));
        for function in open {
            let fitting =
                reasons.iter().enumerate().filter(|(_, reason)| reason.fits(header.file, &function.c_name));
            if let Some((index, reason)) =
                fitting.max_by_key(|(_, reason)| reason.functions.trim_end_matches('*').len())
            {
                used[index] = true;
                assigned.insert(function.c_name.clone(), reason.why);
            }
        }
    }
    for (reason, used) in reasons.iter().zip(used) {
        if !used {
            bail!("{}", reason.complaint(headers));
        }
    }
    Ok(assigned)
}

impl Reason {
    fn fits(&self, header: &str, function: &str) -> bool {
        self.header == header
            && match self.functions.strip_suffix('*') {
                Some(start) => function.starts_with(start),
                None => function == self.functions,
            }
    }

    /// Returns the error for a reason that matches no function.
    fn complaint(&self, headers: &Headers) -> String {
        let names_one = headers.functions.iter().any(|(header, functions)| {
            functions.iter().any(|function| self.fits(header.file, &function.c_name))
        });
        let wrong =
            if names_one { "each of them has a Rust item or another reason" } else { "it does not exist" };
        format!(
            "xtask/src/codegen/reasons.rs has a reason for `{}` of {}, but {wrong}: remove it",
            self.functions, self.header
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::bindings::HEADERS;
    use super::super::functions::Function;
    use super::*;

    fn headers() -> Headers {
        let function = |name: &str, status| Function { c_name: name.into(), rust_name: name.into(), status };
        let functions = vec![
            function("llama_free", Status::Bound),
            function("llama_perf_print", Status::Bound),
            function("llama_perf_reset", Status::Bound),
            function("llama_old", Status::Deprecated),
        ];
        let header = HEADERS.iter().find(|header| header.file == "llama.h").unwrap();
        Headers { functions: vec![(header, functions)], owner: HashMap::new() }
    }

    #[test]
    fn the_longest_pattern_gives_the_reason() {
        let reasons = [
            reason("llama.h", "llama_perf_print", "exact"),
            reason("llama.h", "*", "all"),
            reason("llama.h", "llama_perf_*", "group"),
        ];
        let assigned = assign(&headers(), &reasons, |_| false).unwrap();
        assert_eq!(assigned["llama_free"], "all");
        assert_eq!(assigned["llama_perf_print"], "exact");
        assert_eq!(assigned["llama_perf_reset"], "group");
        assert!(!assigned.contains_key("llama_old"), "a deprecated function needs no reason");
    }

    #[test]
    fn functions_with_an_item_get_no_reason() {
        let reasons = [reason("llama.h", "llama_perf_*", "group")];
        let assigned = assign(&headers(), &reasons, |name| name == "llama_perf_print").unwrap();
        assert_eq!(assigned.into_iter().collect::<Vec<_>>(), [("llama_perf_reset".to_owned(), "group")]);
    }

    #[test]
    fn a_reason_for_no_function_is_an_error() {
        for reason in [reason("llama.h", "llama_fre", "x"), reason("ggml.h", "llama_free", "x")] {
            let error = assign(&headers(), &[reason], |_| false).unwrap_err().to_string();
            assert!(error.contains("it does not exist: remove it"), "{error}");
        }
    }

    #[test]
    fn a_reason_for_a_function_with_an_item_is_an_error() {
        let reasons = [reason("llama.h", "llama_free", "x")];
        let error = assign(&headers(), &reasons, |name| name == "llama_free").unwrap_err().to_string();
        assert!(error.contains("`llama_free` of llama.h, but each of them has a Rust item"), "{error}");
        let reasons = [reason("llama.h", "llama_old", "x")];
        assert!(assign(&headers(), &reasons, |_| false).is_err(), "a deprecated function has its reason");
    }
}
