#include "text.h"

#include "log.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

namespace {

// Equals JINJA_RECURSIVE_LIMIT and COMMON_RECURSIVE_LIMIT in the common library.
constexpr size_t MAX_DEPTH = 128;

size_t nesting(const char * text, size_t length) {
    size_t depth = 0;
    size_t deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') {
                ++i;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            deepest = ++depth > deepest ? depth : deepest;
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        }
    }
    return deepest;
}

} // namespace

common_json llama_shim::parse_json(const char * text, size_t length) {
    const size_t depth = nesting(text, length);
    if (depth > MAX_DEPTH) {
        throw std::invalid_argument("the JSON is nested " + std::to_string(depth) + " levels deep and " +
                                    std::to_string(MAX_DEPTH) + " are the most");
    }
    return common_json::parse(std::string(text, length));
}

char * llama_shim::copy_string(const std::string & string) {
    // malloc instead of new[], because the caller's side of the boundary can only use free.
    char * copy = static_cast<char *>(std::malloc(string.size() + 1));
    if (copy == nullptr) {
        throw std::bad_alloc();
    }
    std::memcpy(copy, string.c_str(), string.size() + 1);
    return copy;
}

void llama_shim::silence_log() {
#ifdef LLAMA_SHIM_SILENCE_COMMON_LOG
    // A level below all messages. The log's thread starts with the first line that passes.
    static const bool done = [] {
        common_log_set_verbosity_thold(LOG_LEVEL_OUTPUT - 1);
        return true;
    }();
    (void) done;
#endif
}
