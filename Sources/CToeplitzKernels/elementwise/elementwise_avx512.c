#include <math.h>

#include "../base/target.h"
#include "CToeplitzKernels.h"
#if defined(__x86_64__)
#define TZ_F16C
#define SUFFIX avx512
#define TZ_BYTES 64
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma,f16c"))), apply_to = function)
#include "elementwise.inc.h"
#pragma clang attribute pop
#endif
