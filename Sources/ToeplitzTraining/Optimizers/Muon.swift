import ToeplitzOps
import ToeplitzTensor

/// The direction of a momentum made orthogonal by the iteration of Newton and Schulz (Jordan et al., *Muon: an optimizer for
/// hidden layers in neural networks*, 2024), after `torch.optim.Muon`.
///
/// Parameters are matrices; others belong into a group with another rule. As in PyTorch the iteration runs in bfloat16.
public struct Muon: UpdateRule {
  /// How the learning rate follows from the shape of a matrix.
  public enum Adjustment: String, Sendable, CaseIterable {
    /// Times the root of rows by columns, at least 1.
    case original
    /// 0.2 times the root of the larger of rows and columns, for learning rates of AdamW.
    case matchRMSAdamW = "match_rms_adamw"
  }

  /// The learning rate.
  public var lr: Double
  /// How much a parameter shrinks at each step, times the learning rate.
  public var weightDecay: Double
  /// How slowly the mean of gradients changes.
  public var momentum: Double
  /// Whether the gradient is taken where momentum leads (Nesterov).
  public var nesterov: Bool
  /// The coefficients of the iteration.
  public var nsCoefficients: (Double, Double, Double)
  /// The smallest norm that is divided by.
  public var eps: Double
  /// How many iterations there are.
  public var nsSteps: Int
  /// How the learning rate follows from the shape of a matrix.
  public var adjustment: Adjustment

  /// A rule with PyTorch's options and their default values.
  public init(
    lr: Double = 1e-3, weightDecay: Double = 0.1, momentum: Double = 0.95, nesterov: Bool = true,
    nsCoefficients: (Double, Double, Double) = (3.4445, -4.7750, 2.0315), eps: Double = 1e-7, nsSteps: Int = 5,
    adjustment: Adjustment = .original
  ) {
    (self.lr, self.weightDecay, self.momentum, self.nesterov) = (lr, weightDecay, momentum, nesterov)
    (self.nsCoefficients, self.eps, self.nsSteps, self.adjustment) = (nsCoefficients, eps, nsSteps, adjustment)
  }

  /// `momentum_buffer`.
  public var stateNames: [String] { ["momentum_buffer"] }

  /// The learning rate; how much of the parameter stays.
  public func factors(step: Int) -> [Double] { [lr, 1 - lr * weightDecay] }

  /// The next parameter and mean.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` unless the parameter is a matrix.
  public func updated(
    _ parameter: Tensor, gradient: Tensor, state: [Tensor], factors: [Tensor]
  ) throws -> (parameter: Tensor, state: [Tensor]) {
    guard parameter.rank == 2 else {
      throw ToeplitzError(
        .shape, "Muon", expected: "matrices (give other parameters a group with another rule)",
        got: "\(parameter.spec)")
    }
    let mean = try state[0].interpolated(to: gradient, 1 - momentum)
    let direction = try orthogonalized(nesterov ? gradient.interpolated(to: mean, momentum) : mean)
    let (rows, columns) = (Double(parameter.shape[0]), Double(parameter.shape[1]))
    let ratio =
      adjustment == .original ? max(1, rows / columns).squareRoot() : 0.2 * max(rows, columns).squareRoot()
    let step = try direction.cast(to: parameter.dtype) * (factors[0] * ratio)
    return (try parameter * factors[1] - step, [mean])
  }

  /// The matrix with its singular values moved near 1.
  ///
  /// Products are of bfloat16 numbers, added in float32, joined with the other matrix in one multiply-add and then rounded, as
  /// PyTorch's `addmm` does it: the same bits, but where a sum in another order falls on the other side of a tie.
  private func orthogonalized(_ matrix: Tensor) throws -> Tensor {
    let isTall = matrix.shape[0] > matrix.shape[1]
    func rounded(_ x: Tensor) throws -> Tensor { try x.cast(to: .bfloat16).cast(to: .float32) }
    func joined(_ product: Tensor, _ other: Tensor, _ factor: Double) throws -> Tensor {
      try rounded((product.cast(to: .float64) + other.cast(to: .float64) * Double(Float(factor))).cast(to: .float32))
    }
    var x = try rounded(isTall ? matrix.transposed(0, 1) : matrix)
    x = try rounded(x / rounded((x * x).sum().sqrt()).clip(from: eps))
    let (a, b, c) = nsCoefficients
    for _ in 0..<nsSteps {
      let gram = try rounded(x.matmul(x.transposed(0, 1)))
      let update = try joined(gram.matmul(gram) * c, gram, b)
      x = try joined(update.matmul(x), x, a)
    }
    return isTall ? try x.transposed(0, 1) : x
  }

  /// Options as PyTorch accepts them.
  public func checkOptions() throws {
    try require("lr", lr)
    try require("momentum", momentum)
    try require("weightDecay", weightDecay)
    guard (0..<100).contains(nsSteps) else {
      throw ToeplitzError(.argument, "Muon", expected: "nsSteps in 0..<100", got: "\(nsSteps)")
    }
  }
}
