import ToeplitzTensor

extension Tensor {
  /// The parts of an axis, one after another, as views (`torch.split` with a list).
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the sizes are below 0 or do not add up to the axis.
  public func split(_ sizes: [Int], axis: Int = 0) throws -> [Tensor] {
    let axis = try shape.normalizedAxis(axis, operation: "split")
    var (start, left) = (0, shape[axis])
    let ranges = sizes.compactMap { size -> Range<Int>? in
      guard size >= 0, size <= left else { return nil }
      defer { (start, left) = (start + size, left - size) }
      return start..<(start + size)
    }
    guard ranges.count == sizes.count, left == 0 else {
      throw ToeplitzError(
        .argument, "split", expected: "sizes of at least 0 whose sum is \(shape[axis])", got: "\(sizes)")
    }
    return try ranges.map { try slice(axis: axis, $0) }
  }

  /// An axis in `count` parts of one size, the last smaller (or some missing) if it does not divide, as views (`torch.chunk`).
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if `count` is below 1.
  public func chunked(_ count: Int, axis: Int = 0) throws -> [Tensor] {
    let axis = try shape.normalizedAxis(axis, operation: "chunk")
    guard count > 0 else { throw ToeplitzError(.argument, "chunk", expected: "1 part or more", got: "\(count)") }
    let size = Swift.max(1, shape[axis] / count + (shape[axis] % count == 0 ? 0 : 1))
    let starts = shape[axis] == 0 ? [0] : Array(stride(from: 0, to: shape[axis], by: size))
    return try starts.map { try slice(axis: axis, $0..<Swift.min($0 + size, shape[axis])) }
  }
}
