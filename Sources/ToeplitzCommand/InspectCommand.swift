import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzONNX
import ToeplitzTensor

/// `toeplitz inspect`: shows what a model or a checkpoint holds.
struct InspectCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show the operations of a model, or the tensors of a checkpoint.",
    discussion: """
      Prints the operations of a model as it is computed, with shapes, parameters, multiply-adds and what was fused. \
      Sizes that the model leaves open are 1 on the first axis and 64 elsewhere, or others if these do not fit, unless \
      --size or --shape says what they are.
      """)

  @Argument(
    help: """
      An ONNX model, a checkpoint (safetensors, npz, npy or PyTorch's), - for standard input, or the name of a network: \
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

  @Flag(help: "Print instead how the model streams along its last open axis: latency, receptive field, state.")
  var stream = false

  @Flag(help: "With --stream: print that as one line of JSON.")
  var json = false

  @OptionGroup var options: ModelOptions

  func validate() throws {
    try options.validate()
    guard stream || !json else { throw ValidationError("--json goes with --stream") }
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
    let file = StandardStreams.input(file)
    let (deadline, streams) = try options.apply(reading: named == nil ? [file] : [])
    defer { withExtendedLifetime(streams) {} }
    if named == nil, (file as NSString).pathExtension.lowercased() != "onnx" {
      guard try streams.isEmpty ? false : !holdsTensors(file) else { return try showCheckpoint(file) }
    }
    defer { deadline.meet() }
    let executable =
      try named?.executable(optimizes: !options.plain) ?? Executable(contentsOf: file, optimizes: !options.plain)
    for warning in executable.warnings { StandardStreams.warn("\(file): \(warning)") }
    if stream {
      let plan = try executable.streamPlan()
      if json { try printJSON(StreamSummary(plan)) } else { print(plan) }
      return
    }
    let (inspection, refusal) = try inspection(executable)
    guard let inspection else {
      guard let refusal else { return }
      guard !dot, !svg, !profile, !executable.operations.isEmpty else {
        throw ToeplitzError(
          refusal.kind, refusal.operation,
          expected: refusal.expected + " (--size or --shape says what the model takes)",
          got: refusal.got, path: refusal.path)
      }
      return showWithoutShapes(executable, refusal)
    }
    let (inputs, graph) = (inspection.inputs, inspection.graph)
    if dot || svg {
      print(svg ? graph.svg : graph.dot)
      return
    }
    for port in executable.inputs { print("input  \(port.name): \(port.description)") }
    for port in executable.outputs { print("output \(port.name): \(port.description)") }
    let rows = graph.listing
    show(rows)
    let given = inputs.sorted { $0.key < $1.key }.map {
      "\($0.key) \($0.value.tensor.map { "\($0.shape)" } ?? $0.value.description)"
    }.joined(separator: ", ")
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

  /// What a model is given, and its operations as they are computed then.
  private struct Inspection {
    var inputs: [String: ModelValue]
    var graph: Graph
  }

  /// Computes the model with the sizes that are given, and the first of those that are assumed with which it can be computed.
  ///
  /// - Returns: Nil if there is none, with the first error.
  private func inspection(_ executable: Executable) throws -> (Inspection?, ToeplitzError?) {
    let known = Dictionary(sizes.compactMap(pair).map { ($0.0, Int($0.1) ?? 1) }) { $1 }
    let given = Dictionary(
      shapes.compactMap(pair).map { ($0.0, $0.1.split(separator: "x").compactMap { Int($0) }) }
    ) { $1 }
    let example = ExampleInputs(executable.inputs, sizes: known, shapes: given)
    var first: ToeplitzError?
    // Ones where zeros do not do, as steps and divisors.
    for number in [0.0, 1.0] {
      var tried: Set<[String]> = []
      for choice in example.isOpen ? ExampleInputs.choices : [ExampleInputs.choices[0]] {
        do {
          let inputs = try example.values(choice, number)
          let descriptions = inputs.map { "\($0.key) \($0.value.description)" }.sorted()
          guard tried.insert(descriptions).inserted else { continue }
          return (Inspection(inputs: inputs, graph: try executable.executedGraph(values: inputs)), nil)
        } catch let error as ToeplitzError {
          // Inputs are not what is wrong.
          guard error.kind == .shape || error.kind == .argument else { throw first ?? error }
          first = first ?? error
        }
      }
    }
    // Sizes that were asked for do not fit.
    if let first, !example.isOpen, !(sizes.isEmpty && shapes.isEmpty) { throw first }
    return (nil, first)
  }

  /// The operations of a model for which no sizes are known with which it can be computed.
  private func showWithoutShapes(_ executable: Executable, _ error: ToeplitzError) {
    for port in executable.inputs { print("input  \(port.name): \(port.description)") }
    for port in executable.outputs { print("output \(port.name): \(port.description)") }
    var table = TextTable(columns: [("operation", false), ("name", false)])
    table.rows = executable.operations.map { [$0.operation, $0.name] }
    for line in table.lines { print(line) }
    print("\(table.rows.count) operations")
    StandardStreams.warn(
      "no shapes are shown, because no inputs that were tried fit (the first: \(error)); --size NAME=SIZE or --shape "
        + "NAME=1x3x224x224 says what the model takes")
  }

  /// Whether the first bytes of a file are those of a checkpoint rather than of an ONNX model.
  private func holdsTensors(_ path: String) throws -> Bool {
    let bytes = try MappedFile(path: path, isCounted: false).bytes
    return bytes.starts(with: Array("PK".utf8)) || bytes.starts(with: [0x80]) || bytes.starts(with: Array("{".utf8))
      || bytes.starts(with: [0x93] + Array("NUMPY".utf8)) || bytes.count > 8 && bytes[8] == UInt8(ascii: "{")
  }

  /// Metadata that is shown; the plain values of a large PyTorch file can be many.
  private static let mostMetadata = 50

  private func showCheckpoint(_ file: String) throws {
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
