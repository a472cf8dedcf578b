import CToeplitzKernels
import ToeplitzCPU
import ToeplitzOps
import ToeplitzTensor

/// The log-mel spectrogram that HiFi-GAN vocoders are trained on.
///
/// Computes what `mel_spectrogram` of the authors' `meldataset.py` does (Kong et al., "HiFi-GAN", 2020):
/// reflect padding of `(n_fft − hop_size) / 2` at both ends, frames of `n_fft` samples every `hop_size` under
/// a periodic Hann window, magnitude `sqrt(re² + im² + 1e-9)`, filters on Slaney's mel scale as librosa makes
/// them, and `log(max(·, 1e-5))`. The window is PyTorch's in single precision, all other arithmetic is in
/// double precision and rounded once at the end.
///
/// ```swift
/// let mel = try MelSpectrogram(.init(sampleRate: 22_050, maximumFrequency: 8000))
/// let frames = try mel(AudioFile(path: "speech.wav").readMono())  // [1, 80, frames]
/// ```
public struct MelSpectrogram: Sendable {
  /// The parameters of a spectrogram; names of HiFi-GAN's `config.json` in the descriptions.
  public struct Configuration: Sendable, Hashable {
    /// Samples per frame, `n_fft`.
    public var fftSize: Int
    /// Mel bands, `num_mels`.
    public var melCount: Int
    /// Samples per second, `sampling_rate`.
    public var sampleRate: Int
    /// Samples from one frame to the next, `hop_size`.
    public var hopSize: Int
    /// Samples under the Hann window, `win_size`; a shorter one lies in the middle of the frame.
    public var windowSize: Int
    /// Where the lowest band starts in hertz, `fmin`.
    public var minimumFrequency: Double
    /// Where the highest band ends in hertz, `fmax`; nil is half the sample rate.
    public var maximumFrequency: Double?

    /// Parameters; the defaults are those of the authors' configurations for 22.05 kHz, but for `fmax`.
    public init(
      fftSize: Int = 1024, melCount: Int = 80, sampleRate: Int = 22_050, hopSize: Int = 256,
      windowSize: Int = 1024, minimumFrequency: Double = 0, maximumFrequency: Double? = nil
    ) {
      self.fftSize = fftSize
      self.melCount = melCount
      self.sampleRate = sampleRate
      self.hopSize = hopSize
      self.windowSize = windowSize
      self.minimumFrequency = minimumFrequency
      self.maximumFrequency = maximumFrequency
    }
  }

  /// The parameters.
  public let configuration: Configuration
  private let fft: FFT
  let window: [Double]
  let filters: MelFilterBank
  /// Window and filters as tensors, made once, so that graphs see that two spectrograms of a signal are equal.
  let tensors = Lock<[DType: (window: Tensor, filters: Tensor)]>([:])

  /// Frames that are computed at a time; bounds the memory next to the result.
  private static let framesPerBlock = 128

  /// Prepares window, filters and Fourier transform.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the parameters do not fit one another.
  public init(_ configuration: Configuration = Configuration()) throws {
    let highest = try Self.check(configuration)
    self.configuration = configuration
    fft = try FFT(count: configuration.fftSize)
    filters = MelFilterBank(
      filterCount: configuration.melCount, fftSize: configuration.fftSize,
      sampleRate: configuration.sampleRate, from: configuration.minimumFrequency, to: highest)
    window = Self.hannWindow(configuration.windowSize, centredIn: configuration.fftSize)
  }

  /// A periodic Hann window with zeros on both sides.
  ///
  /// In quiet bands beside loud ones the last digits of the window matter: the authors' window, made by
  /// `torch.hann_window` in single precision, and the exact one give logarithms that differ by up to 3e-4. So
  /// this takes the same steps in single precision as PyTorch does (`arange(n) * (2π / n)`, cosine,
  /// `0.5 − 0.5·c`); only the cosine is the correctly rounded one, the same on every machine.
  private static func hannWindow(_ size: Int, centredIn count: Int) -> [Double] {
    let step = Float(2 * Double.pi / Double(size))
    var window = [Double](repeating: 0, count: count)
    for index in 0..<size {
      let cosine = Float(Double(Float(index) * step).cosine())
      window[(count - size) / 2 + index] = Double(0.5 - 0.5 * cosine)
    }
    return window
  }

