// Convolution kernels of one element type. The including file defines
//   T         element type            SUFFIX   unique ending for names
//   TZ_BYTES  vector width in bytes   TZ_SUB8  rows of an 8-row block computed at once (8, or 4 with 16 registers)
//   TZ_MAX4   most vectors of a 4-row block

#define LANES ((int)(TZ_BYTES / sizeof(T)))
#define NAME(base) TZ_JOIN(base, SUFFIX)
#define VEC NAME(vec_)
#define VECU NAME(vecu_)

typedef T VEC __attribute__((ext_vector_type(TZ_BYTES / sizeof(T))));
typedef T VECU __attribute__((ext_vector_type(TZ_BYTES / sizeof(T)), aligned(sizeof(T))));

// Values below zero times `slope`. NaN passes through, as PyTorch's leaky_relu lets it.
TZ_INLINE VEC NAME(leaky_)(VEC v, T slope) { return v < (T)0 ? v * slope : v; }

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
        TZ_UNROLL for (int v = 0; v < nv; v++) acc[r][v] += s * b[v];
      }
    }
  }
  if (!t->y) {
    TZ_UNROLL for (int r = 0; r < rows; r++)
      TZ_UNROLL for (int v = 0; v < nv; v++) *(VECU *)(accp + (r * nv + v) * LANES) = acc[r][v];
    return;
  }
  const T slope = (T)t->slope;
  T *y = (T *)t->y + row0 * t->ys;
  const T *res = t->residual ? (const T *)t->residual + row0 * t->ys : NULL;
  TZ_UNROLL for (int r = 0; r < rows; r++) {
    if (row0 + r < t->rows) {
      TZ_UNROLL for (int v = 0; v < nv; v++) {
        VEC value = acc[r][v];
        if (res) value += *(const VECU *)(res + r * t->ys + v * LANES);
        if (slope != (T)1) value = NAME(leaky_)(value, slope);
        *(VECU *)(y + r * t->ys + v * LANES) = value;
      }
    }
  }
}

