// Convolution kernels of one element type. The including file defines
//   T         element type            SUFFIX   unique ending for names
//   TZ_BYTES  vector width in bytes   TZ_SUB8  rows of an 8-row block computed at once (8, or 4 with 16 registers)
//   TZ_MAX4   most vectors of a 4-row block        TZ_WIDE_AT_ONCE  columns of a wide block computed at once

#define LANES ((int)(TZ_BYTES / sizeof(T)))
// F(k, l) for all lanes l: the elements that a shuffle takes.
#if TZ_LANES == 16
#define TZ_EACH(F, k) F(k, 0), F(k, 1), F(k, 2), F(k, 3), F(k, 4), F(k, 5), F(k, 6), F(k, 7), F(k, 8), F(k, 9), \
  F(k, 10), F(k, 11), F(k, 12), F(k, 13), F(k, 14), F(k, 15)
#elif TZ_LANES == 8
#define TZ_EACH(F, k) F(k, 0), F(k, 1), F(k, 2), F(k, 3), F(k, 4), F(k, 5), F(k, 6), F(k, 7)
#elif TZ_LANES == 4
#define TZ_EACH(F, k) F(k, 0), F(k, 1), F(k, 2), F(k, 3)
#else
#define TZ_EACH(F, k) F(k, 0), F(k, 1)
#endif
// The elements of even number, and of odd number, of two vectors after each other.
#define TZ_HOP2(k, l) (2 * (l) + (k))
#define TZ_EVEN(a, b) __builtin_shufflevector(a, b, TZ_EACH(TZ_HOP2, 0))
#define TZ_ODD(a, b) __builtin_shufflevector(a, b, TZ_EACH(TZ_HOP2, 1))
// Of their lower halves, or their higher ones, elements that take turns.
#define TZ_PAIR(k, l) ((k) * TZ_LANES / 2 + (l) / 2 + (l) % 2 * TZ_LANES)
#define TZ_ZIP(a, b, high) __builtin_shufflevector(a, b, TZ_EACH(TZ_PAIR, high))
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

// Asks for the memory some distance after an output that is about to be written: a store waits for its line, and so few
// can wait at a time that writing alone would take twice as long. Twice, since few can be on their way to the first-level
// cache as well.
TZ_INLINE void NAME(near_output_)(const void *y) {
  __builtin_prefetch((const char *)y + 1024, 1, 2);
  __builtin_prefetch((const char *)y + 256, 1, 3);
}

// Whether a slope and a ceiling together keep values between two numbers, and these. NaN passes through.
TZ_INLINE bool NAME(clamps_)(T slope) { return (T)0.5 != (T)0 && (slope == (T)0 || slope == (T)1); }
TZ_INLINE T NAME(lowest_)(T slope) { return slope == (T)0 ? (T)0 : (T)-__builtin_huge_val(); }
TZ_INLINE T NAME(highest_)(bool bounded, double ceiling) { return bounded ? (T)ceiling : (T)__builtin_huge_val(); }
TZ_INLINE VEC NAME(clamp_)(VEC v, VEC lowest, VEC highest) {
  v = v < lowest ? lowest : v;
  return v > highest ? highest : v;
}

// Interleaving in registers: each round zips a row of the lower half with its partner in the upper half, so that after
// log2(count) rounds the rows hold y[i * count + r] = acc[r][i] in order.
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

// What is done with sums: nothing, a clamp, a residual and a clamp, or all that there is.
enum { NAME(plain_), NAME(clamped_), NAME(added_), NAME(shaped_) };

