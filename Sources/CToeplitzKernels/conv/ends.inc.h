// Both ends of a convolution: panels from inputs, outputs from sums. The including file (conv.inc.h) defines besides
//   S    the type of the elements in memory        END  gives functions their names
// and, where S is not T but 16 bits that are widened to it and rounded from it (TZ_HALF), TZ_WIDEN and TZ_NARROW.

// ---- Elements in memory as vectors ---------------------------------------------------------------------------

#if defined(TZ_HALF)
TZ_INLINE VEC END(get_)(const S *x) { return TZ_WIDEN(*(const NAME(halfu_) *)x); }
TZ_INLINE void END(put_)(S *y, VEC value) { *(NAME(halfu_) *)y = TZ_NARROW(value); }
TZ_INLINE T END(get_one_)(const S *x) { return TZ_WIDEN((NAME(half_))(*x))[0]; }
TZ_INLINE void END(put_one_)(S *y, T value) { *y = TZ_NARROW((VEC)(value))[0]; }
#else
TZ_INLINE VEC END(get_)(const S *x) { return *(const VECU *)x; }
TZ_INLINE void END(put_)(S *y, VEC value) { *(VECU *)y = value; }
TZ_INLINE T END(get_one_)(const S *x) { return *x; }
TZ_INLINE void END(put_one_)(S *y, T value) { *y = value; }
#endif

// get_range_ and put_range_: lanes [from, to) of a vector in memory; reading gives zeros for the others. get_part_ and
// put_part_: its first 0 < n < LANES. A mask where there is one, else pieces of constant size: a call of memcpy would take
// longer than what is copied.
#if defined(TZ_MASKS512) || (defined(TZ_MASKS256) && !defined(TZ_HALF))
#if defined(TZ_MASKS512)
typedef __mmask16 END(mask_);
TZ_INLINE END(mask_) END(mask_range_)(ptrdiff_t from, ptrdiff_t to) {
  const ptrdiff_t words = sizeof(S) < 4 ? 1 : sizeof(S) / 4;
  return (END(mask_))(((1u << to * words) - 1) & ~((1u << from * words) - 1));
}
#if defined(TZ_HALF)
TZ_INLINE VEC END(get_masked_)(END(mask_) mask, const S *x) {
  return TZ_WIDEN(__builtin_bit_cast(NAME(half_), _mm256_maskz_loadu_epi16(mask, x)));
}
TZ_INLINE void END(put_masked_)(END(mask_) mask, S *y, VEC value) {
  _mm256_mask_storeu_epi16(y, mask, __builtin_bit_cast(__m256i, TZ_NARROW(value)));
}
#else
TZ_INLINE VEC END(get_masked_)(END(mask_) mask, const S *x) {
  return __builtin_bit_cast(VEC, _mm512_maskz_loadu_epi32(mask, x));
}
TZ_INLINE void END(put_masked_)(END(mask_) mask, S *y, VEC value) {
  _mm512_mask_storeu_epi32(y, mask, __builtin_bit_cast(__m512i, value));
}
#endif
#else
typedef __m256i END(mask_);
TZ_INLINE END(mask_) END(mask_range_)(ptrdiff_t from, ptrdiff_t to) {
  const ptrdiff_t words = sizeof(S) / 4;
  return _mm256_andnot_si256(_mm256_loadu_si256((const __m256i *)(tz_mask_words + 8 - from * words)),
                             _mm256_loadu_si256((const __m256i *)(tz_mask_words + 8 - to * words)));
}
TZ_INLINE VEC END(get_masked_)(END(mask_) mask, const S *x) {
  return __builtin_bit_cast(VEC, _mm256_maskload_epi32((const int *)x, mask));
}
TZ_INLINE void END(put_masked_)(END(mask_) mask, S *y, VEC value) {
  _mm256_maskstore_epi32((int *)y, mask, __builtin_bit_cast(__m256i, value));
}
#endif
TZ_INLINE VEC END(get_range_)(const S *x, ptrdiff_t from, ptrdiff_t to) {
  return END(get_masked_)(END(mask_range_)(from, to), x);
}
TZ_INLINE void END(put_range_)(S *y, VEC value, ptrdiff_t from, ptrdiff_t to) {
  END(put_masked_)(END(mask_range_)(from, to), y, value);
}
TZ_INLINE VEC END(get_part_)(const S *x, ptrdiff_t n) { return END(get_range_)(x, 0, n); }
TZ_INLINE void END(put_part_)(S *y, VEC value, ptrdiff_t n) { END(put_range_)(y, value, 0, n); }
#else
TZ_INLINE void END(put_part_)(S *y, VEC value, ptrdiff_t n) {
  S part[LANES];
  END(put_)(part, value);
  ptrdiff_t done = 0;
  TZ_UNROLL for (int piece = LANES / 2; piece > 0; piece /= 2)
    if (n & piece) {
      __builtin_memcpy(y + done, part + done, piece * sizeof(S));
      done += piece;
    }
}
TZ_INLINE VEC END(get_part_)(const S *x, ptrdiff_t n) {
  S part[LANES] = {0};
  ptrdiff_t done = 0;
  TZ_UNROLL for (int piece = LANES / 2; piece > 0; piece /= 2)
    if (n & piece) {
      __builtin_memcpy(part + done, x + done, piece * sizeof(S));
      done += piece;
    }
  return END(get_)(part);
}
TZ_INLINE VEC END(get_range_)(const S *x, ptrdiff_t from, ptrdiff_t to) {
  S part[LANES] = {0};
  for (ptrdiff_t i = from; i < to; i++) part[i] = x[i];
  return END(get_)(part);
}
TZ_INLINE void END(put_range_)(S *y, VEC value, ptrdiff_t from, ptrdiff_t to) {
  S part[LANES];
  END(put_)(part, value);
  for (ptrdiff_t i = from; i < to; i++) y[i] = part[i];
}
#endif

