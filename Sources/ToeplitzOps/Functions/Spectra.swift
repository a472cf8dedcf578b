import ToeplitzTensor

// Fourier transforms under NumPy's and PyTorch's names. There are no complex numbers: their real and imaginary parts stand on a
// last axis of 2, as `torch.view_as_real` has them, and that axis does not count where an axis is named.

extension Tensor {
  /// The spectrum of real numbers along `axis`, its first half: `[…, n / 2 + 1, 2]` (`torch.fft.rfft`, `numpy.fft.rfft`).
  ///
  /// - Parameters:
  ///   - n: how many numbers are transformed; a shorter axis is filled with zeros, a longer one cut. The axis' size if nil.
  ///   - axis: the axis.
  /// - Throws: ``ToeplitzError`` if there is no such axis or the elements are no floating-point numbers.
  public func rfft(n: Int? = nil, axis: Int = -1) throws -> Tensor {
    let axis = try shape.normalizedAxis(axis, operation: "rfft")
    return try unsqueezed(-1).dft(axis: axis, length: n, isOneSided: true)
  }

  /// The real numbers whose spectrum's first half this `[…, bins, 2]` is (`torch.fft.irfft`, `numpy.fft.irfft`).
  ///
  /// - Parameters:
  ///   - n: how many numbers there are; 2 (bins − 1) if nil.
  ///   - axis: the axis of the bins, counted without that of the parts.
  /// - Throws: ``ToeplitzError`` if there is no such axis, no axis of 2 parts, or the elements are no floating-point numbers.
  public func irfft(n: Int? = nil, axis: Int = -1) throws -> Tensor {
    try dft(axis: partlessAxis(axis, "irfft"), length: n, isInverse: true, isOneSided: true).squeezed(-1)
  }

  /// The spectrum of complex numbers `[…, 2]` along `axis`, of the same shape (`torch.fft.fft`, `numpy.fft.fft`).
  ///
  /// - Parameters:
  ///   - n: how many numbers are transformed; a shorter axis is filled with zeros, a longer one cut. The axis' size if nil.
  ///   - axis: the axis, counted without that of the parts.
  /// - Throws: ``ToeplitzError`` if there is no such axis, no axis of 2 parts, or the elements are no floating-point numbers.
  public func fft(n: Int? = nil, axis: Int = -1) throws -> Tensor {
    try dft(axis: partlessAxis(axis, "fft"), length: n)
  }

  /// The complex numbers `[…, 2]` whose spectrum along `axis` this is (`torch.fft.ifft`, `numpy.fft.ifft`).
  ///
  /// - Throws: As ``fft(n:axis:)``.
  public func ifft(n: Int? = nil, axis: Int = -1) throws -> Tensor {
    try dft(axis: partlessAxis(axis, "ifft"), length: n, isInverse: true)
  }

  private func partlessAxis(_ axis: Int, _ operation: String) throws -> Int {
    guard rank >= 2, shape[rank - 1] == 2 else {
      throw ToeplitzError(
        .shape, operation, expected: "complex numbers [..., 2], real and imaginary parts (of real ones: rfft)",
        got: "shape \(shape)")
    }
    return try TensorShape(shape.dropLast()).normalizedAxis(axis, operation: operation)
  }

