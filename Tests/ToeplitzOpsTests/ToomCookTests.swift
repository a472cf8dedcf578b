import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Convolutions with fewer multiplications (`Numerics.fast`), on every kernel path of this machine.
@Suite struct ToomCookTests {
  private func tensor(_ shape: TensorShape, _ random: inout RandomSource) throws -> Tensor {
    try Tensor.randomUniform(shape, from: -1, to: 1, dtype: .float32, using: &random)
  }

  private func fast<R>(squareTile: Int? = nil, _ body: () throws -> R) rethrows -> R {
    try Numerics.$current.withValue(.fast) {
      try ToomCookPlan.$always.withValue(true) {
        try ToomCookPlan.$squareTile.withValue(squareTile, operation: body)
      }
    }
  }

  /// A random convolution to which a plan applies.
  private func generated(_ random: inout RandomSource) throws -> (geometry: ConvolutionGeometry, input: [Int]) {
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    while true {
      let groups = pick(1...2)
      // From 24 rows on there are wide kernels too.
      let channels = (pick(4...20) * groups, (pick(0...2) == 0 ? pick(24...70) : pick(8...21)) * groups)
      let mode = pick(0...3) == 0 ? PaddingMode.allCases[pick(0...(PaddingMode.allCases.count - 1))] : .zeros
      let geometry: ConvolutionGeometry
      var input = [pick(1...2), channels.0]
      switch pick(0...5) {
      case 5:
        // The gradient of a dilated convolution, and the same with strides.
        geometry = try ConvolutionGeometry(
          rank: 1, isTransposed: true, inChannels: channels.0, outChannels: channels.1,
          kernelSize: PerAxis(pick(2...9)),
          stride: PerAxis(pick(0...2) == 0 ? pick(2...3) : 1), padding: .uniform(pick(0...9)),
          dilation: PerAxis(pick(2...6)), groups: groups)
        input += [pick(8...200)]
      case 4:
        let stride = (pick(1...4), pick(1...4))
        geometry = try ConvolutionGeometry(
          rank: 2, isTransposed: true, inChannels: channels.0, outChannels: channels.1,
          kernelSize: [2 * stride.0 - pick(0...1), 2 * stride.1 - pick(0...1)], stride: [stride.0, stride.1],
          padding: .uniform(pick(0...1)), groups: groups)
        input += [pick(2...23), pick(2...23)]
      case 0:
        geometry = try ConvolutionGeometry(
          rank: 2, inChannels: channels.0, outChannels: channels.1, kernelSize: 3,
          padding: .asymmetric([(pick(0...2), pick(0...2)), (pick(0...2), pick(0...2))]), groups: groups,
          paddingMode: mode)
        input += [pick(3...37), pick(3...37)]
      case 1:
        let stride = pick(1...9)
        geometry = try ConvolutionGeometry(
          rank: 1, isTransposed: true, inChannels: channels.0, outChannels: channels.1,
          kernelSize: PerAxis(stride * pick(1...4) + pick(0...1)), stride: PerAxis(stride),
          padding: .uniform(pick(0...stride)), groups: groups)
        input += [pick(8...90)]
      default:
        geometry = try ConvolutionGeometry(
          rank: 1, inChannels: channels.0, outChannels: channels.1, kernelSize: PerAxis(pick(2...13)),
          padding: .uniform(pick(0...7)), dilation: PerAxis(pick(1...6)), groups: groups, paddingMode: mode)
        input += [pick(8...300)]
      }
      if (try? geometry.outputSize(Array(input.dropFirst(2)))) != nil { return (geometry, input) }
    }
  }