// Finishes whole vectors of sums and writes them; acc is [rows][8]. With `zips` those of two rows take turns. With `leads`,
// what follows in each row comes nearer.
TZ_INLINE void NAME(tile_store_)(const tz_conv_tile *t, const VEC *acc, const int row0, const int rows, const int nv,
                                 const int way, const bool leads, const bool zips) {
  const int turns = zips ? 2 : 1;
  const T slope = (T)t->slope, scale = (T)t->scale;
  const bool bounded = t->bounded;
  const T ceiling = bounded ? (T)t->ceiling : (T)0;
  const bool clamps = way == NAME(clamped_) || way == NAME(added_);
  const VEC lowest = (VEC)(clamps ? NAME(lowest_)(slope) : (T)0);
  const VEC highest = (VEC)(clamps ? NAME(highest_)(bounded, t->ceiling) : (T)0);
  // Locals, since what is stored might be the tile for all that the compiler knows.
  const ptrdiff_t ys = t->ys;
  const int left = t->rows - row0;
  ptrdiff_t row = row0 / turns * ys;
  T *y = (T *)t->y;
  const T *res0 = (const T *)t->residual[0], *res1 = (const T *)t->residual[1];
  TZ_UNROLL for (int r = 0; r < rows; r += turns, row += ys) {
    if (r < left) {
      TZ_UNROLL for (int v = 0; v < nv; v++) {
        VEC a[2] = {acc[r * 8 + v], acc[(r + turns - 1) * 8 + v]};
        if (zips) NAME(zip_)(a, 2);
        TZ_UNROLL for (int i = 0; i < turns; i++) {
          const ptrdiff_t at = row + (v * turns + i) * LANES;
          if (leads) NAME(near_output_)(y + at);
          VEC value = a[i];
          if (way == NAME(added_)) value += *(const VECU *)(res0 + at);
          if (clamps) value = NAME(clamp_)(value, lowest, highest);
          if (way == NAME(shaped_)) {
            if (res0) value += *(const VECU *)(res0 + at);
            if (res1) value += *(const VECU *)(res1 + at);
            if (scale != (T)1) value *= scale;
            if (slope != (T)1) value = NAME(leaky_)(value, slope);
            if (bounded) value = value > ceiling ? (VEC)(ceiling) : value;
          }
          *(VECU *)(y + at) = value;
        }
      }
    }
  }
}

// Asks for the weights of the steps some distance ahead.
TZ_INLINE void NAME(near_weights_)(const T *w) { __builtin_prefetch((const char *)w + 2048, 0, 3); }

// Asks for the inputs `far` bytes ahead.
TZ_INLINE void NAME(near_inputs_)(const T *x, const ptrdiff_t far, const int nv) {
  TZ_UNROLL for (int v = 0; v < nv; v++) __builtin_prefetch((const char *)(x + v * LANES) + far, 0, 3);
}

// Whether the weights of row r come with the multiply-adds themselves: so many that these, which then all read memory, do
// not wait for each other's loads.
#if defined(TZ_FLOAT32) && defined(TZ_MULTIPLY_ADD_FROM)
#define TZ_COMES_ALONG(r, nv) ((nv) == 1 || ((nv) == 2 && (r) % 4 == 0) || ((nv) == 3 && (r) % 3 == 0))
#endif

// The products of one channel and tap. Where another tenant of the core takes half of its instructions, those beside the
// multiplications decide: the loops around this are kept as short as they can be.
TZ_INLINE void NAME(tile_step_)(VEC (*acc)[8], const T *x, const T *w, const int rows, const int nv) {
  VEC b[8];
  TZ_UNROLL for (int v = 0; v < nv; v++) b[v] = *(const VECU *)(x + v * LANES);
  TZ_UNROLL for (int r = 0; r < rows; r++) {
#ifdef TZ_COMES_ALONG
    if (TZ_COMES_ALONG(r, nv)) {
      TZ_UNROLL for (int v = 0; v < nv; v++) TZ_MULTIPLY_ADD_FROM(acc[r][v], b[v], w[r]);
      continue;
    }
#endif
    VEC s = (VEC)(w[r]);
    TZ_UNROLL for (int v = 0; v < nv; v++) {
      acc[r][v] += s * b[v];
      TZ_KEEP(acc[r][v]);
    }
  }
}

