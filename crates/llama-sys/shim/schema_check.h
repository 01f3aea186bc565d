// Looks at a JSON schema before a grammar is made of it.

#pragma once

#include "json.h"

namespace llama_shim {

// Throws std::invalid_argument for a schema that takes the common library too long, or of which comes a grammar that
// llama.cpp does not take.
void check_schema_size(const common_json & schema);

// The same for each tool of a list as OpenAI's API has it, together.
void check_tools_size(const common_json & tools);

} // namespace llama_shim
