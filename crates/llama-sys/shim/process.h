// A batch on its way into a context, in one call: the entries from arrays, and the computation. Every function may
// throw; Rust calls them with a guard (calls.cpp).

#pragma once

#include "llama.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The entries of a batch. The arrays have `n_entries` elements, `seq_ids` as many as the counts say together; each
// entry has one at least.
struct llama_shim_entries {
    const llama_token * tokens; // LLAMA_TOKEN_NULL for an entry that is an embedding
    const llama_pos * positions;
    const int32_t * n_seq_ids;
    const llama_seq_id * seq_ids; // those of all entries, one after the other
    const int8_t * outputs;       // 1 for an entry whose results are wanted
    size_t n_entries;
};

// What llama_shim_process returns for entries that llama.cpp refuses.
#define LLAMA_SHIM_ENTRIES_REFUSED INT32_MIN

// Replaces the entries of `batch`. An entry with embeddings gets the one position in all dimensions. Returns whether
// llama.cpp took all of them.
bool llama_shim_batch_fill(struct llama_batch_ext * batch, const struct llama_shim_entries * entries);

// Computes a batch as llama_process does, after filling it with `entries`, which may be NULL for a batch that is filled
// already.
int32_t llama_shim_process(
    struct llama_context * ctx,
    enum llama_process_type type,
    struct llama_batch_ext * batch,
    const struct llama_shim_entries * entries);

#ifdef __cplusplus
}
#endif
