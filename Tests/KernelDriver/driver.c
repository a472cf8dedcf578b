// Compares kernels of the baseline instruction set with plain loops in double precision, without Swift: for processors that only
// an emulator runs. Scripts/neon.sh compiles it for arm64 and runs it under qemu. Prints what differs and a count; exits with 1 if
// anything does.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CToeplitzKernels.h"

static int checks, failures;

static void expect(const char *name, int size, double got, double wanted, double tolerance) {
  checks++;
  const int same = (isnan(got) && isnan(wanted)) || got == wanted || fabs(got - wanted) <= tolerance * fmax(1, fabs(wanted));
  if (same) return;
  failures++;
  if (failures < 20) printf("%s (%d): %.9g instead of %.9g\n", name, size, got, wanted);
}

static unsigned state = 1;
static float number(void) {
  state = state * 1664525u + 1013904223u;
  return (float)(int)(state >> 8 & 0xFFFF) / 16384.0f - 2.0f;
}
static float *numbers(int n) {
  float *x = malloc((size_t)(n + 64) * 4);
  for (int i = 0; i < n + 64; i++) x[i] = number();
  return x;
}

// ---- Functions of elements

static double gelu(double x) { return 0.5 * x * erfc(-x / sqrt(2)); }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double silu(double x) { return x * sigmoid(x); }
static double square(double x) { return x * x; }
static double cube(double x) { return x * x * x; }
static double reciprocal(double x) { return 1 / x; }
static double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }
static double negate(double x) { return -x; }
static double hardswish(double x) { return x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6; }
static double hardsigmoid(double x) { return x <= -3 ? 0 : x >= 3 ? 1 : (x + 3) / 6; }
static double softsign(double x) { return x / (1 + fabs(x)); }
static double softplus(double x) { return log1p(exp(x)); }
static double mish(double x) { return x * tanh(log1p(exp(x))); }
static double relu(double x) { return x < 0 ? 0 : x; }
static double elu(double x) { return x < 0 ? expm1(x) : x; }

