import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzModels
import ToeplitzONNX
import ToeplitzTensor

/// `toeplitz export`: a network as an ONNX model.
struct ExportCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write a HiFi-GAN generator, or single steps of any ONNX model, as an ONNX model.",
    discussion: """
      Traces the generator for a number of mel frames and writes an ONNX model (opset 18) that other programs run. \
      Without --model it is the bundled generator. With --chunk it is a model of single steps, which takes its states as \
      inputs and gives those of the next step; its metadata say which belong together. --model may name an ONNX model then, \
      along whose last open axis steps are made.
      """)

  @Argument(help: "The ONNX file to write, or - for standard output.")
  var output: String

  @Option(
    name: .shortAndLong,
    help: """
      A folder with config.json and the weights in any format, or one of these files with the other beside it; with --chunk \
      also an ONNX model.
      """)
  var model: String?

  @Option(help: "How many mel frames the model takes.")
  var frames = 100

  @Option(help: "Write a model of single steps, each of so many mel frames, or positions of the model's input.")
  var chunk: Int?

  func validate() throws {
    if let chunk, !(1...10_000).contains(chunk) {
      throw ValidationError("--chunk must be from 1 to 10000, not \(chunk)")
    }
    guard (1...100_000).contains(frames) else {
      throw ValidationError("--frames must be from 1 to 100000, not \(frames)")
    }
  }

  func execute() throws {
    if let model, (model as NSString).pathExtension.lowercased() == "onnx" {
      guard let chunk else {
        throw ToeplitzError(
          .argument, "export", expected: "--chunk, for steps of an ONNX model", got: "\(model) without it")
      }
      return try write(Executable(contentsOf: model).streamPlan(), chunk: chunk, "positions")
    }
    let generator = try Vocoder(contentsOf: try model ?? Bundled.folder()).generator
    if let chunk { return try write(generator.streamPlan(), chunk: chunk, "frames") }
    let mel = try Generator(seed: 1).uniform([1, generator.configuration.numMels, frames], from: -1, to: 1)
    let bytes = try generator.onnxModel(input: mel) { try generator($0) }
    try AtomicFile.write(to: StandardStreams.output(output)) { try $0.write(bytes) }
    StandardStreams.report("\(output): \(bytes.count) bytes, x float32\(mel.shape)", outputs: [output])
  }

  private func write(_ plan: StreamPlan, chunk: Int, _ positions: String) throws {
    let bytes = try plan.onnxModel(chunk: chunk)
    try AtomicFile.write(to: StandardStreams.output(output)) { try $0.write(bytes) }
    StandardStreams.report("\(output): \(bytes.count) bytes, steps of \(chunk) \(positions)", outputs: [output])
  }
}
