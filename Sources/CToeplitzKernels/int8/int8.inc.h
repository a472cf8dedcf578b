// Convolutions of bytes with int32 sums. The including file defines
//   SUFFIX, TZ_BYTES   ending of names and vector width in bytes
//   TZ_PIXELS          most pixels of a register block of two vectors of channels
//   TZ_DOT(s, x, w)    s plus the products of four bytes x with four int8 weights of each lane, where the set has that
//
// Without TZ_DOT weights are int16 and bytes are multiplied in pairs; both are exact, so all sets give the same bits.

#define LANES ((int)(TZ_BYTES / 4))
#define NAME(base) TZ_JOIN(base, SUFFIX)
#define VEC NAME(fvec_)
#define VECU NAME(fvecu_)
#define IVEC NAME(ivec_)
#define IVECU NAME(ivecu_)
#define BVECU NAME(bvecu_)
#define SVEC NAME(svec_)
#define SVECU NAME(svecu_)

typedef float VEC __attribute__((ext_vector_type(TZ_BYTES / 4)));
typedef float VECU __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(4)));
typedef int32_t IVEC __attribute__((ext_vector_type(TZ_BYTES / 4)));
typedef int32_t IVECU __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(4)));
typedef uint8_t BVECU __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(1)));
typedef int16_t SVEC __attribute__((ext_vector_type(TZ_BYTES / 2)));
typedef int16_t SVECU __attribute__((ext_vector_type(TZ_BYTES / 2), aligned(2)));

// The sums scaled, rounded to even, moved by the zero point and kept within bounds: as bytes in int32.
TZ_INLINE IVEC NAME(requantized_)(IVEC sums, VEC scale, VEC zero, VEC low, VEC high) {
  VEC v = __builtin_convertvector(sums, VEC) * scale;
  // Before the bounds: far beyond them it may be any whole number.
  const float magic = 0x1.8p23f;
  v = v < -4194304.0f ? (VEC)(-4194304.0f) : v > 4194304.0f ? (VEC)(4194304.0f) : v;
  v = (v + magic) - magic + zero;
  v = v < low ? low : v;
  v = v > high ? high : v;
  return __builtin_convertvector(v, IVEC);
}

TZ_INLINE void NAME(store_bytes_)(uint8_t *y, IVEC v, const int flip, const ptrdiff_t left) {
  const BVECU bytes = __builtin_convertvector(v ^ flip, BVECU);
  if (left >= LANES) {
    *(BVECU *)y = bytes;
  } else {
    for (int i = 0; i < left; i++) y[i] = bytes[i];
  }
}

#ifdef TZ_DOT
typedef int8_t NAME(weight_);
TZ_INLINE void NAME(quad_)(IVEC *acc, const uint8_t *x, const int8_t *w, const int V) {
  int32_t k;
  __builtin_memcpy(&k, x, 4);
  const IVEC a = (IVEC)(k);
  TZ_UNROLL for (int v = 0; v < V; v++) acc[v] = TZ_DOT(acc[v], a, *(const IVECU *)(w + v * TZ_BYTES));
}
#define TZ_QUAD_BYTES 128
#else
// Two pairs of bytes, each times a pair of int16 weights.
TZ_INLINE void NAME(quad_)(IVEC *acc, const uint8_t *x, const int8_t *w, const int V) {
  uint32_t k;
  __builtin_memcpy(&k, x, 4);
  const IVEC low = (IVEC)((int32_t)((k & 0xFF) | (k & 0xFF00) << 8));
  const IVEC high = (IVEC)((int32_t)((k >> 16 & 0xFF) | (k >> 24) << 16));
  TZ_UNROLL for (int v = 0; v < V; v++) {
    acc[v] += TZ_PAIRS_DOT(low, *(const IVECU *)(w + v * TZ_BYTES));
    acc[v] += TZ_PAIRS_DOT(high, *(const IVECU *)(w + 128 + v * TZ_BYTES));
  }
}
#define TZ_QUAD_BYTES 256
#endif

