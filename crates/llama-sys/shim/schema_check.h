// Checks a JSON schema before it is turned into a grammar.

#pragma once

#include "json.h"

namespace llama_shim {

// Throws std::invalid_argument for a schema that takes the common library too long, or whose grammar llama.cpp
// refuses.
void check_schema_size(const common_json & schema);

// Checks the tools of a list in the format of OpenAI's API, all together.
void check_tools_size(const common_json & tools);

} // namespace llama_shim
