// Counts the resources of a running chat template, and ends it at a limit.

#pragma once

#include "template_budget.h"

#include "jinja/value.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_set>
#include <vector>

namespace llama_shim {

// Ends a template at a limit. Not a std::exception, because the common library catches those of templates and
// continues.
struct template_breach {};

// The total of everything reachable from a value, with shared parts counted each time, as functions that print values
// visit them.
struct extent {
    uint64_t nodes = 0;
    uint64_t bytes = 0;
    // The number of parts of its texts.
    uint64_t parts = 0;
};

// The budget of one call. While it exists it is the budget of its thread.
//
// The budget also keeps every list, dict and function that a template touches. The common library frees nested values
// by recursion and never frees those that contain themselves. Values that only the budget owns are taken apart here,
// level by level.
class template_budget {
  public:
    explicit template_budget(llama_shim_template_budget * limits);
    ~template_budget();

    template_budget(const template_budget &) = delete;
    template_budget & operator=(const template_budget &) = delete;

    // Returns the budget of this thread, or NULL if there is none.
    static template_budget * current();

    // Begins another trial conversation, whose text is counted from zero.
    void begin_render();

    void work(uint64_t steps);
    void enter();
    void leave() { --depth; }
    void output(uint64_t bytes);

    // Refuses an operation that would allocate so many bytes at once.
    void reserve(uint64_t bytes);

    // Counts a new value, once however often it is named, and keeps it if it can contain others.
    void keep(const jinja::value & value);

    // Counts the text that a block makes of each value that it shows, for as long as the value is in use.
    void keep_copy(const jinja::value & value, const extent & all);

    // Throws std::runtime_error for a value that is nested too deeply or contains itself.
    extent measure(const jinja::value & value);

  private:
    struct kept {
        std::weak_ptr<jinja::value_t> text;
        jinja::value                  container;
        uint64_t                      bytes;
        // The key in `texts`; NULL for containers and copies.
        const jinja::value_t *        address;
    };

    [[noreturn]] void breach(llama_shim_template_breach limit);
    void look_up();
    void measure(const jinja::value & value, int level, extent & sum);
    void keep_containers(const jinja::value & value);
    void count(uint64_t bytes);
    void sweep();
    bool sweep_once(bool newest_first);

    llama_shim_template_budget *                    limits;
    template_budget *                               outer;
    std::chrono::steady_clock::time_point           deadline;
    uint64_t                                        next_look = 0;
    uint64_t                                        depth     = 0;
    uint64_t                                        rendered  = 0;
    uint64_t                                        alive     = 0;
    uint64_t                                        sweep_at;
    std::vector<kept>                               values;
    std::unordered_set<const jinja::value_t *>      containers;
    // An address is not reused while `values` refers to it: mk_val allocates a value together with its owner count.
    std::unordered_set<const jinja::value_t *>      texts;
};

// Returns whether a value can contain others: a list, a dict, a function with bound values, a named argument.
bool is_container(const jinja::value & value);

} // namespace llama_shim
