// Makes a call inside try/catch, so that no exception leaves it. C++ only; calls.cpp has the functions that use it.

#pragma once

#include "guard.h"

#include <cstdint>

// Returns an object's place on the stack. The address sanitizer may have moved the object.
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

// A running guarded call. The abort callback knows the innermost one of each thread.
struct guarded_call {
    guarded_call() : outer(innermost), stack(LLAMA_SHIM_STACK(this)) { innermost = this; }
    ~guarded_call() { innermost = outer; }
    guarded_call(const guarded_call &) = delete;
    guarded_call & operator=(const guarded_call &) = delete;

    guarded_call * outer;
    // Its place on the stack: frames at lower addresses are inside of it.
    uintptr_t stack;

    static inline thread_local guarded_call * innermost = nullptr;
};

// Called by a handler to report the exception. This is the only list of caught types.
enum llama_shim_outcome caught(char * message) noexcept;

// Runs `body` and reports the outcome. The message buffer holds LLAMA_SHIM_MESSAGE_SIZE bytes; it is written,
// NUL-terminated, only when the outcome is not COMPLETED.
//
// Catches everything. No Rust panic can arrive here, because Rust's callbacks let none out. The forced unwinding of a
// cancelled thread ends the process, as it would at the first Rust frame.
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
