import ToeplitzCheckpoint

/// A rule that PyTorch has too, so that its optimiser's `state_dict` can be read and written.
public protocol PyTorchRule: UpdateRule {
  /// The options under PyTorch's names, all that its `state_dict` has.
  var pytorchOptions: [(name: String, value: PyTorchValue)] { get }
  /// Whether PyTorch keeps the number of updates of each parameter.
  var keepsSteps: Bool { get }
}

extension PyTorchRule {
  /// Options that say how PyTorch computes, as it has them by default.
  fileprivate static var standard: [(name: String, value: PyTorchValue)] {
    [("foreach", .none), ("differentiable", .bool(false))]
  }
}

private func pair(_ values: (Double, Double)) -> PyTorchValue { .tuple([.double(values.0), .double(values.1)]) }

extension SGD: PyTorchRule {
  /// The options of `torch.optim.SGD`.
  public var pytorchOptions: [(name: String, value: PyTorchValue)] {
    [
      ("lr", .double(lr)), ("momentum", .double(momentum)), ("dampening", .double(dampening)),
      ("weight_decay", .double(weightDecay)), ("nesterov", .bool(nesterov)), ("maximize", .bool(maximize)),
      ("fused", .none),
    ] + Self.standard
  }
  /// It does not.
  public var keepsSteps: Bool { false }
}

extension Adam: PyTorchRule {
  /// The options of `torch.optim.Adam`.
  public var pytorchOptions: [(name: String, value: PyTorchValue)] {
    [
      ("lr", .double(lr)), ("betas", pair(betas)), ("eps", .double(eps)), ("weight_decay", .double(weightDecay)),
      ("amsgrad", .bool(amsgrad)), ("maximize", .bool(maximize)), ("capturable", .bool(false)), ("fused", .none),
      ("decoupled_weight_decay", .bool(isDecoupled)),
    ] + Self.standard
  }
  /// It does.
  public var keepsSteps: Bool { true }
}

extension AdamW: PyTorchRule {
  /// The options of `torch.optim.AdamW`.
  public var pytorchOptions: [(name: String, value: PyTorchValue)] { adam.pytorchOptions }
  /// It does.
  public var keepsSteps: Bool { true }
}

extension RMSprop: PyTorchRule {
  /// The options of `torch.optim.RMSprop`.
  public var pytorchOptions: [(name: String, value: PyTorchValue)] {
    [
      ("lr", .double(lr)), ("momentum", .double(momentum)), ("alpha", .double(alpha)), ("eps", .double(eps)),
      ("centered", .bool(centered)), ("weight_decay", .double(weightDecay)), ("capturable", .bool(false)),
      ("maximize", .bool(maximize)),
    ] + Self.standard
  }
  /// It does.
  public var keepsSteps: Bool { true }
}

extension Muon: PyTorchRule {
  /// The options of `torch.optim.Muon`.
  public var pytorchOptions: [(name: String, value: PyTorchValue)] {
    let (a, b, c) = nsCoefficients
    return [
      ("lr", .double(lr)), ("weight_decay", .double(weightDecay)), ("momentum", .double(momentum)),
      ("nesterov", .bool(nesterov)), ("ns_coefficients", .tuple([.double(a), .double(b), .double(c)])),
      ("eps", .double(eps)), ("ns_steps", .int(nsSteps)),
      ("adjust_lr_fn", adjustment == .original ? .none : .text(adjustment.rawValue)),
    ]
  }
  /// It does not.
  public var keepsSteps: Bool { false }
}
