#include "guard.h"

#include "computing.h"
#include "guarded.h"

#include "ggml.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>

namespace {

// Not derived from std::exception, so that no handler inside llama.cpp treats it as one of its own errors and
// continues with a half-finished computation.
struct assertion_failure {
    char message[LLAMA_SHIM_MESSAGE_SIZE];
};

void copy_message(char * to, const char * from) {
    std::snprintf(to, LLAMA_SHIM_MESSAGE_SIZE, "%s", from);
}

void on_abort(const char * message) {
    if (!llama_shim_is_guarded()) {
        std::fprintf(stderr, "%s\n", message);
        return;
    }
    if (llama_shim::leaves_threads_behind()) {
        std::fprintf(
            stderr,
            "%s\nllama.cpp failed while several threads compute: the others cannot be stopped, and the process ends. "
            "With one thread it would be an error.\n",
            message);
        return;
    }
    assertion_failure failure;
    copy_message(failure.message, message);
    throw failure;
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
