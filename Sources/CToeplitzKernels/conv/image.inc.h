// Depthwise convolutions of images with square kernels, computed from the image where it lies: loads under masks put
// zeros where padding is, so nothing is packed, and what a row holds is loaded once for all outputs that want it. Included
// by ends.inc.h where there are masks.

#if defined(TZ_MASKS512)
typedef __mmask16 END(mask_);
TZ_INLINE END(mask_) END(mask_range_)(ptrdiff_t from, ptrdiff_t to) {
  return (END(mask_))(((1u << to) - 1) & ~((1u << from) - 1));
}
TZ_INLINE VEC END(get_masked_)(END(mask_) mask, const S *x) {
#if defined(TZ_HALF)
  return TZ_WIDEN(__builtin_bit_cast(NAME(half_), _mm256_maskz_loadu_epi16(mask, x)));
#else
  return __builtin_bit_cast(VEC, _mm512_maskz_loadu_ps(mask, x));
#endif
}
#else
typedef __m256i END(mask_);
TZ_INLINE END(mask_) END(mask_range_)(ptrdiff_t from, ptrdiff_t to) {
  return _mm256_andnot_si256(_mm256_loadu_si256((const __m256i *)(tz_mask_words + 8 - from)),
                             _mm256_loadu_si256((const __m256i *)(tz_mask_words + 8 - to)));
}
TZ_INLINE VEC END(get_masked_)(END(mask_) mask, const S *x) {
  return __builtin_bit_cast(VEC, _mm256_maskload_ps(x, mask));
}
#endif

// What a row outside the image is.
static const S END(zero_row_)[2 * 2 * LANES + LANES + 8];

// `nv` vectors of columns of an image from output column w on, all rows of the area; only the first n outputs of each row
// are written, to `at` and on.
TZ_INLINE void END(image_columns_)(const tz_conv_tile *t, const tz_conv_output *out, const tz_conv_area *area,
                                    const tz_conv_image *in, ptrdiff_t w, ptrdiff_t n, ptrdiff_t at, const int K,
                                    const int step, const int nv, const bool adds) {
  // Element 0 of a load is element `first` of the row.
  const ptrdiff_t first = w * step + in->lowest[1];
  END(mask_) mask[8][2][2];
  TZ_UNROLL for (int k = 0; k < K; k++)
    TZ_UNROLL for (int v = 0; v < nv; v++)
      TZ_UNROLL for (int i = 0; i < step; i++) {
        const ptrdiff_t e = first + k + (v * step + i) * LANES, left = in->size[1] - e;
        const ptrdiff_t from = e >= 0 ? 0 : -e < LANES ? -e : LANES, to = left >= LANES ? LANES : left > 0 ? left : 0;
        mask[k][v][i] = END(mask_range_)(from, to > from ? to : from);
      }
  VEC weight[7][7];
  TZ_UNROLL for (int i = 0; i < K; i++)
    TZ_UNROLL for (int k = 0; k < K; k++) weight[i][k] = (VEC)(((const T *)t->w)[i * K + k]);
  const VEC start = (VEC)(*(const T *)t->start);
  const T slope = (T)out->slope, scale = (T)out->scale, ceiling = (T)out->ceiling;
  const bool bounded = out->bounded;
  // Rows that are not a multiple of a vector end with a part.
  const ptrdiff_t whole = n / LANES, part = n % LANES;
  // Outputs whose sums are not complete: acc[0] is the one that gets its last taps next.
  VEC acc[8][2];
  TZ_UNROLL for (int i = 0; i < K; i++)
    TZ_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = start;
  const ptrdiff_t top = area->first[1] * step + in->lowest[0], rows = (area->height - 1) * step + K;
  for (ptrdiff_t j = 0; j < rows; j++) {
    const ptrdiff_t ih = top + j;
    const S *row = ih >= 0 && ih < in->size[0] ? (const S *)t->x + ih * in->stride + first : END(zero_row_);
    VEC x[8][2];
    TZ_UNROLL for (int v = 0; v < nv; v++) {
      if (step == 1) {
        TZ_UNROLL for (int k = 0; k < K; k++) x[k][v] = END(get_masked_)(mask[k][v][0], row + k + v * LANES);
      } else {
        // A tap reads every second element; its neighbour those between.
        TZ_UNROLL for (int k = 0; k < K; k += 2) {
          const VEC a = END(get_masked_)(mask[k][v][0], row + k + v * 2 * LANES);
          const VEC b = END(get_masked_)(mask[k][v][1], row + k + v * 2 * LANES + LANES);
          x[k][v] = TZ_EVEN(a, b);
          x[k + 1][v] = TZ_ODD(a, b);
        }
      }
    }
    // With step 2 each row belongs to the taps of even or of odd number. acc[i] is i outputs after acc[0].
    const bool is_odd = step == 2 && (j - (K - 1)) % 2 != 0;
#define TZ_TAPS(KH, I)                                    \
  TZ_UNROLL for (int k = 0; k < K; k++)                   \
    TZ_UNROLL for (int v = 0; v < nv; v++) acc[I][v] += weight[KH][k] * x[k][v];
    if (step == 1) {
      TZ_UNROLL for (int i = 0; i < K; i++) { TZ_TAPS(K - 1 - i, i) }
    } else if (is_odd) {
      TZ_UNROLL for (int i = 0; i < K / 2; i++) { TZ_TAPS(K - 2 - 2 * i, i) }
      continue;
    } else {
      TZ_UNROLL for (int i = 0; i < (K + 1) / 2; i++) { TZ_TAPS(K - 1 - 2 * i, i) }
    }
#undef TZ_TAPS
    if (j >= K - 1) {
      S *y = (S *)out->y + at;
      TZ_UNROLL for (int v = 0; v < nv; v++) {
        VEC value = acc[0][v];
        const bool is_whole = v < whole;
        if (adds) {
          TZ_UNROLL for (int r = 0; r < 2; r++)
            if (out->residual[r]) {
              const S *more = (const S *)out->residual[r] + at + v * LANES;
              value += is_whole ? END(get_)(more) : END(get_part_)(more, part);
            }
          value *= scale;
        }
        if (slope != (T)1) value = NAME(leaky_)(value, slope);
        if (bounded) value = value > ceiling ? (VEC)(ceiling) : value;
        value = END(activate_vector_)(out, value);
        if (is_whole) END(put_)(y + v * LANES, value);
        else END(put_part_)(y + v * LANES, value, part);
      }
      at += out->stride[1];
    }
    TZ_UNROLL for (int i = 0; i + 1 < K; i++)
      TZ_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = acc[i + 1][v];
    TZ_UNROLL for (int v = 0; v < nv; v++) acc[step == 1 ? K - 1 : K / 2][v] = start;
  }
}

