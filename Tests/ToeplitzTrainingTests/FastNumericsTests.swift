import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzTestSupport

@testable import ToeplitzOps
@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// Training with algorithms of fewer multiplications.
@Suite struct FastNumericsTests {
  /// Results and gradients of a vocoder differ from those of the canonical order by rounding.
  @Test func gradientsAreCloseToThoseOfTheCanonicalOrder() throws {
    let model = try HiFiGANGenerator(.v3, generator: Generator(seed: 1))
    let x = try randomTensor([2, 80, 32], dtype: .float32)
    let y = try randomTensor([2, 1, 8192], seed: 3, dtype: .float32)
    let results = try [Numerics.invariant, .fast].map { numerics in
      try Numerics.$current.withValue(numerics) { try valueAndGradient(of: model) { try l1($0(x), y) } }
    }
    let values = try results.map { try $0.0.item(Float.self) }
    #expect(values[1].isFinite && abs(values[0] - values[1]) < 1e-4, "\(values)")
    for (name, gradient) in results[0].1.named {
      let other = try #require(results[1].1[name])
      let scale = try gradient.abs().sum().item(Float.self)
      let distance = try (gradient - other).abs().sum().item(Float.self)
      #expect(distance <= 0.02 * scale + 1e-6, "\(name): \(distance) of \(scale)")
    }
  }
}
