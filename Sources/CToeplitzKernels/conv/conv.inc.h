// Convolution kernels of one element type. The including file defines
//   T         element type            SUFFIX   unique ending for names
//   TZ_BYTES  vector width in bytes   TZ_SUB8  rows of an 8-row block computed at once (8, or 4 with 16 registers)
//   TZ_MAX4   most vectors of a 4-row block        TZ_WIDE_AT_ONCE  columns of a wide block computed at once

#define LANES ((int)(TZ_BYTES / sizeof(T)))
// The elements of even number, and of odd number, of two vectors after each other.
#if TZ_LANES == 16
#define TZ_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define TZ_ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#elif TZ_LANES == 8
#define TZ_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define TZ_ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#elif TZ_LANES == 4
#define TZ_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#else
#define TZ_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2)
#endif
#define NAME(base) TZ_JOIN(base, SUFFIX)
#define VEC NAME(vec_)
#define VECU NAME(vecu_)

typedef T VEC __attribute__((ext_vector_type(TZ_BYTES / sizeof(T))));
typedef T VECU __attribute__((ext_vector_type(TZ_BYTES / sizeof(T)), aligned(sizeof(T))));

// Values below zero times `slope`. NaN passes through, as PyTorch's leaky_relu lets it; slope 0, the rectifier, is 0
// also for minus infinity.
TZ_INLINE VEC NAME(leaky_)(VEC v, T slope) {
  VEC low = slope == (T)0 ? (VEC)((T)0) : v * slope;
  return v < (T)0 ? low : v;
}
TZ_INLINE T NAME(leaky_one_)(T v, T slope) {
  T low = slope == (T)0 ? (T)0 : v * slope;
  return v < (T)0 ? low : v;
}

// The first 0 < n < LANES elements of a vector, to and from memory; reading gives zeros for the rest. A mask where there
// is one, else pieces of constant size: a call of memcpy would take longer than what is copied.
#if defined(TZ_MASKS512)
#define TZ_MASK(n) ((__mmask16)((1u << ((n) * (sizeof(T) / 4))) - 1))
TZ_INLINE void NAME(put_part_)(T *y, VEC value, ptrdiff_t n) {
  _mm512_mask_storeu_epi32(y, TZ_MASK(n), __builtin_bit_cast(__m512i, value));
}
TZ_INLINE VEC NAME(get_part_)(const T *x, ptrdiff_t n) {
  return __builtin_bit_cast(VEC, _mm512_maskz_loadu_epi32(TZ_MASK(n), x));
}
#undef TZ_MASK
#elif defined(TZ_MASKS256)
#define TZ_MASK(n) _mm256_loadu_si256((const __m256i *)(tz_mask_words + 8 - (n) * (sizeof(T) / 4)))
TZ_INLINE void NAME(put_part_)(T *y, VEC value, ptrdiff_t n) {
  _mm256_maskstore_epi32((int *)y, TZ_MASK(n), __builtin_bit_cast(__m256i, value));
}
TZ_INLINE VEC NAME(get_part_)(const T *x, ptrdiff_t n) {
  return __builtin_bit_cast(VEC, _mm256_maskload_epi32((const int *)x, TZ_MASK(n)));
}
#undef TZ_MASK
#else
TZ_INLINE void NAME(put_part_)(T *y, VEC value, ptrdiff_t n) {
  T part[LANES];
  *(VECU *)part = value;
  int done = 0;
#if TZ_LANES >= 4
  if (n & 2) { __builtin_memcpy(y, part, 2 * sizeof(T)); done = 2; }
#endif
  if (n & 1) y[done] = part[done];
}
TZ_INLINE VEC NAME(get_part_)(const T *x, ptrdiff_t n) {
  T part[LANES] = {0};
  int done = 0;
#if TZ_LANES >= 4
  if (n & 2) { __builtin_memcpy(part, x, 2 * sizeof(T)); done = 2; }
#endif
  if (n & 1) part[done] = x[done];
  return *(const VECU *)part;
}
#endif

