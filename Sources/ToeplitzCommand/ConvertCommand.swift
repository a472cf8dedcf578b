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

  @Flag(help: "Leave out the tensors that cannot be read instead of refusing the file.")
  var skipUnreadable = false

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
    let path = StandardStreams.output(output)
    switch format {
    case .safetensors: try Safetensors.write(tensors, metadata: checkpoint.metadata, to: path)
    case .npz: try NumPy.writeArchive(tensors, to: path)
    }
    var lines = ["\(output): \(tensors.count) tensors"]
    lines += checkpoint.remarks.sorted { $0.key < $1.key }.map { "\($0.key.oneLine): \($0.value)" }
    lines += unreadable.keys.sorted().map { "\($0.oneLine): left out" }
    for line in lines { StandardStreams.report(line, outputs: [output]) }
  }
}
