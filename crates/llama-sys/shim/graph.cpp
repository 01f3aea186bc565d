#include "graph.h"

#include "ggml-backend.h"

#include <atomic>
#include <mutex>

// A prebuilt library may have only the public headers.
#if __has_include("ggml-backend-impl.h")
#include "ggml-backend-impl.h"
#define LLAMA_SHIM_BACKEND_IMPL 1
#else
#define LLAMA_SHIM_BACKEND_IMPL 0
#endif

#if LLAMA_SHIM_BACKEND_IMPL

namespace {

// A CPU device with its original functions, which this file has replaced.
struct watched_device {
    ggml_backend_dev_t device;
    ggml_backend_t (*init_backend)(ggml_backend_dev_t device, const char * params);
    // The function of the device's backends; all of them have the same functions.
    std::atomic<decltype(ggml_backend_i::graph_compute)> graph_compute;
    std::atomic<decltype(ggml_backend_i::graph_optimize)> graph_optimize;
};

// One for each module that makes a CPU backend; in practice there is one.
constexpr int max_devices = 8;
watched_device devices[max_devices];
std::atomic<int> n_devices{0};

std::atomic<llama_shim_graph_check> graph_check{nullptr};
thread_local bool is_watching = false;

watched_device * find(ggml_backend_dev_t device) {
    const int n = n_devices.load(std::memory_order_acquire);
    for (int i = 0; i < n; ++i) {
        if (devices[i].device == device) {
            return &devices[i];
        }
    }
    return nullptr;
}

bool show(ggml_cgraph * graph, llama_shim_graph_use use) {
    return graph_check.load(std::memory_order_relaxed)(ggml_graph_nodes(graph), ggml_graph_n_nodes(graph), use);
}

void graph_optimize(ggml_backend_t backend, ggml_cgraph * graph, ggml_backend_graph_optimize_params * params) {
    show(graph, LLAMA_SHIM_GRAPH_USE_PLAN);
    if (auto * original = find(backend->device)->graph_optimize.load(std::memory_order_relaxed)) {
        original(backend, graph, params);
    }
}

ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    if (!show(graph, LLAMA_SHIM_GRAPH_USE_COMPUTE)) {
        return GGML_STATUS_FAILED;
    }
    return find(backend->device)->graph_compute.load(std::memory_order_relaxed)(backend, graph);
}

ggml_backend_t init_backend(ggml_backend_dev_t device, const char * params) {
    watched_device * watched = find(device);
    ggml_backend_t backend = watched->init_backend(device, params);
    if (backend != nullptr && is_watching) {
        watched->graph_compute.store(backend->iface.graph_compute, std::memory_order_relaxed);
        watched->graph_optimize.store(backend->iface.graph_optimize, std::memory_order_relaxed);
        backend->iface.graph_compute = graph_compute;
        backend->iface.graph_optimize = graph_optimize;
    }
    return backend;
}

// Replaces the functions of each CPU device that makes backends. Repeated, because modules may have been loaded
// since.
void watch_devices() {
    static std::mutex mutex;
    std::lock_guard<std::mutex> lock(mutex);
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        const int n = n_devices.load(std::memory_order_relaxed);
        if (ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_CPU || find(device) != nullptr || n == max_devices) {
            continue;
        }
        devices[n].device = device;
        devices[n].init_backend = device->iface.init_backend;
        n_devices.store(n + 1, std::memory_order_release);
        device->iface.init_backend = init_backend;
    }
}

} // namespace

extern "C" bool llama_shim_watch_graphs(llama_shim_graph_check check) {
    is_watching = check != nullptr;
    if (is_watching) {
        graph_check.store(check, std::memory_order_relaxed);
        watch_devices();
    }
    return true;
}

#else

extern "C" bool llama_shim_watch_graphs(llama_shim_graph_check check) {
    (void) check;
    return false;
}

#endif
