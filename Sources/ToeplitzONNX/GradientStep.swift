import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// The operator `Gradient` of ai.onnx.preview.training: how a value of the graph around it changes with others.
struct GradientStep: Sendable {
  /// From the values that it depends on to the one that is differentiated.
  private let source: ONNXSource
  /// How many of its inputs are differentiated by.
  private let count: Int

  /// - Parameters:
  ///   - steps: the graph before the node.
  ///   - sources: the values to differentiate by, and then those that are held.
  ///   - target: the value to differentiate.
  ///   - others: values that it needs besides, in the order in which the step gets them captured.
  init(
    steps: [ONNXSource.Step], initializers: [Int: ONNXSource.Initializer], sources: some Sequence<Int>, count: Int,
    target: Int,
    others: inout [Int]
  ) {
    let sources = Array(sources)
    var (needed, chosen): (Set<Int>, [ONNXSource.Step]) = ([target], [])
    // What the given values were computed of does not count.
    for step in steps.reversed() {
      let made = step.outputs.compactMap { $0 }.filter { needed.contains($0) && !sources.contains($0) }
      guard !made.isEmpty else { continue }
      chosen.append(step)
      needed.formUnion(step.inputs.compactMap { $0 } + step.captured)
    }
    let made = Set(chosen.flatMap(\.outputs).compactMap { $0 })
    others = needed.filter { !sources.contains($0) && !made.contains($0) && initializers[$0] == nil }.sorted()
    let first = sources + others
    let all = made.union(needed).subtracting(first).sorted()
    let numbers = Dictionary((first + all).enumerated().map { ($0.element, $0.offset) }) { first, _ in first }
    func number(_ value: Int) -> Int { numbers[value] ?? value }
    let kept = initializers.filter { needed.contains($0.key) && !first.contains($0.key) }
    source = ONNXSource(
      inputs: first.map { PortDescription(name: "x\($0)") }, outputs: [PortDescription(name: "y")],
      results: [number(target)], steps: chosen.reversed().map { $0.renumbered(number) },
      initializers: Dictionary(uniqueKeysWithValues: kept.map { (number($0.key), $0.value) }))
    self.count = count
  }

  /// The derivatives of the sum of the target's elements by the first operands.
  func callAsFunction(_ x: Operands) throws -> [ModelValue?] {
    let inputs = try x.all() + x.captured.map { try $0.tensor(x) }
    func derive(_ inputs: [Tensor], in trace: Trace) throws -> [Tensor] {
      let first = trace.nodeCount
      let sources = Array(inputs.prefix(count))
      guard let y = try source.applied(to: inputs.map { .tensor($0) }).first?.tensor(x) else { return [] }
      let ones = try Tensor.ones(y.shape, dtype: y.dtype)
      let found = try trace.cotangents(of: [(y, ones)], wrt: sources, since: first)
      return try zip(sources, found).map { try $1 ?? Tensor.zeros($0.shape, dtype: $0.dtype) }
    }
    let results: [Tensor]
    if let trace = Trace.recording(inputs) {
      results = try derive(inputs, in: trace)
    } else {
      let trace = Trace()
      let traced = inputs.map { trace.input($0.spec, value: $0) }
      results = try trace.during { try derive(traced, in: trace).map { try $0.computed() } }
    }
    return results.map { .tensor($0) }
  }
}
