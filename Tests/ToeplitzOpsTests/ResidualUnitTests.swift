import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Residual units in one pass against one convolution after the other, on every kernel path of this machine.
@Suite struct ResidualUnitTests {
  private struct Case {
    var unit: ResidualUnit
    var inputs: [Tensor]
    var extra: Tensor?

    var hasBias: (first: Bool, second: Bool) { (unit.stages.first.hasBias, unit.stages.second.hasBias) }
    var epilogue: Epilogue { unit.stages.second.operation.epilogue }
  }

  private func tensor(_ shape: TensorShape, _ random: inout RandomSource, _ dtype: DType = .float32) throws -> Tensor {
    try Tensor.randomUniform(shape, from: -1, to: 1, dtype: dtype, using: &random)
  }

  /// A random unit whose convolutions together keep the length.
  private func generated(
    _ random: inout RandomSource, batch: Int, lengths: ClosedRange<Int> = 1...700, dtype: DType = .float32
  ) throws -> Case {
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    while true {
      let (channels, middle) = (pick(1...40), pick(1...40))
      let length = pick(lengths)
      let kernels = (pick(1...11), pick(1...11))
      let dilations = (pick(1...6), pick(1...3))
      let reach = (kernels.0 - 1) * dilations.0 + (kernels.1 - 1) * dilations.1
      // Padding may stand unevenly on the sides and on the convolutions.
      let low = pick(0...reach)
      let high = pick(0...(reach - low))
      let lowAfter = pick(0...(reach - low - high))
      let highAfter = reach - low - high - lowAfter
      let first = try ConvolutionGeometry(
        rank: 1, inChannels: channels, outChannels: middle, kernelSize: PerAxis(kernels.0),
        padding: .asymmetric([(low, high)]), dilation: PerAxis(dilations.0))
      let second = try ConvolutionGeometry(
        rank: 1, inChannels: middle, outChannels: channels, kernelSize: PerAxis(kernels.1),
        padding: .asymmetric([(lowAfter, highAfter)]), dilation: PerAxis(dilations.1))
      guard let between = try? first.outputSize([length]), (try? second.outputSize(between)) == [length] else {
        continue
      }
      var unit = ResidualUnit(
        first, second, hasBias: (pick(0...1) == 1, pick(0...1) == 1), inputSlope: [1, 0.1, 0][pick(0...2)],
        middleSlope: [1, 0.2, 0][pick(0...2)])
      let shape: TensorShape = batch == 0 ? [channels, length] : [batch, channels, length]
      let extra = pick(0...1) == 1 ? try tensor(shape, &random, dtype) : nil
      unit.hasExtra = extra != nil
      if pick(0...2) == 0 { unit.stages.second.operation.epilogue.outputScale = 0.3 }
      if pick(0...2) == 0 { unit.stages.second.operation.epilogue.outputSlope = 0.5 }
      if pick(0...2) == 0 { unit.stages.second.operation.epilogue.activation = .tanh }
      var inputs = [try tensor(shape, &random, dtype), try tensor(first.weightShape, &random, dtype)]
      if unit.stages.first.hasBias { inputs.append(try tensor([middle], &random, dtype)) }
      inputs.append(try tensor(second.weightShape, &random, dtype))
      if unit.stages.second.hasBias { inputs.append(try tensor([channels], &random, dtype)) }
      return Case(unit: unit, inputs: inputs, extra: extra)
    }
  }

  private func compute(_ c: Case, together: Bool?) throws -> Tensor {
    try ResidualUnitRun.$isForced.withValue(together) {
      try applyAll(c.unit, c.inputs + [c.extra].compactMap { $0 })[0]
    }
  }

