#include "rpc.h"

#if __has_include("ggml-rpc.h")
#include "ggml-rpc.h"

#include <type_traits>
#define LLAMA_SHIM_HAS_RPC_HEADER
#endif

namespace {

using add_server = ggml_backend_reg_t (*)(const char *);
using start_server = void (*)(const char *, const char *, size_t, size_t, ggml_backend_dev_t *);

#ifdef LLAMA_SHIM_HAS_RPC_HEADER
static_assert(std::is_same<decltype(&ggml_backend_rpc_add_server), add_server>::value, "other types");
static_assert(std::is_same<decltype(&ggml_backend_rpc_start_server), start_server>::value, "other types");
#endif

} // namespace

extern "C" struct llama_shim_rpc_version llama_shim_rpc_protocol(void) {
#ifdef LLAMA_SHIM_HAS_RPC_HEADER
    return {RPC_PROTO_MAJOR_VERSION, RPC_PROTO_MINOR_VERSION, RPC_PROTO_PATCH_VERSION};
#else
    return {0, 0, 0};
#endif
}

extern "C" ggml_backend_reg_t llama_shim_rpc_add_server(void * function, const char * endpoint) {
    return reinterpret_cast<add_server>(function)(endpoint);
}

extern "C" void llama_shim_rpc_start_server(
    void * function, const char * endpoint, const char * cache_dir, size_t n_threads, size_t n_devices,
    ggml_backend_dev_t * devices) {
    reinterpret_cast<start_server>(function)(endpoint, cache_dir, n_threads, n_devices, devices);
}
