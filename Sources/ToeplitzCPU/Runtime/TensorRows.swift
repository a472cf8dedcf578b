import ToeplitzOps
import ToeplitzTensor

extension Tensor {
  /// The elements as rows, each the last `count` axes in row-major order.
  ///
  /// - Returns: this tensor, or a contiguous copy where its rows lie otherwise, and the elements from one row to the next.
  func rows(ofLast count: Int) throws -> (tensor: Tensor, distance: Int) {
    let first = rank - count
    let width = shape.dimensions[first...].reduce(1, *)
    guard let inner = step(first..<rank), inner == 1, let distance = step(0..<first) else {
      return (try contiguous(), width)
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
