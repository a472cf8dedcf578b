// Squares of Toom-Cook transforms for images: F(4x4, 3x3), F(2x2, 3x3) and, for two taps on each axis, F(3x3, 2x2).
// The including file (toom.inc.h) has defined NAME(combine_) and what conv.inc.h defines.

// Every m-th element of several vectors, from the k-th on, in one shuffle of the first two vectors and one that adds the
// third; and elements k * lanes and on of three vectors that take turns.
#define TZ_HOP3(k, l) (3 * (l) + (k) < 2 * TZ_LANES ? 3 * (l) + (k) : 0)
#define TZ_HOP3_LAST(k, l) (3 * (l) + (k) < 2 * TZ_LANES ? (l) : 3 * (l) + (k) - TZ_LANES)
#define TZ_TURN(k, l) ((k) * TZ_LANES + (l))
#define TZ_TURN3(k, l) (TZ_TURN(k, l) % 3 * TZ_LANES % (2 * TZ_LANES) + TZ_TURN(k, l) / 3)
#define TZ_TURN3_LAST(k, l) (TZ_TURN(k, l) % 3 == 2 ? TZ_LANES + TZ_TURN(k, l) / 3 : (l))
#define TZ_TAKE3(a, b, c, k) \
  __builtin_shufflevector(__builtin_shufflevector(a, b, TZ_EACH(TZ_HOP3, k)), c, TZ_EACH(TZ_HOP3_LAST, k))
#define TZ_WEAVE3(a, b, c, k) \
  __builtin_shufflevector(__builtin_shufflevector(a, b, TZ_EACH(TZ_TURN3, k)), c, TZ_EACH(TZ_TURN3_LAST, k))

// d[j] = every m-th element from x[j] on, for j < count <= m.
TZ_INLINE void NAME(split_)(const float *x, VEC *d, const int m, const int count) {
  VEC a[4];
  TZ_UNROLL for (int i = 0; i < m; i++) a[i] = *(const VECU *)(x + i * LANES);
  if (m == 2) {
    d[0] = TZ_EVEN(a[0], a[1]);
    if (count > 1) d[1] = TZ_ODD(a[0], a[1]);
  } else if (m == 3) {
    d[0] = TZ_TAKE3(a[0], a[1], a[2], 0);
    if (count > 1) d[1] = TZ_TAKE3(a[0], a[1], a[2], 1);
    if (count > 2) d[2] = TZ_TAKE3(a[0], a[1], a[2], 2);
  } else {
    const VEC even[2] = {TZ_EVEN(a[0], a[1]), TZ_EVEN(a[2], a[3])};
    const VEC odd[2] = {TZ_ODD(a[0], a[1]), TZ_ODD(a[2], a[3])};
    d[0] = TZ_EVEN(even[0], even[1]);
    if (count > 1) d[1] = TZ_EVEN(odd[0], odd[1]);
    if (count > 2) d[2] = TZ_ODD(even[0], even[1]);
    if (count > 3) d[3] = TZ_ODD(odd[0], odd[1]);
  }
}

// The m vectors whose elements take turns: the opposite of split_.
TZ_INLINE void NAME(weave_)(VEC *o, const int m) {
  if (m != 3) {
    NAME(zip_)(o, m);
    return;
  }
  const VEC a = TZ_WEAVE3(o[0], o[1], o[2], 0), b = TZ_WEAVE3(o[0], o[1], o[2], 1), c = TZ_WEAVE3(o[0], o[1], o[2], 2);
  o[0] = a, o[1] = b, o[2] = c;
}

