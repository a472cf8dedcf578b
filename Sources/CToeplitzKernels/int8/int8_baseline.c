#include "../base/target.h"
#include "CToeplitzKernels.h"
#define SUFFIX baseline
#define TZ_BYTES 16
#define TZ_PIXELS 4
#if defined(__x86_64__)
#include <emmintrin.h>
#define TZ_PAIRS_DOT(x, w) ((IVEC)_mm_madd_epi16((__m128i)(x), (__m128i)(w)))
#else
// The low and high halves of each lane, as signed numbers.
#define TZ_PAIRS_DOT(x, w) (((x) << 16 >> 16) * ((w) << 16 >> 16) + ((x) >> 16) * ((w) >> 16))
#endif
#include "int8.inc.h"
