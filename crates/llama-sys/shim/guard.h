// The containment of llama.cpp's failures: one function that runs a callback inside try/catch, and the
// abort callback that turns a failed GGML_ASSERT into a C++ exception while such a callback is running.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum llama_shim_outcome {
    LLAMA_SHIM_OUTCOME_COMPLETED = 0, // the body returned
    LLAMA_SHIM_OUTCOME_ASSERTION = 1, // a GGML_ASSERT or GGML_ABORT was reached; message is "file:line: text"
    LLAMA_SHIM_OUTCOME_EXCEPTION = 2, // a C++ exception arrived; message is its what()
    LLAMA_SHIM_OUTCOME_NO_MEMORY = 3, // the C++ exception was std::bad_alloc
};

#define LLAMA_SHIM_MESSAGE_SIZE 2048

typedef void (*llama_shim_body)(void * data);

// Runs body(data) and reports how it ended. The message buffer holds LLAMA_SHIM_MESSAGE_SIZE bytes; it is
// written, NUL-terminated, only when the outcome is not COMPLETED. A Rust panic in body passes through.
enum llama_shim_outcome llama_shim_guard(llama_shim_body body, void * data, char * message);

// Makes a failed assertion throw when the failing thread is inside llama_shim_guard and not in a parallel region of
// OpenMP. Elsewhere it prints and aborts as without the callback. Process-wide; call it once, before other threads
// use ggml.
void llama_shim_install_abort_callback(void);

// Whether the calling thread is inside llama_shim_guard.
bool llama_shim_is_guarded(void);

#ifdef __cplusplus
}
#endif
