#include "conv_common.h"
#if defined(__x86_64__)
#include <immintrin.h>
#define TZ_MASKS512
#define TZ_F16C
#define TZ_ISA avx512
#define TZ_BYTES 64
#define TZ_SUB8 8
#define TZ_WIDE_AT_ONCE 14
#define TZ_MAX4 6
#define TZ_KEEP(v) (void)0  // 32 registers
// A multiply-add that broadcasts one factor from memory by itself.
#define TZ_MULTIPLY_ADD_FROM(acc, v, from) \
  __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(v), "m"(from))
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma,f16c"))), apply_to = function)
#include "conv_types.inc.h"
#pragma clang attribute pop
#endif