// Lanes [from, to) of the vector at x, the others zero and not read.
TZ_INLINE VEC NAME(get_range_)(const T *x, ptrdiff_t from, ptrdiff_t to) {
#if defined(TZ_MASKS512)
  const int words = sizeof(T) / 4;
  const __mmask16 mask = (__mmask16)(((1u << (to * words)) - 1) & ~((1u << (from * words)) - 1));
  return __builtin_bit_cast(VEC, _mm512_maskz_loadu_epi32(mask, x));
#elif defined(TZ_MASKS256)
  const ptrdiff_t words = sizeof(T) / 4;
  const __m256i end = _mm256_loadu_si256((const __m256i *)(tz_mask_words + 8 - to * words));
  const __m256i begin = _mm256_loadu_si256((const __m256i *)(tz_mask_words + 8 - from * words));
  return __builtin_bit_cast(VEC, _mm256_maskload_epi32((const int *)x, _mm256_andnot_si256(begin, end)));
#else
  T part[LANES] = {0};
  for (ptrdiff_t i = from; i < to; i++) part[i] = x[i];
  return *(const VECU *)part;
#endif
}

// Every `hop`th (2 or 4) of the elements from `from` on, n of them. Reads no further than the last of them, writes whole
// vectors.
TZ_INLINE void NAME(unzip_)(T *to, const T *from, ptrdiff_t n, const int hop) {
  for (ptrdiff_t j = 0; j < n; j += LANES) {
    const ptrdiff_t left = (n - j - 1) * hop + 1;
    VEC a[4];
    TZ_UNROLL for (int i = 0; i < hop; i++) {
      const ptrdiff_t more = left - i * LANES;
      const T *at = from + hop * j + i * LANES;
      a[i] = more >= LANES ? *(const VECU *)at : more > 0 ? NAME(get_part_)(at, more) : (VEC)((T)0);
    }
    if (hop == 4) {
      a[0] = TZ_EVEN(a[0], a[1]);
      a[1] = TZ_EVEN(a[2], a[3]);
    }
    *(VECU *)(to + j) = TZ_EVEN(a[0], a[1]);
  }
}

// Finishes whole vectors of sums and writes them; acc is [rows][8].
TZ_INLINE void NAME(tile_store_)(const tz_conv_tile *t, VEC *acc, T *y, const int row0, const int rows, const int nv,
                                 const bool adds, const bool shapes) {
  const T slope = (T)t->slope, scale = (T)t->scale;
  const bool bounded = t->bounded;
  const T ceiling = bounded ? (T)t->ceiling : (T)0;
  const T *res0 = t->residual[0] ? (const T *)t->residual[0] + row0 * t->ys : NULL;
  const T *res1 = t->residual[1] ? (const T *)t->residual[1] + row0 * t->ys : NULL;
  TZ_UNROLL for (int r = 0; r < rows; r++) {
    if (row0 + r < t->rows) {
      TZ_UNROLL for (int v = 0; v < nv; v++) {
        const ptrdiff_t at = r * t->ys + v * LANES;
        VEC value = acc[r * 8 + v];
        if (adds) {
          if (res0) value += *(const VECU *)(res0 + at);
          if (res1) value += *(const VECU *)(res1 + at);
          if (scale != (T)1) value *= scale;
        }
        if (shapes) {
          if (slope != (T)1) value = NAME(leaky_)(value, slope);
          if (bounded) value = value > ceiling ? (VEC)(ceiling) : value;
        }
        *(VECU *)(y + at) = value;
      }
    }
  }
}

TZ_INLINE void NAME(tile_)(const tz_conv_tile *t, const int block, const int rows, const int row0, const int nv) {
  VEC acc[8][8];
  T *accp = (T *)t->acc + (ptrdiff_t)row0 * nv * LANES;
  const T *start = (const T *)t->start + row0;
  if (t->continues) {
    TZ_UNROLL for (int r = 0; r < rows; r++)
      TZ_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = *(const VECU *)(accp + (r * nv + v) * LANES);
  } else {
    TZ_UNROLL for (int r = 0; r < rows; r++)
      TZ_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = (VEC)(start[r]);
  }
  const T *x = (const T *)t->x, *w = (const T *)t->w + row0;
  const int32_t *toff = t->toff;
  const int taps = t->taps;
  for (int c = 0; c < t->channels; c++, x += t->xs) {
    for (int k = 0; k < taps; k++, w += block) {
      const T *xk = x + toff[k];
      VEC b[8];
      TZ_UNROLL for (int v = 0; v < nv; v++) b[v] = *(const VECU *)(xk + v * LANES);
      __builtin_prefetch((const char *)w + 2048, 0, 3);
      TZ_UNROLL for (int r = 0; r < rows; r++) {
        VEC s = (VEC)(w[r]);
        TZ_UNROLL for (int v = 0; v < nv; v++) {
          acc[r][v] += s * b[v];
          TZ_KEEP(acc[r][v]);
        }
      }
    }
  }
  if (!t->y) {
    TZ_UNROLL for (int r = 0; r < rows; r++)
      TZ_UNROLL for (int v = 0; v < nv; v++) *(VECU *)(accp + (r * nv + v) * LANES) = acc[r][v];
    return;
  }
  T *y = (T *)t->y + row0 * t->ys;
  const bool adds = t->residual[0] || t->residual[1] || t->scale != 1, shapes = t->slope != 1 || t->bounded;
  // Most convolutions of a network are one of the first two.
  if (!adds && !shapes) NAME(tile_store_)(t, acc[0], y, row0, rows, nv, false, false);
  else if (!adds) NAME(tile_store_)(t, acc[0], y, row0, rows, nv, false, true);
  else NAME(tile_store_)(t, acc[0], y, row0, rows, nv, true, true);
}

