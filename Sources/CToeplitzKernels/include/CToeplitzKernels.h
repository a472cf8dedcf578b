// Inner loops of Toeplitz. No function here allocates, starts threads or chooses between algorithms: that is
// Swift's part (ToeplitzOps/Runtime). Every loop is written once with the compiler's vector extensions and
// compiled for each instruction set; a table of function pointers for each set is what Swift sees.
#ifndef CTOEPLITZ_KERNELS_H
#define CTOEPLITZ_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- Instruction sets ------------------------------------------------------------------------------------

/// Vector instruction sets, slowest first; the numbers order them.
typedef enum {
  TZ_ISA_BASELINE = 0,  ///< SSE2 on x86-64, NEON on arm64
  TZ_ISA_AVX2 = 1,      ///< AVX2 and FMA
  TZ_ISA_AVX512 = 2,    ///< AVX-512 F, VL, BW, DQ
} tz_isa;

/// The best instruction set of this processor.
tz_isa tz_best_isa(void);
/// Whether this processor begins one multiply-add of 64-byte vectors in a cycle, not two.
bool tz_has_one_wide_multiplier(void);
/// Processors this process may use (on Linux: this thread, which has the process's unless it was given others).
int tz_processor_count(void);
/// Ties this thread to one of the processors that it may use, numbered from 0, again and again; false where that cannot be.
bool tz_pin_thread(int index);
/// One pause of a waiting loop.
void tz_pause(void);
/// Lets another thread have this thread's processor, if one waits for it.
void tz_yield(void);

/// Makes subnormal numbers count as zero on this thread (DAZ and FTZ) and returns the state before.
uint64_t tz_flush_denormals(void);
/// Restores what tz_flush_denormals returned.
void tz_restore_denormals(uint64_t state);
/// This thread's control bits for floating-point numbers: rounding, traps, subnormal numbers.
uint64_t tz_floating_point_state(void);

// ---- Functions of one number -------------------------------------------------------------------------------

/// Functions of one number. `a` and `b` are their parameters.
typedef enum {
  TZ_LEAKY_RELU = 0,  ///< x < 0 ? a x : x (a = 0: relu)
  TZ_EXP,
  TZ_TANH,
  TZ_SIGMOID,
  TZ_SILU,
  TZ_GELU,       ///< x Phi(x)
  TZ_GELU_TANH,  ///< the tanh approximation
  TZ_SOFTPLUS,   ///< log(1 + exp(a x)) / a, x itself where a x > b
  TZ_MISH,       ///< x tanh(log(1 + exp x))
  TZ_ELU,        ///< x < 0 ? b a (exp x - 1) : b x  (SELU with its a and b)
  TZ_SIN,
  TZ_LOG,
  TZ_SNAKE,      ///< x + b sin(a x)^2
  TZ_CLAMP,      ///< a below a, b above b; NaN stays
  TZ_HARDSWISH,  ///< x min(max(x + 3, 0), 6) / 6
  TZ_HARDSIGMOID,  ///< min(max(x + 3, 0), 6) / 6
  TZ_SOFTSIGN,   ///< x / (1 + |x|)
  TZ_CELU,       ///< x < 0 ? a (exp(x / a) - 1) : x
  TZ_ABS,
  TZ_NEGATE,
  TZ_SIGN,
  TZ_RECIPROCAL,
  TZ_SQRT,
  TZ_FLOOR,
  TZ_CEIL,
  TZ_TRUNC,
  TZ_ROUND,      ///< halves to even
  TZ_COS,
  TZ_ERF,
  TZ_SQUARE,
  TZ_CUBE,
  TZ_NOT,        ///< x == 0
  TZ_IS_NAN,
  TZ_TRUTH_OF,   ///< x != 0
  TZ_THRESHOLD,  ///< x above a, else 0
  TZ_SHRINK,     ///< x + b below -a, x - b above a, else 0
  TZ_LINEAR_CLAMP,  ///< a x + b between 0 and 1
  TZ_ROOT,       ///< x to the power 1/2, of -0 and minus infinity as C has it
  TZ_TO_F16,     ///< rounded to float16
  TZ_TO_BF16,    ///< rounded to bfloat16
  TZ_UNARY_COUNT
} tz_unary;

/// Functions of two numbers; truth is 1, and 0 is not.
typedef enum {
  TZ_ADD = 0,
  TZ_SUBTRACT,
  TZ_MULTIPLY,
  TZ_DIVIDE,
  TZ_MINIMUM,  ///< NaN wins, here and in the next
  TZ_MAXIMUM,
  TZ_POWER,
  TZ_EQUAL,
  TZ_NOT_EQUAL,
  TZ_LESS,
  TZ_LESS_OR_EQUAL,
  TZ_GREATER,
  TZ_GREATER_OR_EQUAL,
  TZ_AND,
  TZ_OR,
  TZ_XOR,
  TZ_PAIRS_COUNT
} tz_pairs;

/// z[i] = f(x[i * dx], y[i * dy]) for n floats; steps are 0 or 1; z may be an operand of step 1.
typedef void (*tz_pairs_function)(const float *x, ptrdiff_t dx, const float *y, ptrdiff_t dy, float *z, ptrdiff_t n);

/// y[i] = f(x[i]) for n floats; x may be y.
typedef void (*tz_unary_function)(const float *x, float *y, ptrdiff_t n, float a, float b);

// ---- Convolution -----------------------------------------------------------------------------------------

/// A tap of a kernel call that does not compute what lies in the padding.
typedef struct {
  int32_t x;     ///< where its column 0 lies in a channel of the panel
  int32_t w;     ///< where its weights lie among those of a channel
  int32_t edge;  ///< whether it reads padding at the first column (1), at the last (2) or at neither (0): that is left out
} tz_conv_tap;

/// Lines of an input that kernel calls bring near, to the second-level cache, for the pack that comes after them: each call with
/// several taps a line of every channel.
typedef struct {
  const char *x;               ///< the line of the first channel
  ptrdiff_t channel;           ///< bytes from a channel to the next; 0 for nothing to bring near
  ptrdiff_t row, plane;        ///< bytes from the last line of a row to the next row, and from that of a plane to the next plane
  int32_t lines, rows, planes; ///< how many more there are after this line, in its row; after the row; after the plane
  int32_t row_lines, plane_rows;  ///< lines after the first of a row, rows after the first of a plane
} tz_near;

