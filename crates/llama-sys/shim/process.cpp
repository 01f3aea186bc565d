#include "process.h"

extern "C" bool llama_shim_batch_fill(llama_batch_ext * batch, const llama_shim_entries * entries) {
    llama_batch_ext_clear(batch);
    const llama_seq_id * seq_id = entries->seq_ids;
    for (size_t i = 0; i < entries->n_entries; ++i) {
        const llama_token token = entries->tokens[i];
        const int32_t index = token == LLAMA_TOKEN_NULL ? llama_batch_ext_add(batch, *seq_id)
                                                        : llama_batch_ext_add_token(batch, *seq_id, token);
        if (index < 0 || size_t(index) != i) {
            return false;
        }
        for (int32_t n = 1; n < entries->n_seq_ids[i]; ++n) {
            llama_batch_ext_add_seq(batch, index, seq_id[n]);
        }
        seq_id += entries->n_seq_ids[i];
        const llama_pos pos = entries->positions[i];
        // There are at most four dimensions.
        const llama_pos in_all_dimensions[] = { pos, pos, pos, pos };
        llama_batch_ext_set_pos(batch, index, in_all_dimensions);
        if (entries->outputs[i] != 0) {
            llama_batch_ext_set_output_logits(batch, index, true);
        }
    }
    return true;
}

extern "C" int32_t llama_shim_process(
        llama_context * ctx, llama_process_type type, llama_batch_ext * batch, const llama_shim_entries * entries) {
    if (entries != nullptr && !llama_shim_batch_fill(batch, entries)) {
        return LLAMA_SHIM_ENTRIES_REFUSED;
    }
    return llama_process(ctx, type, batch);
}
