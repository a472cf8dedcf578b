#ifndef TZ_CONV_COMMON_H
#define TZ_CONV_COMMON_H

#include "../base/target.h"
#include "CToeplitzKernels.h"

// Smallest q with q * b >= a, for b > 0 and any sign of a. Steps mostly are small powers of two, and dividing would take
// longer than to store a short row.
TZ_INLINE ptrdiff_t tz_ceil_div(ptrdiff_t a, ptrdiff_t b) {
  if (b <= 64 && (b & (b - 1)) == 0) return (a >> __builtin_ctzll((uint64_t)b)) + ((a & (b - 1)) != 0);
  return a > 0 ? (a - 1) / b + 1 : -((-a) / b);
}

TZ_INLINE const void *tz_forward(const void *p, ptrdiff_t bytes) { return p ? (const char *)p + bytes : p; }

// Goes to the next of rows that are computed one by one.
TZ_INLINE void tz_conv_advance(tz_conv_tile *tile, tz_conv_output *out, const tz_conv_planes *p) {
  tile->w = tz_forward(tile->w, p->weights * p->element);
  tile->start = tz_forward(tile->start, p->start * p->element);
  out->y = (void *)tz_forward(out->y, p->output * p->stored);
  for (int r = 0; r < 2; r++) out->residual[r] = tz_forward(out->residual[r], p->output * p->stored);
}

// Input index of panel position j. Positions past the last output of a huge stride wrap around: their values are
// never read into a result.
TZ_INLINE ptrdiff_t tz_pack_index(const tz_pack_axis *a, ptrdiff_t j, ptrdiff_t phase) {
  return (ptrdiff_t)((size_t)(a->first + j) * (size_t)a->step + (size_t)phase);
}

// The panel positions [from, to) of a phase that lie within the input.
typedef struct {
  ptrdiff_t from, to;
} tz_range;

TZ_INLINE tz_range tz_pack_range(const tz_pack_axis *a, ptrdiff_t phase) {
  const ptrdiff_t n = a->count;
  const ptrdiff_t from = tz_ceil_div(-phase, a->step) - a->first, to = tz_ceil_div(a->size - phase, a->step) - a->first;
  tz_range range;
  range.from = from < 0 ? 0 : from > n ? n : from;
  range.to = to < range.from ? range.from : to > n ? n : to;
  return range;
}

// Where position i of a padded axis reads its value, or -1 for a zero. Geometry has checked that reflecting or
// wrapping once is enough.
TZ_INLINE ptrdiff_t tz_pad_index(ptrdiff_t i, ptrdiff_t size, int mode) {
  if (i >= 0 && i < size) return i;
  // A panel may reach further than any output needs (whole vectors): such positions are never read into a
  // result, but must stay inside the input.
  ptrdiff_t at;
  switch (mode) {
    case TZ_PAD_REFLECT: at = i < -size ? 0 : i < 0 ? -i : 2 * size - 2 - i; break;
    case TZ_PAD_REPLICATE: at = i < 0 ? 0 : size - 1; break;
    case TZ_PAD_CIRCULAR: at = i < 0 ? i + size : i - size; break;
    default: return -1;
  }
  return at < 0 ? 0 : at >= size ? size - 1 : at;
}

#endif
