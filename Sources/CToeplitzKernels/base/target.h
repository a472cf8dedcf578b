// What the files that make kernels for one instruction set share.
#ifndef TZ_TARGET_H
#define TZ_TARGET_H

#define TZ_JOIN2(a, b) a##b
#define TZ_JOIN(a, b) TZ_JOIN2(a, b)
#define TZ_INLINE static inline __attribute__((always_inline))
#define TZ_UNROLL _Pragma("clang loop unroll(full)")

// Keeps an accumulator in one register. Where the accumulators fill the register file the compiler would else rotate
// them through copies and spills, at half the speed.
#if defined(__x86_64__)
#define TZ_KEEP(v) __asm__ volatile("" : "+x"(v))
#elif defined(__aarch64__)
#define TZ_KEEP(v) __asm__ volatile("" : "+w"(v))
#else
#define TZ_KEEP(v) (void)(v)
#endif

#endif
