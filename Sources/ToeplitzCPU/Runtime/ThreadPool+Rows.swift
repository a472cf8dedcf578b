import ToeplitzOps
import ToeplitzTensor

extension ThreadPool {
  /// Elements of one piece of work: some ten microseconds.
  fileprivate static let piece = 1 << 14

  /// Calls `body` with ranges that together are `0..<rows`, on several threads where there are many elements.
  ///
  /// - Parameter width: elements of one row.
  func runRows(_ rows: Int, width: Int, _ body: @escaping (Range<Int>) -> Void) {
    sharingRows(rows, width: width, body)()
  }

  /// What calls `body` so whenever it is called, without allocating memory.
  func sharingRows(_ rows: Int, width: Int, _ body: @escaping (Range<Int>) -> Void) -> () -> Void {
    let most = max(1, Self.piece / max(1, width))
    let items = rows > 0 ? (rows + most - 1) / most : 0
    let compute: (Int, Int) -> Void = { item, _ in body(item * most..<min(rows, (item + 1) * most)) }
    return { [self] in run(items, compute) }
  }
}

extension Tensor {
  /// The same as ``fillOnce(from:)``, on several threads where there are many elements.
  func fillOnceTogether(from source: Tensor) {
    guard count > ThreadPool.piece, let axis = shape.dimensions.firstIndex(where: { $0 > 1 }) else {
      return fillOnce(from: source)
    }
    ThreadPool.shared.runRows(shape[axis], width: count / shape[axis]) { range in
      func part(_ tensor: Tensor) -> Tensor {
        tensor.view(
          shape: tensor.shape.replacing(axis, by: range.count), strides: tensor.strides,
          offset: tensor.offset + range.lowerBound * tensor.strides[axis])
      }
      part(self).fillOnce(from: part(source))
    }
  }
}
