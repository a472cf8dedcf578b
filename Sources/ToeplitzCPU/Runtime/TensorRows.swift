import ToeplitzOps
import ToeplitzTensor

extension Tensor {
  /// Whether rows follow one another, maybe with room between them.
  var hasRowsInOrder: Bool {
    var least = 1
    for (size, stride) in zip(shape.dimensions, strides).reversed() where size != 1 {
      guard stride >= least else { return false }
      least = stride * size
    }
    return true
  }

  /// The elements as rows, each the last `count` axes in row-major order.
  ///
  /// - Parameter dense: what gives a contiguous copy.
  /// - Returns: this tensor, or a contiguous copy where its rows lie otherwise, and the elements from one row to the next.
  func rows(
    ofLast count: Int, dense: (Tensor) throws -> Tensor = { try $0.contiguous() }
  ) throws -> (tensor: Tensor, distance: Int) {
    let first = rank - count
    let width = shape.dimensions[first...].reduce(1, *)
    guard let inner = step(first..<rank), inner == 1, let distance = step(0..<first) else {
      return (try dense(self), width)
    }
    return (self, distance)
  }

  /// The elements from each index of these axes to the next in row-major order; nil where that differs.
  func step(_ axes: Range<Int>) -> Int? {
    var (least, next): (Int?, Int) = (nil, 0)
    for axis in axes.reversed() where shape[axis] != 1 {
      guard least == nil || strides[axis] == next else { return nil }
      least = least ?? strides[axis]
      next = strides[axis] * shape[axis]
    }
    return least ?? 1
  }
}