static void check_elements(const tz_elementwise_table *table) {
  static const struct {
    tz_unary f;
    const char *name;
    double (*plain)(double);
    float a, b;
    double tolerance;
  } cases[] = {
    {TZ_LEAKY_RELU, "relu", relu, 0, 0, 0}, {TZ_EXP, "exp", exp, 0, 0, 1e-6}, {TZ_TANH, "tanh", tanh, 0, 0, 1e-6},
    {TZ_SIGMOID, "sigmoid", sigmoid, 0, 0, 1e-6}, {TZ_SILU, "silu", silu, 0, 0, 1e-6}, {TZ_GELU, "gelu", gelu, 0, 0, 1e-6},
    {TZ_SOFTPLUS, "softplus", softplus, 1, 20, 1e-6}, {TZ_MISH, "mish", mish, 0, 0, 1e-6}, {TZ_ELU, "elu", elu, 1, 1, 1e-6},
    {TZ_SIN, "sin", sin, 0, 0, 1e-6}, {TZ_COS, "cos", cos, 0, 0, 1e-6}, {TZ_ERF, "erf", erf, 0, 0, 1e-6},
    {TZ_HARDSWISH, "hardswish", hardswish, 0, 0, 1e-6}, {TZ_HARDSIGMOID, "hardsigmoid", hardsigmoid, 0, 0, 1e-6},
    {TZ_SOFTSIGN, "softsign", softsign, 0, 0, 1e-6}, {TZ_ABS, "abs", fabs, 0, 0, 0}, {TZ_NEGATE, "negate", negate, 0, 0, 0},
    {TZ_SIGN, "sign", sign, 0, 0, 0}, {TZ_RECIPROCAL, "reciprocal", reciprocal, 0, 0, 1e-6},
    {TZ_FLOOR, "floor", floor, 0, 0, 0}, {TZ_CEIL, "ceil", ceil, 0, 0, 0}, {TZ_TRUNC, "trunc", trunc, 0, 0, 0},
    {TZ_ROUND, "round", rint, 0, 0, 0}, {TZ_SQUARE, "square", square, 0, 0, 1e-6}, {TZ_CUBE, "cube", cube, 0, 0, 1e-6},
  };
  for (int n = 1; n < 40; n += n < 20 ? 1 : 7) {
    float *x = numbers(n), *y = numbers(n), *z = malloc((size_t)(n + 64) * 4);
    if (n > 5) x[0] = 0, x[1] = -0.0f, x[2] = NAN, x[3] = 60, x[4] = -60;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
      table->unary[cases[c].f](x, z, n, cases[c].a, cases[c].b);
      for (int i = 0; i < n; i++) expect(cases[c].name, n, z[i], isnan(x[i]) ? NAN : cases[c].plain(x[i]), cases[c].tolerance);
    }
    for (int way = 0; way < 3; way++) {
      const int dx = way != 1, dy = way != 2;
      table->pairs[TZ_ADD](x, dx, y, dy, z, n);
      for (int i = 0; i < n; i++) expect("add", n, z[i], (float)(x[i * dx] + y[i * dy]), 0);
      table->pairs[TZ_MULTIPLY](x, dx, y, dy, z, n);
      for (int i = 0; i < n; i++) expect("multiply", n, z[i], (float)(x[i * dx] * y[i * dy]), 0);
      table->pairs[TZ_LESS](x, dx, y, dy, z, n);
      for (int i = 0; i < n; i++) expect("less", n, z[i], x[i * dx] < y[i * dy], 0);
    }
    for (int i = 0; i < n; i++) x[i] = fabsf(y[i]) + 0.01f;
    table->pairs[TZ_POWER](x, 1, y, 1, z, n);
    for (int i = 0; i < n; i++) expect("power", n, z[i], pow(x[i], y[i]), 1e-5);
    table->unary[TZ_LOG](x, z, n, 0, 0);
    for (int i = 0; i < n; i++) expect("log", n, z[i], log(x[i]), 1e-6);
    table->unary[TZ_SQRT](x, z, n, 0, 0);
    for (int i = 0; i < n; i++) expect("sqrt", n, z[i], sqrt(x[i]), 1e-6);
    uint16_t *half = malloc((size_t)(n + 64) * 2);
    table->f32_to_f16(y, half, n);
    table->f16_to_f32(half, z, n);
    for (int i = 0; i < n; i++) expect("float16", n, z[i], y[i], 1e-3);
    table->f32_to_bf16(y, half, n);
    table->bf16_to_f32(half, z, n);
    for (int i = 0; i < n; i++) expect("bfloat16", n, z[i], y[i], 1e-2);
    const float scale = 0.02f, zero = 100;
    table->quantize(y, 1, &scale, 0, &zero, 0, 0, 255, z, n);
    for (int i = 0; i < n; i++) expect("quantize", n, z[i], fmin(255, fmax(0, rintf(y[i] / scale) + zero)), 0);
    uint8_t *codes = malloc((size_t)(3 * n + 1));
    for (int i = 0; i < 2 * n + 1; i++) codes[i] = (uint8_t)(i * 37 + 11);
    for (int kind = 0; kind < 4; kind++) {
      const bool is_product = kind & 1, is_single = kind & 2;
      const tz_coded_pairs pairs = {
        {codes, 0, 120, 0.02f}, {codes + n, 0x80, 110, 0.03f}, is_single, codes + 2 * n + 1, n, 0x80, 130, 3, 250, 0.05f};
      (is_product ? table->coded_product : table->coded_sum)(&pairs);
      for (int i = 0; i < n; i++) {
        const float a = ((float)codes[i] - 120) * 0.02f;
        const float b = ((float)(codes[n + (is_single ? 0 : i)] ^ 0x80) - 110) * 0.03f;
        const float sum = a + b, product = a * b;
        const float code = fminf(250, fmaxf(3, rintf((is_product ? product : sum) / 0.05f) + 130));
        expect("coded", n, pairs.z[i], (uint8_t)code ^ 0x80, 0);
      }
    }
    free(codes);
    free(x), free(y), free(z), free(half);
  }
}

// ---- Rows

