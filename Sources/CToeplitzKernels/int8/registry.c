// The tables of int8 kernels by instruction set, and what moves bytes and words.
#include <string.h>

#include "CToeplitzKernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

extern const tz_int8_table tz_int8_baseline;
#if defined(__x86_64__)
extern const tz_int8_table tz_int8_avx2, tz_int8_avx512, tz_int8_vnni;
#endif

const tz_int8_table *tz_int8_kernels(tz_isa isa) {
#if defined(__x86_64__)
  if (isa == TZ_ISA_AVX512) return __builtin_cpu_supports("avx512vnni") ? &tz_int8_vnni : &tz_int8_avx512;
  if (isa == TZ_ISA_AVX2) return &tz_int8_avx2;
#endif
  (void)isa;
  return &tz_int8_baseline;
}

void tz_bytes_interleave(const uint8_t *x, ptrdiff_t channel, ptrdiff_t step, ptrdiff_t channels, ptrdiff_t count,
                         uint8_t flip, uint8_t *y) {
  if (channel == 1 && step == channels) {
    const ptrdiff_t n = channels * count;
    if (flip) {
      for (ptrdiff_t i = 0; i < n; i++) y[i] = x[i] ^ flip;
    } else {
      memcpy(y, x, (size_t)n);
    }
    return;
  }
  if (channels == 3 && step == 1) {
    const uint8_t *a = x, *b = x + channel, *c = x + 2 * channel;
    for (ptrdiff_t i = 0; i < count; i++) {
      y[3 * i] = a[i] ^ flip;
      y[3 * i + 1] = b[i] ^ flip;
      y[3 * i + 2] = c[i] ^ flip;
    }
    return;
  }
  // Some positions of some channels at a time, so that lines are read and written whole.
  for (ptrdiff_t first = 0; first < count; first += 64)
    for (ptrdiff_t k = 0; k < channels; k++) {
      const ptrdiff_t end = first + 64 < count ? first + 64 : count;
      for (ptrdiff_t i = first; i < end; i++) y[i * channels + k] = x[k * channel + i * step] ^ flip;
    }
}

// Unsigned bytes are larger by their bits; signed ones too, once their highest bit is flipped.
static inline __attribute__((always_inline)) void bytes_larger(const uint8_t *x, uint8_t *y, ptrdiff_t n, const uint8_t flip) {
  for (ptrdiff_t i = 0; i < n; i++) {
    const uint8_t a = x[i] ^ flip, b = y[i] ^ flip;
    y[i] = (a > b ? a : b) ^ flip;
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void tz_bytes_larger_avx2(const uint8_t *x, uint8_t *y, ptrdiff_t n, uint8_t flip) {
  if (flip) bytes_larger(x, y, n, 0x80);
  else bytes_larger(x, y, n, 0);
}
#endif

void tz_bytes_larger(tz_isa isa, const uint8_t *x, uint8_t *y, ptrdiff_t n, uint8_t flip) {
#if defined(__x86_64__)
  if (isa != TZ_ISA_BASELINE) {
    tz_bytes_larger_avx2(x, y, n, flip);
    return;
  }
#endif
  (void)isa;
  if (flip) bytes_larger(x, y, n, 0x80);
  else bytes_larger(x, y, n, 0);
}

// A block of columns, whose sums stay in registers.
static inline __attribute__((always_inline)) void bytes_add_block(const uint8_t *x, ptrdiff_t row, ptrdiff_t rows,
                                                                  const int columns, const uint8_t flip, int32_t *sums) {
  int32_t block[64] = {0};
  for (ptrdiff_t i = 0; i < rows; i++)
    for (int k = 0; k < columns; k++) block[k] += x[i * row + k] ^ flip;
  memcpy(sums, block, (size_t)columns * sizeof *block);
}
static inline __attribute__((always_inline)) void bytes_add_rows(const uint8_t *x, ptrdiff_t row, ptrdiff_t rows,
                                                                 ptrdiff_t columns, const uint8_t flip, int32_t *sums) {
  ptrdiff_t j = 0;
  for (; j + 64 <= columns; j += 64) bytes_add_block(x + j, row, rows, 64, flip, sums + j);
  for (; j + 16 <= columns; j += 16) bytes_add_block(x + j, row, rows, 16, flip, sums + j);
  for (; j < columns; j++) bytes_add_block(x + j, row, rows, 1, flip, sums + j);
}
static inline __attribute__((always_inline)) int32_t bytes_sum(const uint8_t *x, ptrdiff_t n, const uint8_t flip) {
  int32_t sum = 0;
  for (ptrdiff_t i = 0; i < n; i++) sum += x[i] ^ flip;
  return sum;
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw"))) static void tz_bytes_add_rows_avx512(
  const uint8_t *x, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t columns, uint8_t flip, int32_t *sums) {
  bytes_add_rows(x, row, rows, columns, flip, sums);
}
__attribute__((target("avx2"))) static void tz_bytes_add_rows_avx2(const uint8_t *x, ptrdiff_t row, ptrdiff_t rows,
                                                                   ptrdiff_t columns, uint8_t flip, int32_t *sums) {
  bytes_add_rows(x, row, rows, columns, flip, sums);
}
__attribute__((target("avx2"))) static int32_t tz_bytes_sum_avx2(const uint8_t *x, ptrdiff_t n, uint8_t flip) {
  return bytes_sum(x, n, flip);
}
#endif

void tz_bytes_add_rows(tz_isa isa, const uint8_t *x, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t columns, uint8_t flip,
                       int32_t *sums) {
#if defined(__x86_64__)
  if (isa == TZ_ISA_AVX512) return tz_bytes_add_rows_avx512(x, row, rows, columns, flip, sums);
  if (isa == TZ_ISA_AVX2) return tz_bytes_add_rows_avx2(x, row, rows, columns, flip, sums);
#endif
  (void)isa;
  bytes_add_rows(x, row, rows, columns, flip, sums);
}

int32_t tz_bytes_sum(tz_isa isa, const uint8_t *x, ptrdiff_t n, uint8_t flip) {
#if defined(__x86_64__)
  if (isa != TZ_ISA_BASELINE) return tz_bytes_sum_avx2(x, n, flip);
#endif
  (void)isa;
  return bytes_sum(x, n, flip);
}

#if defined(__x86_64__)
// 64 bytes at a time: two look-ups among 128 bytes each, chosen between by the highest bit.
__attribute__((target("avx512f,avx512bw,avx512vbmi"))) static ptrdiff_t tz_bytes_mapped_vbmi(const uint8_t *x, uint8_t *y,
                                                                                             ptrdiff_t n,
                                                                                             const uint8_t *table) {
  const __m512i a = _mm512_loadu_si512(table), b = _mm512_loadu_si512(table + 64);
  const __m512i c = _mm512_loadu_si512(table + 128), d = _mm512_loadu_si512(table + 192);
  ptrdiff_t i = 0;
  for (; i + 64 <= n; i += 64) {
    const __m512i v = _mm512_loadu_si512(x + i);
    _mm512_storeu_si512(y + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), _mm512_permutex2var_epi8(a, v, b),
                                                      _mm512_permutex2var_epi8(c, v, d)));
  }
  if (i < n) {
    const __mmask64 mask = (1ull << (n - i)) - 1;
    const __m512i v = _mm512_maskz_loadu_epi8(mask, x + i);
    _mm512_mask_storeu_epi8(y + i, mask, _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), _mm512_permutex2var_epi8(a, v, b),
                                                                _mm512_permutex2var_epi8(c, v, d)));
  }
  return n;
}
#endif