#define TZ_ROWS8(V)                                          \
  static void NAME(rows8_##V##_)(const tz_conv_tile *t) {    \
    for (int half = 0; half < 8 / TZ_SUB8; half++)           \
      NAME(tile_)(t, 8, TZ_SUB8, half * TZ_SUB8, V);         \
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

static void NAME(store_)(const tz_conv_rows *s) {
  const T slope = (T)s->slope;
  for (int r = 0; r < s->rows; r++) {
    const T *restrict a = (const T *)s->acc + r * s->pitch;
    T *y = (T *)s->y + r * s->ys;
    const T *res = s->residual ? (const T *)s->residual + r * s->ys : NULL;
    const ptrdiff_t step = s->step, n = s->n;
    if (!res && slope == (T)1) {
      if (step == 1) for (ptrdiff_t i = 0; i < n; i++) y[i] = a[i];
      else for (ptrdiff_t i = 0; i < n; i++) y[i * step] = a[i];
    } else {
      for (ptrdiff_t i = 0; i < n; i++) {
        T value = a[i];
        if (res) value += res[i * step];
        y[i * step] = value < (T)0 ? value * slope : value;
      }
    }
  }
}

// Interleaves `count` rows of n values: y[i * count + r] = acc[r][i]. A perfect shuffle in registers: log2(count)
// rounds, each of which interleaves a row of the lower half with its partner in the upper half.
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

TZ_INLINE void NAME(zip_rows_)(const tz_conv_rows *s, const int count) {
  const T slope = (T)s->slope;
  const T *acc = (const T *)s->acc;
  ptrdiff_t i = 0;
  for (; i + LANES <= s->n; i += LANES) {
    VEC a[8], b[8];
    TZ_UNROLL for (int r = 0; r < count; r++) a[r] = *(const VECU *)(acc + r * s->pitch + i);
    TZ_UNROLL for (int half = count / 2; half >= 1; half /= 2) {
      // After the round, row 2 j and 2 j + 1 hold the low and high parts of rows j and j + count / 2 interleaved.
      TZ_UNROLL for (int j = 0; j < count / 2; j++) {
        b[2 * j] = TZ_ZIP(a[j], a[j + count / 2], 0);
        b[2 * j + 1] = TZ_ZIP(a[j], a[j + count / 2], 1);
      }
      TZ_UNROLL for (int j = 0; j < count; j++) a[j] = b[j];
    }
    TZ_UNROLL for (int j = 0; j < count; j++) {
      const ptrdiff_t at = i * count + j * LANES;
      VEC value = a[j];
      if (s->residual) value += *(const VECU *)((const T *)s->residual + at);
      if (slope != (T)1) value = NAME(leaky_)(value, slope);
      *(VECU *)((T *)s->y + at) = value;
    }
  }
  for (; i < s->n; i++)
    for (int r = 0; r < count; r++) {
      const ptrdiff_t at = i * count + r;
      T value = acc[r * s->pitch + i];
      if (s->residual) value += ((const T *)s->residual)[at];
      ((T *)s->y)[at] = value < (T)0 ? value * slope : value;
    }
}

static void NAME(store_interleaved_)(const tz_conv_rows *s) {
  if (s->rows == 2) NAME(zip_rows_)(s, 2);
  else if (s->rows == 4) NAME(zip_rows_)(s, 4);
  else if (s->rows == 8) NAME(zip_rows_)(s, 8);
  else {
    // Any other number of phases: columns outside, so that the output is written in order.
    const T slope = (T)s->slope;
    const T *acc = (const T *)s->acc;
    for (ptrdiff_t i = 0; i < s->n; i++)
      for (int r = 0; r < s->rows; r++) {
        const ptrdiff_t at = i * s->rows + r;
        T value = acc[r * s->pitch + i];
        if (s->residual) value += ((const T *)s->residual)[at];
        ((T *)s->y)[at] = value < (T)0 ? value * slope : value;
      }
  }
}

// One row of a panel: count positions that hold input (first + j) * step + phase.
TZ_INLINE void NAME(pack_row_)(const T *x, T *out, const tz_pack_axis *a, ptrdiff_t phase, int mode, T slope) {
  const ptrdiff_t size = a->size, step = a->step, n = a->count;
  // Positions [inside, outside) lie within the input.
  ptrdiff_t inside = tz_ceil_div(-phase, step) - a->first;
  ptrdiff_t outside = tz_ceil_div(size - phase, step) - a->first;
  inside = inside < 0 ? 0 : inside > n ? n : inside;
  outside = outside < inside ? inside : outside > n ? n : outside;
  if (mode == TZ_PAD_ZEROS) {
    for (ptrdiff_t j = 0; j < inside; j++) out[j] = (T)0;
    for (ptrdiff_t j = outside; j < n; j++) out[j] = (T)0;
  } else {
    for (ptrdiff_t j = 0; j < n; j++) {
      if (j == inside) j = outside;
      if (j >= n) break;
      T value = x[tz_pad_index(tz_pack_index(a, j, phase), size, mode) * a->stride];
      out[j] = value < (T)0 ? value * slope : value;
    }
  }
  const ptrdiff_t m = outside - inside;
  if (m == 0) return;
  const T *from = x + tz_pack_index(a, inside, phase) * a->stride;
  // A single position needs no distance, and with a huge step has none.
  const ptrdiff_t hop = m == 1 ? 1 : step * a->stride;
  T *to = out + inside;
  if (slope == (T)1) {
    if (hop == 1) __builtin_memcpy(to, from, (size_t)m * sizeof(T));
    else if (hop == 2) for (ptrdiff_t j = 0; j < m; j++) to[j] = from[2 * j];
    else for (ptrdiff_t j = 0; j < m; j++) to[j] = from[hop * j];
  } else if (hop == 1) {
    for (ptrdiff_t j = 0; j < m; j++) to[j] = from[j] < (T)0 ? from[j] * slope : from[j];
  } else {
    for (ptrdiff_t j = 0; j < m; j++) to[j] = from[hop * j] < (T)0 ? from[hop * j] * slope : from[hop * j];
  }
}

static void NAME(pack_)(const tz_pack *p) {
  const tz_pack_axis *d = &p->axis[0], *h = &p->axis[1], *w = &p->axis[2];
  const T slope = (T)p->slope;
  for (int c = 0; c < p->channels; c++) {
    const T *x = (const T *)p->x + c * p->x_channel;
    T *out = (T *)p->panel + c * p->panel_channel;
    for (int pd = 0; pd < d->phase_count; pd++)
      for (ptrdiff_t jd = 0; jd < d->count; jd++) {
        const ptrdiff_t id = tz_pad_index(tz_pack_index(d, jd, d->phases[pd]), d->size, p->mode);
        for (int ph = 0; ph < h->phase_count; ph++)
          for (int pw = 0; pw < w->phase_count; pw++)
            for (ptrdiff_t jh = 0; jh < h->count; jh++, out += p->panel_row) {
              const ptrdiff_t ih = tz_pad_index(tz_pack_index(h, jh, h->phases[ph]), h->size, p->mode);
              if (id < 0 || ih < 0) {
                for (ptrdiff_t j = 0; j < w->count; j++) out[j] = (T)0;
              } else {
                NAME(pack_row_)(x + id * d->stride + ih * h->stride, out, w, w->phases[pw], p->mode, slope);
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
  .store = NAME(store_), .store_interleaved = NAME(store_interleaved_), .pack = NAME(pack_),
};

#undef LANES
#undef NAME
#undef VEC
#undef VECU
#undef TZ_ROWS8
#undef TZ_ROWS4
#undef TZ_ROWS1
#undef TZ_ZIP
