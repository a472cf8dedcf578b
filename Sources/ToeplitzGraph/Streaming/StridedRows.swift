import ToeplitzOps
import ToeplitzTensor

/// A tensor's elements in row-major order, positions along an axis, as rows that lie at one distance from each other.
struct StridedRows: Sendable {
  private let tensor: Tensor
  private let rows: Int
  /// Bytes of a row, and from one to the next.
  private let width: Int
  private let distance: Int
  /// Bytes of all positions together, and of one, at each place before the axis.
  private let span: Int
  private let position: Int

  /// Nil where the elements lie otherwise.
  init?(_ tensor: Tensor, axis: Int) {
    var (inner, rows, step) = (1, 1, 0)
    for axis in (0..<tensor.rank).reversed() where tensor.shape[axis] != 1 {
      if rows == 1, step == 0, tensor.strides[axis] == inner {
        inner *= tensor.shape[axis]
      } else if step == 0 {
        (rows, step) = (tensor.shape[axis], tensor.strides[axis])
      } else {
        guard tensor.strides[axis] == step * rows else { return nil }
        rows *= tensor.shape[axis]
      }
    }
    self.init(tensor, axis, rows: rows, inner, step)
  }

  /// The positions of a contiguous tensor, of which there may be none.
  init(contiguous tensor: Tensor, axis: Int) { self.init(tensor, axis, rows: 1, tensor.count, 0) }

  /// Rows of `inner` elements, from one to the next `step`.
  private init(_ tensor: Tensor, _ axis: Int, rows: Int, _ inner: Int, _ step: Int) {
    (self.tensor, self.rows) = (tensor, rows)
    (width, distance) = (inner * tensor.dtype.byteSize, step * tensor.dtype.byteSize)
    position = tensor.shape.dimensions[(axis + 1)...].reduce(1, *) * tensor.dtype.byteSize
    span = position * tensor.shape[axis]
  }

  /// Writes all positions, which `source` holds from `first` on among `total`, in row-major order.
  func write(from source: UnsafeRawPointer, at first: Int, of total: Int) {
    each(first, total) { own, other, count in own.copyMemory(from: source + other, byteCount: count) }
  }

  /// Reads all positions to where `target` holds those from `first` on among `total`, in row-major order.
  func read(to target: UnsafeMutableRawPointer, at first: Int, of total: Int) {
    each(first, total) { own, other, count in (target + other).copyMemory(from: own, byteCount: count) }
  }

  /// All ranges of bytes that lie together in both: where they are here, how far from the other's beginning, and how many.
  private func each(_ first: Int, _ total: Int, _ body: (UnsafeMutableRawPointer, Int, Int) -> Void) {
    let count = rows * width
    var offset = 0
    while offset < count {
      let (row, start) = offset.quotientAndRemainder(dividingBy: width)
      let (place, within) = offset.quotientAndRemainder(dividingBy: span)
      let bytes = min(width - start, first == 0 && span == total * position ? count : span - within)
      body(tensor.elements + row * distance + start, (place * total + first) * position + within, bytes)
      offset += bytes
    }
  }
}
