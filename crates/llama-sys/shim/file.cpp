#include "file.h"

#include <cerrno>
#include <cstdio>

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <fcntl.h>
#include <io.h>
#include <windows.h>
#else
#include <sys/types.h>
#include <unistd.h>
#endif

namespace {

FILE * adopt(intptr_t handle) {
#ifdef _WIN32
    const int descriptor = _open_osfhandle(handle, _O_RDONLY | _O_BINARY);
    if (descriptor == -1) {
        CloseHandle(reinterpret_cast<HANDLE>(handle));
        return nullptr;
    }
    FILE * file = _fdopen(descriptor, "rb");
    if (file == nullptr) {
        _close(descriptor);
    }
#else
    const int descriptor = static_cast<int>(handle);
    FILE * file = fdopen(descriptor, "rb");
    if (file == nullptr) {
        const int reason = errno;
        close(descriptor);
        errno = reason;
    }
#endif
    return file;
}

bool seek(FILE * file, uint64_t offset) {
    if (offset > INT64_MAX) {
        errno = EINVAL;
        return false;
    }
#ifdef _WIN32
    return _fseeki64(file, static_cast<int64_t>(offset), SEEK_SET) == 0;
#else
    const off_t place = static_cast<off_t>(offset);
    if (static_cast<uint64_t>(place) != offset) {
        errno = EOVERFLOW;
        return false;
    }
    return fseeko(file, place, SEEK_SET) == 0;
#endif
}

} // namespace

extern "C" FILE * llama_shim_file_open(intptr_t handle, uint64_t offset) {
    FILE * file = adopt(handle);
    if (file == nullptr || seek(file, offset)) {
        return file;
    }
    const int reason = errno;
    std::fclose(file);
    errno = reason;
    return nullptr;
}

extern "C" void llama_shim_file_close(FILE * file) {
    std::fclose(file);
}