// R pixels, the latter half of which begins `second` bytes further, by V vectors of channels from `column` on.
TZ_INLINE void NAME(block_)(const tz_int8_convolution *t, const int R, const int V, const uint8_t *x,
                            const ptrdiff_t second, const ptrdiff_t panel, const int column, uint8_t *y,
                            const ptrdiff_t y_second) {
  IVEC acc[TZ_PIXELS * 2];
  const int half = (R + 1) / 2;
  const ptrdiff_t pixel = t->x_pixel;
  TZ_UNROLL for (int v = 0; v < V; v++) {
    const IVEC b = *(const IVECU *)(t->bias + panel * 32 + column + v * LANES);
    TZ_UNROLL for (int r = 0; r < R; r++) acc[r * V + v] = b;
  }
  const int8_t *w = (const int8_t *)t->w + panel * t->panel + column * 4;
  for (int s = 0; s < t->steps; s++) {
    const uint8_t *p = x + t->offsets[s], *q = p + second;
    for (int c = 0; c < t->quads; c++, p += 4, q += 4, w += TZ_QUAD_BYTES) {
      __asm__("" : "+r"(p), "+r"(q));  // opaque, or strength reduction makes a pointer for each pixel
      TZ_UNROLL for (int r = 0; r < R; r++)
        NAME(quad_)(acc + r * V, r < half ? p + r * pixel : q + (r - half) * pixel, w, V);
    }
  }
  if (t->sums) {
    TZ_UNROLL for (int v = 0; v < V; v++) {
      const ptrdiff_t at = panel * 32 + column + v * LANES, left = t->channels - at;
      TZ_UNROLL for (int r = 0; r < R; r++) {
        int32_t *to = t->sums + (y - t->y) + (r < half ? r * t->y_pixel : y_second + (r - half) * t->y_pixel) + at;
        if (left >= LANES)
          *(IVECU *)to = acc[r * V + v];
        else
          for (int i = 0; i < LANES; i++)
            if (i < left) to[i] = acc[r * V + v][i];
      }
    }
    return;
  }
  const VEC zero = (VEC)((float)t->zero), low = (VEC)((float)t->low), high = (VEC)((float)t->high);
  TZ_UNROLL for (int v = 0; v < V; v++) {
    const VEC scale = *(const VECU *)(t->scale + panel * 32 + column + v * LANES);
    const ptrdiff_t at = panel * 32 + column + v * LANES, left = t->channels - at;
    if (left > 0)
      TZ_UNROLL for (int r = 0; r < R; r++)
        NAME(store_bytes_)(y + (r < half ? r * t->y_pixel : y_second + (r - half) * t->y_pixel) + at,
                           NAME(requantized_)(acc[r * V + v], scale, zero, low, high), t->flip, left);
  }
}

#define TZ_BLOCK(R)                                                                                                  \
  static __attribute__((noinline)) void NAME(block_##R##_)(const tz_int8_convolution *t, const uint8_t *x,          \
                                                           ptrdiff_t second, ptrdiff_t panel, int column, uint8_t *y, \
                                                           ptrdiff_t y_second) {                                    \
    if (t->channels - panel * 32 - column > LANES)                                                                  \
      NAME(block_)(t, R, 2, x, second, panel, column, y, y_second);                                                 \
    else                                                                                                            \
      NAME(block_)(t, R, 1, x, second, panel, column, y, y_second);                                                 \
  }
TZ_BLOCK(1) TZ_BLOCK(2) TZ_BLOCK(3) TZ_BLOCK(4)
#if TZ_PIXELS > 4
TZ_BLOCK(5) TZ_BLOCK(6) TZ_BLOCK(7) TZ_BLOCK(8) TZ_BLOCK(9) TZ_BLOCK(10) TZ_BLOCK(11) TZ_BLOCK(12) TZ_BLOCK(13) TZ_BLOCK(14)
#endif
static void (*const NAME(blocks_)[TZ_PIXELS])(const tz_int8_convolution *, const uint8_t *, ptrdiff_t, ptrdiff_t, int,
                                              uint8_t *, ptrdiff_t) = {
  NAME(block_1_), NAME(block_2_), NAME(block_3_), NAME(block_4_),
#if TZ_PIXELS > 4
  NAME(block_5_), NAME(block_6_), NAME(block_7_), NAME(block_8_), NAME(block_9_), NAME(block_10_), NAME(block_11_),
  NAME(block_12_), NAME(block_13_), NAME(block_14_),
#endif
};

