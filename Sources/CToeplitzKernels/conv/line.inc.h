// Convolutions of sequences to one channel (in each group: depthwise ones), computed from the input where it lies: only
// vectors at the ends, where taps lie in the padding, are read in part. Included by ends.inc.h.

#if defined(TZ_MASKS512)
// The products of one channel and taps that lie next to each other, each after the one before it (`back`: in front of it).
// A vector across two lines of the cache takes twice as long to load, and most of those that taps read are: so they are
// taken from two vectors in registers, but for some, since shuffles and multiply-adds take turns. `beyond` are the lanes
// that taps read of the vector past the outputs.
TZ_INLINE void END(line_slide_)(VEC *acc, const S *x, const T *w, const int taps, const END(mask_) beyond, const int nv,
                                const bool back) {
  VEC near[9];
  TZ_UNROLL for (int v = 0; v < nv; v++) near[v + back] = END(get_)(x + v * LANES);
  near[back ? 0 : nv] = END(get_masked_)(beyond, x + (back ? -LANES : nv * LANES));
#define TZ_AFTER(k, l) ((k) + (l))
#define TZ_BEFORE(k, l) (TZ_LANES - (k) + (l))
#define TZ_TAP(k)                                                                                           \
  if ((k) == taps) return;                                                                                  \
  TZ_UNROLL for (int v = 0; v < nv; v++)                                                                    \
    acc[v] += (VEC)(w[k]) * (TZ_LOADS(k) ? END(get_)(x + (back ? -(k) : (k)) + v * LANES)                   \
                             : back ? __builtin_shufflevector(near[v], near[v + 1], TZ_EACH(TZ_BEFORE, k))  \
                                    : __builtin_shufflevector(near[v], near[v + 1], TZ_EACH(TZ_AFTER, k)));
#if defined(TZ_HALF)
#define TZ_LOADS(k) 0
#else
#define TZ_LOADS(k) ((k) % 3 == 2)
#endif
  TZ_TAP(0) TZ_TAP(1) TZ_TAP(2) TZ_TAP(3) TZ_TAP(4) TZ_TAP(5) TZ_TAP(6) TZ_TAP(7)
#if TZ_LANES == 16
  TZ_TAP(8) TZ_TAP(9) TZ_TAP(10) TZ_TAP(11) TZ_TAP(12) TZ_TAP(13) TZ_TAP(14) TZ_TAP(15)
#endif
#undef TZ_AFTER
#undef TZ_BEFORE
#undef TZ_TAP
#undef TZ_LOADS
}
#endif

// nv vectors of outputs, from `at` on, all of whose taps lie inside; x is at the first tap of the first.
TZ_INLINE void END(line_run_)(const tz_conv_tile *t, const tz_conv_output *out, const S *x, ptrdiff_t at, const int nv,
                               const bool plain) {
  VEC acc[8];
  S *y = (S *)out->y + at;
  TZ_UNROLL for (int v = 0; v < nv; v++) {
    NAME(near_output_)(y + v * LANES);
    acc[v] = (VEC)(*(const T *)t->start);
  }
  const T *w = (const T *)t->w;
  const int taps = t->taps;
  for (int c = 0; c < t->channels; c++, x += t->xs, w += taps) {
    // What later runs read, to the second level: channels may lie so far apart that they drive each other out of the first.
    TZ_UNROLL for (int v = 0; v < nv; v++) __builtin_prefetch((const char *)(x + v * LANES) + 2048, 0, 2);
#if defined(TZ_MASKS512)
    if (t->spacing == 1 && taps <= LANES) {
      END(line_slide_)(acc, x, w, taps, END(mask_range_)(0, taps - 1), nv, false);
      continue;
    }
    if (t->spacing == -1 && taps <= LANES) {
      END(line_slide_)(acc, x, w, taps, END(mask_range_)(LANES + 1 - taps, LANES), nv, true);
      continue;
    }
#endif
    const S *tap = x;
    for (int k = 0; k < taps; k++, tap += t->spacing) {
      const VEC s = (VEC)(w[k]);
      TZ_UNROLL for (int v = 0; v < nv; v++) acc[v] += s * END(get_)(tap + v * LANES);
    }
  }
  TZ_UNROLL for (int v = 0; v < nv; v++)
    END(put_)(y + v * LANES, plain ? acc[v] : END(finish_vector_)(out, acc[v], at + v * LANES));
}

