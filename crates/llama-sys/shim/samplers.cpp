#include "samplers.h"

#include <algorithm>
#include <vector>

// Removes all samplers from an index on from a chain and returns them.
static std::vector<llama_sampler *> take_from(llama_sampler * chain, int32_t index) {
    std::vector<llama_sampler *> taken;
    // Past the end the result is NULL.
    while (llama_sampler * sampler = llama_sampler_chain_remove(chain, index)) {
        taken.push_back(sampler);
    }
    return taken;
}

extern "C" void llama_shim_sampler_chain_exchange(
        llama_sampler * chain, int32_t index, size_t n_removed, llama_sampler * source) {
    const std::vector<llama_sampler *> old = take_from(chain, index);
    const std::vector<llama_sampler *> added = take_from(source, 0);
    const size_t n_freed = std::min(n_removed, old.size());
    for (llama_sampler * sampler : added) {
        llama_sampler_chain_add(chain, sampler);
    }
    for (size_t i = n_freed; i < old.size(); ++i) {
        llama_sampler_chain_add(chain, old[i]);
    }
    for (size_t i = 0; i < n_freed; ++i) {
        llama_sampler_free(old[i]);
    }
}

extern "C" void llama_shim_sampler_accept_all(llama_sampler * sampler, const llama_token * tokens, size_t n_tokens) {
    for (size_t i = 0; i < n_tokens; ++i) {
        llama_sampler_accept(sampler, tokens[i]);
    }
}

extern "C" llama_shim_sampled llama_shim_get_sampled(llama_context * ctx, int32_t index) {
    llama_shim_sampled sampled;
    sampled.token = llama_get_sampled_token_ith(ctx, index);
    sampled.tokens = llama_get_sampled_candidates_ith(ctx, index);
    sampled.n_tokens = llama_get_sampled_candidates_count_ith(ctx, index);
    sampled.logits = llama_get_sampled_logits_ith(ctx, index);
    sampled.n_logits = llama_get_sampled_logits_count_ith(ctx, index);
    sampled.probabilities = llama_get_sampled_probs_ith(ctx, index);
    sampled.n_probabilities = llama_get_sampled_probs_count_ith(ctx, index);
    return sampled;
}
