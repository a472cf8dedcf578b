import ToeplitzOps
import ToeplitzTensor

/// A layer whose weight can be held as direction and length.
public protocol WeightedLayer: Module {
  /// The weight.
  var weight: LayerWeight { get }
}

extension ConvolutionLayer: WeightedLayer {}

extension WeightedLayer {
  /// Holds the weight as direction `weight_v` and length `weight_g` from now on (`torch.nn.utils.weight_norm`).
  ///
  /// - Parameter dim: the axis of the weight that keeps its own norms; nil for one norm of all elements.
  /// - Returns: This layer.
  @discardableResult
  public func weightNorm(dim: Int? = 0) throws -> Self {
    try weight.normalize(axis: dim)
    return self
  }

  /// Multiplies direction and length out and holds the weight as it is from now on.
  @discardableResult
  public func removeWeightNorm() throws -> Self {
    if weight.isNormalized { try weight.removeNormalization() }
    return self
  }
}

extension Module {
  /// Multiplies direction and length out in all layers inside.
  ///
  /// - Returns: This module, whose state dictionary has plain weights from now on.
  @discardableResult
  public func removeAllWeightNorm() throws -> Self {
    for (_, module) in namedModules() {
      if let layer = module as? any WeightedLayer { try layer.removeWeightNorm() }
    }
    return self
  }
}
