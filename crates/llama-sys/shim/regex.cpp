#include "regex.h"

#include <regex>

extern "C" void llama_shim_check_regex(const char * pattern) {
    // As llama-model-loader.cpp makes its own.
    const std::regex checked(pattern);
    (void) checked;
}
