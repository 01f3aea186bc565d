#include "guard.h"

#include "ggml.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#if defined(__GNUC__)
// From the OpenMP runtime, when there is one.
extern "C" __attribute__((weak)) int omp_in_parallel(void);
#endif

namespace {

// Depth and not a flag: a body may call back into Rust, and that code may enter the guard again.
thread_local int guard_depth = 0;

struct guard_scope {
    guard_scope() { ++guard_depth; }
    ~guard_scope() { --guard_depth; }
};

// Not derived from std::exception, so that no handler inside llama.cpp takes it for one of its own errors
// and goes on with a half-finished computation.
struct assertion_failure {
    char message[LLAMA_SHIM_MESSAGE_SIZE];
};

void copy_message(char * to, const char * from) {
    std::snprintf(to, LLAMA_SHIM_MESSAGE_SIZE, "%s", from);
}

// An exception that leaves a parallel region makes the other threads of the team wait for this one for ever.
bool in_parallel_region() {
#if defined(__GNUC__)
    return omp_in_parallel != nullptr && omp_in_parallel() != 0;
#else
    return false;
#endif
}

void on_abort(const char * message) {
    if (guard_depth > 0 && !in_parallel_region()) {
        assertion_failure failure;
        copy_message(failure.message, message);
        throw failure;
    }
    std::fprintf(stderr, "%s\n", message);
}

} // namespace

extern "C" llama_shim_outcome llama_shim_guard(llama_shim_body body, void * data, char * message) {
    guard_scope scope;
    try {
        body(data);
        return LLAMA_SHIM_OUTCOME_COMPLETED;
    } catch (const assertion_failure & failure) {
        copy_message(message, failure.message);
        return LLAMA_SHIM_OUTCOME_ASSERTION;
    } catch (const std::bad_alloc & error) {
        copy_message(message, error.what());
        return LLAMA_SHIM_OUTCOME_NO_MEMORY;
    } catch (const std::exception & error) {
        copy_message(message, error.what());
        return LLAMA_SHIM_OUTCOME_EXCEPTION;
    } catch (const char * text) {
        copy_message(message, text);
        return LLAMA_SHIM_OUTCOME_EXCEPTION;
    }
    // No catch (...): a Rust panic on its way out is an exception of another language and has to pass. libstdc++
    // gives no way to tell it from a C++ exception of an unlisted type once it is caught.
}

extern "C" void llama_shim_install_abort_callback(void) {
    ggml_set_abort_callback(on_abort);
}

extern "C" bool llama_shim_is_guarded(void) {
    return guard_depth > 0;
}
