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
        for (ptrdiff_t k = 0; k < length; k++) y[2 * k] = y[2 * k + 1] = x[k];
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

// The largest of windows in one plane. Rows come with a border into `scratch`, so that all work is on whole vectors.
static void NAME(max_pool_)(const tz_pool_plane *t, const float *x, float *y, float *scratch) {
  const float least = -__builtin_inff();
  const ptrdiff_t reach = (t->kernel[1] - 1) * t->dilation[1];
  // Outputs of stride 1, of which every stride-th is kept.
  const ptrdiff_t wide = (t->output[1] - 1) * t->stride[1] + 1;
  const ptrdiff_t vectors = (wide + reach + LANES - 1) / LANES, pitch = vectors * LANES + LANES;
  float *line = scratch, *rows = scratch + pitch;
  const ptrdiff_t height = t->input[0], width = t->input[1], low = t->low[1];
  const ptrdiff_t kept = width < pitch - low ? width : pitch - low;
  for (ptrdiff_t h = 0; h < height; h++) {
    float *row = rows + h * pitch;
    for (ptrdiff_t i = 0; i < pitch; i++) row[i] = least;
    __builtin_memcpy(row + low, x + h * width, (size_t)kept * 4);
  }
  for (ptrdiff_t h = 0; h < t->output[0]; h++, y += t->output[1]) {
    for (ptrdiff_t v = 0; v <= vectors; v++) {
      VEC best = (VEC)(least);
      for (ptrdiff_t k = 0; k < t->kernel[0]; k++) {
        const ptrdiff_t at = h * t->stride[0] + k * t->dilation[0] - t->low[0];
        if (at >= 0 && at < height) best = NAME(larger_of_)(*(const VECU *)(rows + at * pitch + v * LANES), best);
      }
      *(VECU *)(line + v * LANES) = best;
    }
    if (t->stride[1] == 1) {
      ptrdiff_t i = 0;
      for (; i < wide; i += LANES) {
        VEC best = (VEC)(least);
        for (ptrdiff_t k = 0; k < t->kernel[1]; k++)
          best = NAME(larger_of_)(*(const VECU *)(line + i + k * t->dilation[1]), best);
        if (i + LANES <= wide) {
          *(VECU *)(y + i) = best;
        } else {
          for (ptrdiff_t j = i; j < wide; j++) y[j] = best[j - i];
        }
      }
      continue;
    }
    for (ptrdiff_t i = 0; i < wide; i += LANES) {
      VEC best = (VEC)(least);
      for (ptrdiff_t k = 0; k < t->kernel[1]; k++)
        best = NAME(larger_of_)(*(const VECU *)(line + i + k * t->dilation[1]), best);
      float block[LANES];
      __builtin_memcpy(block, &best, sizeof(block));
      for (ptrdiff_t o = (i + t->stride[1] - 1) / t->stride[1]; o * t->stride[1] < i + LANES && o < t->output[1]; o++)
        y[o] = block[o * t->stride[1] - i];
    }
  }
}

const tz_windows_table NAME(tz_windows_) = {
  .mix_rows = NAME(mix_rows_), .mix_places = NAME(mix_places_), .take = NAME(take_), .max_pool = NAME(max_pool_),
};
