// The elementwise tables by instruction set, and what walks through steps.
#include "CToeplitzKernels.h"

extern const tz_elementwise_table tz_elementwise_baseline;
#if defined(__x86_64__)
extern const tz_elementwise_table tz_elementwise_avx2, tz_elementwise_avx512;
#endif

extern const tz_rows_table tz_rows_baseline;
#if defined(__x86_64__)
extern const tz_rows_table tz_rows_avx2, tz_rows_avx512;
#endif

const tz_rows_table *tz_rows_kernels(tz_isa isa) {
#if defined(__x86_64__)
  if (isa == TZ_ISA_AVX512) return &tz_rows_avx512;
  if (isa == TZ_ISA_AVX2) return &tz_rows_avx2;
#endif
  (void)isa;
  return &tz_rows_baseline;
}

extern const tz_recurrence_table tz_recurrence_baseline;
#if defined(__x86_64__)
extern const tz_recurrence_table tz_recurrence_avx2, tz_recurrence_avx512;
#endif

const tz_recurrence_table *tz_recurrence_kernels(tz_isa isa) {
#if defined(__x86_64__)
  if (isa == TZ_ISA_AVX512) return &tz_recurrence_avx512;
  if (isa == TZ_ISA_AVX2) return &tz_recurrence_avx2;
#endif
  (void)isa;
  return &tz_recurrence_baseline;
}

extern const tz_windows_table tz_windows_baseline;
#if defined(__x86_64__)
extern const tz_windows_table tz_windows_avx2, tz_windows_avx512;
#endif

const tz_windows_table *tz_windows_kernels(tz_isa isa) {
#if defined(__x86_64__)
  if (isa == TZ_ISA_AVX512) return &tz_windows_avx512;
  if (isa == TZ_ISA_AVX2) return &tz_windows_avx2;
#endif
  (void)isa;
  return &tz_windows_baseline;
}

const tz_elementwise_table *tz_elementwise_kernels(tz_isa isa) {
#if defined(__x86_64__)
  if (isa == TZ_ISA_AVX512) return &tz_elementwise_avx512;
  if (isa == TZ_ISA_AVX2) return &tz_elementwise_avx2;
#endif
  (void)isa;
  return &tz_elementwise_baseline;
}

// Powers with the usual exponents are products, roots or quotients.
static bool tz_known_power(const tz_elementwise_table *table, const float *x, float exponent, float *to, ptrdiff_t n) {
  const tz_unary f = exponent == 2.0f ? TZ_SQUARE : exponent == 3.0f ? TZ_CUBE : exponent == 0.5f ? TZ_ROOT
                     : exponent == -1.0f ? TZ_RECIPROCAL : exponent == 1.0f ? TZ_LEAKY_RELU : TZ_UNARY_COUNT;
  if (f == TZ_UNARY_COUNT) return false;
  table->unary[f](x, to, n, 1.0f, 0.0f);
  return true;
}

void tz_steps_run(const tz_elementwise_table *table, const tz_step *steps, ptrdiff_t count, float *const *registers,
                  uint8_t *single, ptrdiff_t n) {
  for (const tz_step *s = steps; s < steps + count; s++) {
    const float *x = registers[s->from[0]], *y = registers[s->from[1]], *z = registers[s->from[2]];
    const ptrdiff_t dx = !single[s->from[0]], dy = !single[s->from[1]], dz = !single[s->from[2]];
    float *to = registers[s->to];
    bool is_single = !dx;
    if (s->kind == TZ_STEP_UNARY) {
      table->unary[s->function](x, to, is_single ? 1 : n, s->a, s->b);
    } else if (s->kind == TZ_STEP_PAIRS) {
      is_single = is_single && !dy;
      const ptrdiff_t count = is_single ? 1 : n;
      if (s->function != TZ_POWER || dy || !dx || !tz_known_power(table, x, *y, to, count))
        table->pairs[s->function](x, dx, y, dy, to, count);
    } else {
      is_single = is_single && !dy && !dz;
      const ptrdiff_t count = is_single ? 1 : n;
      if (s->kind == TZ_STEP_SELECT)
        table->select(x, dx, y, dy, z, dz, to, count);
      else if (s->kind == TZ_STEP_QUANTIZE)
        table->quantize(x, dx, y, dy, z, dz, s->a, s->b, to, count);
      else
        table->dequantize(x, dx, y, dy, z, dz, to, count);
    }
    single[s->to] = is_single;
  }
}
