import Testing
import Toeplitz

@testable import ToeplitzNN

/// What loading checks beside names and shapes.
@Suite struct LoadTests {
  @Test func aZeroFilterHasNoDirectionInWhateverFormItIsStored() throws {
    let state = try ["weight": tensor([1, 2, 3, 4, 0, 0], [3, 1, 2])]
    let layer = try WeightNormConv1d(inChannels: 1, outChannels: 3, kernelSize: 2, bias: false)
    let before = try layer.weight.value().floats
    let text = refusal { try layer.load(state) }
    #expect(text.contains("filters of weight that") && text.contains("filter 2"), "\(text)")
    #expect(try layer.weight.value().floats == before)
    // A layer that holds the weight as it is takes zeros like any number.
    let plain = try Conv1d(inChannels: 1, outChannels: 3, kernelSize: 2, bias: false)
    try plain.load(state)
    #expect(try plain.weight.value().floats == [1, 2, 3, 4, 0, 0])
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