#define TZ_ROWS8(V)                                          \
  static void NAME(rows8_##V##_)(const tz_conv_tile *t) {    \
    if (V == 1) NAME(tile_)(t, 8, 8, 0, V);                  \
    else                                                     \
      for (int half = 0; half < 8 / TZ_SUB8; half++)         \
        NAME(tile_)(t, 8, TZ_SUB8, half * TZ_SUB8, V);       \
  }
#define TZ_ROWS4(V) \
  static void NAME(rows4_##V##_)(const tz_conv_tile *t) { NAME(tile_)(t, 4, 4, 0, V); }
#define TZ_ROWS1(V) \
  static void NAME(rows1_##V##_)(const tz_conv_tile *t) { NAME(tile_)(t, 1, 1, 0, V); }
TZ_ROWS8(1) TZ_ROWS8(2) TZ_ROWS8(3)
TZ_ROWS4(1) TZ_ROWS4(2) TZ_ROWS4(3)
#if TZ_MAX4 == 6
TZ_ROWS4(4) TZ_ROWS4(5) TZ_ROWS4(6)
#endif
TZ_ROWS1(1) TZ_ROWS1(2) TZ_ROWS1(3) TZ_ROWS1(4) TZ_ROWS1(5) TZ_ROWS1(6) TZ_ROWS1(7) TZ_ROWS1(8)

// Interleaving in registers: each round zips a row of the lower half with its partner in the upper half, so that after
// log2(count) rounds the rows hold y[i * count + r] = acc[r][i] in order.
#define TZ_ZIP16(a, b, base) __builtin_shufflevector(a, b, base + 0, base + 16, base + 1, base + 17, base + 2, base + 18, \
  base + 3, base + 19, base + 4, base + 20, base + 5, base + 21, base + 6, base + 22, base + 7, base + 23)
#define TZ_ZIP8(a, b, base) __builtin_shufflevector(a, b, base + 0, base + 8, base + 1, base + 9, base + 2, base + 10, base + 3, base + 11)
#define TZ_ZIP4(a, b, base) __builtin_shufflevector(a, b, base + 0, base + 4, base + 1, base + 5)
#define TZ_ZIP2(a, b, base) __builtin_shufflevector(a, b, base + 0, base + 2)

#if TZ_LANES == 16
#define TZ_ZIP(a, b, high) TZ_ZIP16(a, b, (high) * 8)
#elif TZ_LANES == 8
#define TZ_ZIP(a, b, high) TZ_ZIP8(a, b, (high) * 4)
#elif TZ_LANES == 4
#define TZ_ZIP(a, b, high) TZ_ZIP4(a, b, (high) * 2)
#else
#define TZ_ZIP(a, b, high) TZ_ZIP2(a, b, high)
#endif

TZ_INLINE void NAME(zip_)(VEC *a, const int count) {
  VEC b[LANES > 8 ? LANES : 8];
  TZ_UNROLL for (int half = count / 2; half >= 1; half /= 2) {
    TZ_UNROLL for (int j = 0; j < count / 2; j++) {
      b[2 * j] = TZ_ZIP(a[j], a[j + count / 2], 0);
      b[2 * j + 1] = TZ_ZIP(a[j], a[j + count / 2], 1);
    }
    TZ_UNROLL for (int j = 0; j < count; j++) a[j] = b[j];
  }
}

// LANES vectors become the columns of the square that they are the rows of.
TZ_INLINE void NAME(transpose_)(VEC *a) { NAME(zip_)(a, LANES); }

// ---- Wide blocks: columns are broadcast, 32 rows are vectors -----------------------------------------------

#define TZ_WIDE_ROWS 32
#define TZ_WIDE_COLUMNS 14

// `count` columns by 2 vectors of rows from row0 on. acc is [14 columns][32 rows] where sums are kept for the next
// channels, and [32 rows][TZ_WIDE_PITCH columns] at the end, as the store wants them; columns past `count` are written too.
TZ_INLINE void NAME(wide_tile_)(const tz_conv_tile *t, const int count, const int column0, const int row0) {
  VEC acc[TZ_WIDE_COLUMNS][2];
  T *accp = (T *)t->acc + column0 * TZ_WIDE_ROWS + row0;
  if (t->continues) {
    TZ_UNROLL for (int r = 0; r < count; r++)
      TZ_UNROLL for (int v = 0; v < 2; v++) acc[r][v] = *(const VECU *)(accp + r * TZ_WIDE_ROWS + v * LANES);
  } else {
    const T *start = (const T *)t->start + row0;
    TZ_UNROLL for (int r = 0; r < count; r++)
      TZ_UNROLL for (int v = 0; v < 2; v++) acc[r][v] = *(const VECU *)(start + v * LANES);
  }
  const T *x = (const T *)t->x + column0, *w = (const T *)t->w + row0;
  const char *ahead = (const char *)t->ahead;
  const ptrdiff_t hop = t->ahead_step;
  const int32_t *toff = t->toff;
  const int taps = t->taps;
  for (int c = 0; c < t->channels; c++, x += t->xs) {
    for (int k = 0; k < taps; k++, w += TZ_WIDE_ROWS) {
      const T *xk = x + toff[k];
      VEC w0 = *(const VECU *)w, w1 = *(const VECU *)(w + LANES);
      __builtin_prefetch(ahead, 0, 2);
      ahead += hop;
      TZ_UNROLL for (int r = 0; r < count; r++) {
        VEC s = (VEC)(xk[r]);
        acc[r][0] += s * w0;
        acc[r][1] += s * w1;
      }
    }
  }
  if (!t->completes) {
    TZ_UNROLL for (int r = 0; r < count; r++)
      TZ_UNROLL for (int v = 0; v < 2; v++) *(VECU *)(accp + r * TZ_WIDE_ROWS + v * LANES) = acc[r][v];
    return;
  }
  T *out = (T *)t->sums + row0 * TZ_WIDE_PITCH + column0;
  TZ_UNROLL for (int v = 0; v < 2; v++)
    TZ_UNROLL for (int first = 0; first < count; first += LANES) {
      VEC a[LANES];
      TZ_UNROLL for (int i = 0; i < LANES; i++) a[i] = acc[first + i < count ? first + i : count - 1][v];
      NAME(transpose_)(a);
      TZ_UNROLL for (int i = 0; i < LANES; i++) *(VECU *)(out + (v * LANES + i) * TZ_WIDE_PITCH + first) = a[i];
    }
}

// As few pieces of columns as the registers allow, all about equally many.
#define TZ_PIECES(COUNT) (((COUNT) + TZ_WIDE_AT_ONCE - 1) / TZ_WIDE_AT_ONCE)
#define TZ_PIECE(COUNT) (((COUNT) + TZ_PIECES(COUNT) - 1) / TZ_PIECES(COUNT))
#define TZ_WIDE(COUNT)                                                                            \
  static void NAME(wide_##COUNT##_)(const tz_conv_tile *t) {                                      \
    enum { pieces = TZ_PIECES(COUNT), most = TZ_PIECE(COUNT), full = (COUNT) - pieces * (most - 1) }; \
    for (int row0 = 0; row0 < TZ_WIDE_ROWS; row0 += 2 * LANES) {                                  \
      for (int piece = 0; piece < full; piece++) NAME(wide_tile_)(t, most, piece * most, row0);   \
      for (int piece = full; piece < pieces; piece++)                                             \
        NAME(wide_tile_)(t, most > 1 ? most - 1 : 1, full * most + (piece - full) * (most - 1), row0); \
    }                                                                                             \
  }
TZ_WIDE(1) TZ_WIDE(2) TZ_WIDE(3) TZ_WIDE(4) TZ_WIDE(5) TZ_WIDE(6) TZ_WIDE(7)
TZ_WIDE(8) TZ_WIDE(9) TZ_WIDE(10) TZ_WIDE(11) TZ_WIDE(12) TZ_WIDE(13) TZ_WIDE(14)

// ---- Stores -------------------------------------------------------------------------------------------------

// The end of a sum: residuals, scale, slope, ceiling. `at` is the offset from out->y.
TZ_INLINE T NAME(finish_)(const tz_conv_output *out, T value, ptrdiff_t at) {
  if (out->residual[0]) value += ((const T *)out->residual[0])[at];
  if (out->residual[1]) value += ((const T *)out->residual[1])[at];
  value *= (T)out->scale;
  value = NAME(leaky_one_)(value, (T)out->slope);
  return out->bounded && value > (T)out->ceiling ? (T)out->ceiling : value;
}

// What follows the residuals.
TZ_INLINE VEC NAME(shape_)(const tz_conv_output *out, VEC value) {
  if (out->scale != 1) value *= (T)out->scale;
  if (out->slope != 1) value = NAME(leaky_)(value, (T)out->slope);
  if (out->bounded) value = value > (T)out->ceiling ? (VEC)((T)out->ceiling) : value;
  return value;
}

TZ_INLINE VEC NAME(finish_vector_)(const tz_conv_output *out, VEC value, ptrdiff_t at) {
  if (out->residual[0]) value += *(const VECU *)((const T *)out->residual[0] + at);
  if (out->residual[1]) value += *(const VECU *)((const T *)out->residual[1] + at);
  return NAME(shape_)(out, value);
}

// Finishes and writes the first n < LANES of a vector of sums.
TZ_INLINE void NAME(finish_part_)(const tz_conv_output *out, VEC value, ptrdiff_t n, ptrdiff_t at) {
  if (out->residual[0]) value += NAME(get_part_)((const T *)out->residual[0] + at, n);
  if (out->residual[1]) value += NAME(get_part_)((const T *)out->residual[1] + at, n);
  NAME(put_part_)((T *)out->y + at, NAME(shape_)(out, value), n);
}

// The activation of n neighbouring outputs that have just been written.
TZ_INLINE void NAME(activate_)(const tz_conv_output *out, T *y, ptrdiff_t n) {
#if defined(TZ_FLOAT32)
  if (out->activation) out->activation(y, y, n, out->a, out->b);
#else
  (void)out, (void)y, (void)n;
#endif
}

// n neighbouring outputs from `at` on.
static void NAME(store_line_)(const tz_conv_output *out, const T *a, ptrdiff_t n, ptrdiff_t at) {
  T *y = (T *)out->y;
  ptrdiff_t i = 0;
  for (; i + LANES <= n; i += LANES)
    *(VECU *)(y + at + i) = NAME(finish_vector_)(out, *(const VECU *)(a + i), at + i);
  if (i < n) NAME(finish_part_)(out, *(const VECU *)(a + i), n - i, at + i);
  NAME(activate_)(out, y + at, n);
}

// One row of n sums to outputs at, at + step, ....
static void NAME(store_row_)(const tz_conv_output *out, const T *a, ptrdiff_t n, ptrdiff_t at, ptrdiff_t step) {
  if (step == 1) {
    NAME(store_line_)(out, a, n, at);
    return;
  }
  T *y = (T *)out->y + at;
  // In pieces, which an activation finds side by side.
  T piece[64];
  for (ptrdiff_t first = 0; first < n; first += 64) {
    const ptrdiff_t count = n - first < 64 ? n - first : 64;
    for (ptrdiff_t i = 0; i < count; i++) piece[i] = NAME(finish_)(out, a[first + i], at + (first + i) * step);
    NAME(activate_)(out, piece, count);
    for (ptrdiff_t i = 0; i < count; i++) y[(first + i) * step] = piece[i];
  }
}

// `count` rows of n sums to outputs at + i * count + r.
TZ_INLINE void NAME(store_zipped_)(const tz_conv_output *out, const T *acc, ptrdiff_t pitch, ptrdiff_t n, ptrdiff_t at,
                                   const int count) {
  T *y = (T *)out->y + at;
  ptrdiff_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    VEC a[8];
    TZ_UNROLL for (int r = 0; r < count; r++) a[r] = *(const VECU *)(acc + r * pitch + i);
    NAME(zip_)(a, count);
    TZ_UNROLL for (int j = 0; j < count; j++)
      *(VECU *)(y + i * count + j * LANES) = NAME(finish_vector_)(out, a[j], at + i * count + j * LANES);
  }
  if (i == n) return;
  VEC a[8];
  TZ_UNROLL for (int r = 0; r < count; r++) a[r] = *(const VECU *)(acc + r * pitch + i);
  NAME(zip_)(a, count);
  TZ_UNROLL for (int j = 0; j < count; j++) {
    const ptrdiff_t left = (n - i) * count - j * LANES, place = at + i * count + j * LANES;
    if (left >= LANES) *(VECU *)((T *)out->y + place) = NAME(finish_vector_)(out, a[j], place);
    else if (left > 0) NAME(finish_part_)(out, a[j], left, place);
  }
}

