// What the common library needs of its own log and of its build, which are left out of it: its log goes where llama.cpp's
// goes, and not to stderr from a thread of its own.

#include "build-info.h"
#include "llama.h"
#include "log.h"

#include <cstdarg>
#include <cstdio>
#include <string>

namespace {

void send(enum ggml_log_level level, const char * text) {
    ggml_log_callback callback = nullptr;
    void * data = nullptr;
    llama_log_get(&callback, &data);
    if (callback != nullptr) {
        callback(level, text, data);
    }
}

} // namespace

int common_log_get_verbosity_thold(void) { return LOG_DEFAULT_LLAMA; }

void common_log_set_verbosity_thold(int) {}

bool common_log_get_jsonl(void) { return false; }

void common_log_set_jsonl(bool) {}

void common_log_default_callback(enum ggml_log_level level, const char * text, void *) { send(level, text); }

struct common_log * common_log_main() { return nullptr; }

void common_log_add(struct common_log *, enum ggml_log_level level, const char * format, ...) {
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    const int length = std::vsnprintf(nullptr, 0, format, arguments);
    va_end(arguments);
    std::string text(length > 0 ? static_cast<size_t>(length) : 0, '\0');
    std::vsnprintf(&text[0], text.size() + 1, format, again);
    va_end(again);
    send(level, text.c_str());
}

void common_log_add_json(struct common_log *, const char *, const common_json &) {}

void common_log_set_prefix(struct common_log *, bool) {}

void common_log_set_timestamps(struct common_log *, bool) {}

int llama_build_number(void) { return 0; }

const char * llama_commit(void) { return "pinned"; }

const char * llama_compiler(void) { return ""; }

const char * llama_build_target(void) { return ""; }

const char * llama_build_info(void) { return "pinned"; }

void llama_print_build_info(const char *, FILE *) {}
