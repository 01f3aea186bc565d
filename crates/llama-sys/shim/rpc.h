// ggml's RPC backend: the version of its protocol, and its functions, which are called by address because the backend may
// be a module that is loaded at run time.

#pragma once

#include "ggml-backend.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// A version of the protocol between the computer with the model and the servers.
struct llama_shim_rpc_version {
    uint8_t major;
    uint8_t minor;
    uint8_t patch;
};

// Returns the version that the headers of the linked library state; zeros if there is no header of the RPC backend.
struct llama_shim_rpc_version llama_shim_rpc_protocol(void);

// Calls ggml_backend_rpc_add_server at the address `function`. It connects, and may throw.
ggml_backend_reg_t llama_shim_rpc_add_server(void * function, const char * endpoint);

// Calls ggml_backend_rpc_start_server at the address `function`. It returns only when the server cannot listen or accept,
// and may throw.
void llama_shim_rpc_start_server(
    void * function, const char * endpoint, const char * cache_dir, size_t n_threads, size_t n_devices,
    ggml_backend_dev_t * devices);

#ifdef __cplusplus
}
#endif
