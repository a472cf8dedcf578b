// Resampling and pooling of float32; part of elementwise.inc.h, whose functions it uses.

// y = the sum of up to four rows, each times its weight; rows that are NULL are left out.
static void NAME(mix_rows_)(const float *const *rows, const float *weights, float *y, ptrdiff_t n) {
  const VEC a = (VEC)(weights[0]), b = (VEC)(weights[1]), c = (VEC)(weights[2]), d = (VEC)(weights[3]);
  ptrdiff_t i = 0;
  if (rows[2]) {
    for (; i + LANES <= n; i += LANES)
      *(VECU *)(y + i) = *(const VECU *)(rows[0] + i) * a + *(const VECU *)(rows[1] + i) * b +
                         *(const VECU *)(rows[2] + i) * c + *(const VECU *)(rows[3] + i) * d;
    for (; i < n; i++)
      y[i] = ((VEC)(rows[0][i]) * a + (VEC)(rows[1][i]) * b + (VEC)(rows[2][i]) * c + (VEC)(rows[3][i]) * d)[0];
    return;
  }
  for (; i + LANES <= n; i += LANES)
    *(VECU *)(y + i) = *(const VECU *)(rows[0] + i) * a + *(const VECU *)(rows[1] + i) * b;
  for (; i < n; i++) y[i] = ((VEC)(rows[0][i]) * a + (VEC)(rows[1][i]) * b)[0];
}

// y[i] = the weighted sum of two or four elements of a row: places and weights are [terms][n].
static void NAME(mix_places_)(const float *x, const int32_t *places, const float *weights, ptrdiff_t terms, float *y,
                              ptrdiff_t n) {
  const int32_t *p = places, *q = places + n;
  const float *a = weights, *b = weights + n;
  if (terms == 2) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = x[p[i]] * a[i] + x[q[i]] * b[i];
    return;
  }
  const int32_t *r = q + n, *s = r + n;
  const float *c = b + n, *d = c + n;
  for (ptrdiff_t i = 0; i < n; i++) y[i] = x[p[i]] * a[i] + x[q[i]] * b[i] + x[r[i]] * c[i] + x[s[i]] * d[i];
}

// Each of the axis's elements, blocks of `inner`, as it is; `rows` axes one after the other.
static void NAME(take_)(const float *x, float *y, const int32_t *places, ptrdiff_t rows, ptrdiff_t length, ptrdiff_t n,
                        ptrdiff_t inner) {
  for (ptrdiff_t r = 0; r < rows; r++, x += length * inner, y += n * inner) {
    if (inner == 1) {
      // Without a branch, so that it is computed in vectors: it is asked for each row.
      int32_t others = n != 2 * length;
      if (!others)
        for (ptrdiff_t i = 0; i < n; i++) others |= places[i] ^ (int32_t)(i >> 1);
      ptrdiff_t i = 0;
      if (!others) {
        typedef float pairs __attribute__((ext_vector_type(2 * TZ_BYTES / 4), aligned(4)));
        ptrdiff_t k = 0;
        for (; k + LANES <= length; k += LANES) {
          const VEC v = *(const VECU *)(x + k);
          pairs both;
          both.even = v, both.odd = v;
          *(pairs *)(y + 2 * k) = both;
        }
        for (; k < length; k++) y[2 * k] = y[2 * k + 1] = x[k];
        continue;
      }
      for (; i < n; i++) y[i] = x[places[i]];
    } else if (inner < 2 * LANES) {
      for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t j = 0; j < inner; j++) y[i * inner + j] = x[places[i] * inner + j];
    } else {
      for (ptrdiff_t i = 0; i < n; i++) __builtin_memcpy(y + i * inner, x + places[i] * inner, (size_t)inner * 4);
    }
  }
}

// Numbers as whole ones of the same order, in which NaN of either sign is larger than all; and back.
TZ_INLINE IVEC NAME(order_)(VEC v) {
  const IVEC b = NAME(bits_)(v), o = b ^ ((b >> 31) & 0x7FFFFFFF);
  return v == v ? o : (IVEC)(0x7FC00000);
}
TZ_INLINE VEC NAME(unordered_)(IVEC o) { return NAME(value_)(o ^ ((o >> 31) & 0x7FFFFFFF)); }

typedef int32_t NAME(ivecu_) __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(4)));

// The largest of `count` vectors that lie `step` apart.
TZ_INLINE IVEC NAME(largest_of_)(const int32_t *at, ptrdiff_t count, ptrdiff_t step) {
  IVEC best = *(const NAME(ivecu_) *)at;
  if (__builtin_constant_p(count)) {
    TZ_UNROLL for (ptrdiff_t k = 1; k < count; k++) {
      const IVEC o = *(const NAME(ivecu_) *)(at + k * step);
      best = o > best ? o : best;
    }
    return best;
  }
  TZ_ROLLED for (ptrdiff_t k = 1; k < count; k++) {
    const IVEC o = *(const NAME(ivecu_) *)(at + k * step);
    best = o > best ? o : best;
  }
  return best;
}