  /// The short-time Fourier transform of signals `[N, L]` or `[L]`: `[N, fftSize / 2 + 1, frames, 2]` (`torch.stft`).
  ///
  /// ```swift
  /// let spectrum = try x.stft(fftSize: 1024, hopSize: 256, window: .hann(1024))
  /// let magnitudes = try sqrt(sum(square(spectrum), axis: -1))
  /// ```
  ///
  /// - Parameters:
  ///   - fftSize: samples of a frame (`n_fft`).
  ///   - hopSize: samples from one frame to the next (`hop_length`); a quarter of a frame if nil.
  ///   - window: what frames are multiplied by; a shorter one stands in the middle. Ones if nil.
  ///   - isCentered: whether frame t has sample t · hopSize in its middle, the signal being extended at both ends.
  ///   - paddingMode: what it is extended with.
  /// - Throws: ``ToeplitzError`` if the signal is too short, or the sizes do not fit.
  public func stft(
    fftSize: Int, hopSize: Int? = nil, window: Tensor? = nil, isCentered: Bool = true,
    paddingMode: PaddingMode = .reflect
  ) throws -> Tensor {
    let taps = try window ?? Tensor.ones([Swift.max(fftSize, 1)], dtype: dtype)
    guard (1...2).contains(rank), dtype.isFloatingPoint, fftSize > 0, taps.rank == 1, taps.count <= fftSize else {
      throw ToeplitzError(
        .shape, "stft", expected: "floating-point signals [N, L] or [L] and a window [size] of at most fftSize",
        got: "\(spec), fftSize \(fftSize), window \(taps.shape)")
    }
    let missing = fftSize - taps.count
    let window = try taps.padded([(axis: 0, low: missing / 2, high: missing - missing / 2)])
    var signal = rank == 1 ? try unsqueezed(0) : self
    if isCentered {
      signal = try signal.padded([(axis: 1, low: fftSize / 2, high: fftSize / 2)], mode: paddingMode)
    }
    let spectra = try signal.unsqueezed(2)
      .pieceSpectra(step: hopSize ?? Swift.max(1, fftSize / 4), window: window, length: nil).transposed(1, 2)
    return rank == 1 ? try spectra.squeezed(0) : spectra
  }

  /// The signals `[N, L]` or `[L]` whose short-time Fourier transform `[N, fftSize / 2 + 1, frames, 2]` this is (`torch.istft`).
  ///
  /// Frames are windowed again, added where they overlap, and divided by the sum of the squares of the windows (Griffin and
  /// Lim, 1984).
  ///
  /// - Parameters:
  ///   - fftSize: samples of a frame (`n_fft`).
  ///   - hopSize: samples from one frame to the next (`hop_length`); a quarter of a frame if nil.
  ///   - window: what frames were multiplied by; a shorter one stands in the middle. Ones if nil.
  ///   - isCentered: whether the signal had been extended by half a frame at both ends, which is cut off.
  ///   - length: the length of the signals; what the frames give if nil.
  /// - Throws: ``ToeplitzError`` if the sizes do not fit, or a sample is in no window.
  public func istft(
    fftSize: Int, hopSize: Int? = nil, window: Tensor? = nil, isCentered: Bool = true, length: Int? = nil
  ) throws -> Tensor {
    let taps = try window ?? Tensor.ones([Swift.max(fftSize, 1)], dtype: dtype)
    guard (3...4).contains(rank), fftSize > 0, taps.rank == 1, taps.count <= fftSize else {
      throw ToeplitzError(
        .shape, "istft",
        expected: "spectra [N, bins, frames, 2] or [bins, frames, 2] and a window [size] of at most fftSize",
        got: "\(spec), fftSize \(fftSize), window \(taps.shape)")
    }
    let missing = fftSize - taps.count
    let window = try taps.padded([(axis: 0, low: missing / 2, high: missing - missing / 2)])
    let spectra = rank == 3 ? try unsqueezed(0) : self
    let signals = try spectra.transposed(1, 2).signal(
      fromSpectraAt: hopSize ?? Swift.max(1, fftSize / 4), window: window, fftSize: fftSize, isCentered: isCentered,
      length: length)
    return rank == 3 ? try signals.squeezed(0) : signals
  }

  /// A Hann window `[size]`, `0.5 − 0.5 cos(2π i / size)` (`torch.hann_window`; `/ (size − 1)` if it is not periodic).
  ///
  /// - Throws: ``ToeplitzError`` if the size is negative or too large.
  public static func hann(_ size: Int, isPeriodic: Bool = true, dtype: DType = .float32) throws -> Tensor {
    let steps = try Tensor.range(to: Double(size), dtype: .float64)
    let period = Double(Swift.max(1, isPeriodic ? size : size - 1))
    return try (0.5 - 0.5 * (steps * (2 * Double.pi) / period).cos()).cast(to: dtype)
  }
}
