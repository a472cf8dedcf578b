import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Concatenations whose operands are computed in their places.
@Suite struct ConcatenationTests {
  /// Compares both ways of computing a function twice in a row, and gives how many concatenations have parts in their places.
  private func placed(
    _ shape: TensorShape, outputs: Int = 1,
    _ body: @escaping (Tensor, (TensorShape) throws -> Tensor) throws -> [Tensor]
  ) throws -> Int {
    let graph = try LoweringComparison.compare(shape, outputs: outputs, rounds: 2) { x, constants in
      var own = constants
      return try body(x) { try own.weight($0) }
    }
    let kernels = graph.nodes.compactMap { $0.operation as? any CPUKernel }
    try #require(kernels.count == graph.nodes.count)
    return ConcatenationPlacements(graph, kernels).emptyWholes.count
  }

  /// The blocks of GoogLeNet: branches of several convolutions, one after a pooling.
  @Test(arguments: [1, 3], [(14, 14), (5, 7), (1, 1), (40, 33)])
  func branchesOfConvolutions(batch: Int, size: (Int, Int)) throws {
    let count = try placed([batch, 6, size.0, size.1]) { x, weight in
      let parts = [
        try conv2d(x, weight([5, 6, 1, 1]), bias: weight([5])).relu(),
        try conv2d(conv2d(x, weight([4, 6, 1, 1])).silu(), weight([7, 4, 3, 3]), padding: 1).relu(),
        try conv2d(maxPool2d(x, kernelSize: 3, stride: 1, padding: 1), weight([3, 6, 1, 1])),
        try maxPool2d(x, kernelSize: 3, stride: 1, padding: 1),
      ]
      return [try conv2d(Tensor.concatenate(parts, axis: 1), weight([4, 21, 1, 1]))]
    }
    #expect(count == 1)
  }

  /// Parts that somebody else reads, before and after the concatenation, and that are results themselves.
  @Test(arguments: [1, 2]) func partsThatAreWantedElsewhere(batch: Int) throws {
    let count = try placed([batch, 4, 9, 11], outputs: 2) { x, weight in
      let a = try conv2d(x, weight([4, 4, 3, 3]), padding: 1)
      let b = try conv2d(a, weight([4, 4, 3, 3]), padding: 1).relu()
      let c = try conv2d(b, weight([4, 4, 1, 1])) + a
      let joined = try Tensor.concatenate([c, a, b, b], axis: 1)
      return [try conv2d(joined.tanh(), weight([4, 16, 1, 1])) * a.sigmoid() + b, c]
    }
    // Parts of several samples are not contiguous, and others read them all.
    #expect(count == (batch == 1 ? 1 : 0))
  }

  /// DenseNet: every layer reads all before it.
  @Test(arguments: [1, 2]) func partsOfSeveralConcatenations(batch: Int) throws {
    let count = try placed([batch, 8, 12, 12]) { x, weight in
      var features = [try conv2d(x, weight([6, 8, 3, 3]), padding: 1)]
      for _ in 0..<3 {
        let joined = features.count == 1 ? features[0] : try Tensor.concatenate(features, axis: 1)
        features.append(try conv2d(joined.relu(), weight([6, joined.shape[1], 3, 3]), padding: 1))
      }
      return [try Tensor.concatenate(features, axis: 1)]
    }
    #expect(count >= 1)
  }

  @Test func sequencesAndTransposedConvolutions() throws {
    let count = try placed([1, 4, 30]) { x, weight in
      let low = try conv1d(x, weight([6, 4, 4]), stride: 2, padding: 1)
      let high = try convTranspose1d(low, weight([6, 5, 4]), stride: 2, padding: 1)
      return [try Tensor.concatenate([high, x, conv1d(x, weight([4, 1, 3]), padding: 1, groups: 4)], axis: 1)]
    }
    #expect(count == 1)
  }

  /// Other axes, and what kernels cannot write there, are copied.
  @Test func othersAreCopied() throws {
    #expect(
      try placed([1, 4, 6, 6]) { x, weight in
        let y = try conv2d(x, weight([4, 4, 1, 1]))
        return [try Tensor.concatenate([y, y], axis: 2)]
      } == 0)
    #expect(try placed([2, 4, 6]) { x, _ in [try Tensor.concatenate([x.tanh(), x.sigmoid()], axis: 1)] } == 0)
  }
}