  /// Samples that are reflected at each end.
  var padding: Int { (configuration.fftSize - configuration.hopSize) / 2 }

  /// The number of frames of a signal of `sampleCount` samples, at least 1.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if the signal is too short to be reflected at its ends or to
  ///   fill a frame.
  public func frameCount(sampleCount: Int) throws -> Int {
    let least = max(padding + 1, configuration.fftSize - 2 * padding)
    guard sampleCount >= least, sampleCount <= Int.max / 2 else {
      throw ToeplitzError(
        .shape, Self.operation, expected: "at least \(least) samples", got: "\(sampleCount)")
    }
    return 1 + (sampleCount + 2 * padding - configuration.fftSize) / configuration.hopSize
  }

  /// The spectrogram of a whole signal, float32 `[1, melCount, frames]`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if the signal is too short, `argument` for a sample that is
  ///   not finite.
  public func callAsFunction(_ samples: [Float]) throws -> Tensor {
    let count = try frameCount(sampleCount: samples.count)
    return try frames(0..<count, sampleCount: samples.count) { Array(samples[$0]) }
  }

  /// Some frames of a signal that need not be in memory, float32 `[1, melCount, range.count]`.
  ///
  /// The frames have the same bits as in the spectrogram of the whole signal: only its true ends are
  /// reflected.
  ///
  /// - Parameters:
  ///   - range: The frames, within `0..<frameCount(sampleCount:)`.
  ///   - sampleCount: The length of the whole signal.
  ///   - samples: Gives the samples of a part of the signal. It is called for one short part after another,
  ///     which overlap.
  /// - Throws: ``ToeplitzError`` of kind `shape` if the signal is too short, `argument` if there are no such
  ///   frames, for a sample that is not finite or the wrong number of samples; whatever `samples` throws.
  public func frames(
    _ range: Range<Int>, sampleCount: Int, samples: (Range<Int>) throws -> [Float]
  ) throws -> Tensor {
    let total = try frameCount(sampleCount: sampleCount)
    guard range.lowerBound >= 0, range.upperBound <= total else {
      throw ToeplitzError(.argument, Self.operation, expected: "frames in 0..<\(total)", got: "\(range)")
    }
    let result = try Tensor(
      uninitialized: [1, configuration.melCount, range.count], dtype: .float32, operation: Self.operation)
    let target = result.pointer(Float.self)
    for first in stride(from: range.lowerBound, to: range.upperBound, by: Self.framesPerBlock) {
      let block = first..<min(first + Self.framesPerBlock, range.upperBound)
      let signal = try paddedSignal(block, sampleCount: sampleCount, samples: samples)
      compute(block.count, of: signal, into: target + (first - range.lowerBound), rowStride: range.count)
    }
    return withExtendedLifetime(result) { result }
  }

  /// The samples under the frames of `block`, with the ends of the signal reflected.
  private func paddedSignal(
    _ block: Range<Int>, sampleCount: Int, samples: (Range<Int>) throws -> [Float]
  ) throws -> [Double] {
    let start = block.lowerBound * configuration.hopSize - padding
    let end = (block.upperBound - 1) * configuration.hopSize - padding + configuration.fftSize
    let last = sampleCount - 1
    // A place before the start lies as far behind it, a place behind the end as far before it.
    func reflected(_ place: Int) -> Int { place < 0 ? -place : place > last ? 2 * last - place : place }
    var low = max(start, 0)
    var high = min(end, sampleCount)
    if start < 0 { (low, high) = (0, max(high, 1 - start)) }
    if end > sampleCount { (low, high) = (min(low, reflected(end - 1)), sampleCount) }
    let part = try samples(low..<high)
    guard part.count == high - low else {
      throw ToeplitzError(
        .argument, Self.operation, expected: "\(high - low) samples for \(low..<high)", got: "\(part.count)")
    }
    let finite = tz_finite_prefix(part, part.count)
    guard finite == part.count else {
      throw ToeplitzError(
        .argument, Self.operation, expected: "finite samples", got: "\(part[finite]) at sample \(low + finite)")
    }
    return [Double](unsafeUninitializedCapacity: end - start) { signal, count in
      let inside = max(start, 0)..<min(end, sampleCount)
      if let target = signal.baseAddress {
        part.withUnsafeBufferPointer { part in
          if let source = part.baseAddress {
            tz_widen(source + (inside.lowerBound - low), inside.count, target + (inside.lowerBound - start))
          }
        }
        for place in start..<inside.lowerBound { target[place - start] = Double(part[reflected(place) - low]) }
        for place in inside.upperBound..<end { target[place - start] = Double(part[reflected(place) - low]) }
      }
      count = end - start
    }
  }

