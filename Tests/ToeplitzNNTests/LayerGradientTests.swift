import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzOps
@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// Gradients of every layer that the golden cases have, in float64 against differences, and in all ways in which they can be
/// computed to the bit.
@Suite struct LayerGradientTests {
  private static let golden = Result { try GoldenFile("layers/layers") }
  private static let kinds: [String] = {
    let cases = (try? golden.get().cases) ?? []
    return Array(Set(cases.compactMap { $0["layer"].string })).sorted()
  }()

  private struct Sample {
    var id: String
    var layer: any UnaryLayer
    var input: Tensor
  }

  /// The first case of each shape, mode and set of options that is small, with smooth inputs.
  private func samples(_ kind: String) throws -> [Sample] {
    let golden = try Self.golden.get()
    var seen: Set<String> = []
    return try golden.cases.compactMap { item -> Sample? in
      guard item["layer"].string == kind, item["outputSize"].isNull else { return nil }
      let id = try #require(item["id"].string)
      let stored = try golden.tensor("\(id).input")
      guard item["inputDType"].string == "float32" || kind == "Embedding", stored.count > 0, stored.count < 3000,
        seen.insert("\(item["options"]) \(stored.shape) \(item["mode"]) \(item["weightNorm"])").inserted
      else { return nil }
      let layer = try LayerFactory.layer(kind, item["options"], dtype: .float32)
      if !item["weightNorm"].isNull {
        try #require(layer as? any WeightedLayer).weightNorm(dim: item["weightNorm"]["dim"].int)
      }
      try layer.to(.float64)
      layer.train(item["mode"].string == "train")
      guard kind != "Embedding" else { return Sample(id: id, layer: layer, input: stored) }
      var random = RandomSource(seed: 77)
      let input = try Tensor.randomNormal(stored.shape, dtype: .float64, using: &random)
      return Sample(id: id, layer: layer, input: input)
    }
  }

  private func noise(_ shape: TensorShape, _ seed: UInt64) throws -> Tensor {
    var random = RandomSource(seed: seed)
    return try Tensor.randomUniform(shape, from: -1, to: 1, dtype: .float64, using: &random)
  }

  private func loss(_ sample: Sample, _ x: Tensor) throws -> Tensor {
    let y = try withStepRandom(seed: 1, step: 1) { try sample.layer(x) }
    return try (y * noise(y.shape, 5) + y * y * 0.1).sum()
  }

