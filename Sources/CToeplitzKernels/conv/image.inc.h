// Depthwise convolutions of images with square kernels, computed from the image where it lies: loads under masks put
// zeros where padding is, so nothing is packed, and what a row holds is loaded once for all outputs that want it. Included
// by ends.inc.h where there are masks.

// What a row outside the image is.
static const S END(zero_row_)[2 * 2 * LANES + LANES + 8];

// Which lanes lie inside an image, for up to 2 vectors of columns: of what each tap reads (with step 2 from two vectors), and
// of the last vector of outputs. Channels that follow one another have them in common.
typedef struct {
  END(mask_) reads[8][2][2], last;
} END(image_masks_);

TZ_INLINE END(image_masks_) END(image_masks_of_)(const tz_conv_image *in, ptrdiff_t w, ptrdiff_t n, const int K,
                                                const int step, const int nv) {
  END(image_masks_) masks;
  const ptrdiff_t first = w * step + in->lowest[1];
  TZ_UNROLL for (int k = 0; k < K; k++)
    TZ_UNROLL for (int v = 0; v < nv; v++)
      TZ_UNROLL for (int i = 0; i < step; i++) {
        const ptrdiff_t e = first + k + (v * step + i) * LANES, left = in->size[1] - e;
        const ptrdiff_t from = e >= 0 ? 0 : -e < LANES ? -e : LANES, to = left >= LANES ? LANES : left > 0 ? left : 0;
        masks.reads[k][v][i] = END(mask_range_)(from, to > from ? to : from);
      }
  masks.last = END(mask_range_)(0, n - (nv - 1) * LANES);
  return masks;
}

// `nv` vectors of columns of an image from output column w on, all rows of the area; only the first n outputs of each row
// are written, to `at` and on. With `shapes`, all that may follow the sums does, else only a clamp.
TZ_INLINE void END(image_columns_)(const tz_conv_tile *t, const tz_conv_output *out, const tz_conv_area *area,
                                    const tz_conv_image *in, const END(image_masks_) *masks, ptrdiff_t w, ptrdiff_t n,
                                    ptrdiff_t at, const int K, const int step, const int nv, const bool shapes) {
  VEC weight[7][7];
  TZ_UNROLL for (int i = 0; i < K; i++)
    TZ_UNROLL for (int k = 0; k < K; k++) weight[i][k] = (VEC)(((const T *)t->w)[i * K + k]);
  const VEC start = (VEC)(*(const T *)t->start);
  const VEC lowest = (VEC)(NAME(lowest_)((T)out->slope)), highest = (VEC)(NAME(highest_)(out->bounded, out->ceiling));
  // Outputs whose sums are not complete: acc[0] is the one that gets its last taps next.
  VEC acc[8][2];
  TZ_UNROLL for (int i = 0; i < K; i++)
    TZ_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = start;
  const ptrdiff_t top = area->first[1] * step + in->lowest[0], rows = (area->height - 1) * step + K;
  const ptrdiff_t stride = in->stride, hop = out->stride[1];
  const size_t height = (size_t)in->size[0];
  const bool is_part = n < nv * LANES;
  // Element 0 of a load is this element of the row.
  const ptrdiff_t first = w * step + in->lowest[1];
  S *y = (S *)out->y;
  for (ptrdiff_t j = 0; j < rows; j++) {
    const bool is_inside = (size_t)(top + j) < height;
    // With step 2 each row belongs to the taps of even or of odd number. acc[i] is i outputs after acc[0].
    const bool is_odd = step == 2 && (j - (K - 1)) % 2 != 0;
    if (!is_inside && in->is_finite) {
      if (is_odd) continue;
      goto complete;
    }
    const S *row = is_inside ? (const S *)t->x + (top + j) * stride + first : END(zero_row_);
    VEC x[8][2];
    TZ_UNROLL for (int v = 0; v < nv; v++) {
      if (step == 1) {
        TZ_UNROLL for (int k = 0; k < K; k++) x[k][v] = END(get_masked_)(masks->reads[k][v][0], row + k + v * LANES);
      } else {
        // A tap reads every second element; its neighbour those between.
        TZ_UNROLL for (int k = 0; k < K; k += 2) {
          const VEC a = END(get_masked_)(masks->reads[k][v][0], row + k + v * 2 * LANES);
          const VEC b = END(get_masked_)(masks->reads[k][v][1], row + k + v * 2 * LANES + LANES);
          x[k][v] = TZ_EVEN(a, b);
          x[k + 1][v] = TZ_ODD(a, b);
        }
      }
    }
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
  complete:
    if (j >= K - 1) {
      TZ_UNROLL for (int v = 0; v < nv; v++) {
        const bool is_whole = v + 1 < nv || !is_part;
        VEC value = acc[0][v];
        if (!shapes) {
          value = NAME(clamp_)(value, lowest, highest);
        } else {
          TZ_UNROLL for (int r = 0; r < 2; r++)
            if (out->residual[r]) {
              const S *more = (const S *)out->residual[r] + at + v * LANES;
              value += is_whole ? END(get_)(more) : END(get_masked_)(masks->last, more);
            }
          value = END(shape_)(out, value);
        }
        if (is_whole) END(put_)(y + at + v * LANES, value);
        else END(put_masked_)(masks->last, y + at + v * LANES, value);
      }
      at += hop;
    }
    TZ_UNROLL for (int i = 0; i + 1 < K; i++)
      TZ_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = acc[i + 1][v];
    TZ_UNROLL for (int v = 0; v < nv; v++) acc[step == 1 ? K - 1 : K / 2][v] = start;
  }
}

