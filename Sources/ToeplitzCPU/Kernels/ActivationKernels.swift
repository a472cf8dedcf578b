import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension Activation {
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
