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

// G, [points][taps].
static const double *matrix(tz_toom kind) {
  switch (kind) {
    case TZ_TOOM_2: return g2;
    case TZ_TOOM_4: return g4;
    case TZ_TOOM_2X3: return g2x3;
    case TZ_TOOM_3X2: return g3x2;
    default: return g3;
  }
}

static double tap(const void *from, ptrdiff_t place) {
  float value;
  __builtin_memcpy(&value, (const char *)from + place, sizeof(value));
  return value;
}

void tz_toom_transform_taps(const tz_toom_taps *t, const void *from, float *to) {
  const double *g = matrix(t->kind);
  const ptrdiff_t n = t->points, r = t->taps;
  if (t->kind < TZ_TOOM_LINES) {
    for (ptrdiff_t first = 0; first < t->count; first += r, to += t->piece) {
      const ptrdiff_t left = t->count - first, taps = left < r ? left : r;
      for (ptrdiff_t p = 0; p < n; p++) {
        // Infinity, whose weight is the last tap.
        if (p == n - 1 && taps < r) continue;
        double sum = 0;
        for (ptrdiff_t k = 0; k < taps; k++) sum += g[p * r + k] * tap(from, t->places[first + k]);
        to[p == n - 1 ? t->last : p * t->point] = (float)sum;
      }
    }
    return;
  }
  // Along w, then along h.
  double between[6][3];
  for (ptrdiff_t i = 0; i < r; i++)
    for (ptrdiff_t q = 0; q < n; q++) {
      double sum = 0;
      for (ptrdiff_t k = 0; k < r; k++) sum += g[q * r + k] * tap(from, t->places[i * r + k]);
      between[q][i] = sum;
    }
  for (ptrdiff_t p = 0; p < n; p++)
    for (ptrdiff_t q = 0; q < n; q++) {
      double sum = 0;
      for (ptrdiff_t i = 0; i < r; i++) sum += g[p * r + i] * between[q][i];
      to[(p * n + q) * t->point] = (float)sum;
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
