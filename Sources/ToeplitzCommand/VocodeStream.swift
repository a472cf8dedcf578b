import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzModels

/// How samples without a header are stored.
enum RawEncoding: String, ExpressibleByArgument, CaseIterable {
  /// Integers of 16 bits.
  case s16
  /// Floating-point numbers of 32 bits.
  case f32

  var encoding: WAVWriter.Encoding { self == .s16 ? .int16 : .float32 }
}

/// The options of `toeplitz vocode --stream`.
struct VocodeStreamOptions: ParsableArguments {
  @Flag(help: "Vocode the sound as it comes, from a file or a pipe. The samples are those of a run without this.")
  var stream = false

  @Option(
    help: """
      With --stream: the input is samples without a header, little-endian, and so is the output unless its name ends in .wav.
      """)
  var raw: RawEncoding?

  @Option(help: "With --raw: samples a second of the input.")
  var rate: Int?

  @Option(help: "With --raw: channels of the input, which are mixed. (default: 1)")
  var channels: Int?

  @Option(help: "With --stream: spectrogram frames to vocode at a time; fewer delay less. (default: 8)")
  var frames: Int?

  func validate() throws {
    guard stream || (raw == nil && rate == nil && channels == nil && frames == nil) else {
      throw ValidationError("--raw, --rate, --channels and --frames go with --stream")
    }
    guard raw != nil || (rate == nil && channels == nil) else {
      throw ValidationError("--rate and --channels go with --raw: a WAV says them")
    }
    if let frames, !(1...100_000).contains(frames) {
      throw ValidationError("--frames must be in 1...100000, not \(frames)")
    }
  }

  /// What the samples are that have no header.
  fileprivate func format() throws -> AudioReader.RawFormat? {
    guard let raw else { return nil }
    guard let rate else {
      throw ToeplitzError(
        .argument, "--raw", expected: "--rate HZ, the samples a second of the input", got: "none")
    }
    return AudioReader.RawFormat(encoding: raw.encoding, sampleRate: rate, channelCount: channels ?? 1)
  }
}

/// A run of `toeplitz vocode --stream`.
struct VocodeStream {
  private let options: VocodeStreamOptions
  private let path: String
  private let output: String
  private let isFloat: Bool
  private let show: (Double) -> Void

  /// - Parameter show: shows the fraction that is done.
  init(
    _ options: VocodeStreamOptions, from path: String, to output: String, float: Bool, show: @escaping (Double) -> Void
  ) {
    (self.options, self.path, self.output, isFloat, self.show) = (options, path, output, float, show)
  }

  func run(_ vocoder: Vocoder) throws {
    let format = try options.format()
    let interruption = Interruption()
    let reader = try AudioReader(path: path, raw: format, stop: interruption.descriptor)
    for warning in reader.warnings { StandardStreams.warn("\(path): \(warning)") }
    let isRaw = format != nil && !output.lowercased().hasSuffix(".wav")
    let encoding = isRaw ? format?.encoding ?? .int16 : isFloat ? .float32 : .int16
    let writer = try WAVWriter(
      path: StandardStreams.output(output), sampleRate: vocoder.sampleRate, encoding: encoding, isRaw: isRaw)
    var stream = try vocoder.makeStream(from: reader.sampleRate, framesPerStep: options.frames ?? 8)
    if let count = reader.expectedFrameCount {
      let resampled = try Resampler(from: reader.sampleRate, to: vocoder.sampleRate).outputCount(inputCount: count)
      writer.expectedFrameCount =
        try vocoder.mel.frameCount(sampleCount: resampled) * vocoder.mel.configuration.hopSize
    }
    let clock = ContinuousClock()
    let start = clock.now
    let known = reader.warnings.count
    while !interruption.isRequested, let samples = try reader.readMono(atMost: 1 << 14) {
      let made = try stream.append(samples)
      if !made.isEmpty { try writer.append(made) }
      if let count = reader.expectedFrameCount { show(Double(reader.frameCount) / Double(count)) }
    }
    // Broken off, it has fewer than were expected; a header that has gone out stays as it is.
    try writer.append(stream.finish())
    try writer.finish(allowsFewer: interruption.isRequested)
    for warning in reader.warnings.dropFirst(known) { StandardStreams.warn("\(path): \(warning)") }
    let seconds = (clock.now - start) / .seconds(1)
    let length = Double(stream.sampleCount) / Double(vocoder.sampleRate)
    let delay = Double(stream.plan.latency) / Double(vocoder.sampleRate) * 1000
    StandardStreams.report(
      String(
        format: "%@: %.2f s of audio in %.3f s, %.1f times real time, %.1f ms behind the spectrogram%@", output, length,
        seconds, length / seconds, delay, interruption.isRequested ? ", broken off" : ""),
      outputs: [output])
  }
}