/// A tile of a convolution as a small matrix product over taps:
///
///     y[r][v] = start[r] + sum over c, k of w[c][k][r] * x[c * xs + toff[k] + v]
///
/// for the rows r of one block and V vectors of columns v. Rows are output channels (or output channels times
/// phases), columns are positions. Channels are the outer loop and taps the inner: the canonical order of
/// additions that every kernel keeps.
typedef struct {
  const void *x;        ///< panel, at the first column of the tile
  ptrdiff_t xs;         ///< elements between two channels of the panel
  const void *w;        ///< weights [c][k][rows of the block]
  const int32_t *toff;  ///< for each tap, where its column 0 lies in a channel of the panel
  ptrdiff_t spacing;    ///< narrow blocks: how far the taps of each three lie apart, if all threes are alike; 0 if not.
                        ///< lines: how far taps lie apart
  int32_t channels;
  int32_t taps;
  const void *start;    ///< one start value a row (the bias); unused when continuing
  void *acc;            ///< [rows][V vectors]: partial sums, read if `continues`, written unless `y` is set
  bool continues;       ///< start from acc instead of `start`
  void *y;              ///< if set, whole vectors of results go here, row r at y + r * ys
  ptrdiff_t ys;
  bool zips;            ///< with y: results of rows 2 r and 2 r + 1 take turns at y + r * ys
  const void *residual[2]; ///< with y: where set, added to the result; same offsets as y
  double scale;         ///< with y: factor of the result after that
  double slope;         ///< with y: values below 0 are multiplied by this after that (1: nothing)
  bool bounded;         ///< with y: values above `ceiling` become it last
  double ceiling;
  int32_t rows;         ///< with y: how many rows exist
  bool completes;       ///< wide blocks: the sums are complete and go to `sums`
  void *sums;           ///< wide blocks: [32 rows][sums_pitch columns], of which up to 16 from the first on are written
  ptrdiff_t sums_pitch;
  const void *ahead;    ///< wide blocks: what to prefetch into the second-level cache, and by how much to advance
  ptrdiff_t ahead_step; ///< for each channel and tap
  ptrdiff_t far;        ///< not for single rows: bytes to inputs of later channels that come nearer meanwhile
  const float *scales;  ///< wide blocks of int8 weights: what those of each row are multiplied by
  const tz_conv_tap *inside;  ///< wide blocks: if set, the `taps` taps to compute, in order, instead of `toff`
  ptrdiff_t ws;         ///< with `inside`: elements between the weights of two channels
  tz_near near;
} tz_conv_tile;

/// With fewer channels times taps, writing the outputs takes longer than the products.
enum { TZ_LIGHT_STEPS = 96 };

typedef void (*tz_conv_kernel)(const tz_conv_tile *);

/// What happens to finished sums and where they go: position m of phase f is output m * step + f - shift of each axis,
/// and positions outside the output are dropped.
typedef struct {
  void *y;                  ///< output 0 of channel 0
  const void *residual[2];  ///< where set, added; same offsets as y
  double scale;             ///< factor after that
  double slope;             ///< values below 0 are multiplied by this after that
  bool bounded;             ///< values above `ceiling` become it last
  double ceiling;
  ptrdiff_t channel;        ///< elements between output channels
  ptrdiff_t stride[3];      ///< elements between outputs on d, h, w
  ptrdiff_t size[3];        ///< outputs on d, h, w
  ptrdiff_t step[3];
  ptrdiff_t shift[3];
  const int32_t (*phases)[3];  ///< phases of a channel's rows, w varying fastest
  int32_t phase_count;
  int32_t wide;             ///< how many of them differ in w only
  tz_unary_function activation;  ///< computed in float32 only: if set, applied to every result last, with these parameters
  float a, b;
} tz_conv_output;

/// A tile of positions: rows of h, flattened; column h * pitch + w holds position (h, w), the rest is not used.
typedef struct {
  ptrdiff_t first[3];  ///< position of its first column on d, h, w
  ptrdiff_t height;
  ptrdiff_t width;
  ptrdiff_t pitch;
} tz_conv_area;

/// Finishes `rows` rows of sums, row r at acc + r * acc_pitch, that hold columns [column, column + count) of an area
/// for output rows first_row and on (row = channel * phase_count + phase).
typedef void (*tz_conv_store)(const tz_conv_output *out, const tz_conv_area *area, const void *acc, ptrdiff_t acc_pitch,
                              ptrdiff_t column, ptrdiff_t count, int32_t first_row, int32_t rows);

enum { TZ_PAD_ZEROS = 0, TZ_PAD_REFLECT = 1, TZ_PAD_REPLICATE = 2, TZ_PAD_CIRCULAR = 3 };

/// One axis of a panel: panel position j of phase p holds input index (first + j) * step + phases[p].
typedef struct {
  ptrdiff_t size;         ///< input size
  ptrdiff_t stride;       ///< elements between input neighbours
  ptrdiff_t first;
  ptrdiff_t count;        ///< panel positions
  ptrdiff_t step;
  const ptrdiff_t *phases;
  int32_t phase_count;
} tz_pack_axis;

/// Copies part of an input into a panel [c][phase of d][d][phase of h][phase of w][h][w], with the padding filled
/// in and a leaky rectifier (slope for values below 0; 1: nothing) applied.
typedef struct {
  const void *x;
  void *panel;
  int32_t channels;
  ptrdiff_t x_channel;      ///< elements between input channels
  ptrdiff_t panel_channel;  ///< elements between panel channels
  ptrdiff_t panel_row;      ///< elements between rows of w of one phase
  tz_pack_axis axis[3];     ///< d, h, w
  int32_t mode;             ///< one of TZ_PAD_...
  double slope;
} tz_pack;

typedef void (*tz_pack_function)(const tz_pack *);

