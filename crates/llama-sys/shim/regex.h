// llama.cpp matches tensor names with C++ regular expressions, and only C++ can decide whether a text is one.

#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// Throws std::regex_error when `pattern` is not a regular expression; call it inside llama_shim_guard.
void llama_shim_check_regex(const char * pattern);

#ifdef __cplusplus
}
#endif
