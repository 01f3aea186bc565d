// Makes a C FILE of a file that Rust has opened. It is made here so that it belongs to the C runtime that llama.cpp
// uses.

#pragma once

#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

// Makes a stream for reading at `offset`. `handle` is a file descriptor, or on Windows a HANDLE. The stream owns it,
// and it is closed when the result is NULL; errno then has the reason.
FILE * llama_shim_file_open(intptr_t handle, uint64_t offset);

// Closes the stream and the file.
void llama_shim_file_close(FILE * file);

#ifdef __cplusplus
}
#endif
