import ArgumentParser
import Foundation
import Toeplitz

/// `toeplitz convert`: a checkpoint in another format.
struct ConvertCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Write a checkpoint in another format.",
    discussion: """
      Reads .pt, .pth, .ckpt, .safetensors, .safetensors.index.json or .npz and writes .safetensors or .npz. Nothing in \
      a PyTorch file is executed.
      """)

  @Argument(help: "The checkpoint to read, or - for standard input.")
  var input: String

  @Argument(help: "The file to write, or - for standard output (with --format).")
  var output: String

  @Option(help: "The format to write: safetensors or npz. (default: as the name of the output ends)")
  var format: Format?

  /// The formats that are written.
  enum Format: String, ExpressibleByArgument, CaseIterable {
    case safetensors, npz
  }

  @Option(help: "Only the tensors below this dotted name, without it.")
  var inside: String?

  func execute() throws {
    guard let format = format ?? Format(rawValue: (output as NSString).pathExtension.lowercased()) else {
      throw ToeplitzError(
        .argument, output, expected: "a name that ends in .safetensors or .npz, or --format safetensors or npz",
        got: output == "-" ? "no name and no format" : "another name")
    }
    let input = StandardStreams.input(input)
    let streams = try StandardStreams.read([input])
    defer { withExtendedLifetime(streams) {} }
    let deadline = Deadline(seconds: nil)
    var checkpoint = try Checkpoint(contentsOf: input)
    if let inside { checkpoint = checkpoint.inside(inside) }
    let tensors = try checkpoint.names.reduce(into: [:]) { $0[$1] = try checkpoint.tensor($1) }
    guard !tensors.isEmpty else {
      throw ToeplitzError(.checkpoint, input, expected: "tensors", got: "none", path: inside ?? "")
    }
    deadline.meet()
    let path = StandardStreams.output(output)
    switch format {
    case .safetensors: try Safetensors.write(tensors, metadata: checkpoint.metadata, to: path)
    case .npz: try NumPy.writeArchive(tensors, to: path)
    }
    StandardStreams.report("\(output): \(tensors.count) tensors", outputs: [output])
  }
}
