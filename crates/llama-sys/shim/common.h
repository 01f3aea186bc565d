// Functions of llama.cpp's common library for Rust: strings in, strings out. Built with feature `common`. Every
// function may throw; call it inside llama_shim_guard.

#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Returns a GBNF grammar that accepts exactly the JSON documents of a JSON schema of `length` bytes. The result is
// NUL-terminated and owned by the caller, who frees it with llama_shim_string_free. Throws for a schema that is not
// valid JSON, is nested more than 128 levels deep, or uses an unsupported keyword.
char * llama_shim_json_schema_to_grammar(const char * schema, size_t length);

// Frees a string that a function of the shim returned. NULL is allowed.
void llama_shim_string_free(char * string);

#ifdef __cplusplus
}
#endif
