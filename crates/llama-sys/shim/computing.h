// Whether a thread is in the middle of a computation that other threads take part in. An exception that left it would
// leave them behind: they wait for this thread at a barrier, and look at its stack. C++ only.

#pragma once

#include "llama.h"

namespace llama_shim {

// Made around the functions that compute, so that it is known how many threads they compute with.
struct computation {
    explicit computation(llama_context * ctx) : outer(innermost), alone(has_one_thread(ctx)) { innermost = this; }
    ~computation() { innermost = outer; }
    computation(const computation &) = delete;
    computation & operator=(const computation &) = delete;

    computation * outer;
    bool alone;

    static inline thread_local computation * innermost = nullptr;

private:
    static bool has_one_thread(llama_context * ctx) {
        return llama_n_threads(ctx) == 1 && llama_n_threads_batch(ctx) == 1;
    }
};

// Whether an exception that is thrown here, and caught by the innermost guarded call of this thread, would leave a
// computation that other threads take part in. True where that cannot be known.
bool leaves_threads_behind() noexcept;

} // namespace llama_shim
