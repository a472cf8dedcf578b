import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzONNX

/// Models of kinds that users' reports describe, with what ONNX Runtime computes.
@Suite struct CaseTests {
  static let names: [String] = {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: Fixtures.path("onnx/cases"))) ?? []
    return files.filter { $0.hasSuffix(".onnx") }.map { String($0.dropLast(5)) }.sorted()
  }()

  @Test func thereAreCases() { #expect(Self.names.count >= 19) }

  @Test(arguments: names, [true, false])
  func outputsAreThoseOfTheRuntime(_ name: String, optimizes: Bool) throws {
    let model = try Executable(contentsOf: Fixtures.path("onnx/cases/\(name).onnx"), optimizes: optimizes)
    let data = try NumPy.readArchive(contentsOf: Fixtures.path("onnx/cases/\(name).npz"))
    var inputs: [String: Tensor] = [:]
    for port in model.inputs + model.defaults { inputs[port.name] = try? data.tensor("in.\(port.name)") }
    // Twice: the second call finds what the first has made.
    for _ in 0..<2 {
      for (port, got) in zip(model.outputs, try model.run(inputs)) {
        let stored = try data.tensor("out.\(port.name)")
        #expect(got.spec == stored.spec)
        let distance = try got.cast(to: .float64).distance(to: stored.cast(to: .float64))
        #expect(distance.absolute <= 2e-6 * max(1, distance.scale) && distance.sameSpecials, "\(distance)")
      }
    }
  }

  @Test func constantsThatAreInputsAreDefaults() throws {
    let model = try Executable(contentsOf: Fixtures.path("onnx/cases/override_both.onnx"))
    #expect(model.inputs.map(\.name) == ["x"] && model.defaults.map(\.name) == ["w", "b"])
    let x = try Tensor.ones([2, 3])
    let error = #expect(throws: ToeplitzError.self) { try model(["x": x, "v": x]) }
    #expect(error?.description.contains("one of x, w, b") == true)
    #expect(throws: ToeplitzError.self) { try model(["x": x, "w": Tensor.ones([3, 5])]) }
  }

  // MARK: Random numbers

  private func numbers(_ operation: String, seed: Float? = nil, count: Int = 20000) throws -> Executable {
    var node = TestModel.node(operation, ["x"], ["y"])
    if let seed { node = node.with(5, TestModel.attribute("seed", seed)) }
    return try Executable(onnx: TestModel.bytes([node]))
  }

  @Test func noiseHasTheMomentsOfItsDistribution() throws {
    let x = try Tensor.zeros([20000])
    for (operation, mean, variance) in [("RandomNormalLike", 0.0, 1.0), ("RandomUniformLike", 0.5, 1.0 / 12)] {
      let y = try numbers(operation)(["x": x])["y"]?.cast(to: .float64).doubles() ?? []
      let average = y.reduce(0, +) / Double(y.count)
      let spread = y.reduce(0) { $0 + ($1 - average) * ($1 - average) } / Double(y.count)
      #expect(y.count == 20000 && abs(average - mean) < 0.05 && abs(spread - variance) < 0.05, "\(average) \(spread)")
    }
    let third = try Tensor.full([20000], 1.0 / 3)
    let hits = try numbers("Bernoulli")(["x": third])["y"]?.doubles().reduce(0, +) ?? 0
    #expect(abs(hits / 20000 - 1.0 / 3) < 0.02)
    let certain = try Tensor([0, 1, 1, 0])
    #expect(try numbers("Bernoulli")(["x": certain])["y"]?.doubles() == [0, 1, 1, 0])
  }

  @Test func aSeedGivesTheSameNumbersAndEachRunOthers() throws {
    let x = try Tensor.zeros([16])
    let (a, b) = (try numbers("RandomNormalLike", seed: 3), try numbers("RandomNormalLike", seed: 3))
    let first = try a.run(["x": x])[0]
    #expect(try first.sameBits(as: b.run(["x": x])[0]))
    #expect(try !first.sameBits(as: a.run(["x": x])[0]))
    #expect(try !first.sameBits(as: numbers("RandomNormalLike", seed: 4).run(["x": x])[0]))
    #expect(
      try !numbers("RandomNormalLike").run(["x": x])[0].sameBits(as: numbers("RandomNormalLike").run(["x": x])[0]))
  }

  /// The published vectors of Random123.
  @Test func philoxGivesItsPublishedNumbers() {
    #expect(Philox.block(.zero, key: (0, 0)) == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    let ones = UInt32.max
    #expect(
      Philox.block(SIMD4(repeating: ones), key: (ones, ones))
        == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    #expect(
      Philox.block(SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), key: (0xa409_3822, 0x299f_31d0))
        == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
  }
}
