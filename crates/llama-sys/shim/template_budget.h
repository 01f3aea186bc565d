// The limits of a running chat template, and the amounts that it used. Built with feature `common`.

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

// Limits of one call, which may render a template several times, and the amounts that the call used.
typedef struct llama_shim_template_budget {
    // Executed nodes of the syntax tree; a node that does more work counts as several.
    uint64_t steps;
    // Nesting of executed nodes.
    uint64_t depth;
    // Bytes of one rendered text.
    uint64_t output_bytes;
    // Bytes of the values that are alive at once, including the conversation; an estimate.
    uint64_t memory_bytes;
    // Milliseconds.
    uint64_t time_ms;
    // Called every few steps; true ends the template. May be NULL. Must not throw.
    bool (*cancelled)(void * data);
    void * cancelled_data;

    // The amounts that the call used, also when it failed.
    uint64_t used_steps;
    uint64_t used_depth;
    uint64_t used_output_bytes;
    uint64_t used_memory_bytes;
    // The limit that ended the template.
    llama_shim_template_breach breach;
} llama_shim_template_budget;

#ifdef __cplusplus
}
#endif
