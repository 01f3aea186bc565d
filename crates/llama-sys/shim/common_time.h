// Included before everything else in each file of the common library. Its files ask std::localtime for the date, which
// has one buffer for all threads; here each thread has its own, so that templates can be rendered at the same time.

#pragma once

#include <chrono>
#include <ctime>
#include <iomanip>
#include <locale>
#include <memory>

namespace llama_shim {

inline std::tm & local_time(const std::time_t * time) {
    static thread_local std::tm parts;
    parts = std::tm();
#ifdef _WIN32
    localtime_s(&parts, time);
#else
    localtime_r(time, &parts);
#endif
    return parts;
}

} // namespace llama_shim

// Behind `std::`.
#define localtime(time) addressof(::llama_shim::local_time(time))
