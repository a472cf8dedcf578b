// Toom-Cook transforms of float32 on one instruction set: F(4, r), four outputs of a correlation with r taps from
// n = 4 + r - 1 products instead of 4 r. Squares of transforms, known as Winograd's, are in toom_square.inc.h.
// The including file has defined LANES, VEC, VECU, NAME and zip_ of float (conv.inc.h).
//
//     y = A [(G g) * (B d)]     A: 4 x n, G: n x r, B: n x n,  for n inputs d and r taps g
//
// S. Winograd, Arithmetic Complexity of Computations (1980); A. Lavin and S. Gray, arXiv:1509.09308. The points beside
// infinity are 0, 1, -1, 1/2 (r = 2); 0, 1, -1, 1/2, -2 (r = 3); 0, 1, -1, 2, -2, -1/2 (r = 4): of the small fractions
// those whose rounding errors were least. Rows of B are scaled by powers of two to the size of the inputs.

// o = sum over j of row[j] * d[j]; zeros of the row, known when this is compiled, cost nothing.
TZ_INLINE VEC NAME(combine_)(const float *row, const VEC *d, const int n) {
  VEC sum = (VEC)(0.0f);
  bool begun = false;
  TZ_UNROLL for (int j = 0; j < n; j++) {
    if (row[j] == 0) continue;
    if (begun) sum += row[j] * d[j];
    else sum = row[j] == 1 ? d[j] : row[j] * d[j];
    begun = true;
  }
  return sum;
}

#define TZ_TOOM(R, N)                                                                                        \
  static void NAME(toom_input_##R##_)(const tz_toom_input *t) {                                              \
    for (ptrdiff_t f = 0; f < t->columns; f += LANES) {                                                      \
      VEC d[N];                                                                                              \
      TZ_UNROLL for (int j = 0; j < N; j++) d[j] = *(const VECU *)(t->planes + t->offsets[j] + f);           \
      TZ_UNROLL for (int p = 0; p < N; p++)                                                                  \
        *(VECU *)(t->x + p * t->point + f) = NAME(combine_)(tz_toom_b##R[p], d, N);                          \
    }                                                                                                        \
  }                                                                                                          \
  static bool NAME(toom_output_##R##_)(const tz_toom_output *t) {                                            \
    VEC strange = (VEC)(0.0f);                                                                               \
    for (int r = 0; r < t->rows; r++)                                                                        \
      /* From the end on: columns past the last one lie where the next outputs of the first ones go. */       \
      for (int v = t->vectors - 1; v >= 0; v--) {                                                            \
        const float *from = t->y + (r * t->vectors + v) * LANES;                                             \
        VEC y[N], o[4];                                                                                      \
        TZ_UNROLL for (int p = 0; p < N; p++) y[p] = *(const VECU *)(from + p * t->point);                   \
        TZ_UNROLL for (int i = 0; i < 4; i++) {                                                              \
          o[i] = NAME(combine_)(tz_toom_a##R[i], y, N) + (VEC)(t->start[r]);                                 \
          strange += o[i] - o[i];                                                                            \
        }                                                                                                    \
        const bool zips = t->image == 0;                                                                     \
        if (zips) NAME(zip_)(o, 4);                                                                          \
        float *to = t->sums + r * t->row + v * (zips ? 4 * LANES : LANES);                                   \
        TZ_UNROLL for (int i = 0; i < 4; i++) *(VECU *)(to + i * (zips ? LANES : t->image)) = o[i];          \
      }                                                                                                      \
    return NAME(all_zero_)(strange);                                                                         \
  }

// Infinities and NaN minus themselves are NaN.
TZ_INLINE bool NAME(all_zero_)(VEC v) {
  for (int i = 0; i < LANES; i++)
    if (v[i] != 0) return false;
  return true;
}

TZ_TOOM(2, 5)
TZ_TOOM(3, 6)
TZ_TOOM(4, 7)

#include "toom_square.inc.h"

static const tz_toom_table NAME(toom_) = {
  .input = {NAME(toom_input_2_), NAME(toom_input_3_), NAME(toom_input_4_)},
  .output = {NAME(toom_output_2_), NAME(toom_output_3_), NAME(toom_output_4_)},
  .image = {NAME(toom_image_4x3_), NAME(toom_image_2x3_), NAME(toom_image_3x2_)},
  .small = TZ_SMALL,
  .square = {NAME(toom_square_4x3_), NAME(toom_square_2x3_), NAME(toom_square_3x2_)},
  .turned = {NAME(toom_turned_4x3_), NAME(toom_turned_2x3_), NAME(toom_turned_3x2_)},
};
const tz_toom_table *TZ_JOIN(tz_toom_table_, TZ_ISA)(void) { return &NAME(toom_); }
#undef TZ_TOOM
#undef TZ_SMALL