// The n <= LANES outputs from w on, which are stored from `at` on.
static void END(line_end_)(const tz_conv_tile *t, const tz_conv_output *out, const tz_conv_image *in, ptrdiff_t w,
                            ptrdiff_t n, ptrdiff_t at) {
  VEC acc = (VEC)(*(const T *)t->start);
  const S *x = (const S *)t->x;
  const T *weight = (const T *)t->w;
  for (int c = 0; c < t->channels; c++, x += t->xs) {
    ptrdiff_t tap = w + in->lowest[1];
    for (int k = 0; k < t->taps; k++, tap += t->spacing) {
      const ptrdiff_t from = tap >= 0 ? 0 : -tap < LANES ? -tap : LANES, left = in->size[1] - tap;
      const ptrdiff_t to = left >= LANES ? LANES : left > from ? left : from;
      acc += (VEC)(*weight++) * END(get_range_)(x + tap, from, to);
    }
  }
  if (n == LANES) END(put_)((S *)out->y + at, END(finish_vector_)(out, acc, at));
  else END(finish_part_)(out, acc, n, at);
}

TZ_INLINE void END(line_all_)(const tz_conv_tile *t, const tz_conv_output *out, const tz_conv_area *area,
                               const tz_conv_image *in, const bool plain) {
  const ptrdiff_t first = area->first[2], end = first + area->width, shift = NAME(plane_origin_)(out, area) - first;
  const ptrdiff_t reach = (t->taps - 1) * t->spacing;
  // Outputs in this range have all their taps inside.
  const ptrdiff_t from = -in->lowest[1] - (reach < 0 ? reach : 0), to = in->size[1] - in->lowest[1] - (reach > 0 ? reach : 0);
  const ptrdiff_t last = (to < end ? to : end) - LANES;
  const S *x = (const S *)t->x + in->lowest[1];
  for (ptrdiff_t w = first; w < end;) {
    if (w < from || w > last) {
      const ptrdiff_t n = end - w < LANES ? end - w : LANES;
      END(line_end_)(t, out, in, w, n, w + shift);
      w += n;
      continue;
    }
    for (; w + 7 * LANES <= last; w += 8 * LANES) END(line_run_)(t, out, x + w, w + shift, 8, plain);
    for (; w + LANES <= last; w += 2 * LANES) END(line_run_)(t, out, x + w, w + shift, 2, plain);
    for (; w <= last; w += LANES) END(line_run_)(t, out, x + w, w + shift, 1, plain);
  }
  END(activate_written_)(out, (S *)out->y + first + shift, area->width);
}

// Not inlined: registers are scarce in its loops.
static __attribute__((noinline)) void END(line_one_)(const tz_conv_tile *t, const tz_conv_output *out,
                                                     const tz_conv_area *area, const tz_conv_image *in) {
  if (END(is_plain_)(out)) END(line_all_)(t, out, area, in, true);
  else END(line_all_)(t, out, area, in, false);
}

static void END(line_)(const tz_conv_tile *first_tile, const tz_conv_output *first_out, const tz_conv_area *area,
                        const tz_conv_image *in, const tz_conv_planes *p) {
  tz_conv_tile tile = *first_tile;
  tz_conv_output out = *first_out;
  for (ptrdiff_t i = 0; i < p->count; i++) {
    END(line_one_)(&tile, &out, area, in);
    tile.x = tz_forward(tile.x, p->input * p->stored);
    tz_conv_advance(&tile, &out, p);
  }
}
