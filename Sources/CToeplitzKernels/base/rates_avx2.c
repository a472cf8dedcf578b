#include "CToeplitzKernels.h"
#include "target.h"
#if defined(__x86_64__)
#define SUFFIX avx2
#define TZ_BYTES 32
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "rates.inc.h"
#pragma clang attribute pop
#endif
