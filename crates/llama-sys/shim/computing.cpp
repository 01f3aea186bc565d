#include "computing.h"

#include "guard.h"
#include "guarded.h"

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

#include <cstddef>
#include <cstdint>

#if defined(_WIN32)
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <unwind.h>
#endif

#ifdef LLAMA_SHIM_DYNAMIC
#include "dynamic.h"
// The address of the function inside the library, where it runs.
#define LLAMA_SHIM_FUNCTION(name) reinterpret_cast<uintptr_t>(llama_shim::loaded(#name))
#else
#define LLAMA_SHIM_FUNCTION(name) reinterpret_cast<uintptr_t>(&name)
#endif

#if defined(__GNUC__) && !defined(LLAMA_SHIM_DYNAMIC)
// From the OpenMP runtime, if there is one.
extern "C" __attribute__((weak)) int omp_in_parallel(void);
#endif

namespace {

// A running function: the beginning of its code, and the end of its part of the stack.
struct frame {
    uintptr_t function;
    uintptr_t stack;
};

// Passes the frames of this thread, from this function's caller outwards, to `visit(frame)` until that returns false.
// Returns whether it did; the result false means that the stack could not be walked that far.
template <typename Visit>
bool walk(Visit && visit) {
#if defined(_WIN32) && defined(_M_X64)
    CONTEXT context;
    RtlCaptureContext(&context);
    while (context.Rip != 0) {
        DWORD64 base = 0;
        RUNTIME_FUNCTION * function = RtlLookupFunctionEntry(context.Rip, &base, nullptr);
        if (function == nullptr) {
            return false;
        }
        if (!visit(frame{ uintptr_t(base + function->BeginAddress), uintptr_t(context.Rsp) })) {
            return true;
        }
        void * handler = nullptr;
        DWORD64 establisher = 0;
        RtlVirtualUnwind(
            UNW_FLAG_NHANDLER, base, context.Rip, function, &context, &handler, &establisher, nullptr);
    }
    return false;
#elif defined(_WIN32)
    (void) visit;
    return false;
#else
    struct state {
        Visit & visit;
        bool stopped;
    } state = { visit, false };
    const auto on_frame = [](struct _Unwind_Context * context, void * data) -> _Unwind_Reason_Code {
        auto & walking = *static_cast<struct state *>(data);
        const frame found = { uintptr_t(_Unwind_GetRegionStart(context)), uintptr_t(_Unwind_GetCFA(context)) };
        walking.stopped = !walking.visit(found);
        return walking.stopped ? _URC_END_OF_STACK : _URC_NO_REASON;
    };
    _Unwind_Backtrace(on_frame, &state);
    return state.stopped;
#endif
}

// Returns the calling function's place on the stack. The address of a variable does not work, because the address
// sanitizer may move the variable.
#if defined(_MSC_VER) && !defined(__clang__)
#define LLAMA_SHIM_HERE() reinterpret_cast<uintptr_t>(_AddressOfReturnAddress())
#else
#define LLAMA_SHIM_HERE() reinterpret_cast<uintptr_t>(__builtin_frame_address(0))
#endif

// The functions of the CPU backend that run while it computes. At every operation at least one of them is running,
// whatever the compiler has inlined or divided.
constexpr size_t N_FUNCTIONS = 3;
uintptr_t computing_functions[N_FUNCTIONS] = {};

bool is_computing_function(uintptr_t function) {
    for (uintptr_t known : computing_functions) {
        if (known != 0 && known == function) {
            return true;
        }
    }
    return false;
}

// An abort callback that records its callers.
bool note_callers(void *) {
    const uintptr_t here = LLAMA_SHIM_HERE();
    size_t n = 0;
    walk([&](frame found) {
        if (found.stack <= here) {
            return true;
        }
        if (found.function == LLAMA_SHIM_FUNCTION(ggml_backend_graph_compute)
            || found.function == LLAMA_SHIM_FUNCTION(ggml_backend_graph_compute_async)) {
            return false;
        }
        computing_functions[n++] = found.function;
        return n < N_FUNCTIONS;
    });
    return false;
}

template <typename Function>
Function cpu_function(ggml_backend_dev_t cpu, const char * name) {
    return reinterpret_cast<Function>(ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu), name));
}

enum class place { in_computation, elsewhere, unknown };

// Returns the place of this thread inside its innermost guarded call.
place find_place() {
    if (computing_functions[0] == 0) {
        return place::unknown;
    }
    const uintptr_t end = llama_shim::guarded_call::innermost->stack;
    place found = place::unknown;
    const bool stopped = walk([&](frame it) {
        if (is_computing_function(it.function)) {
            found = place::in_computation;
            return false;
        }
        return it.stack <= end;
    });
    return stopped && found == place::unknown ? place::elsewhere : found;
}

bool in_parallel_region() {
#if defined(LLAMA_SHIM_DYNAMIC)
    const auto in_parallel = reinterpret_cast<int (*)()>(llama_shim::loaded("omp_in_parallel"));
    return in_parallel != nullptr && in_parallel() != 0;
#elif defined(__GNUC__)
    return omp_in_parallel != nullptr && omp_in_parallel() != 0;
#else
    return false;
#endif
}

} // namespace

bool llama_shim::leaves_threads_behind() noexcept {
    const computation * running = computation::innermost;
    switch (find_place()) {
        // A call that a callback makes inside a computation is elsewhere too: its exception ends in the callback.
        case place::elsewhere: return false;
        case place::in_computation: return running == nullptr || !running->alone;
        case place::unknown: break;
    }
    return running != nullptr ? !running->alone : in_parallel_region();
}

extern "C" bool llama_shim_learn_computation(void) {
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (cpu == nullptr) {
        return false;
    }
    const auto set_abort =
        cpu_function<ggml_backend_set_abort_callback_t>(cpu, "ggml_backend_set_abort_callback");
    const auto set_n_threads = cpu_function<ggml_backend_set_n_threads_t>(cpu, "ggml_backend_set_n_threads");
    if (set_abort == nullptr || set_n_threads == nullptr) {
        return false;
    }
    ggml_backend_t backend = ggml_backend_dev_init(cpu, nullptr);
    ggml_context * ctx = ggml_init({ 8 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true });
    if (backend != nullptr && ctx != nullptr) {
        set_n_threads(backend, 1);
        set_abort(backend, note_callers, nullptr);
        ggml_cgraph * graph = ggml_new_graph(ctx);
        ggml_build_forward_expand(graph, ggml_neg(ctx, ggml_new_tensor_1d(ctx, GGML_TYPE_F32, 1)));
        if (ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, backend)) {
            ggml_backend_buffer_clear(buffer, 0);
            ggml_backend_graph_compute(backend, graph);
            ggml_backend_buffer_free(buffer);
        }
    }
    ggml_free(ctx);
    ggml_backend_free(backend);
    return computing_functions[0] != 0;
}