// The products of one channel and all taps.
TZ_INLINE const T *NAME(tile_taps_)(VEC (*acc)[8], const T *x, const T *w, const int32_t *toff, const int taps,
                                    const ptrdiff_t spacing, const int block, const int rows, const int nv) {
  int k = 0;
  if (spacing) {
    for (; k + 3 <= taps; k += 3, w += 3 * block) {
      const T *first = x + toff[k];
      NAME(near_weights_)(w);
      NAME(tile_step_)(acc, first, w, rows, nv);
      NAME(tile_step_)(acc, first + spacing, w + block, rows, nv);
      NAME(tile_step_)(acc, first + 2 * spacing, w + 2 * block, rows, nv);
    }
  }
  for (; k + 2 <= taps; k += 2, w += 2 * block) {
    NAME(near_weights_)(w);
    NAME(tile_step_)(acc, x + toff[k], w, rows, nv);
    NAME(tile_step_)(acc, x + toff[k + 1], w + block, rows, nv);
  }
  if (k == taps) return w;
  NAME(near_weights_)(w);
  NAME(tile_step_)(acc, x + toff[k], w, rows, nv);
  return w + block;
}

// The products of `count` channels and the only tap; with `nears`, inputs `far` bytes ahead are asked for.
TZ_INLINE void NAME(tile_channels_)(VEC (*acc)[8], const T *x, const T *w, const ptrdiff_t xs, int count,
                                    const int block, const int rows, const int nv, const bool nears, const ptrdiff_t far) {
  enum { together = 2 };  // four were slower where images are large
  for (; count >= together; count -= together, x += together * xs, w += together * block) {
    TZ_UNROLL for (int i = 0; i < together * block; i += 64 / (int)sizeof(T)) NAME(near_weights_)(w + i);
    TZ_UNROLL for (int i = 0; i < together; i++) {
      if (nears) NAME(near_inputs_)(x + i * xs, far, nv);
      NAME(tile_step_)(acc, x + i * xs, w + i * block, rows, nv);
    }
  }
  for (; count > 0; count--, x += xs, w += block) NAME(tile_step_)(acc, x, w, rows, nv);
}

// What a kernel call brings near with its first channel, if anything: lines that another pack will read.
TZ_INLINE const char *NAME(near_)(const tz_conv_tile *t) { return t->near.channel ? t->near.x : (const char *)t->x; }

