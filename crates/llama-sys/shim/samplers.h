// Combines several calls of llama.cpp's sampler functions into one. Every function may throw; Rust calls them with a
// guard (calls.cpp).

#pragma once

#include "llama.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Frees up to `n_removed` samplers of `chain` from `index` on, and moves all samplers of `source` there. When it
// throws, some samplers may be in neither chain and leak.
void llama_shim_sampler_chain_exchange(
    struct llama_sampler * chain, int32_t index, size_t n_removed, struct llama_sampler * source);

// Makes the sampler accept the tokens one after the other.
void llama_shim_sampler_accept_all(struct llama_sampler * sampler, const llama_token * tokens, size_t n_tokens);

// The results of the samplers on the device for a row. A pointer is NULL when there is no result.
struct llama_shim_sampled {
    llama_token token; // LLAMA_TOKEN_NULL when none was selected
    const llama_token * tokens;
    uint32_t n_tokens;
    const float * logits;
    uint32_t n_logits;
    const float * probabilities;
    uint32_t n_probabilities;
};

// Returns the results for the output `index` of the last batch.
struct llama_shim_sampled llama_shim_get_sampled(struct llama_context * ctx, int32_t index);

#ifdef __cplusplus
}
#endif
