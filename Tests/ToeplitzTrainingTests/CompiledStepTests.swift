import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzOps
@testable import ToeplitzTensor
@testable import ToeplitzTraining

@Suite struct CompiledStepTests {
  private final class Network: Module, UnaryLayer {
    let conv: WeightNormConv1d
    let norm: BatchNorm1d
    let act = LeakyReLU(negativeSlope: 0.1)
    let drop: Dropout
    let last: Conv1d
    init() throws {
      norm = try BatchNorm1d(numFeatures: 4)
      drop = try Dropout(p: 0.3)
      let generator = Generator(seed: 5)
      conv = try WeightNormConv1d(inChannels: 2, outChannels: 4, kernelSize: 3, padding: 1, generator: generator)
      last = try Conv1d(inChannels: 4, outChannels: 1, kernelSize: 5, padding: 2, generator: generator)
      super.init()
    }
    func forward(_ x: Tensor) throws -> Tensor { try last(drop(act(norm(conv(x))))) }
  }

  private func inputs(_ step: Int, length: Int) throws -> [Tensor] {
    [
      try randomTensor([3, 2, length], seed: UInt64(step), dtype: .float32),
      try randomTensor([3, 1, length], seed: UInt64(step + 100), dtype: .float32),
    ]
  }

  private func loss(_ model: Network, _ batch: [Tensor], checkpoints: Bool) throws -> Tensor {
    guard checkpoints else { return try mse(model(batch[0]), batch[1]) }
    let y = try checkpointed { try model.act(model.norm(model.conv(batch[0]))) }
    return try mse(checkpointed { try model.last(model.drop(y)) }, batch[1])
  }