// TZ_SQUARE(name, outputs and products on each axis, A, B).
//
// Images are transformed along h first, whole rows at a time. What comes out lies in `between` so that tiles follow one
// another without a gap where a row of them ends, once from the first input of each tile on and, since tiles overlap,
// once from the first of its right neighbour.
#define TZ_SQUARE(KIND, M, N, A, B)                                                                           \
  static void NAME(toom_image_##KIND##_)(const tz_toom_image *t) {                                            \
    const ptrdiff_t width = M * t->wide, half = t->half;                                                      \
    for (ptrdiff_t i = 0; i < t->high; i++) {                                                                 \
      const float *image = t->image + i * M * t->row;                                                         \
      float *rows = t->between + i * width;                                                                   \
      for (ptrdiff_t f = 0; f < width + N - M; f += LANES) {                                                  \
        VEC d[N];                                                                                             \
        TZ_UNROLL for (int j = 0; j < N; j++) d[j] = *(const VECU *)(image + j * t->row + f);                 \
        TZ_UNROLL for (int p = 0; p < N; p++) *(VECU *)(rows + 2 * p * half + f) = NAME(combine_)(B[p], d, N); \
      }                                                                                                       \
      for (int p = 0; p < N; p++)                                                                             \
        for (ptrdiff_t f = 0; f < width; f += LANES)                                                          \
          *(VECU *)(rows + (2 * p + 1) * half + f) = *(const VECU *)(rows + 2 * p * half + M + f);            \
    }                                                                                                         \
    const ptrdiff_t tiles = t->high * t->wide;                                                                \
    for (int p = 0; p < N; p++)                                                                               \
      for (ptrdiff_t f = 0; f < tiles; f += LANES) {                                                          \
        VEC d[N];                                                                                             \
        NAME(split_)(t->between + 2 * p * half + M * f, d, M, M);                                             \
        NAME(split_)(t->between + (2 * p + 1) * half + M * f, d + M, M, N - M);                               \
        TZ_UNROLL for (int q = 0; q < N; q++)                                                                 \
          *(VECU *)(t->x + (p * N + q) * t->point + f) = NAME(combine_)(B[q], d, N);                          \
      }                                                                                                       \
  }                                                                                                           \
  /* The outputs of one vector of tiles or rows, from products `from[p * point]`. */                         \
  TZ_INLINE void NAME(toom_tile_##KIND##_)(const float *from, ptrdiff_t point, VEC start, VEC (*o)[M]) {      \
    VEC part[M][N];                                                                                           \
    TZ_UNROLL for (int q = 0; q < N; q++) {                                                                   \
      VEC y[N];                                                                                               \
      TZ_UNROLL for (int p = 0; p < N; p++) y[p] = *(const VECU *)(from + (p * N + q) * point);               \
      TZ_UNROLL for (int i = 0; i < M; i++) part[i][q] = NAME(combine_)(A[i], y, N);                          \
    }                                                                                                         \
    TZ_UNROLL for (int i = 0; i < M; i++)                                                                     \
      TZ_UNROLL for (int j = 0; j < M; j++) o[i][j] = NAME(combine_)(A[j], part[i], N) + start;               \
  }                                                                                                           \
  static bool NAME(toom_square_##KIND##_)(const tz_toom_output *t) {                                          \
    VEC strange = (VEC)(0.0f);                                                                                \
    for (int r = 0; r < t->rows; r++)                                                                         \
      for (int v = 0; v < t->vectors; v++) {                                                                  \
        VEC o[M][M];                                                                                          \
        NAME(toom_tile_##KIND##_)(t->y + (r * t->vectors + v) * LANES, t->point, (VEC)(t->start[r]), o);      \
        float *to = t->sums + r / t->together * t->group + r % t->together * t->row + v * M * LANES;          \
        TZ_UNROLL for (int i = 0; i < M; i++, to += t->image) {                                               \
          TZ_UNROLL for (int j = 0; j < M; j++) strange += o[i][j] - o[i][j];                                 \
          NAME(weave_)(o[i], M);                                                                              \
          TZ_UNROLL for (int j = 0; j < M; j++) *(VECU *)(to + j * LANES) = o[i][j];                          \
        }                                                                                                     \
      }                                                                                                       \
    return NAME(all_zero_)(strange);                                                                          \
  }                                                                                                           \
  static bool NAME(toom_turned_##KIND##_)(const tz_toom_output *t) {                                          \
    VEC strange = (VEC)(0.0f), lines[M][M * LANES];                                                           \
    const VEC start = *(const VECU *)t->start;                                                                \
    for (int first = 0; first < t->columns; first += LANES) {                                                 \
      const int left = t->columns - first, count = left < LANES ? left : LANES;                               \
      for (int c = 0; c < LANES; c++) {                                                                       \
        VEC o[M][M];                                                                                          \
        /* Columns past the last one repeat it. */                                                            \
        const int tile = first + (c < count ? c : count - 1), column = t->is_sorted ? tz_toom_sorted[tile] : tile; \
        NAME(toom_tile_##KIND##_)(t->y + column * TZ_WIDE_ROWS, t->point, start, o);                          \
        TZ_UNROLL for (int i = 0; i < M; i++)                                                                 \
          TZ_UNROLL for (int j = 0; j < M; j++) {                                                             \
            strange += o[i][j] - o[i][j];                                                                     \
            lines[i][M * c + j] = o[i][j];                                                                    \
          }                                                                                                   \
      }                                                                                                       \
      for (int i = 0; i < M; i++)                                                                             \
        for (int v = 0; v < M; v++) {                                                                         \
          VEC *a = &lines[i][v * LANES];                                                                      \
          NAME(transpose_)(a);                                                                                \
          for (int r = 0; r < t->rows; r++)                                                                   \
            *(VECU *)(t->sums + r / t->together * t->group + r % t->together * t->row + i * t->image +        \
                      (M * first + v * LANES)) = a[r];                                                        \
        }                                                                                                     \
    }                                                                                                         \
    return NAME(all_zero_)(strange);                                                                          \
  }

TZ_SQUARE(4x3, 4, 6, tz_toom_a3, tz_toom_b3)
TZ_SQUARE(2x3, 2, 4, tz_toom_a2x3, tz_toom_b4p)
TZ_SQUARE(3x2, 3, 4, tz_toom_a3x2, tz_toom_b4p)

// Small images, whose tiles fill one vector: nothing is written in between.
#if defined(TZ_MASKS512)
#define TZ_SMALL NAME(toom_small_)
// Of rows i and i + 1 of tiles: every second element of four tiles from k on, and from k + 2 on in the upper half.
#define TZ_TILES(a, b, k)                                                                                               \
  __builtin_shufflevector(a, b, (k), (k) + 2, (k) + 4, (k) + 6, (k) + 16, (k) + 18, (k) + 20, (k) + 22, (k) + 2, (k) + 4, \
                          (k) + 6, (k) + 8, (k) + 18, (k) + 20, (k) + 22, (k) + 24)
#define TZ_HALVES(a, b, k)                                                                                              \
  __builtin_shufflevector(a, b, (k), (k) + 1, (k) + 2, (k) + 3, (k) + 4, (k) + 5, (k) + 6, (k) + 7, (k) + 16, (k) + 17, \
                          (k) + 18, (k) + 19, (k) + 20, (k) + 21, (k) + 22, (k) + 23)
// The same, sorted.
#define TZ_SORTED(a, b, k)                                                                                              \
  __builtin_shufflevector(a, b, (k) + 20, (k) + 21, (k) + 22, (k), (k) + 1, (k) + 2, (k) + 4, (k) + 5, (k) + 6,         \
                          (k) + 16, (k) + 17, (k) + 18, (k) + 3, (k) + 7, (k) + 19, (k) + 23)
TZ_INLINE void NAME(toom_tiles_)(const tz_toom_small *t, const bool sorts) {
  enum { rows = 10, n = 4 };
  const tz_toom_small own = *t;
  const ptrdiff_t before = own.first[1] < 0 ? -own.first[1] : 0, after = own.size[1] - own.first[1];
  const ptrdiff_t to = after < rows ? after : rows, from = before < to ? before : to;
  const float *image = own.image + own.first[0] * own.row + own.first[1];
  float *x = own.x;
  for (ptrdiff_t c = 0; c < own.channels; c++, image += own.image_channel, x += own.channel) {
    VEC d[rows];
    TZ_UNROLL for (int r = 0; r < rows; r++) {
      const bool inside = own.first[0] + r >= 0 && own.first[0] + r < own.size[0];
      const VEC value = inside ? NAME(get_range_)(image + r * own.row, from, to) : (VEC)(0.0f);
      d[r] = NAME(rectify_)(value, own.slope);
    }
    TZ_UNROLL for (int p = 0; p < n; p++) {
      VEC v[n], o[n];
      TZ_UNROLL for (int i = 0; i < n; i++) v[i] = NAME(combine_)(tz_toom_b4p[p], d + 2 * i, n);
      const VEC even0 = TZ_TILES(v[0], v[1], 0), even1 = TZ_TILES(v[2], v[3], 0);
      const VEC odd0 = TZ_TILES(v[0], v[1], 1), odd1 = TZ_TILES(v[2], v[3], 1);
      o[0] = sorts ? TZ_SORTED(even0, even1, 0) : TZ_HALVES(even0, even1, 0);
      o[1] = sorts ? TZ_SORTED(odd0, odd1, 0) : TZ_HALVES(odd0, odd1, 0);
      o[2] = sorts ? TZ_SORTED(even0, even1, 8) : TZ_HALVES(even0, even1, 8);
      o[3] = sorts ? TZ_SORTED(odd0, odd1, 8) : TZ_HALVES(odd0, odd1, 8);
      TZ_UNROLL for (int q = 0; q < n; q++) *(VECU *)(x + (p * n + q) * own.point) = NAME(combine_)(tz_toom_b4p[q], o, n);
    }
  }
}
static void NAME(toom_small_)(const tz_toom_small *t) {
  if (t->is_sorted) NAME(toom_tiles_)(t, true);
  else NAME(toom_tiles_)(t, false);
}
#undef TZ_TILES
#undef TZ_HALVES
#undef TZ_SORTED
#else
#define TZ_SMALL NULL
#endif

#undef TZ_HOP3
#undef TZ_HOP3_LAST
#undef TZ_TURN
#undef TZ_TURN3
#undef TZ_TURN3_LAST
#undef TZ_TAKE3
#undef TZ_WEAVE3
#undef TZ_SQUARE
