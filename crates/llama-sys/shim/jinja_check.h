// Checks a chat template before the common library parses it. C++ only.

#pragma once

#include <string>

namespace llama_shim {

// Throws std::exception, with the place, for a text that is not a Jinja template, and for a template with chains of
// operators too long for recursion.
void check_template(const std::string & source);

} // namespace llama_shim
