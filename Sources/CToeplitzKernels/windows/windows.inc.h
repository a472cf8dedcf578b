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
      bool doubles = n == 2 * length;
      for (ptrdiff_t i = 0; doubles && i < n; i++) doubles = places[i] == i / 2;
      ptrdiff_t i = 0;
      if (doubles) {
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

// The largest of windows in one plane. Rows come with a border into `scratch`, so that all work is on whole vectors.
static void NAME(max_pool_)(const tz_pool_plane *t, const float *x, float *y, float *scratch) {
  typedef int32_t unaligned __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(4)));
  const int32_t least = (int32_t)0xFF800000 ^ 0x7FFFFFFF;  // minus infinity
  const ptrdiff_t reach = (t->kernel[1] - 1) * t->dilation[1];
  // Outputs of stride 1, of which every stride-th is kept.
  const ptrdiff_t wide = (t->output[1] - 1) * t->stride[1] + 1;
  const ptrdiff_t vectors = (wide + reach + LANES - 1) / LANES, pitch = vectors * LANES + LANES;
  int32_t *line = (int32_t *)scratch, *rows = line + pitch;
  const ptrdiff_t height = t->input[0], width = t->input[1], low = t->low[1];
  const ptrdiff_t kept = width < pitch - low ? width : pitch - low;
  for (ptrdiff_t h = 0; h < height; h++) {
    int32_t *row = rows + h * pitch;
    const float *from = x + h * width;
    for (ptrdiff_t i = 0; i < low; i++) row[i] = least;
    ptrdiff_t i = 0;
    // Beyond the row whole vectors are read, and what comes after it is written over.
    for (; i < kept; i += LANES) *(unaligned *)(row + low + i) = NAME(order_)(*(const VECU *)(from + i));
    for (i = low + kept; i < pitch + LANES; i += LANES) *(unaligned *)(row + i) = (IVEC)(least);
  }
  const float *const end_of_plane = y + t->output[0] * t->output[1];
  for (ptrdiff_t h = 0; h < t->output[0]; h++, y += t->output[1]) {
    const ptrdiff_t start = h * t->stride[0] - t->low[0], step = t->dilation[0];
    ptrdiff_t first = 0, end = t->kernel[0];
    while (first < end && start + first * step < 0) first++;
    while (first < end && start + (end - 1) * step >= height) end--;
    for (ptrdiff_t v = 0; v <= vectors; v++) {
      IVEC best = (IVEC)(least);
      const int32_t *at = rows + (start + first * step) * pitch + v * LANES;
      for (ptrdiff_t k = first; k < end; k++, at += step * pitch) {
        const IVEC o = *(const unaligned *)at;
        best = o > best ? o : best;
      }
      *(unaligned *)(line + v * LANES) = best;
    }
    for (ptrdiff_t i = 0; i < wide; i += t->stride[1] == 2 ? 2 * LANES : LANES) {
      IVEC best[2] = {(IVEC)(least), (IVEC)(least)};
      for (ptrdiff_t k = 0; k < t->kernel[1]; k++) {
        const IVEC o = *(const unaligned *)(line + i + k * t->dilation[1]);
        best[0] = o > best[0] ? o : best[0];
      }
      if (t->stride[1] == 1) {
        const VEC v = NAME(unordered_)(best[0]);
        // Beyond the row whole vectors are written, which the next rows are written over.
        if (y + i + LANES <= end_of_plane)
          *(VECU *)(y + i) = v;
        else
          for (int j = 0; j < LANES; j++)
            if (i + j < wide) y[i + j] = v[j];
      } else if (t->stride[1] == 2) {
        if (i + LANES < wide)
          for (ptrdiff_t k = 0; k < t->kernel[1]; k++) {
            const IVEC o = *(const unaligned *)(line + i + LANES + k * t->dilation[1]);
            best[1] = o > best[1] ? o : best[1];
          }
        IVEC even;
        TZ_UNROLL for (int j = 0; j < LANES / 2; j++) {
          even[j] = best[0][2 * j];
          even[LANES / 2 + j] = best[1][2 * j];
        }
        const VEC v = NAME(unordered_)(even);
        const ptrdiff_t o = i / 2;
        if (y + o + LANES <= end_of_plane)
          *(VECU *)(y + o) = v;
        else
          for (int j = 0; j < LANES; j++)
            if (o + j < t->output[1]) y[o + j] = v[j];
      } else {
        const VEC v = NAME(unordered_)(best[0]);
        float block[LANES];
        __builtin_memcpy(block, &v, sizeof(block));
        for (ptrdiff_t o = (i + t->stride[1] - 1) / t->stride[1]; o * t->stride[1] < i + LANES && o < t->output[1]; o++)
          y[o] = block[o * t->stride[1] - i];
      }
    }
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
};
