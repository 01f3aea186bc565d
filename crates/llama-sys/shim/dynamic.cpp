#include "dynamic.h"

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-opt.h"
#include "ggml.h"
#include "gguf.h"
#include "llama-ext.h"
#include "llama.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>

// The functions of src/llama-ext.h that the shim calls have C++ names. That of the first contains the type of strings,
// which differs between standard libraries.
#if defined(_LIBCPP_VERSION)
#define ARCH_FROM_STRING "_Z22llama_arch_from_stringRKNSt3__112basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEEE"
#else
#define ARCH_FROM_STRING "_Z22llama_arch_from_stringRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
#endif
#define SUPPORTS_SM_TENSOR "_Z29llama_arch_supports_sm_tensor8llm_arch"
#define SUPPORTS_SAVE "_Z24llama_arch_supports_save8llm_arch"
#define MEMORY_BREAKDOWN "_Z26llama_get_memory_breakdownPK13llama_context"

namespace {

enum symbol : size_t {
#define FORWARD(n, name) symbol_##name,
#define VARIADIC(name) symbol_##name,
#include "dynamic_symbols.h"
#undef FORWARD
#undef VARIADIC
    n_required,
};

const char * const names[] = {
#define FORWARD(n, name) #name,
#define VARIADIC(name) #name,
#include "dynamic_symbols.h"
#undef FORWARD
#undef VARIADIC
    ARCH_FROM_STRING,
    SUPPORTS_SM_TENSOR,
    SUPPORTS_SAVE,
    MEMORY_BREAKDOWN,
    "omp_in_parallel",
};

constexpr size_t n_symbols = sizeof(names) / sizeof(*names);

[[noreturn]] void before_loading() {
    std::fputs(
        "llama-sys: a function of llama.cpp was called before its library was loaded: call llama_sys::dynamic::load "
        "first\n",
        stderr);
    std::abort();
}

using any_function = void (*)();

// The missing entries at the end are NULL.
any_function addresses[n_symbols] = {
#define FORWARD(n, name) before_loading,
#define VARIADIC(name) before_loading,
#include "dynamic_symbols.h"
#undef FORWARD
#undef VARIADIC
};

template <typename Function>
Function target(size_t index) {
    return reinterpret_cast<Function>(addresses[index]);
}

template <typename Function>
struct signature;

template <typename Result, typename... Parameters>
struct signature<Result(Parameters...)> {
    using result = Result;
    template <size_t I>
    using parameter = std::tuple_element_t<I, std::tuple<Parameters...>>;
};

} // namespace

extern "C" size_t llama_shim_n_symbols(void) {
    return n_symbols;
}

extern "C" size_t llama_shim_n_required_symbols(void) {
    return n_required;
}

extern "C" const char * llama_shim_symbol_name(size_t index) {
    return names[index];
}

extern "C" void llama_shim_set_symbol(size_t index, void * address) {
    addresses[index] = reinterpret_cast<any_function>(address);
}

void * llama_shim::loaded(const char * name) noexcept {
    for (size_t i = 0; i < n_symbols; ++i) {
        if (std::strcmp(names[i], name) == 0 && addresses[i] != before_loading) {
            return reinterpret_cast<void *>(addresses[i]);
        }
    }
    return nullptr;
}

bool llama_shim::has_extensions() noexcept {
    return loaded(ARCH_FROM_STRING) != nullptr && loaded(SUPPORTS_SM_TENSOR) != nullptr
        && loaded(SUPPORTS_SAVE) != nullptr && loaded(MEMORY_BREAKDOWN) != nullptr;
}