static void NAME(store_interleaved_)(const tz_conv_output *out, const T *acc, ptrdiff_t pitch, ptrdiff_t n, ptrdiff_t at,
                                     int count) {
  T *y = (T *)out->y + at;
  if (count == 2) NAME(store_zipped_)(out, acc, pitch, n, at, 2);
  else if (count == 4) NAME(store_zipped_)(out, acc, pitch, n, at, 4);
  else if (count == 8) NAME(store_zipped_)(out, acc, pitch, n, at, 8);
  else
    // Columns outside, so that the output is written in order.
    for (ptrdiff_t i = 0; i < n; i++)
      for (int r = 0; r < count; r++)
        y[i * count + r] = NAME(finish_)(out, acc[r * pitch + i], at + i * count + r);
  NAME(activate_)(out, y, n * count);
}

// Positions [*low, *high) of n from w on whose output for w phase `phase` lies inside.
TZ_INLINE void NAME(inside_)(const tz_conv_output *out, ptrdiff_t w, ptrdiff_t n, ptrdiff_t phase, ptrdiff_t *low,
                             ptrdiff_t *high) {
  const ptrdiff_t start = w * out->step[2] + phase - out->shift[2];
  const ptrdiff_t from = tz_ceil_div(-start, out->step[2]), to = tz_ceil_div(out->size[2] - start, out->step[2]);
  *low = from < 0 ? 0 : from > n ? n : from;
  *high = to > n ? n : to < *low ? *low : to;
}