/// Goes on with the next line.
static inline void tz_near_next(tz_near *near) {
  if (near->lines > 0) {
    near->lines--, near->x += 64;
  } else if (near->rows > 0) {
    near->rows--, near->lines = near->row_lines, near->x += near->row;
  } else if (near->planes > 0) {
    near->planes--, near->rows = near->plane_rows, near->lines = near->row_lines, near->x += near->plane;
  } else {
    near->channel = 0;
  }
}

/// Brings near what the request will read, see tz_near; nothing where neighbours lie apart. Elements take `element` bytes.
void tz_near_pack(tz_near *near, const tz_pack *pack, ptrdiff_t element);

/// A whole area of a single row (one output channel of one group), panel to output: `tile` gives panel, weights, taps
/// and start value. Only where positions are outputs and lie next to each other.
typedef void (*tz_conv_plane)(const tz_conv_tile *tile, const tz_conv_output *out, const tz_conv_area *area);

/// A channel of an image that is read where it lies, with zeros around it, neighbours on w side by side.
typedef struct {
  ptrdiff_t size[2];    ///< h, w
  ptrdiff_t stride;     ///< elements between rows
  ptrdiff_t lowest[2];  ///< the offset of the first tap on h and w
  bool is_finite;       ///< whether all weights are finite numbers, so that rows of padding need not be multiplied
} tz_conv_image;

/// The same area of `count` single rows one after another, and how far apart they lie, in elements.
typedef struct {
  ptrdiff_t count;
  ptrdiff_t input, weights, start, output;
  ptrdiff_t element;  ///< bytes of a weight and a start value
  ptrdiff_t stored;   ///< bytes of an element of input and output
} tz_conv_planes;

/// Computes such rows from an image or a sequence where it lies; `tile` is set up for the first, x at its channel, and so is
/// `out`.
typedef void (*tz_conv_image_kernel)(const tz_conv_tile *tile, const tz_conv_output *out, const tz_conv_area *area,
                                     const tz_conv_image *image, const tz_conv_planes *planes);

/// The convolution kernels of one element type on one instruction set.
///
/// `rowsR[v - 1]` computes R rows by v vectors of `lanes` columns.
typedef struct {
  int32_t lanes;
  int32_t max_vectors8, max_vectors4, max_vectors1;
  tz_conv_kernel rows8[3];
  tz_conv_kernel rows4[6];
  tz_conv_kernel rows1[8];
  tz_conv_kernel wide[14];  ///< [columns - 1]: 32 rows by 1 to 14 columns; acc is [columns][32]
  tz_conv_plane plane;
  tz_conv_image_kernel line;  ///< one row, tile->taps taps that lie tile->spacing apart
  /// [k / 2 - 1][stride - 1] for k x k taps, k 3, 5 or 7, and strides of 1 and 2 on both axes; NULL where there is none.
  tz_conv_image_kernel image[3][2];
  tz_conv_store store;
  tz_pack_function pack;
} tz_conv_table;

/// Element types. Convolutions of the 16-bit ones are computed in float32: `x` of a tz_pack, `y` and `residual` of a
/// tz_conv_output are of the type itself, panels, weights, sums and what a tz_conv_tile points at are float32.
typedef enum { TZ_F32 = 0, TZ_F64 = 1, TZ_I32 = 2, TZ_I64 = 3, TZ_F16 = 4, TZ_BF16 = 5 } tz_type;

/// The table of an instruction set, or NULL if this build has none for it.
const tz_conv_table *tz_conv_kernels(tz_isa isa, tz_type type);

// Calls through the table. Swift would copy the whole table to reach one of its functions.
static inline void tz_conv_pack(const tz_conv_table *table, const tz_pack *request) { table->pack(request); }
static inline void tz_conv_store_sums(const tz_conv_table *table, const tz_conv_output *out, const tz_conv_area *area,
                                      const void *acc, ptrdiff_t acc_pitch, ptrdiff_t column, ptrdiff_t count,
                                      int32_t first_row, int32_t rows) {
  table->store(out, area, acc, acc_pitch, column, count, first_row, rows);
}

/// Runs the kernel of wide blocks for `columns` columns.
static inline void tz_conv_run_wide(const tz_conv_table *table, int columns, const tz_conv_tile *tile) {
  table->wide[columns - 1](tile);
}

/// Kernels of wide float32 blocks whose weights are stored in fewer bits (conv/narrow_weights.inc.h gives the order), indexed
/// by columns - 1.
typedef struct {
  tz_conv_kernel bfloat16[14];
  tz_conv_kernel int8[14];
} tz_narrow_table;

/// The kernels of an instruction set.
const tz_narrow_table *tz_narrow_kernels(tz_isa isa);

/// Runs the kernel for `columns` columns.
static inline void tz_narrow_run(const tz_narrow_table *table, bool is_int8, int columns, const tz_conv_tile *tile) {
  (is_int8 ? table->int8 : table->bfloat16)[columns - 1](tile);
}

/// The kernel for blocks of `rows` rows (8, 4 or 1) and `vectors` vectors.
static inline tz_conv_kernel tz_conv_kernel_for(const tz_conv_table *table, int rows, int vectors) {
  return (rows == 8 ? table->rows8 : rows == 4 ? table->rows4 : table->rows1)[vectors - 1];
}

/// The columns of a kernel call.
typedef struct {
  ptrdiff_t column, count;  ///< the first, and how many are stored: all but those past a row's end, if it is cut by rows
  int32_t vectors;          ///< how many are computed
  ptrdiff_t output;         ///< elements to row 0's outputs, where the kernel itself may store there; below 0 where not
  ptrdiff_t sums;           ///< bytes to the partial sums of block 0, if it were computed
  ptrdiff_t block_sums;     ///< bytes from one block's partial sums to the next's
} tz_conv_piece;

