// 128-bit vectors: SSE2 on x86-64 (16 registers), NEON on arm64 (32 registers).
#include "conv_common.h"
#define TZ_ISA baseline
#define TZ_BYTES 16
#if defined(__aarch64__)
#define TZ_SUB8 8
#define TZ_WIDE_AT_ONCE 14
#define TZ_MAX4 6
#define TZ_KEEP(v) (void)0
#else
#define TZ_SUB8 4
#define TZ_WIDE_AT_ONCE 6
#define TZ_MAX4 3
#define TZ_KEEP(v) __asm__ volatile("" : "+x"(v))  // see conv_avx2.c
#endif
#include "conv_types.inc.h"
