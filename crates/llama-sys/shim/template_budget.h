// The limits of a chat template that runs, and what it took. Built with feature `common`.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The limit that ended a template.
typedef enum llama_shim_template_breach {
    LLAMA_SHIM_TEMPLATE_BREACH_NONE      = 0,
    LLAMA_SHIM_TEMPLATE_BREACH_STEPS     = 1,
    LLAMA_SHIM_TEMPLATE_BREACH_DEPTH     = 2,
    LLAMA_SHIM_TEMPLATE_BREACH_OUTPUT    = 3,
    LLAMA_SHIM_TEMPLATE_BREACH_MEMORY    = 4,
    LLAMA_SHIM_TEMPLATE_BREACH_TIME      = 5,
    LLAMA_SHIM_TEMPLATE_BREACH_CANCELLED = 6,
    LLAMA_SHIM_TEMPLATE_BREACH_SOURCE    = 7,
} llama_shim_template_breach;

// Limits of one call, which may render a template several times, and what the call took of them.
typedef struct llama_shim_template_budget {
    // Nodes of the syntax tree that are executed, and as much work again where one node does more.
    uint64_t steps;
    // Nodes that are executed inside of each other.
    uint64_t depth;
    // Bytes of one rendered text.
    uint64_t output_bytes;
    // Bytes of the values that are alive at once, the conversation included; a good estimate.
    uint64_t memory_bytes;
    // Milliseconds.
    uint64_t time_ms;
    // Asked every few steps; true ends the template. May be NULL. Must not throw.
    bool (*cancelled)(void * data);
    void * cancelled_data;

    // What the call took, also when it failed.
    uint64_t used_steps;
    uint64_t used_depth;
    uint64_t used_output_bytes;
    uint64_t used_memory_bytes;
    // The limit that ended it.
    llama_shim_template_breach breach;
} llama_shim_template_budget;

#ifdef __cplusplus
}
#endif
