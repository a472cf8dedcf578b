import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// A normalisation of channels and the rectifier after it, a row after the other while it is in the cache.
struct RectifiedNormalization: TensorOperation, CPUKernel {
  let normalization: NormalizeChannels

  var name: String { normalization.name + "+ReLU" }
  var makesNewResults: Bool { true }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] { try normalization.infer(inputs) }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    [try normalization.normalized(inputs, rectifies: true)]
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

/// Joins normalisations of float32 channels with rectifiers.
enum RectifiedNormalizations {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    guard graph.nodes.contains(where: { $0.operation is NormalizeChannels }) else { return graph }
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let end = rewriter.nodes[index], end.operation is ReLUOperation,
        rewriter.graph.specs[end.outputs[0]].dtype == .float32, let at = rewriter.soleMaker(end.inputs[0]),
        let first = rewriter.nodes[at], let normalization = first.operation as? NormalizeChannels
      else { continue }
      rewriter.replace(at, by: nil)
      rewriter.replace(
        index,
        by: Graph.Node(
          RectifiedNormalization(normalization: normalization), inputs: first.inputs, outputs: end.outputs,
          path: first.path, fused: first.history + end.history))
    }
    return rewriter.finished
  }
}
