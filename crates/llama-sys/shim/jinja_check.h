// Looks at a chat template before the common library does. C++ only.

#pragma once

#include <string>

namespace llama_shim {

// Throws std::exception, with the place, for a text that is no Jinja template, and for one with longer chains of
// operators than the recursion over them can be trusted with.
void check_template(const std::string & source);

} // namespace llama_shim