TZ_INLINE void END(image_)(const tz_conv_tile *t, const tz_conv_output *out, const tz_conv_area *area,
                            const tz_conv_image *in, const int K, const int step) {
  const ptrdiff_t origin = NAME(plane_origin_)(out, area);
  const bool adds = out->residual[0] || out->residual[1] || out->scale != 1;
  for (ptrdiff_t w = 0; w < area->width;) {
    const ptrdiff_t left = area->width - w, n = left < 2 * LANES ? left : 2 * LANES, column = area->first[2] + w;
    if (adds) {
      if (n > LANES) END(image_columns_)(t, out, area, in, column, n, origin + w, K, step, 2, true);
      else END(image_columns_)(t, out, area, in, column, n, origin + w, K, step, 1, true);
    } else if (n > LANES) {
      END(image_columns_)(t, out, area, in, column, n, origin + w, K, step, 2, false);
    } else {
      END(image_columns_)(t, out, area, in, column, n, origin + w, K, step, 1, false);
    }
    w += n;
  }
  // Rows that follow one another are one.
  const bool follows = out->stride[1] == area->width;
  for (ptrdiff_t h = 0; h < (follows ? 1 : area->height); h++)
    END(activate_written_)(out, (S *)out->y + origin + h * out->stride[1], area->width * (follows ? area->height : 1));
}

#define TZ_IMAGE(K, STEP)                                                                                          \
  static void END(image_##K##_##STEP##_)(const tz_conv_tile *t, const tz_conv_output *out, const tz_conv_area *area, \
                                          const tz_conv_image *in) {                                               \
    END(image_)(t, out, area, in, K, STEP);                                                                       \
  }
TZ_IMAGE(3, 1) TZ_IMAGE(3, 2) TZ_IMAGE(5, 1) TZ_IMAGE(5, 2) TZ_IMAGE(7, 1) TZ_IMAGE(7, 2)
#undef TZ_IMAGE
