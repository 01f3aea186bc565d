#include "common.h"

#include "json-schema-to-grammar.h"
#include "json.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

namespace {

// malloc and not new[]: the caller's side of the boundary knows only one way to free.
char * copy_string(const std::string & string) {
    char * copy = static_cast<char *>(std::malloc(string.size() + 1));
    if (copy == nullptr) {
        throw std::bad_alloc();
    }
    std::memcpy(copy, string.c_str(), string.size() + 1);
    return copy;
}

} // namespace

extern "C" char * llama_shim_json_schema_to_grammar(const char * schema) {
    return copy_string(json_schema_to_grammar(common_json::parse(schema), true));
}

extern "C" void llama_shim_string_free(char * string) {
    std::free(string);
}
