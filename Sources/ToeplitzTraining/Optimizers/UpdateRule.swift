import ToeplitzOps
import ToeplitzTensor

/// How an optimiser changes a parameter, given its gradient and what it remembers of it.
///
/// A rule is a value that holds options only. It is written in operations of tensors, so that all parameters are updated by one
/// compiled graph, and a whole step can be one.
public protocol UpdateRule: Sendable {
  /// The learning rate.
  var lr: Double { get set }

  /// The names of the tensors that are remembered of each parameter, as PyTorch calls them; zeros at first.
  var stateNames: [String] { get }

  /// Numbers that differ from step to step.
  ///
  /// - Parameter step: 1 for a parameter's first update.
  func factors(step: Int) -> [Double]

  /// A parameter after an update, and what is remembered of it.
  ///
  /// - Parameters:
  ///   - gradient: like the parameter.
  ///   - state: tensors like the parameter, in the order of ``stateNames``.
  ///   - factors: those of the step as tensors without axes, of the parameter's element type.
  func updated(
    _ parameter: Tensor, gradient: Tensor, state: [Tensor], factors: [Tensor]
  ) throws -> (parameter: Tensor, state: [Tensor])

  /// - Throws: ``ToeplitzError`` of kind `argument` that names an option which is not legal.
  func checkOptions() throws
}

extension UpdateRule {
  /// Throws unless an option is at least (or, strictly, more than) 0 and, if there is a limit, below it.
  func require(_ name: String, _ value: Double, below limit: Double = .infinity) throws {
    guard value >= 0, value < limit else {
      let range = limit == .infinity ? "at least 0" : "in 0..<\(limit)"
      throw ToeplitzError(.argument, "\(Self.self)", expected: "\(name) \(range)", got: "\(value)")
    }
  }
}

extension Tensor {
  /// The way from here to `end`, `weight` of it (`torch.lerp`).
  func interpolated(to end: Tensor, _ weight: Double) throws -> Tensor {
    weight < 0.5 ? try self + (end - self) * weight : try end - (end - self) * (1 - weight)
  }
}

/// Gradient descent with momentum, after `torch.optim.SGD`.
public struct SGD: UpdateRule {
  /// The learning rate.
  public var lr: Double
  /// How much of the last direction is kept; 0 for none.
  public var momentum: Double
  /// How much less of the gradient goes into the direction, with momentum.
  public var dampening: Double
  /// How much of the parameter is added to its gradient.
  public var weightDecay: Double
  /// Whether the gradient is taken where momentum leads (Nesterov).
  public var nesterov: Bool
  /// Whether the number is made larger instead of smaller.
  public var maximize: Bool

  /// A rule with PyTorch's options and their default values.
  public init(
    lr: Double = 1e-3, momentum: Double = 0, dampening: Double = 0, weightDecay: Double = 0, nesterov: Bool = false,
    maximize: Bool = false
  ) {
    (self.lr, self.momentum, self.dampening, self.weightDecay) = (lr, momentum, dampening, weightDecay)
    (self.nesterov, self.maximize) = (nesterov, maximize)
  }

  /// `momentum_buffer`, if there is momentum.
  public var stateNames: [String] { momentum == 0 ? [] : ["momentum_buffer"] }

  /// The learning rate; how much of the old direction and of the gradient makes the new one, which the first gradient is.
  public func factors(step: Int) -> [Double] {
    momentum == 0 ? [lr] : [lr, step == 1 ? 0 : momentum, step == 1 ? 1 : 1 - dampening]
  }

  /// The next parameter and direction.
  public func updated(
    _ parameter: Tensor, gradient: Tensor, state: [Tensor], factors: [Tensor]
  ) throws -> (parameter: Tensor, state: [Tensor]) {
    var direction = maximize ? try gradient.negated() : gradient
    if weightDecay != 0 { direction = try direction + parameter * weightDecay }
    guard let buffer = state.first else { return (try parameter - direction * factors[0], []) }
    let moved = try buffer * factors[1] + direction * factors[2]
    direction = nesterov ? try direction + moved * momentum : moved
    return (try parameter - direction * factors[0], [moved])
  }

  /// Options as PyTorch accepts them.
  public func checkOptions() throws {
    try require("lr", lr)
    try require("momentum", momentum)
    try require("weightDecay", weightDecay)
    guard !nesterov || (momentum > 0 && dampening == 0) else {
      throw ToeplitzError(
        .argument, "SGD", expected: "momentum and no dampening with nesterov",
        got: "momentum \(momentum), dampening \(dampening)")
    }
  }
}

