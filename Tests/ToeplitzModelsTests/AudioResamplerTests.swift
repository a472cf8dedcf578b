import Foundation
import Testing
import ToeplitzModels
import ToeplitzTensor

@Suite struct AudioResampler {
  /// Signal-to-noise ratio in decibels of what should be a sine, without `margin` samples at both ends: the
  /// best sine of the frequency against all the rest.
  private func signalToNoise(_ y: [Float], _ frequency: Double, rate: Int, margin: Int) -> (
    ratio: Double, gain: Double
  ) {
    let range = margin..<y.count - margin
    var (cc, cs, ss, yc, ys) = (0.0, 0.0, 0.0, 0.0, 0.0)
    func wave(_ index: Int) -> (c: Double, s: Double) {
      let angle = 2 * Double.pi * frequency * Double(index) / Double(rate)
      return (cos(angle), sin(angle))
    }
    for index in range {
      let (c, s) = wave(index)
      cc += c * c
      cs += c * s
      ss += s * s
      yc += Double(y[index]) * c
      ys += Double(y[index]) * s
    }
    let determinant = cc * ss - cs * cs
    let a = (yc * ss - ys * cs) / determinant
    let b = (ys * cc - yc * cs) / determinant
    let rest = power(range.map { Double(y[$0]) - a * wave($0).c - b * wave($0).s })
    return (decibels((a * a + b * b) / 2 / rest), (a * a + b * b).squareRoot())
  }

  @Test(arguments: [
    (44_100, 22_050, 1000.0), (44_100, 22_050, 9900), (22_050, 44_100, 440), (22_050, 44_100, 9900),
    (44_100, 48_000, 15_000), (48_000, 44_100, 19_500), (48_000, 16_000, 7000), (44_100, 22_051, 9900),
    (22_051, 44_100, 9900), (8000, 22_050, 3500), (44_100, 8000, 3500), (16_000, 15_999, 7000),
  ])
  func sinesStaySines(from: Int, to: Int, frequency: Double) throws {
    let resampler = try Resampler(from: from, to: to)
    let y = try resampler(sine(frequency, rate: from, count: from / 8))
    let margin = 80 * max(1, (to + from - 1) / from)
    let (ratio, gain) = signalToNoise(y, frequency, rate: to, margin: margin)
    #expect(ratio > 100, "\(from) to \(to) at \(frequency) Hz: \(ratio) dB")
    #expect(abs(gain - 1) < 1e-4)
    // No delay: the samples are those of the same sine at the other rate.
    let expected = sine(frequency, rate: to, count: y.count)
    let worst = (margin..<y.count - margin).map { abs(y[$0] - expected[$0]) }.max() ?? 1
    #expect(worst < 1e-4)
  }

  @Test(arguments: [
    (44_100, 22_050, 11_030.0), (44_100, 22_050, 12_000), (44_100, 22_050, 21_000), (48_000, 44_100, 22_100),
    (48_000, 16_000, 8100), (44_100, 22_051, 11_100), (44_100, 22_051, 15_000), (44_100, 8000, 4010),
  ])
  func whatCannotBeKeptIsSuppressed(from: Int, to: Int, frequency: Double) throws {
    let y = try Resampler(from: from, to: to)(sine(frequency, rate: from, count: from / 4))
    let level = decibels(power(y[200..<y.count - 200]) * 2)
    #expect(level < -95, "\(from) to \(to) at \(frequency) Hz: \(level) dB")
  }

  @Test func equalRatesCopy() throws {
    let x = noise(1000, seed: 5) + [.nan, -0.0]
    let resampler = try Resampler(from: 44_100, to: 44_100)
    #expect(try resampler(x).map(\.bitPattern) == x.map(\.bitPattern))
    var stream = resampler.makeStream()
    #expect(try (stream.append(x) + stream.finish()).map(\.bitPattern) == x.map(\.bitPattern))
    #expect(try resampler.outputs(10..<20, inputCount: 1002) { Array(x[$0]) } == Array(x[10..<20]))
  }

