// Steps of recurrent layers in float32; part of elementwise.inc.h, whose functions it uses.
//
// The products with the recurrent weight are one chain of multiply-adds for each gate and unit, in the order of the hidden
// units, started from the recurrent bias; gates are applied while they are in registers.

// acc[(r * G + g) * V + v] += the products of row r's hidden state with the weights of gate g, a vector of units each.
TZ_INLINE void NAME(gate_sums_)(const float *w, const ptrdiff_t units, const float *h, const ptrdiff_t row, VEC *acc,
                                const int R, const int G, const int V, const int width) {
  for (ptrdiff_t k = 0; k < units; k++, w += G * width) {
    VEC x[3];
    TZ_UNROLL for (int r = 0; r < R; r++) x[r] = (VEC)(h[r * row + k]);
    TZ_UNROLL for (int g = 0; g < G; g++)
      TZ_UNROLL for (int v = 0; v < V; v++) {
        const VEC b = *(const VECU *)(w + g * width + v * LANES);
        TZ_UNROLL for (int r = 0; r < R; r++) acc[(r * G + g) * V + v] += x[r] * b;
      }
  }
}

enum { NAME(cell_gated_) = 3, NAME(cell_memory_) = 4 };

// One step of R rows for V vectors of units from `unit` on.
TZ_INLINE void NAME(units_step_)(const tz_recurrence *t, const float *gates, const float *h0, float *h1, float *y,
                                 const ptrdiff_t unit, const int R, const int G, const int V, const int width) {
  const ptrdiff_t units = t->units, row = t->state_row;
  const ptrdiff_t block = unit / width, inner = unit % width;
  VEC acc[3 * 8];
  TZ_UNROLL for (int g = 0; g < G; g++)
    TZ_UNROLL for (int v = 0; v < V; v++) {
      const VEC b = *(const VECU *)(t->bias + (block * G + g) * width + inner + v * LANES);
      TZ_UNROLL for (int r = 0; r < R; r++) acc[(r * G + g) * V + v] = b;
    }
  NAME(gate_sums_)(t->weights + block * units * G * width + inner, units, h0, row, acc, R, G, V, width);
  TZ_UNROLL for (int r = 0; r < R; r++)
    TZ_UNROLL for (int v = 0; v < V; v++) {
      const ptrdiff_t u = unit + v * LANES, left = units - u;
      const float *x = gates + r * t->gates_row + u;
      VEC *a = acc + r * G * V + v;
      VEC h;
      if (G == NAME(cell_memory_)) {
        const VEC i = NAME(v_sigmoid_)(NAME(load_left_)(x + t->places[0] * units, left) + a[0 * V]);
        const VEC o = NAME(v_sigmoid_)(NAME(load_left_)(x + t->places[1] * units, left) + a[1 * V]);
        const VEC f = NAME(v_sigmoid_)(NAME(load_left_)(x + t->places[2] * units, left) + a[2 * V]);
        const VEC n = NAME(v_tanh_)(NAME(load_left_)(x + t->places[3] * units, left) + a[3 * V]);
        VECU *cell = (VECU *)(t->cell + r * row + u);
        const VEC c = f * *cell + i * n;
        *cell = c;
        h = o * NAME(v_tanh_)(c);
      } else if (G == NAME(cell_gated_)) {
        const VEC z = NAME(v_sigmoid_)(NAME(load_left_)(x + t->places[0] * units, left) + a[0 * V]);
        const VEC reset = NAME(v_sigmoid_)(NAME(load_left_)(x + t->places[1] * units, left) + a[1 * V]);
        const VEC n = NAME(v_tanh_)(NAME(load_left_)(x + 2 * units, left) + reset * a[2 * V]);
        h = n + z * (*(const VECU *)(h0 + r * row + u) - n);
      } else {
        h = NAME(load_left_)(x, left) + a[0];
        h = t->rectifies ? (h < 0.0f ? (VEC)(0.0f) : h) : NAME(v_tanh_)(h);
      }
      *(VECU *)(h1 + r * row + u) = h;
      NAME(store_left_)(y + r * t->y_row + u, h, left);
    }
}

// Vectors of units at once, so that there are about eight chains.
#if TZ_BYTES == 64
#define TZ_UNIT_VECTORS(R, G) ((G) == 1 ? 8 / ((R) == 1 ? 1 : 4) : 2)
#else
#define TZ_UNIT_VECTORS(R, G) ((G) == 1 ? ((R) == 1 ? 8 : 2) : (R) == 1 ? 2 : 1)
#endif

TZ_INLINE void NAME(recur_)(const tz_recurrence *t, const int R, const int G, const int width) {
  const int V = TZ_UNIT_VECTORS(R, G);
  float *h0 = t->hidden, *h1 = t->next;
  const ptrdiff_t tiles = (t->units + V * LANES - 1) / (V * LANES);
  for (ptrdiff_t s = 0; s < t->steps; s++) {
    const float *gates = t->gates + s * t->gates_step;
    float *y = t->y + s * t->y_step;
    // To and fro, so that the weights that were read last are read first.
    for (ptrdiff_t i = 0; i < tiles; i++)
      NAME(units_step_)(t, gates, h0, h1, y, (s & 1 ? tiles - 1 - i : i) * V * LANES, R, G, V, width);
    float *swap = h0;
    h0 = h1;
    h1 = swap;
  }
  if (h0 != t->hidden) __builtin_memcpy(t->hidden, h0, (size_t)(R * t->state_row) * 4);
}

#define TZ_RECUR(R, G, width) \
  static __attribute__((noinline)) void NAME(recur_##R##x##G##_)(const tz_recurrence *t) { NAME(recur_)(t, R, G, width); }
TZ_RECUR(1, 1, TZ_UNITS_SIMPLE) TZ_RECUR(2, 1, TZ_UNITS_SIMPLE) TZ_RECUR(3, 1, TZ_UNITS_SIMPLE)
TZ_RECUR(1, 3, TZ_UNITS) TZ_RECUR(2, 3, TZ_UNITS) TZ_RECUR(3, 3, TZ_UNITS)
TZ_RECUR(1, 4, TZ_UNITS) TZ_RECUR(2, 4, TZ_UNITS) TZ_RECUR(3, 4, TZ_UNITS)

const tz_recurrence_table NAME(tz_recurrence_) = {
  .run = {
    [TZ_CELL_SIMPLE] = {NAME(recur_1x1_), NAME(recur_2x1_), NAME(recur_3x1_)},
    [TZ_CELL_GATED] = {NAME(recur_1x3_), NAME(recur_2x3_), NAME(recur_3x3_)},
    [TZ_CELL_MEMORY] = {NAME(recur_1x4_), NAME(recur_2x4_), NAME(recur_3x4_)},
  },
};
