import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// What long trainings take of memory and time.
///
/// `TOEPLITZ_LONG=1` takes 10,000 steps instead of some hundreds, and measures segments of 200 convolutions by the clock.
@Suite(.serialized) struct LongTrainingTests {
  private static let isLong = ProcessInfo.processInfo.environment["TOEPLITZ_LONG"] != nil

  private final class Network: Module, UnaryLayer {
    let convs: ModuleList<Conv1d>
    init(layers: Int, channels: Int) throws {
      let generator = Generator(seed: 1)
      convs = ModuleList(
        try (0..<layers).map { _ in
          try Conv1d(inChannels: channels, outChannels: channels, kernelSize: 3, padding: 1, generator: generator)
        })
    }
    func forward(_ x: Tensor) throws -> Tensor { try convs.reduce(x) { try $1($0).relu() } }

    /// The same in segments that are computed again.
    func checkpointedForward(_ x: Tensor, segment: Int) throws -> Tensor {
      try stride(from: 0, to: convs.count, by: segment).reduce(x) { y, first in
        try checkpointed { try convs[first..<min(first + segment, convs.count)].reduce(y) { try $1($0).relu() } }
      }
    }
  }

  @Test func randomLengthsKeepMemoryFlat() throws {
    let model = try Network(layers: 3, channels: 8)
    let step = CompiledStep(model, try Optimizer(AdamW(lr: 1e-4))) { model, optimizer, batch in
      let (loss, gradients) = try valueAndGradient(of: model) { try mse($0(batch[0]), batch[1]) }
      try optimizer.update(model, with: gradients)
      return [loss]
    }
    var random = RandomSource(seed: 9)
    let steps = Self.isLong ? 10_000 : 300
    var resident: [Int] = []
    var waiting: [Int] = []
    for index in 1...steps {
      let length = 64 + Int(random.nextUnit() * 1000)
      let x = try Tensor.randomNormal([2, 8, length], using: &random)
      _ = try step.run([x, x], step: index)
      guard index % (steps / 10) == 0 else { continue }
      resident.append(residentBytes() ?? 0)
      waiting.append(BlockCache.waitingByteCount)
      #expect(step.programCount <= 16)
      #expect(model.convs.allSatisfy { $0.packedByteCount < 1 << 20 })
    }
    // After a warm-up nothing may grow any more; other tests of this process allocate too, so there is some room.
    if Self.isLong {
      let (early, late) = (resident[3], resident.suffix(3).max() ?? 0)
      #expect(late <= early + early / 20 + (8 << 20), "resident bytes \(resident)")
      #expect((waiting.max() ?? 0) < 1 << 27, "bytes in caches \(waiting)")
      print("10,000 steps: resident MiB \(resident.map { $0 >> 20 }), in caches MiB \(waiting.map { $0 >> 20 })")
    }
    #expect((waiting.max() ?? 0) < 1 << 30)
  }

  /// 200 convolutions: the peak of what a step holds, and its time.
  @Test(.enabled(if: isLong)) func segmentsOfConvolutionsSaveMemory() throws {
    let (layers, segment) = (200, 14)
    let x = try randomTensor([1, 32, 4096], dtype: .float32)
    func measure(_ forward: @escaping (Network) throws -> Tensor) throws -> (
      peak: Int, seconds: Double, gradients: Gradients
    ) {
      let model = try Network(layers: layers, channels: 32)
      let compiled = CompiledStep(model, try Optimizer(SGD(lr: 0))) { model, optimizer, _ in
        let (loss, gradients) = try valueAndGradient(of: model) { try forward($0).mean() }
        try optimizer.update(model, with: gradients)
        return [loss]
      }
      _ = try compiled.run([])
      let before = residentBytes() ?? 0
      try "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8)
      let clock = ContinuousClock()
      let times = try (0..<5).map { _ in
        let start = clock.now
        _ = try compiled.run([])
        return (clock.now - start) / .seconds(1)
      }
      let peak = residentBytes("VmHWM") ?? 0
      let gradients = try valueAndGradient(of: model) { try forward($0).mean() }.gradients
      return (peak - before, times.sorted()[2], gradients)
    }
    let saving = try measure { try $0.checkpointedForward(x, segment: segment) }
    let plain = try measure { try $0(x) }
    print(
      "200 layers: plain \(plain.seconds) s, in segments \(saving.seconds) s; peaks \(plain.peak >> 20) and \(saving.peak >> 20) MiB"
    )
    for (name, gradient) in plain.gradients.named {
      #expect(try gradient.sameBits(as: #require(saving.gradients[name])), "\(name)")
    }
    #expect(saving.seconds <= 1.45 * plain.seconds)
  }
}
