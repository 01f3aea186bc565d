#include "jinja_builtins.h"

#include "jinja/runtime.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>

namespace llama_shim {

namespace {

using jinja::value;
using values = std::vector<value>;

// The number of bytes copied, and of values visited, in the time of one step.
constexpr uint64_t BYTES_PER_STEP  = 16384;
constexpr uint64_t VALUES_PER_STEP = 16;

// The most steps of one operation, because an operation cannot be ended before it is done.
constexpr uint64_t MOST_AT_ONCE = 500000;

constexpr uint64_t VALUE_BYTES = 272;

bool is_text(const value & v) { return jinja::is_val<jinja::value_string>(v); }
bool is_int(const value & v) { return jinja::is_val<jinja::value_int>(v); }
bool is_list(const value & v) { return jinja::is_val<jinja::value_array>(v); }
bool is_dict(const value & v) { return jinja::is_val<jinja::value_object>(v); }

uint64_t length(const value & text) {
    return text->val_str.length();
}

uint64_t size(const value & v) {
    return is_text(v) ? length(v) : v->val_arr.size() + v->val_obj.size();
}

// Returns a product that saturates at the largest number.
uint64_t times(uint64_t a, uint64_t b) {
    return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

void spend(template_budget & budget, uint64_t steps) {
    if (steps > MOST_AT_ONCE) {
        throw std::runtime_error("an operation on values of this size takes too long: " + std::to_string(steps) +
                                 " steps, and " + std::to_string(MOST_AT_ONCE) + " are the most at once");
    }
    budget.work(steps);
}

// Returns the argument with that name or at that place, or NULL if there is none.
value argument(const values & args, const char * name, size_t place) {
    for (const auto & arg : args) {
        const auto * named = jinja::cast_val<jinja::value_kwarg>(arg);
        if (named != nullptr && named->key == name) {
            return named->val;
        }
    }
    const bool there = place < args.size() && !jinja::is_val<jinja::value_kwarg>(args[place]);
    return there ? args[place] : nullptr;
}

// Returns whether the function visits only the elements of a list or dict. Other functions may visit everything
// inside it.
bool is_shallow(const std::string & name) {
    static const std::set<std::string> names = {
        "append", "default", "first", "get", "items", "keys", "last", "length", "list", "map", "max", "min", "pop",
        "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "sort", "dictsort", "unique", "values",
        "test_is_boolean", "test_is_callable", "test_is_defined", "test_is_false", "test_is_float", "test_is_integer",
        "test_is_iterable", "test_is_mapping", "test_is_none", "test_is_number", "test_is_sameas", "test_is_sequence",
        "test_is_string", "test_is_true", "test_is_undefined",
    };
    return names.count(name) != 0;
}

// A search may compare the whole needle at each place.
uint64_t search_steps(uint64_t haystack, uint64_t needle) {
    return times(haystack, needle) / BYTES_PER_STEP / 4;
}

uint64_t occurrences(const std::string & text, const std::string & what) {
    uint64_t found = 0;
    for (size_t at = 0; !what.empty() && (at = text.find(what, at)) != std::string::npos; at += what.size()) {
        ++found;
    }
    return found;
}

// llama.cpp divides without a check: a division by 0, or of the least number by -1, ends the process.
void check_divisor(values & args, size_t place) {
    if (place >= args.size() || !is_int(args[place])) {
        return;
    }
    const int64_t divisor = args[place]->as_int();
    if (divisor == 0) {
        throw std::runtime_error("the test divisibleby is asked with 0: division by zero");
    }
    if (divisor == -1) {
        args[place] = jinja::mk_val<jinja::value_int>(1);
    }
}

void check_range(template_budget & budget, const values & args) {
    for (const auto & arg : args) {
        if (!is_int(arg)) {
            return;
        }
        constexpr int64_t most = int64_t(1) << 53;
        if (arg->as_int() > most || arg->as_int() < -most) {
            throw std::runtime_error("range() is asked for numbers beyond 2^53");
        }
    }
    const int64_t first = args.size() > 1 ? args[0]->as_int() : 0;
    const int64_t last  = args.empty() ? 0 : args[args.size() > 1 ? 1 : 0]->as_int();
    const int64_t step  = args.size() > 2 ? args[2]->as_int() : 1;
    if (step == 0 || (step > 0) == (last <= first)) {
        return;
    }
    const uint64_t count = uint64_t(std::abs(last - first)) / uint64_t(std::abs(step)) + 1;
    budget.reserve(times(count, VALUE_BYTES));
    spend(budget, count / VALUES_PER_STEP);
}

// Larger numbers have the same effect but overflow in llama.cpp's sums.
void clamp_slice(values & args) {
    constexpr int64_t most = int64_t(1) << 40;
    for (auto & arg : args) {
        if (is_int(arg) && (arg->as_int() > most || arg->as_int() < -most)) {
            arg = jinja::mk_val<jinja::value_int>(arg->as_int() < 0 ? -most : most);
        }
    }
}

// Equals get_attribute in value.cpp.
value attribute_of(const value & item, const value & name) {
    value missing = jinja::mk_val<jinja::value_undefined>();
    if (name == nullptr || name->is_undefined()) {
        return item;
    }
    if (is_dict(item)) {
        return item->at(name, missing);
    }
    if (!is_list(item)) {
        return missing;
    }
    if (is_text(name)) {
        const std::string digits = name->as_string().str();
        const bool is_number = !digits.empty() && digits.size() < 18 &&
                               std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
        return is_number ? item->at(int64_t(std::stoll(digits)), missing) : missing;
    }
    return item->at(name, missing);
}

enum class order { numbers, texts, none };

// std::sort reads outside of the list for values without an order: texts beside numbers, NaN beside numbers.
void check_order(const value & item, order & common, bool is_first) {
    const bool is_float  = jinja::is_val<jinja::value_float>(item);
    const bool is_number = is_int(item) || is_float;
    const order own = is_number ? order::numbers : is_text(item) ? order::texts : order::none;
    if (is_float && std::isnan(item->as_float())) {
        throw std::runtime_error("a list with NaN cannot be sorted");
    }
    if (!is_first && own != common) {
        throw std::runtime_error("a list of values of several types cannot be sorted");
    }
    common = own;
}

uint64_t logarithm(uint64_t n) {
    uint64_t bits = 1;
    while (n >>= 1) {
        ++bits;
    }
    return bits;
}

void check_sort(template_budget & budget, const std::string & name, const values & args) {
    if (args.empty()) {
        return;
    }
    order common = order::none;
    bool is_first = true;
    uint64_t bytes = 0;
    const auto visit = [&](const value & key) {
        check_order(key, common, is_first);
        is_first = false;
        bytes += is_text(key) ? length(key) : 0;
    };
    if (name == "dictsort") {
        const value by = argument(args, "by", 2);
        const bool by_value = by != nullptr && is_text(by) && by->as_string().str() == "value";
        for (const auto & entry : args[0]->val_obj) {
            visit(by_value ? entry.second : entry.first);
        }
    } else {
        const value attribute = argument(args, "attribute", 3);
        for (const auto & item : args[0]->val_arr) {
            visit(attribute_of(item, attribute));
        }
    }
    const uint64_t count = size(args[0]);
    spend(budget, times(logarithm(count), count / VALUES_PER_STEP + 4 * bytes / BYTES_PER_STEP));
}

void check_replace(template_budget & budget, const values & args) {
    if (args.size() < 3 || !is_text(args[0]) || !is_text(args[1]) || !is_text(args[2])) {
        return;
    }
    const uint64_t text = length(args[0]);
    const std::string what = args[1]->as_string().str();
    spend(budget, search_steps(text, what.size()));
    const uint64_t found = what.empty() ? text + 1 : occurrences(args[0]->as_string().str(), what);
    const uint64_t with = length(args[2]);
    budget.reserve(text + times(found, with));
    const bool moves = !what.empty() && what.size() != with;
    const uint64_t moved = times(found, moves ? text + times(found, with) / 2 : with);
    spend(budget, moved / BYTES_PER_STEP);
}

void check_split(template_budget & budget, const values & args) {
    if (args.empty() || !is_text(args[0])) {
        return;
    }
    const std::string by = args.size() > 1 && is_text(args[1]) ? args[1]->as_string().str() : " ";
    const uint64_t text = length(args[0]);
    spend(budget, search_steps(text, by.size()));
    const uint64_t found = occurrences(args[0]->as_string().str(), by);
    budget.reserve(times(found + 1, VALUE_BYTES) + text);
    spend(budget, times(found, text) / 2 / BYTES_PER_STEP + found / VALUES_PER_STEP);
}

void check_join(template_budget & budget, const values & args) {
    const value between = argument(args, "d", 1);
    if (!args.empty() && between != nullptr && is_text(between)) {
        budget.reserve(times(size(args[0]), length(between)));
    }
}

void check_indent(template_budget & budget, const values & args) {
    const value width = argument(args, "width", 1);
    if (args.empty() || !is_text(args[0]) || width == nullptr) {
        return;
    }
    if (is_int(width) && width->as_int() < 0) {
        throw std::runtime_error("indent() is asked for a width of " + std::to_string(width->as_int()));
    }
    const uint64_t by = is_int(width) ? uint64_t(width->as_int()) : is_text(width) ? length(width) : 4;
    const uint64_t bytes = times(occurrences(args[0]->as_string().str(), "\n") + 2, by);
    budget.reserve(bytes);
    spend(budget, bytes / BYTES_PER_STEP);
}

void check_tojson(template_budget & budget, const values & args, const extent & all) {
    uint64_t each = 2;
    const value separators = argument(args, "separators", 3);
    if (separators != nullptr && is_list(separators)) {
        for (const auto & text : separators->val_arr) {
            each += is_text(text) ? length(text) : 0;
        }
    }
    const value indent = argument(args, "indent", 2);
    if (indent != nullptr && is_int(indent)) {
        if (indent->as_int() > 256) {
            throw std::runtime_error("tojson is asked for an indent of " + std::to_string(indent->as_int()) +
                                     ", and 256 is the most");
        }
        // Each level is indented by one more step.
        each += 128 * uint64_t(std::max<int64_t>(indent->as_int(), 0));
    }
    const uint64_t bytes = times(all.nodes, each) + all.bytes;
    // Few values are nested that deeply.
    budget.reserve(bytes / 16);
    spend(budget, bytes / 16 / BYTES_PER_STEP);
}

// `select` and similar filters call a test for each element.
void check_selection(template_budget & budget, values & args, size_t test) {
    if (test >= args.size() || !is_text(args[test])) {
        return;
    }
    const std::string name = "test_is_" + args[test]->as_string().str();
    if (name == "test_is_divisibleby") {
        check_divisor(args, test + 1);
    }
    if (is_shallow(name)) {
        return;
    }
    const uint64_t elements = budget.measure(args[0]).bytes;
    uint64_t others = 1;
    for (size_t i = test + 1; i < args.size(); ++i) {
        others += budget.measure(args[i]).bytes;
    }
    spend(budget, elements / BYTES_PER_STEP + times(size(args[0]), others) / 1024);
}

void check_member(template_budget & budget, const value & needle, const value & haystack) {
    if (is_text(haystack)) {
        spend(budget, is_text(needle) ? search_steps(length(haystack), length(needle)) : 1);
    } else if (is_container(needle)) {
        const extent one = budget.measure(needle);
        const extent all = is_list(haystack) ? budget.measure(haystack) : extent();
        spend(budget, (all.nodes + times(size(haystack), one.nodes)) / VALUES_PER_STEP);
    } else {
        const uint64_t bytes = is_text(needle) ? length(needle) : 8;
        spend(budget, times(size(haystack), 64 + bytes) / 1024);
    }
}

// Dicts find their keys by a hash for which anybody can construct collisions.
void check_keys(template_budget & budget, uint64_t count) {
    spend(budget, times(count, count) / 512);
}

#ifdef _WIN32
// An unknown conversion ends the process.
void check_time_format(const std::string & format) {
    for (size_t at = 0; at < format.size(); ++at) {
        if (format[at] != '%') {
            continue;
        }
        at += at + 1 < format.size() && format[at + 1] == '#' ? 2 : 1;
        if (at >= format.size() || std::string("aAbBcCdDeFgGhHIjmMnprRStTuUVwWxXyYzZ%").find(format[at]) == std::string::npos) {
            throw std::runtime_error("strftime_now() does not know the format " + format + " on Windows");
        }
    }
}
#endif

} // namespace

void check_builtin(template_budget & budget, const std::string & name, values & args) {
    extent all;
    const bool shallow = is_shallow(name);
    for (const auto & arg : args) {
        if (is_text(arg)) {
            all.bytes += length(arg);
        } else if (!is_container(arg)) {
            all.nodes += 1;
        } else if (shallow) {
            all.nodes += size(arg);
        } else {
            const extent one = budget.measure(arg);
            all.nodes += one.nodes;
            all.bytes += one.bytes;
        }
    }
    spend(budget, all.bytes / BYTES_PER_STEP + all.nodes / VALUES_PER_STEP);
    if (name == "range") {
        check_range(budget, args);
    } else if (name == "test_is_divisibleby") {
        check_divisor(args, 1);
    } else if (name == "slice") {
        clamp_slice(args);
    } else if (name == "sort" || name == "dictsort") {
        check_sort(budget, name, args);
    } else if (name == "unique" && !args.empty()) {
        const uint64_t bytes = budget.measure(args[0]).bytes;
        spend(budget, times(size(args[0]), size(args[0]) + bytes) / 512);
    } else if (name == "replace") {
        check_replace(budget, args);
    } else if (name == "split" || name == "rsplit") {
        check_split(budget, args);
    } else if (name == "join") {
        check_join(budget, args);
    } else if (name == "indent") {
        check_indent(budget, args);
    } else if (name == "tojson" || name == "string" || name == "safe") {
        check_tojson(budget, args, all);
    } else if (name == "select" || name == "reject") {
        check_selection(budget, args, 1);
    } else if (name == "selectattr" || name == "rejectattr") {
        check_selection(budget, args, 2);
    } else if (name == "test_is_in" && args.size() > 1) {
        check_member(budget, args[0], args[1]);
    } else if ((name == "dict" || name == "namespace") && !args.empty()) {
        check_keys(budget, size(args[0]));
    } else if (name == "append") {
        budget.keep(args[0]);
        budget.reserve(VALUE_BYTES);
    }
#ifdef _WIN32
    if (name == "strftime_now" && !args.empty() && is_text(args[0])) {
        check_time_format(args[0]->as_string().str());
    }
#endif
}

void check_operator(template_budget & budget, const std::string & name, const value & left, const value & right) {
    if (name == "in" || name == "not in") {
        return check_member(budget, left, right);
    }
    if (name == "*" && (is_text(left) || is_text(right))) {
        const value & text  = is_text(left) ? left : right;
        const value & count = is_text(left) ? right : left;
        if (is_int(count) && count->as_int() > 0) {
            const uint64_t one = 48 * text->val_str.parts.size() + length(text);
            budget.reserve(times(uint64_t(count->as_int()), one));
            spend(budget, times(uint64_t(count->as_int()), 1 + one / 64) / VALUES_PER_STEP);
        }
        return;
    }
    if (name == "+" && is_list(left) && is_list(right)) {
        const uint64_t count = size(left) + size(right);
        budget.reserve(VALUE_BYTES + 16 * count);
        return spend(budget, count / (4 * VALUES_PER_STEP));
    }
    extent all;
    for (const value & side : { left, right }) {
        if (is_container(side)) {
            const extent one = budget.measure(side);
            all.nodes += one.nodes;
            all.bytes += one.bytes;
        } else if (is_text(side)) {
            all.nodes += side->val_str.parts.size();
            all.bytes += length(side);
        }
    }
    budget.reserve(48 * all.nodes + all.bytes);
    spend(budget, all.nodes / VALUES_PER_STEP + all.bytes / BYTES_PER_STEP);
}

} // namespace llama_shim
