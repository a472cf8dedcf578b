import ToeplitzOps
import ToeplitzTensor

/// A tensor's elements in row-major order as rows that lie at one distance from each other.
struct StridedRows: Sendable {
  private let tensor: Tensor
  private let rows: Int
  /// Bytes of a row, and from one to the next.
  private let width: Int
  private let distance: Int

  /// Nil where the elements lie otherwise.
  init?(_ tensor: Tensor) {
    self.tensor = tensor
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
    (self.rows, width, distance) = (rows, inner * tensor.dtype.byteSize, step * tensor.dtype.byteSize)
  }

  /// The elements of a contiguous tensor.
  init(contiguous tensor: Tensor) {
    (self.tensor, rows, width, distance) = (tensor, 1, tensor.count * tensor.dtype.byteSize, 0)
  }

  /// Elements of all rows.
  var count: Int { rows * width / tensor.dtype.byteSize }

  /// Writes all elements, which lie one after another at `source`.
  func write(from source: UnsafeRawPointer) {
    for row in 0..<rows {
      (tensor.elements + row * distance).copyMemory(from: source + row * width, byteCount: width)
    }
  }

  /// Reads all elements to `target`, one after another.
  func read(to target: UnsafeMutableRawPointer) { read(0..<rows * width, to: target) }

  /// Reads some bytes of the elements in row-major order.
  func read(_ bytes: Range<Int>, to target: UnsafeMutableRawPointer) {
    var offset = bytes.lowerBound
    while offset < bytes.upperBound {
      let (row, start) = offset.quotientAndRemainder(dividingBy: width)
      let count = min(width - start, bytes.upperBound - offset)
      (target + (offset - bytes.lowerBound)).copyMemory(
        from: tensor.elements + row * distance + start, byteCount: count)
      offset += count
    }
  }
}
