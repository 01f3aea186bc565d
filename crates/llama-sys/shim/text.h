// What the functions over llama.cpp's common library share: JSON that comes in, texts that go out, silence. C++ only.

#pragma once

#include "json.h"

#include <cstddef>
#include <string>

namespace llama_shim {

// Reads a JSON document of `length` bytes. Throws std::exception for what is none, and for one that is nested deeper
// than llama.cpp's own limit: what is done with a document afterwards is recursive.
common_json parse_json(const char * text, size_t length);

// A copy for the caller of the C function: from malloc, NUL-terminated.
char * copy_string(const std::string & string);

// Keeps the log of a prebuilt common library, which goes to stderr from a thread of its own, from starting.
void silence_log();

} // namespace llama_shim
