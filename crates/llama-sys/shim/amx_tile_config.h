// GCC before 13 declares _tile_loadconfig with an operand that covers 8 of the 64 bytes it reads. The
// optimiser then drops the stores to the other 56, and the first AMX instruction dies with SIGILL. The build
// force-includes this header for such compilers.

#pragma once

#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#include <immintrin.h>

static inline void llama_shim_tile_loadconfig(const void * config) {
    __asm__ volatile("ldtilecfg\t%X0" : : "m"(*(const unsigned char(*)[64]) config));
}

#define _tile_loadconfig(config) llama_shim_tile_loadconfig(config)
#endif
