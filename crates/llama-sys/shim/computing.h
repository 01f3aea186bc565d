// Detects whether a thread is in the middle of a computation in which other threads take part. An exception that left
// the computation would leave those threads behind: they wait for this thread at a barrier, and use its stack. C++
// only.

#pragma once

#include "llama.h"

namespace llama_shim {

// Constructed around the functions that compute, to record the number of their threads.
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

// Returns whether an exception that is thrown here, and caught by the innermost guarded call of this thread, would
// leave a computation in which other threads take part. Returns true when that cannot be known.
bool leaves_threads_behind() noexcept;

} // namespace llama_shim
