// Elementwise float32 functions. The including file defines SUFFIX and TZ_BYTES.
//
// Polynomials are least-squares fits at Chebyshev points (relative error below 1e-7 before rounding);
// Scripts/fit-polynomials.py makes them. Results are within a few ulp of the exact value; the sine, whose argument is
// reduced in float32, within 2e-7 (near its zeros that is many ulp). Every element is computed by the same instructions
// whatever its place in the array.

#define LANES ((int)(TZ_BYTES / 4))
#define NAME(base) TZ_JOIN(base, SUFFIX)
#define VEC NAME(fvec_)
#define VECU NAME(fvecu_)
#define IVEC NAME(ivec_)

typedef float VEC __attribute__((ext_vector_type(TZ_BYTES / 4)));
typedef float VECU __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(4)));
typedef int32_t IVEC __attribute__((ext_vector_type(TZ_BYTES / 4)));

TZ_INLINE IVEC NAME(bits_)(VEC v) { return __builtin_bit_cast(IVEC, v); }
TZ_INLINE VEC NAME(value_)(IVEC v) { return __builtin_bit_cast(VEC, v); }
TZ_INLINE VEC NAME(abs_)(VEC v) { return NAME(value_)(NAME(bits_)(v) & 0x7FFFFFFF); }
TZ_INLINE VEC NAME(copysign_)(VEC v, VEC sign) {
  return NAME(value_)((NAME(bits_)(v) & 0x7FFFFFFF) | (NAME(bits_)(sign) & (int)0x80000000));
}
// Nearest whole number for |v| < 2^22, ties to even.
TZ_INLINE VEC NAME(round_)(VEC v) {
  const float magic = 0x1.8p23f;
  return (v + magic) - magic;
}

// e^x: x = n ln 2 + r, a polynomial for e^r, and two factors for 2^n so that n = 128 does not overflow early.
TZ_INLINE VEC NAME(v_exp_)(VEC x) {
  VEC c = x > 89.0f ? (VEC)(89.0f) : x;
  c = c < -104.0f ? (VEC)(-104.0f) : c;
  VEC n = NAME(round_)(c * 1.44269504f);
  VEC r = c - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  VEC p = (VEC)(0.0013948590f);
  p = p * r + 0.0083751353f;
  p = p * r + 0.0416662171f;
  p = p * r + 0.1666641533f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  // Whole-number conversion of NaN is undefined; NaN comes back through p.
  VEC safe = n == n ? n : (VEC)(0.0f);
  IVEC k = __builtin_convertvector(safe, IVEC);
  IVEC k1 = k >> 1, k2 = k - k1;
  return p * NAME(value_)((k1 + 127) << 23) * NAME(value_)((k2 + 127) << 23);
}

// Natural logarithm: x = 2^e m with m in [sqrt 1/2, sqrt 2).
TZ_INLINE VEC NAME(v_log_)(VEC x) {
  IVEC b = NAME(bits_)(x) - 0x3F3504F3;
  VEC e = __builtin_convertvector(b >> 23, VEC);
  VEC f = NAME(value_)((b & 0x007FFFFF) + 0x3F3504F3) - 1.0f;
  VEC p = (VEC)(0.0714975372f);
  p = p * f - 0.1157120094f;
  p = p * f + 0.1166116151f;
  p = p * f - 0.1241105050f;
  p = p * f + 0.1424993724f;
  p = p * f - 0.1666848063f;
  p = p * f + 0.2000070810f;
  p = p * f - 0.2499998957f;
  p = p * f + 0.3333333135f;
  VEC tail = e * 1.42860677e-6f + p * f * f * f - 0.5f * f * f;
  VEC result = e * 0.693145752f + (f + tail);
  result = x == 0.0f ? (VEC)(-__builtin_inff()) : result;
  result = x == __builtin_inff() ? x : result;
  return x >= 0.0f ? result : (VEC)(__builtin_nanf(""));
}

// log(1 + u) for u >= 0; the correction term restores what 1 + u rounded away (Kahan).
TZ_INLINE VEC NAME(v_log1p_)(VEC u) {
  VEC z = u + 1.0f;
  VEC l = NAME(v_log_)(z) - ((z - 1.0f) - u) / z;
  return u == __builtin_inff() ? u : l;
}

TZ_INLINE VEC NAME(v_tanh_)(VEC x) {
  VEC z = x * x;
  VEC p = (VEC)(-0.0056647751f);
  p = p * z + 0.0205956791f;
  p = p * z - 0.0537226796f;
  p = p * z + 0.1333114952f;
  p = p * z - 0.3333326280f;
  VEC low = x + x * z * p;
  VEC a = NAME(abs_)(x);
  VEC high = 1.0f - 2.0f / (NAME(v_exp_)(a + a) + 1.0f);
  high = NAME(copysign_)(high, x);
  return a < 0.625f ? low : high;
}

