#include "common.h"

#include "json-schema-to-grammar.h"
#include "schema_check.h"
#include "text.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace {

bool is_data(const std::string & key) {
    return key == "const" || key == "enum" || key == "default" || key == "examples";
}

// Refuses a pattern that the common library does not understand. The library would write a line to stderr and make a
// grammar of any string, but the caller relies on the pattern.
void check_pattern(const std::string & pattern) {
    const std::string reason = "the pattern " + pattern + " is not supported: ";
    if (pattern.size() < 2 || pattern.front() != '^' || pattern.back() != '$') {
        throw std::invalid_argument(reason + "it has to begin with '^' and end with '$'");
    }
    const common_json alone = { { "type", "string" }, { "pattern", pattern } };
    if (json_schema_to_grammar(alone, true).find("root ::= string\n") != std::string::npos) {
        throw std::invalid_argument(reason + "leave out look-around, anchors inside, back references and named classes");
    }
}

// The parser limits the depth of the schema.
void check_patterns(const common_json & schema) {
    if (schema.is_array()) {
        for (const auto & item : schema) {
            check_patterns(item);
        }
    }
    if (!schema.is_object()) {
        return;
    }
    for (const auto & [key, value] : schema.items()) {
        if (key == "pattern" && value.is_string()) {
            check_pattern(value.get<std::string>());
        } else if (!is_data(key)) {
            check_patterns(value);
        }
    }
}

} // namespace

extern "C" char * llama_shim_json_schema_to_grammar(const char * schema, size_t length) {
    llama_shim::silence_log();
    const common_json json = llama_shim::parse_json(schema, length);
    llama_shim::check_schema_size(json);
    check_patterns(json);
    return llama_shim::copy_string(json_schema_to_grammar(json, true));
}

extern "C" void llama_shim_string_free(char * string) {
    std::free(string);
}