// A run of n neighbouring positions from (d, h, w) on, all rows.
static void NAME(store_run_)(const tz_conv_output *out, const T *acc, ptrdiff_t pitch, int first_row, int rows, ptrdiff_t d,
                             ptrdiff_t h, ptrdiff_t w, ptrdiff_t n) {
  const bool zips = out->wide == out->step[2] && out->wide > 1 && out->stride[2] == 1;
  for (int r = 0; r < rows;) {
    const int row = first_row + r, phase = row % out->phase_count;
    const int32_t *f = out->phases[phase];
    const ptrdiff_t od = d * out->step[0] + f[0] - out->shift[0], oh = h * out->step[1] + f[1] - out->shift[1];
    const int together = zips && phase % out->wide == 0 && r + out->wide <= rows ? out->wide : 1;
    if (od >= 0 && od < out->size[0] && oh >= 0 && oh < out->size[1]) {
      const T *a = acc + r * pitch;
      const ptrdiff_t line = row / out->phase_count * out->channel + od * out->stride[0] + oh * out->stride[1];
      ptrdiff_t low = 0, high = n, unused;
      if (together > 1) {
        // Where the first phase and the last are inside all are.
        NAME(inside_)(out, w, n, 0, &low, &unused);
        NAME(inside_)(out, w, n, together - 1, &unused, &high);
        if (low < high)
          NAME(store_interleaved_)(out, a + low, pitch, high - low, line + (w + low) * out->step[2] - out->shift[2], together);
        else low = high = n;
      } else {
        low = high = n;
      }
      for (int q = 0; q < together; q++) {
        const ptrdiff_t phase_w = out->phases[phase + q][2];
        ptrdiff_t from, to;
        NAME(inside_)(out, w, n, phase_w, &from, &to);
        // What interleaving left: before `low` and from `high` on, or everything.
        const ptrdiff_t ranges[2][2] = {{from, to < low ? to : low}, {from > high ? from : high, to}};
        for (int k = 0; k < 2; k++) {
          const ptrdiff_t begin = ranges[k][0], count = ranges[k][1] - begin;
          if (count > 0)
            NAME(store_row_)(out, a + q * pitch + begin, count,
                             line + ((w + begin) * out->step[2] + phase_w - out->shift[2]) * out->stride[2],
                             out->step[2] * out->stride[2]);
        }
      }
    }
    r += together;
  }
}

