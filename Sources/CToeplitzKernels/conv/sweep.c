// Kernel calls one after another.
#include "conv_common.h"

// The activation of the first `count` of each row of whole vectors that a kernel has written.
static void activate(const tz_conv_tile *tile, const tz_conv_output *out, ptrdiff_t count) {
  for (int32_t r = 0; r < tile->rows >> tile->zips; r++) {
    float *y = (float *)tile->y + r * tile->ys;
    out->activation(y, y, count << tile->zips, out->a, out->b);
  }
}

// Not a copy of the tile, which would take as long as a small kernel call.
void tz_conv_run(const tz_conv_table *table, tz_conv_tile *tile, const tz_conv_sweep *s) {
  const char *const x = tile->x, *const w = tile->w, *const start = tile->start, *const acc = tile->acc, *const y = tile->y;
  const void *const residual[2] = {tile->residual[0], tile->residual[1]};
  const ptrdiff_t far = tile->far, channels = (s->block_rows >> tile->zips) * tile->ys;
  for (const tz_conv_piece *piece = s->pieces; piece < s->pieces + s->piece_count; piece++) {
    const tz_conv_kernel kernel = tz_conv_kernel_for(table, s->block_rows, piece->vectors);
    const bool is_direct = piece->output >= 0;
    tile->x = x + piece->column * s->element;
    for (int32_t block = s->first_block; block < s->end_block; block++) {
      const int32_t first_row = block * s->block_rows, left = s->rows - first_row;
      const ptrdiff_t output = (piece->output + block * channels) * s->element;
      tile->rows = left < s->block_rows ? left : s->block_rows;
      tile->w = w + block * s->block_weights;
      tile->start = start + first_row * s->element;
      tile->acc = (void *)(acc + piece->sums + block * piece->block_sums);
      tile->y = is_direct ? (void *)(y + output) : NULL;
      for (int r = 0; r < 2; r++) tile->residual[r] = tz_forward(residual[r], output);
      kernel(tile);
      tz_near_next(&tile->near);
      // The other blocks find the inputs near.
      tile->far = 0;
      if (!s->out) continue;
      if (!is_direct)
        table->store(s->out, s->area, tile->acc, (ptrdiff_t)piece->vectors * table->lanes, piece->column, piece->count, first_row,
                     tile->rows);
      else if (s->out->activation)
        activate(tile, s->out, piece->count);
    }
    tile->far = far;
  }
  tile->x = x, tile->w = w, tile->start = start, tile->acc = (void *)acc, tile->y = (void *)y;
  for (int r = 0; r < 2; r++) tile->residual[r] = residual[r];
}

// The input positions [from, to) between those that a panel holds on one axis.
static inline tz_range reach(const tz_pack_axis *a) {
  const ptrdiff_t from = tz_pack_index(a, 0, a->phases[0]);
  const ptrdiff_t to = tz_pack_index(a, a->count - 1, a->phases[a->phase_count - 1]) + 1;
  tz_range range;
  range.from = from < 0 ? 0 : from;
  range.to = to > a->size ? a->size : to;
  return range;
}

void tz_near_pack(tz_near *near, const tz_pack *pack, ptrdiff_t element) {
  enum { line = 64 };
  const tz_pack_axis *a = pack->axis;
  const tz_range d = reach(&a[0]), h = reach(&a[1]), w = reach(&a[2]);
  near->channel = 0;
  if (d.to <= d.from || h.to <= h.from || w.to <= w.from || a[2].stride != 1) return;
  const char *x = (const char *)pack->x + (d.from * a[0].stride + h.from * a[1].stride + w.from) * element;
  near->x = x - (uintptr_t)x % line;
  near->channel = pack->x_channel * element;
  near->row_lines = (int32_t)((x + (w.to - w.from) * element - near->x - 1) / line);
  near->plane_rows = (int32_t)(h.to - h.from - 1);
  near->row = a[1].stride * element - (ptrdiff_t)near->row_lines * line;
  near->plane = (a[0].stride - near->plane_rows * a[1].stride) * element - (ptrdiff_t)near->row_lines * line;
  near->lines = near->row_lines;
  near->rows = near->plane_rows;
  near->planes = (int32_t)(d.to - d.from - 1);
}

void tz_conv_run_planes(const tz_conv_table *table, const tz_pack *first_pack, const tz_conv_tile *first_tile,
                        const tz_conv_output *first_out, const tz_conv_area *area, const tz_conv_planes *p) {
  tz_pack pack = *first_pack;
  tz_conv_tile tile = *first_tile;
  tz_conv_output out = *first_out;
  for (ptrdiff_t i = 0; i < p->count; i++) {
    table->pack(&pack);
    table->plane(&tile, &out, area);
    pack.x = tz_forward(pack.x, p->input * p->stored);
    tz_conv_advance(&tile, &out, p);
  }
}
