// The convolution tables by instruction set.
#include "CToeplitzKernels.h"

const tz_conv_table *tz_conv_tables_baseline(tz_type type);
#if defined(__x86_64__)
const tz_conv_table *tz_conv_tables_avx2(tz_type type);
const tz_conv_table *tz_conv_tables_avx512(tz_type type);
#endif

const tz_narrow_table *tz_narrow_table_baseline(void);
#if defined(__x86_64__)
const tz_narrow_table *tz_narrow_table_avx2(void);
const tz_narrow_table *tz_narrow_table_avx512(void);
#endif

const tz_narrow_table *tz_narrow_kernels(tz_isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case TZ_ISA_AVX512: return tz_narrow_table_avx512();
    case TZ_ISA_AVX2: return tz_narrow_table_avx2();
#endif
    default: return tz_narrow_table_baseline();
  }
}

const tz_conv_table *tz_conv_kernels(tz_isa isa, tz_type type) {
  switch (isa) {
    case TZ_ISA_BASELINE: return tz_conv_tables_baseline(type);
#if defined(__x86_64__)
    case TZ_ISA_AVX2: return tz_conv_tables_avx2(type);
    case TZ_ISA_AVX512: return tz_conv_tables_avx512(type);
#endif
    default: return NULL;
  }
}