/// Kernel calls for some blocks of rows and all pieces of the columns, the blocks inside.
typedef struct {
  int32_t block_rows;
  int32_t first_block, end_block;
  int32_t rows;             ///< rows that exist in all blocks together
  ptrdiff_t element;        ///< bytes of an element
  ptrdiff_t block_weights;  ///< bytes from one block's weights to the next's
  const tz_conv_piece *pieces;
  ptrdiff_t piece_count;
  const tz_conv_output *out;  ///< if set, sums are complete and are stored unless the kernel did
  const tz_conv_area *area;
} tz_conv_sweep;

/// Runs a sweep. `tile` is set up for column 0 and block 0, with `acc` where pieces count their sums from, `y` and `residual`
/// where they count their outputs from; it moves along meanwhile and is left as it came.
void tz_conv_run(const tz_conv_table *table, tz_conv_tile *tile, const tz_conv_sweep *sweep);

/// Packs and computes them; `pack`, `tile` and `out` are set up for the first.
void tz_conv_run_planes(const tz_conv_table *table, const tz_pack *pack, const tz_conv_tile *tile,
                        const tz_conv_output *out, const tz_conv_area *area, const tz_conv_planes *planes);

/// The kernel that computes sequences of any taps where they lie.
static inline tz_conv_image_kernel tz_conv_line_kernel(const tz_conv_table *table) { return table->line; }

/// The kernel that computes images of `taps` x `taps` taps where they lie, or NULL.
static inline tz_conv_image_kernel tz_conv_image_kernel_for(const tz_conv_table *table, ptrdiff_t taps, ptrdiff_t step) {
  return taps % 2 == 1 && taps >= 3 && taps <= 7 && step >= 1 && step <= 2 ? table->image[taps / 2 - 1][step - 1] : NULL;
}

// ---- Fewer multiplications --------------------------------------------------------------------------------

/// Transforms on one axis, which give four outputs of r taps from r + 3 products, and squares of transforms, which give
/// m x m outputs of r x r taps from n x n products, n = m + r - 1: TZ_TOOM_mXr.
typedef enum {
  TZ_TOOM_2 = 0,
  TZ_TOOM_3,
  TZ_TOOM_4,
  TZ_TOOM_4X3,
  TZ_TOOM_2X3,
  TZ_TOOM_3X2,
} tz_toom;

/// Transforms on one axis, and squares: the numbers of the latter begin where those of the former end.
enum { TZ_TOOM_LINES = 3, TZ_TOOM_SQUARES = 3 };

/// Transforms the taps of one row and channel, in double precision: point p of piece j goes to to[p * point + j * piece].
typedef struct {
  tz_toom kind;
  ptrdiff_t taps;           ///< r of a transform on one axis
  ptrdiff_t points;         ///< n on one axis
  const ptrdiff_t *places;  ///< bytes to each tap, in order; r x r of them for squares
  ptrdiff_t count;          ///< how many there are: pieces of r, the last maybe shorter
  ptrdiff_t point, piece;   ///< elements
  ptrdiff_t last;           ///< on one axis: elements to the last point, which a shorter piece does not have
} tz_toom_taps;

/// `from` need not be aligned.
void tz_toom_transform_taps(const tz_toom_taps *t, const void *from, float *to);

/// Transforms one channel on one axis: for each column f the r + 3 inputs at planes[offsets[j] + f] become as many
/// points x[p * point + f]. Whole vectors are read and written.
typedef struct {
  const float *planes;
  const int32_t *offsets;
  float *x;
  ptrdiff_t point;
  ptrdiff_t columns;
} tz_toom_input;

/// Transforms one channel of an image: the n x n inputs of tile (i, j), which begin at image[m i row + m j], become the
/// points x[p * point + i * wide + j]. Whole vectors are read and written.
typedef struct {
  const float *image;
  ptrdiff_t row;
  ptrdiff_t high, wide;  ///< tiles
  float *between;        ///< memory for 2 n times `half` elements: inputs transformed along h
  ptrdiff_t half;        ///< at least m elements for each tile, those of whole vectors of tiles, and two vectors more
  float *x;
  ptrdiff_t point;
} tz_toom_image;

/// Transforms channels of an image of at most 8 x 8 outputs of 3 x 3 taps, which are 4 x 4 tiles of TZ_TOOM_2X3, from where they
/// lie: point p of tile (i, j) of channel c goes to x[c * channel + p * point + 4 i + j], or if they are sorted to another
/// column there: those of tiles not in the last column are [0, 12) then, those of tiles not in the last row [3, 15). Where the
/// last tiles have one row or column of outputs, some of their products are not needed, and those that are stay neighbours.
typedef struct {
  const float *image;       ///< element 0 of the first channel, whose neighbours on w lie side by side
  ptrdiff_t image_channel;  ///< elements
  ptrdiff_t row;
  ptrdiff_t size[2];        ///< h, w; around them are zeros
  ptrdiff_t first[2];       ///< the first input of the first tile
  float slope;              ///< values below zero are multiplied by this first
  bool is_sorted;
  ptrdiff_t channels;
  float *x;
  ptrdiff_t channel;
  ptrdiff_t point;
} tz_toom_small;

/// Transforms the products of some rows back.
///
/// On one axis and in squares, `y` is what narrow kernels left for point 0 of some vectors of columns, as
/// [rows][vectors of columns]; in turned squares what wide kernels left, as [columns][32 rows]. The m outputs of
/// column f on one axis go to sums[r * row + 4 f + j] or, if `image` is not 0, to sums[r * row + j * image + f], those of the
/// first columns last; the m x m outputs of squares go to sums[r / together * group + r % together * row + image * i + m f + j].
typedef struct {
  const float *y;
  ptrdiff_t point;
  const float *start;  ///< added to the outputs of each row
  float *sums;
  ptrdiff_t row;
  ptrdiff_t group;
  ptrdiff_t image;
  int32_t together;
  int32_t rows;     ///< turned: at most a vector of them
  int32_t vectors;
  int32_t columns;  ///< turned: how many there are; whole vectors of them are written
  bool is_sorted;   ///< turned: columns are those of sorted tiles, see tz_toom_small
} tz_toom_output;

