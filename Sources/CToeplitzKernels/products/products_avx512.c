#include "../base/target.h"
#include "CToeplitzKernels.h"
#if defined(__x86_64__)
#define SUFFIX avx512
#define TZ_BYTES 64
#define TZ_ROWS 14
#define TZ_KEEP(v)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma"))), apply_to = function)
#include "products.inc.h"
#pragma clang attribute pop
#endif
