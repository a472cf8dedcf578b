// What the processor and the thread can tell: instruction sets, processor count, floating-point state.
#define _GNU_SOURCE
#include "CToeplitzKernels.h"

#include <sched.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

tz_isa tz_best_isa(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
    return TZ_ISA_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
    return TZ_ISA_AVX2;
#endif
  return TZ_ISA_BASELINE;
}

bool tz_has_one_wide_multiplier(void) {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  if (!__get_cpuid(0, &a, &b, &c, &d)) return false;
  const bool is_amd = b == signature_AMD_ebx && d == signature_AMD_edx && c == signature_AMD_ecx;
  const bool is_intel = b == signature_INTEL_ebx && d == signature_INTEL_edx && c == signature_INTEL_ecx;
  __get_cpuid(1, &a, &b, &c, &d);
  const unsigned family = ((a >> 8) & 15) + ((a >> 20) & 255), model = ((a >> 4) & 15) | ((a >> 12) & 0xF0);
  // Zen 4 computes halves of such vectors; of Intel's these are Ice Lake, Tiger Lake and Rocket Lake for clients.
  if (is_amd) return family == 0x19;
  if (!is_intel || family != 6) return false;
  return model == 0x7D || model == 0x7E || model == 0x8C || model == 0x8D || model == 0xA7;
#else
  return false;
#endif
}

int tz_processor_count(void) {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? (int)count : 1;
}

bool tz_pin_thread(int index) {
#if defined(__linux__)
  cpu_set_t set, one;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return false;
  int left = index % CPU_COUNT(&set);
  for (int processor = 0; processor < CPU_SETSIZE; processor++) {
    if (!CPU_ISSET(processor, &set) || left-- > 0) continue;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    return sched_setaffinity(0, sizeof one, &one) == 0;
  }
#endif
  (void)index;
  return false;
}

void tz_pause(void) {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

void tz_yield(void) { sched_yield(); }

uint64_t tz_flush_denormals(void) {
#if defined(__x86_64__)
  unsigned state = _mm_getcsr();
  _mm_setcsr(state | 0x8040);  // FTZ and DAZ
  return state;
#elif defined(__aarch64__)
  uint64_t state;
  __asm__ __volatile__("mrs %0, fpcr" : "=r"(state));
  __asm__ __volatile__("msr fpcr, %0" ::"r"(state | (1u << 24)));  // FZ
  return state;
#else
  return 0;
#endif
}

void tz_restore_denormals(uint64_t state) {
#if defined(__x86_64__)
  _mm_setcsr((unsigned)state);
#elif defined(__aarch64__)
  __asm__ __volatile__("msr fpcr, %0" ::"r"(state));
#endif
}

uint64_t tz_floating_point_state(void) {
#if defined(__x86_64__)
  return _mm_getcsr() & ~0x3fu;  // without the flags of past exceptions
#elif defined(__aarch64__)
  uint64_t state;
  __asm__ __volatile__("mrs %0, fpcr" : "=r"(state));
  return state;
#else
  return 0;
#endif
}
