// Fills a batch from arrays and computes it, in one call. Every function may throw; Rust calls them with a guard
// (calls.cpp).

#pragma once

#include "llama.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The entries of a batch. The arrays have `n_entries` elements, except `seq_ids`, whose length is the sum of the
// counts. Each entry has at least one sequence id.
struct llama_shim_entries {
    const llama_token * tokens; // LLAMA_TOKEN_NULL for an entry that is an embedding
    const llama_pos * positions;
    const int32_t * n_seq_ids;
    const llama_seq_id * seq_ids; // those of all entries, one after the other
    const int8_t * outputs;       // 1 for an entry whose results are wanted
    size_t n_entries;
};

// The result of llama_shim_process for entries that llama.cpp refuses.
#define LLAMA_SHIM_ENTRIES_REFUSED INT32_MIN

// Replaces the entries of `batch`. An entry with embeddings gets its one position in all dimensions. Returns whether
// llama.cpp accepted all entries.
bool llama_shim_batch_fill(struct llama_batch_ext * batch, const struct llama_shim_entries * entries);

// Fills a batch with `entries` and computes it as llama_process does. `entries` may be NULL for a filled batch.
int32_t llama_shim_process(
    struct llama_context * ctx,
    enum llama_process_type type,
    struct llama_batch_ext * batch,
    const struct llama_shim_entries * entries);

#ifdef __cplusplus
}
#endif
