import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// What comes after a convolution and treats each channel by constants, as factors of its weights and a bias.
///
/// Operands are the constants of `kind`, then the convolution's bias and its factors, as far as there are any; results are
/// float64 factors and a bias, each `[channels]`. Made by lowering and computed once.
struct FoldedChannels: TensorOperation, CPUKernel {
  /// What follows the convolution.
  enum Kind: Hashable {
    /// `(y − mean) / √(variance + eps) · weight + bias`; operands are mean, variance and what there is of weight and bias.
    case normalization(eps: Double, hasWeight: Bool, hasBias: Bool)
    /// The sum, product or quotient with one number, or one for each channel.
    case add, multiply, divide

    var operandCount: Int {
      if case .normalization(_, let hasWeight, let hasBias) = self {
        2 + (hasWeight ? 1 : 0) + (hasBias ? 1 : 0)
      } else {
        1
      }
    }
  }

  var kind: Kind
  var channels: Int
  var dtype: DType
  var hasBias: Bool
  var hasFactors: Bool

  var name: String { "FoldedChannels" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: kind.operandCount + (hasBias ? 1 : 0) + (hasFactors ? 1 : 0))
    return [TensorSpec([channels], .float64), TensorSpec([channels], dtype)]
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    var rest = inputs[...]
    func perChannel(_ tensor: Tensor) throws -> Tensor {
      try tensor.cast(to: .float64).reshaped([tensor.count]).expanded(to: [channels])
    }
    func next() throws -> Tensor { try perChannel(rest.removeFirst()) }
    var (factor, shift) = (try Tensor.ones([channels], dtype: .float64), try Tensor.zeros([channels], dtype: .float64))
    switch kind {
    case .normalization(let eps, let hasWeight, let hasBias):
      let (mean, variance) = (try next(), try next())
      let weight = try hasWeight ? next() : factor
      let bias = try hasBias ? next() : shift
      factor = try weight / (variance + eps).sqrt()
      shift = try bias - mean * factor
    case .add: shift = try next()
    case .multiply: factor = try next()
    case .divide: factor = try factor / next()
    }
    let bias = try hasBias ? next() * factor + shift : shift
    let factors = try hasFactors ? next() * factor : factor
    return [try factors.dense(), try bias.cast(to: dtype)]
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

/// A weight with the weights of each output channel multiplied by a float64 number, for element types whose packing takes
/// no factors.
struct ScaledWeight: TensorOperation, CPUKernel {
  var geometry: ConvolutionGeometry

  var name: String { "ScaledWeight" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    return [inputs[0]]
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    [try geometry.scaled(inputs[0], by: inputs[1])]
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}
