import Foundation
import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzTensor
@testable import ToeplitzTraining

@Suite struct DiscriminatorTests {
  /// Weights from the positions of keys in alphabetical order and of elements, as the script has them.
  private func formula(_ model: Module) throws {
    let state = model.stateDictionary()
    try model.load(
      Dictionary(
        uniqueKeysWithValues: state.keys.sorted().enumerated().map { index, key in
          let shape = state[key]?.shape ?? []
          let values = (0..<shape.reduce(1, *)).map { element -> Double in
            let value = Foundation.sin(Double(element) * 0.37 + Double(index))
            return key.hasSuffix("_g") ? Swift.abs(value) + 0.5 : key.hasSuffix("_u") ? value : value * 0.1
          }
          return (key, try Tensor(values, shape: shape, device: .cpu))
        }))
  }

  private func signal(_ value: (Double) -> Double) throws -> Tensor {
    try Tensor((0..<2060).map { value(Double($0)) }, shape: [2, 1, 1030], device: .cpu)
  }

  private func check(
    _ model: Module, _ golden: GoldenValue, _ judge: (Tensor) throws -> [DiscriminatorOutput]
  ) throws {
    let keys = try #require(golden["keys"].object)
    let state = model.stateDictionary()
    #expect(Set(keys.keys) == Set(state.keys))
    for (key, shape) in keys { #expect(state[key]?.shape.dimensions == shape.ints, "\(key)") }
    try model.to(.float64)
    try formula(model)
    let real = try judge(signal { Foundation.sin($0 * 0.05) })
    let fake = try judge(signal { Foundation.cos($0 * 0.07) * 0.5 })
    for ((output, score), features) in zip(
      zip(real, golden["scores"].array ?? []), golden["features"].array ?? [])
    {
      let wanted = try goldenTensor(score)
      let distance = try output.score.distance(to: wanted)
      #expect(distance.absolute < 1e-10 * max(1, distance.scale))
      for (map, mean) in zip(output.features, doubles(features)) {
        #expect(Swift.abs(try map.abs().mean().item(Double.self) - mean) < 1e-10 * max(1, mean))
      }
      #expect(output.features.count == doubles(features).count)
    }
    for (loss, name) in [
      (try discriminatorLoss(real: real, fake: fake), "discriminator"),
      (try adversarialLoss(fake: fake), "adversarial"),
      (try featureMatchingLoss(real: real, fake: fake), "matching"),
    ] {
      let wanted = try #require(golden[name].double)
      #expect(Swift.abs(try loss.item(Double.self) - wanted) < 1e-10 * max(1, wanted), "\(name)")
    }
  }

  @Test func judgementsAreThoseOfTheAuthorsCode() throws {
    let golden = try goldenValue("adversarial")["discriminators"]
    let mpd = try HiFiGANMultiPeriodDiscriminator(divisor: 8)
    try check(mpd, golden["mpd"]) { try mpd($0) }
    let msd = try HiFiGANMultiScaleDiscriminator(divisor: 8)
    try check(msd, golden["msd"]) { try msd($0) }
  }

  @Test func misfitsAreRefused() throws {
    #expect(throws: ToeplitzError.self) { try HiFiGANMultiPeriodDiscriminator(divisor: 3) }
    let mpd = try HiFiGANMultiPeriodDiscriminator(divisor: 8, generator: .zeros)
    #expect(throws: ToeplitzError.self) { try mpd(Tensor.zeros([1, 2, 100])) }
    #expect(throws: ToeplitzError.self) { try discriminatorLoss(real: [], fake: []) }
  }
}
