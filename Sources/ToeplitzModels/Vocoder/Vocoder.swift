import Foundation
import ToeplitzCheckpoint
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// A HiFi-GAN generator with the front end it was trained on: speech in, the same speech resynthesised out.
///
/// ```swift
/// let vocoder = try Vocoder(contentsOf: "model-folder")
/// try vocoder.resynthesize(AudioFile(path: "speech.wav"), to: WAVWriter(path: "out.wav", sampleRate: vocoder.sampleRate))
/// ```
public final class Vocoder {
  /// The network.
  public let generator: HiFiGANGenerator
  /// Where in the checkpoint the weights were found, and what else loading them found.
  public let loadReport: LoadReport
  /// The generator, compiled.
  private let compiled: CompiledModule<HiFiGANGenerator>
  /// The front end.
  public let mel: MelSpectrogram
  /// Mel frames that are computed at a time.
  ///
  /// At least 1. Memory grows with it; the result does not depend on it.
  public var windowFrames = 256

  /// Samples a second of the output.
  public var sampleRate: Int { generator.configuration.samplingRate }

  /// Loads `config.json` and the weights.
  ///
  /// - Parameter path: a folder that holds both, or one of the two files, the other lying beside it.
  /// - Throws: ``ToeplitzError`` that names the file and what is wrong in it.
  public convenience init(contentsOf path: String) throws {
    let (configuration, weights) = try Self.locate(path)
    try self.init(configuration: configuration, weights: weights)
  }

  /// Loads a configuration and weights from the given files.
  public init(configuration: String, weights: String) throws {
    let configuration = try HiFiGANConfiguration(contentsOf: configuration)
    let checkpoint = try Checkpoint(contentsOf: weights)
    mel = try MelSpectrogram(configuration.melConfiguration)
    generator = try HiFiGANGenerator(configuration, generator: .zeros)
    loadReport = try generator.load(checkpoint)
    generator.eval()
    compiled = generator.compiled()
  }

  /// The configuration and weights that `path` means.
  package static func locate(_ path: String) throws -> (configuration: String, weights: String) {
    let url = URL(fileURLWithPath: path)
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw ToeplitzError(
        .file, path, expected: "a model folder, a config.json or a checkpoint", got: "nothing there")
    }
    let folder = isFolder.boolValue ? url : url.deletingLastPathComponent()
    let configuration = url.pathExtension == "json" ? url : folder.appending(path: "config.json")
    if !isFolder.boolValue, url.pathExtension != "json" { return (configuration.path, url.path) }
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    let weights = try weights(in: folder, files)
    return (configuration.path, folder.appending(path: weights).path)
  }

  /// The file that holds the generator's weights; what a file holds its first bytes tell.
  private static func weights(in folder: URL, _ files: [String]) throws -> String {
    let safetensors = files.filter { $0.hasSuffix(".safetensors") }
    if let usual = ["generator.safetensors", "model.safetensors"].first(where: safetensors.contains) { return usual }
    if safetensors.count == 1 { return safetensors[0] }
    // The training script saves `g_00010000` and, with discriminators and optimisers, `do_00010000`.
    let others = files.filter { name in
      guard !name.hasPrefix("do_"), !name.hasSuffix(".npy"),
        let file = try? MappedFile(path: folder.appending(path: name).path)
      else { return false }
      return CheckpointFormat(file.bytes).isTensors
    }
    let newest = others.filter { $0.hasPrefix("g_") }.last
    let usual = ["generator.pt", "generator.pth", "model.pt", "model.pth", "pytorch_model.bin"]
    if let found = usual.first(where: others.contains) ?? newest ?? (others.count == 1 ? others[0] : nil) {
      return found
    }
    throw ToeplitzError(
      .file, folder.path, expected: "one file with weights (safetensors, PyTorch's or npz); give its path to choose it",
      got: others.isEmpty ? "none" : others.joined(separator: ", "))
  }

  /// Analyses a recording of any rate and channel count and writes its resynthesis, window after window.
  ///
  /// The result is the same to the bit for every ``windowFrames``.
  ///
  /// - Parameter progress: called with the fraction done after each window.
  /// - Returns: The number of samples written.
  /// - Throws: ``ToeplitzError`` if the recording is too short or unreadable, or the output cannot be written;
  ///   nothing is left at the output's path then, unless it is a pipe.
  @discardableResult
  public func resynthesize(
    _ recording: AudioFile, to writer: WAVWriter, progress: (Double) -> Void = { _ in }
  ) throws -> Int {
    guard windowFrames >= 1 else {
      throw ToeplitzError(.argument, "Vocoder", expected: "windowFrames of at least 1", got: "\(windowFrames)")
    }
    let resampler = try Resampler(from: recording.sampleRate, to: sampleRate)
    let count = try resampler.outputCount(inputCount: recording.frameCount)
    let frames = try mel.frameCount(sampleCount: count)
    let context = generator.contextFrames
    var written = 0
    let hop = generator.configuration.hopSize
    writer.expectedFrameCount = writer.frameCount + frames * hop
    for first in stride(from: 0, to: frames, by: windowFrames) {
      let last = min(first + windowFrames, frames)
      let window = max(0, first - context)..<min(frames, last + context)
      let input = try mel.frames(window, sampleCount: count) { range in
        try resampler.outputs(range, inputCount: recording.frameCount) { try recording.readMono(frames: $0) }
      }
      let samples = try compiled(input)
        .slice(axis: 2, ((first - window.lowerBound) * hop)..<((last - window.lowerBound) * hop))
      try writer.append(samples.reshaped([-1]).scalars(Float.self))
      written += (last - first) * hop
      progress(Double(last) / Double(frames))
    }
    try writer.finish()
    return written
  }
}