/// Functions that transform back say whether all outputs are finite.
typedef struct {
  void (*input[TZ_TOOM_LINES])(const tz_toom_input *);
  bool (*output[TZ_TOOM_LINES])(const tz_toom_output *);
  void (*image[TZ_TOOM_SQUARES])(const tz_toom_image *);
  void (*small)(const tz_toom_small *);  ///< NULL where vectors do not hold a row
  bool (*square[TZ_TOOM_SQUARES])(const tz_toom_output *);
  bool (*turned[TZ_TOOM_SQUARES])(const tz_toom_output *);
} tz_toom_table;

/// The transforms of an instruction set.
const tz_toom_table *tz_toom_kernels(tz_isa isa);

static inline void tz_toom_run_input(const tz_toom_table *table, tz_toom kind, const tz_toom_input *input) {
  table->input[kind](input);
}
static inline void tz_toom_run_image(const tz_toom_table *table, tz_toom kind, const tz_toom_image *image) {
  table->image[kind - TZ_TOOM_LINES](image);
}
static inline bool tz_toom_has_small(const tz_toom_table *table) { return table->small != NULL; }
static inline void tz_toom_run_small(const tz_toom_table *table, const tz_toom_small *small) { table->small(small); }
static inline bool tz_toom_run_output(const tz_toom_table *table, tz_toom kind, const tz_toom_output *output) {
  return kind < TZ_TOOM_LINES ? table->output[kind](output) : table->square[kind - TZ_TOOM_LINES](output);
}
static inline bool tz_toom_run_turned(const tz_toom_table *table, tz_toom kind, const tz_toom_output *output) {
  return table->turned[kind - TZ_TOOM_LINES](output);
}

// ---- Elementwise -----------------------------------------------------------------------------------------

/// Codes of numbers: (code ^ flip - zero) scale, where a flip of 0x80 makes signed codes unsigned.
typedef struct {
  const uint8_t *codes;
  uint8_t flip;
  float zero;  ///< of the unsigned codes
  float scale;
} tz_coded;

/// A function of the numbers behind two rows of codes, as codes.
typedef struct {
  tz_coded x, y;
  bool is_single;  ///< y is one code for all
  uint8_t *z;
  ptrdiff_t count;
  uint8_t flip;
  int32_t zero, low, high;  ///< the zero point and the bounds of unsigned codes
  float scale;
} tz_coded_pairs;

/// The elementwise float32 functions of one instruction set, indexed by tz_unary, the conversions, and for pooling what
/// lets y[i] be the larger of itself and x[i * step], NaN being larger than all; `step` is 1 or 2.
typedef struct {
  tz_unary_function unary[TZ_UNARY_COUNT];
  tz_pairs_function pairs[TZ_PAIRS_COUNT];
  /// z[i] = c[i] != 0 ? x[i] : y[i], with steps of 0 or 1.
  void (*select)(const float *c, ptrdiff_t dc, const float *x, ptrdiff_t dx, const float *y, ptrdiff_t dy, float *z,
                 ptrdiff_t n);
  /// z = clamp(round(x / scale) + zero) between `low` and `high`, with steps of 0 or 1.
  void (*quantize)(const float *x, ptrdiff_t dx, const float *scale, ptrdiff_t ds, const float *zero, ptrdiff_t dz,
                   float low, float high, float *z, ptrdiff_t n);
  /// z = (x - zero) scale
  void (*dequantize)(const float *x, ptrdiff_t dx, const float *scale, ptrdiff_t ds, const float *zero, ptrdiff_t dz,
                     float *z, ptrdiff_t n);
  /// z = clamp(round((x + y) / scale) + zero) as codes, and of the product.
  void (*coded_sum)(const tz_coded_pairs *);
  void (*coded_product)(const tz_coded_pairs *);
  /// Whole numbers within the type's range.
  void (*f32_to_u8)(const float *x, uint8_t *y, ptrdiff_t n);
  void (*f32_to_i8)(const float *x, int8_t *y, ptrdiff_t n);
  void (*u8_to_f32)(const uint8_t *x, float *y, ptrdiff_t n);
  void (*i8_to_f32)(const int8_t *x, float *y, ptrdiff_t n);
  void (*i32_to_f32)(const int32_t *x, float *y, ptrdiff_t n);
  void (*i64_to_f32)(const int64_t *x, float *y, ptrdiff_t n);
  void (*f32_to_truth)(const float *x, uint8_t *y, ptrdiff_t n);
  void (*f16_to_f32)(const uint16_t *x, float *y, ptrdiff_t n);
  void (*f32_to_f16)(const float *x, uint16_t *y, ptrdiff_t n);
  void (*bf16_to_f32)(const uint16_t *x, float *y, ptrdiff_t n);
  void (*f32_to_bf16)(const float *x, uint16_t *y, ptrdiff_t n);
  void (*larger)(const float *x, ptrdiff_t step, float *y, ptrdiff_t n);
} tz_elementwise_table;

/// y[i] = f(x[i]) by the given table.
static inline void tz_unary_run(const tz_elementwise_table *table, tz_unary f, const float *x, float *y, ptrdiff_t n,
                                float a, float b) {
  table->unary[f](x, y, n, a, b);
}

/// z[i] = f(x[i], y[i]) by the given table.
static inline void tz_pairs_run(const tz_elementwise_table *table, tz_pairs f, const float *x, const float *y, float *z,
                                ptrdiff_t n) {
  table->pairs[f](x, 1, y, 1, z, n);
}

/// z[i] = f(x[i], *y) by the given table.
static inline void tz_pairs_one(const tz_elementwise_table *table, tz_pairs f, const float *x, const float *y, float *z,
                                ptrdiff_t n) {
  table->pairs[f](x, 1, y, 0, z, n);
}

/// A step of a computation on blocks: registers are blocks of floats, or one number for a whole block.
typedef struct {
  uint8_t kind;  ///< of tz_step_kind
  uint8_t function;
  uint8_t to;        ///< the register of the result
  uint8_t from[3];   ///< the operands'
  float a, b;
} tz_step;

