import ToeplitzTensor

/// Tensors joined along one axis.
struct Concatenate: Operation {
  var axis: Int
  var name: String { "concatenate" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
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

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: outputs[0].dtype, operation: name)
    let axis = try outputs[0].shape.normalizedAxis(axis, operation: name)
    var start = 0
    for input in inputs where input.shape[axis] > 0 {
      let target = result.view(
        shape: input.shape, strides: result.strides, offset: start * result.strides[axis])
      target.fillOnceTogether(from: input)
      start += input.shape[axis]
    }
    return [result]
  }
}

/// One axis extended at both ends.
struct PadAxis: Operation {
  var axis: Int
  var low: Int
  var high: Int
  var mode: PaddingMode
  var value: Double
  var name: String { "pad" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
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

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    let size = x.shape[axis]
    // Made first: a size that does not fit into memory is refused before anything else is.
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: x.dtype, operation: name)
    func fill(from start: Int, with part: Tensor) {
      result.view(shape: part.shape, strides: result.strides, offset: start * result.strides[axis]).fillOnce(from: part)
    }
    // Negative padding crops.
    let kept = max(0, -low)..<(size + min(0, high))
    fill(from: max(0, low), with: try x.slice(axis: axis, kept))
    if low > 0 {
      fill(from: 0, with: try edge(x, axis, low, mirrored: 1..<(low + 1), wrapped: (size - low)..<size, at: 0))
    }
    if high > 0 {
      let part = try edge(
        x, axis, high, mirrored: (size - 1 - high)..<(size - 1), wrapped: 0..<high, at: size - 1)
      fill(from: result.shape[axis] - high, with: part)
    }
    return [result]
  }

  /// What stands in `count` positions at one end, as a view.
  private func edge(
    _ x: Tensor, _ axis: Int, _ count: Int, mirrored: @autoclosure () -> Range<Int>,
    wrapped: @autoclosure () -> Range<Int>, at edge: Int
  ) throws -> Tensor {
    let shape = x.shape.replacing(axis, by: count)
    switch mode {
    case .reflect: return try x.slice(axis: axis, mirrored()).flipped([axis])
    case .circular: return try x.slice(axis: axis, wrapped())
    case .replicate: return try x.slice(axis: axis, edge..<(edge + 1)).expanded(to: shape)
    case .zeros: return try Tensor.full([], value, dtype: x.dtype).expanded(to: shape)
    }
  }
}

/// Elements of one of two tensors, chosen by a third.
struct Where: Operation {
  var name: String { "where" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 3)
    try require(inputs[0].dtype == .bool, .dtype, expected: "a bool condition", got: "\(inputs[0].dtype)")
    try require(
      inputs[1].dtype == inputs[2].dtype, .dtype, expected: "two choices of one type",
      got: "\(inputs[1].dtype) and \(inputs[2].dtype)")
    let choices = try Shape.broadcast(inputs[1].shape, inputs[2].shape, operation: name)
    return [TensorSpec(try Shape.broadcast(inputs[0].shape, choices, operation: name), inputs[1].dtype)]
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let shape = outputs[0].shape
    let flat = try inputs.map { try $0.expanded(to: shape).contiguous() }
    let result = try Tensor(uninitialized: shape, dtype: outputs[0].dtype, operation: name)
    func choose<T: TensorScalar>(_ type: T.Type) {
      let condition = flat[0].pointer(Bool.self)
      let (a, b, to) = (flat[1].pointer(T.self), flat[2].pointer(T.self), result.pointer(T.self))
      for index in 0..<result.count { to[index] = condition[index] ? a[index] : b[index] }
    }
    choose(result.dtype.scalarType)
    withExtendedLifetime((flat, result)) {}
    return [result]
  }
}

extension Tensor {
  /// The given tensors joined along `axis`.
  public static func concatenated(_ tensors: [Tensor], axis: Int = 0) throws -> Tensor {
    try applyAll(Concatenate(axis: axis), tensors)[0]
  }

  /// The given tensors, all of one shape, along a new axis before `axis`.
  ///
  /// - Throws: ``ToeplitzError`` if there are none or their shapes or element types differ.
  public static func stacked(_ tensors: [Tensor], axis: Int = 0) throws -> Tensor {
    guard let first = tensors.first else {
      throw ToeplitzError(.argument, "stack", expected: "at least one tensor", got: "none")
    }
    for tensor in tensors where tensor.shape != first.shape {
      throw ToeplitzError(.shape, "stack", expected: "tensors of one shape", got: "\(first.shape) and \(tensor.shape)")
    }
    let at = axis < 0 ? axis + first.rank + 1 : axis
    return try concatenated(tensors.map { try $0.unsqueezed(at) }, axis: at)
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
      try apply(PadAxis(axis: pad.axis, low: pad.low, high: pad.high, mode: mode, value: value), tensor)
    }
  }

  /// For each element of this bool tensor, `a`'s where it is true and `b`'s elsewhere, with broadcasting.
  public func choosing(_ a: Tensor, _ b: Tensor) throws -> Tensor { try apply(Where(), self, a, b) }
}
