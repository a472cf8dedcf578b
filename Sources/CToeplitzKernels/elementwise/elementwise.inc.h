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

// The first n elements of a vector, fewer than all, from and to memory; the others are zeros. A mask where there is one, else
// pieces of constant size: a call of memcpy would take longer than a vector of most functions.
TZ_INLINE VEC NAME(load_some_)(const float *x, ptrdiff_t n) {
#ifdef TZ_LOAD_SOME
  return TZ_LOAD_SOME(x, n);
#else
  float block[LANES] = {0}, *to = block;
  TZ_UNROLL for (int part = LANES / 2; part > 0; part /= 2)
    if (n & part) {
      __builtin_memcpy(to, x, 4 * (size_t)part);
      to += part, x += part;
    }
  return *(const VECU *)block;
#endif
}
TZ_INLINE void NAME(store_some_)(float *y, VEC v, ptrdiff_t n) {
#ifdef TZ_STORE_SOME
  TZ_STORE_SOME(y, v, n);
#else
  float block[LANES];
  *(VECU *)block = v;
  const float *from = block;
  TZ_UNROLL for (int part = LANES / 2; part > 0; part /= 2)
    if (n & part) {
      __builtin_memcpy(y, from, 4 * (size_t)part);
      y += part, from += part;
    }
#endif
}

// The same where `left` elements are left: a whole vector if there are so many, none if there are none.
TZ_INLINE VEC NAME(load_left_)(const float *x, ptrdiff_t left) {
  return left >= LANES ? *(const VECU *)x : left > 0 ? NAME(load_some_)(x, left) : (VEC)(0.0f);
}
TZ_INLINE void NAME(store_left_)(float *y, VEC v, ptrdiff_t left) {
  if (left >= LANES)
    *(VECU *)y = v;
  else if (left > 0)
    NAME(store_some_)(y, v, left);
}

// Every other element of two vectors, from the first on.
TZ_INLINE VEC NAME(even_)(VEC low, VEC high) {
  VEC even;
  TZ_UNROLL for (int j = 0; j < LANES / 2; j++) {
    even[j] = low[2 * j];
    even[LANES / 2 + j] = high[2 * j];
  }
  return even;
}

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

// v 2^n for whole numbers n; NaN stays.
#ifndef TZ_SCALED
TZ_INLINE VEC NAME(scaled_)(VEC v, VEC n) {
  // Whole-number conversion of NaN is undefined; NaN comes back through v. Two factors, so that n = 128 does not overflow.
  VEC safe = n == n ? n : (VEC)(0.0f);
  IVEC k = __builtin_convertvector(safe, IVEC);
  IVEC k1 = k >> 1, k2 = k - k1;
  return v * NAME(value_)((k1 + 127) << 23) * NAME(value_)((k2 + 127) << 23);
}
#define TZ_SCALED(v, n) NAME(scaled_)(v, n)
#endif

#ifdef TZ_LOOK_UP_16
// e^x for x between -104 and 89, or NaN: x = (n + j / 16) ln 2 + r, 2^(j / 16) from a table, and a polynomial for e^r.
TZ_INLINE VEC NAME(exp_inside_)(VEC c) {
  const VEC u = c * 1.44269504f + 0x1.8p19f, n = u - 0x1.8p19f;
  VEC r = c - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  VEC q = (VEC)(0.166666667f);
  q = q * r + 0.5f;
  q = q * (r * r) + r;
  const VEC t = TZ_LOOK_UP_16(tz_exp2, NAME(bits_)(u));
  return TZ_SCALED(t * q + t, n);
}
#else
// e^x for x between -104 and 89, or NaN: x = n ln 2 + r, and a polynomial for e^r.
TZ_INLINE VEC NAME(exp_inside_)(VEC c) {
  VEC n = NAME(round_)(c * 1.44269504f);
  VEC r = c - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  VEC p = (VEC)(0.0013948590f);
  p = p * r + 0.0083751353f;
  p = p * r + 0.0416662171f;
  p = p * r + 0.1666641533f;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  return TZ_SCALED(p, n);
}
#endif
TZ_INLINE VEC NAME(v_exp_)(VEC x) {
  VEC c = x > 89.0f ? (VEC)(89.0f) : x;
  c = c < -104.0f ? (VEC)(-104.0f) : c;
  return NAME(exp_inside_)(c);
}
// The same for x that is not above 0.
TZ_INLINE VEC NAME(v_exp_below_)(VEC x) { return NAME(exp_inside_)(x < -104.0f ? (VEC)(-104.0f) : x); }

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