// A row of outputs: for each the largest of `taps` elements of a row with its border.
TZ_INLINE void NAME(pool_row_)(const int32_t *row, int32_t *best, ptrdiff_t outputs, ptrdiff_t taps, ptrdiff_t dilation,
                               ptrdiff_t stride) {
  if (stride == 1) {
    TZ_ROLLED for (ptrdiff_t o = 0; o < outputs; o += LANES)
      *(NAME(ivecu_) *)(best + o) = NAME(largest_of_)(row + o, taps, dilation);
  } else if (stride == 2) {
    TZ_ROLLED for (ptrdiff_t o = 0; o < outputs; o += LANES) {
      const IVEC low = NAME(largest_of_)(row + 2 * o, taps, dilation);
      const IVEC high = NAME(largest_of_)(row + 2 * o + LANES, taps, dilation);
      *(NAME(ivecu_) *)(best + o) = NAME(bits_)(NAME(even_)(NAME(value_)(low), NAME(value_)(high)));
    }
  } else {
    TZ_ROLLED for (ptrdiff_t o = 0; o < outputs; o++) {
      int32_t most = row[o * stride];
      TZ_ROLLED for (ptrdiff_t k = 1; k < taps; k++) most = row[o * stride + k * dilation] > most ? row[o * stride + k * dilation] : most;
      best[o] = most;
    }
  }
}

// The largest of windows in one plane: of each row's elements first, then of these rows.
//
// Rows come with a border into `scratch`, some at a time, so that all work is on whole vectors; what is read of them one
// element further was written long enough before to be in the cache, where it need not wait for a pending store.
TZ_INLINE void NAME(pool_plane_)(const tz_pool_plane *t, const float *x, float *y, float *scratch, const ptrdiff_t rows,
                                 const ptrdiff_t taps, const ptrdiff_t down, const ptrdiff_t dilation,
                                 const ptrdiff_t stride) {
  enum { ROWS = 8 };
  const int32_t least = (int32_t)0xFF800000 ^ 0x7FFFFFFF;  // minus infinity
  const ptrdiff_t height = t->input[0], width = t->input[1], low = t->low[1], outputs = t->output[1];
  // Elements that a window reads, from the first of the border on.
  const ptrdiff_t wanted = (outputs - 1) * stride + 1 + (taps - 1) * dilation;
  const ptrdiff_t kept = width < wanted - low ? width : wanted - low;
  const ptrdiff_t pitch = (wanted + 4 * LANES) / LANES * LANES, line = (outputs + LANES - 1) / LANES * LANES;
  int32_t *const bordered = (int32_t *)scratch, *const best = bordered + ROWS * pitch;
  TZ_ROLLED for (ptrdiff_t begin = 0; begin < height; begin += ROWS) {
    const ptrdiff_t end = begin + ROWS < height ? begin + ROWS : height;
    TZ_ROLLED for (ptrdiff_t h = begin; h < end; h++) {
      int32_t *row = bordered + (h - begin) * pitch;
      const float *from = x + h * width;
      TZ_ROLLED for (ptrdiff_t i = 0; i < low; i += LANES) *(NAME(ivecu_) *)(row + i) = (IVEC)(least);
      // Beyond the row whole vectors are read, and what comes after it is written over.
      TZ_ROLLED for (ptrdiff_t i = 0; i < kept; i += LANES)
        *(NAME(ivecu_) *)(row + low + i) = NAME(order_)(*(const VECU *)(from + i));
      TZ_ROLLED for (ptrdiff_t i = low + kept; i < wanted; i += LANES) *(NAME(ivecu_) *)(row + i) = (IVEC)(least);
    }
    TZ_ROLLED for (ptrdiff_t h = begin; h < end; h++) {
      NAME(pool_row_)(bordered + (h - begin) * pitch, best + h * line, outputs, taps, dilation, stride);
    }
  }
  const float *const end_of_plane = y + t->output[0] * outputs;
  const ptrdiff_t step = down * line;
  TZ_ROLLED for (ptrdiff_t h = 0; h < t->output[0]; h++, y += outputs) {
    const ptrdiff_t start = h * t->stride[0] - t->low[0];
    const int32_t *const from = best + start * line;
    const bool inside = start >= 0 && start + (rows - 1) * down < height;
    ptrdiff_t first = 0, end = rows;
    if (!inside) {
      while (first < end && start + first * down < 0) first++;
      while (first < end && start + (end - 1) * down >= height) end--;
    }
    TZ_ROLLED for (ptrdiff_t o = 0; o < outputs; o += LANES) {
      const IVEC most = inside        ? NAME(largest_of_)(from + o, rows, step)
                        : first < end ? NAME(largest_of_)(from + first * step + o, end - first, step)
                                      : (IVEC)(least);
      const VEC v = NAME(unordered_)(most);
      // Beyond the row whole vectors are written, which the next rows are written over.
      if (y + o + LANES <= end_of_plane)
        *(VECU *)(y + o) = v;
      else if (outputs - o >= LANES)
        *(VECU *)(y + o) = v;
      else
        NAME(store_some_)(y + o, v, outputs - o);
    }
  }
}

