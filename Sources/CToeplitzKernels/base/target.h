// How one source becomes kernels for several instruction sets: each file that sets TZ_NAME, TZ_BYTES (vector
// width) and TZ_REGISTERS includes the loops between TZ_TARGET_BEGIN and TZ_TARGET_END.
#ifndef TZ_TARGET_H
#define TZ_TARGET_H

#define TZ_JOIN2(a, b) a##b
#define TZ_JOIN(a, b) TZ_JOIN2(a, b)
#define TZ_INLINE static inline __attribute__((always_inline))
#define TZ_UNROLL _Pragma("clang loop unroll(full)")

#endif