#ifdef TZ_LOOK_UP
// By tables in two registers each: a polynomial around the middle of the piece that x lies in. NaN stays.
TZ_INLINE VEC NAME(v_tanh_)(VEC x) {
  VEC a = NAME(abs_)(x);
  a = a > 20.0f ? (VEC)(20.0f) : a;
  // Quarters of octaves from 1/8 on.
  IVEC i = (NAME(bits_)(a) >> 21) - 495;
  i = i < 0 ? (IVEC)(0) : i;
  const VEC t = a - TZ_LOOK_UP(tz_tanh_m, i);
  VEC p = TZ_LOOK_UP(tz_tanh_c5, i);
  p = p * t + TZ_LOOK_UP(tz_tanh_c4, i);
  p = p * t + TZ_LOOK_UP(tz_tanh_c3, i);
  p = p * t + TZ_LOOK_UP(tz_tanh_c2, i);
  p = p * t + TZ_LOOK_UP(tz_tanh_c1, i);
  p = p * t + TZ_LOOK_UP(tz_tanh_c0, i);
  return NAME(copysign_)(p, x);
}
#else
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
#endif

// x between bounds; NaN stays. In this form each is one instruction.
TZ_INLINE VEC NAME(at_least_)(VEC x, float low) { return (VEC)(low) > x ? (VEC)(low) : x; }
TZ_INLINE VEC NAME(at_most_)(VEC x, float high) { return (VEC)(high) < x ? (VEC)(high) : x; }

// What the sigmoid divides by, 1 + e^-x. Beyond the bounds nothing changes.
TZ_INLINE VEC NAME(sigmoid_divisor_)(VEC x) {
  return 1.0f + NAME(exp_inside_)(-NAME(at_most_)(NAME(at_least_)(x, -89.0f), 104.0f));
}
TZ_INLINE VEC NAME(v_sigmoid_)(VEC x) { return 1.0f / NAME(sigmoid_divisor_)(x); }

#ifdef TZ_LOOK_UP
// 32 pieces of width 1/8; a sum with a number whose last bits are eighths gives the piece and its middle at once.
TZ_INLINE VEC NAME(v_erf_)(VEC x) {
  VEC a = NAME(abs_)(x);
  a = a > 3.93f ? (VEC)(3.93f) : a;
  const VEC u = a + 0x1.8p20f, t = a - (u - 0x1.8p20f);
  const IVEC i = NAME(bits_)(u);
  VEC p = TZ_LOOK_UP(tz_erf_c4, i);
  p = p * t + TZ_LOOK_UP(tz_erf_c3, i);
  p = p * t + TZ_LOOK_UP(tz_erf_c2, i);
  p = p * t + TZ_LOOK_UP(tz_erf_c1, i);
  p = p * t + TZ_LOOK_UP(tz_erf_c0, i);
  return NAME(copysign_)(p, x);
}
#else
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
#endif

// The sine of x - n pi, its sign flipped by `odd`. The multiple is subtracted in three parts.
TZ_INLINE VEC NAME(sin_less_)(VEC x, VEC n, IVEC odd) {
  VEC r = x - n * 3.140625f;
  r = r - n * 0.000967502594f;
  r = r - n * 1.50995799e-07f;
  VEC z = r * r;
  VEC p = (VEC)(-2.3889498e-08f);
  p = p * z + 2.7525286e-06f;
  p = p * z - 0.0001984086f;
  p = p * z + 0.0083333310f;
  p = p * z - 0.1666666716f;
  VEC s = r + r * z * p;
  return NAME(value_)(NAME(bits_)(s) ^ odd);
}

