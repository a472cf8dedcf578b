import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Which results are computed where a concatenation of channels wants them, so that it need not copy them.
struct ConcatenationPlacements: Sendable {
  private struct Whole: Sendable {
    let spec: TensorSpec
    /// For each operand its first channel, and whether it is computed there.
    var parts: [(start: Int, isPlaced: Bool)]
  }
  private struct Place: Sendable {
    let whole: Int
    let start: Int
    let shape: TensorShape
  }

  private var wholes: [Whole] = []
  /// By step: the concatenation that it is; the place of its result.
  private var concatenations: [Int: Int] = [:]
  private var places: [Int: Place] = [:]

  /// Those of a graph whose nodes these kernels compute.
  init(_ graph: Graph, _ kernels: [any CPUKernel]) {
    guard graph.nodes.contains(where: { $0.operation is Concatenate }) else { return }
    var makers: [Int: Int] = [:]
    var uses: [Int: Int] = [:]
    for (index, node) in graph.nodes.enumerated() {
      if node.outputs.count == 1 { makers[node.outputs[0]] = index }
      for value in node.inputs { uses[value, default: 0] += 1 }
    }
    let outputs = Set(graph.outputs.map(\.value))
    for (index, node) in graph.nodes.enumerated() {
      guard let operation = node.operation as? Concatenate else { continue }
      let spec = graph.specs[node.outputs[0]]
      guard spec.dtype == .float32, spec.shape.rank > 2, !spec.shape.contains(0),
        (try? spec.shape.normalizedAxis(operation.axis, operation: operation.name)) == 1
      else { continue }
      var whole = Whole(spec: spec, parts: [])
      var start = 0
      for value in node.inputs {
        let shape = graph.specs[value].shape
        var isPlaced = false
        // Of several samples the parts are no longer contiguous, which others may want them to be.
        if let maker = makers[value], places[maker] == nil, !outputs.contains(value), shape[0] == 1 || uses[value] == 1,
          kernels[maker].fillsViews(graph.nodes[maker].inputs.map { graph.specs[$0] })
        {
          places[maker] = Place(whole: wholes.count, start: start, shape: shape)
          isPlaced = true
        }
        whole.parts.append((start, isPlaced))
        start += shape[1]
      }
      guard whole.parts.contains(where: \.isPlaced) else { continue }
      concatenations[index] = wholes.count
      wholes.append(whole)
    }
  }

  /// What a run keeps: the concatenations whose first parts have been computed.
  var emptyWholes: [Tensor?] { Array(repeating: nil, count: wholes.count) }

  /// Where the result of a step is to be computed; nil for memory of its own.
  func view(_ step: Int, _ made: inout [Tensor?]) throws -> Tensor? {
    guard !wholes.isEmpty, let place = places[step] else { return nil }
    let spec = wholes[place.whole].spec
    let whole = try made[place.whole] ?? Tensor(uninitialized: spec.shape, dtype: spec.dtype, operation: "concatenate")
    made[place.whole] = whole
    return whole.part(place.shape, axis: 1, from: place.start)
  }

  /// The result of a step that is one of the concatenations; nil for all others.
  func joined(_ step: Int, _ operands: [Tensor], _ made: inout [Tensor?]) throws -> [Tensor]? {
    guard !wholes.isEmpty, let index = concatenations[step], let whole = made[index] else { return nil }
    made[index] = nil
    for (part, operand) in zip(wholes[index].parts, operands) where !part.isPlaced {
      whole.part(operand.shape, axis: 1, from: part.start).fillOnceTogether(from: operand)
    }
    return [whole]
  }
}