  @Test(arguments: InstructionSet.available)
  func randomGeometriesMatchTheReference(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 71)
      var different = 0
      for index in 0..<100 {
        let (g, size) = try generated(&random)
        let x = try tensor(TensorShape(size), &random)
        let w = try tensor(g.weightShape, &random)
        let b = index % 3 == 0 ? nil : try tensor([g.outChannels], &random)
        let inputs = [x, w] + (b.map { [$0] } ?? [])
        let direct = try applyAll(ConvolutionOperation(g), inputs)[0]
        let squareTile = [nil, 2, 4][index % 3]
        let y = try fast(squareTile: squareTile) { try applyAll(ConvolutionOperation(g), inputs)[0] }
        let expected = try ReferenceConvolution.forward(
          g, x: .init(x), weight: .init(w), bias: b.map { try .init($0) })
        let distance = Distance(try y.doubles(), expected.values)
        let length = Double(g.inChannels / g.groups * g.kernelSize.reduce(1, *))
        let tolerance = 4e-6 * (length.squareRoot() + 1) * max(1, distance.scale)
        #expect(
          distance.absolute <= tolerance && distance.sameSpecials, "\(isa) case \(index): \(g) \(size) \(distance)")
        different += try y.sameBits(as: direct) ? 0 : 1
        // Channels last, fused, and on one thread.
        let toLast = [0] + Array(2..<(g.rank + 2)) + [1]
        let last = try fast(squareTile: squareTile) {
          try applyAll(
            ConvolutionOperation(g, layout: .channelsLast),
            [x.permuted(toLast).contiguous()] + inputs.dropFirst())[0]
        }
        #expect(try last.sameBits(as: y.permuted(toLast)), "channels last \(g) \(size)")
        let residual = try tensor(y.shape, &random)
        var fused = FusedConvolution(g)
        fused.epilogue = Epilogue(inputSlope: 0.1, outputScale: 0.5, outputSlope: 0.25)
        fused.residualCount = 1
        let together = try fast(squareTile: squareTile) { try applyAll(fused, inputs + [residual])[0] }
        let activated = try [x.leakyReLU(negativeSlope: 0.1)] + inputs.dropFirst()
        let separate = try fast(squareTile: squareTile) {
          try ((applyAll(ConvolutionOperation(g), activated)[0] + residual) * 0.5).leakyReLU(negativeSlope: 0.25)
        }
        let apart = try together.distance(to: separate)
        #expect(apart.absolute <= 1e-6 * max(1, apart.scale), "fused \(g) \(size) \(apart)")
      }
      // Another order of additions nearly always gives some other bits: the plan was really used.
      #expect(different > 70, "\(different)")
    }
  }

  /// Images of 4 × 4 tiles are transformed in registers, from where they lie.
  @Test(arguments: InstructionSet.available)
  func smallImagesMatchTheDirectWay(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 78)
      func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
      for _ in 0..<60 {
        let groups = pick(1...2)
        let padding = (0..<2).map { _ in (pick(0...2), pick(0...2)) }
        let g = try ConvolutionGeometry(
          rank: 2, inChannels: groups * pick(4...20), outChannels: groups * pick(8...70), kernelSize: 3,
          padding: .asymmetric([padding[0], padding[1]]), groups: groups)
        // Seven or eight outputs on each axis.
        let size = padding.map { pick(7...8) + 2 - $0.0 - $0.1 }
        // Rows and images that do not follow one another.
        let whole = try tensor([pick(1...3), g.inChannels + 1, size[0] + 1, size[1] + 3], &random)
        let x = try whole.slice(axis: 1, 1..<(1 + g.inChannels)).slice(axis: 2, 1..<(1 + size[0]))
          .slice(axis: 3, 2..<(2 + size[1]))
        let (w, b) = (try tensor(g.weightShape, &random), try tensor([g.outChannels], &random))
        var operation = FusedConvolution(g)
        operation.epilogue = Epilogue(inputSlope: [1, 0, 0.25][pick(0...2)], activation: .leakyReLU(slope: 0))
        let direct = try applyAll(operation, [x, w, b])[0]
        #expect(direct.shape.dimensions[2...].allSatisfy { $0 == 7 || $0 == 8 })
        let y = try fast(squareTile: 2) { try applyAll(operation, [x, w, b])[0] }
        let distance = Distance(try y.doubles(), try direct.doubles())
        #expect(distance.absolute <= 0x1p-18 * max(1, distance.scale) && distance.sameSpecials, "\(g) \(distance)")
      }
    }
  }

  /// A volume of one plane, whose neighbours lie in the padding: those results are the bias.
  @Test(arguments: InstructionSet.available)
  func planesInThePaddingMatchTheDirectWay(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 79)
      let g = try ConvolutionGeometry(
        rank: 3, inChannels: 16, outChannels: 32, kernelSize: [1, 3, 3], padding: .uniform(1))
      let x = try tensor([2, 16, 1, 7, 7], &random)
      let (w, b) = (try tensor(g.weightShape, &random), try tensor([32], &random))
      let direct = try applyAll(ConvolutionOperation(g), [x, w, b])[0]
      let y = try fast(squareTile: 2) { try applyAll(ConvolutionOperation(g), [x, w, b])[0] }
      let distance = Distance(try y.doubles(), try direct.doubles())
      #expect(distance.absolute <= 0x1p-18 * max(1, distance.scale) && distance.sameSpecials, "\(distance)")
    }
  }

  @Test func errorsStayWithinTwiceAndTenTimesThoseOfTheDirectWay() throws {
    // Root mean squares over many outputs, for the sizes of real layers; docs/performance.md states the bounds.
    var random = RandomSource(seed: 72)
    let cases: [(rank: Int, transposed: Bool, kernel: Int, stride: Int, size: [Int], bound: Double)] = [
      (1, false, 2, 1, [200], 2), (1, false, 3, 1, [200], 2), (1, false, 4, 1, [200], 2.2),
      (1, false, 7, 1, [200], 2.2),
      (1, false, 11, 1, [200], 2.2), (1, true, 16, 8, [50], 2), (2, false, 3, 1, [20, 20], 10),
      (2, true, 4, 2, [20, 20], 2), (2, false, 2, 1, [20, 20], 2),
    ]
    let plans = cases.map { ($0, 4) } + [((2, false, 3, 1, [20, 20], 2), 2)]
    for (c, squareTile) in plans {
      let g = try ConvolutionGeometry(
        rank: c.rank, isTransposed: c.transposed, inChannels: 64, outChannels: 8, kernelSize: PerAxis(c.kernel),
        stride: PerAxis(c.stride))
      let x = try tensor(TensorShape([1, 64] + c.size), &random)
      let w = try tensor(g.weightShape, &random)
      let exact = try ReferenceConvolution.forward(g, x: .init(x), weight: .init(w), bias: nil).values
      func error(_ y: Tensor) throws -> Double {
        zip(try y.doubles(), exact).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
      }
      let direct = try error(applyAll(ConvolutionOperation(g), [x, w])[0])
      let fast = try fast(squareTile: squareTile) { try error(applyAll(ConvolutionOperation(g), [x, w])[0]) }
      print("Toom-Cook \(g.name) k\(c.kernel) tiles \(squareTile): \(fast / direct) times the error of the direct way")
      #expect(fast <= c.bound * direct, "\(g.name) k\(c.kernel): \(fast) and \(direct)")
    }
  }

  @Test func whatIsNotFiniteGivesTheBitsOfTheInvariantWay() throws {
    var random = RandomSource(seed: 73)
    for special in [Float.infinity, -.infinity, .nan, 3e38] {
      for index in 0..<8 {
        let (g, size) = try generated(&random)
        var x = try tensor(TensorShape(size), &random)
        var w = try tensor(g.weightShape, &random)
        if index % 2 == 0 {
          var values = try x.scalars(Float.self)
          values[Int.random(in: 0..<values.count, using: &random)] = special
          x = try Tensor(values, shape: x.shape)
        } else {
          var values = try w.scalars(Float.self)
          values[Int.random(in: 0..<values.count, using: &random)] = special
          w = try Tensor(values, shape: w.shape)
        }
        let direct = try applyAll(ConvolutionOperation(g), [x, w])[0]
        let y = try fast { try applyAll(ConvolutionOperation(g), [x, w])[0] }
        // A value that no output reads, or a huge one that overflows nowhere, leaves the fast way usable.
        let finite = try direct.doubles().allSatisfy(\.isFinite)
        #expect(try finite ? y.distance(to: direct).sameSpecials : y.sameBits(as: direct), "\(special) \(g) \(size)")
      }
    }
  }

  @Test func theSameCallGivesTheSameBits() throws {
    var random = RandomSource(seed: 74)
    let pool = ThreadPool.shared
    let threads = pool.threadCount
    defer { pool.threadCount = threads }
    for _ in 0..<10 {
      let (g, size) = try generated(&random)
      let x = try tensor(TensorShape(size), &random)
      let w = try tensor(g.weightShape, &random)
      let first = try fast { try applyAll(ConvolutionOperation(g), [x, w])[0] }
      for count in [1, 2, 5] {
        pool.threadCount = count
        let again = try fast { try applyAll(ConvolutionOperation(g), [x, w])[0] }
        #expect(try again.sameBits(as: first), "\(count) threads \(g) \(size)")
      }
    }
  }
}
