// The elementwise tables by instruction set.
#include "CToeplitzKernels.h"

extern const tz_elementwise_table tz_elementwise_baseline;
#if defined(__x86_64__)
extern const tz_elementwise_table tz_elementwise_avx2, tz_elementwise_avx512;
#endif

const tz_elementwise_table *tz_elementwise_kernels(tz_isa isa) {
#if defined(__x86_64__)
  if (isa == TZ_ISA_AVX512) return &tz_elementwise_avx512;
  if (isa == TZ_ISA_AVX2) return &tz_elementwise_avx2;
#endif
  (void)isa;
  return &tz_elementwise_baseline;
}