// Values below zero times `slope`, which mostly is 1.
TZ_INLINE VEC END(rectify_)(VEC value, T slope) { return slope == (T)1 ? value : NAME(leaky_)(value, slope); }

#if TZ_LANES >= 4
// Vectors of the four elements at x, x + hop, ....
#if defined(TZ_HALF)
typedef S END(quad_) __attribute__((ext_vector_type(4), aligned(sizeof(S))));
#endif
#define TZ_QUAD(i) (*(const END(quad_) *)(x + (i) * hop))
#define TZ_EIGHT(i) __builtin_shufflevector(TZ_QUAD(i), TZ_QUAD((i) + 1), 0, 1, 2, 3, 4, 5, 6, 7)
TZ_INLINE VEC END(get_quads_)(const S *x, ptrdiff_t hop) {
#if TZ_LANES == 16
  const __typeof__(TZ_EIGHT(0)) low = TZ_EIGHT(0), high = TZ_EIGHT(2);
  typedef S all_ __attribute__((ext_vector_type(16)));
  const all_ value = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#elif TZ_LANES == 8
  typedef S all_ __attribute__((ext_vector_type(8)));
  const all_ value = TZ_EIGHT(0);
#else
  typedef S all_ __attribute__((ext_vector_type(4)));
  const all_ value = TZ_QUAD(0);
#endif
#if defined(TZ_HALF)
  return TZ_WIDEN(value);
#else
  return value;
#endif
}
#undef TZ_QUAD
#undef TZ_EIGHT
#endif

// Every `hop`th (2 or 4) of the elements from `from` on, n of them. Reads no further than the last of them, writes whole
// vectors; what lies `far` elements ahead comes nearer.
TZ_INLINE void END(unzip_)(T *to, const S *from, ptrdiff_t n, const int hop, T slope, ptrdiff_t far) {
  for (ptrdiff_t j = 0; j < n; j += LANES) {
    const ptrdiff_t left = (n - j - 1) * hop + 1;
    VEC a[4];
    TZ_UNROLL for (int i = 0; i < hop; i++) {
      const ptrdiff_t more = left - i * LANES;
      const S *at = from + hop * j + i * LANES;
      __builtin_prefetch(at + far, 0, 3);
      a[i] = more >= LANES ? END(get_)(at) : more > 0 ? END(get_part_)(at, more) : (VEC)((T)0);
    }
    if (hop == 4) {
      a[0] = TZ_EVEN(a[0], a[1]);
      a[1] = TZ_EVEN(a[2], a[3]);
    }
    *(VECU *)(to + j) = END(rectify_)(TZ_EVEN(a[0], a[1]), slope);
  }
}

// ---- Stores -------------------------------------------------------------------------------------------------

// The end of a sum: residuals, scale, slope, ceiling. `at` is the offset from out->y.
TZ_INLINE T END(finish_)(const tz_conv_output *out, T value, ptrdiff_t at) {
  if (out->residual[0]) value += END(get_one_)((const S *)out->residual[0] + at);
  if (out->residual[1]) value += END(get_one_)((const S *)out->residual[1] + at);
  value *= (T)out->scale;
  value = NAME(leaky_one_)(value, (T)out->slope);
  return out->bounded && value > (T)out->ceiling ? (T)out->ceiling : value;
}

