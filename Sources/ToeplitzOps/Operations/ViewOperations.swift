import ToeplitzTensor

/// The same elements in row-major order under another shape.
package struct Reshape: TensorOperation {
  package var shape: TensorShape

  package init(shape: TensorShape) { self.shape = shape }

  package var name: String { "reshape" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let count = try inputs[0].shape.elementCount(name)
    var target = shape
    let unknown = target.indices.filter { target[$0] == -1 }
    try require(
      unknown.count <= 1 && target.allSatisfy { $0 >= -1 }, expected: "sizes of at least 0 and at most one −1",
      got: "\(shape)")
    if let axis = unknown.first {
      target[axis] = 1
      let rest = try target.elementCount(name)
      try require(
        rest > 0 && count % rest == 0, expected: "a shape that holds the \(count) elements of \(inputs[0].shape)",
        got: "\(shape)")
      target[axis] = count / rest
    }
    try require(
      try target.elementCount(name) == count, expected: "a shape with the \(count) elements of \(inputs[0].shape)",
      got: "\(shape)")
    return [TensorSpec(target, inputs[0].dtype)]
  }

  package var gradient: GradientRule { .vjp { [try $0.dy.reshaped($0.x.shape)] } }

  package func time(_ call: TimeCall) -> TimeRule {
    let (from, to) = (call.inputs[0].shape, call.outputs[0].shape)
    guard let time = call.axes[0] else { return .whole(because: "no operand has time") }
    let before = from[..<time].reduce(1, *)
    let (length, after) = (from[time], from[(time + 1)...].reduce(1, *))
    guard let axis = to.indices.last(where: { to[$0] == from[time] && to[..<$0].reduce(1, *) == before }) else {
      // Positions that become several, as in a pixel shuffle, or several that become one.
      for axis in to.indices where to[..<axis].reduce(1, *) == before && length > 0 {
        let rest = to[(axis + 1)...].reduce(1, *)
        @Sendable func resized(_ length: Int) -> any TensorOperation { Reshape(shape: to.replacing(axis, by: length)) }
        if to[axis] > length, to[axis] % length == 0, after % (to[axis] / length) == 0 {
          return .blocks(from: 1, to: to[axis] / length, axis: axis, resized: resized)
        }
        if to[axis] > 0, to[axis] < length, length % to[axis] == 0, rest % (length / to[axis]) == 0 {
          return .blocks(from: length / to[axis], to: 1, axis: axis, resized: resized)
        }
      }
      return .whole(because: "time becomes part of another axis")
    }
    return .pointwise(axis: axis) { Reshape(shape: to.replacing(axis, by: $0)) }
  }
}

extension Reshape: PairMove, ShapingOperation {}

