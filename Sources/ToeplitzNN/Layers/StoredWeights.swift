import ToeplitzOps

extension Module {
  /// Keeps the prepared weights of all convolutions inside in fewer bits, for networks that compute few positions at a
  /// time and therefore wait for their weights.
  ///
  /// ```swift
  /// let decoder = try Decoder().eval().storeWeights(as: .bfloat16)
  /// ```
  ///
  /// - Returns: This module.
  @discardableResult
  public func storeWeights(as storage: WeightStorage) -> Self {
    for (_, module) in namedModules() { (module as? ConvolutionLayer)?.weightStorage = storage }
    return self
  }
}