// The activation of results that will be rounded: it takes what has not been.
TZ_INLINE VEC END(activate_vector_)(const tz_conv_output *out, VEC value) {
#if defined(TZ_HALF)
  T part[LANES];
  if (out->activation) {
    *(VECU *)part = value;
    NAME(activate_)(out, part, LANES);
    value = *(const VECU *)part;
  }
#else
  (void)out;
#endif
  return value;
}

// What follows the residuals.
TZ_INLINE VEC END(shape_)(const tz_conv_output *out, VEC value) {
  if (out->scale != 1) value *= (T)out->scale;
  if (out->slope != 1) value = NAME(leaky_)(value, (T)out->slope);
  if (out->bounded) value = value > (T)out->ceiling ? (VEC)((T)out->ceiling) : value;
  return END(activate_vector_)(out, value);
}

// The activation of n neighbouring outputs that have just been written.
TZ_INLINE void END(activate_written_)(const tz_conv_output *out, S *y, ptrdiff_t n) {
#if defined(TZ_HALF)
  (void)out, (void)y, (void)n;
#else
  NAME(activate_)(out, y, n);
#endif
}

// Whether sums are results as they are (of numbers that are not rounded the activation comes after the store).
TZ_INLINE bool END(is_plain_)(const tz_conv_output *out) {
#if defined(TZ_HALF)
  if (out->activation) return false;
#endif
  return !out->residual[0] && !out->residual[1] && out->scale == 1 && out->slope == 1 && !out->bounded;
}

TZ_INLINE VEC END(finish_vector_)(const tz_conv_output *out, VEC value, ptrdiff_t at) {
  if (out->residual[0]) value += END(get_)((const S *)out->residual[0] + at);
  if (out->residual[1]) value += END(get_)((const S *)out->residual[1] + at);
  return END(shape_)(out, value);
}

// Finishes and writes lanes [from, to) of a vector of sums, of which lane 0 belongs to `at`.
TZ_INLINE void END(finish_range_)(const tz_conv_output *out, VEC value, ptrdiff_t from, ptrdiff_t to, ptrdiff_t at) {
  if (out->residual[0]) value += END(get_range_)((const S *)out->residual[0] + at, from, to);
  if (out->residual[1]) value += END(get_range_)((const S *)out->residual[1] + at, from, to);
  END(put_range_)((S *)out->y + at, END(shape_)(out, value), from, to);
}

// Finishes and writes the first n < LANES of a vector of sums.
TZ_INLINE void END(finish_part_)(const tz_conv_output *out, VEC value, ptrdiff_t n, ptrdiff_t at) {
  if (out->residual[0]) value += END(get_part_)((const S *)out->residual[0] + at, n);
  if (out->residual[1]) value += END(get_part_)((const S *)out->residual[1] + at, n);
  END(put_part_)((S *)out->y + at, END(shape_)(out, value), n);
}

// n neighbouring outputs from `at` on. Like the next functions it works with its own copy of what an output is: for all the
// compiler knows, each store might change the original.
static void END(store_line_)(const tz_conv_output *output, const T *a, ptrdiff_t n, ptrdiff_t at) {
  const tz_conv_output own = *output, *const out = &own;
  S *y = (S *)out->y + at;
  ptrdiff_t i = 0;
  // Asked once: a line may be a few vectors long.
  if (END(is_plain_)(out)) {
    for (; i + LANES <= n; i += LANES) {
      NAME(near_output_)(y + i);
      END(put_)(y + i, *(const VECU *)(a + i));
    }
    if (i < n) END(put_part_)(y + i, *(const VECU *)(a + i), n - i);
    END(activate_written_)(out, y, n);
    return;
  }
  const ptrdiff_t next = out->channel;
  for (; i + LANES <= n; i += LANES) {
    NAME(near_output_)(y + i);
    if (out->residual[0]) __builtin_prefetch((const S *)out->residual[0] + at + i + next, 0, 3);
    if (out->residual[1]) __builtin_prefetch((const S *)out->residual[1] + at + i + next, 0, 3);
    END(put_)(y + i, END(finish_vector_)(out, *(const VECU *)(a + i), at + i));
  }
  if (i < n) END(finish_part_)(out, *(const VECU *)(a + i), n - i, at + i);
  END(activate_written_)(out, y, n);
}

