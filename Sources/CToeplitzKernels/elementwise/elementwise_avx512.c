#include <math.h>

#include "../base/target.h"
#include "CToeplitzKernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#include "tables.h"
#define TZ_LOOK_UP(table, i) \
  ((VEC)_mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)(i), _mm512_loadu_ps(table + 16)))
#define TZ_LOOK_UP_16(table, i) ((VEC)_mm512_permutexvar_ps((__m512i)(i), _mm512_loadu_ps(table)))
// Rounds n down, so its sixteenths may stay.
#define TZ_SCALED(v, n) ((VEC)_mm512_scalef_ps((__m512)(v), (__m512)(n)))
#define TZ_LOAD_SOME(x, n) ((VEC)_mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), x))
#define TZ_STORE_SOME(y, v, n) _mm512_mask_storeu_ps(y, (__mmask16)((1u << (n)) - 1), (__m512)(v))
#define TZ_F16C
#define TZ_FUSES
#define SUFFIX avx512
#define TZ_BYTES 64
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma,f16c"))), apply_to = function)
#include "elementwise.inc.h"
#pragma clang attribute pop
#endif
