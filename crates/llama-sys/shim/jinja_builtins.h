// Checks calls of the common library's built-in functions, filters and tests of templates before they are made.

#pragma once

#include "jinja_budget.h"

#include "jinja/value.h"

#include <string>
#include <vector>

namespace llama_shim {

// Counts the cost of the call, and refuses a call that would end the process. May replace arguments by harmless ones
// with the same meaning. The first argument of a method is the value that it is called on.
void check_builtin(template_budget & budget, const std::string & name, std::vector<jinja::value> & args);

// Does this for an operator between two values.
void check_operator(
    template_budget & budget, const std::string & name, const jinja::value & left, const jinja::value & right);

} // namespace llama_shim
