#include "breakdown.h"

// A prebuilt library may have only the public headers.
#if __has_include("llama-ext.h")
#include "llama-ext.h"
#define LLAMA_SHIM_EXT 1
#else
#define LLAMA_SHIM_EXT 0
#endif

#ifdef LLAMA_SHIM_DYNAMIC
#include "dynamic.h"
#endif

extern "C" bool llama_shim_has_memory_breakdown(void) {
#ifdef LLAMA_SHIM_DYNAMIC
    return llama_shim::has_extensions();
#else
    return LLAMA_SHIM_EXT != 0;
#endif
}

extern "C" size_t llama_shim_memory_breakdown(const llama_context * ctx, llama_shim_buffer_use * uses, size_t capacity) {
#if LLAMA_SHIM_EXT
    if (!llama_shim_has_memory_breakdown()) {
        return 0;
    }
    size_t n = 0;
    for (const auto & [buffer_type, bytes] : llama_get_memory_breakdown(ctx)) {
        if (n < capacity) {
            uses[n] = {
                buffer_type,
                ggml_backend_buft_get_device(buffer_type),
                ggml_backend_buft_is_host(buffer_type),
                bytes.model,
                bytes.context,
                bytes.compute,
            };
        }
        ++n;
    }
    return n;
#else
    (void) ctx;
    (void) uses;
    (void) capacity;
    return 0;
#endif
}