// ---- Single rows: panel to output without partial sums ---------------------------------------------------

// `rows` rows of n outputs in nv vectors. Where a row fills a vector the last one ends at the row's end and computes
// some outputs a second time; else the only one is partial.
TZ_INLINE void NAME(plane_run_)(const tz_conv_tile *t, const tz_conv_output *out, const T *x, ptrdiff_t pitch,
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
    T *y = (T *)out->y + at;
    TZ_UNROLL for (int v = 0; v < nv - 1; v++)
      *(VECU *)(y + v * LANES) = NAME(finish_vector_)(out, acc[r][v], at + v * LANES);
    if (whole) {
      *(VECU *)(y + last) = NAME(finish_vector_)(out, acc[r][nv - 1], at + last);
    } else {
      NAME(finish_part_)(out, acc[r][nv - 1], n, at);
    }
    NAME(activate_)(out, y, n);
  }
}

// The position 0 of an area as offset from out->y.
TZ_INLINE ptrdiff_t NAME(plane_origin_)(const tz_conv_output *out, const tz_conv_area *area) {
  return (area->first[0] - out->shift[0]) * out->stride[0] + (area->first[1] - out->shift[1]) * out->stride[1] +
         area->first[2] - out->shift[2];
}

static void NAME(plane_)(const tz_conv_tile *t, const tz_conv_output *out, const tz_conv_area *area) {
  const ptrdiff_t origin = NAME(plane_origin_)(out, area);
  const ptrdiff_t pitch = area->pitch;
  for (ptrdiff_t w = 0; w < area->width; w += 8 * LANES) {
    const ptrdiff_t left = area->width - w, n = left < 8 * LANES ? left : 8 * LANES;
    const T *x = (const T *)t->x + w;
    ptrdiff_t at = origin + w, h = 0;
    // Several rows at a time where one alone would leave the multipliers waiting.
#define TZ_PLANE(ROWS, V)                                                                     \
  for (; h + ROWS <= area->height; h += ROWS, x += ROWS * pitch, at += ROWS * out->stride[1]) \
    NAME(plane_run_)(t, out, x, pitch, at, n, ROWS, V);
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

#if defined(TZ_FLOAT32) && (defined(TZ_MASKS512) || defined(TZ_MASKS256))
#include "image.inc.h"
#define TZ_IMAGES {{NAME(image_3_1_), NAME(image_3_2_)}, {NAME(image_5_1_), NAME(image_5_2_)}, {NAME(image_7_1_), NAME(image_7_2_)}}
#else
#define TZ_IMAGES {{NULL}}
#endif

static void NAME(store_)(const tz_conv_output *out, const tz_conv_area *area, const void *acc, ptrdiff_t acc_pitch,
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
      for (int r = 0; r < rows; r++)
        NAME(store_row_)(out, (const T *)acc + r * acc_pitch + (at - column), n, line + r * out->channel, out->stride[2]);
    } else if (n > 0)
      NAME(store_run_)(out, (const T *)acc + (at - column), acc_pitch, first_row, rows, area->first[0], area->first[1] + h,
                       area->first[2] + w, n);
    at = (h + 1) * area->pitch;
  }
}

