import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzONNX
import ToeplitzTensor

/// `toeplitz quantize`: a float32 model as one of int8 weights and uint8 activations.
struct QuantizeCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "quantize",
    abstract: "Make an ONNX model compute with int8.",
    discussion: """
      Puts QuantizeLinear and DequantizeLinear around convolutions and linear maps (static quantisation, QDQ form), with ranges \
      taken from the inputs in FOLDER, and prints the error that each layer adds, the model's size and its speed. Inputs are \
      files as `toeplitz run` takes them; a model of several inputs wants .npz files with a member for each.
      """)

  @Argument(help: "An ONNX model of float32 numbers.")
  var model: String

  @Option(help: "A folder of inputs like those that the model will see; some 100 are enough.")
  var data: String

  @Option(name: .shortAndLong, help: "The ONNX file to write.")
  var output: String

  @Option(help: "How many of the files to take at most.")
  var samples = 100

  @Option(
    help: "Take the ranges that hold this percentage of the numbers, such as 99.99, not the least and largest number.")
  var percentile: Double?

  @Flag(help: "One scale for each weight, not one for each output channel.")
  var perTensor = false

  @Option(
    name: .customLong("keep"),
    help: "A node, or an operator such as MatMul, to leave in float; 'NAME*' for all that begin so. May be repeated.")
  var kept: [String] = []

  @OptionGroup var options: ModelOptions

  @OptionGroup var images: ImageOptions

  @OptionGroup var sounds: AudioOptions

  func validate() throws {
    try options.validate()
    try images.validate()
    try sounds.validate()
    guard samples >= 1 else { throw ValidationError("--samples must be at least 1, not \(samples)") }
    if let percentile, !(percentile > 50 && percentile <= 100) {
      throw ValidationError("--percentile must be above 50 and at most 100, not \(percentile)")
    }
  }

  func execute() throws {
    _ = try options.apply()
    let float = try Executable(contentsOf: model)
    let inputs = try loaded(float)
    var settings = QuantizationOptions()
    if let percentile { settings.calibration = .percentile(percentile) }
    (settings.perChannel, settings.keptInFloat) = (!perTensor, kept)
    let (bytes, report) = try ONNXQuantizer.quantize(contentsOf: model, samples: inputs, options: settings)
    try AtomicFile.write(to: output) { try $0.write(bytes) }
    for line in table(report).lines { print(line) }
    for (name, error) in report.outputErrors { print("output \(name): error \(percent(error)) of its norm") }
    if let same = report.sameLargest { print("largest score where it was: \(percent(same))") }
    let (before, after) = report.byteCounts
    print(
      String(
        format: "%@: %d layers, %.2f MB instead of %.2f MB (%.2f times smaller), calibrated with %d samples", output,
        report.layers.count, Double(after) / 1e6, Double(before) / 1e6, Double(before) / Double(max(1, after)),
        report.sampleCount))
    let (old, new) = try times(float, Executable(onnx: bytes), inputs[0])
    print(String(format: "%.3f ms instead of %.3f ms (%.2f times faster)", new, old, old / new))
  }

  /// The inputs in the folder.
  private func loaded(_ executable: Executable) throws -> [[String: Tensor]] {
    let known: Set<String> = ["npy", "npz", "wav", "flac", "png", "jpg", "jpeg", "bmp", "pbm", "pgm", "ppm"]
    let files = try Folder.names(in: data)
      .filter { known.contains(($0 as NSString).pathExtension.lowercased()) }.prefix(samples)
    guard !files.isEmpty else {
      throw ToeplitzError(.file, data, expected: "files of inputs (.npy, .npz, sound or pictures)", got: "none")
    }
    return try files.map { name in
      let path = "\(data)/\(name)"
      guard executable.inputs.count != 1 || name.hasSuffix(".npz") else {
        let port = executable.inputs[0]
        return [port.name: try InputFile(path).tensor(for: port, images, sounds)]
      }
      return try Dictionary(
        executable.inputs.map { port in (port.name, try InputFile(path).tensor(for: port, images, sounds)) }
      ) { $1 }
    }
  }

  private func table(_ report: QuantizationReport) -> TextTable {
    var table = TextTable(columns: [
      ("layer", false), ("operator", false), ("range", true), ("own error", true), ("error so far", true),
    ])
    for layer in report.layers {
      table.rows.append([
        layer.name, layer.operation, String(format: "%.4g … %.4g", layer.low, layer.high), percent(layer.ownError),
        percent(layer.totalError),
      ])
    }
    return table
  }

  private func percent(_ value: Double) -> String { String(format: "%.2f %%", 100 * value) }

  /// Milliseconds of the fastest runs of two models, which take turns.
  private func times(
    _ first: Executable, _ second: Executable, _ sample: [String: Tensor]
  ) throws -> (Double, Double) {
    let clock = ContinuousClock()
    var best = (Duration.seconds(1000), Duration.seconds(1000))
    let end = clock.now + .seconds(1)
    repeat {
      best.0 = min(best.0, try clock.measure { _ = try first.run(sample) })
      best.1 = min(best.1, try clock.measure { _ = try second.run(sample) })
    } while clock.now < end
    return (best.0 / .milliseconds(1), best.1 / .milliseconds(1))
  }
}
