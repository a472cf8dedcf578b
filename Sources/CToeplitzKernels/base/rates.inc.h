// Loops that show what the machine can do at best. Included once for each instruction set, with SUFFIX and TZ_BYTES.

typedef float TZ_JOIN(rates_vector_, SUFFIX) __attribute__((ext_vector_type(TZ_BYTES / 4)));
#define V TZ_JOIN(rates_vector_, SUFFIX)
#define LANES (TZ_BYTES / 4)

// As many chains as hide the latency of a multiply-add and still leave registers for the two factors.
#if TZ_BYTES == 64 || defined(__aarch64__)
#define CHAINS 20
#else
#define CHAINS 12
#endif

static float TZ_JOIN(rates_multiply_add_, SUFFIX)(int64_t turns) {
  V chain[CHAINS];
  // Unlike starts: equal chains would be computed once.
  TZ_UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = (V)(float)i;
  const V factor = (V)0.5f, term = (V)0.25f;
  for (int64_t turn = 0; turn < turns; turn++) {
    TZ_UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = chain[i] * factor + term;
  }
  float sum = 0;
  for (int i = 0; i < CHAINS; i++) {
    for (int lane = 0; lane < LANES; lane++) sum += chain[i][lane];
  }
  return sum;
}

static float TZ_JOIN(rates_read_, SUFFIX)(const float *x, ptrdiff_t count) {
  V sums[8];
  TZ_UNROLL for (int i = 0; i < 8; i++) sums[i] = (V)0.0f;
  for (ptrdiff_t at = 0; at + 8 * LANES <= count; at += 8 * LANES) {
    TZ_UNROLL for (int i = 0; i < 8; i++) sums[i] += *(const V *)(x + at + i * LANES);
  }
  float sum = 0;
  for (int i = 0; i < 8; i++) {
    for (int lane = 0; lane < LANES; lane++) sum += sums[i][lane];
  }
  return sum;
}

const tz_rates_table TZ_JOIN(tz_rates_, SUFFIX) = {
    .flops = 2.0 * CHAINS * LANES,
    .multiply_add = TZ_JOIN(rates_multiply_add_, SUFFIX),
    .read = TZ_JOIN(rates_read_, SUFFIX),
};
