#include <math.h>

#include "../base/target.h"
#include "CToeplitzKernels.h"
#if defined(__x86_64__)
#define TZ_F16C
#define TZ_FUSES
#define SUFFIX avx2
#define TZ_BYTES 32
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "elementwise.inc.h"
#pragma clang attribute pop
#endif
