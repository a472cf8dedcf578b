// Sums, extremes, moments and softmax of float32 rows; part of elementwise.inc.h, whose functions it uses.
//
// Sums are in double precision, in 32 chains that are joined in one order on every instruction set.

#define DLANES ((int)(TZ_BYTES / 8))
#define WIDE 32
#define DVEC NAME(doubles_)
#define HVEC NAME(half_row_)
#define HVECU NAME(half_rowu_)
typedef double DVEC __attribute__((ext_vector_type(TZ_BYTES / 8)));
typedef float HVECU __attribute__((ext_vector_type(TZ_BYTES / 8), aligned(4)));

typedef float HVEC __attribute__((ext_vector_type(TZ_BYTES / 8)));
typedef struct {
  DVEC v[WIDE / (TZ_BYTES / 8)];
} NAME(chains_);

// The sum of all chains: halves are added to each other.
TZ_INLINE double NAME(joined_)(NAME(chains_) c) {
  TZ_UNROLL for (int half = WIDE / DLANES / 2; half >= 1; half /= 2)
    TZ_UNROLL for (int v = 0; v < half; v++) c.v[v] += c.v[v + half];
  double lanes[DLANES];
  __builtin_memcpy(lanes, c.v, sizeof(lanes));
  TZ_UNROLL for (int half = DLANES / 2; half >= 1; half /= 2)
    for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
  return lanes[0];
}

// The sum of the elements of a row, or of the squares of their distances from `mean`.
TZ_INLINE double NAME(row_total_)(const float *x, const ptrdiff_t n, const bool squares, const double mean) {
  NAME(chains_) sums = {0};
#define TZ_TERM(d) (squares ? ((d) - mean) * ((d) - mean) : (d))
  ptrdiff_t at = 0;
  for (; at + WIDE <= n; at += WIDE)
    TZ_UNROLL for (int v = 0; v < WIDE / DLANES; v++)
      sums.v[v] += TZ_TERM(__builtin_convertvector(*(const HVECU *)(x + at + v * DLANES), DVEC));
  // What is left goes on with the first chains.
  const ptrdiff_t left = n - at;
  TZ_UNROLL for (int v = 0; v < WIDE / DLANES; v++) {
    const ptrdiff_t rest = left - v * DLANES;
    if (rest >= DLANES) {
      sums.v[v] += TZ_TERM(__builtin_convertvector(*(const HVECU *)(x + at + v * DLANES), DVEC));
    } else if (rest > 0) {
      for (int j = 0; j < DLANES; j++)
        if (j < rest) sums.v[v][j] += TZ_TERM((double)x[at + v * DLANES + j]);
    }
  }
#undef TZ_TERM
  return NAME(joined_)(sums);
}
static double NAME(row_sum_)(const float *x, ptrdiff_t n) { return NAME(row_total_)(x, n, false, 0); }
static double NAME(row_squares_)(const float *x, ptrdiff_t n, double mean) {
  return NAME(row_total_)(x, n, true, mean);
}

// The sum of a row y and that of its products with x - center.
static void NAME(row_products_)(const float *y, const float *x, ptrdiff_t n, double center, double *sum, double *product) {
  NAME(chains_) sums = {0}, products = {0};
  ptrdiff_t at = 0;
  for (; at + WIDE <= n; at += WIDE)
    TZ_UNROLL for (int v = 0; v < WIDE / DLANES; v++) {
      const DVEC a = __builtin_convertvector(*(const HVECU *)(y + at + v * DLANES), DVEC);
      sums.v[v] += a;
      products.v[v] += a * (__builtin_convertvector(*(const HVECU *)(x + at + v * DLANES), DVEC) - center);
    }
  double rest = 0, most = 0;
  for (; at < n; at++) {
    rest += (double)y[at];
    most += (double)y[at] * ((double)x[at] - center);
  }
  *sum = NAME(joined_)(sums) + rest;
  *product = NAME(joined_)(products) + most;
}

// The largest of a row's elements, of which NaN is none.
TZ_INLINE float NAME(row_most_)(const float *x, const ptrdiff_t n, const bool negates) {
  VEC best[4];
  TZ_UNROLL for (int v = 0; v < 4; v++) best[v] = (VEC)(-__builtin_inff());
  ptrdiff_t at = 0;
  for (; at + 4 * LANES <= n; at += 4 * LANES)
    TZ_UNROLL for (int v = 0; v < 4; v++) {
      VEC e = *(const VECU *)(x + at + v * LANES);
      if (negates) e = -e;
      best[v] = e > best[v] ? e : best[v];
    }
  for (; at + LANES <= n; at += LANES) {
    VEC e = *(const VECU *)(x + at);
    if (negates) e = -e;
    best[0] = e > best[0] ? e : best[0];
  }
  if (at < n && n >= LANES) {
    // The last vector, some of whose elements have been seen.
    VEC e = *(const VECU *)(x + n - LANES);
    if (negates) e = -e;
    best[1] = e > best[1] ? e : best[1];
    at = n;
  }
  TZ_UNROLL for (int v = 1; v < 4; v++) best[0] = best[v] > best[0] ? best[v] : best[0];
  float lanes[LANES];
  __builtin_memcpy(lanes, best, sizeof(lanes));
  TZ_UNROLL for (int half = LANES / 2; half >= 1; half /= 2)
    for (int i = 0; i < half; i++) lanes[i] = lanes[i + half] > lanes[i] ? lanes[i + half] : lanes[i];
  float result = lanes[0];
  for (; at < n; at++) {
    const float e = negates ? -x[at] : x[at];
    result = e > result ? e : result;
  }
  return result;
}

