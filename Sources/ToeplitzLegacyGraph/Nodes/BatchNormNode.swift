import ToeplitzOps
import ToeplitzTensor

/// `(x − mean) / √(variance + eps) · scale + bias` for each channel of `[N, C, …]`.
///
/// Operands are x, scale, bias, mean and variance.
public struct BatchNormNode: GraphOperation {
  /// Added to the variance.
  public var eps: Double
  /// `BatchNormalization`.
  public var name: String { "BatchNormalization" }

  /// A node with the given number added to the variance.
  public init(eps: Double) { self.eps = eps }

  /// Computes the function.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    guard inputs.count >= 5 else {
      throw ToeplitzError(.argument, name, expected: "5 operands", got: "\(inputs.count)")
    }
    let x = try inputs[0].required(name, 0)
    let (scale, bias) = (try inputs[1].required(name, 1), try inputs[2].required(name, 2))
    return [
      try x.normalizedChannels(
        mean: inputs[3].required(name, 3), variance: inputs[4].required(name, 4), weight: scale.cast(to: x.dtype),
        bias: bias.cast(to: x.dtype), eps: eps, name: name)
    ]
  }
}