// One row of n sums to outputs at, at + step, ....
static void END(store_row_)(const tz_conv_output *out, const T *a, ptrdiff_t n, ptrdiff_t at, ptrdiff_t step) {
  if (step == 1) {
    END(store_line_)(out, a, n, at);
    return;
  }
  S *y = (S *)out->y + at;
  // In pieces, which an activation finds side by side.
  T piece[64];
  for (ptrdiff_t first = 0; first < n; first += 64) {
    const ptrdiff_t count = n - first < 64 ? n - first : 64;
    for (ptrdiff_t i = 0; i < count; i++) piece[i] = END(finish_)(out, a[first + i], at + (first + i) * step);
    NAME(activate_)(out, piece, count);
    for (ptrdiff_t i = 0; i < count; i++) END(put_one_)(y + (first + i) * step, piece[i]);
  }
}

// `count` rows of sums to outputs at + i * count + r, those of them that lie inside.
TZ_INLINE void END(store_zipped_)(const tz_conv_output *output, const T *acc, ptrdiff_t pitch, tz_range inside, ptrdiff_t at,
                                  const int count) {
  const tz_conv_output own = *output, *const out = &own;
  // Whole vectors of sums from the one that holds the first.
  for (ptrdiff_t i = inside.from / count; i * count < inside.to; i += LANES) {
    VEC a[8];
    TZ_UNROLL for (int r = 0; r < count; r++) a[r] = *(const VECU *)(acc + r * pitch + i);
    NAME(zip_)(a, count);
    TZ_UNROLL for (int j = 0; j < count; j++) {
      const ptrdiff_t first = i * count + j * LANES, from = inside.from - first, to = inside.to - first;
      if (from <= 0 && to >= LANES) {
        NAME(near_output_)((S *)out->y + at + first);
        END(put_)((S *)out->y + at + first, END(finish_vector_)(out, a[j], at + first));
      } else if (from < LANES && to > 0) {
        END(finish_range_)(out, a[j], from > 0 ? from : 0, to < LANES ? to : LANES, at + first);
      }
    }
  }
}

// The same for any number of rows up to TZ_MOST_TOGETHER.
static void END(store_interleaved_)(const tz_conv_output *out, const T *acc, ptrdiff_t pitch, tz_range inside, ptrdiff_t at,
                                    int count) {
  if (count == 2 || count == 4 || count == 8) {
    if (count == 2) END(store_zipped_)(out, acc, pitch, inside, at, 2);
    else if (count == 4) END(store_zipped_)(out, acc, pitch, inside, at, 4);
    else END(store_zipped_)(out, acc, pitch, inside, at, 8);
    END(activate_written_)(out, (S *)out->y + at + inside.from, inside.to - inside.from);
    return;
  }
  // In pieces that lie in the nearest cache.
  T line[LANES * TZ_MOST_TOGETHER + 4];
  for (ptrdiff_t i = inside.from / count; i * count < inside.to; i += LANES) {
    const ptrdiff_t first = i * count, from = inside.from > first ? inside.from - first : 0;
    const ptrdiff_t to = inside.to - first < LANES * count ? inside.to - first : LANES * count;
    NAME(weave_rows_)(acc + i, pitch, line, count);
    END(store_line_)(out, line + from, to - from, at + first + from);
  }
}

// A run of n neighbouring positions from (d, h, w) on, all rows.
static void END(store_run_)(const tz_conv_output *out, const T *acc, ptrdiff_t pitch, int first_row, int rows, ptrdiff_t d,
                            ptrdiff_t h, ptrdiff_t w, ptrdiff_t n) {
  const ptrdiff_t step = out->step[2], start = w * step - out->shift[2];
  const bool zips = out->wide == step && step > 1 && step <= TZ_MOST_TOGETHER && out->stride[2] == 1;
  // Counted along: dividing would take longer than to store a short row.
  ptrdiff_t channel = first_row / out->phase_count * out->channel;
  int phase = first_row % out->phase_count;
  // Which results lie inside, of all phases together, and of single ones; without steps all rows have the same.
  tz_range inside = {0, 0};
  if (zips) {
    const ptrdiff_t left = out->size[2] - start;
    inside.from = start < 0 ? -start : 0;
    inside.to = left < n * step ? left : n * step;
  }
  ptrdiff_t first = 0, last = 0;
  if (step == 1) NAME(inside_)(out, w, n, out->phases[0][2], &first, &last);
  for (int r = 0; r < rows;) {
    const int32_t *f = out->phases[phase];
    const ptrdiff_t od = d * out->step[0] + f[0] - out->shift[0], oh = h * out->step[1] + f[1] - out->shift[1];
    const int together = zips && phase % out->wide == 0 && r + out->wide <= rows ? out->wide : 1;
    if (od >= 0 && od < out->size[0] && oh >= 0 && oh < out->size[1]) {
      const T *a = acc + r * pitch;
      const ptrdiff_t line = channel + od * out->stride[0] + oh * out->stride[1];
      if (together > 1) {
        if (inside.from < inside.to) END(store_interleaved_)(out, a, pitch, inside, line + start, together);
      } else {
        if (step > 1) NAME(inside_)(out, w, n, f[2], &first, &last);
        if (first < last)
          END(store_row_)(out, a + first, last - first, line + (start + first * step + f[2]) * out->stride[2],
                          step * out->stride[2]);
      }
    }
    r += together;
    phase += together;
    if (phase == out->phase_count) phase = 0, channel += out->channel;
  }
}

