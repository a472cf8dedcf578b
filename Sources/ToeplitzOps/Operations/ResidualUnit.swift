import ToeplitzTensor

/// A residual unit of two one-dimensional convolutions: `x + second(leaky(first(leaky(x))))`.
///
/// Inputs are x `[N, C, L]` or `[C, L]`, then weight and, where it has one, bias of the first convolution, then of the
/// second. Both run over one tile of positions after the other, so that what lies between them never leaves the cache,
/// where that is estimated to be faster than one convolution after the other. The bits are the same either way with
/// ``Numerics/invariant``.
public struct ResidualUnit: Operation {
  /// Options and sizes of the first convolution.
  public var first: ConvolutionGeometry
  /// Options and sizes of the second convolution, whose output has the shape of x.
  public var second: ConvolutionGeometry
  /// Whether the convolutions have a bias.
  public var hasBias: (first: Bool, second: Bool)
  /// Factor of values of x below zero before the first convolution; 1 for nothing.
  public var inputSlope: Double
  /// Factor of values below zero between the convolutions; 1 for nothing.
  public var middleSlope: Double
  /// A tensor like x that is added too.
  package var extra: Tensor?
  /// Factor of the sum.
  package var outputScale = 1.0
  /// Factor of results below zero, and what is applied last.
  package var outputSlope = 1.0
  package var activation: Activation?
  /// What the weights of each output channel are multiplied by, in float64; float32 weights only.
  package var weightFactors: (first: Tensor?, second: Tensor?) = (nil, nil)
  /// Where layers keep the prepared weights between calls.
  package var caches: (first: PackedWeightsCache, second: PackedWeightsCache)?

  /// A unit of the given convolutions.
  public init(
    _ first: ConvolutionGeometry, _ second: ConvolutionGeometry, hasBias: (first: Bool, second: Bool),
    inputSlope: Double, middleSlope: Double
  ) {
    self.first = first
    self.second = second
    self.hasBias = hasBias
    self.inputSlope = inputSlope
    self.middleSlope = middleSlope
  }

  /// `ResidualUnit`.
  public var name: String { "ResidualUnit" }

  /// One output like x.
  public func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    let expected = 3 + (hasBias.first ? 1 : 0) + (hasBias.second ? 1 : 0)
    try require(inputs, count: expected)
    try require(
      first.rank == 1 && second.rank == 1, .argument, expected: "one-dimensional convolutions",
      got: "\(first.name) and \(second.name)")
    let middle = try firstConvolution.infer(operands(inputs).first)[0]
    var last = secondConvolution(adding: [])
    last.fusion = ConvolutionFusion()
    let result = try last.infer([middle] + operands(inputs).second)[0]
    try require(
      result == inputs[0], expected: "convolutions that keep the shape \(inputs[0].shape)", got: "\(result.shape)")
    if let extra {
      try require(extra.spec == result, expected: "a tensor to add like x, \(result)", got: "\(extra.spec)")
    }
    return [result]
  }

  /// The operands of both convolutions, but for the second one's input.
  private func operands<T>(_ inputs: [T]) -> (first: [T], second: [T]) {
    let count = hasBias.first ? 3 : 2
    return (Array(inputs.prefix(count)), Array(inputs.dropFirst(count)))
  }

  /// The first convolution by itself.
  var firstConvolution: ConvolutionOperation {
    var operation = ConvolutionOperation(first)
    operation.fusion.inputSlope = inputSlope
    operation.weightFactors = weightFactors.first
    operation.cache = caches?.first
    return operation
  }

  /// The second convolution by itself.
  func secondConvolution(adding x: [Tensor]) -> ConvolutionOperation {
    var operation = ConvolutionOperation(second)
    operation.fusion = ConvolutionFusion(
      inputSlope: middleSlope, residuals: x + (extra.map { [$0] } ?? []), outputScale: outputScale,
      outputSlope: outputSlope, activation: activation)
    operation.weightFactors = weightFactors.second
    operation.cache = caches?.second
    return operation
  }

  /// Computes the unit.
  public func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    if let result = try evaluateTogether(inputs, outputs) { return [result] }
    let (one, two) = operands(inputs)
    let middle = try firstConvolution.evaluate(one, firstConvolution.infer(one.map(\.spec)))
    return try secondConvolution(adding: [inputs[0]]).evaluate(middle + two, outputs)
  }

  /// The result in one pass, or nil where there is no such way or it would be slower.
  private func evaluateTogether(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> Tensor? {
    let x = inputs[0]
    guard ResidualUnitRun.supports(first, second, x.dtype) else { return nil }
    let (one, two) = operands(inputs)
    func packed(
      _ operation: ConvolutionOperation, _ operands: ArraySlice<Tensor>
    ) throws -> PackedWeightsCache.Kept {
      try operation.pack(operation.geometry, operands[operands.startIndex], operands.dropFirst().first)
    }
    func batched(_ tensor: Tensor) -> Tensor {
      guard tensor.rank == 2 else { return tensor }
      return tensor.view(
        shape: Shape([1] + tensor.shape.dimensions), strides: [tensor.count] + tensor.strides, offset: tensor.offset)
    }
    let input = batched(x)
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: x.dtype, operation: name)
    let fusion = ConvolutionFusion(
      inputSlope: inputSlope, residuals: [input] + (extra.map { [batched($0)] } ?? []), outputScale: outputScale,
      outputSlope: outputSlope, activation: activation)
    let middle = try first.outputSize([input.shape[2]])[0]
    let isDone = try ResidualUnitRun.run(
      packed(firstConvolution, one.dropFirst()), packed(secondConvolution(adding: []), two[...]).packed, input: input,
      output: batched(result), middleLength: middle, middleSlope: middleSlope, fusion: fusion, name: name)
    return isDone ? result : nil
  }
}

extension ResidualUnit: ExportableOperation {
  package var held: [Tensor] { extra.map { [$0] } ?? [] }

  /// Two convolutions and an addition.
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let (one, two) = operands(inputs)
    let middle = try firstConvolution.infer(one)
    let nodes = try firstConvolution.exported(one, middle)
    var plain = secondConvolution(adding: [])
    let after = plain.fusion
    plain.fusion = ConvolutionFusion(inputSlope: middleSlope)
    // The second one's operand 0 is what the first gave.
    let more = try plain.exported(middle + two, outputs).map {
      $0.moved(by: nodes.count) { $0 == 0 ? .node(nodes.count - 1) : .input(one.count + $0 - 1) }
    }
    let sum = nodes.count + more.count
    let addition = ExportNode("Add", [.node(sum - 1), .input(0)])
    return try nodes + more + [addition] + after.exported(from: sum, dtype: inputs[0].dtype)
  }
}
