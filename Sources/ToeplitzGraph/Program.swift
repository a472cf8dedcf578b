import ToeplitzOps
import ToeplitzTensor

/// What a device makes of a graph: steps in order, for inputs of the graph's shapes.
package protocol Program: Sendable {
  /// The graph after lowering, with a node for each step.
  var graph: Graph { get }

  /// The most bytes that results of steps take at one time, as far as shapes tell.
  var leastByteCount: Int { get }

  /// Computes the outputs.
  ///
  /// - Parameters:
  ///   - inputs: the graph's inputs in order.
  ///   - observe: called after each step with its number in ``graph`` and its results.
  func run(_ inputs: [Tensor], observe: ((Int, [Tensor]) throws -> Void)?) throws -> [Tensor]
}

/// A device that compiles graphs.
package protocol LoweringBackend: Backend {
  /// A program for a graph, optimised or node by node.
  static func lower(_ graph: Graph, _ folded: FoldedConstants, optimizes: Bool) throws -> any Program
}

/// The processor's program for a graph.
package func lower(_ graph: Graph, _ folded: FoldedConstants, optimizes: Bool = true) throws -> any Program {
  guard let backend = cpuBackend as? any LoweringBackend.Type else {
    throw ToeplitzError(.device, "Executable", expected: "the target ToeplitzCPU to be linked", got: "no kernels")
  }
  try EnvironmentVariable.check()
  return try backend.lower(graph, folded, optimizes: optimizes)
}