// ---- Single rows: panel to output without partial sums ---------------------------------------------------

// `rows` rows of n outputs in nv vectors. Where a row fills a vector the last one ends at the row's end and computes
// some outputs a second time; else the only one is partial.
TZ_INLINE void END(plane_run_)(const tz_conv_tile *t, const tz_conv_output *out, const T *x, ptrdiff_t pitch,
                                ptrdiff_t at, ptrdiff_t n, const int rows, const int nv) {
  VEC acc[8][8];
  const ptrdiff_t last = n >= LANES ? n - LANES : 0;
  TZ_UNROLL for (int r = 0; r < rows; r++)
    TZ_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = (VEC)(*(const T *)t->start);
  const T *w = (const T *)t->w;
  for (int c = 0; c < t->channels; c++, x += t->xs)
    for (int k = 0; k < t->taps; k++) {
      const VEC s = (VEC)(*w++);
      const T *xk = x + t->toff[k];
      TZ_UNROLL for (int r = 0; r < rows; r++, xk += pitch) {
        TZ_UNROLL for (int v = 0; v < nv - 1; v++) acc[r][v] += s * *(const VECU *)(xk + v * LANES);
        acc[r][nv - 1] += s * *(const VECU *)(xk + last);
      }
    }
  const bool whole = n >= LANES;
  TZ_UNROLL for (int r = 0; r < rows; r++, at += out->stride[1]) {
    S *y = (S *)out->y + at;
    TZ_UNROLL for (int v = 0; v < nv - 1; v++)
      END(put_)(y + v * LANES, END(finish_vector_)(out, acc[r][v], at + v * LANES));
    if (whole) {
      END(put_)(y + last, END(finish_vector_)(out, acc[r][nv - 1], at + last));
    } else {
      END(finish_part_)(out, acc[r][nv - 1], n, at);
    }
    END(activate_written_)(out, y, n);
  }
}

static void END(plane_)(const tz_conv_tile *t, const tz_conv_output *out, const tz_conv_area *area) {
  const ptrdiff_t origin = NAME(plane_origin_)(out, area);
  const ptrdiff_t pitch = area->pitch;
  for (ptrdiff_t w = 0; w < area->width; w += 8 * LANES) {
    const ptrdiff_t left = area->width - w, n = left < 8 * LANES ? left : 8 * LANES;
    const T *x = (const T *)t->x + w;
    ptrdiff_t at = origin + w, h = 0;
    // Several rows at a time where one alone would leave the multipliers waiting.
#define TZ_PLANE(ROWS, V)                                                                     \
  for (; h + ROWS <= area->height; h += ROWS, x += ROWS * pitch, at += ROWS * out->stride[1]) \
    END(plane_run_)(t, out, x, pitch, at, n, ROWS, V);
    switch ((n + LANES - 1) / LANES) {
      case 1: TZ_PLANE(8, 1) TZ_PLANE(7, 1) TZ_PLANE(6, 1) TZ_PLANE(4, 1) TZ_PLANE(2, 1) TZ_PLANE(1, 1) break;
      case 2: TZ_PLANE(4, 2) TZ_PLANE(2, 2) TZ_PLANE(1, 2) break;
      case 3: TZ_PLANE(2, 3) TZ_PLANE(1, 3) break;
      case 4: TZ_PLANE(2, 4) TZ_PLANE(1, 4) break;
      case 5: TZ_PLANE(1, 5) break;
      case 6: TZ_PLANE(1, 6) break;
      case 7: TZ_PLANE(1, 7) break;
      default: TZ_PLANE(1, 8) break;
    }
#undef TZ_PLANE
  }
}

#include "line.inc.h"

