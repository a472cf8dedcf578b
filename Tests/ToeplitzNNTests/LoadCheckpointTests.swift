import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN

/// Loading from checkpoints that hold more than the model's state dictionary, or less.
@Suite struct LoadCheckpointTests {
  private func model() throws -> Sequential {
    try Sequential(Conv1d(inChannels: 1, outChannels: 2, kernelSize: 3), BatchNorm1d(numFeatures: 2))
  }

  /// The model's state, every value of which is `value`, below a place.
  private func state(_ value: Double, _ place: String) throws -> [String: Tensor] {
    var state: [String: Tensor] = [:]
    for (name, tensor) in try model().stateDictionary() {
      state[place.isEmpty ? name : "\(place).\(name)"] = try .full(tensor.shape, value, dtype: tensor.dtype)
    }
    return state
  }

  @Test(arguments: [
    "", "state_dict", "generator", "model", "module", "ema", "state_dict.module", "model_state_dict._orig_mod",
    "params_ema", "state_dict.model", "something", "checkpoint.state_dict.module",
  ])
  func theTensorsAreFoundWhereTheyFit(_ place: String) throws {
    let model = try model()
    var tensors = try state(2, place)
    if !place.isEmpty { tensors["optimizer.0.exp_avg"] = try Tensor([1]) }
    tensors["CONSTANTS.c0"] = try Tensor([1])
    let report = try model.load(Checkpoint(tensors))
    #expect(report.place == place && report.isClean && report.otherPlaces.isEmpty)
    #expect(report.description == (place.isEmpty ? "all keys fit" : "all keys inside \(place) fit"))
    #expect(try model.stateDictionary()["0.bias"]?.floats == [2, 2])
  }

  @Test func otherPlacesThatFitAreNamed() throws {
    let tensors = try state(1, "model").merging(state(2, "ema")) { $1 }
    let model = try model()
    let report = try model.load(Checkpoint(tensors))
    #expect(report.place == "model" && report.otherPlaces == ["ema"])
    #expect(report.description == "all keys inside model fit; so do those inside ema")
    #expect(try model.stateDictionary()["0.bias"]?.floats == [1, 1])
    // Whoever wants the other says so.
    try model.load(Checkpoint(tensors).inside("ema"))
    #expect(try model.stateDictionary()["0.bias"]?.floats == [2, 2])
  }

  @Test func unknownPlacesMustBeUnique() throws {
    let tensors = try state(1, "left").merging(state(2, "right")) { $1 }
    let model = try model()
    let error = #expect(throws: ToeplitzError.self) { try model.load(Checkpoint(tensors, source: "a.pt")) }
    #expect(error?.got == "left, right" && error?.operation == "a.pt")
  }

  @Test func whatDoesNotFitIsReportedAtTheBestPlace() throws {
    var tensors = try state(1, "generator")
    tensors["generator.0.weight"] = nil
    tensors["discriminator.0.weight"] = try Tensor([1])
    let model = try model()
    let error = #expect(throws: ToeplitzError.self) { try model.load(Checkpoint(tensors, source: "g.pt")) }
    #expect(error?.operation == "g.pt" && error?.path == "generator")
    #expect(error?.got == "missing keys: 0.weight")
    #expect(try model.load(Checkpoint(tensors), strict: false).missing == ["0.weight"])
  }

  @Test func filesAreLoadedByPath() throws {
    let model = try Sequential(Conv1d(inChannels: 2, outChannels: 3, kernelSize: 3), BatchNorm1d(numFeatures: 3))
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "no name").path
    let wanted = try state(3, "net")
    try Safetensors.write(wanted.filter { $0.key != "net.1.num_batches_tracked" }, to: path)
    #expect(throws: ToeplitzError.self) { try model.load(contentsOf: path) }
    let fitting = try self.model()
    let report = try fitting.load(contentsOf: path)
    #expect(report.place == "net" && report.uncounted == ["1.num_batches_tracked"])
  }

  @Test(arguments: ["module.pt", "legacy_module.pt"])
  func wholePickledModulesAreLoaded(_ file: String) throws {
    let model = try Pickled(channels: 3)
    let report = try model.load(contentsOf: Fixtures.path("torch/kinds/\(file)"))
    #expect(report.isClean && report.place == (file == "module.pt" ? "" : "model"))
    #expect(try model.window.value.floats == [0, 0.5, 1, 0.5])
  }

  /// The `Model` of `kinds.py`.
  private final class Pickled: Module {
    let layers: Sequential
    let window: Parameter
    init(channels: Int) throws {
      layers = try Sequential(
        Conv1d(inChannels: 2, outChannels: channels, kernelSize: 3), BatchNorm1d(numFeatures: channels))
      window = Parameter(try Tensor.zeros([4]), isBuffer: true)
    }
  }

  @Test func aTensorThatCannotBeReadSaysWhy() throws {
    let checkpoint = try Checkpoint(contentsOf: Fixtures.path("cases/pt_key_collision/dotted.pt"))
    let model = try Outer(count: 2)
    let error = #expect(throws: ToeplitzError.self) { try model.load(checkpoint) }
    #expect(error?.got.contains("two tensors of one name") == true)
  }

  /// A module whose parameter is called `a.b`.
  private final class Outer: Module {
    let a: Inner
    init(count: Int) throws { a = try Inner(count: count) }
  }

  private final class Inner: Module {
    let b: Parameter
    init(count: Int) throws { b = Parameter(try Tensor.zeros([count])) }
  }

  // MARK: - Counters of batches

  @Test func countersMayBeMissing() throws {
    let checkpoint = try Checkpoint(contentsOf: Fixtures.path("cases/batchnorm_old_state_dict/bn.safetensors"))
    let norm = try BatchNorm2d(numFeatures: 4)
    let report = try norm.load(checkpoint.tensors)
    #expect(report.description == "all keys fit" && report.uncounted == ["num_batches_tracked"])
    #expect(try norm.runningMean?.value.sameBits(as: checkpoint.tensor("running_mean")) == true)
    #expect(try norm.numBatchesTracked?.value.item(Int64.self) == 0)
  }

  @Test func countersMayBeMissingInParts() throws {
    let model = try Sequential(
      BatchNorm1d(numFeatures: 2), BatchNorm3d(numFeatures: 2),
      InstanceNorm1d(numFeatures: 2, trackRunningStats: true))
    var state = model.stateDictionary()
    state["0.num_batches_tracked"] = try Tensor(scalar: Int64(5))
    state["1.num_batches_tracked"] = nil
    state["2.num_batches_tracked"] = nil
    let report = try model.load(state)
    #expect(report.isClean && report.uncounted == ["1.num_batches_tracked", "2.num_batches_tracked"])
    #expect(try model.stateDictionary()["0.num_batches_tracked"]?.item(Int64.self) == 5)
    // Statistics are no counters, and a counter of another shape is wrong.
    state["1.running_mean"] = nil
    #expect(refusal { try model.load(state) }.contains("missing keys: 1.running_mean"))
    state = model.stateDictionary()
    state["0.num_batches_tracked"] = try Tensor([1, 2])
    #expect(refusal { try model.load(state) }.contains("wrong shapes: 0.num_batches_tracked"))
  }
}
