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

  /// The program for inputs that stay at one place in memory, to be run again and again on what they hold then.
  ///
  /// It is run once on what they hold now.
  ///
  /// - Parameters:
  ///   - inputs: the graph's inputs in order, which others may write between runs.
  ///   - rooms: for inputs, by their places, memory that begins with them and has room for what is joined to them.
  ///   - memory: where results lie; programs that never run at the same time may share it.
  func bound(_ inputs: [Tensor], rooms: [Int: JoinRoom], memory: ProgramMemory) throws -> any BoundProgram
}

/// Memory that begins with an input of a program, and has room behind it for what a concatenation joins to it.
package struct JoinRoom {
  /// The memory, of the size of the concatenation.
  package var whole: Tensor
  /// The axis of the concatenation.
  package var axis: Int

  /// Room in a tensor.
  package init(_ whole: Tensor, axis: Int) { (self.whole, self.axis) = (whole, axis) }
}

/// A program whose operands and results stay at one place in memory, so that it need not be told them and allocates none.
///
/// Whoever runs it does so from one thread at a time.
package protocol BoundProgram: AnyObject {
  /// The graph's outputs in order; each run writes them anew.
  var outputs: [Tensor] { get }

  /// The operations that allocate memory in each run, as they have no form for operands that stay at one place.
  var allocating: [String] { get }

  /// Whether it is what would be made now: the number of threads, or what else decides about kernels, may have changed.
  var isCurrent: Bool { get }

  /// Computes the outputs.
  func run() throws
}

/// How much of a graph is computed together.
package enum Lowering: Sendable {
  /// Each node by itself.
  case nodeByNode
  /// Fused, to the bits of the nodes one after the other.
  case exact
  /// Fused, also where that rounds otherwise: constants disappear in weights, and quantised layers compute with integers.
  case fused
}

/// A device that compiles graphs.
package protocol LoweringBackend: Backend {
  /// A program for a graph.
  static func lower(_ graph: Graph, _ folded: FoldedConstants, _ lowering: Lowering) throws -> any Program

  /// A graph of operations that everyone knows, whose exact lowering has the bits of the fused one of `graph`, but for quantised layers.
  static func simplified(_ graph: Graph, _ folded: FoldedConstants) -> Graph
}

/// The processor's program for a graph.
package func lower(
  _ graph: Graph, _ folded: FoldedConstants, _ lowering: Lowering = .fused
) throws -> any Program {
  let backend = try loweringBackend()
  try EnvironmentVariable.check()
  return try backend.lower(graph, folded, lowering)
}

/// What lowers graphs for the processor.
func loweringBackend() throws -> any LoweringBackend.Type {
  guard let backend = cpuBackend as? any LoweringBackend.Type else {
    throw ToeplitzError(.device, "Executable", expected: "the target ToeplitzCPU to be linked", got: "no kernels")
  }
  return backend
}