// Vectors of eight words have no masked loads of 16 bits.
#if defined(TZ_FLOAT32) && (defined(TZ_MASKS512) || (defined(TZ_MASKS256) && !defined(TZ_HALF)))
#include "image.inc.h"
#define TZ_IMAGES {{END(image_3_1_), END(image_3_2_)}, {END(image_5_1_), END(image_5_2_)}, {END(image_7_1_), END(image_7_2_)}}
#else
#define TZ_IMAGES {{NULL}}
#endif

static void END(store_)(const tz_conv_output *out, const tz_conv_area *area, const void *acc, ptrdiff_t acc_pitch,
                         ptrdiff_t column, ptrdiff_t count, int32_t first_row, int32_t rows) {
  ptrdiff_t at = column, end = (area->height - 1) * area->pitch + area->width;
  if (end > column + count) end = column + count;
  // Without phases a position is an output, and all positions of an area lie inside.
  const bool simple = out->phase_count == 1 && out->step[0] == 1 && out->step[1] == 1 && out->step[2] == 1;
  const ptrdiff_t origin = first_row * out->channel + (area->first[0] - out->shift[0]) * out->stride[0] +
                           (area->first[1] - out->shift[1]) * out->stride[1] +
                           (area->first[2] - out->shift[2]) * out->stride[2];
  ptrdiff_t h = at / area->pitch, w = at % area->pitch;
  for (; at < end; h++, w = 0) {
    ptrdiff_t n = area->width - w;
    if (n > end - at) n = end - at;
    if (n > 0 && simple) {
      const ptrdiff_t line = origin + h * out->stride[1] + w * out->stride[2];
      if (n == 1 && out->channel == 1 && rows <= TZ_MOST_ROWS) {
        // Channels of one position each are neighbours.
        T together[TZ_MOST_ROWS + LANES];
        for (int r = 0; r < rows; r++) together[r] = ((const T *)acc)[r * acc_pitch + (at - column)];
        END(store_line_)(out, together, rows, line);
        at = (h + 1) * area->pitch;
        continue;
      }
      for (int r = 0; r < rows; r++)
        END(store_row_)(out, (const T *)acc + r * acc_pitch + (at - column), n, line + r * out->channel, out->stride[2]);
    } else if (n > 0)
      END(store_run_)(out, (const T *)acc + (at - column), acc_pitch, first_row, rows, area->first[0], area->first[1] + h,
                       area->first[2] + w, n);
    at = (h + 1) * area->pitch;
  }
}

// One row of a panel: count positions that hold input (first + j) * step + phase. Whole vectors are written where that is
// simpler: rows are packed in order, so what is too much is written again, or lies in the slack behind the panel. What lies
// `far` elements ahead comes nearer.
TZ_INLINE void END(pack_row_)(const S *x, T *out, const tz_pack_axis *a, ptrdiff_t phase, tz_range range, int mode,
                               T slope, ptrdiff_t far) {
  const ptrdiff_t size = a->size, step = a->step, n = a->count, inside = range.from, outside = range.to;
  const ptrdiff_t m = outside - inside;
  // A single position needs no distance, and with a huge step has none.
  const ptrdiff_t hop = m == 1 ? 1 : step * a->stride;
  const S *from = m == 0 ? x : x + tz_pack_index(a, inside, phase) * a->stride;
  T *to = out + inside;
  if (mode == TZ_PAD_ZEROS) {
    NAME(clear_)(out, inside);
    ptrdiff_t done = 0;
    if (hop == 1) {
      for (; done < m; done += LANES) {
        __builtin_prefetch(from + done + far, 0, 3);
        VEC value = m - done >= LANES ? END(get_)(from + done) : END(get_part_)(from + done, m - done);
        *(VECU *)(to + done) = END(rectify_)(value, slope);
      }
    } else if (hop == 2 || hop == 4) {
      if (hop == 2) END(unzip_)(to, from, m, 2, slope, far);
      else END(unzip_)(to, from, m, 4, slope, far);
      done = m;
    } else {
      for (; done < m; done++) to[done] = NAME(leaky_one_)(END(get_one_)(from + hop * done), slope);
    }
    NAME(clear_)(to + done, n - inside - done);
    return;
  }
  for (ptrdiff_t j = 0; j < m; j++) to[j] = NAME(leaky_one_)(END(get_one_)(from + hop * j), slope);
  for (ptrdiff_t j = 0; j < n; j++) {
    if (j == inside) j = outside;
    if (j >= n) break;
    T value = END(get_one_)(x + tz_pad_index(tz_pack_index(a, j, phase), size, mode) * a->stride);
    out[j] = NAME(leaky_one_)(value, slope);
  }
}