typedef enum {
  TZ_STEP_UNARY = 0,
  TZ_STEP_PAIRS,
  TZ_STEP_SELECT,  ///< operands are the condition, what is taken where it holds, and what else
  TZ_STEP_QUANTIZE,  ///< operands are numbers, scale and zero point, here and in the next; results are in [a, b]
  TZ_STEP_DEQUANTIZE,
} tz_step_kind;

/// Applies steps to blocks of n elements. `single` says of each register whether it is one number; a result is if all
/// operands are.
void tz_steps_run(const tz_elementwise_table *table, const tz_step *steps, ptrdiff_t count, float *const *registers,
                  uint8_t *single, ptrdiff_t n);

static inline tz_unary_function tz_unary_named(const tz_elementwise_table *table, tz_unary f) { return table->unary[f]; }

/// The table of an instruction set; lower sets stand in where this build lacks one.
const tz_elementwise_table *tz_elementwise_kernels(tz_isa isa);

// ---- Rows ------------------------------------------------------------------------------------------------

/// What is made of whole rows of floats by one instruction set. Sums are in double precision.
typedef struct {
  double (*sum)(const float *x, ptrdiff_t n);
  /// The sum of the squared distances from `mean`.
  double (*squares)(const float *x, ptrdiff_t n, double mean);
  /// The sum of y and that of y (x - center).
  void (*products)(const float *y, const float *x, ptrdiff_t n, double center, double *sum, double *product);
  float (*largest)(const float *x, ptrdiff_t n);  ///< NaN counts as larger than all, here and in the next as smaller
  float (*smallest)(const float *x, ptrdiff_t n);
  /// y[j] = the sum of x[j + r near_step + f far_step] over `near` r and `far` f, divided by `divisor`.
  void (*column_sums)(const float *x, ptrdiff_t near_step, ptrdiff_t near, ptrdiff_t far_step, ptrdiff_t far,
                      double divisor, float *y, ptrdiff_t n);
  /// y = (x - center) scale + shift
  void (*normalize)(const float *x, float *y, ptrdiff_t n, float center, float scale, float shift);
  /// The same, times weight, plus bias; both have an element for each of the row's and may be NULL.
  void (*normalize_features)(const float *x, float *y, ptrdiff_t n, float center, float scale, float shift,
                             const float *weight, const float *bias);
  /// y may be x, but not where the logarithm is wanted. Sums are of floats, in chains.
  void (*softmax)(const float *x, float *y, ptrdiff_t n, bool logarithmic);
  /// Of `width` columns side by side, whose n elements are `step` apart.
  void (*softmax_columns)(const float *x, float *y, ptrdiff_t n, ptrdiff_t step, ptrdiff_t width, bool logarithmic);
} tz_rows_table;

/// The table of an instruction set; lower sets stand in where this build lacks one.
const tz_rows_table *tz_rows_kernels(tz_isa isa);

// ---- Windows ---------------------------------------------------------------------------------------------

/// Windows in a plane of height and width.
typedef struct {
  ptrdiff_t input[2], output[2], kernel[2], stride[2], dilation[2], low[2];
} tz_pool_plane;

/// Resampling and pooling by one instruction set.
typedef struct {
  /// y = the sum of two rows (the third being NULL) or four, each times its weight.
  void (*mix_rows)(const float *const *rows, const float *weights, float *y, ptrdiff_t n);
  /// y[i] = the sum of x[places[t][i]] weights[t][i] over two or four terms t; both are [terms][n].
  void (*mix_places)(const float *x, const int32_t *places, const float *weights, ptrdiff_t terms, float *y, ptrdiff_t n);
  /// y[i] = x[places[i]] for blocks of `inner` elements along an axis of `length`, for `rows` axes.
  void (*take)(const float *x, float *y, const int32_t *places, ptrdiff_t rows, ptrdiff_t length, ptrdiff_t n,
               ptrdiff_t inner);
  /// sums[i] += x[i * step]
  void (*add_taps)(const float *x, ptrdiff_t step, double *sums, ptrdiff_t n);
  /// The largest of each window, NaN being larger than all. A vector beyond the plane may be read. Scratch memory is for 8 rows of
  /// what windows read and 64 elements more, and `input[0]` rows of outputs and 16 more.
  void (*max_pool)(const tz_pool_plane *, const float *x, float *y, float *scratch);
  /// Lets each of n elements be x[i * step] with its place, `place` + i * step, where that is larger or NaN, or where `places` has
  /// none yet (a negative number).
  void (*pick_larger)(const float *x, ptrdiff_t step, int32_t place, float *best, int32_t *places, ptrdiff_t n);
} tz_windows_table;

/// The table of an instruction set; lower sets stand in where this build lacks one.
const tz_windows_table *tz_windows_kernels(tz_isa isa);

// ---- Recurrent layers ------------------------------------------------------------------------------------

/// Units whose weights lie together: of cells with gates, and of simple ones.
enum { TZ_UNITS = 32, TZ_UNITS_SIMPLE = 128 };

typedef enum { TZ_CELL_SIMPLE = 0, TZ_CELL_GATED, TZ_CELL_MEMORY, TZ_CELLS } tz_cell;

/// All steps of at most three sequences.
typedef struct {
  const float *gates;              ///< the inputs' part of the first step: [gates][units] of each row
  ptrdiff_t gates_step, gates_row; ///< elements between steps, between rows
  const float *weights;            ///< [blocks of units][hidden unit][gate][unit], gates in the order of `places`
  const float *bias;               ///< [blocks of units][gate][unit]
  float *hidden, *next, *cell;     ///< states, whole vectors of units in a row; `next` is scratch memory
  ptrdiff_t state_row;
  float *y;
  ptrdiff_t y_step, y_row;
  ptrdiff_t steps, units;
  /// Where among `gates` those of a memory stand: input, output, forget, candidate; or of a gated unit: update, reset (the
  /// candidate is the last).
  int32_t places[4];
  bool rectifies;     ///< a simple cell's function is the rectifier, not the hyperbolic tangent
} tz_recurrence;

/// The steps of each kind of cell, for one, two and three rows.
typedef struct {
  void (*run[TZ_CELLS][3])(const tz_recurrence *);
} tz_recurrence_table;