  @Test func allKindsAreThere() throws { #expect(Self.kinds.count == 71) }

  /// Layers whose gradients other cases check.
  ///
  /// Containers by those of what they hold, recurrent layers by PyTorch's samples, weight norm by convolutions that have it. An
  /// identity gives its operand.
  private static let elsewhere: Set<String> = [
    "WeightNormConv", "WeightNormConvTranspose", "Identity",
    "Sequential", "Lambda", "ModuleList", "RNN", "GRU", "LSTM", "RecurrentLayer", "ElementwiseLayer",
    "ConvolutionLayer",
    "FeatureNorm", "AdaptivePool", "PadLayer",
  ]

  /// The sources say which classes are layers; a new one needs a golden case, and so has its gradient checked.
  @Test func noLayerIsForgotten() throws {
    let folder = URL(filePath: #filePath).appending(path: "../../../Sources/ToeplitzNN/Layers").standardized
    var declared: Set<String> = []
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) where name.hasSuffix(".swift") {
      let text = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
      for match in text.matches(of: /(?m)^(?:open|public final|public) class (\w+)/) {
        declared.insert(String(match.output.1))
      }
    }
    #expect(declared.count > 50)
    let known = Set(Self.kinds.flatMap { [$0, $0.replacing(/[123]d$/, with: "")] })
    #expect(declared.subtracting(known).subtracting(Self.elsewhere).isEmpty)
    #expect(Self.elsewhere.subtracting(declared).isEmpty)
  }

  @Test(arguments: kinds)
  func gradientsAgreeWithDifferences(kind: String) throws {
    for sample in try samples(kind) {
      let buffers = sample.layer.namedBuffers().map { ($0.parameter, $0.parameter.value) }
      func value(_ x: Tensor) throws -> Double {
        defer { for (buffer, old) in buffers { buffer.value = old } }
        return try loss(sample, x).item(Double.self)
      }
      let isFloat = sample.input.dtype.isFloatingPoint
      let parameters = sample.layer.parameters()
      var slopes: [Double] = []
      var expected: [Double] = []
      let step = 1e-6
      if isFloat {
        let direction = try noise(sample.input.shape, 6)
        let gradient = try gradient(at: [sample.input]) { try loss(sample, $0[0]) }[0]
        slopes.append(try (gradient * direction).sum().item(Double.self))
        expected.append(
          try (value(sample.input + direction * step) - value(sample.input - direction * step)) / (2 * step))
      }
      if !parameters.isEmpty {
        let gradients = try differentiated(sample)
        for (index, parameter) in parameters.enumerated() {
          let direction = try noise(parameter.value.shape, UInt64(10 + index))
          slopes.append(try gradients[parameter].map { try ($0 * direction).sum().item(Double.self) } ?? 0)
          let own = parameter.value
          parameter.value = try own + direction * step
          let high = try value(sample.input)
          parameter.value = try own - direction * step
          expected.append(try (high - value(sample.input)) / (2 * step))
          parameter.value = own
        }
      }
      for (slope, wanted) in zip(slopes, expected) {
        #expect(abs(slope - wanted) <= 2e-6 * max(1, abs(wanted)), "\(sample.id): \(slope), \(wanted)")
      }
    }
  }

  private func differentiated(_ sample: Sample, checkpoints: Bool = false) throws -> Gradients {
    let buffers = sample.layer.namedBuffers().map { ($0.parameter, $0.parameter.value) }
    defer { for (buffer, old) in buffers { buffer.value = old } }
    func go<Layer: UnaryLayer>(_ layer: Layer) throws -> Gradients {
      try valueAndGradient(of: layer) { _ in
        checkpoints ? try checkpointed { try loss(sample, sample.input) } : try loss(sample, sample.input)
      }.gradients
    }
    return try go(sample.layer)
  }

  /// Float32: at once, with values computed again, and in one graph with the update.
  @Test(arguments: kinds)
  func allWaysGiveTheSameBits(kind: String) throws {
    for var sample in try samples(kind) where !sample.layer.parameters().isEmpty {
      try sample.layer.to(.float32)
      if sample.input.dtype.isFloatingPoint { sample.input = try sample.input.cast(to: .float32) }
      let (input, id) = (sample.input, sample.id)
      func loss(_ layer: any UnaryLayer) throws -> Tensor {
        let y = try layer(input)
        return try (y * noise(y.shape, 5).cast(to: .float32) + y * y * 0.1).sum()
      }
      func go<Layer: UnaryLayer>(_ layer: Layer) throws {
        let state = layer.stateDictionary()
        let plain = try withStepRandom(seed: 0, step: 0) { try valueAndGradient(of: layer) { try loss($0) } }.gradients
        try layer.load(state)
        let again = try withStepRandom(seed: 0, step: 0) {
          try valueAndGradient(of: layer) { layer in try checkpointed { try loss(layer) } }
        }.gradients
        for (name, gradient) in plain.named {
          #expect(try gradient.sameBits(as: again[name]!), "\(id): \(name) computed again")
        }
        try layer.load(state)
        let step = CompiledStep(layer, try Optimizer(SGD(lr: 1))) { layer, _, _ in
          let gradients = try valueAndGradient(of: layer) { try loss($0) }.gradients
          return try gradients.named.sorted { $0.key < $1.key }.map { try $0.value.reshaped($0.value.shape) }
        }
        for (compiled, (name, gradient)) in zip(try step(), plain.named.sorted(by: { $0.key < $1.key })) {
          #expect(try gradient.sameBits(as: compiled), "\(id): \(name) compiled")
        }
      }
      try go(sample.layer)
    }
  }
}
