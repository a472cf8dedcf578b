import Foundation
import Testing
import ToeplitzModels
import ToeplitzCPU
import ToeplitzTensor

@Suite struct AudioFFT {
  private func naive(_ x: [Double]) -> (real: [Double], imaginary: [Double]) {
    let n = x.count
    var result = (real: [Double](), imaginary: [Double]())
    for k in 0...n / 2 {
      var (re, im) = (0.0, 0.0)
      for (index, value) in x.enumerated() {
        let angle = -2 * Double.pi * Double(k * index % n) / Double(n)
        re += value * cos(angle)
        im += value * sin(angle)
      }
      result.real.append(re)
      result.imaginary.append(im)
    }
    return result
  }

  @Test(arguments: Array(1...40) + [64, 100, 128, 255, 256, 257, 441, 512, 600, 997, 1000, 1024])
  func agreesWithTheDefinition(count: Int) throws {
    var random = RandomSource(seed: UInt64(count))
    let x = (0..<count).map { _ in random.nextNormal() }
    let plan = try FFT(count: count)
    let (real, imaginary) = try plan.forward(x)
    let expected = naive(x)
    #expect(real.count == plan.binCount && imaginary.count == plan.binCount)
    let scale = Double(count).squareRoot()
    for k in 0..<plan.binCount {
      #expect(abs(real[k] - expected.real[k]) < 1e-12 * scale * 8)
      #expect(abs(imaginary[k] - expected.imaginary[k]) < 1e-12 * scale * 8)
    }
    let single = try plan.forward(x.map { Float($0) })
    for k in 0..<plan.binCount {
      #expect(abs(Double(single.real[k]) - expected.real[k]) < 1e-6 * scale)
      #expect(abs(Double(single.imaginary[k]) - expected.imaginary[k]) < 1e-6 * scale)
    }
  }

  @Test func findsSinesInLongSignals() throws {
    for count in [1 << 16, 44_100, 65_537] {
      let bin = 1234
      let x = (0..<count).map { cos(2 * .pi * Double(bin * $0 % count) / Double(count)) }
      let (real, imaginary) = try FFT(count: count).forward(x)
      #expect(abs(real[bin] - Double(count) / 2) < 1e-7)
      let rest = real.indices.filter { $0 != bin }.map { max(abs(real[$0]), abs(imaginary[$0])) }.max() ?? 1
      #expect(rest < 1e-7)
    }
  }

  @Test func refusesWrongLengths() throws {
    for count in [0, -1, Int.min, FFT.maximumCount + 1, Int.max] {
      #expect(toeplitzError { _ = try FFT(count: count) }?.kind == .argument)
    }
    #expect(
      toeplitzError { _ = try FFT(count: 8).forward([Double](repeating: 0, count: 7)) }?.kind == .argument)
    #expect(toeplitzError { _ = try FFT(count: 8).forward([Float]()) }?.kind == .argument)
  }
}