static void NAME(rows_)(const tz_int8_convolution *t, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t panel, ptrdiff_t panels) {
  const ptrdiff_t width = t->width;
  // Narrow images: two rows at a time.
  const bool pairs = 2 * width <= TZ_PIXELS;
  for (ptrdiff_t n = panel; n < panel + panels; n++)
    for (ptrdiff_t i = first; i < first + rows; i += pairs ? 2 : 1) {
      const uint8_t *x = t->x + i * t->x_row;
      uint8_t *y = t->y + i * t->y_row;
      const bool both = pairs && i + 1 < first + rows;
      const ptrdiff_t blocks = (width + TZ_PIXELS - 1) / TZ_PIXELS;
      for (ptrdiff_t k = 0; k < blocks; k++) {
        const ptrdiff_t from = width * k / blocks, count = width * (k + 1) / blocks - from;
        const int pixels = (int)(both ? 2 * width : count), half = (pixels + 1) / 2;
        for (int column = 0; column < 32 && n * 32 + column < t->channels; column += 2 * LANES)
          NAME(blocks_)[pixels - 1](t, x + from * t->x_pixel, both ? t->x_row : half * t->x_pixel, n, column,
                                    y + from * t->y_pixel, both ? t->y_row : half * t->y_pixel);
      }
    }
}

#ifdef TZ_DOT
// Blocks of 64 channels, four taps of each in a lane. Interleaving bytes works within 128 bits, so that element 4 l + p of
// vector m is channel 16 l + 4 m + p; narrowing results to bytes brings them back into order.
TZ_INLINE void NAME(quarters_)(const void *from, __m512i *to) {
  __m512i a[4];
  TZ_UNROLL for (int m = 0; m < 4; m++) a[m] = _mm512_loadu_si512((const char *)from + 64 * m);
  const __m512i ab = _mm512_shuffle_i32x4(a[0], a[1], 0x44), cd = _mm512_shuffle_i32x4(a[2], a[3], 0x44);
  const __m512i ef = _mm512_shuffle_i32x4(a[0], a[1], 0xEE), gh = _mm512_shuffle_i32x4(a[2], a[3], 0xEE);
  to[0] = _mm512_shuffle_i32x4(ab, cd, 0x88), to[1] = _mm512_shuffle_i32x4(ab, cd, 0xDD);
  to[2] = _mm512_shuffle_i32x4(ef, gh, 0x88), to[3] = _mm512_shuffle_i32x4(ef, gh, 0xDD);
}

