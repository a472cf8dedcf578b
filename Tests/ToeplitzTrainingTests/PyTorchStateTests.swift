import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// Optimisers that PyTorch began and this library goes on with, and the other way round.
@Suite struct PyTorchStateTests {
  private final class Network: Module {
    let conv: WeightNormConv1d
    let head: Linear
    init() throws {
      conv = try WeightNormConv1d(inChannels: 2, outChannels: 3, kernelSize: 3, dtype: .float64)
      head = try Linear(inFeatures: 3, outFeatures: 2, dtype: .float64)
    }
  }

  private func optimizer(_ name: String) throws -> Optimizer {
    switch name {
    case "adam": return try Optimizer(Adam(lr: 0.01, betas: (0.8, 0.99), amsgrad: true))
    case "adamw": return try Optimizer(AdamW(lr: 0.01))
    case "sgd": return try Optimizer(SGD(lr: 0.01, momentum: 0.9, weightDecay: 0.01))
    default: return try Optimizer(RMSprop(lr: 0.1, momentum: 0.5, centered: true))
    }
  }

  private func update(_ model: Network, _ optimizer: Optimizer, _ golden: GoldenValue) throws {
    let entries = try ModelValues([model]).parameters.map { name, parameter in
      let value = try goldenTensor(golden[name])
      return Gradients.Entry(parameter: ObjectIdentifier(parameter), name: name, spec: value.spec, value: value)
    }
    try optimizer.update(model, with: Gradients(entries))
  }

  private func file() throws -> Checkpoint { try Checkpoint(contentsOf: Fixtures.path("training/optimizers.pt")) }

  @Test func statesOfPyTorchAreGoneOnWith() throws {
    let cases = try #require(try goldenValue("adversarial")["optimizers"].array)
    #expect(cases.count == 4)
    for item in cases {
      let name = try #require(item["name"].string)
      let (model, optimizer) = (try Network(), try optimizer(name))
      let stored = try file().inside(name)
      try model.load(stored.inside("model").tensors)
      try optimizer.load(pytorch: stored.inside("optimizer"), for: model)
      // Halfway through a file of our own.
      for (index, gradients) in (item["gradients"].array ?? []).enumerated() {
        try update(model, optimizer, gradients)
        if index == 1 {
          let folder = try Fixtures.temporaryFolder()
          defer { try? FileManager.default.removeItem(at: folder) }
          let path = folder.appending(path: "optimizer.pt").path
          try PyTorch.write(optimizer.pytorchState(of: model), to: path)
          try optimizer.load(pytorch: Checkpoint(contentsOf: path), for: model)
        }
      }
      for (key, wanted) in item["end"].object ?? [:] {
        let got = try #require(model.stateDictionary()[key])
        #expect(try got.distance(to: goldenTensor(wanted)).absolute < 1e-12, "\(name) \(key)")
      }
    }
  }

  @Test func otherOptimisersAreRefusedByName() throws {
    let model = try Network()
    let stored = try file().inside("adam").inside("optimizer")
    let before = try optimizer("adam")
    for (other, word) in [
      (try Optimizer(Adam(betas: (0.9, 0.99), amsgrad: true)), "betas"), (try optimizer("sgd"), "weight_decay"),
      (try Optimizer(Lion()), "PyTorch"),
    ] {
      let error = #expect(throws: ToeplitzError.self) { try other.load(pytorch: stored, for: model) }
      #expect("\(error as Any)".contains(word), "\(error as Any)")
      #expect(other.memories.isEmpty)
    }
    // Parameters of another model.
    let small = try Linear(inFeatures: 3, outFeatures: 2, dtype: .float64)
    #expect(throws: ToeplitzError.self) { try before.load(pytorch: stored, for: small) }
  }

  @Test func groupsAreWrittenInTheirOrder() throws {
    let model = try Network()
    let optimizer = try Optimizer(AdamW(lr: 0.1), groups: [.init(AdamW(lr: 0.2)) { $0.hasPrefix("head") }])
    guard case .dictionary(let entries) = try optimizer.pytorchState(of: model),
      case .list(let groups)? = entries.first(where: { $0.key == .text("param_groups") })?.value
    else {
      Issue.record("no groups")
      return
    }
    let numbers = groups.map { group -> [Int] in
      guard case .dictionary(let options) = group,
        case .list(let items)? = options.first(where: { $0.key == .text("params") })?.value
      else { return [] }
      return items.map { if case .int(let number) = $0 { number } else { -1 } }
    }
    // PyTorch registers the parts of a weight behind the bias.
    #expect(numbers == [[0, 1], [2, 3, 4]])
    #expect(model.parametersInPyTorchOrder().map(\.name).prefix(3) == ["conv.bias", "conv.weight_g", "conv.weight_v"])
  }
}
