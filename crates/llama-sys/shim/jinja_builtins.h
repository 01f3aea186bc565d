// Looks at calls of the common library's built-in functions, filters and tests of templates before they are made.

#pragma once

#include "jinja_budget.h"

#include "jinja/value.h"

#include <string>
#include <vector>

namespace llama_shim {

// Counts what the call will take, and refuses one that would end the process. Arguments that mean the same and do no
// harm may be put in place of others. A method's first argument is what it is called on.
void check_builtin(template_budget & budget, const std::string & name, std::vector<jinja::value> & args);

// The same for an operator between two values.
void check_operator(
    template_budget & budget, const std::string & name, const jinja::value & left, const jinja::value & right);

} // namespace llama_shim
