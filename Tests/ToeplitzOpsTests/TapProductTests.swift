import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Convolutions whose weights are read as they lie give the bits of those that pack them.
@Suite struct TapProductTests {
  /// Geometries without groups, of any rank, stride, dilation and padding.
  private func geometries(seed: UInt64, count: Int) throws -> [(geometry: ConvolutionGeometry, size: [Int])] {
    var random = RandomSource(seed: seed)
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    var found: [(ConvolutionGeometry, [Int])] = []
    while found.count < count {
      let rank = pick(1...3)
      func perAxis(_ range: ClosedRange<Int>) -> PerAxis { PerAxis((0..<rank).map { _ in pick(range) }) }
      let low = (0..<rank).map { _ in pick(0...3) }
      let high = (0..<rank).map { _ in pick(0...3) }
      guard
        let geometry = try? ConvolutionGeometry(
          rank: rank, isTransposed: pick(0...1) == 0, inChannels: pick(1...40), outChannels: pick(1...45),
          kernelSize: perAxis(1...(rank == 3 ? 3 : 5)), stride: perAxis(1...3),
          padding: .asymmetric(zip(low, high).map { (low: $0, high: $1) }), dilation: perAxis(1...2))
      else { continue }
      let size = (0..<rank).map { _ in pick(1...[40, 12, 6][rank - 1]) }
      if let output = try? geometry.outputSize(size), !output.contains(0) { found.append((geometry, size)) }
    }
    return found
  }

  private func result(
    _ geometry: ConvolutionGeometry, _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, _ always: Bool
  ) throws -> Tensor {
    try TapProductRun.$always.withValue(always) {
      try WeightUse.$isTransient.withValue(true) {
        try applyAll(ConvolutionOperation(geometry), [x, weight] + [bias].compactMap { $0 })[0]
      }
    }
  }

  @Test(arguments: InstructionSet.available)
  func resultsAreThoseOfPackedWeights(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 311)
      var computed = 0
      for (index, (geometry, size)) in try geometries(seed: 313, count: 120).enumerated() {
        let x = try Tensor.randomUniform(
          TensorShape([[1, 2, 3, 16, 17][index % 5], geometry.inChannels] + size), from: -1, to: 1, using: &random)
        let weight = try Tensor.randomUniform(geometry.weightShape, from: -1, to: 1, using: &random)
        let bias =
          index % 2 == 0 ? try Tensor.randomUniform([geometry.outChannels], from: -1, to: 1, using: &random) : nil
        let output = try Tensor.zeros(
          ConvolutionOperation(geometry).infer([x.spec, weight.spec])[0].shape, dtype: .float32)
        let run = try TapProductRun.$always.withValue(true) {
          try TapProductRun(geometry, weight: weight, bias: bias, input: x, output: output)
        }
        if run != nil { computed += 1 }
        #expect(
          try result(geometry, x, weight, bias, true).sameBits(as: result(geometry, x, weight, bias, false)),
          "\(index): \(geometry), \(x.shape)")
      }
      #expect(computed > 60)
    }
  }

  @Test func batchesAndThreadsChangeNoBit() throws {
    var random = RandomSource(seed: 317)
    let geometry = try ConvolutionGeometry(
      rank: 2, inChannels: 40, outChannels: 70, kernelSize: 3, stride: 2, padding: 1)
    let x = try Tensor.randomUniform([19, 40, 7, 6], from: -1, to: 1, using: &random)
    let weight = try Tensor.randomUniform(geometry.weightShape, from: -1, to: 1, using: &random)
    let threads = ThreadPool.shared.threadCount
    defer { ThreadPool.shared.threadCount = threads }
    let results = try [1, 2, 3].map { count in
      ThreadPool.shared.threadCount = count
      return try result(geometry, x, weight, nil, true)
    }
    #expect(try results[0].sameBits(as: results[1]) && results[0].sameBits(as: results[2]))
    for sample in [0, 18] {
      let one = try result(geometry, x.slice(axis: 0, sample..<(sample + 1)), weight, nil, true)
      #expect(try one.sameBits(as: results[0].slice(axis: 0, sample..<(sample + 1)).copied()))
    }
  }

  /// Padding times infinity is no number, and a bias of -0 is 0, as with packed weights.
  @Test func endsOfNumbersAreThoseOfPackedWeights() throws {
    var random = RandomSource(seed: 331)
    for isTransposed in [false, true] {
      let geometry = try ConvolutionGeometry(
        rank: 2, isTransposed: isTransposed, inChannels: 20, outChannels: 30, kernelSize: 3, padding: 1)
      let x = try Tensor.randomUniform([4, 20, 5, 5], from: 1, to: 2, using: &random)
      var weight = try Tensor.randomUniform(geometry.weightShape, from: 1, to: 2, using: &random)
      try weight.withMutableElements(Float.self) { $0[0] = .infinity }
      #expect(
        try result(geometry, x, weight, nil, true).sameBits(as: result(geometry, x, weight, nil, false)))
      let (zero, minus) = (try Tensor.zeros(x.shape), try Tensor.full(geometry.weightShape, -1))
      let bias = try Tensor.full([30], -0.0)
      #expect(
        try result(geometry, zero, minus, bias, true).sameBits(as: result(geometry, zero, minus, bias, false)))
    }
  }

  /// Nothing is made of weights that are about to change.
  @Test func onlyWeightsThatStayArePacked() throws {
    var random = RandomSource(seed: 337)
    let geometry = try ConvolutionGeometry(rank: 2, inChannels: 64, outChannels: 64, kernelSize: 3, padding: 1)
    let x = try Tensor.randomUniform([16, 64, 2, 2], from: -1, to: 1, using: &random)
    let weight = try Tensor.randomUniform(geometry.weightShape, from: -1, to: 1, using: &random)
    let results = try [true, false].map { always in
      let result = try result(geometry, x, weight, nil, always)
      #expect(weight.storage.preparedByteCount == 0)
      return result
    }
    let packed = try applyAll(ConvolutionOperation(geometry), [x, weight])[0]
    #expect(weight.storage.preparedByteCount >= weight.count * 4)
    #expect(try results[0].sameBits(as: packed) && results[1].sameBits(as: packed))
  }
}
