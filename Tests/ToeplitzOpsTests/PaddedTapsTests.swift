import CToeplitzKernels
import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Kernels that leave out the taps that lie in the padding.
@Suite struct PaddedTapsTests {
  /// Images and volumes of which much is padding.
  private func geometries(seed: UInt64, count: Int) throws -> [(geometry: ConvolutionGeometry, size: [Int])] {
    var random = RandomSource(seed: seed)
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    var found: [(ConvolutionGeometry, [Int])] = []
    while found.count < count {
      let rank = pick(2...3)
      let groups = [1, 1, 2][pick(0...2)]
      func perAxis(_ range: ClosedRange<Int>) -> PerAxis { PerAxis((0..<rank).map { _ in pick(range) }) }
      let low = (0..<rank).map { _ in pick(0...3) }
      let high = (0..<rank).map { _ in pick(0...3) }
      guard
        let geometry = try? ConvolutionGeometry(
          rank: rank, isTransposed: pick(0...2) == 0, inChannels: groups * pick(1...40),
          outChannels: groups * pick(24...70), kernelSize: perAxis(rank == 2 ? 1...5 : 1...3), stride: perAxis(1...2),
          padding: .asymmetric(zip(low, high).map { (low: $0, high: $1) }), dilation: perAxis(1...2), groups: groups)
      else { continue }
      let size = (0..<rank).map { _ in pick(1...(rank == 2 ? 34 : 9)) }
      if (try? geometry.outputSize(size)) != nil { found.append((geometry, size)) }
    }
    return found
  }

  private func result(
    _ geometry: ConvolutionGeometry, _ x: Tensor, _ weight: Tensor, _ bias: Tensor, _ layout: RowLayout?
  ) throws -> Tensor {
    try RowLayout.$preferred.withValue(layout) {
      try applyAll(ConvolutionOperation(geometry), [x, weight, bias])[0]
    }
  }

  @Test(arguments: InstructionSet.available)
  func resultsAreThoseWithPadding(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 211)
      for (index, (geometry, size)) in try geometries(seed: 223, count: 60).enumerated() {
        let dtype: DType = [.float32, .float32, .float64, .int32, .float16][index % 5]
        func tensor(_ shape: TensorShape) throws -> Tensor {
          try Tensor.randomUniform(shape, from: -9, to: 9, using: &random).cast(to: dtype)
        }
        let x = try tensor(TensorShape([1 + index % 3, geometry.inChannels] + size))
        let (weight, bias) = (try tensor(geometry.weightShape), try tensor([geometry.outChannels]))
        let expected = try result(geometry, x, weight, bias, .joined)
        for layout in [RowLayout.single, .spread, nil] {
          #expect(
            try result(geometry, x, weight, bias, layout).sameBits(as: expected),
            "\(index): \(geometry), \(size), \(dtype), \(String(describing: layout))")
        }
      }
    }
  }

  /// Padding times infinity is no number, wherever the work is cut.
  @Test func weightsThatAreNotFiniteMeetThePadding() throws {
    var random = RandomSource(seed: 227)
    let geometry = try ConvolutionGeometry(rank: 2, inChannels: 40, outChannels: 64, kernelSize: 3, padding: 1)
    let x = try Tensor.randomUniform([1, 40, 7, 7], from: 1, to: 2, using: &random)
    var weight = try Tensor.randomUniform(geometry.weightShape, from: 1, to: 2, using: &random)
    let bias = try Tensor.zeros([64])
    try weight.withMutableElements(Float.self) { $0[0] = .infinity }
    let results = try [RowLayout.joined, .single].map { try result(geometry, x, weight, bias, $0) }
    #expect(try results[1].sameBits(as: results[0]))
    let values = try results[0].doubles()
    // The first tap reads padding above and at the left, and the input elsewhere.
    for position in 0..<49 {
      let isPadding = position < 7 || position % 7 == 0
      #expect(isPadding ? values[position].isNaN : values[position] == .infinity, "\(position)")
    }
  }

  /// Sums that begin with -0 are the same whether zeros are added or not.
  @Test func negativeZerosAreZeros() throws {
    let geometry = try ConvolutionGeometry(rank: 2, inChannels: 40, outChannels: 64, kernelSize: 3, padding: 1)
    let x = try Tensor.zeros([1, 40, 7, 7])
    let weight = try Tensor.full(geometry.weightShape, -1)
    let bias = try Tensor.full([64], -0.0)
    let results = try [RowLayout.joined, .single].map { try result(geometry, x, weight, bias, $0) }
    #expect(try results[1].sameBits(as: results[0]))
  }

  /// With other vectors other schedules are cheaper.
  @Test(.enabled(if: InstructionSet.current == .avx512)) func smallImagesLeaveOutTheirPadding() throws {
    let table = try #require(tz_conv_kernels(InstructionSet.current.code, TZ_F32))
    func schedule(_ size: Int, skips: Bool) throws -> ConvolutionSchedule {
      let g = try ConvolutionGeometry(rank: 2, inChannels: 512, outChannels: 512, kernelSize: 3, padding: 1)
      let stencil = try ConvolutionStencil(g)
      return try ConvolutionSchedule(
        stencil: stencil, group: stencil.rowGroups[0], outputSize: [1, size, size], samples: 1, threads: 2,
        table: table,
        elementSize: 4, wideWeightSize: 4, skipped: skips ? [1, size, size] : nil, name: "test",
        readsInPlace: { _ in false })
    }
    for size in [7, 14] {
      let (with, without) = (try schedule(size, skips: true), try schedule(size, skips: false))
      #expect(with.tiling.padded != nil && without.tiling.padded == nil && with.cost < without.cost, "\(size)")
    }
    // Taps of the first row: those of the second and third row of the kernel, at the left end without the first column.
    let padded = try #require(try schedule(7, skips: true).tiling.padded)
    func taps(row: Int) -> [tz_conv_tap] {
      withExtendedLifetime(padded) { Array(padded.lists.taps(plane: 0, row: row, piece: 0)) }
    }
    #expect(taps(row: 0).map(\.edge) == [1, 0, 2, 1, 0, 2])
    #expect(taps(row: 0).map(\.w) == [96, 128, 160, 192, 224, 256])
    #expect(taps(row: 3).count == 9)
    #expect(taps(row: 6).map(\.w) == [0, 32, 64, 96, 128, 160])
  }
}
