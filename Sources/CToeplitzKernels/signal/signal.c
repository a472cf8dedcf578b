#include "CToeplitzKernels.h"

#include <math.h>
#include <string.h>

// Sound and spectra: inner loops that would take a hundred times as long in Swift without optimisation. Their results do not
// depend on the machine: nothing is contracted to multiply-adds.
#pragma STDC FP_CONTRACT OFF

// ---- Resampling ------------------------------------------------------------------------------------------

typedef float tz_eight __attribute__((ext_vector_type(8)));
typedef float tz_eight_anywhere __attribute__((ext_vector_type(8), aligned(4)));

// The sum of products of a multiple of 8 numbers, in 8 chains.
static float dot(const float *a, const float *b, ptrdiff_t count) {
  tz_eight sums = (tz_eight)(0.0f);
  for (ptrdiff_t i = 0; i < count; i += 8) sums += *(const tz_eight_anywhere *)(a + i) * *(const tz_eight_anywhere *)(b + i);
  float sum = 0;
  for (int lane = 0; lane < 8; lane++) sum += sums[lane];
  return sum;
}

void tz_resample(const tz_resampling *t, const float *window, ptrdiff_t start, ptrdiff_t first, ptrdiff_t count, float *y) {
  const int64_t up = t->up, down = t->down;
  for (ptrdiff_t i = 0; i < count; i++) {
    const int64_t time = (first + i) * down, place = time / up, phase = time % up;
    const float *signal = window + (place - t->taps / 2 + 1 - start);
    if (!t->interpolates) {
      y[i] = dot(signal, t->table + phase * t->taps, t->taps);
      continue;
    }
    const int64_t row = phase * t->phases / up, rest = phase * t->phases % up;
    const float between = (float)((double)rest / (double)up);
    const float before = dot(signal, t->table + row * t->taps, t->taps);
    const float after = dot(signal, t->table + (row + 1) * t->taps, t->taps);
    y[i] = before + (after - before) * between;
  }
}

// The modified Bessel function of the first kind and order zero, by its power series.
static double bessel_i0(double x) {
  double sum = 1, term = 1;
  for (double k = 1; term > sum * 1e-17; k += 1) {
    term *= (x / (2 * k)) * (x / (2 * k));
    sum += term;
  }
  return sum;
}

void tz_windowed_sinc(double fraction, double width, double cutoff, double beta, ptrdiff_t taps, double *y) {
  const double scale = 1 / bessel_i0(beta);
  for (ptrdiff_t tap = 0; tap < taps; tap++) {
    const double distance = (double)(tap - taps / 2 + 1) - fraction, relative = distance / width;
    if (!(fabs(relative) < 1)) {
      y[tap] = 0;
      continue;
    }
    const double angle = 3.141592653589793 * cutoff * distance;
    const double sinc = angle == 0 ? 1 : sin(angle) / angle;
    y[tap] = sinc * bessel_i0(beta * sqrt(1 - relative * relative)) * scale;
  }
}

// ---- Fourier transforms ----------------------------------------------------------------------------------

void tz_unit_roots(ptrdiff_t count, ptrdiff_t n, bool squares, double *y) {
  for (ptrdiff_t k = 0; k < count; k++) {
    const double angle = -2 * 3.141592653589793 * (double)(squares ? k * k % n : k) / (double)n;
    y[2 * k] = cos(angle);
    y[2 * k + 1] = sin(angle);
  }
}

// Splits `step` interleaved transforms of `length` into `4 * step` of a quarter of the length.
static void radix4(const double *xr, const double *xi, double *yr, double *yi, ptrdiff_t length, ptrdiff_t step,
                   const double *w) {
  const ptrdiff_t quarter = length / 4, part = quarter * step;
  for (ptrdiff_t p = 0; p < quarter; p++) {
    const double c1 = w[2 * p * step], s1 = w[2 * p * step + 1], c2 = w[4 * p * step], s2 = w[4 * p * step + 1],
                 c3 = w[6 * p * step], s3 = w[6 * p * step + 1];
    for (ptrdiff_t q = 0; q < step; q++) {
      const ptrdiff_t from = p * step + q, to = 4 * p * step + q;
      const double ar = xr[from], ai = xi[from], br = xr[from + part], bi = xi[from + part];
      const double cr = xr[from + 2 * part], ci = xi[from + 2 * part], dr = xr[from + 3 * part], di = xi[from + 3 * part];
      const double sum_r = ar + cr, sum_i = ai + ci, odd_r = br + dr, odd_i = bi + di;
      const double difference_r = ar - cr, difference_i = ai - ci;
      // i (b - d)
      const double turned_r = di - bi, turned_i = br - dr;
      yr[to] = sum_r + odd_r;
      yi[to] = sum_i + odd_i;
      const double first_r = difference_r - turned_r, first_i = difference_i - turned_i;
      yr[to + step] = first_r * c1 - first_i * s1;
      yi[to + step] = first_r * s1 + first_i * c1;
      const double second_r = sum_r - odd_r, second_i = sum_i - odd_i;
      yr[to + 2 * step] = second_r * c2 - second_i * s2;
      yi[to + 2 * step] = second_r * s2 + second_i * c2;
      const double third_r = difference_r + turned_r, third_i = difference_i + turned_i;
      yr[to + 3 * step] = third_r * c3 - third_i * s3;
      yi[to + 3 * step] = third_r * s3 + third_i * c3;
    }
  }
}

