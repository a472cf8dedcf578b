import ToeplitzOps
import ToeplitzTensor

extension TensorShape {
  /// Elements from the first to the last of a tensor of this shape, both included, with strides that are not negative; 0 if it
  /// has none.
  func span(_ strides: [Int]) -> Int {
    if dimensions.contains(0) { return 0 }
    return zip(dimensions, strides).reduce(1) { sum, axis in sum + (axis.0 - 1) * axis.1 }
  }
}

extension Tensor {
  /// The positions of an axis from `start` on, as many as a shape has there.
  func part(_ shape: TensorShape, axis: Int, from start: Int) -> Tensor {
    view(shape: shape, strides: strides, offset: offset + start * strides[axis])
  }

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
