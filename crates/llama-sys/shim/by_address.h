// Calls functions by address, as a backend's registry returns them, because a backend may be a module that is loaded
// at run time. Every function may throw; Rust calls them with a guard (calls.cpp).

#pragma once

#include "ggml-backend.h"
#include "ggml-cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

// Calls ggml_threadpool_new at the address `function`.
struct ggml_threadpool * llama_shim_threadpool_new(void * function, struct ggml_threadpool_params * params);

// Calls ggml_threadpool_free at the address `function`.
void llama_shim_threadpool_free(void * function, struct ggml_threadpool * pool);

// Calls ggml_backend_get_features at the address `function`.
struct ggml_backend_feature * llama_shim_get_features(void * function, ggml_backend_reg_t reg);

#ifdef __cplusplus
}
#endif
