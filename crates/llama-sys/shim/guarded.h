// Makes a call inside try/catch, so that nothing is thrown out of it. C++ only; calls.cpp has the functions that use it.

#pragma once

#include "guard.h"

#include <cstdint>

// Where on the stack an object is. The address sanitizer may have put it elsewhere.
#if defined(__SANITIZE_ADDRESS__)
#define LLAMA_SHIM_STACK(object) reinterpret_cast<uintptr_t>(__builtin_frame_address(0))
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LLAMA_SHIM_STACK(object) reinterpret_cast<uintptr_t>(__builtin_frame_address(0))
#endif
#endif
#ifndef LLAMA_SHIM_STACK
#define LLAMA_SHIM_STACK(object) reinterpret_cast<uintptr_t>(object)
#endif

namespace llama_shim {

// A guarded call that is running. The innermost one of each thread is known to the abort callback.
struct guarded_call {
    guarded_call() : outer(innermost), stack(LLAMA_SHIM_STACK(this)) { innermost = this; }
    ~guarded_call() { innermost = outer; }
    guarded_call(const guarded_call &) = delete;
    guarded_call & operator=(const guarded_call &) = delete;

    guarded_call * outer;
    // Where on the stack it is: frames at lower addresses are inside of it.
    uintptr_t stack;

    static inline thread_local guarded_call * innermost = nullptr;
};

// To be called by a handler: says what was thrown. The one list of what is caught.
enum llama_shim_outcome caught(char * message) noexcept;

// Runs `body` and reports how it ended. The message buffer holds LLAMA_SHIM_MESSAGE_SIZE bytes; it is written,
// NUL-terminated, only when the outcome is not COMPLETED.
//
// Catches everything: no Rust panic is among it, because what Rust gives C to call lets none out. The forced unwinding
// of a cancelled thread ends the process, which it would do at the first Rust frame too.
template <typename Body>
inline enum llama_shim_outcome guarded(char * message, Body && body) noexcept {
    guarded_call call;
    try {
        body();
        return LLAMA_SHIM_OUTCOME_COMPLETED;
    } catch (...) {
        return caught(message);
    }
}

} // namespace llama_shim
