import ArgumentParser
import Foundation
import Toeplitz

/// `toeplitz convert`: a checkpoint in another format.
struct ConvertCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Write a checkpoint in another format.",
    discussion: """
      Reads safetensors, npz, npy, checkpoints of PyTorch (also those before 1.6, TorchScript and whole modules) and the \
      index of one in several files, whatever their names, and writes .safetensors or .npz. Nothing in a PyTorch file is \
      executed. Complex numbers get a last axis of two, sparse tensors become dense, quantised ones float32.
      """)

  @Argument(help: "The checkpoint to read.")
  var input: String

  @Argument(help: "The file to write.")
  var output: String

  @Option(help: "Only the tensors below this dotted name, without it.")
  var inside: String?

  @Flag(help: "Leave out the tensors that cannot be read instead of refusing the file.")
  var skipUnreadable = false

  func execute() throws {
    let deadline = Deadline(seconds: nil)
    var checkpoint = try Checkpoint(contentsOf: input)
    if let inside { checkpoint = checkpoint.inside(inside) }
    let unreadable = checkpoint.unreadable
    if let (name, error) = unreadable.min(by: { $0.key < $1.key }), !skipUnreadable {
      throw ToeplitzError(
        error.kind, error.operation, expected: error.expected + "; --skip-unreadable leaves it out",
        got: error.got + (unreadable.count > 1 ? " (and \(unreadable.count - 1) others)" : ""),
        path: error.path.isEmpty ? name.oneLine : error.path)
    }
    let tensors = checkpoint.tensors
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
    for (name, remark) in checkpoint.remarks.sorted(by: { $0.key < $1.key }) { print("\(name.oneLine): \(remark)") }
    for name in unreadable.keys.sorted() { print("\(name.oneLine): left out") }
  }
}
