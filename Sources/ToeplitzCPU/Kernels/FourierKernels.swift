import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension FourierTransform: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let dtype = inputs[0].dtype
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    // Rows of the transformed axis, parts last.
    let rank = inputs[0].rank
    let order = (0..<rank).filter { $0 != axis && $0 != rank - 1 } + [axis, rank - 1]
    let x = try inputs[0].cast(to: .float64).permuted(order).dense()
    let (count, parts) = (x.shape[rank - 2], x.shape[rank - 1])
    let (size, outputParts) = (outputs[0].shape[axis], outputs[0].shape[rank - 1])
    var shape = x.shape.replacing(rank - 2, by: size)
    shape[rank - 1] = outputParts
    let result = try Tensor(uninitialized: shape, dtype: .float64, operation: name)
    let rows = result.count / max(size * outputParts, 1)
    let plan = try FFT(count: length)
    // The row, its spectra and their sum.
    let memory = try MemoryReservation(byteCount: 6 * length * 8, operation: name)
    defer { withExtendedLifetime(memory) {} }
    let source = x.pointer(Double.self)
    let target = result.pointer(Double.self)
    let used = min(count, isOneSided && isInverse ? length / 2 + 1 : length)
    for row in 0..<rows {
      var real = [Double](repeating: 0, count: length)
      var imaginary = real
      for i in 0..<used {
        real[i] = source[(row * count + i) * parts]
        imaginary[i] = parts == 2 ? source[(row * count + i) * parts + 1] : 0
      }
      if isOneSided, isInverse {
        // The other half mirrors this one.
        for i in used..<max(used, length) where length - i < used {
          real[i] = real[length - i]
          imaginary[i] = -imaginary[length - i]
        }
      }
      let (a, b) = try spectrum(plan, real, imaginary, hasImaginary: parts == 2 || isInverse)
      let scale = isInverse ? 1 / Double(length) : 1
      for i in 0..<size {
        target[(row * size + i) * outputParts] = a[i] * scale
        if outputParts == 2 { target[(row * size + i) * outputParts + 1] = b[i] * scale }
      }
    }
    withExtendedLifetime((x, result)) {}
    var back = [Int](repeating: 0, count: rank)
    for (position, original) in order.enumerated() { back[original] = position }
    return [try result.permuted(back).dense().cast(to: dtype)]
  }

  /// The whole spectrum of complex numbers, from those of two real signals.
  private func spectrum(
    _ plan: FFT, _ real: [Double], _ imaginary: [Double], hasImaginary: Bool
  ) throws -> ([Double], [Double]) {
    // The inverse is the transform with the other sign of i.
    let sign = isInverse ? -1.0 : 1
    let (rr, ri) = try plan.forward(real)
    let (ir, ii) = hasImaginary ? try plan.forward(imaginary) : ([], [])
    var (a, b) = ([Double](repeating: 0, count: length), [Double](repeating: 0, count: length))
    for k in 0..<length {
      let mirrored = k > length / 2
      let at = mirrored ? length - k : k
      let flip = (mirrored ? -1.0 : 1) * sign
      a[k] = rr[at]
      b[k] = ri[at] * flip
      if hasImaginary {
        a[k] -= ii[at] * flip
        b[k] += ir[at]
      }
    }
    return (a, b)
  }
}
