// Instantiates the convolution kernels for all element types of one instruction set, whose file defines
// TZ_ISA (ending for names), TZ_BYTES, TZ_SUB8 and TZ_MAX4.
#include "toom_matrices.h"
#define T float
#define TZ_LANES (TZ_BYTES / 4)
#define SUFFIX TZ_JOIN(f32_, TZ_ISA)
#define TZ_FLOAT32
#include "conv.inc.h"
#undef TZ_FLOAT32
#undef T
#undef SUFFIX
#define T int32_t
#define SUFFIX TZ_JOIN(i32_, TZ_ISA)
#include "conv.inc.h"
#undef T
#undef SUFFIX
#undef TZ_LANES
#define T double
#define TZ_LANES (TZ_BYTES / 8)
#define SUFFIX TZ_JOIN(f64_, TZ_ISA)
#include "conv.inc.h"
#undef T
#undef SUFFIX
#define T int64_t
#define SUFFIX TZ_JOIN(i64_, TZ_ISA)
#include "conv.inc.h"
#undef T
#undef SUFFIX
#undef TZ_LANES

const tz_conv_table *TZ_JOIN(tz_conv_tables_, TZ_ISA)(tz_type type) {
  switch (type) {
    case TZ_F32: return &TZ_JOIN(table_f32_, TZ_ISA);
    case TZ_F64: return &TZ_JOIN(table_f64_, TZ_ISA);
    case TZ_F16: return &TZ_JOIN(table_f16_, TZ_ISA);
    case TZ_BF16: return &TZ_JOIN(table_bf16_, TZ_ISA);
    case TZ_I32: return &TZ_JOIN(table_i32_, TZ_ISA);
    default: return &TZ_JOIN(table_i64_, TZ_ISA);
  }
}
