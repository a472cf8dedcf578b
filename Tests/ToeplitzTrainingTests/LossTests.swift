import Foundation
import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzTestSupport

@testable import ToeplitzTensor
@testable import ToeplitzTraining

@Suite struct LossTests {
  private func tensor(_ value: GoldenValue) throws -> Tensor {
    try Tensor(doubles(value["values"]), shape: TensorShape(value["shape"].ints ?? []), device: .cpu)
  }

  private func loss(_ name: String, _ o: GoldenValue, _ x: [Tensor], _ c: [Tensor]) throws -> Tensor {
    let reduction = try #require(LossReduction(rawValue: o["reduction"].string ?? "mean"))
    switch name {
    case "l1": return try l1(x[0], x[1], reduction: reduction)
    case "mse": return try mse(x[0], x[1], reduction: reduction)
    case "huber": return try huber(x[0], x[1], delta: try #require(o["delta"].double), reduction: reduction)
    case "smoothL1": return try smoothL1(x[0], x[1], beta: try #require(o["delta"].double), reduction: reduction)
    case "crossEntropy":
      let isSoft = o["probabilities"].bool ?? false
      return try crossEntropy(
        x[0], isSoft ? c[0] : c[0].cast(to: .int64), weight: c.count > 1 ? c[1] : nil,
        ignoreIndex: try #require(o["ignored"].int),
        labelSmoothing: try #require(o["smoothing"].double), reduction: reduction)
    case "bce":
      return try binaryCrossEntropyWithLogits(x[0], c[0], posWeight: c.count > 1 ? c[1] : nil, reduction: reduction)
    case "kl": return try klDivergence(x[0], c[0], logTarget: o["log"].bool ?? false, reduction: reduction)
    case "cosine": return try cosineEmbedding(x[0], x[1], c[0], margin: 0.1, reduction: reduction)
    case "stft":
      return try multiResolutionSTFT(
        x[0], c[0],
        resolutions: [
          STFTResolution(fftSize: 64, hopSize: 10, windowSize: 40),
          STFTResolution(fftSize: 32, hopSize: 8, windowSize: 32),
        ])
    default: throw ToeplitzError(.argument, "LossTests", expected: "a known loss", got: name)
    }
  }

  @Test func lossesAndGradientsAreThoseOfPyTorch() throws {
    let cases = try goldenValue("losses")["cases"].array!
    #expect(cases.count > 55)
    for item in cases {
      let name = item["loss"].string!
      let inputs = try item["inputs"].array!.map(tensor)
      let constants = try item["constants"].array!.map(tensor)
      let expected = try tensor(item["value"])
      let value = try loss(name, item["options"], inputs, constants)
      #expect(value.shape == expected.shape, "\(name)")
      #expect(try value.distance(to: expected).absolute < 1e-12 * max(1, value.distance(to: expected).scale), "\(name)")
      let count = value.count
      let weights = (0..<count).map { count == 1 ? 0.5 : 0.5 + Double($0) / Double(count - 1) }
      let weight = try Tensor(weights, shape: value.shape, device: .cpu)
      let gradients = try gradient(at: inputs) { x in
        try (loss(name, item["options"], x, constants) * weight).sum()
      }
      for (got, wanted) in zip(gradients, item["gradients"].array!) {
        let wanted = try Tensor(doubles(wanted), shape: got.shape, device: .cpu)
        let distance = try got.distance(to: wanted)
        #expect(distance.absolute < 1e-11 * max(1, distance.scale), "\(name) \(item["options"]): \(distance)")
      }
    }
  }

  @Test func misfitsAreRefused() throws {
    let (a, b) = (try randomTensor([4, 3]), try randomTensor([4]))
    for loss in [{ try mse($0, $1) }, { try l1($0, $1) }, { try huber($0, $1) }, { try smoothL1($0, $1) }]
      as [(Tensor, Tensor) throws -> Tensor]
    {
      #expect(throws: ToeplitzError.self) { try loss(a, b) }
    }
    #expect(throws: ToeplitzError.self) { try crossEntropy(a, Tensor([Int64(0), 1, 2, 3])) }
    #expect(throws: ToeplitzError.self) { try crossEntropy(a, Tensor([Int64(0), 1])) }
    #expect(throws: ToeplitzError.self) { try crossEntropy(a, Tensor([Int64(0), 1, 2, 0]), labelSmoothing: 2) }
    #expect(throws: ToeplitzError.self) { try huber(a, a, delta: 0) }
    #expect(throws: ToeplitzError.self) { try multiResolutionSTFT(a, a) }
  }

  /// The spectrogram in operations is the one of HiFi-GAN, and its gradient the slope.
  @Test func melSpectrogramsHaveGradients() throws {
    let spectrogram = try MelSpectrogram(
      .init(fftSize: 256, melCount: 20, sampleRate: 8000, hopSize: 64, windowSize: 200))
    let x = try randomTensor([2, 900]) * 0.1
    let samples = try x.select(axis: 0, 1).cast(to: .float32).scalars(Float.self)
    let (a, b) = (try spectrogram.frames(of: x).select(axis: 0, 1), try spectrogram(samples).squeezed(0))
    #expect(try a.distance(to: b.cast(to: .float64)).absolute < 1e-5)
    let (y, direction) = (try randomTensor([2, 900], seed: 2) * 0.1, try randomTensor([2, 900], seed: 3))
    let slope = try (gradient(at: [x]) { try melL1($0[0], y, spectrogram: spectrogram) }[0] * direction).sum()
      .item(Double.self)
    func at(_ step: Double) throws -> Double {
      try melL1(x + direction * step, y, spectrogram: spectrogram).item(Double.self)
    }
    let difference = try (at(1e-7) - at(-1e-7)) / 2e-7
    #expect(abs(slope - difference) < 1e-5 * max(1, abs(slope)), "\(slope), \(difference)")
  }

  /// CTC by listing all paths.
  @Test func alignmentsAreSummed() throws {
    let logs = try randomTensor([4, 2, 3]).logSoftmax(axis: 2)
    let targets = try Tensor([Int64(1), 2, 1, 1], shape: [2, 2], device: .cpu)
    let losses = try ctc(
      logs, targets, inputLengths: [4, 3], targetLengths: [2, 2], reduction: .none
    ).scalars(Double.self)
    let numbers = try logs.scalars(Double.self)
    for (sample, (time, wanted)) in [(4, [1, 2]), (3, [1, 1])].enumerated() {
      var sum = 0.0
      for path in 0..<Int(Foundation.pow(3, Double(time))) {
        let states = (0..<time).map { path / Int(Foundation.pow(3, Double($0))) % 3 }
        let merged = states.indices.filter { $0 == 0 || states[$0] != states[$0 - 1] }.map { states[$0] }
        guard merged.filter({ $0 != 0 }) == wanted else { continue }
        sum += Foundation.exp(
          states.enumerated().reduce(0.0) { $0 + numbers[($1.offset * 2 + sample) * 3 + $1.element] })
      }
      #expect(abs(losses[sample] + Foundation.log(sum)) < 1e-12)
    }
    // A letter twice needs a blank between: two positions are too few.
    func loss(_ zeroInfinity: Bool) throws -> [Double] {
      try ctc(
        logs, targets, inputLengths: [4, 2], targetLengths: [2, 2], zeroInfinity: zeroInfinity, reduction: .none
      ).scalars(Double.self)
    }
    #expect(try loss(false)[1] == .infinity && loss(true)[1] == 0 && loss(true)[0] == losses[0])
    let gradients = try gradient(at: [logs]) {
      try ctc($0[0], targets, inputLengths: [4, 2], targetLengths: [2, 2], zeroInfinity: true, reduction: .sum)
    }
    #expect(try !gradients[0].hasNonFinite())
    #expect(throws: ToeplitzError.self) { try ctc(logs, targets, inputLengths: [4], targetLengths: [2, 2]) }
    #expect(throws: ToeplitzError.self) { try ctc(logs, targets, inputLengths: [4, 5], targetLengths: [2, 2]) }
    #expect(throws: ToeplitzError.self) {
      try ctc(logs, targets, inputLengths: [4, 4], targetLengths: [2, 2], blank: 1)
    }
  }
}
