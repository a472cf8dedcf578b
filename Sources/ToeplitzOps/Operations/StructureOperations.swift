import ToeplitzTensor

/// Tensors joined along one axis.
package struct Concatenate: TensorOperation {
  package var axis: Int
  package var name: String { "concatenate" }
  package init(axis: Int) { self.axis = axis }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    guard let first = inputs.first else {
      throw ToeplitzError(.argument, name, expected: "at least one tensor", got: "none")
    }
    let axis = try first.shape.normalizedAxis(axis, operation: name)
    var total = CheckedSize(0)
    for input in inputs {
      try require(
        input.dtype == first.dtype, .dtype, expected: "tensors of one type", got: "\(first.dtype) and \(input.dtype)")
      try require(
        input.shape.rank == first.shape.rank
          && input.shape.replacing(axis, by: 0) == first.shape.replacing(axis, by: 0),
        expected: "shapes that differ only on axis \(axis)", got: "\(first.shape) and \(input.shape)")
      total = total + input.shape[axis]
    }
    return [TensorSpec(first.shape.replacing(axis, by: try total.get(name, "sizes on axis \(axis)")), first.dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      guard call.x.dtype.isFloatingPoint else { return call.inputs.map { _ in nil } }
      let axis = try call.x.shape.normalizedAxis(axis, operation: name)
      var start = 0
      return try call.inputs.map { input in
        defer { start += input.shape[axis] }
        return try call.dy.slice(axis: axis, start..<(start + input.shape[axis]))
      }
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    let rank = call.outputs[0].shape.rank
    guard let time = call.axes.lazy.compactMap({ $0 }).first, call.axes.allSatisfy({ $0 == time }) else {
      return .whole(because: "an operand without time changes along it")
    }
    return (axis < 0 ? axis + rank : axis) == time
      ? .whole(because: "one operand begins where the one before ends") : .pointwise(axis: time)
  }
}

/// One axis extended at both ends.
package struct PadAxis: TensorOperation {
  package var axis: Int
  package var low: Int
  package var high: Int
  package var mode: PaddingMode
  package var value: Double
  package var name: String { "pad" }

  package init(axis: Int, low: Int, high: Int, mode: PaddingMode, value: Double) {
    (self.axis, self.low, self.high, self.mode, self.value) = (axis, low, high, mode, value)
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    let size = inputs[0].shape[axis]
    let pad = max(low, high)
    switch mode {
    case .reflect:
      try require(pad < max(size, 1), expected: "reflect padding below the size \(size) of axis \(axis)", got: "\(pad)")
    case .circular:
      try require(pad <= size, expected: "circular padding of at most the size \(size) of axis \(axis)", got: "\(pad)")
    case .replicate: try require(size > 0, expected: "at least 1 position on axis \(axis)", got: "0")
    case .zeros: break
    }
    try require(
      min(low, high) >= -size, expected: "padding that crops at most the size \(size) of axis \(axis)",
      got: "\(min(low, high))")
    let total = try (CheckedSize(size) + low + high).get(name, "padding \(low) and \(high)")
    try require(total >= 0, expected: "a size of at least 0 on axis \(axis)", got: "\(total)")
    return [TensorSpec(inputs[0].shape.replacing(axis, by: total), inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { [$0.x.dtype.isFloatingPoint ? try adjoint($0.dy, size: $0.x.shape[self.axis($0.x.shape)]) : nil] }
  }

  private func axis(_ shape: TensorShape) -> Int { axis < 0 ? axis + shape.rank : axis }

  /// What came from each position of an axis of `size` positions, added up there.
  func adjoint(_ dy: Tensor, size: Int) throws -> Tensor {
    let axis = axis(dy.shape)
    let (before, after) = (max(0, low), max(0, high))
    let end = dy.shape[axis]
    func placed(_ piece: Tensor, at start: Int) throws -> Tensor {
      try piece.padded([(axis: axis, low: start, high: size - start - piece.shape[axis])])
    }
    var dx = try placed(dy.slice(axis: axis, before..<(end - after)), at: max(0, -low))
    func add(_ piece: Tensor, mirrored: Int, wrapped: Int, edge: Int) throws {
      switch mode {
      case .zeros: return
      case .reflect: dx = try dx + placed(piece.flipped([axis]), at: mirrored)
      case .circular: dx = try dx + placed(piece, at: wrapped)
      case .replicate: dx = try dx + placed(piece.sum([axis], keepsAxes: true), at: edge)
      }
    }
    if before > 0 { try add(dy.slice(axis: axis, 0..<before), mirrored: 1, wrapped: size - before, edge: 0) }
    if after > 0 {
      try add(
        dy.slice(axis: axis, (end - after)..<end), mirrored: size - 1 - after, wrapped: 0, edge: size - 1)
    }
    return dx
  }

  package func time(_ call: TimeCall) -> TimeRule {
    guard let time = call.axes[0], axis(call.inputs[0].shape) == time else {
      return .pointwise(axis: call.axes[0] ?? 0)
    }
    guard mode != .circular else { return .whole(because: "circular padding reads the other end") }
    return .window(AxisWindow(extent: 1, low: low, high: high), axis: time, mode: mode, padding: value) { low, high in
      PadAxis(axis: time, low: low, high: high, mode: mode, value: value)
    }
  }
}

/// Elements of one of two tensors, chosen by a third.
package struct Where: TensorOperation {
  package var name: String { "where" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 3)
    try require(inputs[0].dtype == .bool, .dtype, expected: "a bool condition", got: "\(inputs[0].dtype)")
    try require(
      inputs[1].dtype == inputs[2].dtype, .dtype, expected: "two choices of one type",
      got: "\(inputs[1].dtype) and \(inputs[2].dtype)")
    let choices = try TensorShape.broadcast(inputs[1].shape, inputs[2].shape, operation: name)
    return [TensorSpec(try TensorShape.broadcast(inputs[0].shape, choices, operation: name), inputs[1].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (dy, condition) = (try call.dy, call.x)
      guard dy.dtype.isFloatingPoint else { return [nil, nil, nil] }
      let zero = try dy.number(0)
      return [
        nil, try Tensor.where(condition, dy, zero).summed(to: call.inputs[1].shape),
        try Tensor.where(condition, zero, dy).summed(to: call.inputs[2].shape),
      ]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }
}

extension Where: PairOperation {
  package func pairs(_ call: PairCall) -> PairRule {
    for (fill, other) in [(1, 2), (2, 1)] {
      let numbers = call.extremes(fill)
      if let numbers, numbers.upperBound <= PairCall.mostOfLeftOut, call.constants[0] != nil,
        [.scores, .masked].contains(call.contents[other])
      {
        return .masked(by: 0, fill == 1 ? .ifTrue : .ifFalse)
      }
      if numbers == 0...0, call.contents[other] == .probabilities { return .content(.probabilities) }
    }
    return call.plain
  }
}

extension Tensor {
  /// The given tensors joined along `axis`.
  public static func concatenate(_ tensors: [Tensor], axis: Int = 0) throws -> Tensor {
    try applyAll(Concatenate(axis: axis), tensors)[0]
  }

  /// The given tensors, all of one shape, along a new axis before `axis`.
  ///
  /// - Throws: ``ToeplitzError`` if there are none or their shapes or element types differ.
  public static func stack(_ tensors: [Tensor], axis: Int = 0) throws -> Tensor {
    guard let first = tensors.first else {
      throw ToeplitzError(.argument, "stack", expected: "at least one tensor", got: "none")
    }
    for tensor in tensors where tensor.shape != first.shape {
      throw ToeplitzError(.shape, "stack", expected: "tensors of one shape", got: "\(first.shape) and \(tensor.shape)")
    }
    let at = axis < 0 ? axis + first.rank + 1 : axis
    return try concatenate(tensors.map { try $0.unsqueezed(at) }, axis: at)
  }

  /// The tensor extended (or, by negative numbers, cropped) at both ends of the given axes.
  ///
  /// - Parameters:
  ///   - padding: for each axis index, how many positions before and after.
  ///   - mode: what the new positions hold; `value` for `.zeros`.
  public func padded(
    _ padding: [(axis: Int, low: Int, high: Int)], mode: PaddingMode = .zeros, value: Double = 0
  ) throws -> Tensor {
    try padding.reduce(self) { tensor, pad in
      func padded(_ tensor: Tensor, _ low: Int, _ high: Int) throws -> Tensor {
        try apply(PadAxis(axis: pad.axis, low: low, high: high, mode: mode, value: value), tensor)
      }
      guard mode == .circular, Swift.min(pad.low, pad.high) < 0 else { return try padded(tensor, pad.low, pad.high) }
      // What is cropped does not come back at the other end.
      return try padded(
        padded(tensor, Swift.min(0, pad.low), Swift.min(0, pad.high)), Swift.max(0, pad.low), Swift.max(0, pad.high))
    }
  }

  /// For each element that of `a` where `condition` is true, that of `b` elsewhere; shapes broadcast.
  public static func `where`(_ condition: Tensor, _ a: Tensor, _ b: Tensor) throws -> Tensor {
    try apply(Where(), condition, a, b)
  }
}
