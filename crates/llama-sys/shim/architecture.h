// Capabilities of llama.cpp for an architecture. llama.cpp declares them in C++ (src/llama-ext.h). A caller that does
// not ask meets an exception or an assertion half-way, and the memory allocated so far is leaked.

#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// Returns whether models of this architecture can be divided by tensors (LLAMA_SPLIT_MODE_TENSOR). Also true for a
// name that llama.cpp does not know, and when the library came without the header or the functions. May throw; call it
// inside llama_shim_guard.
bool llama_shim_architecture_splits_tensors(const char * name);

// Returns whether models of this architecture can be written to a file, with the exceptions of the function above.
bool llama_shim_architecture_can_be_saved(const char * name);

#ifdef __cplusplus
}
#endif