TZ_INLINE VEC NAME(sin_reduced_)(VEC x) {
  VEC n = NAME(round_)(x * 0.318309886f);
  return NAME(sin_less_)(x, n, __builtin_convertvector(n, IVEC) << 31);
}

// Cosine: the sine of what is half a period further, whose whole multiples are those of pi and a half.
TZ_INLINE VEC NAME(cos_reduced_)(VEC x) {
  VEC n = NAME(round_)(x * 0.318309886f + 0.5f);
  return NAME(sin_less_)(x, n - 0.5f, __builtin_convertvector(n, IVEC) << 31);
}

// A sine or cosine by its reduced form, good to |x| of some thousands; beyond, the library's function takes over.
TZ_INLINE VEC NAME(sinusoid_)(VEC x, VEC (*reduced)(VEC), double (*exact)(double)) {
  VEC a = NAME(abs_)(x);
  VEC s = reduced(a < 4096.0f ? x : (VEC)(0.0f));
  bool large = false;
  for (int i = 0; i < LANES; i++) large = large || !(a[i] < 4096.0f);
  if (large)
    for (int i = 0; i < LANES; i++)
      if (!(a[i] < 4096.0f)) s[i] = (float)exact((double)x[i]);
  return s;
}

TZ_INLINE VEC NAME(v_sin_)(VEC x) { return NAME(sinusoid_)(x, NAME(sin_reduced_), sin); }
TZ_INLINE VEC NAME(v_cos_)(VEC x) { return NAME(sinusoid_)(x, NAME(cos_reduced_), cos); }

// x to the power c in double precision, as 2^(c log2 x); x is finite, positive and normal.
typedef double NAME(dvec_) __attribute__((ext_vector_type(TZ_BYTES / 4)));
typedef int64_t NAME(lvec_) __attribute__((ext_vector_type(TZ_BYTES / 4)));
TZ_INLINE VEC NAME(pow_normal_)(VEC x, VEC exponent) {
  NAME(dvec_) c = __builtin_convertvector(exponent, NAME(dvec_));
  // x = 2^e m with m in [3/4, 3/2).
  IVEC bits = NAME(bits_)(x) - 0x3F400000;
  NAME(dvec_) e = __builtin_convertvector(bits >> 23, NAME(dvec_));
  NAME(dvec_) m = __builtin_convertvector(NAME(value_)((bits & 0x007FFFFF) + 0x3F400000), NAME(dvec_));
  NAME(dvec_) s = (m - 1.0) / (m + 1.0), z = s * s;
  NAME(dvec_) p = (NAME(dvec_))(0.34077267306059833);
  p = p * z + 0.4116705231777818;
  p = p * z + 0.5770836196441872;
  p = p * z + 0.9617966731713832;
  p = p * z + 2.8853900817902107;
  NAME(dvec_) y = c * (s * p + e);
  y = y > 1000.0 ? (NAME(dvec_))(1000.0) : y;
  y = y < -1000.0 ? (NAME(dvec_))(-1000.0) : y;
  const double magic = 0x1.8p52;
  NAME(dvec_) shifted = y + magic;
  NAME(dvec_) n = shifted - magic, r = y - n;
  NAME(dvec_) q = (NAME(dvec_))(1.5201918079023671e-05);
  q = q * r + 0.00015469291104731366;
  q = q * r + 0.001333392257885306;
  q = q * r + 0.009618027253809003;
  q = q * r + 0.055504103534289355;
  q = q * r + 0.24022651198156275;
  q = q * r + 0.6931471807284525;
  q = q * r + 0.9999999999616815;
  // The low bits of the shifted number are n.
  NAME(lvec_) k = __builtin_bit_cast(NAME(lvec_), shifted) << 52;
  return __builtin_convertvector(__builtin_bit_cast(NAME(dvec_), __builtin_bit_cast(NAME(lvec_), q) + k), VEC);
}

