import ToeplitzTensor

extension Trace {
  /// Records how values change with others: reverse-mode differentiation of what has been recorded.
  ///
  /// Gradient rules are written in operations, so the cotangents are values of the trace themselves and can be
  /// differentiated again (Griewank and Walther, *Evaluating Derivatives*, 2008).
  ///
  /// - Parameters:
  ///   - targets: values with their cotangents.
  ///   - sources: values, not necessarily inputs; what they were computed of does not count.
  ///   - first: the number of the first node that counts.
  /// - Returns: The cotangent of each source; nil where the targets do not depend on it.
  /// - Throws: ``ToeplitzError`` that names an operation without gradient on the way.
  package func cotangents(
    of targets: [(value: Tensor, cotangent: Tensor)], wrt sources: [Tensor], since first: Int = 0
  ) throws -> [Tensor?] {
    let recorded = snapshot
    let nodes = recorded.nodes[first...]
    let ids = try sources.map { try id(of: $0, for: "gradient") }
    var depends = Set(ids)
    for node in nodes where node.inputs.contains(where: depends.contains) { depends.formUnion(node.outputs) }
    var known: [Int: Tensor] = [:]
    func add(_ cotangent: Tensor, to id: Int) throws {
      guard depends.contains(id) else { return }
      known[id] = try known[id].map { try $0 + cotangent } ?? cotangent
    }
    for target in targets { try add(target.cotangent, to: id(of: target.value, for: "gradient")) }
    var recomputation = Recomputation(recorded, trace: self)
    for index in nodes.indices.reversed() {
      let node = nodes[index]
      let arrived = node.outputs.map { known[$0] }
      guard arrived.contains(where: { $0 != nil }), node.inputs.contains(where: depends.contains) else { continue }
      func refuse(_ expected: String, _ got: String) -> ToeplitzError {
        ToeplitzError(.argument, node.operation.name, expected: expected, got: got, path: recorded.paths[node.path])
      }
      switch node.operation.gradient {
      case .zero: continue
      case .none(let reason): throw refuse("an operation with a gradient", "none, because \(reason)")
      case .vjp(let rule):
        // What belongs to the gradient of a layer belongs to the layer.
        enter(recorded.paths[node.path])
        defer { leave() }
        let values = try recomputation.values(forGradientOf: index)
        let call = GradientCall(inputs: node.inputs.map(values), outputs: node.outputs.map(values), cotangents: arrived)
        let made: [Tensor?]
        do {
          made = try rule(call)
        } catch let error as ToeplitzError {
          throw error.path.isEmpty ? error.inside(recorded.paths[node.path]) : error
        }
        for (id, cotangent) in zip(node.inputs, made) where depends.contains(id) {
          if let cotangent {
            try add(cotangent, to: id)
          } else if recorded.specs[id].dtype.isFloatingPoint {
            throw refuse("a cotangent for each operand that depends on what is differentiated", "none")
          }
        }
      }
    }
    return ids.map { known[$0] }
  }

  /// How many nodes have been recorded.
  package var nodeCount: Int { snapshot.nodes.count }
}

/// Computes the values of segments again when their gradients are recorded.
private struct Recomputation {
  private let recorded: Trace.State
  private let trace: Trace
  /// The segment that was recorded again last, and the numbers of its values now.
  private var segment: Range<Int>?
  private var again: [Int: Tensor] = [:]

  init(_ recorded: Trace.State, trace: Trace) { (self.recorded, self.trace) = (recorded, trace) }

  /// The values that the gradient rule of a node is given, by their numbers.
  mutating func values(forGradientOf index: Int) throws -> (Int) -> Tensor {
    let trace = trace
    guard let segment = recorded.segments.last(where: { $0.contains(index) }) else { return trace.tensor }
    if segment != self.segment { try record(segment) }
    return { [again] in again[$0] ?? trace.tensor($0) }
  }

  /// Records the operations of a segment once more, on operands that compilation does not take for the first ones.
  private mutating func record(_ segment: Range<Int>) throws {
    self.segment = segment
    again = [:]
    let made = Set(recorded.nodes[segment].flatMap(\.outputs))
    for node in recorded.nodes[segment] {
      for id in node.inputs where !made.contains(id) && again[id] == nil && recorded.constants[id] == nil {
        again[id] = try apply(Recomputed(segment: segment.lowerBound), trace.tensor(id))
      }
      trace.enter(recorded.paths[node.path])
      defer { trace.leave() }
      let results = try applyAll(node.operation, node.inputs.map { again[$0] ?? trace.tensor($0) })
      for (output, result) in zip(node.outputs, results) { again[output] = result }
    }
  }
}

extension GradientCall {
  /// The cotangents of the operands of a function that is composed of operations, found by differentiating these.
  func differentiated(_ function: ([Tensor]) throws -> [Tensor]) throws -> [Tensor?] {
    func derive(_ inputs: [Tensor], in trace: Trace) throws -> [Tensor?] {
      let first = trace.nodeCount
      let targets = zip(try function(inputs), cotangents).compactMap { output, cotangent in
        cotangent.map { (value: output, cotangent: $0) }
      }
      let found = try trace.cotangents(of: targets, wrt: inputs, since: first)
      return try zip(inputs, found).map { input, cotangent in
        guard input.dtype.isFloatingPoint else { return nil }
        return try cotangent ?? Tensor.zeros(input.shape, dtype: input.dtype)
      }
    }
    if let trace = Trace.recording(inputs + cotangents.compactMap { $0 }) { return try derive(inputs, in: trace) }
    let trace = Trace()
    let traced = inputs.map { trace.input($0.spec, value: $0) }
    return try trace.during { try derive(traced, in: trace).map { try $0?.computed() } }
  }
}
