import ArgumentParser
import Toeplitz
import ToeplitzGraph
import ToeplitzModels

/// How sound becomes numbers.
struct AudioOptions: ParsableArguments {
  @Option(help: "The sample rate in hertz that the model wants; sound of another rate is resampled.")
  var rate: Int?

  func validate() throws {
    if let rate, !AudioFile.sampleRates.contains(rate) {
      let legal = AudioFile.sampleRates
      throw ValidationError("--rate must be from \(legal.lowerBound) to \(legal.upperBound), not \(rate)")
    }
  }
}

/// Sound as the input of a model.
struct InputAudio {
  /// Where samples and channels lie in the input.
  private struct Layout {
    var rank: Int
    /// The axis of the channels; nil in a signal without.
    var channelAxis: Int?
    var timeAxis: Int { channelAxis == rank - 1 ? rank - 2 : rank - 1 }
    /// The channels that the model wants; nil if it takes any number.
    var channels: Int?

    /// At most so many channels a model is taken to have whose last axis, behind one of any length, is fixed.
    private static let mostChannels = 8

    init(_ dimensions: [AxisSize]?) {
      let dimensions = dimensions ?? [.any, .any, .any]
      rank = dimensions.count
      guard rank > 1 else {
        channels = 1
        return
      }
      // [N, C, T] or [C, T], or the channels last.
      var axis = rank - 2
      if case .fixed(let last) = dimensions[rank - 1], last <= Self.mostChannels {
        if case .fixed = dimensions[rank - 2] {} else { axis = rank - 1 }
      }
      channelAxis = axis
      switch dimensions[axis] {
      case .fixed(let count): channels = count
      // Recordings, each of one channel.
      case .symbol(let name) where rank == 2 && axis == 0 && Self.isBatch(name): channels = 1
      default: break
      }
    }

    private static func isBatch(_ name: String) -> Bool {
      let name = name.lowercased()
      return name.contains("batch") || ["n", "b", "bs"].contains(name)
    }
  }

  private let file: AudioFile
  private let path: String

  init(_ path: String) throws {
    self.path = path
    file = try AudioFile(path: path)
  }

  /// The samples in the shape that an input has.
  ///
  /// - Throws: ``ToeplitzError`` if the file cannot be read or has other channels than the input.
  func tensor(for port: PortDescription?, _ options: AudioOptions) throws -> Tensor {
    let name = port.map { "input '\($0.name)'" } ?? "the input"
    let layout = Layout(port?.dimensions)
    guard (1...3).contains(layout.rank) else {
      throw ToeplitzError(.shape, path, expected: "an input of 1 to 3 dimensions for sound", got: "\(layout.rank)")
    }
    for warning in file.warnings { StandardStreams.warn("\(path): \(warning)") }
    if options.rate == nil {
      StandardStreams.warn(
        "\(path): \(file.sampleRate) Hz are taken as they are; --rate HZ resamples to what the model wants")
    }
    let channels = try resampled(samples(layout.channels ?? file.channelCount, name), options.rate)
    let length = channels.first?.count ?? 0
    if let dimensions = port?.dimensions, case .fixed(let fixed) = dimensions[layout.timeAxis], fixed != length {
      throw ToeplitzError(
        .shape, path, expected: "\(fixed) samples, as \(name) has",
        got: "\(length) (--rate resamples, \"ffmpeg -i IN -t SECONDS OUT.wav\" cuts)")
    }
    var shape = Array(repeating: 1, count: layout.rank)
    var elements: [Float]
    shape[layout.timeAxis] = length
    if let axis = layout.channelAxis { shape[axis] = channels.count }
    if layout.timeAxis < layout.rank - 1 {
      elements = Array(repeating: 0, count: length * channels.count)
      for (index, channel) in channels.enumerated() {
        for (position, sample) in channel.enumerated() { elements[position * channels.count + index] = sample }
      }
    } else {
      elements = channels.count == 1 ? channels[0] : Array(channels.joined())
    }
    let tensor = try Tensor(elements).reshaped(TensorShape(shape))
    guard let dtype = port?.dtype, dtype.isFloatingPoint else { return tensor }
    return try tensor.cast(to: dtype)
  }

  /// So many channels of the file: its own, their mean for one, or the only one repeated.
  private func samples(_ count: Int, _ name: String) throws -> [[Float]] {
    if count == file.channelCount { return try file.read() }
    if count == 1 {
      StandardStreams.warn("\(path): the mean of \(file.channelCount) channels is taken for the one of \(name)")
      return [try file.readMono()]
    }
    guard file.channelCount == 1, count >= 1 else {
      throw ToeplitzError(
        .shape, path, expected: "sound of \(count) channels, as \(name) has, or of one",
        got: "\(file.channelCount) (\"ffmpeg -i IN -ac \(count) OUT.wav\" mixes them)")
    }
    // A model may ask for any number.
    guard count <= 1024 else {
      throw ToeplitzError(.shape, path, expected: "an input of at most 1024 channels for sound", got: "\(count)")
    }
    return Array(repeating: try file.readMono(), count: count)
  }

  private func resampled(_ channels: [[Float]], _ rate: Int?) throws -> [[Float]] {
    guard let rate, rate != file.sampleRate else { return channels }
    let resampler = try Resampler(from: file.sampleRate, to: rate)
    return try channels.map { try resampler($0) }
  }
}