static void NAME(max_pool_)(const tz_pool_plane *t, const float *x, float *y, float *scratch) {
  const bool close = t->dilation[0] == 1 && t->dilation[1] == 1, three = close && t->kernel[0] == 3 && t->kernel[1] == 3;
  if (three && t->stride[1] == 1)
    NAME(pool_plane_)(t, x, y, scratch, 3, 3, 1, 1, 1);
  else if (three && t->stride[1] == 2)
    NAME(pool_plane_)(t, x, y, scratch, 3, 3, 1, 1, 2);
  else if (close && t->kernel[0] == 2 && t->kernel[1] == 2 && t->stride[1] == 2)
    NAME(pool_plane_)(t, x, y, scratch, 2, 2, 1, 1, 2);
  else
    NAME(pool_plane_)(t, x, y, scratch, t->kernel[0], t->kernel[1], t->dilation[0], t->dilation[1], t->stride[1]);
}

// Lets each of n elements be x[i * step] with its place, `place` + i * step, where that is larger or NaN, or none is there yet.
static void NAME(pick_larger_)(const float *x, ptrdiff_t step, int32_t place, float *best, int32_t *places, ptrdiff_t n) {
  ptrdiff_t i = 0;
  if (step <= 2) {
    IVEC at;
    TZ_UNROLL for (int j = 0; j < LANES; j++) at[j] = place + j * (int32_t)step;
    // With steps one element less than two vectors: after the last there may be none.
    for (; i + LANES + (step > 1) <= n; i += LANES, at += LANES * (int32_t)step) {
      VEC v = *(const VECU *)(x + i * step);
      if (step == 2) v = NAME(even_)(v, *(const VECU *)(x + 2 * i + LANES));
      const VEC b = *(const VECU *)(best + i);
      const IVEC p = *(const NAME(ivecu_) *)(places + i), takes = (IVEC)(v > b) | (IVEC)(v != v) | (p < 0);
      *(VECU *)(best + i) = takes ? v : b;
      *(NAME(ivecu_) *)(places + i) = takes ? at : p;
    }
  }
  // Without branches, which would often be guessed wrong.
  for (; i < n; i++) {
    const float v = x[i * step], b = best[i];
    const int32_t p = places[i], takes = -((v > b) | (v != v) | (p < 0));
    best[i] = takes ? v : b;
    places[i] = (takes & (place + (int32_t)(i * step))) | (~takes & p);
  }
}

// sums[i] += x[i * step]
static void NAME(add_taps_)(const float *x, ptrdiff_t step, double *sums, ptrdiff_t n) {
  typedef double unaligned __attribute__((ext_vector_type(TZ_BYTES / 8), aligned(8)));
  ptrdiff_t i = 0;
  if (step == 1) {
    for (; i + DLANES <= n; i += DLANES)
      *(unaligned *)(sums + i) += __builtin_convertvector(*(const HVECU *)(x + i), DVEC);
  } else if (step == 2) {
    // One element less than two vectors: after the last there may be none.
    for (; i + DLANES < n; i += DLANES) {
      const HVEC low = *(const HVECU *)(x + 2 * i), high = *(const HVECU *)(x + 2 * i + DLANES);
      HVEC even;
      TZ_UNROLL for (int j = 0; j < DLANES / 2; j++) {
        even[j] = low[2 * j];
        even[DLANES / 2 + j] = high[2 * j];
      }
      *(unaligned *)(sums + i) += __builtin_convertvector(even, DVEC);
    }
  }
  for (; i < n; i++) sums[i] += (double)x[i * step];
}

const tz_windows_table NAME(tz_windows_) = {
  .add_taps = NAME(add_taps_),
  .mix_rows = NAME(mix_rows_), .mix_places = NAME(mix_places_), .take = NAME(take_), .max_pool = NAME(max_pool_),
  .pick_larger = NAME(pick_larger_),
};
