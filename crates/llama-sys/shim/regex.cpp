#include "regex.h"

#include <regex>

extern "C" void llama_shim_check_regex(const char * pattern) {
    // Constructed as in llama-model-loader.cpp.
    const std::regex checked(pattern);
    (void) checked;
}
