import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzModels

/// How outputs are written.
struct OutputOptions: ParsableArguments {
  @Option(
    name: .customLong("output"),
    help: "Where to write an output, as NAME=FILE or NAME=- for standard output; may be repeated.")
  var outputs: [String] = []

  @Option(help: "The format of --output: npy or wav. (default: wav for names that end so, else npy)")
  var format: OutputFile.Format?

  @Option(help: "The sample rate of sound that is written, in hertz. (default: that of --rate)")
  var outputRate: Int?

  func validate() throws {
    for output in outputs where !output.dropFirst().contains("=") {
      throw ValidationError("--output takes NAME=FILE, not \(output)")
    }
    if let outputRate, !AudioFile.sampleRates.contains(outputRate) {
      let legal = AudioFile.sampleRates
      throw ValidationError("--output-rate must be from \(legal.lowerBound) to \(legal.upperBound), not \(outputRate)")
    }
  }
}

/// A file for an output of a model.
struct OutputFile {
  /// The formats that are written.
  enum Format: String, ExpressibleByArgument, CaseIterable {
    case npy, wav
  }

  /// As it was given.
  let name: String
  private let path: String
  private let format: Format
  private let rate: Int?

  /// - Parameter rate: the sample rate if it becomes sound.
  init(_ name: String, format: Format?, rate: Int?) {
    self.name = name
    path = StandardStreams.output(name)
    self.format = format ?? ((name as NSString).pathExtension.lowercased() == "wav" ? .wav : .npy)
    self.rate = rate
  }

  /// Throws unless the file's format can hold the tensor, before anything is written.
  func check(_ tensor: Tensor) throws {
    switch format {
    case .npy: try NumPy.check(tensor, for: path)
    case .wav: _ = try channels(of: tensor.spec)
    }
  }

  /// Writes the tensor.
  func write(_ tensor: Tensor) throws {
    guard format == .wav else { return try NumPy.write(tensor, to: path) }
    let (rate, count, isPlanar) = try channels(of: tensor.spec)
    let samples = try tensor.cast(to: .float32).scalars(Float.self)
    let writer = try WAVWriter(path: path, sampleRate: rate, channelCount: count, encoding: .float32)
    let frames = samples.count / count
    writer.expectedFrameCount = frames
    if isPlanar {
      try writer.append(planar: (0..<count).map { Array(samples[$0 * frames..<($0 + 1) * frames]) })
    } else {
      try writer.append(samples)
    }
    try writer.finish()
  }

  /// What a tensor is as sound: the shorter of its axes that are not 1 is that of the channels.
  private func channels(of spec: TensorSpec) throws -> (rate: Int, count: Int, isPlanar: Bool) {
    let sizes = spec.shape.filter { $0 != 1 }
    guard spec.dtype.isFloatingPoint, sizes.count <= 2, !sizes.contains(0) else {
      throw ToeplitzError(
        .shape, name, expected: "floating-point numbers [N, C, T], [C, T] or [T] with one recording for a WAV file",
        got: "\(spec)")
    }
    guard let rate else {
      throw ToeplitzError(.argument, name, expected: "--output-rate or --rate for a WAV file", got: "neither")
    }
    guard sizes.count == 2 else { return (rate, 1, true) }
    return (rate, min(sizes[0], sizes[1]), sizes[0] <= sizes[1])
  }
}