/// Adam (Kingma and Ba, 2015), after `torch.optim.Adam`: weight decay is part of the gradient.
public struct Adam: UpdateRule {
  /// The learning rate.
  public var lr: Double
  /// How slowly the means of gradients and of their squares change.
  public var betas: (Double, Double)
  /// What is added to the divisor.
  public var eps: Double
  /// How much of the parameter is added to its gradient.
  public var weightDecay: Double
  /// Whether the largest mean of squares so far divides (Reddi et al., 2018).
  public var amsgrad: Bool
  /// Whether the number is made larger instead of smaller.
  public var maximize: Bool
  /// Whether weight decay shrinks the parameter itself instead.
  var isDecoupled = false

  /// A rule with PyTorch's options and their default values.
  public init(
    lr: Double = 1e-3, betas: (Double, Double) = (0.9, 0.999), eps: Double = 1e-8, weightDecay: Double = 0,
    amsgrad: Bool = false, maximize: Bool = false
  ) {
    (self.lr, self.betas, self.eps, self.weightDecay) = (lr, betas, eps, weightDecay)
    (self.amsgrad, self.maximize) = (amsgrad, maximize)
  }

  /// `exp_avg`, `exp_avg_sq` and, with `amsgrad`, `max_exp_avg_sq`.
  public var stateNames: [String] { ["exp_avg", "exp_avg_sq"] + (amsgrad ? ["max_exp_avg_sq"] : []) }

  /// The step's size and the root of the second mean's correction; how much of the parameter stays, if it decays by itself.
  public func factors(step: Int) -> [Double] {
    let first = 1 - power(betas.0, step)
    let second = 1 - power(betas.1, step)
    return [lr / first, second.squareRoot()] + (isDecoupled && weightDecay != 0 ? [1 - lr * weightDecay] : [])
  }

  /// The next parameter and means.
  public func updated(
    _ parameter: Tensor, gradient: Tensor, state: [Tensor], factors: [Tensor]
  ) throws -> (parameter: Tensor, state: [Tensor]) {
    var parameter = parameter
    var gradient = maximize ? try gradient.negated() : gradient
    if isDecoupled {
      if factors.count > 2 { parameter = try parameter * factors[2] }
    } else if weightDecay != 0 {
      gradient = try gradient + parameter * weightDecay
    }
    let mean = try state[0].interpolated(to: gradient, 1 - betas.0)
    let square = try state[1] * betas.1 + gradient * gradient * (1 - betas.1)
    let largest = amsgrad ? try state[2].maximum(square) : square
    let divisor = try largest.sqrt() / factors[1] + eps
    return (try parameter - mean / divisor * factors[0], [mean, square] + (amsgrad ? [largest] : []))
  }

  /// Options as PyTorch accepts them.
  public func checkOptions() throws {
    try require("lr", lr)
    try require("betas.0", betas.0, below: 1)
    try require("betas.1", betas.1, below: 1)
    try require("eps", eps)
    try require("weightDecay", weightDecay)
  }
}

/// `base` to a whole power, by products alone, so that it is the same on every machine.
private func power(_ base: Double, _ exponent: Int) -> Double {
  var (result, square, rest) = (1.0, base, exponent)
  while rest > 0 {
    if rest & 1 == 1 { result *= square }
    square *= square
    rest >>= 1
  }
  return result
}

/// Adam whose weight decay shrinks parameters themselves (Loshchilov and Hutter, 2019), after `torch.optim.AdamW`.
public struct AdamW: UpdateRule {
  private(set) var adam: Adam

  /// A rule with PyTorch's options and their default values.
  public init(
    lr: Double = 1e-3, betas: (Double, Double) = (0.9, 0.999), eps: Double = 1e-8, weightDecay: Double = 1e-2,
    amsgrad: Bool = false, maximize: Bool = false
  ) {
    adam = Adam(lr: lr, betas: betas, eps: eps, weightDecay: weightDecay, amsgrad: amsgrad, maximize: maximize)
    adam.isDecoupled = true
  }

  /// The learning rate.
  public var lr: Double {
    get { adam.lr }
    set { adam.lr = newValue }
  }
  /// How much a parameter shrinks at each step, times the learning rate.
  public var weightDecay: Double {
    get { adam.weightDecay }
    set { adam.weightDecay = newValue }
  }
  /// As ``Adam``.
  public var stateNames: [String] { adam.stateNames }
  /// As ``Adam``.
  public func factors(step: Int) -> [Double] { adam.factors(step: step) }
  /// As ``Adam``.
  public func updated(
    _ parameter: Tensor, gradient: Tensor, state: [Tensor], factors: [Tensor]
  ) throws -> (parameter: Tensor, state: [Tensor]) {
    try adam.updated(parameter, gradient: gradient, state: state, factors: factors)
  }
  /// As ``Adam``.
  public func checkOptions() throws { try adam.checkOptions() }
}

