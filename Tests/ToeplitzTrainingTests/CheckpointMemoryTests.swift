import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzGraph
@testable import ToeplitzOps
@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// What segments that are computed again save, and what they cost.
@Suite struct CheckpointMemoryTests {
  private static let size = 1 << 14

  /// The gradient of many layers, in segments of the given length, as the program that computes it.
  private func recording(layers: Int, segment: Int?) throws -> (recording: Recording, input: Tensor) {
    let x = try randomTensor([1, Self.size], dtype: .float32)
    let trace = Trace()
    let input = trace.input(x.spec)
    let gradient = try trace.during {
      var y = input
      func run(_ count: Int) throws {
        for _ in 0..<count { y = try (y.sin() * 1.5 + y * y * 0.01).tanh() }
      }
      if let segment {
        for first in stride(from: 0, to: layers, by: segment) {
          y = try checkpointed {
            try run(min(segment, layers - first))
            return y
          }
        }
      } else {
        try run(layers)
      }
      let loss = try y.mean()
      return try trace.cotangents(of: [(value: loss, cotangent: Tensor.ones([]))], wrt: [input])
    }
    return (try Recording(trace, outputs: gradient.compactMap { $0 }), x)
  }

  /// The most bytes of results that are alive at a time, and how many elements all results have.
  private func cost(_ graph: Graph) -> (peak: Int, work: Int) {
    var last: [Int: Int] = [:]
    for (index, node) in graph.nodes.enumerated() { for input in node.inputs { last[input] = index } }
    for output in graph.outputs { last[output.value] = graph.nodes.count }
    func elements(_ value: Int) -> Int { graph.specs[value].shape.reduce(1, *) }
    var (alive, peak, work) = (0, 0, 0)
    for (index, node) in graph.nodes.enumerated() {
      for output in node.outputs {
        alive += elements(output)
        work += elements(output)
      }
      peak = max(peak, alive)
      for value in Set(node.inputs + node.outputs)
      where (last[value] ?? index) == index && graph.constants[value] == nil
        && !graph.inputs.contains(where: { $0.value == value })
      {
        alive -= elements(value)
      }
    }
    return (peak, work)
  }

  @Test func segmentsTakeAFractionOfTheMemory() throws {
    let (plain, x) = try recording(layers: 196, segment: nil)
    let (saving, _) = try recording(layers: 196, segment: 14)
    #expect(try plain.run([x])[0].sameBits(as: saving.run([x])[0]))
    let (a, b) = (cost(plain.program.graph), cost(saving.program.graph))
    #expect(a.peak >= 196 * Self.size, "a chain of layers keeps a value of each: \(a.peak / Self.size)")
    #expect(Double(b.peak) <= 0.2 * Double(a.peak), "\(b.peak / Self.size) of \(a.peak / Self.size)")
    // One more forward pass.
    #expect(Double(b.work) <= 1.6 * Double(a.work), "\(Double(b.work) / Double(a.work))")
  }

  /// Layers whose values are kept at the ends of segments only.
  private final class Chain: Module {
    let layers: ModuleList<Conv1d>
    let segment: Int

    init(count: Int, segment: Int) throws {
      layers = ModuleList(
        try (0..<count).map { _ in try Conv1d(inChannels: 32, outChannels: 32, kernelSize: 3, padding: 1) })
      self.segment = segment
      super.init()
    }

    func callAsFunction(_ x: Tensor) throws -> Tensor {
      var y = x
      for first in stride(from: 0, to: layers.count, by: max(1, segment)) {
        let part = layers[first..<min(layers.count, first + max(1, segment))]
        func run() throws -> Tensor { try part.reduce(y) { try $1($0).tanh() } }
        y = try segment > 0 ? checkpointed { try run() } : run()
      }
      return y
    }
  }

  /// What a process takes for the gradients of 200 layers, as the system sees it.
  ///
  /// `TOEPLITZ_CHECKPOINT_SEGMENT=14` prints it for segments of 14 layers, 0 without any. Each wants a process of its own, as freed
  /// memory is kept for the next step.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["TOEPLITZ_CHECKPOINT_SEGMENT"] != nil))
  func residentMemory() throws {
    let segment = try #require(ProcessInfo.processInfo.environment["TOEPLITZ_CHECKPOINT_SEGMENT"].flatMap { Int($0) })
    let model = try Chain(count: 200, segment: segment)
    let x = try randomTensor([4, 32, 8192], dtype: .float32)
    let before = try #require(residentBytes())
    let step = CompiledStep(model, try Optimizer(SGD(lr: 1e-3))) { model, optimizer, inputs in
      let (loss, gradients) = try valueAndGradient(of: model) { try $0(inputs[0]).mean() }
      try optimizer.update(model, with: gradients)
      return [loss]
    }
    var times: [Double] = []
    for _ in 0..<4 {
      let start = ContinuousClock.now
      _ = try step(x)
      times.append((ContinuousClock.now - start) / .seconds(1))
    }
    let peak = try #require(residentBytes("VmHWM"))
    print("segments of \(segment): \((peak - before) >> 20) MiB, \(times.min() ?? 0) s a step")
  }
}
