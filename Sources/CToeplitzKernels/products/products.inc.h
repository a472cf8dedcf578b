// Float32 matrix products of one instruction set. The including file defines
//   SUFFIX, TZ_BYTES   ending of names and vector width in bytes
//   TZ_ROWS            most rows of a register block of two vectors of columns
//   TZ_KEEP(v)         keeps an accumulator in its register, where the compiler would spill it
//
// Register blocks of TZ_ROWS x 2 vectors: a row's element is broadcast, two vectors of columns come from the panel.
// Every result is one chain of multiply-adds in the order of k, whatever the block.

#define LANES ((int)(TZ_BYTES / 4))
#define NAME(base) TZ_JOIN(base, SUFFIX)
#define VEC NAME(fvec_)
#define VECU NAME(fvecu_)

typedef float VEC __attribute__((ext_vector_type(TZ_BYTES / 4)));
typedef float VECU __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(4)));

// Columns [column, column + V vectors) of R rows into `to`, whose rows are `row` elements apart.
TZ_INLINE void NAME(block_)(const tz_product *t, const char *a, const int R, const int V, const ptrdiff_t column,
                            float *to, const ptrdiff_t to_row, const float *from, const ptrdiff_t from_row) {
  VEC acc[TZ_ROWS * 2];
  // Two base pointers and one stride: with a pointer a row the compiler spills them.
  const int half = (R + 1) / 2;
  const ptrdiff_t row = t->a_row * 4, step = t->a_step * 4, next = t->b_step;
  const char *p = a, *q = a + half * row;
  const float *b = t->b + column;
  TZ_UNROLL for (int v = 0; v < V; v++) {
    VEC start = t->start ? *(const VECU *)(t->start + column + v * LANES) : (VEC)(0.0f);
    TZ_UNROLL for (int r = 0; r < R; r++)
      acc[r * V + v] = from ? *(const VECU *)(from + r * from_row + v * LANES) : start;
  }
  _Pragma("clang loop unroll_count(2)") for (ptrdiff_t k = t->steps; k > 0; k--, p += step, q += step, b += next) {
    VEC w[2];
    __asm__("" : "+r"(p), "+r"(q));  // opaque, or strength reduction makes a pointer for each row again
    TZ_UNROLL for (int v = 0; v < V; v++) w[v] = *(const VECU *)(b + v * LANES);
    TZ_UNROLL for (int r = 0; r < R; r++) {
      float x;
      __builtin_memcpy(&x, r < half ? p + r * row : q + (r - half) * row, 4);
      TZ_UNROLL for (int v = 0; v < V; v++) {
        acc[r * V + v] += (VEC)(x) * w[v];
        TZ_KEEP(acc[r * V + v]);
      }
    }
  }
  TZ_UNROLL for (int r = 0; r < R; r++)
    TZ_UNROLL for (int v = 0; v < V; v++) *(VECU *)(to + r * to_row + v * LANES) = acc[r * V + v];
}

#define TZ_BLOCK(R, V)                                                                                                \
  static __attribute__((noinline)) void NAME(block_##R##x##V##_)(const tz_product *t, const char *a, ptrdiff_t column, \
                                                                 float *to, ptrdiff_t to_row, const float *from,       \
                                                                 ptrdiff_t from_row) {                                 \
    NAME(block_)(t, a, R, V, column, to, to_row, from, from_row);                                                      \
  }
