#include "architecture.h"

// A prebuilt library may have only the public headers.
#if __has_include("llama-ext.h")
#include "llama-ext.h"

#ifdef LLAMA_SHIM_DYNAMIC
#include "dynamic.h"
#endif

namespace {

bool can_ask() {
#ifdef LLAMA_SHIM_DYNAMIC
    return llama_shim::has_extensions();
#else
    return true;
#endif
}

bool unless_refused(const char * name, bool (*supports)(llm_arch)) {
    if (!can_ask()) {
        return true;
    }
    const llm_arch arch = llama_arch_from_string(name);
    return arch == LLM_ARCH_UNKNOWN || supports(arch);
}

} // namespace

extern "C" bool llama_shim_architecture_splits_tensors(const char * name) {
    return unless_refused(name, llama_arch_supports_sm_tensor);
}

extern "C" bool llama_shim_architecture_can_be_saved(const char * name) {
    return unless_refused(name, llama_arch_supports_save);
}
#else
extern "C" bool llama_shim_architecture_splits_tensors(const char * name) {
    (void) name;
    return true;
}

extern "C" bool llama_shim_architecture_can_be_saved(const char * name) {
    (void) name;
    return true;
}
#endif
