import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension Concatenate: CPUKernel {
  package var joinedAxis: Int? { axis }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let axis = try outputs[0].shape.normalizedAxis(axis, operation: name)
    // Where all operands have their channels last in memory, so has the result.
    if inputs.allSatisfy(\.hasChannelsLast) {
      let order = [0] + Array(2..<outputs[0].shape.rank) + [1]
      let back = [0, outputs[0].shape.rank - 1] + Array(1..<(outputs[0].shape.rank - 1))
      let moved = try Concatenate(axis: back[axis]).evaluate(
        inputs.map { try $0.permuted(order) },
        [TensorSpec(TensorShape(order.map { outputs[0].shape[$0] }), outputs[0].dtype)])
      return [try moved[0].permuted(back)]
    }
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: outputs[0].dtype, operation: name)
    var start = 0
    for input in inputs where input.shape[axis] > 0 {
      result.part(input.shape, axis: axis, from: start).fillOnceTogether(from: input)
      start += input.shape[axis]
    }
    return [result]
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    let result = call.results[0]
    let axis = try result.shape.normalizedAxis(axis, operation: name)
    var start = 0
    let copies = call.operands.map { operand in
      defer { start += operand.shape[axis] }
      return ElementCopy(from: operand, to: result.part(operand.shape, axis: axis, from: start))
    }
    return { for copy in copies { copy.run() } }
  }
}

extension Tensor {
  /// Whether the channels of an image or sequence `[N, C, …]` follow one another in memory, and its positions after that.
  var hasChannelsLast: Bool {
    guard rank > 2, shape[1] > 1, !isContiguous else { return false }
    var expected = 1
    for axis in [1] + (2..<rank).reversed() + [0] where shape[axis] != 1 {
      guard strides[axis] == expected else { return false }
      expected *= shape[axis]
    }
    return true
  }
}

extension PadAxis: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    // Made first: a size that does not fit into memory is refused before anything else is.
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: inputs[0].dtype, operation: name)
    for copy in try copies(inputs[0], result) { copy.run() }
    return [result]
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    let copies = try copies(call.operands[0], call.results[0])
    return { for copy in copies { copy.run() } }
  }

  /// What fills a result.
  private func copies(_ x: Tensor, _ result: Tensor) throws -> [ElementCopy] {
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    let size = x.shape[axis]
    func filling(from start: Int, with part: Tensor) -> ElementCopy {
      ElementCopy(from: part, to: result.part(part.shape, axis: axis, from: start))
    }
    // Negative padding crops.
    let kept = max(0, -low)..<(size + min(0, high))
    var copies = [filling(from: max(0, low), with: try x.slice(axis: axis, kept))]
    if low > 0 {
      let part = try edge(x, axis, low, mirrored: 1..<(low + 1), wrapped: (size - low)..<size, at: 0)
      copies.append(filling(from: 0, with: part))
    }
    if high > 0 {
      let part = try edge(
        x, axis, high, mirrored: (size - 1 - high)..<(size - 1), wrapped: 0..<high, at: size - 1)
      copies.append(filling(from: result.shape[axis] - high, with: part))
    }
    return copies
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

extension Where: BlockOperation {
  func blockFunction(_ types: [DType]) -> BlockFunction? {
    guard types[1] == types[2], types[1].isBlockFloat || types[1] == .bool else { return nil }
    return BlockFunction(step: BlockFunction.Step(kind: TZ_STEP_SELECT, function: 0), type: types[1])
  }
}

extension Where: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    if let result = try inBlocks(inputs, outputs[0]) { return [result] }
    let shape = outputs[0].shape
    let flat = try inputs.map { try $0.expanded(to: shape).dense() }
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