TZ_INLINE VEC NAME(v_sigmoid_)(VEC x) { return 1.0f / (1.0f + NAME(v_exp_)(-x)); }

// The error function: odd polynomial below 1, above 1 - exp(-x^2) q(1 / (1 + x / 2)).
TZ_INLINE VEC NAME(v_erf_)(VEC x) {
  VEC z = x * x;
  VEC p = (VEC)(7.8824974e-05f);
  p = p * z - 0.0008018855f;
  p = p * z + 0.0051893122f;
  p = p * z - 0.0268543288f;
  p = p * z + 0.1128359735f;
  p = p * z - 0.3761262596f;
  p = p * z + 1.1283791065f;
  VEC a = NAME(abs_)(x);
  a = a > 6.0f ? (VEC)(6.0f) : a;
  VEC t = 1.0f / (1.0f + 0.5f * a);
  VEC q = (VEC)(0.0453795530f);
  q = q * t - 0.0589210056f;
  q = q * t - 0.1676310003f;
  q = q * t + 0.2706535459f;
  q = q * t + 0.0709901378f;
  q = q * t + 0.2817680240f;
  q = q * t + 0.2751457393f;
  q = q * t + 0.2828646898f;
  q = q * t - 3.6625694e-05f;
  VEC high = NAME(copysign_)(1.0f - NAME(v_exp_)(-a * a) * q, x);
  high = x == x ? high : x;
  return a < 1.0f ? x * p : high;
}

// Sine after subtracting whole multiples of pi in three parts; good to |x| of some thousands, beyond which the
// library's function takes over (v_sin).
TZ_INLINE VEC NAME(sin_reduced_)(VEC x) {
  VEC n = NAME(round_)(x * 0.318309886f);
  VEC r = x - n * 3.140625f;
  r = r - n * 0.000967502594f;
  r = r - n * 1.50995799e-07f;
  IVEC odd = __builtin_convertvector(n, IVEC) << 31;
  VEC z = r * r;
  VEC p = (VEC)(-2.3889498e-08f);
  p = p * z + 2.7525286e-06f;
  p = p * z - 0.0001984086f;
  p = p * z + 0.0083333310f;
  p = p * z - 0.1666666716f;
  VEC s = r + r * z * p;
  return NAME(value_)(NAME(bits_)(s) ^ odd);
}

TZ_INLINE VEC NAME(v_sin_)(VEC x) {
  VEC a = NAME(abs_)(x);
  VEC inside = a < 4096.0f ? x : (VEC)(0.0f);
  VEC s = NAME(sin_reduced_)(inside);
  bool large = false;
  for (int i = 0; i < LANES; i++) large = large || !(a[i] < 4096.0f);
  if (large)
    for (int i = 0; i < LANES; i++)
      if (!(a[i] < 4096.0f)) s[i] = (float)sin((double)x[i]);
  return s;
}