// Adds the products of all channels and taps to the sums.
TZ_INLINE void NAME(tile_steps_)(const tz_conv_tile *t, VEC (*acc)[8], const int block, const int rows, const int row0,
                                 const int nv) {
  const T *x = (const T *)t->x, *w = (const T *)t->w + row0;
  const int32_t *toff = t->toff;
  const int taps = t->taps, channels = t->channels;
  const ptrdiff_t xs = t->xs, far = t->far, spacing = t->spacing, hop = t->near.channel;
  const char *near = NAME(near_)(t);
  int c = 0;
  if (t->y && rows > 1 && (taps > 1 || t->residual[0])) {
    // Of what the store reads and writes a line comes nearer with each channel; where there is little to multiply and
    // nothing to read, that costs more than it saves.
    const int zips = t->zips;
    const T *to = (const T *)t->y + (row0 >> zips) * t->ys;
    const T *added = t->residual[0] ? (const T *)t->residual[0] + (row0 >> zips) * t->ys : to;
    for (int v = 0; v < nv << zips; v++) {
      ptrdiff_t line = v * LANES;
      for (int r = 0; r < rows >> zips && c < channels; r++, c++, line += t->ys, x += xs) {
        __builtin_prefetch(to + line, 1, 3);
        __builtin_prefetch(added + line, 0, 3);
        if (far) NAME(near_inputs_)(x, far, nv);
        __builtin_prefetch(near, 0, 2);
        near += hop;
        w = NAME(tile_taps_)(acc, x, w, toff, taps, spacing, block, rows, nv);
      }
    }
  }
  if (taps != 1) {
    for (; c < channels; c++, x += xs, near += hop) {
      __builtin_prefetch(near, 0, 2);
      w = NAME(tile_taps_)(acc, x, w, toff, taps, spacing, block, rows, nv);
    }
  } else if (rows > 1 && far) {
    NAME(tile_channels_)(acc, x + toff[0], w, xs, channels - c, block, rows, nv, true, far);
  } else {
    NAME(tile_channels_)(acc, x + toff[0], w, xs, channels - c, block, rows, nv, false, 0);
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
  NAME(tile_steps_)(t, acc, block, rows, row0, nv);
  if (!t->y) {
    TZ_UNROLL for (int r = 0; r < rows; r++)
      TZ_UNROLL for (int v = 0; v < nv; v++) *(VECU *)(accp + (r * nv + v) * LANES) = acc[r][v];
    return;
  }
  const bool is_light = t->channels * t->taps < TZ_LIGHT_STEPS;
  const bool shapes = !NAME(clamps_)((T)t->slope) || t->residual[1] || t->scale != 1;
  const bool is_plain = t->slope == 1 && !t->bounded;
  if (rows > 1 && t->zips) {
    if (shapes || t->residual[0] || !is_plain) NAME(tile_store_)(t, acc[0], row0, rows, nv, NAME(shaped_), is_light, true);
    else NAME(tile_store_)(t, acc[0], row0, rows, nv, NAME(plain_), is_light, true);
  } else if (shapes) NAME(tile_store_)(t, acc[0], row0, rows, nv, NAME(shaped_), is_light, false);
  else if (t->residual[0]) NAME(tile_store_)(t, acc[0], row0, rows, nv, NAME(added_), is_light, false);
  else if (is_light && is_plain) NAME(tile_store_)(t, acc[0], row0, rows, nv, NAME(plain_), true, false);
  else if (is_light) NAME(tile_store_)(t, acc[0], row0, rows, nv, NAME(clamped_), true, false);
  else if (!is_plain) NAME(tile_store_)(t, acc[0], row0, rows, nv, NAME(clamped_), false, false);
  else NAME(tile_store_)(t, acc[0], row0, rows, nv, NAME(plain_), false, false);
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

// LANES vectors become the columns of the square that they are the rows of.
TZ_INLINE void NAME(transpose_)(VEC *a) { NAME(zip_)(a, LANES); }

#if TZ_LANES >= 4
// Four elements in memory.
typedef T NAME(quad_) __attribute__((ext_vector_type(4), aligned(sizeof(T))));

// Vectors as quads of four elements: element i of quad q of a[j] becomes element j of quad q of a[i].
#define TZ_QUAD_ZIP(k, l) ((l) / 4 * 4 + 2 * (k) + (l) % 4 / 2 + (l) % 2 * TZ_LANES)
#define TZ_QUAD_JOIN(k, l) ((l) / 4 * 4 + 2 * (k) + (l) % 2 + (l) % 4 / 2 * TZ_LANES)
TZ_INLINE void NAME(turn_quads_)(VEC *a) {
  VEC b[4];
  TZ_UNROLL for (int i = 0; i < 2; i++) {
    b[2 * i] = __builtin_shufflevector(a[2 * i], a[2 * i + 1], TZ_EACH(TZ_QUAD_ZIP, 0));
    b[2 * i + 1] = __builtin_shufflevector(a[2 * i], a[2 * i + 1], TZ_EACH(TZ_QUAD_ZIP, 1));
  }
  TZ_UNROLL for (int i = 0; i < 2; i++) {
    a[2 * i] = __builtin_shufflevector(b[i], b[i + 2], TZ_EACH(TZ_QUAD_JOIN, 0));
    a[2 * i + 1] = __builtin_shufflevector(b[i], b[i + 2], TZ_EACH(TZ_QUAD_JOIN, 1));
  }
}
#undef TZ_QUAD_ZIP
#undef TZ_QUAD_JOIN
#endif

// line[i * count + r] = rows[r * pitch + i] for a vector of columns and at least 3 rows. Four elements may be written past the
// end.
#define TZ_MOST_TOGETHER 64
// The most rows of a block.
#define TZ_MOST_ROWS 32
TZ_INLINE void NAME(weave_rows_)(const T *rows, ptrdiff_t pitch, T *line, int count) {
#if TZ_LANES >= 4
  const int last = count > 4 ? count - 4 : 0;
  for (int q = 0; q < count; q += 4) {
    const int at = q < last ? q : last;
    VEC a[4];
    TZ_UNROLL for (int i = 0; i < 4; i++) a[i] = *(const VECU *)(rows + (at + i < count ? at + i : count - 1) * pitch);
    NAME(turn_quads_)(a);
    // In order of columns: of three rows a fourth is written, over which the next column's first comes.
#define TZ_QUADS(k)                                                                  \
  if (4 * (k) < LANES) TZ_UNROLL for (int i = 0; i < 4; i++)                         \
    *(NAME(quad_) *)(line + (4 * (k) + i) * count + at) = __builtin_shufflevector(         \
      a[i], a[i], 4 * (k) % TZ_LANES, 4 * (k) % TZ_LANES + 1, 4 * (k) % TZ_LANES + 2, 4 * (k) % TZ_LANES + 3);
    TZ_QUADS(0) TZ_QUADS(1) TZ_QUADS(2) TZ_QUADS(3)
#undef TZ_QUADS
  }
#else
  for (int r = 0; r < count; r++)
    for (int i = 0; i < LANES; i++) line[i * count + r] = rows[r * pitch + i];
#endif
}

// ---- Wide blocks: columns are broadcast, 32 rows are vectors -----------------------------------------------

#define TZ_WIDE_ROWS 32
#define TZ_WIDE_COLUMNS 14

// Vector v of `count` columns of sums, turned round; columns past `count` are written too.
TZ_INLINE void NAME(turn_)(VEC (*acc)[2], T *out, const ptrdiff_t pitch, const int count, const int v) {
  TZ_UNROLL for (int first = 0; first < count; first += LANES) {
    VEC a[LANES];
    TZ_UNROLL for (int i = 0; i < LANES; i++) a[i] = acc[first + i < count ? first + i : count - 1][v];
    NAME(transpose_)(a);
    TZ_UNROLL for (int i = 0; i < LANES; i++) *(VECU *)(out + i * pitch + first) = a[i];
  }
}

// The products of one channel and tap for columns [from, to). With `nears`, later weights and inputs come nearer: the first
// piece of a call asks for all.
TZ_INLINE void NAME(wide_step_)(VEC (*acc)[2], const T *x, const T *w, const int from, const int to, const bool nears,
                                const char *ahead, const ptrdiff_t hop, const ptrdiff_t far) {
  const VEC w0 = *(const VECU *)w, w1 = *(const VECU *)(w + LANES);
  if (nears) {
    // A step may be two lines.
    __builtin_prefetch(ahead, 0, 2);
    __builtin_prefetch(ahead + hop / 2, 0, 2);
    __builtin_prefetch((const char *)x + far, 0, 3);
  }
  TZ_UNROLL for (int r = from; r < to; r++) {
    VEC s = (VEC)(x[r]);
    acc[r][0] += s * w0;
    acc[r][1] += s * w1;
  }
}

// The products of all channels and the taps of `inside`, for `count` of `columns` columns from column0 on.
TZ_INLINE void NAME(wide_inside_)(const tz_conv_tile *t, VEC (*acc)[2], const T *x, const T *w, const int count,
                                  const int column0, const int columns, const bool nears) {
  const char *ahead = (const char *)t->ahead;
  const ptrdiff_t hop = t->ahead_step, far = t->far, xs = t->xs, ws = t->ws;
  const tz_conv_tap *const taps = t->inside, *const end = taps + t->taps;
  const int edges = (column0 == 0 ? 1 : 0) | (column0 + count == columns ? 2 : 0);
  const char *near = NAME(near_)(t);
  for (int c = 0; c < t->channels; c++, x += xs, w += ws, near += t->near.channel) {
    if (nears) __builtin_prefetch(near, 0, 2);
    for (const tz_conv_tap *tap = taps; tap < end; tap++, ahead += hop) switch (tap->edge & edges) {
        case 0: NAME(wide_step_)(acc, x + tap->x, w + tap->w, 0, count, nears, ahead, hop, far); break;
        case 1: NAME(wide_step_)(acc, x + tap->x, w + tap->w, 1, count, nears, ahead, hop, far); break;
        default: NAME(wide_step_)(acc, x + tap->x, w + tap->w, 0, count - 1, nears, ahead, hop, far); break;
      }
  }
}

// `count` columns of `columns` by 2 vectors of rows from row0 on. acc is [14 columns][32 rows] where sums are kept for the next
// channels, and [32 rows][columns] at the end, as the store wants them; columns past `count` are written too.
TZ_INLINE void NAME(wide_tile_)(const tz_conv_tile *t, const int count, const int column0, const int columns,
                                const int row0, const bool nears) {
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
  const ptrdiff_t hop = t->ahead_step, far = t->far;
  const int32_t *toff = t->toff;
  const int taps = t->taps, channels = t->channels;
  const ptrdiff_t xs = t->xs;
  if (t->inside) {
    NAME(wide_inside_)(t, acc, x, w, count, column0, columns, nears);
  } else if (taps == 1) {
    int c = 0;
    x += toff[0];
    for (; c + 2 <= channels; c += 2, x += 2 * xs, w += 2 * TZ_WIDE_ROWS, ahead += 2 * hop) {
      NAME(wide_step_)(acc, x, w, 0, count, nears, ahead, hop, far);
      NAME(wide_step_)(acc, x + xs, w + TZ_WIDE_ROWS, 0, count, nears, ahead + hop, hop, far);
    }
    if (c < channels) NAME(wide_step_)(acc, x, w, 0, count, nears, ahead, hop, far);
  } else {
    const char *near = NAME(near_)(t);
    for (int c = 0; c < channels; c++, x += xs, near += t->near.channel) {
      if (nears) __builtin_prefetch(near, 0, 2);
      int k = 0;
      for (; k + 2 <= taps; k += 2, w += 2 * TZ_WIDE_ROWS, ahead += 2 * hop) {
        NAME(wide_step_)(acc, x + toff[k], w, 0, count, nears, ahead, hop, far);
        NAME(wide_step_)(acc, x + toff[k + 1], w + TZ_WIDE_ROWS, 0, count, nears, ahead + hop, hop, far);
      }
      if (k < taps) {
        NAME(wide_step_)(acc, x + toff[k], w, 0, count, nears, ahead, hop, far);
        w += TZ_WIDE_ROWS, ahead += hop;
      }
    }
  }
  if (!t->completes) {
    TZ_UNROLL for (int r = 0; r < count; r++)
      TZ_UNROLL for (int v = 0; v < 2; v++) *(VECU *)(accp + r * TZ_WIDE_ROWS + v * LANES) = acc[r][v];
    return;
  }
  const ptrdiff_t pitch = t->sums_pitch;
  T *out = (T *)t->sums + row0 * pitch + column0;
  TZ_UNROLL for (int v = 0; v < 2; v++) NAME(turn_)(acc, out + v * LANES * pitch, pitch, count, v);
}

// As few pieces of columns as the registers allow, all about equally many.
#define TZ_PIECES(COUNT) (((COUNT) + TZ_WIDE_AT_ONCE - 1) / TZ_WIDE_AT_ONCE)
#define TZ_PIECE(COUNT) (((COUNT) + TZ_PIECES(COUNT) - 1) / TZ_PIECES(COUNT))
#define TZ_WIDE(COUNT)                                                                                   \
  static void NAME(wide_##COUNT##_)(const tz_conv_tile *t) {                                             \
    enum { pieces = TZ_PIECES(COUNT), most = TZ_PIECE(COUNT), full = (COUNT) - pieces * (most - 1) };    \
    NAME(wide_tile_)(t, most, 0, COUNT, 0, true);                                                        \
    for (int row0 = 0; row0 < TZ_WIDE_ROWS; row0 += 2 * LANES) {                                         \
      for (int piece = row0 == 0; piece < full; piece++)                                                 \
        NAME(wide_tile_)(t, most, piece * most, COUNT, row0, false);                                     \
      for (int piece = full; piece < pieces; piece++)                                                    \
        NAME(wide_tile_)(t, most > 1 ? most - 1 : 1, full * most + (piece - full) * (most - 1), COUNT, row0, false); \
    }                                                                                                    \
  }
TZ_WIDE(1) TZ_WIDE(2) TZ_WIDE(3) TZ_WIDE(4) TZ_WIDE(5) TZ_WIDE(6) TZ_WIDE(7)
TZ_WIDE(8) TZ_WIDE(9) TZ_WIDE(10) TZ_WIDE(11) TZ_WIDE(12) TZ_WIDE(13) TZ_WIDE(14)

// ---- What both ends have in common ---------------------------------------------------------------------------

// The activation of n neighbouring results.
TZ_INLINE void NAME(activate_)(const tz_conv_output *out, T *y, ptrdiff_t n) {
#if defined(TZ_FLOAT32)
  if (out->activation) out->activation(y, y, n, out->a, out->b);
#else
  (void)out, (void)y, (void)n;
#endif
}

// Positions [*low, *high) of n from w on whose output for w phase `phase` lies inside.
TZ_INLINE void NAME(inside_)(const tz_conv_output *out, ptrdiff_t w, ptrdiff_t n, ptrdiff_t phase, ptrdiff_t *low,
                             ptrdiff_t *high) {
  const ptrdiff_t start = w * out->step[2] + phase - out->shift[2];
  const ptrdiff_t from = tz_ceil_div(-start, out->step[2]), to = tz_ceil_div(out->size[2] - start, out->step[2]);
  *low = from < 0 ? 0 : from > n ? n : from;
  *high = to > n ? n : to < *low ? *low : to;
}

// The position 0 of an area as offset from out->y.
TZ_INLINE ptrdiff_t NAME(plane_origin_)(const tz_conv_output *out, const tz_conv_area *area) {
  return (area->first[0] - out->shift[0]) * out->stride[0] + (area->first[1] - out->shift[1]) * out->stride[1] +
         area->first[2] - out->shift[2];
}

// Zeros, as whole vectors that hold n or more elements. Usually it is one: the barrier keeps the compiler from calling
// memset.
TZ_INLINE void NAME(clear_)(T *to, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; i += LANES) {
    *(VECU *)(to + i) = (VEC)((T)0);
    __asm__ __volatile__("" ::: "memory");
  }
}

// ---- Both ends, for every type of elements in memory ---------------------------------------------------------

#define S T
#define END(base) NAME(base)
#include "ends.inc.h"
#undef S
#undef END
#if defined(TZ_FLOAT32)
#include "../base/half.inc.h"
#define TZ_HALF
#define S uint16_t
#define END(base) TZ_JOIN(base, TZ_JOIN(f16_, TZ_ISA))
#define TZ_WIDEN NAME(widen_f16_)
#define TZ_NARROW NAME(narrow_f16_)
#include "ends.inc.h"
#undef END
#undef TZ_WIDEN
#undef TZ_NARROW
#define END(base) TZ_JOIN(base, TZ_JOIN(bf16_, TZ_ISA))
#define TZ_WIDEN NAME(widen_bf16_)
#define TZ_NARROW NAME(narrow_bf16_)
#include "ends.inc.h"
#undef END
#undef TZ_WIDEN
#undef TZ_NARROW
#undef S
#undef TZ_HALF
#endif

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
#undef TZ_EACH
#undef TZ_HOP2
#undef TZ_PAIR
#undef TZ_ZIP
#undef TZ_EVEN
#undef TZ_ODD
#undef TZ_COMES_ALONG
#undef TZ_WIDE