static void check_rows(const tz_rows_table *table, const tz_windows_table *windows) {
  for (int n = 1; n < 150; n += n < 40 ? 1 : 13) {
    float *x = numbers(n), *y = malloc((size_t)(n + 64) * 4);
    double sum = 0, most = -INFINITY, least = INFINITY, squares = 0, exponentials = 0;
    for (int i = 0; i < n; i++) sum += x[i], most = fmax(most, x[i]), least = fmin(least, x[i]);
    for (int i = 0; i < n; i++) squares += (x[i] - 0.25) * (x[i] - 0.25), exponentials += exp(x[i] - most);
    expect("sum", n, table->sum(x, n), sum, 1e-12);
    expect("squares", n, table->squares(x, n, 0.25), squares, 1e-12);
    expect("largest", n, table->largest(x, n), most, 0);
    expect("smallest", n, table->smallest(x, n), least, 0);
    table->softmax(x, y, n, false);
    for (int i = 0; i < n; i++) expect("softmax", n, y[i], exp(x[i] - most) / exponentials, 1e-6);
    table->softmax(x, y, n, true);
    for (int i = 0; i < n; i++) expect("log softmax", n, y[i], x[i] - most - log(exponentials), 1e-6);
    table->normalize(x, y, n, 0.5f, 2, 1);
    for (int i = 0; i < n; i++) expect("normalize", n, y[i], (x[i] - 0.5) * 2 + 1, 1e-6);
    free(x), free(y);
  }
  float *x = numbers(7 * 45), *y = malloc(7 * 45 * 4 + 256);
  table->column_sums(x, 45, 7, 0, 1, 7, y, 45);
  for (int j = 0; j < 45; j++) {
    double sum = 0;
    for (int i = 0; i < 7; i++) sum += x[i * 45 + j];
    expect("column sums", 45, y[j], sum / 7, 1e-6);
  }
  table->softmax_columns(x, y, 7, 45, 45, false);
  for (int j = 0; j < 45; j++) {
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < 7; i++) most = fmax(most, x[i * 45 + j]);
    for (int i = 0; i < 7; i++) sum += exp(x[i * 45 + j] - most);
    for (int i = 0; i < 7; i++) expect("softmax columns", 45, y[i * 45 + j], exp(x[i * 45 + j] - most) / sum, 1e-6);
  }
  free(x), free(y);
  for (int stride = 1; stride < 4; stride++)
    for (int kernel = 1; kernel < 6; kernel += 2) {
      const int size = 21, low = kernel / 2, out = (size + 2 * low - kernel) / stride + 1;
      float *plane = numbers(size * size), *result = malloc((size_t)(out * out + 64) * 4), *scratch = malloc(1 << 18);
      tz_pool_plane t = {{size, size}, {out, out}, {kernel, kernel}, {stride, stride}, {1, 1}, {low, low}};
      windows->max_pool(&t, plane, result, scratch);
      for (int i = 0; i < out * out; i++) {
        double most = -INFINITY;
        for (int a = 0; a < kernel; a++)
          for (int b = 0; b < kernel; b++) {
            const int h = i / out * stride + a - low, w = i % out * stride + b - low;
            if (h >= 0 && h < size && w >= 0 && w < size) most = fmax(most, plane[h * size + w]);
          }
        expect("max pool", kernel, result[i], most, 0);
      }
      free(plane), free(result), free(scratch);
    }
}

// ---- Products

static void check_products(const tz_products_table *table) {
  for (int rows = 1; rows < 20; rows += rows < 8 ? 1 : 5)
    for (int columns = 1; columns <= 32; columns += columns < 9 ? 1 : 23)
      for (int steps = 1; steps < 30; steps += 7) {
        float *a = numbers(rows * steps), *b = numbers(steps * TZ_PANEL), *start = numbers(TZ_PANEL);
        float *residual = numbers(rows * columns), *c = malloc((size_t)(rows * columns + 64) * 4);
        tz_product_epilogue e = {{residual, NULL}, 0.5f, 0.25f, NULL, 0, 0};
        for (int way = 0; way < 2; way++) {
          tz_product t = {a, steps, 1, b, TZ_PANEL, c, columns, start, rows, steps, columns, false, way ? &e : NULL, 0};
          table->panel(&t);
          for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) {
              double sum = start[j];
              for (int k = 0; k < steps; k++) sum += (double)a[i * steps + k] * b[k * TZ_PANEL + j];
              if (way) {
                sum = (sum + residual[i * columns + j]) * 0.5;
                sum = sum < 0 ? sum * 0.25 : sum;
              }
              expect("product", columns, c[i * columns + j], sum, 1e-5);
            }
        }
        free(a), free(b), free(start), free(residual), free(c);
      }
}

// ---- int8

static void check_int8(const tz_int8_table *table) {
  for (int channels = 1; channels < 80; channels += 13)
    for (int width = 1; width < 20; width += 3) {
      const int inputs = 11, taps = 3, quads = (inputs + 3) / 4, panels = (channels + 31) / 32;
      const int panel = taps * quads * (table->has_words ? 256 : 128), rows = 3;
      uint8_t *x = malloc((size_t)((rows * (width + 2)) * inputs + 64)), *y = malloc((size_t)(rows * width * channels + 64));
      for (int i = 0; i < rows * (width + 2) * inputs + 64; i++) x[i] = (uint8_t)(number() * 60 + 128);
      int8_t *weights = malloc((size_t)(channels * taps * inputs));
      for (int i = 0; i < channels * taps * inputs; i++) weights[i] = (int8_t)(number() * 60);
      uint8_t *packed = calloc((size_t)(panels * panel), 1);
      for (int o = 0; o < channels; o++)
        for (int t = 0; t < taps; t++)
          for (int k = 0; k < inputs; k++) {
            uint8_t *quad = packed + o / 32 * panel + (t * quads + k / 4) * (table->has_words ? 256 : 128);
            const int8_t w = weights[(o * taps + t) * inputs + k];
            if (table->has_words) {
              const int16_t wide = w;
              memcpy(quad + k % 4 / 2 * 128 + o % 32 * 4 + k % 2 * 2, &wide, 2);
            } else {
              quad[o % 32 * 4 + k % 4] = (uint8_t)w;
            }
          }
      int32_t offsets[3] = {0, inputs, 2 * inputs}, *bias = calloc((size_t)panels * 32, 4);
      float *scale = malloc((size_t)panels * 32 * 4);
      for (int o = 0; o < panels * 32; o++) scale[o] = 0.001f + 0.0001f * (float)(o % 7), bias[o] = o * 10;
      tz_int8_convolution t = {x, (width + 2) * inputs, inputs, offsets, taps, quads, packed, panel, bias, scale, y,
                               width * channels, channels, width, channels, 100, 0, 255, NULL, 0};
      table->rows(&t, 0, rows, 0, panels);
      for (int h = 0; h < rows; h++)
        for (int w = 0; w < width; w++)
          for (int o = 0; o < channels; o++) {
            int32_t sum = bias[o];
            for (int tap = 0; tap < taps; tap++)
              for (int k = 0; k < inputs; k++)
                sum += x[(h * (width + 2) + w + tap) * inputs + k] * weights[(o * taps + tap) * inputs + k];
            const float wanted = fminf(255, fmaxf(0, rintf((float)sum * scale[o]) + 100));
            expect("int8", channels, y[(h * width + w) * channels + o], wanted, 0);
          }
      free(x), free(y), free(weights), free(packed), free(bias), free(scale);
    }
}

