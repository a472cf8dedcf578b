import ToeplitzTensor

extension Tensor {
  /// `x / (k + alpha / size · Σ x²)^beta`, the sum over `size` neighbouring channels of `[N, C, …]` (Krizhevsky et
  /// al., 2012).
  ///
  /// Of an even `size` the odd channel stands above, as in ONNX (in PyTorch below).
  ///
  /// - Throws: ``ToeplitzError`` if there is no channel axis or `size` is not at least 1.
  public func localResponseNorm(size: Int, alpha: Double = 1e-4, beta: Double = 0.75, k: Double = 1) throws -> Tensor {
    guard rank >= 2, size >= 1, size < 1 << 20, dtype.isFloatingPoint else {
      throw ToeplitzError(
        .argument, "localResponseNorm", expected: "floating-point numbers [N, C, …] and a size of at least 1",
        got: "\(spec) and size \(size)")
    }
    // Sums of a window are differences of running sums, in double precision so that nothing is lost.
    let low = (size - 1) / 2
    let squares = try (self * self).cast(to: .float64).padded([(axis: 1, low: low + 1, high: size - 1 - low)])
    let running = try squares.cumsum(axis: 1)
    let channels = shape[1]
    let sums = try running.slice(axis: 1, size..<(size + channels)) - running.slice(axis: 1, 0..<channels)
    let divisor = try (sums * (alpha / Double(size)) + k).pow(beta).cast(to: dtype)
    return try self / divisor
  }
}
