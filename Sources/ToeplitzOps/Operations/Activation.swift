import CToeplitzKernels
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

  /// The float32 kernel of an instruction set with its parameters.
  func function(_ instructions: InstructionSet) -> (function: tz_unary_function, a: Float, b: Float)? {
    let (named, a, b) = kernel
    return tz_unary_named(tz_elementwise_kernels(instructions.code), named).map { ($0, Float(a), Float(b)) }
  }

  private var kernel: (function: tz_unary, a: Double, b: Double) {
    switch self {
    case .leakyReLU(let slope): (TZ_LEAKY_RELU, slope, 0)
    case .clamp(let low, let high): (TZ_CLAMP, low, high)
    case .elu(let alpha): (TZ_ELU, alpha, 1)
    case .celu(let alpha): (TZ_CELU, alpha, 0)
    case .gelu(let approximateTanh): (approximateTanh ? TZ_GELU_TANH : TZ_GELU, 0, 0)
    case .hardsigmoid: (TZ_HARDSIGMOID, 0, 0)
    case .hardswish: (TZ_HARDSWISH, 0, 0)
    // log(sigmoid(x)) is −softplus(−x).
    case .logSigmoid: (TZ_SOFTPLUS, -1, 20)
    case .mish: (TZ_MISH, 0, 0)
    case .selu: (TZ_ELU, Tensor.selu.alpha, Tensor.selu.scale)
    case .sigmoid: (TZ_SIGMOID, 0, 0)
    case .silu: (TZ_SILU, 0, 0)
    case .softsign: (TZ_SOFTSIGN, 0, 0)
    case .tanh: (TZ_TANH, 0, 0)
    case .softplus(let beta, let threshold): (TZ_SOFTPLUS, beta, threshold)
    }
  }
}