/// The table of an instruction set; lower sets stand in where this build lacks one.
const tz_recurrence_table *tz_recurrence_kernels(tz_isa isa);

static inline void tz_recurrence_run(const tz_recurrence_table *table, tz_cell cell, int rows, const tz_recurrence *t) {
  table->run[cell][rows - 1](t);
}

// ---- Matrix products -------------------------------------------------------------------------------------

/// Columns of a panel, in which the right operand is packed: [panels][steps][TZ_PANEL].
enum { TZ_PANEL = 32 };

/// What is done with the sums of a product before they are stored: residuals are added (each may be NULL; their rows are
/// those of the result), then comes the factor, then the slope of what is below zero, then the activation, if any.
typedef struct {
  const float *residual[2];
  float scale, slope;
  tz_unary_function activation;
  float a, b;
} tz_product_epilogue;

/// Rows times one panel: c[i][j] = start[j] + the sum over k of a[i][k] b[k][j], added up in the order of k.
typedef struct {
  const float *a;
  ptrdiff_t a_row, a_step;  ///< elements between rows, between steps
  const float *b;           ///< whole vectors are read from it and from `start`
  ptrdiff_t b_step;         ///< elements between steps
  float *c;
  ptrdiff_t c_row;
  const float *start;  ///< NULL for zeros
  ptrdiff_t rows, steps;
  int32_t columns;  ///< at most TZ_PANEL
  bool adds;        ///< the sums go on from c, not from `start`
  const tz_product_epilogue *epilogue;  ///< NULL for none
  ptrdiff_t place;  ///< elements from the first of the residuals to those of the first result
} tz_product;

/// Rows of weights where they lie times columns of inputs, over channels and taps:
///
///     y[r * y_row + places[j]] = start[r] + sum over c, k of w[r * w_row + c * w_channel + w_taps[k]]
///                                                           * x[c * x_channel + x_taps[k] + j]
///
/// Channels are the outer loop and taps the inner, as in every convolution.
typedef struct {
  const float *w;
  ptrdiff_t w_row, w_channel;  ///< elements between rows, between channels
  const int32_t *w_taps;
  const float *x;  ///< whole vectors are read
  ptrdiff_t x_channel;
  const int32_t *x_taps;
  int32_t channels, taps;
  int32_t rows;     ///< at most those of a register block
  int32_t columns;  ///< at most TZ_PANEL
  const float *start;  ///< NULL for zeros
  float *y;
  ptrdiff_t y_row;
  const int32_t *places;
} tz_tap_product;

/// Sums over runs of steps that follow one another in rows and in a panel:
///
///     sums[i * TZ_PANEL + j] += sum over n, k of a[i * a_row + n * a_run + k] * b[n * b_run + k * TZ_PANEL + j]
typedef struct {
  const float *a;
  ptrdiff_t a_row, a_run;
  const float *b;
  ptrdiff_t b_run;
  ptrdiff_t runs, steps;
  float *sums;
  int32_t rows;     ///< at most those of a register block
  int32_t columns;  ///< at most TZ_PANEL; whole vectors are computed
  bool adds;        ///< the sums go on, else they begin with zero
} tz_run_product;

/// The products of one instruction set.
typedef struct {
  int32_t rows;      ///< rows of a register block
  int32_t together;  ///< panels that `row` takes
  void (*panel)(const tz_product *);
  /// One row times `together` whole panels, `panel` elements apart, without epilogue; c's columns follow one another.
  void (*row)(const tz_product *, ptrdiff_t panel);
  /// Does what the epilogue says with `count` sums y, whose residuals begin at element `at`.
  void (*finish)(const tz_product_epilogue *, float *y, ptrdiff_t at, ptrdiff_t count);
  /// Whether all results are finite.
  bool (*taps)(const tz_tap_product *);
  void (*runs)(const tz_run_product *);
} tz_products_table;

/// The products of an instruction set; lower sets stand in where this build lacks one.
const tz_products_table *tz_products_kernels(tz_isa isa);

static inline int32_t tz_products_rows(const tz_products_table *table) { return table->rows; }
static inline int32_t tz_products_together(const tz_products_table *table) { return table->together; }
static inline void tz_product_panel(const tz_products_table *table, const tz_product *p) { table->panel(p); }
static inline void tz_product_row(const tz_products_table *table, const tz_product *p, ptrdiff_t panel) {
  table->row(p, panel);
}
static inline bool tz_product_taps(const tz_products_table *table, const tz_tap_product *p) { return table->taps(p); }
static inline void tz_product_runs(const tz_products_table *table, const tz_run_product *p) { table->runs(p); }
static inline void tz_product_finish(const tz_products_table *table, const tz_product_epilogue *e, float *y,
                                     ptrdiff_t at, ptrdiff_t count) {
  table->finish(e, y, at, count);
}

/// Writes `rows` rows of `count` floats, `row` elements apart, as columns: element i of row r goes to `to[i * to_row + r]`.
void tz_transpose(const float *from, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t count, float *to, ptrdiff_t to_row);

// ---- Sound and spectra -----------------------------------------------------------------------------------

/// A conversion between sample rates whose ratio is up / down in lowest terms.
typedef struct {
  const float *table;  ///< the filter for `phases` + 1 places between two inputs, `taps` numbers each
  ptrdiff_t taps;      ///< a multiple of 8
  ptrdiff_t phases;    ///< `up`, unless rows are interpolated
  int64_t up, down;
  bool interpolates;
} tz_resampling;

/// Outputs `first` and so on; `window` holds the inputs that they read, from input `start`.
void tz_resample(const tz_resampling *t, const float *window, ptrdiff_t start, ptrdiff_t first, ptrdiff_t count, float *y);
/// A sinc of the cutoff (1 is the Nyquist frequency) under a Kaiser window of `width` inputs to each side, for a place
/// `fraction` behind the input in the middle.
void tz_windowed_sinc(double fraction, double width, double cutoff, double beta, ptrdiff_t taps, double *y);