/// Gradients divided by the root of their mean square (Hinton, 2012), after `torch.optim.RMSprop`.
public struct RMSprop: UpdateRule {
  /// The learning rate.
  public var lr: Double
  /// How slowly the mean of squares changes.
  public var alpha: Double
  /// What is added to the divisor.
  public var eps: Double
  /// How much of the parameter is added to its gradient.
  public var weightDecay: Double
  /// How much of the last direction is kept; 0 for none.
  public var momentum: Double
  /// Whether the variance divides instead of the mean square.
  public var centered: Bool
  /// Whether the number is made larger instead of smaller.
  public var maximize: Bool

  /// A rule with PyTorch's options and their default values.
  public init(
    lr: Double = 1e-2, alpha: Double = 0.99, eps: Double = 1e-8, weightDecay: Double = 0, momentum: Double = 0,
    centered: Bool = false, maximize: Bool = false
  ) {
    (self.lr, self.alpha, self.eps, self.weightDecay) = (lr, alpha, eps, weightDecay)
    (self.momentum, self.centered, self.maximize) = (momentum, centered, maximize)
  }

  /// `square_avg`, then `momentum_buffer` and `grad_avg` where they are needed.
  public var stateNames: [String] {
    ["square_avg"] + (momentum > 0 ? ["momentum_buffer"] : []) + (centered ? ["grad_avg"] : [])
  }

  /// The learning rate.
  public func factors(step: Int) -> [Double] { [lr] }

  /// The next parameter and means.
  public func updated(
    _ parameter: Tensor, gradient: Tensor, state: [Tensor], factors: [Tensor]
  ) throws -> (parameter: Tensor, state: [Tensor]) {
    var gradient = maximize ? try gradient.negated() : gradient
    if weightDecay != 0 { gradient = try gradient + parameter * weightDecay }
    let square = try state[0] * alpha + gradient * gradient * (1 - alpha)
    var next = [square]
    var variance = square
    var mean: Tensor?
    if centered {
      let moved = try state[state.count - 1].interpolated(to: gradient, 1 - alpha)
      variance = try square - moved * moved
      mean = moved
    }
    var direction = try gradient / (variance.sqrt() + eps)
    if momentum > 0 {
      direction = try state[1] * momentum + direction
      next.append(direction)
    }
    if let mean { next.append(mean) }
    return (try parameter - direction * factors[0], next)
  }

  /// Options as PyTorch accepts them.
  public func checkOptions() throws {
    try require("lr", lr)
    try require("alpha", alpha)
    try require("eps", eps)
    try require("momentum", momentum)
    try require("weightDecay", weightDecay)
  }
}

/// The sign of a momentum (Chen et al., *Symbolic Discovery of Optimization Algorithms*, 2023, algorithm 2).
public struct Lion: UpdateRule {
  /// The learning rate.
  public var lr: Double
  /// How much of the mean makes the direction, and how slowly the mean changes.
  public var betas: (Double, Double)
  /// How much a parameter shrinks at each step, times the learning rate.
  public var weightDecay: Double

  /// A rule with the paper's options.
  public init(lr: Double = 1e-4, betas: (Double, Double) = (0.9, 0.99), weightDecay: Double = 0) {
    (self.lr, self.betas, self.weightDecay) = (lr, betas, weightDecay)
  }

  /// `exp_avg`.
  public var stateNames: [String] { ["exp_avg"] }

  /// The learning rate.
  public func factors(step: Int) -> [Double] { [lr] }

  /// The next parameter and mean.
  public func updated(
    _ parameter: Tensor, gradient: Tensor, state: [Tensor], factors: [Tensor]
  ) throws -> (parameter: Tensor, state: [Tensor]) {
    let direction = try (state[0] * betas.0 + gradient * (1 - betas.0)).sign()
    let decayed = weightDecay == 0 ? direction : try direction + parameter * weightDecay
    return (try parameter - decayed * factors[0], [try state[0] * betas.1 + gradient * (1 - betas.1)])
  }

  /// Options that make sense.
  public func checkOptions() throws {
    try require("lr", lr)
    try require("betas.0", betas.0, below: 1)
    try require("betas.1", betas.1, below: 1)
    try require("weightDecay", weightDecay)
  }
}
