import Foundation
import ToeplitzCheckpoint
import ToeplitzNN
import ToeplitzTensor

/// What the numbers in a checkpoint mean and where training was.
public struct TrainingProgress: Sendable, Hashable, Codable {
  /// Updates so far.
  public var step = 0
  /// The epoch that the next batch belongs to.
  public var epoch = 0
  /// Samples of that epoch that have been visited.
  public var position = 0
  /// The best validation so far, if there has been one.
  public var best: Double?
  /// Validations since the best one.
  public var worse = 0
  /// What a run must share with the checkpoint that it goes on from.
  public var settings: [String: String] = [:]
}

extension TrainingProgress {
  static let format = "toeplitz.training.1"
  /// A setting that checkpoints lack which are older than it; theirs was 1.
  static let shardsSetting = "shards"

  /// Takes over a checkpoint.
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` if it is of a run with other settings, which it names, or of another model.
  static func restored(
    _ stored: Checkpoint, model: Module, optimizer: Optimizer, average: ExponentialMovingAverage?,
    settings: [String: String]
  ) throws -> TrainingProgress {
    guard stored.metadata["format"] == format, let text = stored.metadata["progress"],
      var progress = try? JSONDecoder().decode(TrainingProgress.self, from: Data(text.utf8))
    else {
      throw ToeplitzError(
        .checkpoint, stored.source, expected: "a checkpoint of a run (\(format))", got: "another file")
    }
    progress.settings[shardsSetting] = progress.settings[shardsSetting] ?? "1"
    for (name, value) in settings.sorted(by: { $0.key < $1.key }) where progress.settings[name] != value {
      throw ToeplitzError(
        .checkpoint, stored.source, expected: "the run's \(name) \(progress.settings[name] ?? "(none)")",
        got: "\(value); use another folder for another run")
    }
    func part(_ prefix: String) throws -> [String: Tensor] {
      let inner = stored.inside(prefix)
      return try inner.names.reduce(into: [:]) { $0[$1] = try inner.tensor($1).copied() }
    }
    try model.load(part("model"))
    try optimizer.load(part("optimizer"), for: model)
    try average?.load(part("average"))
    return progress
  }
}

/// The files of a run: checkpoints, the best weights, metrics.
public struct RunFolder: Sendable {
  /// The folder.
  public let path: String
  /// How many checkpoints are kept.
  public let kept: Int
  /// A folder, which is made if it is not there.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be made.
  public init(_ path: String, kept: Int = 2) throws {
    (self.path, self.kept) = (path, max(1, kept))
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw ToeplitzError(.file, path, expected: "a folder, or a place where one can be made", got: "neither")
    }
  }

  /// The file of this name in the folder.
  public func file(_ name: String) -> String { URL(fileURLWithPath: path).appending(path: name).path }

  /// The checkpoints, the one of most steps first.
  public func checkpoints() -> [(step: Int, path: String)] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return names.compactMap { name -> (step: Int, path: String)? in
      guard name.hasPrefix("checkpoint-"), name.hasSuffix(".safetensors"),
        let step = Int(name.dropFirst("checkpoint-".count).dropLast(".safetensors".count))
      else { return nil }
      return (step, file(name))
    }.sorted { $0.step > $1.step }
  }

  /// Removes what a run that was killed while it wrote a file has left of it.
  func removeLeftovers() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] where AtomicFile.isLeftover(name) {
      try? FileManager.default.removeItem(atPath: file(name))
    }
  }

  /// Writes a checkpoint aside, gives it its name when it is complete, and removes the oldest ones.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be written.
  public func write(
    _ progress: TrainingProgress, model: Module, optimizer: Optimizer, average: ExponentialMovingAverage? = nil
  ) throws {
    var tensors: [String: Tensor] = [:]
    for (name, tensor) in model.stateDictionary() { tensors["model.\(name)"] = tensor }
    for (name, tensor) in try optimizer.stateDictionary(of: model) { tensors["optimizer.\(name)"] = tensor }
    for (name, tensor) in average?.stateDictionary() ?? [:] { tensors["average.\(name)"] = tensor }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let text: String
    do {
      text = String(decoding: try encoder.encode(progress), as: UTF8.self)
    } catch {
      throw ToeplitzError(.file, path, expected: "progress that JSON can hold", got: "\(progress)")
    }
    let name = "checkpoint-" + String(repeating: "0", count: max(0, 8 - "\(progress.step)".count)) + "\(progress.step)"
    try Safetensors.write(
      tensors, metadata: ["format": TrainingProgress.format, "progress": text], to: file("\(name).safetensors"))
    for old in checkpoints().dropFirst(kept) { try? FileManager.default.removeItem(atPath: old.path) }
  }

  /// Takes over the newest checkpoint; nil if there is none.
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` if it is of a run with other settings, which it names, or of another model.
  public func restore(
    model: Module, optimizer: Optimizer, average: ExponentialMovingAverage? = nil, settings: [String: String]
  ) throws -> TrainingProgress? {
    guard let newest = checkpoints().first else { return nil }
    return try TrainingProgress.restored(
      Checkpoint(contentsOf: newest.path), model: model, optimizer: optimizer, average: average, settings: settings)
  }

  /// The bytes of the newest checkpoint; nil if there is none.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be read.
  func newestCheckpoint() throws -> [UInt8]? {
    try checkpoints().first.map { newest in
      let file = try MappedFile(path: newest.path)
      return withExtendedLifetime(file) { Array(file.bytes) }
    }
  }

  /// Writes a model's weights under PyTorch's names.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if they cannot be written.
  public func writeWeights(of model: Module, as name: String) throws {
    try Safetensors.write(model.stateDictionary(), metadata: ["format": "pt"], to: file(name))
  }

  // MARK: Metrics

  /// Writes `report.html`, a page that needs no other file, and a picture of each curve.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if a file cannot be written.
  public func writeReport(title: String, settings: [String: String]) throws {
    let metrics = (try? String(contentsOfFile: metricsFile, encoding: .utf8)) ?? ""
    try RunReport(metrics: metrics, title: title, settings: settings).write(to: self)
  }

  private var metricsFile: String { file("metrics.jsonl") }

  /// Adds a line of numbers to `metrics.jsonl`; those that are not finite become null.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be written.
  public func append(step: Int, _ metrics: [String: Double]) throws {
    let entries = metrics.sorted { $0.key < $1.key }.map {
      "\"\($0.key)\":\($0.value.isFinite ? "\($0.value)" : "null")"
    }
    let line = "{" + (["\"step\":\(step)"] + entries).joined(separator: ",") + "}\n"
    if !FileManager.default.fileExists(atPath: metricsFile) {
      _ = FileManager.default.createFile(atPath: metricsFile, contents: nil)
    }
    do {
      let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: metricsFile))
      defer { try? handle.close() }
      try handle.seekToEnd()
      try handle.write(contentsOf: Data(line.utf8))
    } catch {
      throw ToeplitzError(.file, metricsFile, expected: "a file that can be written", got: error.localizedDescription)
    }
  }

  /// Removes lines of steps after `step`, which a run that goes on from there will write again, and half a line at the end.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be written.
  public func forgetMetrics(after step: Int) throws {
    guard let text = try? String(contentsOfFile: metricsFile, encoding: .utf8) else { return }
    struct Line: Decodable { var step: Int }
    let kept = text.split(separator: "\n").filter { line in
      (try? JSONDecoder().decode(Line.self, from: Data(line.utf8))).map { $0.step <= step } ?? false
    }
    try AtomicFile.write(to: metricsFile) { file in for line in kept { try file.write(line + "\n") } }
  }
}
