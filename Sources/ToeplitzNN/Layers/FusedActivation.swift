import ToeplitzOps

/// The function of a layer that a convolution before it can compute while it stores its results, if the layer is one of the
/// library's activations itself (a subclass may do something else).
func fusedActivation(_ layer: any UnaryLayer) -> Activation? {
  func isItself<L: AnyObject>(_ type: L.Type) -> L? { Swift.type(of: layer) == type ? layer as? L : nil }
  if isItself(ReLU.self) != nil { return .leakyReLU(slope: 0) }
  if isItself(ReLU6.self) != nil { return .clamp(low: 0, high: 6) }
  if let layer = isItself(LeakyReLU.self) { return .leakyReLU(slope: layer.negativeSlope) }
  if let layer = isItself(ELU.self) { return .elu(alpha: layer.alpha) }
  if let layer = isItself(CELU.self) { return .celu(alpha: layer.alpha) }
  if isItself(LogSigmoid.self) != nil { return .logSigmoid }
  if isItself(SELU.self) != nil { return .selu }
  if let layer = isItself(GELU.self) { return .gelu(approximateTanh: layer.approximate == .tanh) }
  if isItself(Sigmoid.self) != nil { return .sigmoid }
  if isItself(SiLU.self) != nil { return .silu }
  if isItself(Mish.self) != nil { return .mish }
  if isItself(Tanh.self) != nil { return .tanh }
  if isItself(Hardswish.self) != nil { return .hardswish }
  if isItself(Hardsigmoid.self) != nil { return .hardsigmoid }
  if isItself(Softsign.self) != nil { return .softsign }
  if let layer = isItself(Softplus.self) { return .softplus(beta: layer.beta, threshold: layer.threshold) }
  if let layer = isItself(Hardtanh.self) { return .clamp(low: layer.minVal, high: layer.maxVal) }
  return nil
}
