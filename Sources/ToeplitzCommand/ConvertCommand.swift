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

  @Argument(help: "The checkpoint to read.")
  var input: String

  @Argument(help: "The file to write.")
  var output: String

  @Option(help: "Only the tensors below this dotted name, without it.")
  var inside: String?

  func execute() throws {
    let deadline = Deadline(seconds: nil)
    var checkpoint = try Checkpoint(contentsOf: input)
    if let inside { checkpoint = checkpoint.inside(inside) }
    let tensors = try checkpoint.names.reduce(into: [:]) { $0[$1] = try checkpoint.tensor($1) }
    guard !tensors.isEmpty else {
      throw ToeplitzError(.checkpoint, input, expected: "tensors", got: "none", path: inside ?? "")
    }
    deadline.meet()
    switch (output as NSString).pathExtension.lowercased() {
    case "safetensors": try Safetensors.write(tensors, metadata: checkpoint.metadata, to: output)
    case "npz": try NumPy.writeArchive(tensors, to: output)
    default:
      throw ToeplitzError(.argument, output, expected: "a name that ends in .safetensors or .npz", got: "another")
    }
    print("\(output): \(tensors.count) tensors")
  }
}
