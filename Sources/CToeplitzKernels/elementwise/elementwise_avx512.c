#include <math.h>

#include "../base/target.h"
#include "CToeplitzKernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#define TZ_SCALED(v, n) ((VEC)_mm512_scalef_ps((__m512)(v), (__m512)(n)))
#define TZ_F16C
#define SUFFIX avx512
#define TZ_BYTES 64
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma,f16c"))), apply_to = function)
#include "elementwise.inc.h"
#pragma clang attribute pop
#endif
