import Foundation
import ToeplitzModels
import ToeplitzOps
import ToeplitzTensor

/// The recordings in a folder, of which training sees segments at random places.
///
/// WAV and FLAC files, also in folders inside, in the order of their paths. Recordings of another rate are resampled where they
/// are read, channels averaged; one that is shorter than a segment gets zeros behind it. A batch is one tensor `[N, segment]`.
public struct SoundFolder: Dataset, Sendable {
  /// The paths of the recordings.
  public let paths: [String]
  /// Samples a second.
  public let sampleRate: Int
  /// Samples of a segment.
  public let segment: Int
  private let recordings: [Recording]

  /// A recording with what brings it to the wanted rate.
  private struct Recording {
    let file: AudioFile
    let resampler: Resampler
    let count: Int

    init(_ path: String, rate: Int) throws {
      file = try AudioFile(path: path)
      resampler = try Resampler(from: file.sampleRate, to: rate)
      count = try resampler.outputCount(inputCount: file.frameCount)
    }

    func samples(_ range: Range<Int>) throws -> [Float] {
      try resampler.outputs(range, inputCount: file.frameCount) { try file.readMono(frames: $0) }
    }
  }

  /// Opens the recordings in a folder.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if there is no folder, `argument` if it holds no recording or the segment is
  ///   empty, `format` if a recording is damaged.
  public init(_ folder: String, sampleRate: Int, segment: Int) throws {
    guard segment > 0 else {
      throw ToeplitzError(.argument, folder, expected: "segments of at least 1 sample", got: "\(segment)")
    }
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue,
      let names = FileManager.default.enumerator(atPath: folder)
    else {
      throw ToeplitzError(
        .file, folder, expected: "a folder of recordings", got: isFolder.boolValue ? "one that cannot be read" : "none")
    }
    paths = names.compactMap { $0 as? String }
      .filter { name in [".wav", ".flac"].contains { name.lowercased().hasSuffix($0) } }
      .sorted().map { URL(fileURLWithPath: folder).appending(path: $0).path }
    guard !paths.isEmpty else {
      throw ToeplitzError(.argument, folder, expected: "WAV or FLAC files", got: "none")
    }
    (self.sampleRate, self.segment) = (sampleRate, segment)
    recordings = try paths.map { try Recording($0, rate: sampleRate) }
  }

  /// How many recordings there are.
  public var count: Int { recordings.count }

  /// Seconds of all recordings together.
  public var duration: Double { recordings.reduce(0) { $0 + Double($1.count) / Double(sampleRate) } }

  /// The first samples of a recording, as many as there are but at most `most`.
  public func beginning(_ index: Int, most: Int) throws -> [Float] {
    try recordings[index].samples(0..<min(most, recordings[index].count))
  }

  /// A segment of each of the given recordings, at a place drawn at random.
  public func batch(_ indices: [Int], random: inout RandomSource) throws -> [Tensor] {
    var samples: [Float] = []
    samples.reserveCapacity(indices.count * segment)
    for index in indices {
      let recording = recordings[index]
      let draw = random.nextUnit()
      let room = recording.count - segment
      let first = room > 0 ? min(room, Int(draw * Double(room + 1))) : 0
      let part = try recording.samples(first..<min(recording.count, first + segment))
      samples += part + [Float](repeating: 0, count: segment - part.count)
    }
    return [try Tensor(samples, shape: [indices.count, segment], device: .cpu)]
  }
}