  @Test(arguments: InstructionSet.available)
  func onePassGivesTheBitsOfTwo(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 91)
      for index in 0..<120 {
        let c = try generated(&random, batch: index % 3)
        let expected = try compute(c, together: false)
        #expect(try compute(c, together: true).sameBits(as: expected), "\(isa) case \(index): \(c.unit)")
        #expect(try compute(c, together: nil).sameBits(as: expected), "\(isa) case \(index): \(c.unit)")
      }
    }
  }

  @Test func theReferenceGivesTheSameValues() throws {
    var random = RandomSource(seed: 17)
    for index in 0..<60 {
      var c = try generated(&random, batch: 2, lengths: 1...90)
      c.unit.stages.second.operation.epilogue.activation = nil
      let biases = (c.hasBias.first ? c.inputs[2] : nil, c.hasBias.second ? c.inputs.last : nil)
      let second = c.inputs[c.hasBias.first ? 3 : 2]
      func convolve(_ g: ConvolutionGeometry, _ x: Tensor, _ slope: Double, _ w: Tensor, _ b: Tensor?) throws -> Tensor
      {
        let y = try ReferenceConvolution.forward(
          g, x: .init(x.leakyReLU(negativeSlope: slope)), weight: .init(w), bias: b.map { try .init($0) })
        return try Tensor(y.values.map { Float($0) }, shape: TensorShape(y.shape))
      }
      let middle = try convolve(
        c.unit.first, c.inputs[0], c.unit.stages.first.operation.epilogue.inputSlope, c.inputs[1], biases.0)
      let y = try convolve(c.unit.second, middle, c.epilogue.inputSlope, second, biases.1)
      let expected = try c.epilogue.finish(y, adding: [c.inputs[0]] + [c.extra].compactMap { $0 })
      let distance = try compute(c, together: true).distance(to: expected)
      #expect(distance.absolute <= 2e-5 * max(1, distance.scale), "case \(index): \(c.unit) \(distance)")
    }
  }

  @Test func bitsDependNeitherOnThreadsNorOnBatch() throws {
    var random = RandomSource(seed: 23)
    let pool = ThreadPool.shared
    let threads = pool.threadCount
    defer { pool.threadCount = threads }
    for _ in 0..<12 {
      let c = try generated(&random, batch: 3, lengths: 500...3000)
      pool.threadCount = 1
      let alone = try compute(c, together: true)
      pool.threadCount = 5
      #expect(try compute(c, together: true).sameBits(as: alone), "\(c.unit)")
      for n in 0..<3 {
        var one = c
        one.inputs[0] = try c.inputs[0].slice(axis: 0, n..<(n + 1))
        one.extra = try c.extra?.slice(axis: 0, n..<(n + 1))
        #expect(try compute(one, together: true).sameBits(as: alone.slice(axis: 0, n..<(n + 1))), "\(c.unit)")
      }
    }
  }

  @Test func specialValuesSpreadAlike() throws {
    var random = RandomSource(seed: 29)
    for value in [Float.infinity, .nan, -.infinity, 1e38] {
      let c = try generated(&random, batch: 1, lengths: 300...400)
      let place = 137
      var numbers = try c.inputs[0].scalars(Float.self)
      numbers[place] = value
      var strange = c
      strange.inputs[0] = try Tensor(numbers, shape: c.inputs[0].shape)
      #expect(try compute(strange, together: true).sameBits(as: compute(strange, together: false)))
    }
  }

  @Test func viewsAndOtherTypesAreTaken() throws {
    var random = RandomSource(seed: 31)
    for dtype in [DType.float32, .float64, .float16] {
      let c = try generated(&random, batch: 2, lengths: 40...60, dtype: dtype)
      let expected = try compute(c, together: false)
      // Positions far apart, channels near each other; batch and channels exchanged.
      var view = c
      view.inputs[0] = try c.inputs[0].permuted([2, 0, 1]).contiguous().permuted([1, 2, 0])
      view.extra = try c.extra?.permuted([1, 0, 2]).contiguous().permuted([1, 0, 2])
      #expect(try compute(view, together: true).sameBits(as: expected), "\(dtype)")
      #expect(try compute(c, together: nil).sameBits(as: expected), "\(dtype)")
    }
  }

  @Test func fastIsCloseAndEstimated() throws {
    var random = RandomSource(seed: 37)
    for channels in [16, 128] {
      let g = try ConvolutionGeometry(
        rank: 1, inChannels: channels, outChannels: channels, kernelSize: 7, padding: .uniform(3))
      let unit = ResidualUnit(g, g, hasBias: (false, false), inputSlope: 0.1, middleSlope: 0.1)
      let c = Case(
        unit: unit,
        inputs: [
          try tensor([1, channels, 2000], &random), try tensor(g.weightShape, &random) / 30,
          try tensor(g.weightShape, &random) / 30,
        ])
      let invariant = try compute(c, together: nil)
      let fast = try Numerics.$current.withValue(.fast) { try compute(c, together: nil) }
      let distance = try fast.distance(to: invariant)
      #expect(distance.absolute <= 1e-4 * max(1, distance.scale), "\(distance)")
    }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    func geometry(_ i: Int, _ o: Int, _ padding: Int, rank: Int = 1) throws -> ConvolutionGeometry {
      try ConvolutionGeometry(
        rank: rank, inChannels: i, outChannels: o, kernelSize: 3, padding: .uniform(padding))
    }
    func weight(_ o: Int, _ i: Int) throws -> Tensor { try Tensor.zeros([o, i, 3]) }
    let x = try Tensor.zeros([1, 4, 9])
    func refused(_ kind: ToeplitzError.Kind, _ text: String, _ unit: ResidualUnit, _ inputs: [Tensor]) {
      let error = #expect(throws: ToeplitzError.self) { try applyAll(unit, inputs) }
      #expect(error?.kind == kind && error?.description.contains(text) == true, "\(String(describing: error))")
    }
    func unit(_ a: ConvolutionGeometry, _ b: ConvolutionGeometry) -> ResidualUnit {
      ResidualUnit(a, b, hasBias: (false, false), inputSlope: 0.1, middleSlope: 0.1)
    }
    let same = try geometry(4, 4, 1)
    refused(.shape, "[1, 4, 9]", unit(same, try geometry(4, 4, 0)), [x, try weight(4, 4), try weight(4, 4)])
    refused(.shape, "[1, 4, 9]", unit(same, try geometry(4, 5, 1)), [x, try weight(4, 4), try weight(5, 4)])
    refused(.shape, "5 input channels", unit(same, try geometry(5, 4, 1)), [x, try weight(4, 4), try weight(4, 5)])
    refused(.argument, "3 tensors", unit(same, same), [x, try weight(4, 4)])
    refused(.argument, "one-dimensional", unit(same, try geometry(4, 4, 1, rank: 2)), [x, try weight(4, 4), x])
    refused(.dtype, "float32", unit(same, same), [x, try weight(4, 4), try weight(4, 4).cast(to: .float64)])
    var extra = unit(same, same)
    extra.hasExtra = true
    let other = try Tensor.zeros([1, 4, 8])
    refused(.shape, "tensor to add", extra, [x, try weight(4, 4), try weight(4, 4), other])
  }
}
