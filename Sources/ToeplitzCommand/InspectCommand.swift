import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzONNX

/// `toeplitz inspect`: shows what a model or a checkpoint holds.
struct InspectCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show the operations of a model, or the tensors of a checkpoint.",
    discussion: """
      Prints the operations of a model as it is computed, with shapes, parameters, multiply-adds and what was fused. \
      Sizes that the model leaves open are 1 on the first axis and 64 elsewhere unless --size or --shape says otherwise.
      """)

  @Argument(
    help: """
      An ONNX model, a checkpoint (safetensors, npz, npy or PyTorch's), or the name of a network: \
      \(NamedModel.names.joined(separator: ", ")).
      """)
  var file: String

  @Option(name: .customLong("size"), help: "A size that the model leaves open, as NAME=SIZE; may be repeated.")
  var sizes: [String] = []

  @Option(name: .customLong("shape"), help: "The shape of an input, as NAME=1x3x224x224; may be repeated.")
  var shapes: [String] = []

  @Flag(help: "Print the graph in the DOT language instead.")
  var dot = false

  @Flag(help: "Print a drawing of the graph in the SVG format instead.")
  var svg = false

  @Flag(help: "Also print how long each operation took.")
  var profile = false

  @OptionGroup var options: ModelOptions

  func validate() throws {
    try options.validate()
    for size in sizes {
      guard let (_, value) = pair(size), let number = Int(value), number >= 0 else {
        throw ValidationError("--size takes NAME=SIZE, not \(size)")
      }
    }
    for shape in shapes {
      guard let (_, value) = pair(shape), value.split(separator: "x").allSatisfy({ Int($0).map { $0 >= 0 } ?? false })
      else { throw ValidationError("--shape takes NAME=1x3x224x224, not \(shape)") }
    }
  }

  private func pair(_ text: String) -> (String, String)? {
    guard let equals = text.lastIndex(of: "="), equals > text.startIndex else { return nil }
    return (String(text[..<equals]), String(text[text.index(after: equals)...]))
  }

  func execute() throws {
    let named = NamedModel(file)
    guard named != nil || (file as NSString).pathExtension.lowercased() == "onnx" else { return try showCheckpoint() }
    let deadline = options.apply()
    defer { deadline.meet() }
    let executable =
      try named?.executable(optimizes: !options.plain) ?? Executable(contentsOf: file, optimizes: !options.plain)
    let inputs = try executable.inputs.reduce(into: [:]) { $0[$1.name] = try example($1) }
    let graph = try executable.executedGraph(inputs)
    if dot || svg {
      print(svg ? graph.svg : graph.dot)
      return
    }
    for port in executable.inputs { print("input  \(port.name): \(port.description)") }
    for port in executable.outputs { print("output \(port.name): \(port.description)") }
    let rows = graph.listing
    show(rows)
    let given = inputs.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.shape)" }.joined(separator: ", ")
    let parameters = rows.reduce(0) { $0 + $1.parameters }
    let work = rows.reduce(0) { $0 + $1.multiplyAdds }
    print("\(rows.count) operations, \(parameters) parameters, \(work) multiply-adds for \(given)")
    let fused = Dictionary(grouping: rows.flatMap(\.fused), by: { $0 }).mapValues(\.count)
    if !fused.isEmpty {
      print("fused: " + fused.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", "))
    }
    guard profile else { return }
    for line in try ModelProfile(executable, inputs, runs: 5).lines { print(line) }
  }

  private func show(_ rows: [ListingRow]) {
    var table = TextTable(columns: [
      ("operation", false), ("output", false), ("parameters", true), ("multiply-adds", true), ("fused", false),
      ("name", false),
    ])
    table.rows = rows.map { row in
      [
        row.operation, row.outputs.map(\.description).joined(separator: " "), "\(row.parameters)",
        "\(row.multiplyAdds)",
        row.fused.joined(separator: ", "), row.name,
      ]
    }
    for line in table.lines { print(line) }
  }

  /// Zeros of the shape that an input is assumed to have.
  private func example(_ port: PortDescription) throws -> Tensor {
    if let (_, text) = shapes.compactMap(pair).last(where: { $0.0 == port.name }) {
      return try Tensor.zeros(Shape(text.split(separator: "x").compactMap { Int($0) }), dtype: port.dtype ?? .float32)
    }
    guard let dimensions = port.dimensions else {
      throw ToeplitzError(
        .argument, "inspect", expected: "--shape \(port.name)=… for an input of unknown shape", got: "none")
    }
    let known = Dictionary(sizes.compactMap(pair).map { ($0.0, Int($0.1) ?? 1) }) { $1 }
    let shape = dimensions.enumerated().map { axis, dimension -> Int in
      switch dimension {
      case .fixed(let size): size
      case .symbol(let name): known[name] ?? (axis == 0 ? 1 : 64)
      case .any: axis == 0 ? 1 : 64
      }
    }
    return try Tensor.zeros(Shape(shape), dtype: port.dtype ?? .float32)
  }

  /// Metadata that is shown; the plain values of a large PyTorch file can be many.
  private static let mostMetadata = 50

  private func showCheckpoint() throws {
    let checkpoint = try Checkpoint(contentsOf: file)
    let remarks = checkpoint.remarks
    var total = 0
    for name in checkpoint.names {
      let tensor = try checkpoint.tensor(name)
      total += tensor.count
      print("\(name.oneLine): \(tensor.spec)\(remarks[name].map { " (\($0))" } ?? "")")
    }
    for (name, error) in checkpoint.unreadable.sorted(by: { $0.key < $1.key }) {
      print("\(name.oneLine): not read: expected \(error.expected), got \(error.got)")
    }
    let metadata = checkpoint.metadata.sorted { $0.key < $1.key }
    for (key, value) in metadata.prefix(Self.mostMetadata) { print("metadata \(key.oneLine): \(value.oneLine)") }
    if metadata.count > Self.mostMetadata { print("metadata: \(metadata.count - Self.mostMetadata) entries more") }
    print("\(checkpoint.names.count) tensors, \(total) elements")
  }
}
