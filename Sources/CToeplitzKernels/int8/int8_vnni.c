#include "../base/target.h"
#include "CToeplitzKernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#define SUFFIX vnni
#define TZ_BYTES 64
#define TZ_PIXELS 14
#define TZ_DOT(s, x, w) ((IVEC)_mm512_dpbusd_epi32((__m512i)(s), (__m512i)(x), (__m512i)(w)))
#define TZ_PAIRS_DOT(x, w) ((IVEC)_mm512_madd_epi16((__m512i)(x), (__m512i)(w)))
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,fma"))), apply_to = function)
#include "int8.inc.h"
#pragma clang attribute pop
#endif