TZ_INLINE VEC NAME(f_leaky_)(VEC x, float a, float b) {
  (void)b;
  // The rectifier itself is 0 also where infinity times 0 would be NaN.
  VEC low = a == 0.0f ? (VEC)(0.0f) : x * a;
  return x < 0.0f ? low : x;
}
TZ_INLINE VEC NAME(f_exp_)(VEC x, float a, float b) { (void)a; (void)b; return NAME(v_exp_)(x); }
TZ_INLINE VEC NAME(f_tanh_)(VEC x, float a, float b) { (void)a; (void)b; return NAME(v_tanh_)(x); }
TZ_INLINE VEC NAME(f_sigmoid_)(VEC x, float a, float b) { (void)a; (void)b; return NAME(v_sigmoid_)(x); }
TZ_INLINE VEC NAME(f_sin_)(VEC x, float a, float b) { (void)a; (void)b; return NAME(v_sin_)(x); }
TZ_INLINE VEC NAME(f_log_)(VEC x, float a, float b) { (void)a; (void)b; return NAME(v_log_)(x); }
TZ_INLINE VEC NAME(f_silu_)(VEC x, float a, float b) {
  (void)a; (void)b;
  VEC y = x * NAME(v_sigmoid_)(x);
  return x < -104.0f ? (VEC)(-0.0f) : y;  // -inf times 0
}
TZ_INLINE VEC NAME(f_gelu_)(VEC x, float a, float b) {
  (void)a; (void)b;
  VEC y = 0.5f * x * (1.0f + NAME(v_erf_)(x * 0.707106781f));
  return x < -14.0f ? (VEC)(-0.0f) : y;
}
TZ_INLINE VEC NAME(f_gelu_tanh_)(VEC x, float a, float b) {
  (void)a; (void)b;
  VEC y = 0.5f * x * (1.0f + NAME(v_tanh_)(0.797884561f * (x + 0.044715f * x * x * x)));
  return x < -14.0f ? (VEC)(-0.0f) : y;
}
TZ_INLINE VEC NAME(f_softplus_)(VEC x, float a, float b) {
  VEC u = x * a;
  VEC soft = NAME(v_log1p_)(NAME(v_exp_)(u)) / a;
  return u > b ? x : soft;
}
TZ_INLINE VEC NAME(f_mish_)(VEC x, float a, float b) {
  (void)a; (void)b;
  VEC c = x > 20.0f ? (VEC)(20.0f) : x;
  VEC e = NAME(v_exp_)(c);
  VEC n = e * (e + 2.0f);
  VEC y = x * (n / (n + 2.0f));
  return x < -104.0f ? (VEC)(-0.0f) : y;
}
// exp(x) - 1, near zero by its series, so that small inputs keep their digits.
TZ_INLINE VEC NAME(v_expm1_)(VEC x) {
  VEC p = (VEC)(1.98412698e-4f);
  p = p * x + 1.38888889e-3f;
  p = p * x + 8.33333333e-3f;
  p = p * x + 4.16666667e-2f;
  p = p * x + 1.66666667e-1f;
  p = p * x + 0.5f;
  VEC near = x + x * x * p;
  VEC far = NAME(v_exp_)(x) - 1.0f;
  return ((x > -0.35f) & (x < 0.35f)) ? near : far;
}
TZ_INLINE VEC NAME(f_elu_)(VEC x, float a, float b) {
  VEC m = NAME(v_expm1_)(x);
  return x < 0.0f ? m * (a * b) : x * b;
}
TZ_INLINE VEC NAME(f_celu_)(VEC x, float a, float b) {
  (void)b;
  VEC low = a * NAME(v_expm1_)(x / a);
  return x < 0.0f ? low : x;
}
TZ_INLINE VEC NAME(f_snake_)(VEC x, float a, float b) {
  VEC s = NAME(v_sin_)(x * a);
  return x + b * (s * s);
}

TZ_INLINE VEC NAME(f_clamp_)(VEC x, float a, float b) {
  VEC low = x < a ? (VEC)(a) : x;
  return low > b ? (VEC)(b) : low;
}
TZ_INLINE VEC NAME(f_hardswish_)(VEC x, float a, float b) {
  (void)a; (void)b;
  VEC y = x * (x + 3.0f) / 6.0f;
  y = x >= 3.0f ? x : y;
  return x <= -3.0f ? (VEC)(0.0f) : y;
}
TZ_INLINE VEC NAME(f_hardsigmoid_)(VEC x, float a, float b) {
  (void)a; (void)b;
  VEC y = (x + 3.0f) / 6.0f;
  y = x >= 3.0f ? (VEC)(1.0f) : y;
  return x <= -3.0f ? (VEC)(0.0f) : y;
}
TZ_INLINE VEC NAME(f_softsign_)(VEC x, float a, float b) {
  (void)a; (void)b;
  return x / (1.0f + (x < 0.0f ? -x : x));
}

#define TZ_MAP(name, f)                                                              \
  static void NAME(name)(const float *x, float *y, ptrdiff_t n, float a, float b) {  \
    ptrdiff_t i = 0;                                                                 \
    for (; i + LANES <= n; i += LANES)                                               \
      *(VECU *)(y + i) = NAME(f)(*(const VECU *)(x + i), a, b);                      \
    if (i < n) {                                                                     \
      VEC v = (VEC)(0.0f);                                                           \
      __builtin_memcpy(&v, x + i, (size_t)(n - i) * 4);                              \
      v = NAME(f)(v, a, b);                                                          \
      __builtin_memcpy(y + i, &v, (size_t)(n - i) * 4);                              \
    }                                                                                \
  }
