import ToeplitzOps
import ToeplitzTensor

/// A compiled graph: immutable, callable from several threads at a time, with its weights prepared once.
///
/// ```swift
/// let model = try Executable(graph)
/// let outputs = try model(["x": tensor])
/// ```
///
/// Sizes of inputs that the graph leaves open may change from call to call; nothing is prepared anew for them.
public final class Executable: Sendable {
  /// The graph after compilation.
  public let graph: Graph
  /// What compilation did.
  public let report: CompilationReport
  private let program: Program

  /// Compiles a graph.
  ///
  /// - Parameters:
  ///   - graph: the graph.
  ///   - weights: tensors for ``Graph/weight(_:)``.
  ///   - optimizes: whether constants are computed and operations joined.
  /// - Throws: ``ToeplitzError`` if the graph is not well formed or a weight is missing.
  public init(_ graph: Graph, weights: [String: Tensor] = [:], optimizes: Bool = true) throws {
    var compiled = graph
    try compiled.bind(weights)
    try compiled.validate()
    report = optimizes ? compiled.compile() : CompilationReport()
    try compiled.settleConstants()
    self.graph = compiled
    program = Program(compiled)
  }

  /// What a caller gives.
  public var inputs: [PortDescription] { graph.inputs }
  /// What a caller gets.
  public var outputs: [PortDescription] { graph.outputs }

  /// Computes all outputs.
  ///
  /// - Throws: ``ToeplitzError`` that names the input if one is missing, unknown or of another rank, size or element
  ///   type, or the node if one cannot be computed.
  public func callAsFunction(_ inputs: [String: Tensor]) throws -> [String: Tensor] {
    let results = try run(inputs)
    return Dictionary(zip(outputs.map(\.name), results)) { first, _ in first }
  }

  /// Computes all outputs, in the order of ``outputs``.
  ///
  /// - Parameter observe: called after each node with its number and results.
  public func run(_ inputs: [String: Tensor], observe: ((Int, [Tensor?]) -> Void)? = nil) throws -> [Tensor] {
    try program.run(try ordered(inputs), observe: observe)
  }

  /// The inputs in the graph's order.
  ///
  /// - Throws: ``ToeplitzError`` that names the input that does not fit.
  public func ordered(_ given: [String: Tensor]) throws -> [Tensor] {
    let names = inputs.map(\.name)
    if let unknown = given.keys.sorted().first(where: { !names.contains($0) }) {
      throw ToeplitzError(
        .argument, "inputs", expected: names.isEmpty ? "no input" : "one of " + names.joined(separator: ", "),
        got: "'\(unknown)'")
    }
    var sizes: [String: (Int, String)] = [:]
    return try inputs.map { port in
      guard let tensor = given[port.name] else {
        throw ToeplitzError(
          .argument, "inputs", expected: "an input '\(port.name)' of \(port.description)", got: "none")
      }
      try check(tensor, port, &sizes)
      return tensor
    }
  }

  private func check(_ tensor: Tensor, _ port: PortDescription, _ sizes: inout [String: (Int, String)]) throws {
    func refuse(_ kind: ToeplitzError.Kind, _ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(kind, "input '\(port.name)'", expected: expected, got: got)
    }
    if let dtype = port.dtype, tensor.dtype != dtype {
      throw refuse(.dtype, "\(dtype) elements", "\(tensor.dtype)")
    }
    guard let dimensions = port.dimensions else { return }
    guard dimensions.count == tensor.rank else {
      throw refuse(.shape, "\(dimensions.count) dimensions (\(port.description))", "shape \(tensor.shape)")
    }
    for (axis, dimension) in dimensions.enumerated() {
      switch dimension {
      case .any: break
      case .fixed(let size):
        guard tensor.shape[axis] == size else {
          throw refuse(.shape, "size \(size) on axis \(axis) (\(port.description))", "shape \(tensor.shape)")
        }
      case .symbol(let name):
        if let (size, other) = sizes[name], size != tensor.shape[axis] {
          throw refuse(
            .shape, "size \(size) on axis \(axis), as '\(name)' is in '\(other)'", "shape \(tensor.shape)")
        }
        sizes[name] = (tensor.shape[axis], port.name)
      }
    }
  }
}

/// What a compilation did.
public struct CompilationReport: Sendable {
  /// Nodes before.
  public var nodesBefore = 0
  /// Nodes after.
  public var nodesAfter = 0
  /// How often each kind of joining happened.
  public var counts: [String: Int] = [:]
}
