import ToeplitzTensor

/// An elementwise function that convolutions can compute while their results are stored (see ``Epilogue``).
package enum Activation: Sendable, Hashable {
  /// x, or slope × x below zero; 0 is the rectifier.
  case leakyReLU(slope: Double)
  case clamp(low: Double, high: Double)
  case elu(alpha: Double)
  case celu(alpha: Double)
  case gelu(approximateTanh: Bool)
  case hardsigmoid, hardswish, logSigmoid, mish, selu, sigmoid, silu, softsign, tanh
  case softplus(beta: Double, threshold: Double)

  /// The same function of a whole tensor; float32 has the same bits as in a convolution's store.
  package func callAsFunction(_ x: Tensor) throws -> Tensor {
    switch self {
    case .leakyReLU(let slope): try slope == 0 ? x.relu() : x.leakyReLU(negativeSlope: slope)
    case .clamp(let low, let high): try x.clamped(from: low, to: high)
    case .elu(let alpha): try x.elu(alpha: alpha)
    case .celu(let alpha): try x.celu(alpha: alpha)
    case .gelu(let approximateTanh): try x.gelu(approximateTanh: approximateTanh)
    case .hardsigmoid: try x.hardsigmoid()
    case .hardswish: try x.hardswish()
    case .logSigmoid: try x.logSigmoid()
    case .mish: try x.mish()
    case .selu: try x.selu()
    case .sigmoid: try x.sigmoid()
    case .silu: try x.silu()
    case .softsign: try x.softsign()
    case .tanh: try x.hyperbolicTangent()
    case .softplus(let beta, let threshold): try x.softplus(beta: beta, threshold: threshold)
    }
  }
}
