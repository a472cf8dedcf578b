import Synchronization
import ToeplitzTensor

/// Values and the operations between them, as they are recorded while code runs on traced tensors.
package final class Trace: TraceReader, Sendable {
  /// A recorded operation.
  package struct Node: Sendable {
    /// What is computed.
    package var operation: any TensorOperation
    /// The numbers of the operands.
    package var inputs: [Int]
    /// The numbers of the results.
    package var outputs: Range<Int>
    /// The number of the path of the layer that applied it.
    package var path: Int
  }

  /// What has been recorded so far.
  package struct State: Sendable {
    package fileprivate(set) var nodes: [Node] = []
    /// The specification of each value.
    package fileprivate(set) var specs: [TensorSpec] = []
    /// The tensors of values that no operation makes.
    package fileprivate(set) var constants: [Int: Tensor] = [:]
    /// The names of inputs and weights.
    package fileprivate(set) var names: [Int: String] = [:]
    /// The values that stand for the inputs.
    package fileprivate(set) var inputs: [Int] = []
    /// The paths of layers; 0 is none.
    package fileprivate(set) var paths: [String] = [""]
    /// The nodes of segments whose values are computed again for gradients.
    package fileprivate(set) var segments: [Range<Int>] = []
    /// How many segments are open.
    fileprivate var openSegments = 0
    /// The node that makes each value; −1 for inputs and constants.
    fileprivate var makers: [Int] = []
    /// What has been computed of values whose inputs are known.
    package fileprivate(set) var known: [Int: Tensor] = [:]
    /// The constants that are tensors of a storage.
    fileprivate var constantsOfStorage: [ObjectIdentifier: [Int]] = [:]
    fileprivate var pathStack: [Int] = [0]
    fileprivate var isOpen = true
    fileprivate var repeatedSteps = 0
    /// Whether elements have been asked for that are not known.
    fileprivate var hasRefused = false

    fileprivate mutating func value(_ spec: TensorSpec, maker: Int = -1) -> Int {
      specs.append(spec)
      makers.append(maker)
      return specs.count - 1
    }
  }

  private let state = Lock(State())

  /// The trace that operations of this task are recorded in.
  @TaskLocal private static var current: Trace?
  /// How many traces are running; looking up a task's own is slow.
  private static let runningCount = Atomic(0)

  /// The trace that is running on this task, if one is.
  @inline(__always)
  package static var running: Trace? { runningCount.load(ordering: .relaxed) == 0 ? nil : current }

  /// An empty trace.
  ///
  /// Reading a traced tensor computes it, if all inputs that it depends on come with values.
  package init() {}

  /// Runs `body`, which computes, as part of no trace.
  package static func outside<Result>(_ body: () throws -> Result) rethrows -> Result {
    try running == nil ? body() : $current.withValue(nil, operation: body)
  }

  /// Runs `body` as part of the trace.
  package func during<Result>(_ body: () throws -> Result) rethrows -> Result {
    Self.runningCount.add(1, ordering: .relaxed)
    defer { Self.runningCount.subtract(1, ordering: .relaxed) }
    return try Self.$current.withValue(self, operation: body)
  }

  /// Ends the trace: from now on nothing can be added.
  package func close() -> State {
    state.withLock { state in
      state.isOpen = false
      return state
    }
  }

  /// What has been recorded so far.
  package var snapshot: State { state.withLock { $0 } }

  // MARK: Values

  /// A new input.
  package func input(_ spec: TensorSpec, name: String? = nil, value: Tensor? = nil) -> Tensor {
    let id = state.withLock { state in
      let id = state.value(spec)
      state.inputs.append(id)
      state.names[id] = name
      state.known[id] = value
      return id
    }
    return Tensor(traced: TracedValue(self, id), spec)
  }

  /// A constant that operations on it do not compute at once: a weight.
  package func weight(_ tensor: Tensor, name: String) -> Tensor {
    // A model within one that is traced has traced weights already.
    if tensor.isTraced { return tensor }
    let id = state.withLock { state in
      let id = state.value(tensor.spec)
      state.constants[id] = tensor
      state.names[id] = name
      return id
    }
    return Tensor(traced: TracedValue(self, id), tensor.spec)
  }

  /// The number of a tensor's value, which becomes a constant if it is none of the trace.
  package func id(of tensor: Tensor, for operation: String = "output") throws -> Int {
    try state.withLock { try id(of: tensor, &$0, operation) }
  }

  /// The tensor of a value.
  package func tensor(_ id: Int) -> Tensor {
    Tensor(traced: TracedValue(self, id), state.withLock { $0.specs[id] })
  }

  private func id(of tensor: Tensor, _ state: inout State, _ operation: String) throws -> Int {
    if let traced = tensor.traced {
      guard traced.trace === self else {
        throw ToeplitzError(
          .argument, operation, expected: "operands of one trace",
          got: "one of another that has ended or stands beside it: \(traced.origin)")
      }
      return traced.id
    }
    let key = ObjectIdentifier(tensor.storage)
    for id in state.constantsOfStorage[key] ?? [] {
      if let constant = state.constants[id], constant.isSameView(as: tensor) { return id }
    }
    let id = state.value(tensor.spec)
    state.constants[id] = tensor
    state.constantsOfStorage[key, default: []].append(id)
    return id
  }

  // MARK: Operations

  /// Records an operation that gives values of the specifications `outputs`.
  func record(
    _ operation: some TensorOperation, _ inputs: [Tensor], _ outputs: [TensorSpec]
  ) throws -> [Tensor] {
    let made: Range<Int> = try state.withLock { state in
      guard state.isOpen else {
        throw ToeplitzError(
          .argument, operation.name, expected: "tensors of a trace that goes on",
          got: "one that was kept from a trace that has ended")
      }
      let ids = try inputs.map { try id(of: $0, &state, operation.name) }
      let first = state.specs.count
      for spec in outputs { _ = state.value(spec, maker: state.nodes.count) }
      let range = first..<state.specs.count
      let path = state.pathStack[state.pathStack.count - 1]
      state.nodes.append(Node(operation: operation, inputs: ids, outputs: range, path: path))
      return range
    }
    return zip(made, outputs).map { Tensor(traced: TracedValue(self, $0), $1) }
  }

  /// The trace that an operation on these tensors is recorded in; nil if all of them are computed.
  @inline(__always)
  package static func recording(_ inputs: [Tensor]) -> Trace? {
    for input in inputs {
      // Only traces make traced values.
      if let value = input.traced { return running ?? unsafeDowncast(value.trace, to: Trace.self) }
    }
    return nil
  }

  // MARK: Layers

  /// Operations from now on belong to the layer at `path`.
  package func enter(_ path: String) {
    state.withLock { state in
      if state.paths[state.paths.count - 1] != path { state.paths.append(path) }
      state.pathStack.append(state.paths.count - 1)
    }
  }

  /// They belong to the layer around it again.
  package func leave() { state.withLock { _ = $0.pathStack.popLast() } }

  // MARK: Segments

  /// A segment begins, whose values will be computed again for gradients; returns its first node.
  func beginSegment() -> Int {
    state.withLock { state in
      state.openSegments += 1
      return state.nodes.count
    }
  }

  /// The segment that begins with node `first` ends.
  func endSegment(from first: Int) {
    state.withLock { state in
      state.openSegments -= 1
      if state.openSegments == 0, first < state.nodes.count { state.segments.append(first..<state.nodes.count) }
    }
  }

  // MARK: Reading

  package func origin(of id: Int) -> String {
    state.withLock { state in
      guard state.makers[id] >= 0 else {
        return state.names[id].map { "'\($0)', \(state.specs[id])" } ?? "an input \(state.specs[id])"
      }
      let node = state.nodes[state.makers[id]]
      let path = state.paths[node.path]
      return "the result of \(node.operation.name)" + (path.isEmpty ? "" : " of '\(path)'")
    }
  }

  package func read(_ id: Int) throws -> Tensor {
    if let constant = state.withLock({ $0.constants[id] }) { return try constant.aligned() }
    // All that it needs and that is not known yet; nothing is computed in vain.
    let needed: [Node]? = state.withLock { state in
      var (found, open, seen): (Set<Int>, [Int], Set<Int>) = ([], [id], [id])
      while let value = open.popLast() {
        guard state.known[value] == nil, state.constants[value] == nil else { continue }
        guard state.makers[value] >= 0 else { return nil }
        guard found.insert(state.makers[value]).inserted else { continue }
        open += state.nodes[state.makers[value]].inputs.filter { seen.insert($0).inserted }
      }
      return found.sorted().map { state.nodes[$0] }
    }
    guard let needed else { throw refusal("read elements", TracedValue(self, id)) }
    for node in needed {
      let operands = try node.inputs.map { input in
        guard let operand = state.withLock({ $0.known[input] ?? $0.constants[input] }) else {
          throw refusal("read elements", TracedValue(self, id))
        }
        return try operand.aligned()
      }
      let results = try applyAll(node.operation, operands)
      state.withLock { state in
        for (output, result) in zip(node.outputs, results) { state.known[output] = result }
      }
    }
    guard let result = state.withLock({ $0.known[id] }) else { throw refusal("read elements", TracedValue(self, id)) }
    return result
  }

  /// Refuses to go on because `operation` needs the elements of a traced value.
  package func refusal(_ operation: String, _ value: TracedValue) -> ToeplitzError {
    state.withLock { $0.hasRefused = true }
    return ToeplitzError(
      .argument, operation, expected: "a computed tensor (while code is traced only shapes are known)",
      got: value.origin)
  }

  /// Refuses to record `operation`, which has to be computed anew each time.
  package func refusal(_ operation: String) -> ToeplitzError {
    state.withLock { $0.hasRefused = true }
    return ToeplitzError(
      .argument, operation, expected: "code that computes the same each time (what is traced is recorded once)",
      got: "random numbers")
  }

  /// Counts steps of bodies that are recorded again and again, and refuses to go on when there are too many.
  package func countRepeated(steps: Int, _ operation: String) throws {
    let isTooMany = state.withLock { state in
      state.repeatedSteps += steps
      state.hasRefused = state.hasRefused || state.repeatedSteps > Self.mostRepeatedSteps
      return state.repeatedSteps > Self.mostRepeatedSteps
    }
    guard isTooMany else { return }
    throw ToeplitzError(
      .argument, operation, expected: "at most \(Self.mostRepeatedSteps) steps of bodies in one graph", got: "more")
  }

  /// Graphs larger than this are better computed round by round.
  private static let mostRepeatedSteps = 1 << 12

  /// Whether elements have been asked for that are not known, which is forgotten.
  @discardableResult
  package func forgetRefusal() -> Bool {
    state.withLock { state in
      defer { state.hasRefused = false }
      return state.hasRefused
    }
  }
}