/// The axes in another order.
package struct Permute: TensorOperation {
  package var order: [Int]

  package init(order: [Int]) { self.order = order }

  package var name: String { "permute" }

  package func axes(_ shape: TensorShape) throws -> [Int] {
    let axes = try order.map { try shape.normalizedAxis($0, operation: name) }
    try require(
      axes.count == shape.rank && Set(axes).count == axes.count, .argument,
      expected: "each of the \(shape.rank) axes once", got: "\(order)")
    return axes
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    return [TensorSpec(TensorShape(try axes(inputs[0].shape).map { inputs[0].shape[$0] }), inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let axes = try axes(call.x.shape)
      return [try call.dy.permuted(axes.indices.map { axes.firstIndex(of: $0) ?? 0 })]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    guard let time = call.axes[0], let axis = (try? axes(call.inputs[0].shape))?.firstIndex(of: time) else {
      return .whole(because: "no operand has time")
    }
    return .pointwise(axis: axis)
  }
}

extension Permute: PairMove {}

/// Every `step`-th element of a range of one axis, which goes to the end if its upper bound is `Int.max`.
package struct Slice: TensorOperation {
  package var axis: Int
  package var range: Range<Int>
  package var step: Int
  package var name: String { "slice" }

  package init(axis: Int, range: Range<Int>, step: Int) { (self.axis, self.range, self.step) = (axis, range, step) }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    let range = range.upperBound == .max ? range.clamped(to: 0..<inputs[0].shape[axis]) : range
    try require(
      range.lowerBound >= 0 && range.upperBound <= inputs[0].shape[axis],
      expected: "a range within 0..<\(inputs[0].shape[axis]) on axis \(axis)", got: "\(range)")
    try require(step > 0, .argument, expected: "a step of at least 1", got: "\(step)")
    let count = range.isEmpty ? 0 : (range.count - 1) / step + 1
    return [TensorSpec(inputs[0].shape.replacing(axis, by: count), inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      guard call.x.dtype.isFloatingPoint else { return [nil] }
      let axis = try call.x.shape.normalizedAxis(axis, operation: name)
      let (size, count) = (call.x.shape[axis], call.y.shape[axis])
      var dx = try call.dy
      if step > 1, count > 0 {
        // Zeros between neighbours, and after the last.
        let shape = dx.shape.replacing(axis, by: count * step)
        dx = try dx.unsqueezed(axis + 1).padded([(axis: axis + 1, low: 0, high: step - 1)]).reshaped(shape)
      }
      let start = count > 0 ? range.lowerBound : 0
      return [try dx.padded([(axis: axis, low: start, high: size - start - dx.shape[axis])])]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    guard let time = call.axes[0] else { return .whole(because: "no operand has time") }
    let shape = call.inputs[0].shape
    guard (axis < 0 ? axis + shape.rank : axis) == time else { return .pointwise(axis: time) }
    // The last window ends before the range does, by what makes no whole step.
    let end = min(range.upperBound, shape[time])
    let window = AxisWindow(extent: 1, stride: step, low: -range.lowerBound, high: end - shape[time])
    return .window(window, axis: time) { low, _ in Slice(axis: time, range: max(0, -low)..<Int.max, step: step) }
  }
}

/// Pieces of one axis, each `step` after the one before: `[…, L, …]` becomes `[…, count, size, …]`.
///
/// Zeros stand before and after the axis where `low` and `high` say so.
package struct Unfold: TensorOperation {
  package var axis: Int
  package var size: Int
  package var step: Int
  package var low = 0
  package var high = 0
  package var name: String { "unfold" }

  package init(axis: Int, size: Int, step: Int, low: Int = 0, high: Int = 0) {
    (self.axis, self.size, self.step, self.low, self.high) = (axis, size, step, low, high)
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    let length = inputs[0].shape[axis] + low + high
    try require(
      size > 0 && step > 0 && low >= 0 && high >= 0, .argument, expected: "size and step of at least 1",
      got: "size \(size), step \(step), padding \(low) and \(high)")
    try require(length >= size, expected: "at least \(size) positions on axis \(axis)", got: "\(length)")
    var shape = inputs[0].shape.dimensions
    shape[axis] = (length - size) / step + 1
    shape.insert(size, at: axis + 1)
    return [TensorSpec(TensorShape(shape), inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      guard call.x.dtype.isFloatingPoint else { return [nil] }
      let axis = try call.x.shape.normalizedAxis(axis, operation: name)
      return [try call.dy.overlapAdded(axis: axis, step: step, from: low, length: call.x.shape[axis])]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    guard let time = call.axes[0] else { return .whole(because: "no operand has time") }
    let axis = axis < 0 ? axis + call.inputs[0].shape.rank : axis
    guard axis == time else { return .pointwise(axis: time < axis ? time : time + 1) }
    return .window(AxisWindow(extent: size, stride: step, low: low, high: high), axis: axis) {
      Unfold(axis: axis, size: size, step: step, low: $0, high: $1)
    }
  }
}

/// Axes walked backwards.
package struct Flip: TensorOperation {
  package var axes: [Int]
  package var name: String { "flip" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    for axis in axes { _ = try inputs[0].shape.normalizedAxis(axis, operation: name) }
    return inputs
  }

  package var gradient: GradientRule { .vjp { [try $0.dy.flipped(axes)] } }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(call, except: axes, because: "it begins with the last position")
  }
}

/// Axes of size 1 repeated without copying, by NumPy's broadcasting rule.
package struct Expand: TensorOperation {
  package var shape: TensorShape
  package var name: String { "expand" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let source = inputs[0].shape
    // −1 keeps a size.
    let missing = shape.rank - source.rank
    let target = TensorShape(shape.indices.map { $0 >= missing && shape[$0] == -1 ? source[$0 - missing] : shape[$0] })
    let count = try target.elementCount(name)
    // It takes no memory, but whatever reads it does.
    try require(
      count <= Platform.memoryLimit / inputs[0].dtype.byteSize, .memory,
      expected: Platform.memoryBound, got: "shape \(target)")
    try require(
      try TensorShape.broadcast(source, target, operation: name) == target,
      expected: "a shape that \(source) broadcasts to", got: "\(shape)")
    return [TensorSpec(target, inputs[0].dtype)]
  }

  package var gradient: GradientRule { .vjp { [try $0.dy.summed(to: $0.x.shape)] } }

  package func time(_ call: TimeCall) -> TimeRule {
    let (from, to) = (call.inputs[0].shape, call.outputs[0].shape)
    guard let time = call.axes[0] else { return .whole(because: "no operand has time") }
    let axis = time + to.rank - from.rank
    guard from[time] == to[axis] else { return .whole(because: "one position becomes all") }
    return .pointwise(axis: axis) { Expand(shape: to.replacing(axis, by: $0)) }
  }
}

extension Expand: PairMove, ShapingOperation {}

extension Tensor {
  /// Pieces `[…, count, size, …]` added where they overlap, each `step` after the one before: `[…, length, …]`.
  ///
  /// - Parameters:
  ///   - axis: that of the pieces; their elements stand on the next.
  ///   - from: how many positions at the beginning are left out.
  ///   - length: how many positions there are; zeros behind the last piece.
  package func overlapAdded(axis: Int, step: Int, from first: Int, length: Int) throws -> Tensor {
    let (frames, size) = (shape[axis], shape[axis + 1])
    let before = shape[..<axis].reduce(1, *)
    let after = shape[(axis + 2)...].reduce(1, *)
    let rows = try reshaped([before, frames, size, after]).permuted([0, 3, 2, 1])
      .reshaped([before * after, size, frames])
    // A transposed convolution with the identity.
    let positions = try Tensor.range(to: Double(size), dtype: .int64)
    let identity = try positions.reshaped([size, 1]).equal(positions).cast(to: dtype).reshaped([size, 1, size])
    var sums = try convTranspose1d(rows, identity, stride: PerAxis(step))
    sums = try sums.padded([(axis: 2, low: -first, high: length + first - sums.shape[2])])
    let target = TensorShape(shape[..<axis] + [length] + shape[(axis + 2)...])
    return try sums.reshaped([before, after, length]).permuted([0, 2, 1]).reshaped(target)
  }

  /// Strides that walk this tensor as if it had `shape`; repeated axes get stride 0.
  package func broadcastStrides(to shape: TensorShape) -> [Int] {
    let missing = shape.rank - rank
    return shape.indices.map { axis in
      axis < missing || self.shape[axis - missing] == 1 ? 0 : strides[axis - missing]
    }
  }

  /// The same elements in row-major order under another shape; one size may be −1 and is worked out.
  ///
  /// A view where the memory allows it.
  public func reshaped(_ shape: TensorShape) throws -> Tensor { try apply(Reshape(shape: shape), self) }

  /// The axes in the given order.
  public func permuted(_ order: [Int]) throws -> Tensor { try apply(Permute(order: order), self) }

  /// Two axes exchanged.
  public func transposed(_ first: Int, _ second: Int) throws -> Tensor {
    var order = Array(0..<rank)
    let a = try shape.normalizedAxis(first, operation: "transpose")
    let b = try shape.normalizedAxis(second, operation: "transpose")
    order.swapAt(a, b)
    return try permuted(order)
  }

  /// The axes in reverse order (NumPy's `T`).
  public func transposed() throws -> Tensor { try permuted(shape.indices.reversed()) }

  /// Every `step`-th element of `range` on `axis`, as a view.
  public func slice(axis: Int, _ range: Range<Int>, step: Int = 1) throws -> Tensor {
    try apply(Slice(axis: axis, range: range, step: step), self)
  }

  /// One element of `axis`, which disappears.
  public func select(axis: Int, _ index: Int) throws -> Tensor {
    let axis = try shape.normalizedAxis(axis, operation: "select")
    guard (0..<shape[axis]).contains(index) else {
      throw ToeplitzError(
        .argument, "select", expected: "an index in 0..<\(shape[axis]) on axis \(axis)", got: "\(index)")
    }
    return try slice(axis: axis, index..<(index + 1)).squeezed(axis)
  }

  /// The given axes in reverse order, as a view.
  public func flipped(_ axes: [Int]) throws -> Tensor { try apply(Flip(axes: axes), self) }

  /// Axes of size 1 repeated to give `shape`, as a view; −1 keeps a size.
  public func expanded(to shape: TensorShape) throws -> Tensor { try apply(Expand(shape: shape), self) }

  /// The same elements with a new axis of size 1 before `axis`.
  public func unsqueezed(_ axis: Int) throws -> Tensor {
    var dimensions = shape.dimensions
    let at = axis < 0 ? axis + rank + 1 : axis
    guard (0...rank).contains(at) else {
      throw ToeplitzError(.argument, "unsqueeze", expected: "an axis in \(-rank - 1)...\(rank)", got: "\(axis)")
    }
    dimensions.insert(1, at: at)
    return try reshaped(TensorShape(dimensions))
  }

  /// The same elements without `axis`, whose size must be 1.
  public func squeezed(_ axis: Int) throws -> Tensor {
    let axis = try shape.normalizedAxis(axis, operation: "squeeze")
    guard shape[axis] == 1 else {
      throw ToeplitzError(.shape, "squeeze", expected: "size 1 on axis \(axis)", got: "shape \(shape)")
    }
    var dimensions = shape.dimensions
    dimensions.remove(at: axis)
    return try reshaped(TensorShape(dimensions))
  }

  /// The axes `from` to `to` (both included) joined into one.
  public func flattened(from: Int = 0, to: Int = -1) throws -> Tensor {
    if rank == 0 { return try reshaped([1]) }
    let first = try shape.normalizedAxis(from, operation: "flatten")
    let last = try shape.normalizedAxis(to, operation: "flatten")
    guard first <= last else {
      throw ToeplitzError(.argument, "flatten", expected: "a first axis not after the last", got: "\(from) and \(to)")
    }
    let joined = shape[first...last].reduce(1, *)
    return try reshaped(TensorShape(shape[..<first] + [joined] + shape[(last + 1)...]))
  }
}
