#include "CToeplitzKernels.h"
#include "target.h"
#if defined(__x86_64__)
#define SUFFIX avx512
#define TZ_BYTES 64
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma"))), apply_to = function)
#include "rates.inc.h"
#pragma clang attribute pop
#endif