static bool NAME(row_has_nan_)(const float *x, ptrdiff_t n) {
  IVEC most = (IVEC)(0);
  ptrdiff_t at = 0;
  for (; at + LANES <= n; at += LANES) {
    const IVEC size = NAME(bits_)(*(const VECU *)(x + at)) & 0x7FFFFFFF;
    most = size > most ? size : most;
  }
  bool found = false;
  for (int i = 0; i < LANES; i++) found = found || most[i] > 0x7F800000;
  for (; at < n; at++) found = found || x[at] != x[at];
  return found;
}

static float NAME(row_largest_)(const float *x, ptrdiff_t n) {
  return NAME(row_has_nan_)(x, n) ? __builtin_nanf("") : NAME(row_most_)(x, n, false);
}
static float NAME(row_smallest_)(const float *x, ptrdiff_t n) {
  return NAME(row_has_nan_)(x, n) ? __builtin_nanf("") : -NAME(row_most_)(x, n, true);
}

// y[j] = the sum of column j over `far` times `near` rows, divided by `divisor`.
static void NAME(column_sums_)(const float *x, ptrdiff_t near_step, ptrdiff_t near, ptrdiff_t far_step, ptrdiff_t far,
                               double divisor, float *y, ptrdiff_t n) {
  ptrdiff_t at = 0;
  for (; at + WIDE <= n; at += WIDE) {
    NAME(chains_) c = {0};
    for (ptrdiff_t f = 0; f < far; f++) {
      const float *row = x + f * far_step + at;
      for (ptrdiff_t r = 0; r < near; r++, row += near_step)
        TZ_UNROLL for (int v = 0; v < WIDE / DLANES; v++)
          c.v[v] += __builtin_convertvector(*(const HVECU *)(row + v * DLANES), DVEC);
    }
    TZ_UNROLL for (int v = 0; v < WIDE / DLANES; v++) {
      const DVEC mean = divisor == 1.0 ? c.v[v] : c.v[v] / divisor;
      *(HVECU *)(y + at + v * DLANES) = __builtin_convertvector(mean, HVEC);
    }
  }
  for (; at < n; at++) {
    double sum = 0;
    for (ptrdiff_t f = 0; f < far; f++)
      for (ptrdiff_t r = 0; r < near; r++) sum += (double)x[f * far_step + r * near_step + at];
    y[at] = (float)(sum / divisor);
  }
}

static void NAME(normalize_)(const float *x, float *y, ptrdiff_t n, float center, float scale, float shift) {
  ptrdiff_t i = 0;
  for (; i + LANES <= n; i += LANES) *(VECU *)(y + i) = (*(const VECU *)(x + i) - center) * scale + shift;
  for (; i < n; i++) y[i] = ((VEC)(x[i]) - center)[0] * scale + shift;
}

// y = ((x - center) * scale + shift) * weight + bias, where weight and bias may be NULL.
static void NAME(normalize_features_)(const float *x, float *y, ptrdiff_t n, float center, float scale, float shift,
                                      const float *weight, const float *bias) {
  ptrdiff_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    VEC v = (*(const VECU *)(x + i) - center) * scale + shift;
    if (weight) v = v * *(const VECU *)(weight + i);
    if (bias) v = v + *(const VECU *)(bias + i);
    *(VECU *)(y + i) = v;
  }
  if (i < n) {
    const ptrdiff_t left = n - i;
    VEC v = (NAME(load_some_)(x + i, left) - center) * scale + shift;
    if (weight) v = v * NAME(load_some_)(weight + i, left);
    if (bias) v = v + NAME(load_some_)(bias + i, left);
    NAME(store_some_)(y + i, v, left);
  }
}