// Zeros, as whole vectors that hold n or more elements. Usually it is one: the barrier keeps the compiler from calling
// memset.
TZ_INLINE void NAME(clear_)(T *to, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; i += LANES) {
    *(VECU *)(to + i) = (VEC)((T)0);
    __asm__ __volatile__("" ::: "memory");
  }
}

// One row of a panel: count positions that hold input (first + j) * step + phase. Whole vectors are written where that is
// simpler: rows are packed in order, so what is too much is written again, or lies in the slack behind the panel.
TZ_INLINE void NAME(pack_row_)(const T *x, T *out, const tz_pack_axis *a, ptrdiff_t phase, tz_range range, int mode,
                               T slope) {
  const ptrdiff_t size = a->size, step = a->step, n = a->count, inside = range.from, outside = range.to;
  const ptrdiff_t m = outside - inside;
  // A single position needs no distance, and with a huge step has none.
  const ptrdiff_t hop = m == 1 ? 1 : step * a->stride;
  const T *from = m == 0 ? x : x + tz_pack_index(a, inside, phase) * a->stride;
  T *to = out + inside;
  if (mode == TZ_PAD_ZEROS) {
    NAME(clear_)(out, inside);
    ptrdiff_t done = 0;
    if (hop == 1) {
      for (; done < m; done += LANES) {
        VEC value = m - done >= LANES ? *(const VECU *)(from + done) : NAME(get_part_)(from + done, m - done);
        *(VECU *)(to + done) = slope == (T)1 ? value : NAME(leaky_)(value, slope);
      }
    } else if ((hop == 2 || hop == 4) && slope == (T)1) {
      if (hop == 2) NAME(unzip_)(to, from, m, 2);
      else NAME(unzip_)(to, from, m, 4);
      done = m;
    } else {
      for (; done < m; done++) to[done] = NAME(leaky_one_)(from[hop * done], slope);
    }
    NAME(clear_)(to + done, n - inside - done);
    return;
  }
  for (ptrdiff_t j = 0; j < m; j++) to[j] = NAME(leaky_one_)(from[hop * j], slope);
  for (ptrdiff_t j = 0; j < n; j++) {
    if (j == inside) j = outside;
    if (j >= n) break;
    T value = x[tz_pad_index(tz_pack_index(a, j, phase), size, mode) * a->stride];
    out[j] = NAME(leaky_one_)(value, slope);
  }
}