void tz_fft(double *real, double *imaginary, ptrdiff_t count, const double *roots, double *scratch) {
  double *xr = real, *xi = imaginary, *yr = scratch, *yi = scratch + count;
  ptrdiff_t length = count, step = 1;
  for (; length >= 4; length /= 4, step *= 4) {
    radix4(xr, xi, yr, yi, length, step, roots);
    double *r = xr, *i = xi;
    xr = yr, xi = yi, yr = r, yi = i;
  }
  if (length == 2) {
    for (ptrdiff_t q = 0; q < step; q++) {
      yr[q] = xr[q] + xr[q + step], yr[q + step] = xr[q] - xr[q + step];
      yi[q] = xi[q] + xi[q + step], yi[q + step] = xi[q] - xi[q + step];
    }
    xr = yr, xi = yi;
  }
  if (xr != real) {
    memcpy(real, xr, (size_t)count * sizeof(double));
    memcpy(imaginary, xi, (size_t)count * sizeof(double));
  }
}

void tz_pairs_apart(const double *x, ptrdiff_t count, double *even, double *odd) {
  for (ptrdiff_t k = 0; k < count; k++) even[k] = x[2 * k], odd[k] = x[2 * k + 1];
}

void tz_real_spectrum(const double *zr, const double *zi, ptrdiff_t m, const double *w, double *re, double *im) {
  re[0] = zr[0] + zi[0], im[0] = 0;
  re[m] = zr[0] - zi[0], im[m] = 0;
  for (ptrdiff_t k = 1; k < m; k++) {
    const double even_r = (zr[k] + zr[m - k]) / 2, even_i = (zi[k] - zi[m - k]) / 2;
    const double odd_r = (zi[k] + zi[m - k]) / 2, odd_i = (zr[m - k] - zr[k]) / 2;
    const double c = w[2 * k], s = w[2 * k + 1];
    re[k] = even_r + c * odd_r - s * odd_i;
    im[k] = even_i + c * odd_i + s * odd_r;
  }
}

void tz_complex_multiply(const double *xr, const double *xi, const double *w, ptrdiff_t count, double *yr, double *yi) {
  for (ptrdiff_t k = 0; k < count; k++) {
    const double r = xr[k], i = xi[k], c = w[2 * k], s = w[2 * k + 1];
    yr[k] = r * c - i * s;
    yi[k] = r * s + i * c;
  }
}

// ---- Spectrograms ----------------------------------------------------------------------------------------

void tz_multiply_doubles(const double *a, const double *b, ptrdiff_t count, double *y) {
  for (ptrdiff_t i = 0; i < count; i++) y[i] = a[i] * b[i];
}

void tz_magnitudes(const double *re, const double *im, ptrdiff_t count, double least, double *y) {
  for (ptrdiff_t i = 0; i < count; i++) y[i] = sqrt(re[i] * re[i] + im[i] * im[i] + least);
}

void tz_filter_sums(const double *x, const ptrdiff_t *firsts, const ptrdiff_t *starts, const double *weights, ptrdiff_t count,
                    double *y) {
  for (ptrdiff_t f = 0; f < count; f++) {
    const double *bins = x + firsts[f], *w = weights + starts[f];
    double sum = 0;
    for (ptrdiff_t i = 0; i < starts[f + 1] - starts[f]; i++) sum += w[i] * bins[i];
    y[f] = sum;
  }
}

void tz_logarithms(const double *x, ptrdiff_t count, double least, float *y, ptrdiff_t step) {
  for (ptrdiff_t i = 0; i < count; i++) y[i * step] = (float)log(x[i] > least ? x[i] : least);
}

void tz_widen(const float *x, ptrdiff_t count, double *y) {
  for (ptrdiff_t i = 0; i < count; i++) y[i] = x[i];
}

ptrdiff_t tz_finite_prefix(const float *x, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i++)
    if (!isfinite(x[i])) return i;
  return count;
}
