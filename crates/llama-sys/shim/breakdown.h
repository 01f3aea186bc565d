// The memory that a context and its model use of each buffer type. llama.cpp returns it as a std::map
// (src/llama-ext.h); here it is an array.

#pragma once

#include "ggml-backend.h"
#include "llama.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The bytes allocated from one buffer type. For a model without weights (no_alloc), the bytes that would be
// allocated.
struct llama_shim_buffer_use {
    ggml_backend_buffer_type_t buffer_type;
    ggml_backend_dev_t device; // NULL: the CPU
    bool is_host;              // in the system's memory, whatever the device
    uint64_t model;            // weights
    uint64_t context;          // the memory of the sequences
    uint64_t compute;          // intermediate results
};

// Returns whether the linked library came with the header that declares this, or the loaded one has the function.
bool llama_shim_has_memory_breakdown(void);

// Writes up to `capacity` entries and returns their total number; 0 without that. May throw; call it
// inside llama_shim_guard.
size_t llama_shim_memory_breakdown(const struct llama_context * ctx, struct llama_shim_buffer_use * uses, size_t capacity);

#ifdef __cplusplus
}
#endif
