// Shared by the functions over llama.cpp's common library: JSON input, text output, silencing the log. C++ only.

#pragma once

#include "json.h"

#include <cstddef>
#include <string>

namespace llama_shim {

// Parses a JSON document of `length` bytes. Throws std::exception for invalid JSON, and for a document nested deeper
// than llama.cpp's own limit, because later processing is recursive.
common_json parse_json(const char * text, size_t length);

// Returns a NUL-terminated copy from malloc for the caller of the C function.
char * copy_string(const std::string & string);

// Prevents the log of a prebuilt common library, which writes to stderr from a thread of its own, from starting.
void silence_log();

} // namespace llama_shim