// `rows` rows of n positions of which [from, to) hold input, neighbours in memory, the others zeros.
TZ_INLINE void END(pack_rows_)(const S *x, ptrdiff_t x_row, T *out, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t n,
                                tz_range range, T slope, ptrdiff_t far) {
  const ptrdiff_t last = (n - 1) / LANES;
  x -= range.from;
  for (ptrdiff_t r = 0; r < rows; r++, x += x_row, out += row)
    for (ptrdiff_t v = 0; v <= last; v++) {
      const ptrdiff_t low = range.from - v * LANES, high = range.to - v * LANES;
      __builtin_prefetch(x + v * LANES + far, 0, 3);
      VEC value = low <= 0 && high >= LANES ? END(get_)(x + v * LANES)
                                            : END(get_range_)(x + v * LANES, low < 0 ? 0 : low < LANES ? low : LANES,
                                                               high > LANES ? LANES : high > 0 ? high : 0);
      *(VECU *)(out + v * LANES) = END(rectify_)(value, slope);
    }
}

#if TZ_LANES >= 4
// Whether pack_turned_ can take the phases of an axis: they follow one another.
TZ_INLINE bool END(turns_)(const tz_pack_axis *w, int mode) {
  if (mode != TZ_PAD_ZEROS || w->stride != 1 || w->step == 1 || w->phase_count < 3 || w->count < LANES) return false;
  for (int q = 1; q < w->phase_count; q++)
    if (w->phases[q] != w->phases[0] + q) return false;
  return true;
}

// The rows of all phases of an axis, `plane` elements apart, from the input's row x. What lies side by side in memory are
// phases of a position, so squares of four phases and four positions are turned round in registers.
static void END(pack_turned_)(const S *x, T *out, ptrdiff_t plane, const tz_pack_axis *w, T slope, ptrdiff_t far) {
  const int phases = w->phase_count, last = phases > 4 ? phases - 4 : 0;
  const ptrdiff_t first = w->phases[0], step = w->step;
  // Where all of them, and what is read beside three, lie inside.
  ptrdiff_t low = tz_pack_range(w, first).from, high = tz_pack_range(w, first + last + 3).to;
  if (high - low < LANES) low = high = w->count;
  for (ptrdiff_t j = low; j < high; j += LANES) {
    if (j > high - LANES) j = high - LANES;
    const S *from = x + tz_pack_index(w, j, first);
    for (int q = 0; q < phases; q += 4) {
      const int at = q < last ? q : last;
      VEC a[4];
      TZ_UNROLL for (int i = 0; i < 4; i++) {
        __builtin_prefetch(from + (q + i) * LANES + far, 0, 3);
        a[i] = END(get_quads_)(from + at + i * step, 4 * step);
      }
      NAME(turn_quads_)(a);
      TZ_UNROLL for (int i = 0; i < 4; i++)
        if (i < 3 || phases > 3) *(VECU *)(out + (at + i) * plane + j) = END(rectify_)(a[i], slope);
    }
  }
  // Between the ends of a sequence there is nothing left, and ranges of its phases would take divisions.
  if (low == 0 && high == w->count) return;
  for (int q = 0; q < phases; q++, out += plane) {
    const tz_range range = tz_pack_range(w, first + q);
    for (ptrdiff_t j = 0; j < w->count; j++) {
      if (j == low) j = high;
      if (j >= w->count) break;
      const bool inside = j >= range.from && j < range.to;
      out[j] = inside ? NAME(leaky_one_)(END(get_one_)(x + tz_pack_index(w, j, first + q)), slope) : (T)0;
    }
  }
}
#endif

