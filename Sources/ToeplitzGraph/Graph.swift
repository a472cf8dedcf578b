import ToeplitzOps
import ToeplitzTensor

/// A computation for inputs of known shapes: values, and operations between them.
///
/// A graph is what an ``Executable`` makes of a module, an ONNX model or a ``GraphBuilder`` for one signature of inputs;
/// it can be listed, drawn and written, and a device lowers it to a program of its own.
public struct Graph: Sendable {
  /// An operation on values.
  public struct Node: Sendable {
    /// What is computed.
    public var operation: any TensorOperation
    /// The numbers of the operands.
    public var inputs: [Int]
    /// The numbers of the results.
    public var outputs: [Int]
    /// The layer, or the node of a file, that it stands for; may be empty.
    public var path: String
    /// What was fused into it, in order.
    public var fused: [String]

    /// A node that computes `operation`.
    public init(
      _ operation: any TensorOperation, inputs: [Int], outputs: [Int], path: String = "", fused: [String] = []
    ) {
      (self.operation, self.inputs, self.outputs, self.path, self.fused) = (operation, inputs, outputs, path, fused)
    }
  }

  /// A value that callers give or get.
  public struct Port: Sendable {
    /// The name; may be empty.
    public var name: String
    /// The number of the value.
    public var value: Int

    package init(name: String, value: Int) { (self.name, self.value) = (name, value) }
  }

  /// The name; may be empty.
  public var name = ""
  /// Shape and element type of each value.
  public package(set) var specs: [TensorSpec]
  /// The nodes, each after those it needs.
  public package(set) var nodes: [Node]
  /// The tensors of values that no node makes and no caller gives.
  public package(set) var constants: [Int: Tensor]
  /// The names of values, as far as they have any.
  public package(set) var names: [Int: String]
  /// What callers give.
  public package(set) var inputs: [Port]
  /// What callers get.
  public package(set) var outputs: [Port]

  /// An empty graph.
  package init(name: String = "") {
    self.name = name
    (specs, nodes, constants, names, inputs, outputs) = ([], [], [:], [:], [], [])
  }

  /// What a trace has recorded.
  package init(_ recorded: Trace.State, outputs: [Port]) {
    specs = recorded.specs
    nodes = recorded.nodes.map {
      Node($0.operation, inputs: $0.inputs, outputs: Array($0.outputs), path: recorded.paths[$0.path])
    }
    (constants, names) = (recorded.constants, recorded.names)
    inputs = recorded.inputs.map { Port(name: recorded.names[$0] ?? "", value: $0) }
    self.outputs = outputs
    // What code has read while it was recorded is known, and need not be computed again.
    let given = Set(recorded.inputs)
    let read = recorded.known.filter { !given.contains($0.key) }
    guard !read.isEmpty else { return }
    constants.merge(read) { first, _ in first }
    nodes.removeAll { $0.outputs.allSatisfy { constants[$0] != nil } }
  }

  /// A new value that is a constant.
  package mutating func constant(_ tensor: Tensor) -> Int {
    constants[specs.count] = tensor
    specs.append(tensor.spec)
    return specs.count - 1
  }

  /// A new value for a node's result.
  package mutating func value(_ spec: TensorSpec) -> Int {
    specs.append(spec)
    return specs.count - 1
  }

  /// The number that a constant of one element holds.
  package func number(_ value: Int) -> Double? {
    guard let constant = constants[value], constant.count == 1, constant.dtype.isFloatingPoint else { return nil }
    return try? constant.cast(to: .float64).reshaped([]).item(Double.self)
  }
}

extension Graph {
  /// Removes nodes whose results nobody uses, and constants likewise.
  package mutating func removeDeadNodes() {
    var isNeeded = [Bool](repeating: false, count: specs.count)
    for output in outputs { isNeeded[output.value] = true }
    var kept: [Node] = []
    for node in nodes.reversed() where node.outputs.contains(where: { isNeeded[$0] }) {
      for input in node.inputs { isNeeded[input] = true }
      kept.append(node)
    }
    nodes = kept.reversed()
    constants = constants.filter { isNeeded[$0.key] }
  }

  /// Computes what depends on constants alone.
  ///
  /// - Parameter keepsCodes: whether numbers that are kept as whole ones stay so, for who computes with these.
  package mutating func foldConstants(_ folded: FoldedConstants, keepsCodes: Bool = true) {
    var kept: [Node] = []
    for node in nodes {
      let operands = node.inputs.compactMap { constants[$0] }
      guard operands.count == node.inputs.count, !operands.isEmpty, !keepsCodes || !(node.operation is Dequantize),
        let results = folded.results(node.operation, operands, node.outputs.map { specs[$0] })
      else {
        kept.append(node)
        continue
      }
      for (output, result) in zip(node.outputs, results) { constants[output] = result }
    }
    nodes = kept
  }

  /// Lets users of equal operations on equal operands share one result, and of operations that change nothing use the
  /// operand.
  package mutating func mergeEqualNodes() {
    // By operands first: few nodes share them, and attributes take longer to hash than to compare.
    var seen: [[Int]: [(operation: AnyHashable, outputs: [Int])]] = [:]
    var other = equalConstants()
    nodes = nodes.compactMap { node in
      var node = node
      node.inputs = node.inputs.map { other[$0] ?? $0 }
      if isNoOperation(node) {
        other[node.outputs[0]] = node.inputs[0]
        return nil
      }
      let operation = AnyHashable(node.operation)
      guard let known = seen[node.inputs]?.first(where: { $0.operation == operation }) else {
        seen[node.inputs, default: []].append((operation, node.outputs))
        return node
      }
      for (old, new) in zip(node.outputs, known.outputs) { other[old] = new }
      return nil
    }
    for index in outputs.indices { outputs[index].value = other[outputs[index].value] ?? outputs[index].value }
  }

