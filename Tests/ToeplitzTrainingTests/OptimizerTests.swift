import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// A JSON file of golden values.
func goldenValue(_ name: String) throws -> GoldenValue {
  let data = try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("training/\(name).json")))
  return try JSONDecoder().decode(GoldenValue.self, from: data)
}

func doubles(_ value: GoldenValue) -> [Double] { (value.array ?? []).compactMap(\.double) }

private final class TwoParameters: Module {
  let matrix: Parameter
  let vector: Parameter
  init(_ matrix: [Double], _ vector: [Double]) throws {
    self.matrix = Parameter(try Tensor(matrix, shape: [3, 2], device: .cpu))
    self.vector = Parameter(try Tensor(vector, shape: [4], device: .cpu))
  }

  func gradients(_ matrix: [Double], _ vector: [Double]) throws -> Gradients {
    let values = [try Tensor(matrix, shape: [3, 2], device: .cpu), try Tensor(vector, shape: [4], device: .cpu)]
    return Gradients(
      zip(namedParameters(), values).map {
        Gradients.Entry(parameter: ObjectIdentifier($0.parameter), name: $0.name, spec: $1.spec, value: $1)
      })
  }
}

@Suite struct OptimizerTests {
  private func optimizer(_ rule: String, _ o: GoldenValue) throws -> Optimizer {
    func number(_ key: String, _ standard: Double) -> Double { o[key].double ?? standard }
    func flag(_ key: String) -> Bool { o[key].bool ?? false }
    let betas = try o["betas"].array.map { (try #require($0[0].double), try #require($0[1].double)) }
    switch rule {
    case "SGD":
      return try Optimizer(
        SGD(
          lr: number("lr", 1e-3), momentum: number("momentum", 0), dampening: number("dampening", 0),
          weightDecay: number("weight_decay", 0), nesterov: flag("nesterov"), maximize: flag("maximize")))
    case "Adam":
      return try Optimizer(
        Adam(
          lr: number("lr", 1e-3), betas: betas ?? (0.9, 0.999), eps: number("eps", 1e-8),
          weightDecay: number("weight_decay", 0), amsgrad: flag("amsgrad"), maximize: flag("maximize")))
    case "AdamW":
      return try Optimizer(
        AdamW(
          lr: number("lr", 1e-3), betas: betas ?? (0.9, 0.999), eps: number("eps", 1e-8),
          weightDecay: number("weight_decay", 1e-2), amsgrad: flag("amsgrad"), maximize: flag("maximize")))
    case "RMSprop":
      return try Optimizer(
        RMSprop(
          lr: number("lr", 1e-2), alpha: number("alpha", 0.99), eps: number("eps", 1e-8),
          weightDecay: number("weight_decay", 0), momentum: number("momentum", 0), centered: flag("centered"),
          maximize: flag("maximize")))
    default:
      return try Optimizer(
        Lion(lr: number("lr", 1e-4), betas: betas ?? (0.9, 0.99), weightDecay: number("weight_decay", 0)))
    }
  }

  @Test func trajectoriesAreThoseOfPyTorch() throws {
    let golden = try goldenValue("optimizers")
    let (start, gradients) = (golden["start"].array!, golden["gradients"].array!)
    let kept = golden["kept"].ints!
    var largest = 0.0
    for item in golden["cases"].array! {
      let model = try TwoParameters(doubles(start[0]), doubles(start[1]))
      let optimizer = try optimizer(item["rule"].string!, item["options"])
      for step in 1...gradients.count {
        let g = gradients[step - 1].array!
        try optimizer.update(model, with: model.gradients(doubles(g[0]), doubles(g[1])))
        guard let at = kept.firstIndex(of: step) else { continue }
        for (parameter, wanted) in zip([model.matrix, model.vector], item["steps"].array![at].array!) {
          for (a, b) in zip(try parameter.value.scalars(Double.self), doubles(wanted)) {
            largest = max(largest, abs(a - b) / max(1, abs(b)))
            #expect(abs(a - b) <= 1e-12 * max(1, abs(b)), "\(item["rule"]) \(item["options"]) step \(step)")
          }
        }
      }
    }
    #expect(golden["cases"].array!.count >= 30)
    #expect(largest > 0, "not even rounding differs: is anything compared?")
  }

  @Test func schedulesAreThoseOfPyTorch() throws {
    let golden = try goldenValue("schedules")
    let schedules: [String: Schedule] = [
      "step": .step(size: 7, gamma: 0.3), "multiStep": .multiStep(milestones: [3, 11, 20], gamma: 0.5),
      "exponential": .exponential(gamma: 0.9), "cosine": .cosine(steps: 29, etaMin: 0.01),
      "warmUp": .warmUp(steps: 8, startFactor: 0.1, then: .exponential(gamma: 0.9)),
      "oneCycle": .oneCycle(maxLR: 0.5, steps: 30),
    ]
    for (name, schedule) in schedules {
      let rates = doubles(golden[name])
      #expect(rates.count == 30)
      for (step, rate) in rates.enumerated() {
        let got = schedule.learningRate(base: 0.3, step: step)
        #expect(abs(got - rate) < 1e-12, "\(name) \(step): \(got), \(rate)")
      }
    }
    var plateau = try Plateau(factor: 0.2, patience: 2, cooldown: 1, minLR: 0.01)
    var rate = 0.3
    for (metric, wanted) in zip(doubles(golden["plateau"]["metrics"]), doubles(golden["plateau"]["rates"])) {
      rate = plateau.next(metric, learningRate: rate)
      #expect(abs(rate - wanted) < 1e-15)
    }
  }

  @Test func groupsHaveRulesOfTheirOwn() throws {
    let model = try TwoParameters([1, 2, 3, 4, 5, 6], [1, 2, 3, 4])
    let optimizer = try Optimizer(SGD(lr: 0.5), groups: [.init(SGD(lr: 0)) { $0 == "vector" }])
    let ones = [Double](repeating: 1, count: 6)
    try optimizer.update(model, with: model.gradients(ones, Array(ones.prefix(4))))
    #expect(try model.matrix.value.scalars(Double.self) == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5])
    #expect(try model.vector.value.scalars(Double.self) == [1, 2, 3, 4])
    optimizer.setLearningRate(.exponential(gamma: 0.5), step: 1)
    #expect(optimizer.learningRate == 0.25 && optimizer.groups[0].rule.lr == 0)
  }

  @Test func stateContinuesToTheBit() throws {
    let golden = try goldenValue("optimizers")
    let (start, gradients) = (golden["start"].array!, golden["gradients"].array!)
    func step(_ model: TwoParameters, _ optimizer: Optimizer, _ range: Range<Int>) throws {
      for index in range {
        let g = gradients[index].array!
        try optimizer.update(model, with: model.gradients(doubles(g[0]), doubles(g[1])))
      }
    }
    let whole = try TwoParameters(doubles(start[0]), doubles(start[1]))
    let first = try Optimizer(AdamW(lr: 0.1, amsgrad: true))
    try step(whole, first, 0..<7)
    let state = try first.stateDictionary(of: whole)
    #expect(
      Set(state.keys)
        == Set(
          ["matrix", "vector"].flatMap { n in ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"].map { "\(n).\($0)" } }
        ))
    let other = try TwoParameters(whole.matrix.value.scalars(Double.self), whole.vector.value.scalars(Double.self))
    let second = try Optimizer(AdamW(lr: 0.1, amsgrad: true))
    try second.load(state, for: other)
    try step(whole, first, 7..<15)
    try step(other, second, 7..<15)
    #expect(
      try whole.matrix.value.sameBits(as: other.matrix.value) && whole.vector.value.sameBits(as: other.vector.value))
    var broken = state
    broken["matrix.exp_avg"] = nil
    #expect(throws: ToeplitzError.self) { try second.load(broken, for: other) }
    broken = state
    broken["elsewhere.step"] = state["matrix.step"]
    #expect(throws: ToeplitzError.self) { try second.load(broken, for: other) }
  }

  @Test func illegalOptionsAreRefused() {
    #expect(throws: ToeplitzError.self) { try Optimizer(SGD(lr: -1)) }
    #expect(throws: ToeplitzError.self) { try Optimizer(SGD(lr: 1, nesterov: true)) }
    #expect(throws: ToeplitzError.self) { try Optimizer(Adam(betas: (1, 0.9))) }
    #expect(throws: ToeplitzError.self) { try Optimizer(AdamW(eps: .nan)) }
    #expect(throws: ToeplitzError.self) { try Optimizer(RMSprop(momentum: -0.1)) }
    #expect(throws: ToeplitzError.self) { try Optimizer(Lion(weightDecay: -0.1)) }
    #expect(throws: ToeplitzError.self) { try Optimizer(Muon(nsSteps: 100)) }
    let model = try? TwoParameters([1, 2, 3, 4, 5, 6], [1, 2, 3, 4])
    #expect(throws: ToeplitzError.self) {
      let model = try #require(model)
      try Optimizer(Muon()).update(model, with: model.gradients([1, 2, 3, 4, 5, 6], [1, 2, 3, 4]))
    }
  }

  @Test func averagesFollowParameters() throws {
    let model = try TwoParameters([1, 2, 3, 4, 5, 6], [1, 2, 3, 4])
    let average = try ExponentialMovingAverage(model, decay: 0.75)
    try average.update()
    model.vector.value = try model.vector.value * 5
    try average.update()
    let during = try average.withAverages { try model.vector.value.scalars(Double.self) }
    #expect(during == [2, 4, 6, 8])
    #expect(try model.vector.value.scalars(Double.self) == [5, 10, 15, 20])
    let other = try ExponentialMovingAverage(model, decay: 0.75)
    try other.load(average.stateDictionary())
    #expect(try other.stateDictionary()["vector"]!.scalars(Double.self) == [2, 4, 6, 8])
    #expect(throws: ToeplitzError.self) { try other.load(["nothing": Tensor(scalar: 1.0)]) }
  }
}
