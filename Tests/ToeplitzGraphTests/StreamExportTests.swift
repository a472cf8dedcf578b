import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzONNX
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Plans written as ONNX models of single steps.
@Suite struct StreamExportTests {
  /// Random networks that can be written, with a stream of theirs.
  private func each(
    _ count: Int, seeds: UInt64,
    _ body: (_ model: [UInt8], StreamPlan, _ x: Tensor, _ y: Tensor, _ chunk: Int, _ label: String) throws -> Void
  ) throws -> (delayed: Int, refused: Int) {
    var (found, delayed, refused, seed) = (0, 0, 0, seeds)
    while found < count, seed < seeds + 60 * UInt64(count) {
      seed += 1
      var draw = NetworkDraw(random: RandomSource(seed: seed))
      guard let (network, executable, plan) = draw.streamed() else { continue }
      let label = "seed \(seed): \(network)"
      let chunk = plan.blockSize * draw.pick(1...3)
      let x = try draw.tensor([1, network.inputChannels, chunk * draw.pick(6...12)], .float32)
      guard let whole = try? executable.run([x])[0] else { continue }
      let model: [UInt8]
      do {
        model = try plan.onnxModel(chunk: chunk)
      } catch let error as ToeplitzError where error.expected.hasPrefix("operations that one graph") {
        // Only what says that it cannot.
        #expect(error.kind == .unsupported, "\(error), \(label)")
        refused += 1
        continue
      }
      try body(model, plan, x, whole.copied(), chunk, label)
      found += 1
      if plan.latency > 0 { delayed += 1 }
    }
    #expect(found == count)
    return (delayed, refused)
  }

  /// The stream through the model that is read again has the bits of the whole, also where it begins and ends.
  @Test func stepsReadAgainAreTheStream() throws {
    let (delayed, refused) = try each(NetworkDraw.count(120), seeds: 70_000) { model, plan, x, whole, chunk, label in
      let executable = try Executable(onnx: model)
      var stream = try executable.stepStream()
      #expect(stream.block == chunk && stream.input == "x" && stream.outputs == ["y"], "\(label)")
      var pieces: [Tensor] = []
      for first in stride(from: 0, to: x.shape[2], by: 7) {
        pieces.append(try stream.push(x.slice(axis: 2, first..<min(first + 7, x.shape[2])).copied()))
      }
      pieces.append(try stream.finish())
      let joined = try Tensor.concatenate(pieces, axis: 2)
      let same = try joined.spec == whole.spec && joined.copied().sameBits(as: whole)
      #expect(same, "\(label)")
    }
    // Both kinds are there.
    #expect(delayed > NetworkDraw.count(20) && refused > NetworkDraw.count(20), "\(delayed), \(refused)")
  }

  /// Whether a Python with ONNX Runtime is there.
  private static let hasRuntime = python(["-c", "import onnxruntime, numpy"]) == 0