void tz_bytes_mapped(tz_isa isa, const uint8_t *x, uint8_t *y, ptrdiff_t n, const uint8_t *table) {
  ptrdiff_t i = 0;
#if defined(__x86_64__)
  if (isa == TZ_ISA_AVX512 && __builtin_cpu_supports("avx512vbmi")) i = tz_bytes_mapped_vbmi(x, y, n, table);
#endif
  (void)isa;
  for (; i < n; i++) y[i] = table[x[i]];
}

typedef uint32_t tz_words __attribute__((ext_vector_type(4), aligned(4)));

void tz_words_transpose(const uint32_t *x, ptrdiff_t x_row, uint32_t *y, ptrdiff_t y_row, ptrdiff_t rows,
                        ptrdiff_t columns) {
  // Sixteen rows at a time, so that whole lines of y are written.
  for (ptrdiff_t first = 0; first < rows; first += 16) {
    const ptrdiff_t end = first + 16 < rows ? first + 16 : rows;
    ptrdiff_t j = 0;
    for (; j + 4 <= columns; j += 4) {
      ptrdiff_t i = first;
      for (; i + 4 <= end; i += 4) {
        const uint32_t *from = x + i * x_row + j;
        const tz_words a = *(const tz_words *)from, b = *(const tz_words *)(from + x_row);
        const tz_words c = *(const tz_words *)(from + 2 * x_row), d = *(const tz_words *)(from + 3 * x_row);
        const tz_words ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        const tz_words ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        uint32_t *to = y + j * y_row + i;
        *(tz_words *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
        *(tz_words *)(to + y_row) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        *(tz_words *)(to + 2 * y_row) = __builtin_shufflevector(ef, gh, 0, 1, 4, 5);
        *(tz_words *)(to + 3 * y_row) = __builtin_shufflevector(ef, gh, 2, 3, 6, 7);
      }
      for (; i < end; i++)
        for (ptrdiff_t k = j; k < j + 4; k++) y[k * y_row + i] = x[i * x_row + k];
    }
    for (; j < columns; j++)
      for (ptrdiff_t i = first; i < end; i++) y[j * y_row + i] = x[i * x_row + j];
  }
}
