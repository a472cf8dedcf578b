import ToeplitzOps
import ToeplitzTensor

extension MelSpectrogram {
  /// The spectrograms of signals `[N, L]` in operations of tensors, so that they have gradients: `[N, melCount, frames]`.
  ///
  /// Computed in the signals' element type; ``callAsFunction(_:)`` computes in double precision.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if the signals are too short to be reflected at their ends.
  public func frames(of signals: Tensor) throws -> Tensor {
    guard signals.rank == 2, signals.dtype.isFloatingPoint else {
      throw ToeplitzError(
        .shape, "MelSpectrogram", expected: "floating-point signals [N, L]", got: "\(signals.spec)")
    }
    _ = try frameCount(sampleCount: signals.shape[1])
    let (taps, matrix) = try constants(signals.dtype)
    let ends = (configuration.fftSize - configuration.hopSize) / 2
    let spectra = try signals.padded([(axis: 1, low: ends, high: ends)], mode: .reflect).unsqueezed(2)
      .pieceSpectra(step: configuration.hopSize, window: taps, length: nil)
    let magnitudes = try ((spectra * spectra).sum([3]) + 1e-9).sqrt()
    return try magnitudes.matmul(matrix).clip(from: 1e-5).log().transposed(1, 2)
  }

  /// Window `[fftSize]` and filters `[bins, melCount]` in an element type.
  private func constants(_ dtype: DType) throws -> (window: Tensor, filters: Tensor) {
    try tensors.withLock { known in
      if let found = known[dtype] { return found }
      let bins = configuration.fftSize / 2 + 1
      let made = (
        window: try Tensor(window, shape: [configuration.fftSize], device: .cpu).cast(to: dtype),
        filters: try Tensor(filterMatrix(bins: bins), shape: [bins, configuration.melCount], device: .cpu)
          .cast(to: dtype)
      )
      known[dtype] = made
      return made
    }
  }

  /// The weights of all filters, `[bins, melCount]` in row-major order.
  private func filterMatrix(bins: Int) -> [Double] {
    var matrix = [Double](repeating: 0, count: bins * configuration.melCount)
    var unit = [Double](repeating: 0, count: bins)
    for bin in 0..<filters.usedBinCount {
      unit[bin] = 1
      matrix.withUnsafeMutableBufferPointer { matrix in
        guard let base = matrix.baseAddress else { return }
        filters.sum(over: unit, into: base + bin * configuration.melCount)
      }
      unit[bin] = 0
    }
    return matrix
  }
}
