// The transform of the taps, in double precision since it happens once, and the tables by instruction set.
#include "CToeplitzKernels.h"

static const double g2[5 * 2] = {2, 0, 1, 1, -1.0 / 3, 1.0 / 3, -8.0 / 3, -4.0 / 3, 0, 1};
static const double g3[6 * 3] = {
  2,          0,          0,         2.0 / 3,  2.0 / 3,   2.0 / 3,  -2.0 / 3, 2.0 / 3, -2.0 / 3,
  -32.0 / 15, -16.0 / 15, -8.0 / 15, 1.0 / 15, -2.0 / 15, 4.0 / 15, 0,        0,       2,
};
static const double g4[7 * 4] = {
  2,         0,         0,         0,        -4.0 / 9,    -4.0 / 9,  -4.0 / 9,   -4.0 / 9,  4.0 / 3, -4.0 / 3,
  4.0 / 3,   -4.0 / 3,  1.0 / 30,  1.0 / 15, 2.0 / 15,    4.0 / 15,  -1.0 / 18,  1.0 / 9,   -2.0 / 9, 4.0 / 9,
  -128.0 / 45, 64.0 / 45, -32.0 / 45, 16.0 / 45, 0,       0,         0,          4,
};
static const double g2x3[4 * 3] = {1, 0, 0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0, 0, 1};
static const double g3x2[4 * 2] = {1, 0, 0.5, 0.5, 0.5, -0.5, 0, 1};

const double *tz_toom_taps(tz_toom kind) {
  switch (kind) {
    case TZ_TOOM_2: return g2;
    case TZ_TOOM_4: return g4;
    case TZ_TOOM_2X3: return g2x3;
    case TZ_TOOM_3X2: return g3x2;
    default: return g3;
  }
}

const tz_toom_table *tz_toom_table_baseline(void);
#if defined(__x86_64__)
const tz_toom_table *tz_toom_table_avx2(void);
const tz_toom_table *tz_toom_table_avx512(void);
#endif

const tz_toom_table *tz_toom_kernels(tz_isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case TZ_ISA_AVX512: return tz_toom_table_avx512();
    case TZ_ISA_AVX2: return tz_toom_table_avx2();
#endif
    default: return tz_toom_table_baseline();
  }
}