  /// For constants that equal another the number of that: views of the same elements, or equal single numbers.
  private func equalConstants() -> [Int: Int] {
    enum Key: Hashable {
      case view(ObjectIdentifier, TensorView)
      case number(DType, TensorShape, UInt64)
    }
    var seen: [Key: Int] = [:]
    var other: [Int: Int] = [:]
    for (id, tensor) in constants.sorted(by: { $0.key < $1.key }) {
      var key = Key.view(ObjectIdentifier(tensor.storage), TensorView(tensor))
      if let number = number(id) { key = .number(tensor.dtype, tensor.shape, number.bitPattern) }
      if let first = seen[key] { other[id] = first } else { seen[key] = id }
    }
    return other
  }

  /// Whether a node gives its operand as it is.
  private func isNoOperation(_ node: Node) -> Bool {
    guard node.inputs.count == 1, node.outputs.count == 1, specs[node.inputs[0]] == specs[node.outputs[0]] else {
      return false
    }
    switch node.operation {
    case is Reshape, is Expand, is Cast, is Slice, is StopGradient: return true
    case let permute as Permute:
      return (try? permute.axes(specs[node.inputs[0]].shape)) == Array(specs[node.inputs[0]].shape.indices)
    default: return false
    }
  }
}

/// Results of operations on constants, which all graphs of an executable share.
///
/// Each is computed once, so that what is prepared of it, such as packed weights, is prepared once too.
package final class FoldedConstants: Sendable {
  private struct Operand: Hashable {
    var storage: ObjectIdentifier
    var view: TensorView
  }

  private struct Key: Hashable, @unchecked Sendable {
    // Sendable, as all operations are.
    var operation: AnyHashable
    var operands: [Operand]
  }

  private struct Entry {
    /// Held so that their identity stays theirs.
    var operands: [Tensor]
    var results: [Tensor]
    /// The number of the graph that used it last.
    var graph: Int
  }

  private struct State {
    var known: [Key: Entry] = [:]
    var graphCount = 0
  }

  private let state = Lock(State())
  private let alignedCopies = Lock<[ObjectIdentifier: [(view: Tensor, copy: Tensor)]]>([:])
  /// Results are not kept if they have more bytes, unless their operands do too: a few numbers in a file can ask for a huge
  /// tensor.
  private static let largest = 1 << 24
  /// As many graphs later a result that none of them has used is forgotten.
  private static let graphsKept = 64

  /// An empty table.
  package init() {}

  /// Notes that a new graph begins, and forgets what the last graphs have not used.
  ///
  /// Some constants depend on the inputs' shapes, such as positions; those of all shapes would fill the memory.
  func beginGraph() {
    state.withLock { state in
      state.graphCount += 1
      guard state.graphCount % Self.graphsKept == 0 else { return }
      let oldest = state.graphCount - Self.graphsKept
      state.known = state.known.filter { $0.value.graph >= oldest }
    }
  }

  /// The results of an operation on constants, whose specifications are `outputs`; nil where they are too large, or where
  /// the operation fails, which it will do again when it is run.
  package func results(
    _ operation: any TensorOperation, _ operands: [Tensor], _ outputs: [TensorSpec]
  ) -> [Tensor]? {
    let key = Key(
      operation: AnyHashable(operation),
      operands: operands.map { Operand(storage: ObjectIdentifier($0.storage), view: TensorView($0)) })
    func known(_ state: inout State) -> [Tensor]? {
      state.known[key]?.graph = state.graphCount
      return state.known[key]?.results
    }
    if let known = state.withLock(known) { return known }
    let isView = operation.isView
    func bytes(_ specs: [TensorSpec]) -> Int { specs.reduce(0) { $0 + $1.shape.reduce(1, *) * $1.dtype.byteSize } }
    guard isView || bytes(outputs) <= max(Self.largest, 4 * bytes(operands.map(\.spec))) else { return nil }
    guard let computed = try? isView ? operands : operands.map(aligned),
      let results = try? applyAll(operation, computed)
    else { return nil }
    return state.withLock { state in
      // One object for all, whoever was first.
      if let first = known(&state) { return first }
      state.known[key] = Entry(operands: operands, results: results, graph: state.graphCount)
      return results
    }
  }

  /// The one result of an operation on constants; nil as for ``results(_:_:_:)``.
  package func result(_ operation: some TensorOperation, _ operands: Tensor...) -> Tensor? {
    guard let outputs = try? operation.infer(operands.map(\.spec)) else { return nil }
    return results(operation, operands, outputs)?[0]
  }

  /// A constant where its elements are aligned, as most kernels want them: itself, or its one copy.
  package func aligned(_ tensor: Tensor) throws -> Tensor {
    if tensor.isAligned { return tensor }
    return try alignedCopies.withLock { copies in
      let key = ObjectIdentifier(tensor.storage)
      if let known = copies[key]?.first(where: { $0.view.isSameView(as: tensor) }) { return known.copy }
      let copy = try tensor.aligned()
      copies[key, default: []].append((tensor, copy))
      // What has been copied need not stay in memory; a few pages are not worth asking.
      if tensor.storage.byteCount >= 1 << 16 { tensor.storage.forgetFilePages() }
      return copy
    }
  }
}

extension TensorOperation {
  /// Whether its results are the operand's elements, seen in another shape or order.
  package var isView: Bool { self is Reshape || self is Permute || self is Slice || self is Expand }
}
