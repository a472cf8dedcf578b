import ToeplitzOps
import ToeplitzTensor

extension ConvolutionGeometry {
  /// A float32 weight with the weights of each output channel multiplied by a number, in double precision, rounded once.
  ///
  /// - Parameter factors: float64, one for each output channel.
  func scaled(_ weight: Tensor, by factors: Tensor) throws -> Tensor {
    guard weight.dtype == .float32, factors.dtype == .float64, factors.shape == [outChannels] else {
      throw ToeplitzError(
        .shape, name, expected: "float32 weights and \(outChannels) factors", got: "\(weight.spec), \(factors.spec)")
    }
    let flat = try weight.contiguous()
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
}
