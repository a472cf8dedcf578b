// What the files that make kernels for one instruction set share.
#ifndef TZ_TARGET_H
#define TZ_TARGET_H

#define TZ_JOIN2(a, b) a##b
#define TZ_JOIN(a, b) TZ_JOIN2(a, b)
#define TZ_INLINE static inline __attribute__((always_inline))
#define TZ_UNROLL _Pragma("clang loop unroll(full)")
// For loops of vectors that are mostly short: what decides how to unroll them would take longer than they do.
#define TZ_ROLLED _Pragma("clang loop unroll(disable) vectorize(disable)")

#endif
