import Testing
import Toeplitz

@testable import ToeplitzNN

/// What loading checks beside names and shapes.
@Suite struct LoadTests {
  @Test func aZeroFilterStoredAsDirectionIsRefused() throws {
    let layer = try WeightNormConv1d(inChannels: 1, outChannels: 3, kernelSize: 2, bias: false)
    let before = try layer.weight.value.floats
    let text = refusal {
      try layer.load(["weight_g": tensor([1, 1, 1], [3, 1, 1]), "weight_v": tensor([1, 2, 3, 4, 0, 0], [3, 1, 2])])
    }
    #expect(text.contains("filters of weight_v that") && text.contains("filter 2"), "\(text)")
    #expect(try layer.weight.value.floats == before)
  }

  /// Pruned filters, and those that half precision made zero: PyTorch, which has them behind `remove_weight_norm`, computes
  /// with zeros.
  @Test(arguments: [0, 1, nil] as [Int?], [DType.float32, .float16])
  func plainWeightsWithZeroFiltersLoad(axis: Int?, dtype: DType) throws {
    let shape: TensorShape = [3, 2, 2]
    for numbers in [
      [1, 2, 3, 4, 0, 0, 0, 0, 5, -6, 7, 8], [1, 2, 0, 0, 3, 4, 0, 0, 5, 6, 0, 0], Array(repeating: 0, count: 12),
      // Of which the squares are nothing in half precision.
      [6e-8, 0, 0, 0, 1, 2, 3, 4, 0, -0.0, 0, 0],
    ] as [[Float]] {
      let weight = try tensor(numbers, shape).cast(to: dtype)
      let x = try tensor((0..<14).map { Float($0) - 6 }, [1, 2, 7]).cast(to: dtype)
      let plain = try Conv1d(inChannels: 2, outChannels: 3, kernelSize: 2, bias: false, dtype: dtype)
      try plain.load(["weight": weight])
      let normed = try Conv1d(inChannels: 2, outChannels: 3, kernelSize: 2, bias: false, dtype: dtype)
      try normed.weightNorm(dim: axis)
      try normed.load(["weight": weight])
      #expect(try normed.weight.value.sameBits(as: weight))
      #expect(try normed(x).sameBits(as: plain(x)))
      #expect(try normed.eval().compiled()(x).sameBits(as: plain.eval().compiled()(x)))
      // Length and direction give the zeros again, in another layer too.
      let copy = try Conv1d(inChannels: 2, outChannels: 3, kernelSize: 2, bias: false, dtype: dtype)
      try copy.weightNorm(dim: axis)
      try copy.load(normed.stateDictionary())
      let (got, expected) = (try copy(x).cast(to: .float32).floats, try plain(x).cast(to: .float32).floats)
      #expect(zip(got, expected).allSatisfy { abs($0 - $1) <= 2e-3 * max(1, abs($1)) }, "\(got) \(expected)")
      // And a layer that had such a filter before it was normed.
      try plain.weightNorm(dim: axis)
      #expect(try plain.weight.value.cast(to: .float32).floats.allSatisfy(\.isFinite))
    }
  }

  @Test func valuesThatAreNotFiniteAreReportedAndLoaded() throws {
    let model = try Sequential(
      WeightNormConv1d(inChannels: 1, outChannels: 1, kernelSize: 2), BatchNorm1d(numFeatures: 1))
    var state = model.stateDictionary()
    #expect(try model.load(state).nonFinite.isEmpty)
    state["0.weight_v"] = try tensor([1, .nan], [1, 1, 2])
    state["1.running_var"] = try tensor([.infinity], [1])
    let report = try model.load(state)
    #expect(report.isClean && report.nonFinite == ["0.weight_v", "1.running_var"])
    #expect(report.description == "all keys fit; NaN or infinite values: 0.weight_v, 1.running_var")
    #expect(try model.stateDictionary()["1.running_var"]?.floats == [.infinity])
    // What counts is the value in the layer's type.
    let half = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 1, bias: false, dtype: .float16)
    #expect(try half.load(["weight": tensor([1e6], [1, 1, 1])]).nonFinite == ["weight"])
  }

  @Test func loadingDoesNotMultiplyTheOldWeightOut() throws {
    let layer = try WeightNormConv1d(inChannels: 1, outChannels: 2, kernelSize: 3)
    try layer.load(layer.stateDictionary())
    #expect(layer.weight.folded == nil)
  }
}