// A function with the declared type of a bound function. The types of parameters and result come from the header.
#define P(name, i) signature<decltype(::name)>::parameter<i> a##i
#define PARAMETERS_0(f)
#define PARAMETERS_1(f) P(f, 0)
#define PARAMETERS_2(f) PARAMETERS_1(f), P(f, 1)
#define PARAMETERS_3(f) PARAMETERS_2(f), P(f, 2)
#define PARAMETERS_4(f) PARAMETERS_3(f), P(f, 3)
#define PARAMETERS_5(f) PARAMETERS_4(f), P(f, 4)
#define PARAMETERS_6(f) PARAMETERS_5(f), P(f, 5)
#define PARAMETERS_7(f) PARAMETERS_6(f), P(f, 6)
#define PARAMETERS_8(f) PARAMETERS_7(f), P(f, 7)
#define PARAMETERS_9(f) PARAMETERS_8(f), P(f, 8)
#define PARAMETERS_10(f) PARAMETERS_9(f), P(f, 9)
#define PARAMETERS_11(f) PARAMETERS_10(f), P(f, 10)
#define PARAMETERS_12(f) PARAMETERS_11(f), P(f, 11)
#define PARAMETERS_13(f) PARAMETERS_12(f), P(f, 12)
#define PARAMETERS_14(f) PARAMETERS_13(f), P(f, 13)
#define PARAMETERS_15(f) PARAMETERS_14(f), P(f, 14)
#define ARGUMENTS_0
#define ARGUMENTS_1 a0
#define ARGUMENTS_2 ARGUMENTS_1, a1
#define ARGUMENTS_3 ARGUMENTS_2, a2
#define ARGUMENTS_4 ARGUMENTS_3, a3
#define ARGUMENTS_5 ARGUMENTS_4, a4
#define ARGUMENTS_6 ARGUMENTS_5, a5
#define ARGUMENTS_7 ARGUMENTS_6, a6
#define ARGUMENTS_8 ARGUMENTS_7, a7
#define ARGUMENTS_9 ARGUMENTS_8, a8
#define ARGUMENTS_10 ARGUMENTS_9, a9
#define ARGUMENTS_11 ARGUMENTS_10, a10
#define ARGUMENTS_12 ARGUMENTS_11, a11
#define ARGUMENTS_13 ARGUMENTS_12, a12
#define ARGUMENTS_14 ARGUMENTS_13, a13
#define ARGUMENTS_15 ARGUMENTS_14, a14

#define FORWARD(n, name)                                                           \
    extern "C" signature<decltype(::name)>::result name(PARAMETERS_##n(name)) {    \
        return target<decltype(&::name)>(symbol_##name)(ARGUMENTS_##n);            \
    }
#define VARIADIC(name)
#include "dynamic_symbols.h"

// Functions with any number of arguments format their text here.

extern "C" void ggml_abort(const char * file, int line, const char * fmt, ...) {
    char text[2048];
    va_list arguments;
    va_start(arguments, fmt);
    std::vsnprintf(text, sizeof(text), fmt, arguments);
    va_end(arguments);
    target<decltype(&::ggml_abort)>(symbol_ggml_abort)(file, line, "%s", text);
    std::abort();
}

extern "C" ggml_tensor * ggml_format_name(ggml_tensor * tensor, const char * fmt, ...) {
    char name[GGML_MAX_NAME];
    va_list arguments;
    va_start(arguments, fmt);
    std::vsnprintf(name, sizeof(name), fmt, arguments);
    va_end(arguments);
    return target<decltype(&::ggml_format_name)>(symbol_ggml_format_name)(tensor, "%s", name);
}

// The functions of src/llama-ext.h. Call them only if `has_extensions`.

llm_arch llama_arch_from_string(const std::string & name) {
    return reinterpret_cast<llm_arch (*)(const std::string &)>(llama_shim::loaded(ARCH_FROM_STRING))(name);
}

bool llama_arch_supports_sm_tensor(llm_arch arch) {
    return reinterpret_cast<bool (*)(llm_arch)>(llama_shim::loaded(SUPPORTS_SM_TENSOR))(arch);
}

bool llama_arch_supports_save(llm_arch arch) {
    return reinterpret_cast<bool (*)(llm_arch)>(llama_shim::loaded(SUPPORTS_SAVE))(arch);
}

llama_memory_breakdown llama_get_memory_breakdown(const llama_context * ctx) {
    return reinterpret_cast<decltype(&::llama_get_memory_breakdown)>(llama_shim::loaded(MEMORY_BREAKDOWN))(ctx);
}
