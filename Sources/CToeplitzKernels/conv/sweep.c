// Kernel calls one after another: what is left between them is a few additions.
#include "conv_common.h"

// Moves to another block, numbered from the one `tile` is at. Moving back instead of keeping what was there: members read
// together as one vector wait for the stores that have just written them one by one.
static inline void move(tz_conv_tile *tile, const tz_conv_sweep *s, ptrdiff_t blocks) {
  const ptrdiff_t outputs = blocks * (s->block_rows >> tile->zips) * tile->ys * s->element;
  tile->w = tz_forward(tile->w, blocks * s->block_weights);
  tile->start = tz_forward(tile->start, blocks * s->block_rows * s->element);
  tile->y = (void *)tz_forward(tile->y, outputs);
  for (int r = 0; r < 2; r++) tile->residual[r] = tz_forward(tile->residual[r], outputs);
}

// The activation of the first `count` of each row of whole vectors that a kernel has written.
static inline void activate(const tz_conv_tile *tile, const tz_conv_sweep *s, ptrdiff_t count) {
  if (!s->out || !s->out->activation || !tile->y) return;
  for (int32_t r = 0; r < tile->rows >> tile->zips; r++) {
    float *y = (float *)tile->y + r * tile->ys;
    s->out->activation(y, y, count << tile->zips, s->out->a, s->out->b);
  }
}

void tz_conv_run(const tz_conv_table *table, tz_conv_tile *tile, const tz_conv_sweep *s) {
  const tz_conv_kernel kernel = tz_conv_kernel_for(table, s->block_rows, s->vectors);
  const ptrdiff_t far = tile->far;
  move(tile, s, s->first_block);
  for (int32_t block = s->first_block; block < s->end_block; block++) {
    const int32_t first_row = block * s->block_rows, left = s->rows - first_row;
    tile->rows = left < s->block_rows ? left : s->block_rows;
    kernel(tile);
    tz_near_next(&tile->near);
    // The other blocks find the inputs near.
    tile->far = 0;
    activate(tile, s, s->count);
    if (s->out && !tile->y)
      table->store(s->out, s->area, tile->acc, (ptrdiff_t)s->vectors * table->lanes, s->column, s->count, first_row, tile->rows);
    move(tile, s, 1);
    tile->acc = (char *)tile->acc + s->block_sums;
  }
  tile->far = far;
  move(tile, s, -s->end_block);
  tile->acc = (char *)tile->acc - (s->end_block - s->first_block) * s->block_sums;
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

void tz_conv_run_positions(const tz_conv_table *table, tz_conv_tile *tile, const tz_conv_sweep *s, ptrdiff_t vectors) {
  const ptrdiff_t most = s->block_rows == 8 ? table->max_vectors8 : s->block_rows == 4 ? table->max_vectors4 : table->max_vectors1;
  const ptrdiff_t parts = (vectors + most - 1) / most;
  tile->rows = s->rows < s->block_rows ? s->rows : s->block_rows;
  for (ptrdiff_t part = 0, first = 0; part < parts; part++) {
    const ptrdiff_t end = (part + 1) * vectors / parts, count = (end - first) * table->lanes;
    tz_conv_kernel_for(table, s->block_rows, (int32_t)(end - first))(tile);
    activate(tile, s, count);
    tile->x = tz_forward(tile->x, count * s->element);
    tile->y = (void *)tz_forward(tile->y, count * s->element);
    first = end;
  }
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
