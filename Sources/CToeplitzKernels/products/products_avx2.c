#include "../base/target.h"
#include "CToeplitzKernels.h"
#if defined(__x86_64__)
#define SUFFIX avx2
#define TZ_BYTES 32
#define TZ_ROWS 6
#define TZ_KEEP(v) __asm__ volatile("" : "+x"(v))
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "products.inc.h"
#pragma clang attribute pop
#endif
