#include "conv_common.h"
#if defined(__x86_64__)
#include <immintrin.h>
#define TZ_MASKS256
// From word 8 - n on: n words to take, then words to leave.
static const int32_t tz_mask_words[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
#define TZ_F16C
#define TZ_ISA avx2
#define TZ_BYTES 32
#define TZ_SUB8 4
#define TZ_WIDE_AT_ONCE 6
#define TZ_MAX4 3
// Keeps an accumulator in one register: with 16 of them the compiler would else rotate the accumulators through copies
// and spills, at half the speed.
#define TZ_KEEP(v) __asm__ volatile("" : "+x"(v))
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "conv_types.inc.h"
#pragma clang attribute pop
#endif
