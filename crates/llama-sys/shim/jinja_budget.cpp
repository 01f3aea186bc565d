#include "jinja_budget.h"

#include "jinja/runtime.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <utility>

namespace llama_shim {

namespace {

thread_local template_budget * active = nullptr;

// Equals JINJA_RECURSIVE_LIMIT in the common library.
constexpr int MAX_VALUE_DEPTH = 128;

// The number of steps between two looks at the clock.
constexpr uint64_t LOOK_EVERY = 64;

// A value with its control block, a part of a text, an element of a list, an entry of a dict: a little more than
// their sizes with GCC.
constexpr uint64_t VALUE_BYTES   = 272;
constexpr uint64_t PART_BYTES    = 48;
constexpr uint64_t ELEMENT_BYTES = 16;
constexpr uint64_t ENTRY_BYTES   = 160;

constexpr uint64_t FIRST_SWEEP = 8 << 20;

// The number of values that are visited in the time of one step.
constexpr uint64_t VISITS_PER_STEP = 32;

uint64_t text_bytes(const jinja::string & text) {
    uint64_t bytes = 0;
    for (const auto & part : text.parts) {
        bytes += PART_BYTES + part.val.size();
    }
    return bytes;
}

// Returns the bytes that a container takes for one of its values: all of the value's bytes when the container is its
// only owner.
uint64_t element_bytes(const jinja::value & value, long owners) {
    if (value == nullptr || is_container(value) || value.use_count() > owners) {
        return ELEMENT_BYTES;
    }
    return ELEMENT_BYTES + VALUE_BYTES + text_bytes(value->val_str);
}

uint64_t container_bytes(const jinja::value & value) {
    uint64_t bytes = VALUE_BYTES;
    for (const auto & item : value->val_arr) {
        bytes += element_bytes(item, 1);
    }
    // A dict stores each key and value twice: in order, and by hash.
    for (const auto & entry : value->val_obj) {
        bytes += ENTRY_BYTES + element_bytes(entry.first, 2) + element_bytes(entry.second, 2);
    }
    return bytes;
}

// Returns the function of `value` with its bound values.
const jinja::value_func_t * function(const jinja::value & value) {
    return jinja::cast_val<jinja::value_func>(value);
}

template <typename F>
void for_each_child(const jinja::value & value, F && visit) {
    for (const auto & item : value->val_arr) {
        visit(item);
    }
    for (const auto & entry : value->val_obj) {
        visit(entry.first);
        visit(entry.second);
    }
    if (const auto * bound = function(value)) {
        visit(bound->arg0);
    } else if (const auto * named = jinja::cast_val<jinja::value_kwarg>(value)) {
        visit(named->val);
    }
}

// Empties a container and moves its contents to `contents`.
void take_apart(const jinja::value & value, std::vector<jinja::value> & contents) {
    for (auto & item : value->val_arr) {
        contents.push_back(std::move(item));
    }
    value->val_arr.clear();
    for (auto & entry : value->val_obj) {
        contents.push_back(std::move(entry.first));
        contents.push_back(std::move(entry.second));
    }
    value->val_obj.clear();
    if (auto * object = dynamic_cast<jinja::value_object_t *>(value.get())) {
        // Clearing frees nodes without comparing keys.
        object->unordered.clear();
    } else if (auto * bound = dynamic_cast<jinja::value_func_t *>(value.get())) {
        contents.push_back(std::move(bound->arg0));
        bound->val_func = nullptr;
    } else if (auto * named = dynamic_cast<jinja::value_kwarg_t *>(value.get())) {
        contents.push_back(std::move(named->val));
    }
}

} // namespace

// Called for every value. Comparing types takes a tenth of the time of casting to one type after the other.
bool is_container(const jinja::value & value) {
    const jinja::value_t & self = *value;
    const std::type_info & type = typeid(self);
    return type != typeid(jinja::value_string_t) && type != typeid(jinja::value_int_t) &&
           type != typeid(jinja::value_undefined_t) && type != typeid(jinja::value_bool_t) &&
           type != typeid(jinja::value_none_t) && type != typeid(jinja::value_float_t);
}

template_budget::template_budget(llama_shim_template_budget * limits)
    : limits(limits), outer(active), sweep_at(std::min<uint64_t>(FIRST_SWEEP, limits->memory_bytes)) {
    limits->used_steps = limits->used_depth = limits->used_output_bytes = limits->used_memory_bytes = 0;
    limits->breach = LLAMA_SHIM_TEMPLATE_BREACH_NONE;
    // A year is longer than any template runs, and does not overflow.
    const auto most = std::chrono::milliseconds(std::min<uint64_t>(limits->time_ms, 31536000000));
    deadline = std::chrono::steady_clock::now() + most;
    active = this;
}

template_budget::~template_budget() {
    active = outer;
    std::vector<jinja::value> contents;
    for (const auto & entry : values) {
        if (entry.container) {
            take_apart(entry.container, contents);
        }
    }
    // While `values` owns the containers, no destructor recurses deeper than one of them.
    contents.clear();
}

template_budget * template_budget::current() {
    return active;
}

void template_budget::breach(llama_shim_template_breach limit) {
    if (limits->breach == LLAMA_SHIM_TEMPLATE_BREACH_NONE) {
        limits->breach = limit;
    }
    throw template_breach();
}

void template_budget::begin_render() {
    rendered = 0;
}

void template_budget::look_up() {
    next_look = limits->used_steps + LOOK_EVERY;
    if (limits->cancelled != nullptr && limits->cancelled(limits->cancelled_data)) {
        breach(LLAMA_SHIM_TEMPLATE_BREACH_CANCELLED);
    }
    if (std::chrono::steady_clock::now() >= deadline) {
        breach(LLAMA_SHIM_TEMPLATE_BREACH_TIME);
    }
}

void template_budget::work(uint64_t steps) {
    // An ended template stays ended, whoever caught the exception.
    if (limits->breach != LLAMA_SHIM_TEMPLATE_BREACH_NONE) {
        throw template_breach();
    }
    if (steps > limits->steps - std::min(limits->used_steps, limits->steps)) {
        breach(LLAMA_SHIM_TEMPLATE_BREACH_STEPS);
    }
    limits->used_steps += steps;
    if (limits->used_steps >= next_look) {
        look_up();
    }
}

void template_budget::enter() {
    work(1);
    if (depth >= limits->depth) {
        breach(LLAMA_SHIM_TEMPLATE_BREACH_DEPTH);
    }
    ++depth;
    limits->used_depth = std::max(limits->used_depth, depth);
}

void template_budget::output(uint64_t bytes) {
    rendered += bytes;
    limits->used_output_bytes = std::max(limits->used_output_bytes, rendered);
    if (rendered > limits->output_bytes) {
        breach(LLAMA_SHIM_TEMPLATE_BREACH_OUTPUT);
    }
}

void template_budget::reserve(uint64_t bytes) {
    if (bytes > limits->memory_bytes || alive > limits->memory_bytes - bytes) {
        sweep();
        if (bytes > limits->memory_bytes || alive > limits->memory_bytes - bytes) {
            breach(LLAMA_SHIM_TEMPLATE_BREACH_MEMORY);
        }
    }
}

void template_budget::count(uint64_t bytes) {
    alive += bytes;
    if (alive > sweep_at) {
        sweep();
    }
    limits->used_memory_bytes = std::max(limits->used_memory_bytes, alive);
}

void template_budget::keep(const jinja::value & value) {
    if (value == nullptr) {
        return;
    }
    if (is_container(value)) {
        return keep_containers(value);
    }
    if (!jinja::is_val<jinja::value_string>(value) || !texts.insert(value.get()).second) {
        return;
    }
    const uint64_t bytes = VALUE_BYTES + text_bytes(value->val_str);
    values.push_back({ value, nullptr, bytes, value.get() });
    count(bytes);
}

void template_budget::keep_copy(const jinja::value & value, const extent & all) {
    const uint64_t bytes = VALUE_BYTES + PART_BYTES * all.parts + all.bytes;
    values.push_back({ value, nullptr, bytes, nullptr });
    count(bytes);
}

void template_budget::keep_containers(const jinja::value & value) {
    if (containers.count(value.get()) != 0) {
        return;
    }
    std::vector<jinja::value> open = { value };
    uint64_t bytes = 0;
    while (!open.empty()) {
        const jinja::value container = std::move(open.back());
        open.pop_back();
        if (!containers.insert(container.get()).second) {
            continue;
        }
        const uint64_t own = container_bytes(container);
        values.push_back({ {}, container, own, nullptr });
        bytes += own;
        for_each_child(container, [&](const jinja::value & child) {
            if (child != nullptr && is_container(child)) {
                open.push_back(child);
            }
        });
    }
    count(bytes);
}

void template_budget::sweep() {
    // Lists are freed from the outside in; the order of the values does not tell which direction that is.
    bool newest_first = true;
    for (int turn = 0; turn < 8 && sweep_once(newest_first); ++turn) {
        newest_first = !newest_first;
    }
    if (alive > limits->memory_bytes) {
        breach(LLAMA_SHIM_TEMPLATE_BREACH_MEMORY);
    }
    sweep_at = std::min<uint64_t>(std::max<uint64_t>(2 * alive, FIRST_SWEEP), limits->memory_bytes);
}

// Drops the values that have no other owner. Returns whether there were any.
bool template_budget::sweep_once(bool newest_first) {
    if (newest_first) {
        std::reverse(values.begin(), values.end());
    }
    bool any = false;
    alive = 0;
    std::vector<kept> left;
    std::vector<jinja::value> contents;
    for (auto & entry : values) {
        if (entry.container != nullptr && entry.container.use_count() == 1) {
            take_apart(entry.container, contents);
            containers.erase(entry.container.get());
            contents.clear();
            entry.container.reset();
            any = true;
        } else if (entry.container != nullptr || !entry.text.expired()) {
            entry.bytes = entry.container != nullptr ? container_bytes(entry.container) : entry.bytes;
            alive += entry.bytes;
            left.push_back(std::move(entry));
        } else {
            texts.erase(entry.address);
            any = true;
        }
    }
    values = std::move(left);
    if (newest_first) {
        std::reverse(values.begin(), values.end());
    }
    return any;
}

extent template_budget::measure(const jinja::value & value) {
    extent sum;
    measure(value, 0, sum);
    return sum;
}

void template_budget::measure(const jinja::value & value, int level, extent & sum) {
    if (value == nullptr) {
        return;
    }
    if (++sum.nodes % VISITS_PER_STEP == 0) {
        work(1);
    }
    sum.bytes += 24;
    if (!is_container(value)) {
        for (const auto & part : value->val_str.parts) {
            sum.bytes += part.val.size();
        }
        sum.parts += value->val_str.parts.size();
        if (sum.bytes > limits->memory_bytes) {
            breach(LLAMA_SHIM_TEMPLATE_BREACH_MEMORY);
        }
        return;
    }
    if (level >= MAX_VALUE_DEPTH) {
        throw std::runtime_error("a list or dict is nested more than " + std::to_string(MAX_VALUE_DEPTH) +
                                 " levels deep, or contains itself");
    }
    for_each_child(value, [&](const jinja::value & child) { measure(child, level + 1, sum); });
}

} // namespace llama_shim
