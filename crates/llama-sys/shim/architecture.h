// What llama.cpp can do with an architecture. It says so in C++ (src/llama-ext.h), and where it is not asked it throws or
// asserts half-way, with what it had begun lost.

#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// Whether models of this architecture can be divided by tensors (LLAMA_SPLIT_MODE_TENSOR). True also for a name that
// llama.cpp does not know and when the library came without the header. May throw; call it inside llama_shim_guard.
bool llama_shim_architecture_splits_tensors(const char * name);

// Whether models of this architecture can be written to a file; otherwise as above.
bool llama_shim_architecture_can_be_saved(const char * name);

#ifdef __cplusplus
}
#endif