TZ_INLINE void END(image_)(const tz_conv_tile *first_tile, const tz_conv_output *first_out, const tz_conv_area *area,
                            const tz_conv_image *in, const tz_conv_planes *p, const int K, const int step) {
  tz_conv_tile tile = *first_tile;
  tz_conv_output out = *first_out;
  const ptrdiff_t origin = NAME(plane_origin_)(&out, area);
#if defined(TZ_HALF)
  const bool activates = out.activation != NULL;
#else
  const bool activates = false;
#endif
  const bool shapes = out.residual[0] || out.residual[1] || out.scale != 1 || activates || !NAME(clamps_)((T)out.slope);
  // Rows that follow one another are one.
  const bool follows = out.stride[1] == area->width;
  END(image_masks_) masks;
  for (ptrdiff_t i = 0; i < p->count; i++) {
    for (ptrdiff_t w = 0; w < area->width;) {
      const ptrdiff_t left = area->width - w, n = left < 2 * LANES ? left : 2 * LANES, column = area->first[2] + w;
      const bool is_known = i > 0 && n == area->width;
      if (n > LANES) {
        if (!is_known) masks = END(image_masks_of_)(in, column, n, K, step, 2);
        if (shapes) END(image_columns_)(&tile, &out, area, in, &masks, column, n, origin + w, K, step, 2, true);
        else END(image_columns_)(&tile, &out, area, in, &masks, column, n, origin + w, K, step, 2, false);
      } else {
        if (!is_known) masks = END(image_masks_of_)(in, column, n, K, step, 1);
        if (shapes) END(image_columns_)(&tile, &out, area, in, &masks, column, n, origin + w, K, step, 1, true);
        else END(image_columns_)(&tile, &out, area, in, &masks, column, n, origin + w, K, step, 1, false);
      }
      w += n;
    }
    for (ptrdiff_t h = 0; h < (follows ? 1 : area->height); h++)
      END(activate_written_)(
        &out, (S *)out.y + origin + h * out.stride[1], area->width * (follows ? area->height : 1));
    tile.x = tz_forward(tile.x, p->input * p->stored);
    tz_conv_advance(&tile, &out, p);
  }
}

#define TZ_IMAGE(K, STEP)                                                                                          \
  static void END(image_##K##_##STEP##_)(const tz_conv_tile *t, const tz_conv_output *out, const tz_conv_area *area, \
                                          const tz_conv_image *in, const tz_conv_planes *p) {                      \
    END(image_)(t, out, area, in, p, K, STEP);                                                                    \
  }
TZ_IMAGE(3, 1) TZ_IMAGE(3, 2) TZ_IMAGE(5, 1) TZ_IMAGE(5, 2) TZ_IMAGE(7, 1) TZ_IMAGE(7, 2)
#undef TZ_IMAGE
