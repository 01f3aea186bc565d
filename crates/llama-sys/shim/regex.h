// The regular expressions that llama.cpp matches tensor names with are those of C++; only C++ can say whether a text
// is one.

#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// Throws std::regex_error when `pattern` is not a regular expression; call it inside llama_shim_guard.
void llama_shim_check_regex(const char * pattern);

#ifdef __cplusplus
}
#endif