// ---- Recurrent layers

static void check_recurrent(const tz_recurrence_table *table) {
  for (int units = 1; units < 70; units += 17)
    for (int rows = 1; rows <= 3; rows++)
      for (int cell = 0; cell < TZ_CELLS; cell++) {
        const int gates = cell == TZ_CELL_SIMPLE ? 1 : cell == TZ_CELL_GATED ? 3 : 4, steps = 3;
        const int width = cell == TZ_CELL_SIMPLE ? TZ_UNITS_SIMPLE : TZ_UNITS, size = (units + width - 1) / width * width;
        float *x = numbers(steps * rows * gates * units), *r = numbers(gates * units * units);
        float *packed = calloc((size_t)(size * units * gates), 4), *bias = calloc((size_t)(size * gates), 4);
        for (int g = 0; g < gates; g++)
          for (int u = 0; u < units; u++)
            for (int k = 0; k < units; k++)
              packed[(u / width * units + k) * gates * width + g * width + u % width] = r[(g * units + u) * units + k] *= 0.2f;
        float *h = calloc((size_t)size * 3, 4), *next = calloc((size_t)size * 3, 4), *c = calloc((size_t)size * 3, 4);
        float *y = malloc((size_t)(steps * rows * units + 64) * 4);
        tz_recurrence t = {x, rows * gates * units, gates * units, packed, bias, h, next, c, size, y, rows * units, units, steps,
                           units, {0, 1, 2, 3}, false};
        table->run[cell][rows - 1](&t);
        for (int row = 0; row < rows; row++) {
          double state[80] = {0}, memory[80] = {0};
          for (int s = 0; s < steps; s++) {
            double fresh[80];
            for (int u = 0; u < units; u++) {
              double sums[4];
              for (int g = 0; g < gates; g++) {
                sums[g] = 0;
                for (int k = 0; k < units; k++) sums[g] += state[k] * r[(g * units + u) * units + k];
              }
              const float *own = x + (s * rows + row) * gates * units + u;
              if (cell == TZ_CELL_SIMPLE) {
                fresh[u] = tanh(own[0] + sums[0]);
              } else if (cell == TZ_CELL_GATED) {
                const double z = sigmoid(own[0] + sums[0]), reset = sigmoid(own[units] + sums[1]);
                const double n = tanh(own[2 * units] + reset * sums[2]);
                fresh[u] = n + z * (state[u] - n);
              } else {
                const double i = sigmoid(own[0] + sums[0]), o = sigmoid(own[units] + sums[1]);
                memory[u] = sigmoid(own[2 * units] + sums[2]) * memory[u] + i * tanh(own[3 * units] + sums[3]);
                fresh[u] = o * tanh(memory[u]);
              }
            }
            for (int u = 0; u < units; u++) {
              state[u] = fresh[u];
              expect("recurrence", units, y[(s * rows + row) * units + u], state[u], 5e-6);
            }
          }
        }
        free(x), free(r), free(packed), free(bias), free(h), free(next), free(c), free(y);
      }
}

int main(void) {
  check_elements(tz_elementwise_kernels(TZ_ISA_BASELINE));
  check_rows(tz_rows_kernels(TZ_ISA_BASELINE), tz_windows_kernels(TZ_ISA_BASELINE));
  check_products(tz_products_kernels(TZ_ISA_BASELINE));
  check_int8(tz_int8_kernels(TZ_ISA_BASELINE));
  check_recurrent(tz_recurrence_kernels(TZ_ISA_BASELINE));
  printf("%d comparisons, %d differ\n", checks, failures);
  return failures ? 1 : 0;
}
