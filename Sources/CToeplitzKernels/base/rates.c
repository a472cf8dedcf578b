// The measuring loops by instruction set.
#include "CToeplitzKernels.h"

extern const tz_rates_table tz_rates_baseline;
#if defined(__x86_64__)
extern const tz_rates_table tz_rates_avx2, tz_rates_avx512;
#endif

const tz_rates_table *tz_rates(tz_isa isa) {
#if defined(__x86_64__)
  if (isa == TZ_ISA_AVX512) return &tz_rates_avx512;
  if (isa == TZ_ISA_AVX2) return &tz_rates_avx2;
#endif
  (void)isa;
  return &tz_rates_baseline;
}
