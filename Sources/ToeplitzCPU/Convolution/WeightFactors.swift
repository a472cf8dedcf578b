import ToeplitzOps
import ToeplitzTensor

extension ConvolutionGeometry {
  /// A weight with the weights of each output channel multiplied by a number, in double precision, rounded once.
  ///
  /// - Parameter factors: float64, one for each output channel.
  func scaled(_ weight: Tensor, by factors: Tensor) throws -> Tensor {
    guard factors.dtype == .float64, factors.shape == [outChannels] else {
      throw ToeplitzError(.shape, name, expected: "\(outChannels) float64 factors", got: "\(factors.spec)")
    }
    guard weight.dtype == .float32 else { return try spread(factors, over: weight) }
    let flat = try weight.dense()
    let result = try Tensor(uninitialized: weight.shape, dtype: .float32, operation: name)
    let taps = kernelSize.reduce(1, *)
    let (inputs, outputs) = (inChannels / groups, outChannels / groups)
    // A row is what shares a factor: all inputs and taps, or the taps alone.
    let length = isTransposed ? taps : inputs * taps
    let (from, to) = (UnsafeRawPointer(flat.elements), result.pointer(Float.self))
    try factors.withElements(Double.self) { factors in
      for row in 0..<(isTransposed ? inChannels * outputs : outChannels) {
        let factor = factors[isTransposed ? row / outputs / inputs * outputs + row % outputs : row]
        for at in (row * length)..<((row + 1) * length) {
          to[at] = Float(Double(from.loadUnaligned(fromByteOffset: at * 4, as: Float.self)) * factor)
        }
      }
    }
    withExtendedLifetime((flat, result)) {}
    return result
  }

  /// The same for any element type.
  private func spread(_ factors: Tensor, over weight: Tensor) throws -> Tensor {
    let ones = Array(repeating: 1, count: weight.rank - 2)
    var spread = try factors.reshaped(TensorShape([factors.count, 1] + ones))
    if isTransposed {
      // The weight is [in, out / groups, …]; the inputs of a group share its factors.
      spread = try factors.reshaped([groups, 1, weight.shape[1]])
        .expanded(to: [groups, weight.shape[0] / groups, weight.shape[1]])
        .reshaped(TensorShape([weight.shape[0], weight.shape[1]] + ones))
    }
    return try (weight.cast(to: .float64) * spread).cast(to: weight.dtype)
  }
}
