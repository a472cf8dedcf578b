import Foundation
import ToeplitzTensor

/// The configuration of a HiFi-GAN generator, as its authors write it into `config.json`.
public struct HiFiGANConfiguration: Sendable, Hashable {
  /// Which residual block: "1" (three pairs of convolutions) or "2" (two convolutions).
  public var resblock: String
  /// Factor of each upsampling stage.
  public var upsampleRates: [Int]
  /// Kernel of each upsampling stage.
  public var upsampleKernelSizes: [Int]
  /// Channels before the first stage; each stage halves them.
  public var upsampleInitialChannel: Int
  /// Kernel of each residual block of a stage.
  public var resblockKernelSizes: [Int]
  /// Dilations of each residual block of a stage.
  public var resblockDilationSizes: [[Int]]
  /// Mel bands.
  public var numMels: Int
  /// Points of the Fourier transform.
  public var fftSize: Int
  /// Samples between mel frames.
  public var hopSize: Int
  /// Samples of a window.
  public var windowSize: Int
  /// Samples a second.
  public var samplingRate: Int
  /// Lower edge of the lowest mel band in Hz.
  public var minimumFrequency: Double
  /// Upper edge of the highest mel band in Hz; half the sampling rate if nil.
  public var maximumFrequency: Double?

  /// The mel spectrogram that the generator was trained on.
  public var melConfiguration: MelSpectrogram.Configuration {
    MelSpectrogram.Configuration(
      fftSize: fftSize, melCount: numMels, sampleRate: samplingRate, hopSize: hopSize, windowSize: windowSize,
      minimumFrequency: minimumFrequency, maximumFrequency: maximumFrequency)
  }

  /// Reads a configuration file.
  ///
  /// - Throws: ``ToeplitzError`` that names the file and the first entry that is missing or not legal.
  public init(contentsOf path: String) throws {
    let file = try MappedFile(path: path)
    guard file.count <= 1 << 20 else {
      throw ToeplitzError(.format, path, expected: "a configuration of at most 1 MiB", got: "\(file.count) bytes")
    }
    do {
      self = try JSONDecoder().decode(Entries.self, from: Data(file.bytes)).configuration
    } catch let error as DecodingError {
      throw ToeplitzError(.format, path, expected: "a HiFi-GAN configuration", got: Self.explain(error))
    }
    try check(path)
  }

  private static func explain(_ error: DecodingError) -> String {
    func name(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
    switch error {
    case .keyNotFound(let key, _): return "no entry \"\(key.stringValue)\""
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      return "a value of another type at \"\(name(context.codingPath))\""
    case .dataCorrupted: return "text that is not valid JSON"
    @unknown default: return "text that is not valid"
    }
  }

  /// The entries as they are spelt in the file.
  private struct Entries: Decodable {
    var resblock: String
    var upsampleRates: [Int]
    var upsampleKernelSizes: [Int]
    var upsampleInitialChannel: Int
    var resblockKernelSizes: [Int]
    var resblockDilationSizes: [[Int]]
    var numMels: Int
    var fftSize: Int
    var hopSize: Int
    var winSize: Int
    var samplingRate: Int
    var fmin: Double
    var fmax: Double?

    enum CodingKeys: String, CodingKey {
      case resblock, fmin, fmax
      case upsampleRates = "upsample_rates"
      case upsampleKernelSizes = "upsample_kernel_sizes"
      case upsampleInitialChannel = "upsample_initial_channel"
      case resblockKernelSizes = "resblock_kernel_sizes"
      case resblockDilationSizes = "resblock_dilation_sizes"
      case numMels = "num_mels"
      case fftSize = "n_fft"
      case hopSize = "hop_size"
      case winSize = "win_size"
      case samplingRate = "sampling_rate"
    }

    var configuration: HiFiGANConfiguration {
      HiFiGANConfiguration(self)
    }
  }

  private init(_ entries: Entries) {
    resblock = entries.resblock
    upsampleRates = entries.upsampleRates
    upsampleKernelSizes = entries.upsampleKernelSizes
    upsampleInitialChannel = entries.upsampleInitialChannel
    resblockKernelSizes = entries.resblockKernelSizes
    resblockDilationSizes = entries.resblockDilationSizes
    numMels = entries.numMels
    fftSize = entries.fftSize
    hopSize = entries.hopSize
    windowSize = entries.winSize
    samplingRate = entries.samplingRate
    minimumFrequency = entries.fmin
    maximumFrequency = entries.fmax
  }

  /// Refuses what no generator can be built from, before anything is allocated.
  private func check(_ path: String) throws {
    func require(_ condition: Bool, _ expected: String, _ got: @autoclosure () -> String) throws {
      if !condition { throw ToeplitzError(.format, path, expected: expected, got: got()) }
    }
    try require(resblock == "1" || resblock == "2", "resblock \"1\" or \"2\"", "\"\(resblock)\"")
    let sizes = upsampleRates + upsampleKernelSizes + resblockKernelSizes + resblockDilationSizes.joined()
    try require(sizes.allSatisfy { (1...4096).contains($0) }, "rates, kernels and dilations in 1...4096", "\(sizes)")
    try require(
      (1...16).contains(upsampleRates.count) && upsampleRates.count == upsampleKernelSizes.count,
      "as many upsample_rates as upsample_kernel_sizes, 1 to 16",
      "\(upsampleRates.count) and \(upsampleKernelSizes.count)")
    try require(
      zip(upsampleRates, upsampleKernelSizes).allSatisfy { $1 >= $0 && ($1 - $0) % 2 == 0 || $1 == 2 * $0 },
      "upsample kernels that exceed their rate by an even number or are twice it",
      "\(upsampleKernelSizes) for \(upsampleRates)")
    try require(
      (1...64).contains(resblockKernelSizes.count) && resblockKernelSizes.count == resblockDilationSizes.count,
      "as many resblock_kernel_sizes as resblock_dilation_sizes, 1 to 64",
      "\(resblockKernelSizes.count) and \(resblockDilationSizes.count)")
    try require(
      resblockKernelSizes.allSatisfy { $0 % 2 == 1 }, "odd resblock_kernel_sizes", "\(resblockKernelSizes)")
    try require(
      resblockDilationSizes.allSatisfy { (1...16).contains($0.count) }, "1 to 16 dilations for each residual block",
      "\(resblockDilationSizes)")
    try require(
      upsampleInitialChannel >= 1 << upsampleRates.count && upsampleInitialChannel <= 1 << 16,
      "upsample_initial_channel in \(1 << upsampleRates.count)...65536", "\(upsampleInitialChannel)")
    try require((1...4096).contains(numMels), "num_mels in 1...4096", "\(numMels)")
    let factor = upsampleRates.reduce(1) { $0 > 1 << 20 ? $0 : $0 * $1 }
    try require(factor == hopSize, "upsample_rates whose product is hop_size \(hopSize)", "\(factor)")
    // The front end checks the rest of its options itself.
    _ = try MelSpectrogram(melConfiguration)
  }
}
