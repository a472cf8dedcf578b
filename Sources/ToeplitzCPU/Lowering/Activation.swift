import ToeplitzOps
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

  /// The operation that computes it on a whole tensor.
  package var operation: any TensorOperation {
    switch self {
    case .leakyReLU(let slope): slope == 0 ? ReLUOperation() : LeakyReLUOperation(slope: slope)
    case .clamp(let low, let high): Clamp(low: low, high: high)
    case .elu(let alpha): ELUOperation(alpha: alpha, scale: 1)
    case .celu(let alpha): CELUOperation(alpha: alpha)
    case .gelu(let approximateTanh): GELUOperation(approximateTanh: approximateTanh)
    case .hardsigmoid: HardSigmoid()
    case .hardswish: HardSwish()
    case .logSigmoid: LogSigmoidOperation()
    case .mish: MishOperation()
    case .selu: ELUOperation(alpha: Tensor.selu.alpha, scale: Tensor.selu.scale)
    case .sigmoid: SigmoidOperation()
    case .silu: SiLUOperation()
    case .softsign: SoftsignOperation()
    case .tanh: HyperbolicTangent()
    case .softplus(let beta, let threshold): SoftplusOperation(beta: beta, threshold: threshold)
    }
  }

  /// The function that an operation applies to each element, if a convolution can apply it.
  package init?(_ operation: any TensorOperation) {
    switch operation {
    case is ReLUOperation: self = .leakyReLU(slope: 0)
    case let leaky as LeakyReLUOperation: self = .leakyReLU(slope: leaky.slope)
    case let clamp as Clamp:
      guard clamp.low <= clamp.high else { return nil }
      self = .clamp(low: clamp.low, high: clamp.high)
    case let elu as ELUOperation:
      if elu.scale == 1 {
        self = .elu(alpha: elu.alpha)
      } else {
        guard elu.scale == Tensor.selu.scale, elu.alpha == Tensor.selu.alpha else { return nil }
        self = .selu
      }
    case let celu as CELUOperation: self = .celu(alpha: celu.alpha)
    case let gelu as GELUOperation: self = .gelu(approximateTanh: gelu.approximateTanh)
    case is HardSigmoid: self = .hardsigmoid
    case is HardSwish: self = .hardswish
    case is LogSigmoidOperation: self = .logSigmoid
    case is MishOperation: self = .mish
    case is SigmoidOperation: self = .sigmoid
    case is SiLUOperation: self = .silu
    case is SoftsignOperation: self = .softsign
    case is HyperbolicTangent: self = .tanh
    case let softplus as SoftplusOperation: self = .softplus(beta: softplus.beta, threshold: softplus.threshold)
    default: return nil
    }
  }

  /// Its value for each element.
  package func callAsFunction(_ x: Tensor) throws -> Tensor { try applyAll(operation, [x])[0] }
}
