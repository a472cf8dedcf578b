import ToeplitzTensor

/// How cotangents of an operation's outputs become cotangents of its inputs.
public enum GradientRule {
  /// The vector-Jacobian product, written in operations, so that it can be differentiated again: for each input its
  /// cotangent, nil where there is none to give (an index, an element type without derivatives).
  case vjp((GradientCall) throws -> [Tensor?])
  /// Zero almost everywhere, which is what is wanted: roundings, comparisons, the masks that gradients are made of.
  case zero
  /// None: a gradient that arrives here is an error that gives this reason.
  case none(because: String)
}

/// What a gradient rule is given.
public struct GradientCall {
  /// The operands.
  public let inputs: [Tensor]
  /// The results.
  public let outputs: [Tensor]
  /// The cotangents of the results; nil where nothing depends on one.
  public let cotangents: [Tensor?]

  /// A call with the given operands, results and cotangents, of which at least one is there.
  public init(inputs: [Tensor], outputs: [Tensor], cotangents: [Tensor?]) {
    (self.inputs, self.outputs, self.cotangents) = (inputs, outputs, cotangents)
  }

  /// The first operand.
  public var x: Tensor { inputs[0] }
  /// The first result.
  public var y: Tensor { outputs[0] }
  /// The cotangent of result `index`, zeros if nothing depends on it.
  public func cotangent(_ index: Int) throws -> Tensor {
    try cotangents[index] ?? Tensor.zeros(outputs[index].shape, dtype: outputs[index].dtype)
  }
  /// The cotangent of the first result.
  public var dy: Tensor { get throws { try cotangent(0) } }
}

extension Tensor {
  /// The sum over the axes that broadcasting has repeated: the adjoint of ``expanded(to:)``.
  package func summed(to target: TensorShape) throws -> Tensor {
    guard shape != target else { return self }
    let missing = rank - target.rank
    let axes = shape.indices.filter { $0 < missing || (target[$0 - missing] == 1 && shape[$0] != 1) }
    return try (axes.isEmpty ? self : sum(axes, keepsAxes: true)).reshaped(target)
  }

  /// This tensor where `condition` is true, 0 elsewhere.
  package func masked(by condition: Tensor) throws -> Tensor {
    try Tensor.where(condition, self, Tensor.zeros([], dtype: dtype))
  }

  /// A number of this tensor's element type, for comparisons.
  package func number(_ value: Double) throws -> Tensor { try Tensor.full([], value, dtype: dtype) }
}
