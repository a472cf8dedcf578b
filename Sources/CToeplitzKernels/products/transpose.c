#include "CToeplitzKernels.h"

// Blocks of 4 x 4 in registers: a store for four elements, where element by element it would be one for each.

typedef float tz_four __attribute__((ext_vector_type(4)));
typedef float tz_four_anywhere __attribute__((ext_vector_type(4), aligned(4)));

static inline tz_four four(const float *from) { return *(const tz_four_anywhere *)from; }

void tz_transpose(const float *from, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t count, float *to, ptrdiff_t to_row) {
  // A line of the cache of each row at a time: rows that lie apart by a power of two share few of its sets.
  enum { line = 16 };
  const ptrdiff_t whole = count / 4 * 4;
  for (ptrdiff_t first = 0; first < whole; first += line) {
    const ptrdiff_t end = first + line < whole ? first + line : whole;
    ptrdiff_t r = 0;
    for (; r + 4 <= rows; r += 4) {
      for (ptrdiff_t i = first; i < end; i += 4) {
        const float *p = from + r * row + i;
        const tz_four a = four(p), b = four(p + row), c = four(p + 2 * row), d = four(p + 3 * row);
        const tz_four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        const tz_four ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        float *q = to + i * to_row + r;
        *(tz_four_anywhere *)q = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
        *(tz_four_anywhere *)(q + to_row) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        *(tz_four_anywhere *)(q + 2 * to_row) = __builtin_shufflevector(ef, gh, 0, 1, 4, 5);
        *(tz_four_anywhere *)(q + 3 * to_row) = __builtin_shufflevector(ef, gh, 2, 3, 6, 7);
      }
    }
    for (; r < rows; r++)
      for (ptrdiff_t i = first; i < end; i++) to[i * to_row + r] = from[r * row + i];
  }
  for (ptrdiff_t i = whole; i < count; i++)
    for (ptrdiff_t r = 0; r < rows; r++) to[i * to_row + r] = from[r * row + i];
}
