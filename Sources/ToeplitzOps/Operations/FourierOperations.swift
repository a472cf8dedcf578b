import ToeplitzTensor

/// The discrete Fourier transform along one axis of numbers whose real and imaginary parts stand on the last axis.
package struct FourierTransform: TensorOperation {
  package var axis: Int
  /// How many numbers are transformed; shorter axes are filled with zeros, longer ones cut.
  package var length: Int
  package var isInverse: Bool
  /// Whether only the first half of the spectrum is wanted, or is what is given to the inverse.
  package var isOneSided: Bool
  package var name: String { "dft" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let shape = inputs[0].shape
    try require(
      inputs[0].dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(inputs[0].dtype)")
    try require(
      shape.rank >= 2 && (1...2).contains(shape[shape.rank - 1]), expected: "1 or 2 parts on the last axis",
      got: "shape \(shape)")
    let axis = try shape.normalizedAxis(axis, operation: name)
    try require(axis < shape.rank - 1, .argument, expected: "an axis before the last", got: "\(axis)")
    try require((1...(1 << 24)).contains(length), .argument, expected: "a length from 1 to 2²⁴", got: "\(length)")
    let size = isOneSided && !isInverse ? length / 2 + 1 : length
    let parts = isOneSided && isInverse ? 1 : 2
    return [TensorSpec(shape.replacing(axis, by: size).replacing(shape.rank - 1, by: parts), inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (x, dy) = (call.x, try call.dy)
      let (size, parts) = (x.shape[axis], x.shape[x.rank - 1])
      var dx: Tensor
      switch (isInverse, isOneSided) {
      case (false, _):
        // Missing bins have no cotangent. The adjoint is the inverse without its division.
        let all = try dy.padded([(axis: axis, low: 0, high: length - dy.shape[axis])])
        dx = try all.dft(axis: axis, length: length, isInverse: true) * Double(length)
      case (true, false): dx = try dy.dft(axis: axis, length: length) / Double(length)
      case (true, true):
        // Each bin but the first (and the middle one) stands for two.
        let half = try dy.dft(axis: axis, length: length, isOneSided: true)
        let weights = (0..<(length / 2 + 1)).map { $0 == 0 || 2 * $0 == length ? 1 : 2.0 }
        var shape = [Int](repeating: 1, count: x.rank)
        shape[axis] = weights.count
        dx = try half * Tensor(weights, shape: TensorShape(shape), device: .cpu).cast(to: dy.dtype) / Double(length)
      }
      dx = try dx.padded([(axis: axis, low: 0, high: size - dx.shape[axis])])
      return [parts == 1 ? try dx.slice(axis: x.rank - 1, 0..<1) : dx]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(call, except: [axis, -1], because: "every frequency reads all positions")
  }
}

extension Tensor {
  /// The discrete Fourier transform along `axis` of numbers whose real and (if there are two) imaginary parts stand on
  /// the last axis.
  ///
  /// - Parameters:
  ///   - length: how many numbers are transformed; the axis' size if nil.
  ///   - isInverse: whether it is the inverse transform, divided by the length.
  ///   - isOneSided: whether only the first half of the spectrum is computed (or, of the inverse, given).
  /// - Throws: ``ToeplitzError`` if shapes do not fit.
  package func dft(
    axis: Int, length: Int? = nil, isInverse: Bool = false, isOneSided: Bool = false
  ) throws -> Tensor {
    let at = try shape.normalizedAxis(axis, operation: "dft")
    let own = isInverse && isOneSided ? 2 * (shape[at] - 1) : shape[at]
    return try apply(
      FourierTransform(axis: at, length: length ?? own, isInverse: isInverse, isOneSided: isOneSided), self)
  }

  /// The spectra of windowed pieces of a signal `[N, L, parts]`: `[N, frames, bins, 2]`.
  ///
  /// - Parameters:
  ///   - step: samples between pieces.
  ///   - window: what pieces are multiplied by; its length is theirs. Ones if nil.
  ///   - length: the length of a piece where there is no window.
  /// - Throws: ``ToeplitzError`` if shapes do not fit.
  package func pieceSpectra(
    step: Int, window: Tensor?, length: Int?, isOneSided: Bool = true
  ) throws -> Tensor {
    let piece = length ?? window?.count ?? 0
    guard rank == 3, (1...(1 << 31)).contains(step), piece > 0, piece <= shape[1],
      window.map({ $0.shape == [piece] }) ?? true
    else {
      throw ToeplitzError(
        .shape, "stft", expected: "a signal [N, L, 1 or 2] of at least a window's length, and a step of at least 1",
        got: "shape \(shape), step \(step), window \(window?.shape ?? [piece])")
    }
    var pieces = try apply(Unfold(axis: 1, size: piece, step: step), self)
    if let window { pieces = try pieces * window.cast(to: dtype).reshaped([piece, 1]) }
    return try pieces.dft(axis: 2, isOneSided: isOneSided)
  }

  /// The signals `[N, L]` whose spectra `[N, frames, bins, 2]` these are: pieces are windowed again, added where they overlap, and
  /// divided by the sum of the squares of the windows (Griffin and Lim, 1984), as `torch.istft` does it.
  ///
  /// - Parameters:
  ///   - step: samples between pieces.
  ///   - window: what pieces were multiplied by, `[fftSize]`; ones if nil.
  ///   - fftSize: the length of a piece.
  ///   - isCentered: whether the signal's ends were extended by half a piece, which is cut off.
  ///   - length: the length of the signals; what the pieces give if nil.
  ///   - isOneSided: whether only the first half of the spectra is given. Of whole spectra it is what is used.
  /// - Throws: ``ToeplitzError`` of kind `shape` if shapes do not fit, `argument` if the windows leave samples that no piece tells.
  package func signal(
    fromSpectraAt step: Int, window: Tensor?, fftSize: Int, isCentered: Bool = true, length: Int? = nil,
    isOneSided: Bool = true
  ) throws -> Tensor {
    let bins = fftSize / 2 + 1
    guard rank == 4, shape[3] == 2, shape[1] > 0, fftSize > 0, shape[2] == (isOneSided ? bins : fftSize), step > 0,
      window.map({ $0.shape == [fftSize] }) ?? true, length.map({ $0 >= 0 }) ?? true
    else {
      throw ToeplitzError(
        .shape, "istft",
        expected: "spectra [N, frames, \(isOneSided ? bins : fftSize), 2] and a window [\(fftSize)]",
        got: "\(spec), step \(step), window \(window?.shape ?? [fftSize])")
    }
    let half = try isOneSided ? self : slice(axis: 2, 0..<bins)
    let taps = try window?.cast(to: dtype) ?? Tensor.ones([fftSize], dtype: dtype)
    let pieces = try half.dft(axis: 2, length: fftSize, isInverse: true, isOneSided: true).squeezed(3) * taps
    let total = fftSize + step * (shape[1] - 1)
    let first = isCentered ? fftSize / 2 : 0
    let there = Swift.max(0, Swift.min(total - first, length ?? (total - 2 * first)))
    let sums = try pieces.overlapAdded(axis: 1, step: step, from: first, length: there)
    let squares = try (taps * taps).reshaped([1, 1, fftSize]).expanded(to: [1, shape[1], fftSize])
    let weights = try squares.overlapAdded(axis: 1, step: step, from: first, length: there)
    if !weights.isTraced, try weights.cast(to: .float64).scalars(Double.self).contains(where: { $0 < 1e-11 }) {
      throw ToeplitzError(
        .argument, "istft", expected: "windows that overlap so that each sample is in one", got: "gaps")
    }
    let signal = try sums / weights
    return try signal.padded([(axis: 1, low: 0, high: Swift.max(0, (length ?? there) - there))])
  }
}