  /// Parameters and what is remembered of them are written over, unless somebody else holds them.
  @Test func updatesTakeNoMemoryButForWhatOthersHold() throws {
    let model = try Network()
    let optimizer = try Optimizer(AdamW(lr: 0.01))
    let step = CompiledStep(model, optimizer) { model, optimizer, batch in
      let (value, gradients) = try valueAndGradient(of: model) { try loss($0, batch, checkpoints: false) }
      try optimizer.update(model, with: gradients)
      return [value]
    }
    func values() -> [Tensor] {
      let parameters = ModelValues([model]).parameters.map(\.parameter)
      return parameters.map(\.value) + parameters.flatMap { optimizer.memories[ObjectIdentifier($0)]?.tensors ?? [] }
    }
    func places() -> [ObjectIdentifier] { values().map { ObjectIdentifier($0.storage) } }
    _ = try step.run(inputs(0, length: 8))
    let before = places()
    _ = try step.run(inputs(1, length: 8))
    #expect(places() == before)
    let held = values()
    let copies = try held.map { try $0.copied() }
    _ = try step.run(inputs(2, length: 8))
    #expect(zip(places(), before).allSatisfy { $0 != $1 })
    for (value, copy) in zip(held, copies) { #expect(try value.sameBits(as: copy)) }
    for (value, copy) in zip(values(), copies) { #expect(try !value.sameBits(as: copy)) }
  }

  /// Eager, compiled and checkpointed steps give the same bits, at several lengths, with a learning rate that changes.
  @Test(arguments: [0, 1, 2, 3])
  func stepsGiveTheSameBits(rule: Int) throws {
    let rules: [any UpdateRule] = [
      AdamW(lr: 0.01), SGD(lr: 0.01, momentum: 0.9, nesterov: true), RMSprop(momentum: 0.5, centered: true),
      Lion(weightDecay: 0.1),
    ]
    func optimizer() throws -> Optimizer {
      try Optimizer(rules[rule], groups: [.init(SGD(lr: 0.02)) { $0 == "last.bias" }])
    }
    let models = try [Network(), Network(), Network(), Network()]
    let optimizers = try models.map { _ in try optimizer() }
    let steps = (0..<2).map { kind in
      CompiledStep(models[2 * kind + 1], optimizers[2 * kind + 1]) { model, optimizer, batch in
        let (value, gradients) = try valueAndGradient(of: model) {
          try loss($0, batch, checkpoints: kind == 1)
        }
        try optimizer.update(model, with: gradients)
        return [value]
      }
    }
    for step in 0..<6 {
      let batch = try inputs(step, length: [8, 8, 11, 8, 20, 11][step])
      for optimizer in optimizers { optimizer.setLearningRate(.exponential(gamma: 0.9), step: step) }
      var losses: [Tensor] = []
      for kind in 0..<2 {
        let (model, optimizer) = (models[2 * kind], optimizers[2 * kind])
        let (value, gradients) = try withStepRandom(seed: 1, step: step) {
          try valueAndGradient(of: model) { try loss($0, batch, checkpoints: kind == 1) }
        }
        try optimizer.update(model, with: gradients)
        losses.append(value)
        losses.append(try steps[kind].run(batch, seed: 1, step: step)[0])
      }
      for other in losses.dropFirst() { #expect(try losses[0].sameBits(as: other), "step \(step)") }
      let states = models.map { $0.stateDictionary() }
      for (name, value) in states[0] {
        for other in states.dropFirst() { #expect(try value.sameBits(as: other[name]!), "step \(step): \(name)") }
      }
    }
    #expect(steps[0].programCount == 3)
    let remembered = try optimizers.indices.map { try optimizers[$0].stateDictionary(of: models[$0]) }
    for (name, value) in remembered[0] {
      for other in remembered.dropFirst() { #expect(try value.sameBits(as: other[name]!), "\(name)") }
    }
  }

  @Test func threadsChangeNoBit() throws {
    let threads = ThreadPool.shared.threadCount
    defer { ThreadPool.shared.threadCount = threads }
    let states = try [1, 2, 3].map { count in
      ThreadPool.shared.threadCount = count
      let model = try Network()
      let step = CompiledStep(model, try Optimizer(AdamW(lr: 0.01))) { model, optimizer, batch in
        let (value, gradients) = try valueAndGradient(of: model) { try mse($0(batch[0]), batch[1]) }
        try optimizer.update(model, with: gradients)
        return [value]
      }
      for index in 0..<3 { _ = try step.run(inputs(index, length: 3000), seed: 1, step: index) }
      return model.stateDictionary()
    }
    for (name, value) in states[0] {
      #expect(try value.sameBits(as: states[1][name]!) && value.sameBits(as: states[2][name]!), "\(name)")
    }
  }

  /// What is computed early is heard before the rest is computed, in the order in which gradients are made: the last layer's first.
  @Test func resultsAreHeardAsSoonAsTheyAreThere() throws {
    let model = Sequential([
      try Linear(inFeatures: 3, outFeatures: 4), ReLU(), try Linear(inFeatures: 4, outFeatures: 5), ReLU(),
      try Linear(inFeatures: 5, outFeatures: 2),
    ])
    let step = CompiledStep(model, try Optimizer(SGD(lr: 0.1))) { model, _, batch in
      let (loss, gradients) = try valueAndGradient(of: model) { try $0(batch[0]).sum() }
      return try [loss] + ["0.weight", "2.weight", "4.weight"].map { try #require(gradients[$0]) } + [Tensor.ones([2])]
    }
    var operations = 0
    var heard: [(index: Int, value: Tensor, operations: Int)] = []
    step.observe = { _, _ in operations += 1 }
    let results = try step.run([randomTensor([6, 3], dtype: .float32)], key: 0) { heard.append(($0, $1, operations)) }
    #expect(heard.map(\.index) == [0, 3, 2, 1] && results.count == 5)
    #expect(heard[1].operations < heard[3].operations)
    for item in heard { #expect(try item.value.sameBits(as: results[item.index])) }
  }

  @Test func fewSignaturesAreRemembered() throws {
    let model = try Network()
    let step = CompiledStep(model, try Optimizer(SGD(lr: 0.01)), limit: 2) { model, optimizer, batch in
      let (value, gradients) = try valueAndGradient(of: model) { try mse($0(batch[0]), batch[1]) }
      try optimizer.update(model, with: gradients)
      return [value]
    }
    for length in [8, 9, 10, 8] { _ = try step.run(inputs(1, length: length)) }
    #expect(step.programCount == 2)
    // Another mode is another signature.
    model.eval()
    _ = try step.run(inputs(1, length: 8))
    #expect(!model.stateDictionary().values.contains { $0.isTraced })
  }

  @Test func readingElementsIsRefusedAndNamed() throws {
    let model = try Network()
    let before = model.stateDictionary()
    let step = CompiledStep(model, try Optimizer(SGD(lr: 0.01))) { model, optimizer, batch in
      let (value, gradients) = try valueAndGradient(of: model) { model in
        let y = try model(batch[0])
        _ = try y.scalars(Float.self)
        return try y.mean()
      }
      try optimizer.update(model, with: gradients)
      return [value]
    }
    let error = #expect(throws: ToeplitzError.self) { try step.run(inputs(1, length: 8)) }
    #expect(error?.got.contains("of 'last'") == true, "\(error.map(String.init(describing:)) ?? "")")
    for (name, value) in model.stateDictionary() { #expect(value.isSameView(as: before[name]!), "\(name)") }
  }

  @Test func dropoutOfAStepIsAFunctionOfItsSeed() throws {
    let drop = try Dropout(p: 0.5)
    let x = try Tensor.ones([1000])
    func run(_ seed: UInt64, _ step: Int) throws -> Tensor {
      try withStepRandom(seed: seed, step: step) { try drop(x) }
    }
    #expect(try run(1, 2).sameBits(as: run(1, 2)))
    #expect(try !run(1, 2).sameBits(as: run(1, 3)) && !run(1, 2).sameBits(as: run(2, 2)))
    let kept = try run(1, 2).scalars(Float.self).filter { $0 != 0 }.count
    #expect((430...570).contains(kept))
  }
}
