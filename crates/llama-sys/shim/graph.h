// Shows the graphs of CPU backends before any part of them is computed. llama.cpp's scheduler gives each backend its
// part of every graph that it plans (ggml-backend.cpp, ggml_backend_sched_split_graph), when a context is created and
// later.

#pragma once

#include "ggml.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The purpose for which a part of a graph is shown.
enum llama_shim_graph_use {
    LLAMA_SHIM_GRAPH_USE_PLAN,    // it may be computed later; the answer does not count
    LLAMA_SHIM_GRAPH_USE_COMPUTE, // it is computed next, unless the answer is no
};

// Returns whether the nodes can be computed. Must neither throw nor unwind.
typedef bool (*llama_shim_graph_check)(
        struct ggml_tensor * const * nodes, int32_t n_nodes, enum llama_shim_graph_use use);

// While `check` is not NULL, the CPU backends that this thread creates show it their graphs for as long as they live.
// A graph that it refuses fails with GGML_STATUS_FAILED. All threads must pass the same function. Returns false when
// ggml's internal header was missing at compile time; then no graph is shown.
bool llama_shim_watch_graphs(llama_shim_graph_check check);

#ifdef __cplusplus
}
#endif