// `rows` rows of n positions of which [from, to) hold input, neighbours in memory, the others zeros.
TZ_INLINE void NAME(pack_rows_)(const T *x, ptrdiff_t x_row, T *out, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t n,
                                tz_range range, T slope) {
  const ptrdiff_t last = (n - 1) / LANES;
  x -= range.from;
  for (ptrdiff_t r = 0; r < rows; r++, x += x_row, out += row)
    for (ptrdiff_t v = 0; v <= last; v++) {
      const ptrdiff_t low = range.from - v * LANES, high = range.to - v * LANES;
      VEC value = low <= 0 && high >= LANES ? *(const VECU *)(x + v * LANES)
                                            : NAME(get_range_)(x + v * LANES, low < 0 ? 0 : low < LANES ? low : LANES,
                                                               high > LANES ? LANES : high > 0 ? high : 0);
      *(VECU *)(out + v * LANES) = slope == (T)1 ? value : NAME(leaky_)(value, slope);
    }
}

static void NAME(pack_)(const tz_pack *p) {
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
  for (int c = 0; c < p->channels; c++) {
    const T *x = (const T *)p->x + c * p->x_channel;
    T *out = (T *)p->panel + c * p->panel_channel;
    for (int pd = 0; pd < d->phase_count; pd++)
      for (ptrdiff_t jd = 0; jd < d->count; jd++) {
        const ptrdiff_t id = tz_pad_index(tz_pack_index(d, jd, d->phases[pd]), d->size, p->mode);
        for (int ph = 0; ph < h->phase_count; ph++)
          for (int pw = 0; pw < w->phase_count; pw++) {
            const tz_range range = known ? ranges[pw] : tz_pack_range(w, w->phases[pw]);
            const T *plane = x + id * d->stride;
            if (simple && id >= 0) {
              const tz_range inside = tz_pack_range(h, h->phases[ph]);
              for (ptrdiff_t jh = 0; jh < inside.from; jh++, out += row) NAME(clear_)(out, w->count);
              const T *first = plane + tz_pack_index(h, inside.from, h->phases[ph]) * h->stride +
                               tz_pack_index(w, range.from, w->phases[pw]) * w->stride;
              const ptrdiff_t rows = inside.to - inside.from, hop = (ptrdiff_t)((size_t)h->step * (size_t)h->stride);
              if (rows > 0) NAME(pack_rows_)(first, hop, out, row, rows, w->count, range, slope);
              out += rows * row;
              for (ptrdiff_t jh = inside.to; jh < h->count; jh++, out += row) NAME(clear_)(out, w->count);
              continue;
            }
            for (ptrdiff_t jh = 0; jh < h->count; jh++, out += row) {
              const ptrdiff_t ih = tz_pad_index(tz_pack_index(h, jh, h->phases[ph]), h->size, p->mode);
              if (id < 0 || ih < 0) NAME(clear_)(out, w->count);
              else NAME(pack_row_)(plane + ih * h->stride, out, w, w->phases[pw], range, p->mode, slope);
            }
          }
      }
  }
}

static const tz_conv_table NAME(table_) = {
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
  .plane = NAME(plane_), .image = TZ_IMAGES, .store = NAME(store_), .pack = NAME(pack_),
};

#if defined(TZ_FLOAT32)
#include "toom.inc.h"
#include "narrow_weights.inc.h"
#endif

#undef LANES
#undef NAME
#undef VEC
#undef VECU
#undef TZ_ROWS8
#undef TZ_ROWS4
#undef TZ_ROWS1
#undef TZ_ZIP
#undef TZ_EVEN
#undef TZ_ODD
#undef TZ_IMAGES
#undef TZ_WIDE
