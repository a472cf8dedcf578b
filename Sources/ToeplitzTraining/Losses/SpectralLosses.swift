import ToeplitzModels
import ToeplitzOps
import ToeplitzTensor

/// One of the resolutions of ``multiResolutionSTFT(_:_:resolutions:)``.
public struct STFTResolution: Sendable, Hashable {
  /// Samples of a frame.
  public var fftSize: Int
  /// Samples between frames.
  public var hopSize: Int
  /// Samples under the Hann window in the middle of a frame.
  public var windowSize: Int

  /// A resolution of the given sizes.
  public init(fftSize: Int, hopSize: Int, windowSize: Int) {
    (self.fftSize, self.hopSize, self.windowSize) = (fftSize, hopSize, windowSize)
  }

  /// The three of Parallel WaveGAN.
  public static let standard = [
    STFTResolution(fftSize: 1024, hopSize: 120, windowSize: 600),
    STFTResolution(fftSize: 2048, hopSize: 240, windowSize: 1200),
    STFTResolution(fftSize: 512, hopSize: 50, windowSize: 240),
  ]

  /// The magnitudes of a signal `[N, L]`, centred frames with reflected ends: `[N, frames, fftSize / 2 + 1]`.
  func magnitudes(_ x: Tensor) throws -> Tensor {
    guard x.rank == 2, fftSize > 0, windowSize > 0, windowSize <= fftSize, x.shape[1] > fftSize / 2 else {
      throw ToeplitzError(
        .shape, "multiResolutionSTFT",
        expected: "signals [N, L] of more than \(fftSize / 2) samples, a window of at most \(fftSize)",
        got: "\(x.spec), window \(windowSize)")
    }
    let spectra = try x.stft(fftSize: fftSize, hopSize: hopSize, window: .hann(windowSize, dtype: x.dtype))
      .transposed(1, 2)
    // Below this a root has no useful slope.
    return try (spectra * spectra).sum([3]).clip(from: 1e-7).sqrt()
  }
}

/// How far apart the spectra of signals are at several resolutions: the mean of spectral convergence plus the L1 distance of
/// logarithms (Yamamoto et al., *Parallel WaveGAN*, 2020).
///
/// - Parameters:
///   - input: signals `[N, L]`.
///   - target: like the input.
/// - Throws: ``ToeplitzError`` of kind `shape` unless input and target are alike and longer than half a frame.
public func multiResolutionSTFT(
  _ input: Tensor, _ target: Tensor, resolutions: [STFTResolution] = STFTResolution.standard
) throws -> Tensor {
  guard input.spec == target.spec, input.dtype.isFloatingPoint, !resolutions.isEmpty else {
    throw ToeplitzError(
      .shape, "multiResolutionSTFT", expected: "signals alike and a resolution", got: "\(input.spec) and \(target.spec)"
    )
  }
  let parts = try resolutions.map { resolution -> Tensor in
    let (x, y) = (try resolution.magnitudes(input), try resolution.magnitudes(target))
    let difference = try y - x
    let convergence = try (difference * difference).sum().sqrt() / (y * y).sum().sqrt()
    return try convergence + l1(x.log(), y.log())
  }
  return try parts.dropFirst().reduce(parts[0]) { try $0 + $1 } / Double(parts.count)
}

/// The mean absolute difference of two signals' log-mel spectrograms, as HiFi-GAN is trained with (there times 45).
///
/// - Parameters:
///   - input: signals `[N, L]`.
///   - target: like the input.
/// - Throws: ``ToeplitzError`` of kind `shape` unless input and target are alike and long enough.
public func melL1(_ input: Tensor, _ target: Tensor, spectrogram: MelSpectrogram) throws -> Tensor {
  try l1(spectrogram.frames(of: input), spectrogram.frames(of: target))
}