#define TZ_BOTH(R) TZ_BLOCK(R, 1) TZ_BLOCK(R, 2)
// Something for each number of rows that a block may have, and the functions made so with V vectors.
#if TZ_ROWS > 6
#define TZ_EACH_ROWS(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14)
#define TZ_FUNCTIONS(base, V) \
  { NAME(base##1x##V##_), NAME(base##2x##V##_), NAME(base##3x##V##_), NAME(base##4x##V##_), NAME(base##5x##V##_), \
    NAME(base##6x##V##_), NAME(base##7x##V##_), NAME(base##8x##V##_), NAME(base##9x##V##_), NAME(base##10x##V##_), \
    NAME(base##11x##V##_), NAME(base##12x##V##_), NAME(base##13x##V##_), NAME(base##14x##V##_) }
#else
#define TZ_EACH_ROWS(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6)
#define TZ_FUNCTIONS(base, V) \
  { NAME(base##1x##V##_), NAME(base##2x##V##_), NAME(base##3x##V##_), NAME(base##4x##V##_), NAME(base##5x##V##_), \
    NAME(base##6x##V##_) }
#endif
TZ_EACH_ROWS(TZ_BOTH)

typedef void (*NAME(block_function_))(const tz_product *, const char *, ptrdiff_t, float *, ptrdiff_t, const float *,
                                      ptrdiff_t);
static const NAME(block_function_) NAME(blocks_)[2][TZ_ROWS] = {TZ_FUNCTIONS(block_, 1), TZ_FUNCTIONS(block_, 2)};

// What comes after the sums of `count` elements in a row, which are y's, but for the activation; residuals lie as they do
// in the result.
TZ_INLINE void NAME(shape_)(const tz_product_epilogue *e, float *y, const ptrdiff_t at, const ptrdiff_t count) {
  for (int n = 0; n < 2; n++)
    if (e->residual[n])
      for (ptrdiff_t j = 0; j < count; j++) y[j] += e->residual[n][at + j];
  if (e->scale != 1.0f)
    for (ptrdiff_t j = 0; j < count; j++) y[j] *= e->scale;
  if (e->slope != 1.0f)
    for (ptrdiff_t j = 0; j < count; j++) {
      const float low = e->slope == 0.0f ? 0.0f : y[j] * e->slope;
      y[j] = y[j] < 0.0f ? low : y[j];
    }
}

static void NAME(finish_)(const tz_product_epilogue *e, float *y, ptrdiff_t at, ptrdiff_t count) {
  NAME(shape_)(e, y, at, count);
  if (e->activation) e->activation(y, y, count, e->a, e->b);
}

// One panel of at most TZ_PANEL columns, all rows in blocks of even height.
static void NAME(panel_)(const tz_product *t) {
  const tz_product_epilogue *e = t->epilogue;
  // Tails of columns and results that go on being worked on are made in the first-level cache.
  float scratch[TZ_ROWS * TZ_PANEL] __attribute__((aligned(64)));
  const bool is_whole = t->columns % LANES == 0;
  const bool is_direct = is_whole && !e;
  const int vectors = (t->columns + LANES - 1) / LANES;
  const ptrdiff_t blocks = (t->rows + TZ_ROWS - 1) / TZ_ROWS;
  for (ptrdiff_t i = 0; i < blocks; i++) {
    const ptrdiff_t first = t->rows * i / blocks;
    const int rows = (int)(t->rows * (i + 1) / blocks - first);
    float *c = t->c + first * t->c_row;
    if (t->adds && !is_whole)
      for (int r = 0; r < rows; r++)
        __builtin_memcpy(scratch + r * TZ_PANEL, c + r * t->c_row, (size_t)t->columns * 4);
    for (int v = 0; v < vectors; v += 2) {
      const int wide = vectors - v >= 2 ? 2 : 1;
      const ptrdiff_t column = v * LANES;
      float *to = is_direct ? c + column : scratch + column;
      const ptrdiff_t to_row = is_direct ? t->c_row : TZ_PANEL;
      const float *from = !t->adds ? NULL : is_whole ? c + column : scratch + column;
      NAME(blocks_)[wide - 1][rows - 1](t, (const char *)(t->a + first * t->a_row), column, to, to_row, from,
                                        is_whole ? t->c_row : TZ_PANEL);
    }
    if (is_direct) continue;
    if (e) {
      for (int r = 0; r < rows; r++) NAME(shape_)(e, scratch + r * TZ_PANEL, t->place + (first + r) * t->c_row, t->columns);
      if (e->activation) {
        // All rows at once, with what lies between them.
        for (int r = 0; r < rows; r++)
          for (int j = t->columns; j < TZ_PANEL; j++) scratch[r * TZ_PANEL + j] = 0.0f;
        e->activation(scratch, scratch, (ptrdiff_t)rows * TZ_PANEL, e->a, e->b);
      }
    }
    for (int r = 0; r < rows; r++)
      __builtin_memcpy(c + r * t->c_row, scratch + r * TZ_PANEL, (size_t)t->columns * 4);
  }
}

// One row of a over TZ_TOGETHER panels at once, so that as many chains run as hide the latency.
#define TZ_TOGETHER (8 * LANES / TZ_PANEL)
static void NAME(row_)(const tz_product *t, const ptrdiff_t panel) {
  enum { vectors = TZ_PANEL / (TZ_BYTES / 4) };
  VEC acc[8];
  TZ_UNROLL for (int v = 0; v < 8; v++) acc[v] = t->start ? *(const VECU *)(t->start + v * LANES) : (VEC)(0.0f);
  const float *a = t->a, *b = t->b;
  for (ptrdiff_t k = 0; k < t->steps; k++, a += t->a_step, b += TZ_PANEL) {
    const VEC x = (VEC)(*a);
    TZ_UNROLL for (int v = 0; v < 8; v++) {
      const float *w = b + v / vectors * panel + v % vectors * LANES;
      __builtin_prefetch((const char *)w + 1024, 0, 3);
      acc[v] += x * *(const VECU *)w;
    }
  }
  TZ_UNROLL for (int v = 0; v < 8; v++) *(VECU *)(t->c + v * LANES) = acc[v];
}

// R rows and V vectors of columns of a product over taps; sums is [R][V vectors].
TZ_INLINE void NAME(taps_)(const tz_tap_product *t, const int R, const int V, float *sums) {
  VEC acc[TZ_ROWS * 2];
  const int half = (R + 1) / 2;
  const ptrdiff_t row = t->w_row * 4, next = t->x_channel, step = t->w_channel * 4;
  const int32_t *w_taps = t->w_taps, *x_taps = t->x_taps;
  const int taps = t->taps;
  TZ_UNROLL for (int r = 0; r < R; r++)
    TZ_UNROLL for (int v = 0; v < V; v++) acc[r * V + v] = (VEC)(t->start ? t->start[r] + 0.0f : 0.0f);  // -0 begins as 0
  const char *w = (const char *)t->w;
  const float *x = t->x;
  // Where channels lie further apart than rows, the processor does not see what comes next.
  const ptrdiff_t span = step > row ? R * row : 0;
  for (int c = t->channels; c > 0; c--, w += step, x += next) {
    for (ptrdiff_t at = 0; at < span; at += 64) __builtin_prefetch(w + 3 * step + at, 0, 3);
    for (int k = 0; k < taps; k++) {
      const float *b = x + x_taps[k];
      const char *p = w + 4 * (ptrdiff_t)w_taps[k], *q = p + half * row;
      __asm__("" : "+r"(p), "+r"(q));  // as above
      VEC in[2];
      TZ_UNROLL for (int v = 0; v < V; v++) in[v] = *(const VECU *)(b + v * LANES);
      TZ_UNROLL for (int r = 0; r < R; r++) {
        float a;
        __builtin_memcpy(&a, r < half ? p + r * row : q + (r - half) * row, 4);
        TZ_UNROLL for (int v = 0; v < V; v++) {
          acc[r * V + v] += (VEC)(a) * in[v];
          TZ_KEEP(acc[r * V + v]);
        }
      }
    }
  }
  TZ_UNROLL for (int r = 0; r < R; r++)
    TZ_UNROLL for (int v = 0; v < V; v++) *(VECU *)(sums + (r * V + v) * LANES) = acc[r * V + v];
}

// The same of a product of runs, in columns from `column` on.
TZ_INLINE void NAME(runs_)(const tz_run_product *t, const int R, const int V, const ptrdiff_t column) {
  VEC acc[TZ_ROWS * 2];
  const int half = (R + 1) / 2;
  const ptrdiff_t row = t->a_row * 4, a_run = t->a_run * 4, b_run = t->b_run, steps = t->steps;
  float *sums = t->sums + column;
  TZ_UNROLL for (int r = 0; r < R; r++)
    TZ_UNROLL for (int v = 0; v < V; v++)
      acc[r * V + v] = t->adds ? *(const VECU *)(sums + r * TZ_PANEL + v * LANES) : (VEC)(0.0f);
  const char *a = (const char *)t->a;
  const float *first = t->b + column;
  for (ptrdiff_t n = t->runs; n > 0; n--, a += a_run, first += b_run) {
    const char *p = a, *q = a + half * row;
    const float *b = first;
    _Pragma("clang loop unroll_count(2)") for (ptrdiff_t k = steps; k > 0; k--, p += 4, q += 4, b += TZ_PANEL) {
      VEC in[2];
      __asm__("" : "+r"(p), "+r"(q));  // as above
      TZ_UNROLL for (int v = 0; v < V; v++) in[v] = *(const VECU *)(b + v * LANES);
      TZ_UNROLL for (int r = 0; r < R; r++) {
        float x;
        __builtin_memcpy(&x, r < half ? p + r * row : q + (r - half) * row, 4);
        TZ_UNROLL for (int v = 0; v < V; v++) {
          acc[r * V + v] += (VEC)(x) * in[v];
          TZ_KEEP(acc[r * V + v]);
        }
      }
    }
  }
  TZ_UNROLL for (int r = 0; r < R; r++)
    TZ_UNROLL for (int v = 0; v < V; v++) *(VECU *)(sums + r * TZ_PANEL + v * LANES) = acc[r * V + v];
}

#define TZ_RUNS(R)                                                                                  \
  static __attribute__((noinline)) void NAME(runs_##R##x1_)(const tz_run_product *t, ptrdiff_t c) { \
    NAME(runs_)(t, R, 1, c);                                                                        \
  }                                                                                                 \
  static __attribute__((noinline)) void NAME(runs_##R##x2_)(const tz_run_product *t, ptrdiff_t c) { \
    NAME(runs_)(t, R, 2, c);                                                                        \
  }
TZ_EACH_ROWS(TZ_RUNS)
typedef void (*NAME(runs_function_))(const tz_run_product *, ptrdiff_t);
static const NAME(runs_function_) NAME(run_blocks_)[2][TZ_ROWS] = {TZ_FUNCTIONS(runs_, 1), TZ_FUNCTIONS(runs_, 2)};

static void NAME(run_product_)(const tz_run_product *t) {
  const int vectors = (t->columns + LANES - 1) / LANES;
  for (int v = 0; v < vectors; v += 2) {
    const int wide = vectors - v >= 2 ? 2 : 1;
    NAME(run_blocks_)[wide - 1][t->rows - 1](t, v * LANES);
  }
}

#define TZ_TAPS(R)                                                                                                      \
  static __attribute__((noinline)) void NAME(taps_##R##x1_)(const tz_tap_product *t, float *s) { NAME(taps_)(t, R, 1, s); } \
  static __attribute__((noinline)) void NAME(taps_##R##x2_)(const tz_tap_product *t, float *s) { NAME(taps_)(t, R, 2, s); }
TZ_EACH_ROWS(TZ_TAPS)
typedef void (*NAME(taps_function_))(const tz_tap_product *, float *);
static const NAME(taps_function_) NAME(tap_blocks_)[2][TZ_ROWS] = {TZ_FUNCTIONS(taps_, 1), TZ_FUNCTIONS(taps_, 2)};

static bool NAME(tap_product_)(const tz_tap_product *t) {
  float sums[TZ_ROWS * 2 * LANES] __attribute__((aligned(64)));
  const int vectors = (t->columns + LANES - 1) / LANES;
  uint32_t most = 0;
  for (int v = 0; v < vectors; v += 2) {
    const int wide = vectors - v >= 2 ? 2 : 1;
    const int first = v * LANES, count = t->columns - first < wide * LANES ? t->columns - first : wide * LANES;
    tz_tap_product part = *t;
    part.x += first;
    NAME(tap_blocks_)[wide - 1][t->rows - 1](&part, sums);
    for (int r = 0; r < t->rows; r++) {
      const float *from = sums + r * wide * LANES;
      float *y = t->y + r * t->y_row;
      const int32_t *places = t->places + first;
      for (int j = 0; j < count; j++) {
        uint32_t bits;
        __builtin_memcpy(&bits, from + j, 4);
        bits &= 0x7FFFFFFF;
        most = bits > most ? bits : most;
        y[places[j]] = from[j];
      }
    }
  }
  return most < 0x7F800000;
}

const tz_products_table NAME(tz_products_) = {.rows = TZ_ROWS, .together = TZ_TOGETHER, .panel = NAME(panel_), .row = NAME(row_),
                                              .finish = NAME(finish_), .taps = NAME(tap_product_),
                                              .runs = NAME(run_product_)};