TZ_INLINE VEC NAME(v_pow_)(VEC x, VEC c) {
  VEC safe = ((x >= 0x1p-126f) & (x < __builtin_inff())) ? x : (VEC)(1.0f);
  VEC y = NAME(pow_normal_)(safe, c == c ? c : (VEC)(0.0f));
  IVEC usual = (x >= 0x1p-126f) & (x < __builtin_inff()) & (NAME(abs_)(c) < __builtin_inff());
  bool all = true;
  for (int i = 0; i < LANES; i++) all = all && usual[i];
  if (!all)
    for (int i = 0; i < LANES; i++)
      if (!usual[i]) y[i] = (float)pow((double)x[i], (double)c[i]);
  return y;
}

#define TZ_PLAIN(name, expression) \
  TZ_INLINE VEC NAME(f_##name##_)(VEC x, float a, float b) { (void)a; (void)b; return expression; }
TZ_PLAIN(abs, NAME(abs_)(x))
TZ_PLAIN(negate, NAME(value_)(NAME(bits_)(x) ^ (int)0x80000000))
TZ_PLAIN(sign, (x > 0.0f ? (VEC)(1.0f) : x < 0.0f ? (VEC)(-1.0f) : x == 0.0f ? (VEC)(0.0f) : x))
TZ_PLAIN(reciprocal, 1.0f / x)
TZ_PLAIN(sqrt, __builtin_elementwise_sqrt(x))
TZ_PLAIN(floor, __builtin_elementwise_floor(x))
TZ_PLAIN(ceil, __builtin_elementwise_ceil(x))
TZ_PLAIN(trunc, __builtin_elementwise_trunc(x))
TZ_PLAIN(round, __builtin_elementwise_roundeven(x))
TZ_PLAIN(cos, NAME(v_cos_)(x))
TZ_PLAIN(erf, NAME(v_erf_)(x))
TZ_PLAIN(square, x * x)
TZ_PLAIN(cube, x * x * x)
TZ_PLAIN(not, (x == 0.0f ? (VEC)(1.0f) : (VEC)(0.0f)))
TZ_PLAIN(is_nan, (x == x ? (VEC)(0.0f) : (VEC)(1.0f)))
TZ_PLAIN(truth, (x == 0.0f ? (VEC)(0.0f) : (VEC)(1.0f)))
TZ_PLAIN(threshold, (x > a ? x : (VEC)(0.0f)))
TZ_PLAIN(linear_clamp, (a * x + b < 0.0f ? (VEC)(0.0f) : a * x + b > 1.0f ? (VEC)(1.0f) : a * x + b))
// As pow(x, 1/2) has it: a root of -0 is 0, and one of minus infinity infinite.
TZ_PLAIN(root, (x == -__builtin_inff() ? (VEC)(__builtin_inff()) : __builtin_elementwise_sqrt(x + 0.0f)))
TZ_PLAIN(shrink, (x < -a ? x + b : x > a ? x - b : (VEC)(0.0f)))

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
  // The divisor is infinite from -89 on; minus infinity over that would be NaN.
  return NAME(at_least_)(x, -89.0f) / NAME(sigmoid_divisor_)(x);
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
// A sixth of 6 rounds to 1.
TZ_INLINE VEC NAME(f_hardsigmoid_)(VEC x, float a, float b) {
  (void)a; (void)b;
  return NAME(at_most_)(NAME(at_least_)(x + 3.0f, 0.0f), 6.0f) * 0.166666667f;
}
TZ_INLINE VEC NAME(f_hardswish_)(VEC x, float a, float b) {
  return NAME(at_least_)(x, -3.0f) * NAME(f_hardsigmoid_)(x, a, b);
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
    if (i < n) NAME(store_some_)(y + i, NAME(f)(NAME(load_some_)(x + i, n - i), a, b), n - i); \
  }
#include "../base/half.inc.h"

// A number rounded to half precision, as a float32.
TZ_PLAIN(to_f16, NAME(widen_f16_)(NAME(narrow_f16_)(x)))
TZ_PLAIN(to_bf16, NAME(widen_bf16_)(NAME(narrow_bf16_)(x)))

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
TZ_MAP(map_abs_, f_abs_)
TZ_MAP(map_negate_, f_negate_)
TZ_MAP(map_sign_, f_sign_)
TZ_MAP(map_reciprocal_, f_reciprocal_)
TZ_MAP(map_sqrt_, f_sqrt_)
TZ_MAP(map_floor_, f_floor_)
TZ_MAP(map_ceil_, f_ceil_)
TZ_MAP(map_trunc_, f_trunc_)
TZ_MAP(map_round_, f_round_)
TZ_MAP(map_cos_, f_cos_)
TZ_MAP(map_erf_, f_erf_)
TZ_MAP(map_square_, f_square_)
TZ_MAP(map_cube_, f_cube_)
TZ_MAP(map_not_, f_not_)
TZ_MAP(map_is_nan_, f_is_nan_)
TZ_MAP(map_truth_, f_truth_)
TZ_MAP(map_threshold_, f_threshold_)
TZ_MAP(map_shrink_, f_shrink_)
TZ_MAP(map_linear_clamp_, f_linear_clamp_)
TZ_MAP(map_root_, f_root_)
TZ_MAP(map_to_f16_, f_to_f16_)
TZ_MAP(map_to_bf16_, f_to_bf16_)

// The elements of an operand from the i-th on, of which `left` are left; one for all where its step is 0.
TZ_INLINE VEC NAME(operand_)(const float *x, ptrdiff_t dx, ptrdiff_t i, ptrdiff_t left) {
  return dx ? NAME(load_left_)(x + i, left) : (VEC)(*x);
}

// Functions of two numbers; truth is 1, and 0 is not. An operand whose step is 0 is one number for all.
#define TZ_PAIRS(name, expression)                                                                             \
  TZ_INLINE VEC NAME(g_##name##_)(VEC x, VEC y) { return expression; }                                         \
  static void NAME(pairs_##name##_)(const float *x, ptrdiff_t dx, const float *y, ptrdiff_t dy, float *z,      \
                                    ptrdiff_t n) {                                                             \
    ptrdiff_t i = 0;                                                                                           \
    if (dx && dy) {                                                                                            \
      for (; i + LANES <= n; i += LANES)                                                                       \
        *(VECU *)(z + i) = NAME(g_##name##_)(*(const VECU *)(x + i), *(const VECU *)(y + i));                  \
    } else if (dx) {                                                                                           \
      const VEC v = (VEC)(*y);                                                                                 \
      for (; i + LANES <= n; i += LANES) *(VECU *)(z + i) = NAME(g_##name##_)(*(const VECU *)(x + i), v);      \
    } else {                                                                                                   \
      const VEC v = (VEC)(*x);                                                                                 \
      for (; i + LANES <= n; i += LANES) *(VECU *)(z + i) = NAME(g_##name##_)(v, *(const VECU *)(y + i * dy)); \
    }                                                                                                          \
    if (i < n)                                                                                                 \
      NAME(store_some_)(z + i, NAME(g_##name##_)(NAME(operand_)(x, dx, i, n - i), NAME(operand_)(y, dy, i, n - i)), n - i); \
  }
#define TZ_TRUTH(condition) ((condition) ? (VEC)(1.0f) : (VEC)(0.0f))
TZ_PAIRS(add, x + y)
TZ_PAIRS(subtract, x - y)
TZ_PAIRS(multiply, x *y)
TZ_PAIRS(divide, x / y)
// NaN on either side wins, as in PyTorch.
TZ_PAIRS(minimum, (x != x ? x : y != y ? y : y < x ? y : x))
TZ_PAIRS(maximum, (x != x ? x : y != y ? y : y > x ? y : x))
TZ_PAIRS(power, NAME(v_pow_)(x, y))
TZ_PAIRS(equal, TZ_TRUTH(x == y))
TZ_PAIRS(not_equal, TZ_TRUTH(x != y))
TZ_PAIRS(less, TZ_TRUTH(x < y))
TZ_PAIRS(less_or_equal, TZ_TRUTH(x <= y))
TZ_PAIRS(greater, TZ_TRUTH(x > y))
TZ_PAIRS(greater_or_equal, TZ_TRUTH(x >= y))
TZ_PAIRS(and, TZ_TRUTH((x != 0.0f) & (y != 0.0f)))
TZ_PAIRS(or, TZ_TRUTH((x != 0.0f) | (y != 0.0f)))
TZ_PAIRS(xor, TZ_TRUTH((x != 0.0f) ^ (y != 0.0f)))

static void NAME(select_)(const float *c, ptrdiff_t dc, const float *x, ptrdiff_t dx, const float *y, ptrdiff_t dy,
                          float *z, ptrdiff_t n) {
  ptrdiff_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    const VEC u = dx ? *(const VECU *)(x + i) : (VEC)(*x), v = dy ? *(const VECU *)(y + i) : (VEC)(*y);
    const VEC k = dc ? *(const VECU *)(c + i) : (VEC)(*c);
    *(VECU *)(z + i) = k != 0.0f ? u : v;
  }
  if (i < n) {
    const VEC u = NAME(operand_)(x, dx, i, n - i), v = NAME(operand_)(y, dy, i, n - i);
    NAME(store_some_)(z + i, NAME(operand_)(c, dc, i, n - i) != 0.0f ? u : v, n - i);
  }
}

#if defined(TZ_FUSES)
// x / scale, correctly rounded as the division is, where that is below 2^22 (beyond, all that is certain is that it is not).
// `inverse` is 1 / scale rounded. The first quotient is within two units of the last place, the second within one, and the
// remainder of that is exact, so that the third is the nearest (Markstein, "Computation of elementary functions on the IBM
// RISC System/6000 processor", 1990). Five multiplications take a third of the time of a division.
TZ_INLINE VEC NAME(quotient_)(VEC x, VEC scale, VEC inverse) {
  const VEC first = x * inverse;
  const VEC second = __builtin_elementwise_fma(__builtin_elementwise_fma(-first, scale, x), inverse, first);
  const VEC third = __builtin_elementwise_fma(__builtin_elementwise_fma(-second, scale, x), inverse, second);
  return __builtin_elementwise_abs(first) < 4194304.0f ? third : first;
}
#endif

// z = clamp(round(x / scale) + zero), and z = (x - zero) scale.
static void NAME(quantize_)(const float *x, ptrdiff_t dx, const float *s, ptrdiff_t ds, const float *o, ptrdiff_t d_o,
                            float low, float high, float *z, ptrdiff_t n) {
  const float inverse = 1 / *s;
  // Neither is subnormal or infinite.
  const bool multiplies = !ds && fabsf(*s) > 0x1p-100f && fabsf(*s) < 0x1p100f;
  for (ptrdiff_t i = 0; i < n; i += LANES) {
    const ptrdiff_t left = n - i;
    VEC v = NAME(operand_)(x, dx, i, left);
    const VEC scale = NAME(operand_)(s, ds, i, left), zero = NAME(operand_)(o, d_o, i, left);
#if defined(TZ_FUSES)
    v = multiplies ? NAME(quotient_)(v, scale, (VEC)(inverse)) : v / scale;
#else
    v = v / scale;
    (void)inverse, (void)multiplies;
#endif
    // Beyond what can be a result; NaN becomes the lowest.
    v = v > -4194304.0f ? v : (VEC)(-4194304.0f);
    v = v < 4194304.0f ? v : (VEC)(4194304.0f);
    v = NAME(round_)(v) + zero;
    v = v < low ? (VEC)(low) : v;
    v = v > high ? (VEC)(high) : v;
    NAME(store_left_)(z + i, v, left);
  }
}
static void NAME(dequantize_)(const float *x, ptrdiff_t dx, const float *s, ptrdiff_t ds, const float *o, ptrdiff_t d_o,
                              float *z, ptrdiff_t n) {
  ptrdiff_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    const VEC v = dx ? *(const VECU *)(x + i) : (VEC)(*x), zero = d_o ? *(const VECU *)(o + i) : (VEC)(*o);
    const VEC scale = ds ? *(const VECU *)(s + i) : (VEC)(*s);
    *(VECU *)(z + i) = (v - zero) * scale;
  }
  if (i < n) {
    const VEC v = NAME(operand_)(x, dx, i, n - i) - NAME(operand_)(o, d_o, i, n - i);
    NAME(store_some_)(z + i, v * NAME(operand_)(s, ds, i, n - i), n - i);
  }
}

typedef uint8_t NAME(codes_) __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(1)));

// Codes from the i-th on as numbers, each step rounded as by dequantize.
TZ_INLINE VEC NAME(decoded_)(const tz_coded *x, ptrdiff_t i, ptrdiff_t left) {
  NAME(codes_) codes = (NAME(codes_))(0);
  if (left >= LANES)
    codes = *(const NAME(codes_) *)(x->codes + i);
  else
    for (int k = 0; k < left; k++) codes[k] = x->codes[i + k];
  const VEC v = __builtin_convertvector(__builtin_convertvector(codes ^ x->flip, IVEC), VEC);
  return (v - x->zero) * x->scale;
}

// The codes of a function of two dequantised operands; the second may be one for all.
TZ_INLINE void NAME(coded_pairs_)(const tz_coded_pairs *t, VEC (*f)(VEC, VEC), const bool is_single) {
  const float magic = 0x1.8p23f;
  // Bounds before rounding, which keeps order, so that whole numbers can be read off the lowest bits.
  const VEC low = (VEC)((float)(t->low - t->zero)), high = (VEC)((float)(t->high - t->zero)), scale = (VEC)(t->scale);
  const IVEC zero = (IVEC)(t->zero) - NAME(bits_)((VEC)(magic));
  const VEC single = (VEC)(NAME(decoded_)(&t->y, 0, 1)[0]);
  for (ptrdiff_t i = 0; i < t->count; i += LANES) {
    const ptrdiff_t left = t->count - i;
    const VEC a = NAME(decoded_)(&t->x, i, left), b = is_single ? single : NAME(decoded_)(&t->y, i, left);
    VEC v = f(a, b) / scale;
    v = v > low ? v : low;
    v = v < high ? v : high;
    const NAME(codes_) codes =
      __builtin_convertvector(NAME(bits_)(v + magic) + zero, NAME(codes_)) ^ t->flip;
    if (left >= LANES)
      *(NAME(codes_) *)(t->z + i) = codes;
    else
      for (int k = 0; k < left; k++) t->z[i + k] = codes[k];
  }
}
static void NAME(coded_sum_)(const tz_coded_pairs *t) {
  if (t->is_single) NAME(coded_pairs_)(t, NAME(g_add_), true);
  else NAME(coded_pairs_)(t, NAME(g_add_), false);
}
static void NAME(coded_product_)(const tz_coded_pairs *t) {
  if (t->is_single) NAME(coded_pairs_)(t, NAME(g_multiply_), true);
  else NAME(coded_pairs_)(t, NAME(g_multiply_), false);
}

#define TZ_NARROW(name, type)                                                                                  \
  static void NAME(f32_to_##name##_)(const float *x, type *y, ptrdiff_t n) {                                   \
    typedef type narrow __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(1)));                            \
    ptrdiff_t i = 0;                                                                                           \
    for (; i + LANES <= n; i += LANES)                                                                         \
      *(narrow *)(y + i) = __builtin_convertvector(__builtin_convertvector(*(const VECU *)(x + i), IVEC), narrow); \
    for (; i < n; i++) y[i] = (type)(int)x[i];                                                                 \
  }
TZ_NARROW(u8, uint8_t)
TZ_NARROW(i8, int8_t)

// Bytes and whole numbers as float32, and truth as bytes.
#define TZ_WIDEN(name, type)                                                                                   \
  static void NAME(name##_to_f32_)(const type *x, float *y, ptrdiff_t n) {                                     \
    typedef type narrow __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(sizeof(type))));                 \
    ptrdiff_t i = 0;                                                                                           \
    for (; i + LANES <= n; i += LANES)                                                                         \
      *(VECU *)(y + i) = __builtin_convertvector(*(const narrow *)(x + i), VEC);                               \
    for (; i < n; i++) y[i] = (float)x[i];                                                                     \
  }