  @Test func thereAndBack() throws {
    // Noise without anything above 9 kHz: a sum of sines of random phase.
    var random = RandomSource(seed: 6)
    let count = 8192
    var x = [Float](repeating: 0, count: count)
    for _ in 0..<40 {
      let part = sine(
        20 + 8980 * random.nextUnit(), rate: 44_100, count: count, phase: 6.28 * random.nextUnit())
      for index in 0..<count { x[index] += part[index] / 40 }
    }
    let down = try Resampler(from: 44_100, to: 22_050)(x)
    let back = try Resampler(from: 22_050, to: 44_100)(down)
    #expect(down.count == count / 2 && back.count == count)
    let inner = 600..<count - 600
    let ratio = decibels(power(x[inner]) / power(inner.map { back[$0] - x[$0] }))
    #expect(ratio > 85, "\(ratio) dB")
  }

  @Test func constantsStayConstant() throws {
    for (from, to) in [(44_100, 22_050), (22_050, 44_100), (44_100, 22_051), (48_000, 44_100)] {
      let y = try Resampler(from: from, to: to)([Float](repeating: 0.5, count: 4000))
      #expect(y[200..<y.count - 200].allSatisfy { abs($0 - 0.5) < 1e-6 })
    }
  }

  @Test(arguments: [
    (44_100, 22_050), (22_050, 44_100), (44_100, 22_051), (48_000, 44_100), (3, 100), (100, 3), (997, 1009),
  ])
  func streamsAndPartsGiveTheBitsOfTheWhole(from: Int, to: Int) throws {
    let resampler = try Resampler(from: from, to: to)
    for count in [0, 1, 63, 64, 1500] {
      let x = noise(count, seed: UInt64(count))
      let whole = try resampler(x)
      #expect(whole.count == (count * to + from - 1) / from)
      #expect(try whole.count == resampler.outputCount(inputCount: count))
      for sizes in [[1], [0, 5, 333], [100_000]] {
        var stream = resampler.makeStream()
        var joined: [Float] = []
        var (start, turn) = (0, 0)
        while start < count {
          let end = min(start + sizes[turn % sizes.count], count)
          joined += try stream.append(Array(x[start..<end]))
          (start, turn) = (end, turn + 1)
        }
        joined += try stream.finish()
        #expect(joined.map(\.bitPattern) == whole.map(\.bitPattern))
      }
      for range in [0..<whole.count, whole.count / 3..<whole.count / 2, whole.count..<whole.count] {
        let part = try resampler.outputs(range, inputCount: count) { Array(x[$0]) }
        #expect(part.map(\.bitPattern) == whole[range].map(\.bitPattern))
      }
    }
  }

  @Test func primeRatiosStaySmall() throws {
    for (from, to) in [
      (44_100, 22_051), (999_983, 1_000_003), (1_000_003, 1009), (2_147_483_647, 2_147_483_629),
    ] {
      let resampler = try Resampler(from: from, to: to)
      #expect(resampler.coefficientCount <= 1 << 19)
      let y = try resampler([Float](repeating: 1, count: 5000))
      #expect(y.count == (5000 * to + from - 1) / from)
    }
  }

  @Test func refusesWhatCannotBeDone() throws {
    for (from, to) in [
      (0, 1), (1, 0), (-8000, 8000), (8000, .min), (1, 1025), (.max, .max), (2_000_000, 1000),
    ] {
      #expect(toeplitzError { _ = try Resampler(from: from, to: to) }?.kind == .argument)
    }
    let resampler = try Resampler(from: 1, to: 1024)
    for count in [-1, Int.max, Int.max / 1024] {
      #expect(toeplitzError { _ = try resampler.outputCount(inputCount: count) }?.kind == .argument)
    }
    #expect(toeplitzError { _ = try resampler.outputs(0..<1, inputCount: 4) { _ in [] } }?.kind == .argument)
    for range in [-1..<1, 0..<4097] {
      let error = toeplitzError { _ = try resampler.outputs(range, inputCount: 4) { _ in [0, 0, 0, 0] } }
      #expect(error?.kind == .argument)
    }
    let absurd = toeplitzError { _ = try resampler.outputs(0..<1 << 50, inputCount: 1 << 45) { _ in [] } }
    #expect(absurd?.kind == .memory)
    var stream = resampler.makeStream()
    _ = try stream.append([1])
    _ = try stream.finish()
    #expect(toeplitzError { _ = try stream.append([1]) }?.kind == .argument)
    #expect(toeplitzError { _ = try stream.finish() }?.kind == .argument)
  }
}
