#include "guard.h"

#include "guarded.h"

#include "ggml.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>

#if defined(__GNUC__)
// From the OpenMP runtime, when there is one.
extern "C" __attribute__((weak)) int omp_in_parallel(void);
#endif

namespace {

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
    if (llama_shim_is_guarded() && !in_parallel_region()) {
        assertion_failure failure;
        copy_message(failure.message, message);
        throw failure;
    }
    std::fprintf(stderr, "%s\n", message);
}

} // namespace

enum llama_shim_outcome llama_shim::caught(char * message) noexcept {
    try {
        throw;
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
    } catch (...) {
        copy_message(message, "an exception of an unknown type");
        return LLAMA_SHIM_OUTCOME_EXCEPTION;
    }
}

extern "C" void llama_shim_install_abort_callback(void) {
    ggml_set_abort_callback(on_abort);
}

extern "C" bool llama_shim_is_guarded(void) {
    return llama_shim::guarded_call::innermost != nullptr;
}

extern "C" void llama_shim_fail(enum llama_shim_outcome how, const char * text) {
    switch (how) {
        case LLAMA_SHIM_OUTCOME_COMPLETED: return;
        case LLAMA_SHIM_OUTCOME_ASSERTION: ggml_abort("shim/guard.cpp", 1, "%s", text);
        case LLAMA_SHIM_OUTCOME_EXCEPTION: throw std::runtime_error(text);
        case LLAMA_SHIM_OUTCOME_NO_MEMORY: throw std::bad_alloc();
    }
    throw 1;
}
