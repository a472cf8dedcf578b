#include <math.h>

#include "../base/target.h"
#include "CToeplitzKernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#define TZ_SOME(n) _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define TZ_LOAD_SOME(x, n) ((VEC)_mm256_maskload_ps(x, TZ_SOME(n)))
#define TZ_STORE_SOME(y, v, n) _mm256_maskstore_ps(y, TZ_SOME(n), (__m256)(v))
#define TZ_F16C
#define TZ_FUSES
#define SUFFIX avx2
#define TZ_BYTES 32
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "elementwise.inc.h"
#pragma clang attribute pop
#endif
