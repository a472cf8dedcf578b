import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzModels
import ToeplitzONNX

/// `toeplitz export`: a network as an ONNX model.
struct ExportCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write a HiFi-GAN generator as an ONNX model.",
    discussion: """
      Traces the generator for a number of mel frames and writes an ONNX model (opset 18) that other programs run. \
      Without --model it is the bundled generator.
      """)

  @Argument(help: "The ONNX file to write.")
  var output: String

  @Option(
    name: .shortAndLong,
    help: "A folder with config.json and the weights in any format, or one of these files with the other beside it.")
  var model: String?

  @Option(help: "How many mel frames the model takes.")
  var frames = 100

  func validate() throws {
    guard (1...100_000).contains(frames) else {
      throw ValidationError("--frames must be from 1 to 100000, not \(frames)")
    }
  }

  func execute() throws {
    let generator = try Vocoder(contentsOf: try model ?? Bundled.folder()).generator
    let mel = try Generator(seed: 1).uniform([1, generator.configuration.numMels, frames], from: -1, to: 1)
    try generator.exportONNX(to: output, input: mel)
    let size = try FileManager.default.attributesOfItem(atPath: output)[.size] as? Int ?? 0
    print("\(output): \(size) bytes, x float32\(mel.shape)")
  }
}
