// Wide blocks of float32 whose weights are stored in 16 or 8 bits, for layers that do nothing but stream weights: they
// are widened in registers, to the very numbers that a float32 copy of the stored weights would hold.
// The including file has defined LANES, VEC, VECU, NAME of float (conv.inc.h).
//
// A step, that is the 32 weights of a channel and tap, is
//   bfloat16: 16 words of 32 bits, row i in the lower half of word i and row i + 16 in its upper half;
//   int8: 32 signed bytes; the weight of row r is the byte times scales[r].
// So a vector of the first 16 rows and one of the others are widened together.

typedef uint32_t NAME(words_) __attribute__((ext_vector_type(LANES)));
typedef uint32_t NAME(wordsu_) __attribute__((ext_vector_type(LANES), aligned(4)));
typedef int8_t NAME(bytesu_) __attribute__((ext_vector_type(LANES), aligned(1)));

#define TZ_STEP_ROWS 16

// `count` columns by the vectors of rows row0... and 16 + row0...; acc and sums are those of wide_tile_.
TZ_INLINE void NAME(narrow_tile_)(const tz_conv_tile *t, const bool is_int8, const int count, const int column0,
                                  const int row0) {
  VEC acc[TZ_WIDE_COLUMNS][2];
  const int rows[2] = {row0, row0 + TZ_STEP_ROWS};
  float *accp = (float *)t->acc + column0 * TZ_WIDE_ROWS;
  if (t->continues) {
    TZ_UNROLL for (int r = 0; r < count; r++)
      TZ_UNROLL for (int v = 0; v < 2; v++) acc[r][v] = *(const VECU *)(accp + r * TZ_WIDE_ROWS + rows[v]);
  } else {
    const float *start = (const float *)t->start;
    TZ_UNROLL for (int r = 0; r < count; r++)
      TZ_UNROLL for (int v = 0; v < 2; v++) acc[r][v] = *(const VECU *)(start + rows[v]);
  }
  VEC scale[2];
  if (is_int8) TZ_UNROLL for (int v = 0; v < 2; v++) scale[v] = *(const VECU *)(t->scales + rows[v]);
  const float *x = (const float *)t->x + column0;
  const char *w = (const char *)t->w;
  const ptrdiff_t step = is_int8 ? TZ_WIDE_ROWS : 2 * TZ_WIDE_ROWS;
  const char *ahead = (const char *)t->ahead;
  const ptrdiff_t hop = t->ahead_step;
  const int32_t *toff = t->toff;
  const int taps = t->taps;
  for (int c = 0; c < t->channels; c++, x += t->xs) {
    for (int k = 0; k < taps; k++, w += step) {
      const float *xk = x + toff[k];
      VEC w0, w1;
      if (is_int8) {
        w0 = __builtin_convertvector(*(const NAME(bytesu_) *)(w + rows[0]), VEC) * scale[0];
        w1 = __builtin_convertvector(*(const NAME(bytesu_) *)(w + rows[1]), VEC) * scale[1];
      } else {
        const NAME(words_) both = *(const NAME(wordsu_) *)(w + 4 * row0);
        w0 = __builtin_bit_cast(VEC, both << 16);
        w1 = __builtin_bit_cast(VEC, both & 0xFFFF0000u);
      }
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
      TZ_UNROLL for (int v = 0; v < 2; v++) *(VECU *)(accp + r * TZ_WIDE_ROWS + rows[v]) = acc[r][v];
    return;
  }
  NAME(turn_)(acc, (float *)t->sums + rows[0] * t->sums_pitch + column0, t->sums_pitch, count, 0);
  NAME(turn_)(acc, (float *)t->sums + rows[1] * t->sums_pitch + column0, t->sums_pitch, count, 1);
}

#define TZ_NARROW(COUNT)                                                                                    \
  TZ_INLINE void NAME(narrow_##COUNT##_)(const tz_conv_tile *t, const bool is_int8) {                       \
    enum { pieces = TZ_PIECES(COUNT), most = TZ_PIECE(COUNT), full = (COUNT) - pieces * (most - 1) };       \
    for (int row0 = 0; row0 < TZ_STEP_ROWS; row0 += LANES) {                                                \
      for (int piece = 0; piece < full; piece++) NAME(narrow_tile_)(t, is_int8, most, piece * most, row0);  \
      for (int piece = full; piece < pieces; piece++)                                                       \
        NAME(narrow_tile_)(t, is_int8, most > 1 ? most - 1 : 1, full * most + (piece - full) * (most - 1), row0); \
    }                                                                                                       \
  }                                                                                                         \
  static void NAME(bfloat16_##COUNT##_)(const tz_conv_tile *t) { NAME(narrow_##COUNT##_)(t, false); }       \
  static void NAME(int8_##COUNT##_)(const tz_conv_tile *t) { NAME(narrow_##COUNT##_)(t, true); }
TZ_NARROW(1) TZ_NARROW(2) TZ_NARROW(3) TZ_NARROW(4) TZ_NARROW(5) TZ_NARROW(6) TZ_NARROW(7)
TZ_NARROW(8) TZ_NARROW(9) TZ_NARROW(10) TZ_NARROW(11) TZ_NARROW(12) TZ_NARROW(13) TZ_NARROW(14)

#define TZ_NARROW_LIST(type)                                                                                 \
  {NAME(type##_1_), NAME(type##_2_), NAME(type##_3_), NAME(type##_4_), NAME(type##_5_), NAME(type##_6_),     \
   NAME(type##_7_), NAME(type##_8_), NAME(type##_9_), NAME(type##_10_), NAME(type##_11_), NAME(type##_12_),  \
   NAME(type##_13_), NAME(type##_14_)}
static const tz_narrow_table NAME(narrow_) = {.bfloat16 = TZ_NARROW_LIST(bfloat16), .int8 = TZ_NARROW_LIST(int8)};
const tz_narrow_table *TZ_JOIN(tz_narrow_table_, TZ_ISA)(void) { return &NAME(narrow_); }
#undef TZ_NARROW
#undef TZ_NARROW_LIST
#undef TZ_STEP_ROWS
