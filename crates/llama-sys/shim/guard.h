// The containment of llama.cpp's failures: the outcomes of a guarded call, and the abort callback that turns a failed
// GGML_ASSERT into a C++ exception while such a call is running. calls.cpp contains the calls.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum llama_shim_outcome {
    LLAMA_SHIM_OUTCOME_COMPLETED = 0, // the function returned
    LLAMA_SHIM_OUTCOME_ASSERTION = 1, // a GGML_ASSERT or GGML_ABORT was reached; message is "file:line: text"
    LLAMA_SHIM_OUTCOME_EXCEPTION = 2, // a C++ exception arrived; message is its what()
    LLAMA_SHIM_OUTCOME_NO_MEMORY = 3, // the C++ exception was std::bad_alloc
};

#define LLAMA_SHIM_MESSAGE_SIZE 2048

// Makes a failed assertion throw when the failing thread is inside a guarded call and no other thread takes part in
// the failing computation. Otherwise the assertion prints and aborts, as without the callback. Process-wide; call it
// once, before other threads use ggml.
void llama_shim_install_abort_callback(void);

// Finds the functions that run while the CPU backend computes, by computing one number. Without it, every failure in
// a computation by several threads ends the process, even one before its threads have begun. Call it once, after the
// backends are loaded and before other threads compute. Returns whether they were found; may throw.
bool llama_shim_learn_computation(void);

// Returns whether the calling thread is inside a guarded call.
bool llama_shim_is_guarded(void);

// Fails in the given way, which must not be COMPLETED, with `text` as the message: for tests of the containment. An
// assertion has the file "shim/guard.cpp" and the line 1.
void llama_shim_fail(enum llama_shim_outcome how, const char * text);

#ifdef __cplusplus
}
#endif