TZ_WIDEN(u8, uint8_t)
TZ_WIDEN(i8, int8_t)
TZ_WIDEN(i32, int32_t)
TZ_WIDEN(i64, int64_t)
static void NAME(f32_to_truth_)(const float *x, uint8_t *y, ptrdiff_t n) {
  typedef uint8_t narrow __attribute__((ext_vector_type(TZ_BYTES / 4), aligned(1)));
  ptrdiff_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    const IVEC truth = *(const VECU *)(x + i) != 0.0f;
    *(narrow *)(y + i) = __builtin_convertvector(truth & 1, narrow);
  }
  for (; i < n; i++) y[i] = x[i] != 0.0f;
}

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
      const VEC even = NAME(even_)(*(const VECU *)(x + 2 * i), *(const VECU *)(x + 2 * i + LANES));
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
    [TZ_ABS] = NAME(map_abs_), [TZ_NEGATE] = NAME(map_negate_), [TZ_SIGN] = NAME(map_sign_),
    [TZ_RECIPROCAL] = NAME(map_reciprocal_), [TZ_SQRT] = NAME(map_sqrt_), [TZ_FLOOR] = NAME(map_floor_),
    [TZ_CEIL] = NAME(map_ceil_), [TZ_TRUNC] = NAME(map_trunc_), [TZ_ROUND] = NAME(map_round_),
    [TZ_COS] = NAME(map_cos_), [TZ_ERF] = NAME(map_erf_), [TZ_SQUARE] = NAME(map_square_),
    [TZ_CUBE] = NAME(map_cube_), [TZ_NOT] = NAME(map_not_),
    [TZ_IS_NAN] = NAME(map_is_nan_), [TZ_TRUTH_OF] = NAME(map_truth_), [TZ_THRESHOLD] = NAME(map_threshold_),
    [TZ_SHRINK] = NAME(map_shrink_), [TZ_LINEAR_CLAMP] = NAME(map_linear_clamp_), [TZ_ROOT] = NAME(map_root_),
    [TZ_TO_F16] = NAME(map_to_f16_), [TZ_TO_BF16] = NAME(map_to_bf16_),
  },
  .pairs = {
    [TZ_ADD] = NAME(pairs_add_), [TZ_SUBTRACT] = NAME(pairs_subtract_), [TZ_MULTIPLY] = NAME(pairs_multiply_),
    [TZ_DIVIDE] = NAME(pairs_divide_), [TZ_MINIMUM] = NAME(pairs_minimum_), [TZ_MAXIMUM] = NAME(pairs_maximum_),
    [TZ_POWER] = NAME(pairs_power_), [TZ_EQUAL] = NAME(pairs_equal_), [TZ_NOT_EQUAL] = NAME(pairs_not_equal_),
    [TZ_LESS] = NAME(pairs_less_), [TZ_LESS_OR_EQUAL] = NAME(pairs_less_or_equal_),
    [TZ_GREATER] = NAME(pairs_greater_), [TZ_GREATER_OR_EQUAL] = NAME(pairs_greater_or_equal_),
    [TZ_AND] = NAME(pairs_and_), [TZ_OR] = NAME(pairs_or_), [TZ_XOR] = NAME(pairs_xor_),
  },
  .select = NAME(select_), .quantize = NAME(quantize_), .dequantize = NAME(dequantize_),
  .coded_sum = NAME(coded_sum_), .coded_product = NAME(coded_product_),
  .f32_to_u8 = NAME(f32_to_u8_), .f32_to_i8 = NAME(f32_to_i8_),
  .u8_to_f32 = NAME(u8_to_f32_), .i8_to_f32 = NAME(i8_to_f32_), .i32_to_f32 = NAME(i32_to_f32_),
  .i64_to_f32 = NAME(i64_to_f32_), .f32_to_truth = NAME(f32_to_truth_),
  .f16_to_f32 = NAME(f16_to_f32_), .f32_to_f16 = NAME(f32_to_f16_),
  .bf16_to_f32 = NAME(bf16_to_f32_), .f32_to_bf16 = NAME(f32_to_bf16_),
  .larger = NAME(larger_),
};

#include "../reduction/rows.inc.h"
#include "../recurrent/recurrent.inc.h"
#include "../windows/windows.inc.h"
