import CToeplitzKernels
import Testing
@testable import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Weight gradients of float32 convolutions, which have kernels of their own, against those of float64, which go tap by tap.
@Suite struct WeightGradientTests {
  private func check(_ c: GeneratedConvolution, _ random: inout RandomSource, layout: TensorLayout = .channelsFirst)
    throws
  {
    var x = try Tensor.randomUniform(c.inputShape, from: -1, to: 1, using: &random)
    var dy = try Tensor.randomUniform(c.outputShape, from: -1, to: 1, using: &random)
    if layout == .channelsLast {
      let order = [0] + Array(2..<x.rank) + [1]
      (x, dy) = (try x.permuted(order), try dy.permuted(order))
    }
    let operation = ConvolutionWeightGradient(c.geometry, layout: layout)
    let got = try apply(operation, x, dy)
    let expected = try apply(operation, x.cast(to: .float64), dy.cast(to: .float64))
    let distance = try got.cast(to: .float64).distance(to: expected)
    let length = Double(dy.count / max(1, c.geometry.outChannels))
    #expect(got.shape == c.geometry.weightShape)
    #expect(distance.absolute <= 1e-6 * (length.squareRoot() + 1) * max(1, distance.scale), "\(c): \(distance)")
  }

  @Test(arguments: InstructionSet.available)
  func randomGeometriesMatchFloat64(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 21)
      for index in 0..<250 {
        try check(.random(using: &random), &random, layout: index % 5 == 0 ? .channelsLast : .channelsFirst)
      }
    }
  }

  private func wide(
    rank: Int, transposed: Bool = false, _ inChannels: Int, _ outChannels: Int, kernel: Int, stride: Int = 1,
    dilation: Int = 1, padding: Int = 0, groups: Int = 1, batch: Int, size: [Int]
  ) throws -> GeneratedConvolution {
    let geometry = try ConvolutionGeometry(
      rank: rank, isTransposed: transposed, inChannels: inChannels, outChannels: outChannels,
      kernelSize: PerAxis(Array(repeating: kernel, count: rank)),
      stride: PerAxis(Array(repeating: stride, count: rank)),
      padding: .symmetric(Array(repeating: padding, count: rank)),
      dilation: PerAxis(Array(repeating: dilation, count: rank)), groups: groups)
    return GeneratedConvolution(
      geometry: geometry, batch: batch, inputSize: size, outputSize: try geometry.outputSize(size))
  }

  /// Channels for whole panels and parts of them, inputs that are cut into several parts.
  private func wideCases() throws -> [GeneratedConvolution] {
    [
      try wide(rank: 1, 40, 33, kernel: 7, dilation: 3, padding: 9, batch: 2, size: [2500]),
      try wide(rank: 1, 17, 40, kernel: 3, padding: 1, batch: 30, size: [50]),
      try wide(rank: 1, transposed: true, 32, 16, kernel: 16, stride: 8, padding: 4, batch: 2, size: [300]),
      try wide(rank: 1, 1, 32, kernel: 15, padding: 7, batch: 2, size: [3000]),
      try wide(rank: 1, 64, 64, kernel: 41, stride: 4, padding: 20, groups: 4, batch: 1, size: [1000]),
      try wide(rank: 2, 64, 64, kernel: 3, padding: 1, batch: 4, size: [16, 16]),
      try wide(rank: 2, 32, 48, kernel: 3, stride: 2, padding: 1, batch: 3, size: [9, 7]),
      try wide(rank: 2, 3, 64, kernel: 7, stride: 2, padding: 3, batch: 2, size: [64, 64]),
      try wide(rank: 2, 128, 70, kernel: 1, stride: 2, batch: 3, size: [8, 8]),
      try wide(rank: 2, 20, 20, kernel: 3, padding: 1, groups: 20, batch: 2, size: [30, 40]),
      try wide(rank: 2, 32, 20, kernel: 3, padding: 1, batch: 1, size: [1, 70]),
      try wide(rank: 2, transposed: true, 32, 24, kernel: 2, stride: 2, batch: 2, size: [20, 24]),
      try wide(rank: 3, 16, 20, kernel: 3, padding: 1, batch: 2, size: [9, 12, 14]),
    ]
  }

  @Test func wideChannelsMatchFloat64() throws {
    var random = RandomSource(seed: 22)
    for c in try wideCases() { try check(c, &random) }
  }

  @Test func threadsAndBatchesOrderChangeNoBit() throws {
    var random = RandomSource(seed: 23)
    let threads = ThreadPool.shared.threadCount
    defer { ThreadPool.shared.threadCount = threads }
    for c in try wideCases() {
      let x = try Tensor.randomUniform(c.inputShape, from: -1, to: 1, using: &random)
      let dy = try Tensor.randomUniform(c.outputShape, from: -1, to: 1, using: &random)
      let results = try [1, 2, 3].map { count in
        ThreadPool.shared.threadCount = count
        return try apply(ConvolutionWeightGradient(c.geometry), x, dy)
      }
      #expect(try results[0].sameBits(as: results[1]) && results[0].sameBits(as: results[2]), "\(c)")
    }
  }

  @Test func transposesOfAllSizes() throws {
    for (rows, count) in [(1, 1), (3, 5), (4, 4), (7, 13), (32, 18), (33, 3)] {
      let x = try Tensor((0..<(rows * count)).map { Float($0) }, shape: [rows, count])
      let y = try Tensor.zeros([count, rows])
      tz_transpose(x.pointer(), count, rows, count, y.pointer(), rows)
      #expect(try y.sameBits(as: x.transposed(0, 1).copied()))
    }
  }
}