  private static func python(_ arguments: [String]) -> Int32? {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3"] + arguments
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return nil }
    process.waitUntilExit()
    return process.terminationStatus
  }

  @Test(.enabled(if: hasRuntime)) func runtimeGivesTheStream() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    var expected: [(Tensor, String)] = []
    _ = try each(NetworkDraw.count(40), seeds: 80_000) { model, _, x, whole, _, label in
      let path = folder.appending(path: "\(expected.count)").path
      try Data(model).write(to: URL(filePath: path + ".onnx"))
      try NumPy.write(x, to: path + ".x.npy")
      expected.append((whole, label))
    }
    let script = URL(filePath: #filePath).appending(path: "../../../Scripts/run-onnx-steps.py").standardized.path
    #expect(Self.python([script, folder.path]) == 0)
    for (index, (whole, label)) in expected.enumerated() {
      let got = try NumPy.read(contentsOf: folder.appending(path: "\(index).y.npy").path)
      #expect(got.shape == whole.shape, "\(label)")
      let distance = try got.distance(to: whole)
      // Sums over time add up how the runtime's functions differ, and softmax after softmax too.
      let attentions = label.components(separatedBy: "attention").count - 1
      let bound = label.contains("cumsum") ? 1e-5 : attentions > 1 ? 5e-6 : 1e-6
      #expect(distance.absolute <= bound * max(1, distance.scale) && distance.sameSpecials, "\(label): \(distance)")
    }
  }

  @Test func statesAndLengthsAreTold() throws {
    var draw = NetworkDraw(random: RandomSource(seed: 4))
    let causal = try Tensor.randomUniform([3, 2, 5], from: -1, to: 1, dtype: .float32, using: &draw.random)
    let geometry = try ConvolutionGeometry(rank: 1, inChannels: 2, outChannels: 3, kernelSize: 5)
    // Padding before only: the first state holds it.
    let padded = RandomNetwork(
      steps: [
        ("pad", { try $0.padded([(axis: 2, low: 4, high: 0)], value: 0.5) }),
        ("conv", { try $0.relu().convolved(geometry, weight: causal, bias: nil) }),
      ], channels: 2, dtype: .float32)
    let plan = try padded.executable().streamPlan(shape: [1, 2, nil])
    #expect(throws: ToeplitzError.self) { try plan.onnxModel(chunk: 0) }
    let model = try Executable(onnx: plan.onnxModel(chunk: 3))
    // No counter and no length, and states with first values.
    #expect(model.inputs.map(\.name) == ["x"] && model.defaults.map(\.name) == ["state_1_in"])
    #expect(try model.statePairs() == [StatePair(input: "state_1_in", output: "state_1_out")])
    #expect(model.metadata["stream.block"] == "3" && model.metadata["stream.output.y"] == "2 1 1 0 0")
    let first = try model(["x": Tensor.zeros([1, 2, 3])])
    let whole = try padded(Tensor.zeros([1, 2, 3]))
    #expect(try #require(first["y"]).sameBits(as: whole.copied()))
    // What another graph would have to begin is refused by name.
    func refusal(_ body: @escaping (Tensor) throws -> Tensor) -> String {
      let network = RandomNetwork(steps: [("f", body)], channels: 2, dtype: .float32)
      do {
        _ = try network.executable().streamPlan(shape: [1, 2, nil]).onnxModel()
        return "none"
      } catch { return "\(error)" }
    }
    #expect(refusal { try $0.padded([(axis: 2, low: 2, high: 2)], mode: .reflect) }.contains("at the end"))
    func reflected(_ x: Tensor) throws -> Tensor {
      try x.padded([(axis: 2, low: 4, high: 0)], mode: .reflect).relu().convolved(geometry, weight: causal, bias: nil)
    }
    #expect(refusal(reflected).contains("a chunk of 5 or more"))
    #expect(refusal { try $0.resampled(axis: 2, size: $0.shape[2] * 2, .linear) }.contains("beside the ends"))
  }

  /// Metadata of a file may say anything.
  @Test func damagedMetadataAreRefused() throws {
    func refusal(_ metadata: [String: String]) -> String {
      do {
        return try StreamMetadata(metadata) == nil ? "none" : "read"
      } catch { return "\(error)" }
    }
    let good = ["stream.block": "4", "stream.multiple": "2", "stream.axis": "2", "stream.output.y": "2 1 2 3 -1"]
    #expect(refusal([:]) == "none" && refusal(good) == "read")
    for (key, value) in [
      ("stream.block", "0"), ("stream.block", "four"), ("stream.multiple", "0"), ("stream.axis", "-1"),
      ("stream.output.y", "2 1 0 3 0"), ("stream.output.y", "2 1 2 3"),
      ("stream.output.y", "2 1 2 99999999999999999999 0"),
    ] {
      #expect(refusal(good.merging([key: value]) { $1 }).contains("expected"), "\(key) \(value)")
    }
    #expect(refusal(good.filter { $0.key != "stream.axis" }).contains("none"))
  }
}