// One row; y may be x. NaN and infinity make the whole row NaN through the sum, which has 32 chains.
static void NAME(softmax_)(const float *x, float *y, ptrdiff_t n, bool logarithmic) {
  const float largest = NAME(row_most_)(x, n, false);
  VEC sums[WIDE / LANES];
  TZ_UNROLL for (int v = 0; v < WIDE / LANES; v++) sums[v] = (VEC)(0.0f);
  ptrdiff_t at = 0;
  for (; at + WIDE <= n; at += WIDE)
    TZ_UNROLL for (int v = 0; v < WIDE / LANES; v++) {
      const VEC e = NAME(v_exp_below_)(*(const VECU *)(x + at + v * LANES) - largest);
      if (!logarithmic) *(VECU *)(y + at + v * LANES) = e;
      sums[v] += e;
    }
  for (; at < n; at += LANES) {
    // What is missing at the end is e to the power minus 104 or less, and counts as 0.
    const ptrdiff_t left = n - at;
    VEC e = (VEC)(0.0f);
    if (left >= LANES) {
      e = NAME(v_exp_below_)(*(const VECU *)(x + at) - largest);
      if (!logarithmic) *(VECU *)(y + at) = e;
    } else {
      float block[LANES];
      for (int j = 0; j < LANES; j++) block[j] = j < left ? x[at + j] - largest : -__builtin_inff();
      e = NAME(v_exp_below_)(*(const VECU *)block);
      *(VECU *)block = e;
      for (int j = 0; j < LANES; j++) {
        if (j >= left) block[j] = 0.0f;
        else if (!logarithmic) y[at + j] = block[j];
      }
      e = *(const VECU *)block;
    }
    const int v = (int)(at / LANES % (WIDE / LANES));
    for (int k = 0; k < WIDE / LANES; k++) sums[k] += k == v ? e : (VEC)(0.0f);
  }
  float lanes[WIDE];
  __builtin_memcpy(lanes, sums, sizeof(lanes));
  TZ_UNROLL for (int half = WIDE / 2; half >= 1; half /= 2)
    for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
  const double sum = (double)lanes[0];
  if (logarithmic) {
    const float shift = (float)log(sum);
    for (ptrdiff_t i = 0; i < n; i++) y[i] = (x[i] - largest) - shift;
  } else {
    const float scale = (float)(1.0 / sum);
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) *(VECU *)(y + i) *= scale;
    for (; i < n; i++) y[i] *= scale;
  }
}

// A vector of columns, of which the first `left` are there where it is not whole.
TZ_INLINE VEC NAME(load_columns_)(const float *x, const bool whole, const ptrdiff_t left) {
  if (whole) return *(const VECU *)x;
  float block[LANES] = {0};
  for (int j = 0; j < LANES; j++)
    if (j < left) block[j] = x[j];
  return *(const VECU *)block;
}
TZ_INLINE void NAME(store_columns_)(float *y, const VEC v, const bool whole, const ptrdiff_t left) {
  if (whole) {
    *(VECU *)y = v;
    return;
  }
  for (int j = 0; j < LANES; j++)
    if (j < left) y[j] = v[j];
}

TZ_INLINE void NAME(softmax_vector_)(const float *x, float *y, const ptrdiff_t n, const ptrdiff_t step,
                                     const bool logarithmic, const bool whole, const ptrdiff_t left) {
  VEC most = (VEC)(-__builtin_inff()), sum = (VEC)(0.0f);
  for (ptrdiff_t i = 0; i < n; i++) {
    const VEC e = NAME(load_columns_)(x + i * step, whole, left);
    most = e > most ? e : most;
  }
  for (ptrdiff_t i = 0; i < n; i++) {
    const VEC e = NAME(v_exp_below_)(NAME(load_columns_)(x + i * step, whole, left) - most);
    sum += e;
    if (!logarithmic) NAME(store_columns_)(y + i * step, e, whole, left);
  }
  const VEC change = logarithmic ? NAME(v_log_)(sum) : 1.0f / sum;
  for (ptrdiff_t i = 0; i < n; i++) {
    const VEC e = NAME(load_columns_)((logarithmic ? x : y) + i * step, whole, left);
    NAME(store_columns_)(y + i * step, logarithmic ? (e - most) - change : e * change, whole, left);
  }
}

// Columns of n elements, `step` apart, of which there are `width`, side by side. Sums go down the column.
static void NAME(softmax_columns_)(const float *x, float *y, ptrdiff_t n, ptrdiff_t step, ptrdiff_t width,
                                   bool logarithmic) {
  ptrdiff_t at = 0;
  for (; at + LANES <= width; at += LANES)
    NAME(softmax_vector_)(x + at, y + at, n, step, logarithmic, true, LANES);
  if (at < width) NAME(softmax_vector_)(x + at, y + at, n, step, logarithmic, false, width - at);
}

const tz_rows_table NAME(tz_rows_) = {
  .sum = NAME(row_sum_), .squares = NAME(row_squares_), .products = NAME(row_products_),
  .largest = NAME(row_largest_), .smallest = NAME(row_smallest_),
  .column_sums = NAME(column_sums_), .normalize = NAME(normalize_), .normalize_features = NAME(normalize_features_),
  .softmax = NAME(softmax_), .softmax_columns = NAME(softmax_columns_),
};