static void NAME(depthwise_)(const tz_int8_convolution *t, ptrdiff_t first, ptrdiff_t rows) {
  const VEC zero = (VEC)((float)t->zero), low = (VEC)((float)t->low), high = (VEC)((float)t->high);
  const int quads = (t->steps + 3) / 4;
  const __m512i flip = _mm512_set1_epi8((char)t->flip);
  for (ptrdiff_t i = first; i < first + rows; i++)
    for (ptrdiff_t c = 0; c < t->channels; c += 64) {
      const ptrdiff_t left = t->channels - c;
      const __mmask64 mask = left >= 64 ? ~0ull : (1ull << left) - 1;
      __m512i bias[4], scale[4];
      NAME(quarters_)(t->bias + c, bias);
      NAME(quarters_)(t->scale + c, scale);
      const __m512i *const weights = (const __m512i *)t->w + c / 64 * quads * 4;
      for (ptrdiff_t j = 0; j < t->width; j++) {
        const uint8_t *x = t->x + i * t->x_row + j * t->x_pixel + c;
        const ptrdiff_t at = i * t->y_row + j * t->y_pixel + c;
        __m512i acc[4] = {bias[0], bias[1], bias[2], bias[3]};
        const __m512i *w = weights;
        for (int s = 0; s < t->steps; s += 4, w += 4) {
          // Taps that are missing have no weight.
          const int last = t->steps - 1;
          const __m512i p = _mm512_maskz_loadu_epi8(mask, x + t->offsets[s]);
          const __m512i q = _mm512_maskz_loadu_epi8(mask, x + t->offsets[s + 1 < last ? s + 1 : last]);
          const __m512i r = _mm512_maskz_loadu_epi8(mask, x + t->offsets[s + 2 < last ? s + 2 : last]);
          const __m512i o = _mm512_maskz_loadu_epi8(mask, x + t->offsets[s + 3 < last ? s + 3 : last]);
          const __m512i pq = _mm512_unpacklo_epi8(p, q), ro = _mm512_unpacklo_epi8(r, o);
          const __m512i pq2 = _mm512_unpackhi_epi8(p, q), ro2 = _mm512_unpackhi_epi8(r, o);
          acc[0] = _mm512_dpbusd_epi32(acc[0], _mm512_unpacklo_epi16(pq, ro), w[0]);
          acc[1] = _mm512_dpbusd_epi32(acc[1], _mm512_unpackhi_epi16(pq, ro), w[1]);
          acc[2] = _mm512_dpbusd_epi32(acc[2], _mm512_unpacklo_epi16(pq2, ro2), w[2]);
          acc[3] = _mm512_dpbusd_epi32(acc[3], _mm512_unpackhi_epi16(pq2, ro2), w[3]);
        }
        if (t->sums) {
          __m512i ordered[4];
          NAME(quarters_)(acc, ordered);
          TZ_UNROLL for (int m = 0; m < 4; m++)
            _mm512_mask_storeu_epi32(t->sums + at + 16 * m, (__mmask16)(mask >> 16 * m), ordered[m]);
          continue;
        }
        __m512i codes[4];
        TZ_UNROLL for (int m = 0; m < 4; m++)
          codes[m] = (__m512i)NAME(requantized_)((IVEC)acc[m], (VEC)scale[m], zero, low, high);
        const __m512i bytes =
          _mm512_packus_epi16(_mm512_packus_epi32(codes[0], codes[1]), _mm512_packus_epi32(codes[2], codes[3]));
        _mm512_mask_storeu_epi8(t->y + at, mask, _mm512_xor_si512(bytes, flip));
      }
    }
}
#else
// One row of pixels of a depthwise convolution: for each channel taps in pairs, bytes times int16 weights.
static void NAME(depthwise_)(const tz_int8_convolution *t, ptrdiff_t first, ptrdiff_t rows) {
  typedef uint8_t bytes __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(1)));
  const VEC zero = (VEC)((float)t->zero), low = (VEC)((float)t->low), high = (VEC)((float)t->high);
  const int16_t *weights = (const int16_t *)t->w;
  for (ptrdiff_t i = first; i < first + rows; i++)
    for (ptrdiff_t j = 0; j < t->width; j++) {
      const uint8_t *x = t->x + i * t->x_row + j * t->x_pixel;
      uint8_t *y = t->y + i * t->y_row + j * t->y_pixel;
      for (ptrdiff_t c = 0; c < t->channels; c += LANES) {
        const ptrdiff_t left = t->channels - c;
        IVEC acc = *(const IVECU *)(t->bias + c);
        const int16_t *w = weights + c * 2;
        // [pairs of taps][channels of whole vectors][2]
        int s = 0;
        for (; s + 1 < t->steps; s += 2, w += t->panel) {
          const IVEC a = __builtin_convertvector(*(const bytes *)(x + t->offsets[s] + c), IVEC);
          const IVEC b = __builtin_convertvector(*(const bytes *)(x + t->offsets[s + 1] + c), IVEC);
          acc += TZ_PAIRS_DOT(a | b << 16, *(const IVECU *)w);
        }
        if (s < t->steps) {
          const IVEC a = __builtin_convertvector(*(const bytes *)(x + t->offsets[s] + c), IVEC);
          acc += TZ_PAIRS_DOT(a, *(const IVECU *)w);
        }
        if (t->sums) {
          int32_t *to = t->sums + i * t->y_row + j * t->y_pixel + c;
          for (int k = 0; k < LANES; k++)
            if (k < left) to[k] = acc[k];
          continue;
        }
        NAME(store_bytes_)(y + c, NAME(requantized_)(acc, *(const VECU *)(t->scale + c), zero, low, high), t->flip, left);
      }
    }
}
#endif

const tz_int8_table NAME(tz_int8_) = {
#ifdef TZ_DOT
  .has_words = false,
#else
  .has_words = true,
#endif
  .rows = NAME(rows_), .depthwise = NAME(depthwise_),
};