/// exp(-2 pi i k / n) for k from 0, real and imaginary parts in turn; of k squared instead of k where `squares`.
void tz_unit_roots(ptrdiff_t count, ptrdiff_t n, bool squares, double *y);
/// Transforms a power of two of complex numbers in place; `scratch` has room for 2 `count` numbers (Stockham, radix 4).
void tz_fft(double *real, double *imaginary, ptrdiff_t count, const double *roots, double *scratch);
/// Numbers at even and at odd places.
void tz_pairs_apart(const double *x, ptrdiff_t count, double *even, double *odd);
/// The spectrum, m + 1 bins, of 2 m real numbers, from the transform of m complex ones that tz_pairs_apart made of them.
void tz_real_spectrum(const double *zr, const double *zi, ptrdiff_t m, const double *w, double *re, double *im);
/// y[k] = x[k] w[k] of complex numbers, those of w with both parts in turn; y may be x.
void tz_complex_multiply(const double *xr, const double *xi, const double *w, ptrdiff_t count, double *yr, double *yi);

/// y[i] = a[i] b[i].
void tz_multiply_doubles(const double *a, const double *b, ptrdiff_t count, double *y);
/// y[i] = sqrt(re[i]^2 + im[i]^2 + least); y may be an operand.
void tz_magnitudes(const double *re, const double *im, ptrdiff_t count, double least, double *y);
/// For each filter the sum of its weights, from `starts`, times the bins from `firsts` on.
void tz_filter_sums(const double *x, const ptrdiff_t *firsts, const ptrdiff_t *starts, const double *weights, ptrdiff_t count,
                    double *y);
/// y[i step] = log(x[i]), of `least` where that is larger.
void tz_logarithms(const double *x, ptrdiff_t count, double least, float *y, ptrdiff_t step);
/// y[i] = x[i].
void tz_widen(const float *x, ptrdiff_t count, double *y);
/// How many numbers stand before the first that is infinite or NaN.
ptrdiff_t tz_finite_prefix(const float *x, ptrdiff_t count);

// ---- int8 ------------------------------------------------------------------------------------------------

/// A convolution of bytes, channels last, with int32 sums: y = clamp(round(float(sums) scale) + zero).
///
/// A step is what follows one another in memory: 4 `quads` bytes of a tap's channels, or of a row of taps.
typedef struct {
  const uint8_t *x;          ///< under the first output; up to 3 bytes beyond a step are read
  ptrdiff_t x_row, x_pixel;  ///< bytes from one output row or pixel to the next, in the input
  const int32_t *offsets;    ///< bytes to each step
  int32_t steps, quads;
  /// [panels of 32 channels][step][quad][32][4] int8; or, where the table wants words, [..][quad][2][32][2] int16. Of depthwise
  /// convolutions [blocks of 64 channels][four taps][4][4][4][4] int8, where index m, l, p, tap stands for channel
  /// 16 l + 4 m + p; or, where the table wants words, [pairs of taps][channels][2] int16.
  const void *w;
  ptrdiff_t panel;  ///< bytes of a panel; elements of a pair of taps
  const int32_t *bias;
  const float *scale;  ///< for each channel, as far as whole panels go
  uint8_t *y;
  ptrdiff_t y_row, y_pixel;
  ptrdiff_t width, channels;
  int32_t zero, low, high;
  int32_t *sums;  ///< if not NULL, the sums are stored here and not as bytes, in the places of the bytes
  uint8_t flip;  ///< what results are changed by: 0x80 makes them signed
} tz_int8_convolution;

/// The int8 kernels of one instruction set.
typedef struct {
  bool has_words;  ///< weights are int16
  void (*rows)(const tz_int8_convolution *, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t panel, ptrdiff_t panels);
  void (*depthwise)(const tz_int8_convolution *, ptrdiff_t first, ptrdiff_t rows);
} tz_int8_table;

/// The table of an instruction set (and of what the processor has beside); lower sets stand in where this build lacks one.
const tz_int8_table *tz_int8_kernels(tz_isa isa);

/// y[i][k] = x[k * channel + i * step] ^ flip, for `count` positions i.
void tz_bytes_interleave(const uint8_t *x, ptrdiff_t channel, ptrdiff_t step, ptrdiff_t channels, ptrdiff_t count,
                         uint8_t flip, uint8_t *y);
/// y[j][i] = x[i][j]; rows of words lie `x_row` and `y_row` words apart.
void tz_words_transpose(const uint32_t *x, ptrdiff_t x_row, uint32_t *y, ptrdiff_t y_row, ptrdiff_t rows,
                        ptrdiff_t columns);
/// y[i] = table[x[i]], of 256 bytes.
void tz_bytes_mapped(tz_isa isa, const uint8_t *x, uint8_t *y, ptrdiff_t n, const uint8_t *table);
/// y[i] becomes the larger of x[i] and itself: of unsigned bytes, or, where `flip` is 0x80, of signed ones.
void tz_bytes_larger(tz_isa isa, const uint8_t *x, uint8_t *y, ptrdiff_t n, uint8_t flip);

/// The sums of `columns` columns of bytes, each changed by `flip` first, over rows that lie `row` bytes apart.
void tz_bytes_add_rows(tz_isa isa, const uint8_t *x, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t columns, uint8_t flip,
                       int32_t *sums);
/// The sum of n bytes, each changed by `flip` first.
int32_t tz_bytes_sum(tz_isa isa, const uint8_t *x, ptrdiff_t n, uint8_t flip);

// ---- What the machine can do -----------------------------------------------------------------------------

/// Loops that measure one thread of the machine on one instruction set.
typedef struct {
  /// Floating-point operations of one turn of `multiply_add`.
  double flops;
  /// Chains of multiply-adds in registers, c = c / 2 + 1/4 from 0, 1, 2, …; returns the sum of all lanes of all chains.
  float (*multiply_add)(int64_t turns);
  /// The sum of `count` floats, read once from front to back; `x` on a 64-byte boundary, `count` a multiple of 128.
  float (*read)(const float *x, ptrdiff_t count);
} tz_rates_table;

/// The loops of an instruction set; lower sets stand in where this build lacks one.
const tz_rates_table *tz_rates(tz_isa isa);

#endif
