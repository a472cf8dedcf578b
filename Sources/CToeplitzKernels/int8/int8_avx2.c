#include "../base/target.h"
#include "CToeplitzKernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#define SUFFIX avx2
#define TZ_BYTES 32
#define TZ_PIXELS 4
#define TZ_PAIRS_DOT(x, w) ((IVEC)_mm256_madd_epi16((__m256i)(x), (__m256i)(w)))
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "int8.inc.h"
#pragma clang attribute pop
#endif
