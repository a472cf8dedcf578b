// The tables of matrix products by instruction set.
#include "CToeplitzKernels.h"

extern const tz_products_table tz_products_baseline;
#if defined(__x86_64__)
extern const tz_products_table tz_products_avx2, tz_products_avx512;
#endif

const tz_products_table *tz_products_kernels(tz_isa isa) {
#if defined(__x86_64__)
  if (isa == TZ_ISA_AVX512) return &tz_products_avx512;
  if (isa == TZ_ISA_AVX2) return &tz_products_avx2;
#endif
  (void)isa;
  return &tz_products_baseline;
}