  /// Writes `count` frames as columns of a matrix whose rows are `rowStride` apart.
  private func compute(
    _ count: Int, of signal: [Double], into target: UnsafeMutablePointer<Float>, rowStride: Int
  ) {
    let size = configuration.fftSize
    let bins = fft.binCount
    let used = filters.usedBinCount
    let sumsEnd = size + 2 * bins + filters.filterCount
    let capacity = sumsEnd + fft.scratchCount
    withUnsafeTemporaryAllocation(of: Double.self, capacity: capacity) { memory in
      let frame = UnsafeMutableBufferPointer(rebasing: memory[..<size])
      let real = UnsafeMutableBufferPointer(rebasing: memory[size..<size + bins])
      let imaginary = UnsafeMutableBufferPointer(rebasing: memory[(size + bins)..<(size + 2 * bins)])
      let scratch = UnsafeMutableBufferPointer(rebasing: memory[sumsEnd...])
      guard let samples = memory.baseAddress else { return }
      let (magnitudes, lower, sums) = (samples + size, samples + size + bins, samples + size + 2 * bins)
      signal.withUnsafeBufferPointer { signal in
        guard let signal = signal.baseAddress else { return }
        for column in 0..<count {
          tz_multiply_doubles(window, signal + column * configuration.hopSize, size, samples)
          fft.transform(UnsafeBufferPointer(frame), real: real, imaginary: imaginary, scratch: scratch)
          tz_magnitudes(magnitudes, lower, used, 1e-9, magnitudes)
          filters.sum(over: magnitudes, into: sums)
          tz_logarithms(sums, filters.filterCount, 1e-5, target + column, rowStride)
        }
      }
    }
  }

  private static let operation = "MelSpectrogram"

  /// Checks the parameters and returns the highest frequency.
  private static func check(_ configuration: Configuration) throws -> Double {
    func require(_ condition: Bool, _ expected: String, _ got: String) throws {
      guard condition else { throw ToeplitzError(.argument, operation, expected: expected, got: got) }
    }
    let size = configuration.fftSize
    let rate = configuration.sampleRate
    try require((2...1 << 20).contains(size), "n_fft of 2 to \(1 << 20)", "\(size)")
    try require(
      (1...1 << 14).contains(configuration.melCount), "num_mels of 1 to \(1 << 14)",
      "\(configuration.melCount)")
    try require(
      AudioFile.sampleRates.contains(rate),
      "a sampling_rate of \(AudioFile.sampleRates.lowerBound) to \(AudioFile.sampleRates.upperBound)", "\(rate)")
    try require(
      (1...size).contains(configuration.hopSize), "hop_size of 1 to n_fft, \(size)",
      "\(configuration.hopSize)")
    try require(
      (1...size).contains(configuration.windowSize), "win_size of 1 to n_fft, \(size)",
      "\(configuration.windowSize)")
    let lowest = configuration.minimumFrequency
    let highest = configuration.maximumFrequency ?? Double(rate) / 2
    try require(
      lowest >= 0 && lowest < highest && highest <= Double(rate) / 2,
      "0 <= fmin < fmax <= \(Double(rate) / 2) Hz", "fmin \(lowest), fmax \(highest)")
    return highest
  }
}