TZ_MAP(map_leaky_, f_leaky_)
TZ_MAP(map_exp_, f_exp_)
TZ_MAP(map_tanh_, f_tanh_)
TZ_MAP(map_sigmoid_, f_sigmoid_)
TZ_MAP(map_silu_, f_silu_)
TZ_MAP(map_gelu_, f_gelu_)
TZ_MAP(map_gelu_tanh_, f_gelu_tanh_)
TZ_MAP(map_softplus_, f_softplus_)
TZ_MAP(map_mish_, f_mish_)
TZ_MAP(map_elu_, f_elu_)
TZ_MAP(map_sin_, f_sin_)
TZ_MAP(map_log_, f_log_)
TZ_MAP(map_snake_, f_snake_)
TZ_MAP(map_clamp_, f_clamp_)
TZ_MAP(map_hardswish_, f_hardswish_)
TZ_MAP(map_hardsigmoid_, f_hardsigmoid_)
TZ_MAP(map_softsign_, f_softsign_)
TZ_MAP(map_celu_, f_celu_)

#include "../base/half.inc.h"

// Conversions between arrays of float32 and of 16-bit words.
#define TZ_CONVERT(type)                                                                  \
  static void NAME(type##_to_f32_)(const uint16_t *x, float *y, ptrdiff_t n) {            \
    ptrdiff_t i = 0;                                                                      \
    for (; i + LANES <= n; i += LANES)                                                    \
      *(VECU *)(y + i) = NAME(widen_##type##_)(*(const NAME(halfu_) *)(x + i));           \
    for (; i < n; i++) y[i] = NAME(widen_##type##_)((NAME(half_))(x[i]))[0];              \
  }                                                                                       \
  static void NAME(f32_to_##type##_)(const float *x, uint16_t *y, ptrdiff_t n) {          \
    ptrdiff_t i = 0;                                                                      \
    for (; i + LANES <= n; i += LANES)                                                    \
      *(NAME(halfu_) *)(y + i) = NAME(narrow_##type##_)(*(const VECU *)(x + i));          \
    for (; i < n; i++) y[i] = NAME(narrow_##type##_)((VEC)(x[i]))[0];                     \
  }
TZ_CONVERT(f16)
TZ_CONVERT(bf16)

// The larger of two, NaN being larger than all.
TZ_INLINE VEC NAME(larger_of_)(VEC x, VEC best) {
  VEC most = x > best ? x : best;
  return x == x ? most : x;
}

static void NAME(larger_)(const float *x, ptrdiff_t step, float *y, ptrdiff_t n) {
  ptrdiff_t i = 0;
  if (step == 1) {
    for (; i + LANES <= n; i += LANES)
      *(VECU *)(y + i) = NAME(larger_of_)(*(const VECU *)(x + i), *(const VECU *)(y + i));
  } else {
    // One element less than two vectors: after the last there may be none.
    for (; i + LANES < n; i += LANES) {
      const VEC low = *(const VECU *)(x + 2 * i), high = *(const VECU *)(x + 2 * i + LANES);
      VEC even;
      TZ_UNROLL for (int j = 0; j < LANES / 2; j++) {
        even[j] = low[2 * j];
        even[LANES / 2 + j] = high[2 * j];
      }
      *(VECU *)(y + i) = NAME(larger_of_)(even, *(const VECU *)(y + i));
    }
  }
  for (; i < n; i++) y[i] = NAME(larger_of_)((VEC)(x[i * step]), (VEC)(y[i]))[0];
}

const tz_elementwise_table NAME(tz_elementwise_) = {
  .unary = {
    [TZ_LEAKY_RELU] = NAME(map_leaky_), [TZ_EXP] = NAME(map_exp_), [TZ_TANH] = NAME(map_tanh_),
    [TZ_SIGMOID] = NAME(map_sigmoid_), [TZ_SILU] = NAME(map_silu_), [TZ_GELU] = NAME(map_gelu_),
    [TZ_GELU_TANH] = NAME(map_gelu_tanh_), [TZ_SOFTPLUS] = NAME(map_softplus_), [TZ_MISH] = NAME(map_mish_),
    [TZ_ELU] = NAME(map_elu_), [TZ_SIN] = NAME(map_sin_), [TZ_LOG] = NAME(map_log_), [TZ_SNAKE] = NAME(map_snake_),
    [TZ_CLAMP] = NAME(map_clamp_), [TZ_HARDSWISH] = NAME(map_hardswish_),
    [TZ_HARDSIGMOID] = NAME(map_hardsigmoid_), [TZ_SOFTSIGN] = NAME(map_softsign_), [TZ_CELU] = NAME(map_celu_),
  },
  .f16_to_f32 = NAME(f16_to_f32_), .f32_to_f16 = NAME(f32_to_f16_),
  .bf16_to_f32 = NAME(bf16_to_f32_), .f32_to_bf16 = NAME(f32_to_bf16_),
  .larger = NAME(larger_),
};
