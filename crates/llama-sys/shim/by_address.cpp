#include "by_address.h"

extern "C" ggml_threadpool * llama_shim_threadpool_new(void * function, ggml_threadpool_params * params) {
    return reinterpret_cast<decltype(&ggml_threadpool_new)>(function)(params);
}

extern "C" void llama_shim_threadpool_free(void * function, ggml_threadpool * pool) {
    reinterpret_cast<decltype(&ggml_threadpool_free)>(function)(pool);
}

extern "C" ggml_backend_feature * llama_shim_get_features(void * function, ggml_backend_reg_t reg) {
    return reinterpret_cast<ggml_backend_get_features_t>(function)(reg);
}
