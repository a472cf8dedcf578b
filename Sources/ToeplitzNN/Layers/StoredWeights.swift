import ToeplitzOps

extension ConvolutionLayer {
  /// How prepared weights are kept (see `WeightStorage`); `full` unless it is set.
  ///
  /// Only the prepared form changes, from the next call on: parameters and state dictionary stay what they are. Weights of
  /// float64 and whole numbers stay as they are anyway.
  public var weightStorage: WeightStorage {
    get { cache.storage }
    set { cache.storage = newValue }
  }
}

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
