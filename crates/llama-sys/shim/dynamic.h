// The symbols of the library that a program with feature `dynamic` loads. The functions of llama.cpp that Rust, the shim
// and the common library call are defined in dynamic.cpp; each jumps to the address that src/dynamic.rs has found.

#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Returns the number of symbols. The first `llama_shim_n_required_symbols` of them are the bound functions; a library
// may lack the others.
size_t llama_shim_n_symbols(void);
size_t llama_shim_n_required_symbols(void);

// Returns the name of a symbol. The index must be below the number of symbols.
const char * llama_shim_symbol_name(size_t index);

// Stores the address of a symbol. No other thread may call a function of llama.cpp at the same time. A required symbol
// must have the type that its header declares.
void llama_shim_set_symbol(size_t index, void * address);

#ifdef __cplusplus
}

namespace llama_shim {

// Returns the address of a symbol inside the loaded library, or NULL if the library lacks it or is not loaded yet.
void * loaded(const char * name) noexcept;

// Returns whether the loaded library has the functions of src/llama-ext.h that the shim calls, made with the C++ standard
// library that the shim was made with.
bool has_extensions() noexcept;

} // namespace llama_shim
#endif