static void END(pack_)(const tz_pack *p) {
  const tz_pack_axis *d = &p->axis[0], *h = &p->axis[1], *w = &p->axis[2];
  const T slope = (T)p->slope;
  // Whole rows that follow one another on both sides are one long row.
  tz_pack_axis line, once;
  ptrdiff_t row = p->panel_row;
  if (p->mode == TZ_PAD_ZEROS && h->count > 1 && h->phase_count == 1 && w->phase_count == 1 && h->step == 1 &&
      w->step == 1 && h->phases[0] == 0 && w->phases[0] == 0 && w->first == 0 && w->count == w->size &&
      p->panel_row == w->count && h->stride == w->size * w->stride) {
    line = *w;
    line.size = h->size * w->size;
    line.first = h->first * w->size;
    line.count = h->count * w->size;
    once = *h;
    once.size = once.count = 1;
    once.first = 0;
    row *= h->count;
    h = &once;
    w = &line;
  }
  // Computed once for all rows, unless there are very many phases.
  tz_range ranges[16];
  const bool known = w->phase_count <= 16;
  const bool simple = p->mode == TZ_PAD_ZEROS && w->step * w->stride == 1;
  for (int pw = 0; known && pw < w->phase_count; pw++) ranges[pw] = tz_pack_range(w, w->phases[pw]);
#if TZ_LANES >= 4
  const bool turns = END(turns_)(w, p->mode);
#endif
  // Rows of a channel are short and channels lie far apart, so nothing but this brings the next ones nearer.
  const ptrdiff_t far = 2 * p->x_channel;
  for (int c = 0; c < p->channels; c++) {
    const S *x = (const S *)p->x + c * p->x_channel;
    T *out = (T *)p->panel + c * p->panel_channel;
    for (int pd = 0; pd < d->phase_count; pd++)
      for (ptrdiff_t jd = 0; jd < d->count; jd++) {
        const ptrdiff_t id = tz_pad_index(tz_pack_index(d, jd, d->phases[pd]), d->size, p->mode);
        for (int ph = 0; ph < h->phase_count; ph++) {
#if TZ_LANES >= 4
          if (id >= 0 && turns) {
            for (ptrdiff_t jh = 0; jh < h->count; jh++) {
              const ptrdiff_t ih = tz_pad_index(tz_pack_index(h, jh, h->phases[ph]), h->size, p->mode);
              T *to = out + jh * row;
              if (ih >= 0) END(pack_turned_)(x + id * d->stride + ih * h->stride, to, h->count * row, w, slope, far);
              else
                for (int pw = 0; pw < w->phase_count; pw++, to += h->count * row)
                  for (ptrdiff_t j = 0; j < w->count; j++) to[j] = (T)0;
            }
            out += w->phase_count * h->count * row;
            continue;
          }
#endif
          for (int pw = 0; pw < w->phase_count; pw++) {
            const tz_range range = known ? ranges[pw] : tz_pack_range(w, w->phases[pw]);
            const S *plane = x + id * d->stride;
            if (simple && id >= 0) {
              const tz_range inside = tz_pack_range(h, h->phases[ph]);
              for (ptrdiff_t jh = 0; jh < inside.from; jh++, out += row) NAME(clear_)(out, w->count);
              const S *first = plane + tz_pack_index(h, inside.from, h->phases[ph]) * h->stride +
                               tz_pack_index(w, range.from, w->phases[pw]) * w->stride;
              const ptrdiff_t rows = inside.to - inside.from, hop = (ptrdiff_t)((size_t)h->step * (size_t)h->stride);
              if (rows > 0) END(pack_rows_)(first, hop, out, row, rows, w->count, range, slope, far);
              out += rows * row;
              for (ptrdiff_t jh = inside.to; jh < h->count; jh++, out += row) NAME(clear_)(out, w->count);
              continue;
            }
            for (ptrdiff_t jh = 0; jh < h->count; jh++, out += row) {
              const ptrdiff_t ih = tz_pad_index(tz_pack_index(h, jh, h->phases[ph]), h->size, p->mode);
              if (id < 0 || ih < 0) NAME(clear_)(out, w->count);
              else END(pack_row_)(plane + ih * h->stride, out, w, w->phases[pw], range, p->mode, slope, far);
            }
          }
        }
      }
  }
}

static const tz_conv_table END(table_) = {
  .lanes = TZ_BYTES / sizeof(T),
  .max_vectors8 = 3, .max_vectors4 = TZ_MAX4, .max_vectors1 = 8,
  .rows8 = {NAME(rows8_1_), NAME(rows8_2_), NAME(rows8_3_)},
  .rows4 = {NAME(rows4_1_), NAME(rows4_2_), NAME(rows4_3_),
#if TZ_MAX4 == 6
    NAME(rows4_4_), NAME(rows4_5_), NAME(rows4_6_),
#endif
  },
  .rows1 = {NAME(rows1_1_), NAME(rows1_2_), NAME(rows1_3_), NAME(rows1_4_),
            NAME(rows1_5_), NAME(rows1_6_), NAME(rows1_7_), NAME(rows1_8_)},
  .wide = {NAME(wide_1_), NAME(wide_2_), NAME(wide_3_), NAME(wide_4_), NAME(wide_5_), NAME(wide_6_), NAME(wide_7_),
           NAME(wide_8_), NAME(wide_9_), NAME(wide_10_), NAME(wide_11_), NAME(wide_12_), NAME(wide_13_), NAME(wide_14_)},
  .plane = END(plane_), .line = END(line_), .image = TZ_IMAGES, .store = END(store_), .pack = END(pack_),
};
#undef TZ_IMAGES
