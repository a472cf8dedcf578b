import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Properties that hold for every convolution, on every kernel path of this machine.
@Suite struct ConvolutionPropertyTests {
  private func tensor(_ shape: TensorShape, _ dtype: DType, _ random: inout RandomSource) throws -> Tensor {
    try Tensor.randomUniform(shape, from: -1, to: 1, dtype: dtype, using: &random)
  }

  private func convolve(_ g: ConvolutionGeometry, _ x: Tensor, _ w: Tensor, _ b: Tensor? = nil) throws -> Tensor {
    try applyAll(ConvolutionOperation(g), [x, w] + (b.map { [$0] } ?? []))[0]
  }

  @Test(arguments: InstructionSet.available, [DType.float64, .float32])
  func randomGeometriesMatchTheReference(isa: InstructionSet, dtype: DType) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 11)
      for index in 0..<400 {
        let c = GeneratedConvolution.random(using: &random)
        let g = c.geometry
        let x = try tensor(c.inputShape, dtype, &random)
        let w = try tensor(g.weightShape, dtype, &random)
        let b = index % 3 == 0 ? nil : try tensor([g.outChannels], dtype, &random)
        let y = try convolve(g, x, w, b)
        let expected = try ReferenceConvolution.forward(
          g, x: .init(x), weight: .init(w), bias: b.map { try .init($0) })
        #expect(y.shape.dimensions == expected.shape, "\(c)")
        let distance = Distance(try y.doubles(), expected.values)
        let length = Double(g.inChannels / g.groups * g.kernelSize.reduce(1, *))
        let tolerance = (dtype == .float64 ? 1e-15 : 4e-7) * (length.squareRoot() + 1) * max(1, distance.scale)
        #expect(distance.absolute <= tolerance, "\(isa) \(dtype) case \(index): \(c) \(distance)")
      }
    }
  }

  @Test func adjointIdentityHolds() throws {
    // ⟨T x, y⟩ = ⟨x, Tᵀ y⟩ for T a convolution and Tᵀ the transposed convolution with the same weight.
    var random = RandomSource(seed: 5)
    var tested = 0
    while tested < 600 {
      let c = GeneratedConvolution.random(using: &random, transposed: false)
      let g = c.geometry
      guard g.paddingMode == .zeros || g.paddingMode == .circular else { continue }
      let transposed = try ConvolutionGeometry(
        rank: g.rank, isTransposed: true, inChannels: g.outChannels, outChannels: g.inChannels,
        kernelSize: PerAxis(g.kernelSize), stride: PerAxis(g.stride), padding: g.padding,
        dilation: PerAxis(g.dilation), groups: g.groups, paddingMode: g.paddingMode)
      // Inputs that the last window does not reach make the transposed output shorter: ask for the full size.
      guard let exact = try? transposed.withOutputSize(c.inputSize, inputSize: c.outputSize) else { continue }
      let x = try tensor(c.inputShape, .float64, &random)
      let y = try tensor(c.outputShape, .float64, &random)
      let w = try tensor(g.weightShape, .float64, &random)
      let left = try (convolve(g, x, w) * y).sum().item(Double.self)
      let right = try (convolve(exact, y, w) * x).sum().item(Double.self)
      let size = try (convolve(g, x, w) * y).abs().sum().item(Double.self)
      #expect(abs(left - right) <= 1e-12 * max(1, size), "case \(tested): \(c): \(left) and \(right)")
      tested += 1
    }
  }

  @Test(arguments: InstructionSet.available)
  func bitsDoNotDependOnBatchOrThreads(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 21)
      for _ in 0..<60 {
        let c = GeneratedConvolution.random(using: &random)
        let g = c.geometry
        let x = try tensor(TensorShape([5] + c.inputShape.dropFirst()), .float32, &random)
        let w = try tensor(g.weightShape, .float32, &random)
        let all = try convolve(g, x, w)
        for n in 0..<5 {
          let one = try convolve(g, x.slice(axis: 0, n..<(n + 1)), w)
          #expect(try one.sameBits(as: all.slice(axis: 0, n..<(n + 1))), "\(isa) \(c)")
        }
      }
    }
  }

  @Test func bitsDoNotDependOnChunking() throws {
    // Without padding, a window of the input gives the same bits as the whole.
    var random = RandomSource(seed: 31)
    for _ in 0..<80 {
      let channels = Int.random(in: 1...70, using: &random)
      let kernel = Int.random(in: 1...11, using: &random)
      let dilation = Int.random(in: 1...6, using: &random)
      let g = try ConvolutionGeometry(
        rank: 1, inChannels: channels, outChannels: Int.random(in: 1...40, using: &random),
        kernelSize: PerAxis(kernel), dilation: PerAxis(dilation))
      let x = try tensor([1, channels, 700], .float32, &random)
      let w = try tensor(g.weightShape, .float32, &random)
      let whole = try convolve(g, x, w)
      let from = Int.random(in: 0..<300, using: &random)
      let length = Int.random(in: g.extent(0)...380, using: &random)
      let part = try convolve(g, x.slice(axis: 2, from..<(from + length)), w)
      #expect(
        try part.sameBits(as: whole.slice(axis: 2, from..<(from + part.shape[2]))), "\(g.name) \(channels) \(kernel)")
    }
  }

  @Test func layoutsAndViewsGiveTheSameValues() throws {
    var random = RandomSource(seed: 41)
    for _ in 0..<80 {
      let c = GeneratedConvolution.random(using: &random)
      let g = c.geometry
      let x = try tensor(c.inputShape, .float32, &random)
      let w = try tensor(g.weightShape, .float32, &random)
      let b = try tensor([g.outChannels], .float32, &random)
      let y = try convolve(g, x, w, b)
      let toLast = [0] + Array(2..<(g.rank + 2)) + [1]
      let last = try apply(ConvolutionOperation(g, layout: .channelsLast), x.permuted(toLast).contiguous(), w, b)
      #expect(try last.sameBits(as: y.permuted(toLast)), "channels last \(c)")
      // Reversed and expanded views of input and weight.
      let flippedX = try x.flipped([0, 2]).contiguous().flipped([0, 2])
      let flippedW = try w.flipped([0, 1, 2]).contiguous().flipped([0, 1, 2])
      #expect(try convolve(g, flippedX, flippedW, b).sameBits(as: y), "flipped \(c)")
      let wide = try x.slice(axis: 0, 0..<1).expanded(to: c.inputShape)
      #expect(try convolve(g, wide, w, b).sameBits(as: convolve(g, wide.copied(), w, b)), "expanded \(c)")
      // Without batch.
      let single = try x.select(axis: 0, 0)
      #expect(try convolve(g, single, w, b).sameBits(as: y.select(axis: 0, 0)), "unbatched \(c)")
    }
  }

  @Test(arguments: InstructionSet.available)
  func activationsInTheStoreGiveTheBitsOfSeparateOnes(isa: InstructionSet) throws {
    let activations: [Activation] = [
      .leakyReLU(slope: 0), .leakyReLU(slope: 0.2), .clamp(low: -0.5, high: 0.75), .elu(alpha: 0.7),
      .gelu(approximateTanh: false), .gelu(approximateTanh: true), .hardsigmoid, .hardswish, .mish, .selu, .sigmoid,
      .silu,
      .softsign, .tanh, .softplus(beta: 2, threshold: 3),
    ]
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 61)
      for index in 0..<150 {
        let c = GeneratedConvolution.random(using: &random)
        let dtype: DType = index % 5 == 4 ? .float64 : .float32
        let x = try tensor(c.inputShape, dtype, &random)
        let w = try (tensor(c.geometry.weightShape, dtype, &random) * 3).cast(to: dtype)
        let residual = try tensor(c.outputShape, dtype, &random)
        let activation = activations[index % activations.count]
        var operation = FusedConvolution(c.geometry)
        operation.epilogue = Epilogue(outputScale: 0.75)
        let plain = try activation(operation(x, weight: w, adding: [residual]))
        operation.epilogue.activation = activation
        let fused = try operation(x, weight: w, adding: [residual])
        let pairs = try zip(fused.doubles(), plain.doubles()).filter { $0 != $1 }
        #expect(try fused.sameBits(as: plain), "\(isa) \(dtype) \(activation) \(c): \(pairs.prefix(3))")
      }
    }
  }

  @Test func fusionEqualsSeparateSteps() throws {
    var random = RandomSource(seed: 51)
    for _ in 0..<120 {
      let c = GeneratedConvolution.random(using: &random)
      let g = c.geometry
      let x = try tensor(c.inputShape, .float32, &random)
      let w = try tensor(g.weightShape, .float32, &random)
      let b = try tensor([g.outChannels], .float32, &random)
      let r = try tensor(c.outputShape, .float32, &random)
      let x2 = try tensor(c.outputShape, .float32, &random)
      var fused = FusedConvolution(g)
      fused.epilogue = Epilogue(inputSlope: 0.1, outputScale: 0.5, outputSlope: 0.25)
      let y = try fused(x, weight: w, bias: b, adding: [r, x2])
      let sum = try convolve(g, x.leakyReLU(negativeSlope: 0.1), w, b) + r + x2
      let steps = try (sum * 0.5).leakyReLU(negativeSlope: 0.25)
      #expect(try y.distance(to: steps).absolute <= 1e-6 * max(1, y.distance(to: steps).scale), "\(c)")
    }
  }

  @Test(arguments: InstructionSet.available)
  func aResidualThatNobodyNeedsBecomesTheOutput(isa: InstructionSet) throws {
    func dense(
      _ inputs: Int, _ outputs: Int, _ kernel: Int, _ size: [Int], padding: Int
    ) throws -> (ConvolutionGeometry, TensorShape, TensorShape) {
      let g = try ConvolutionGeometry(
        rank: size.count, inChannels: inputs, outChannels: outputs,
        kernelSize: PerAxis(size.map { _ in kernel }), padding: .symmetric(size.map { _ in padding }))
      return (g, TensorShape([2, inputs] + size), TensorShape([2, outputs] + (try g.outputSize(size))))
    }
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 67)
      var cases = (0..<120).map { _ in
        let c = GeneratedConvolution.random(using: &random)
        return (c.geometry, c.inputShape, c.outputShape)
      }
      cases += try [
        dense(300, 70, 1, [30, 31], padding: 0), dense(64, 33, 1, [7, 7], padding: 0),
        dense(40, 33, 3, [57, 33], padding: 1),
        dense(160, 24, 1, [901], padding: 0), dense(31, 65, 7, [700], padding: 3),
        dense(512, 96, 3, [7, 7], padding: 1),
      ]
      for (index, (geometry, inputShape, outputShape)) in cases.enumerated() {
        let x = try tensor(inputShape, .float32, &random)
        let w = try tensor(geometry.weightShape, .float32, &random)
        let residuals = try (0...index % 2).map { _ in try tensor(outputShape, .float32, &random) }
        var operation = FusedConvolution(geometry)
        operation.epilogue = Epilogue(outputScale: 0.75, outputSlope: 0)
        let expected = try operation(x, weight: w, adding: residuals)
        let copies = try residuals.map { try $0.copied() }
        operation.overwrittenResidual = index % residuals.count
        let before = copies[index % residuals.count].storage
        let result = try operation(x, weight: w, adding: copies)
        let pairs = try zip(result.doubles(), expected.doubles()).enumerated().filter { $1.0 != $1.1 }
        #expect(
          try result.sameBits(as: expected),
          "\(isa) \(geometry.kernelSize) \(geometry.stride) \(geometry.isTransposed) \(geometry.groups) \(geometry.weightShape) on \(inputShape) \(index % 2) \(pairs.count) of \(result.count) \(pairs.prefix(3))"
        )
        let isPossible = !geometry.isTransposed && geometry.groups == 1 && geometry.outChannels > 1
        #expect((result.storage === before) == isPossible, "\(isa) \(geometry) on \(inputShape)")
      }
    }
  }

  @Test func singleTapsMatchTheReference() throws {
    // Rows that follow one another without padding between them are packed in one piece.
    var random = RandomSource(seed: 71)
    for index in 0..<120 {
      let rank = 2 + index % 2
      let transposed = index % 4 >= 2
      let pads = (0..<rank).map { _ in index % 3 == 0 ? Int.random(in: 0...1, using: &random) : 0 }
      let g = try ConvolutionGeometry(
        rank: rank, isTransposed: transposed, inChannels: Int.random(in: 1...40, using: &random),
        outChannels: Int.random(in: 1...70, using: &random), kernelSize: transposed ? 2 : 1,
        stride: transposed ? 2 : 1, padding: .symmetric(pads))
      let size = (0..<rank).map { _ in Int.random(in: 2...9, using: &random) }
      let x = try tensor(TensorShape([2, g.inChannels] + size), .float64, &random)
      let w = try tensor(g.weightShape, .float64, &random)
      let y = try convolve(g, x, w)
      let expected = try ReferenceConvolution.forward(g, x: .init(x), weight: .init(w), bias: nil)
      let distance = Distance(try y.doubles(), expected.values)
      #expect(distance.absolute <= 1e-13 * max(1, distance.scale), "\(g) on \(size): \(distance)")
    }
  }

  @Test func emptyBatchGivesEmptyOutput() throws {
    let g = try ConvolutionGeometry(rank: 1, inChannels: 3, outChannels: 5, kernelSize: 3)
    let y = try convolve(g, .zeros([0, 3, 9]), .ones(g.weightShape))
    #expect(y.shape == [0, 5, 7])
  }

  @Test(arguments: [DType.int8, .uint8, .int32, .int64])
  func integersStayIntegersAndWrap(dtype: DType) throws {
    let g = try ConvolutionGeometry(rank: 1, inChannels: 1, outChannels: 1, kernelSize: 3, padding: 1)
    let x = try Tensor([100, 50, 20, 7] as [Int64], shape: [1, 1, 4]).cast(to: dtype)
    let w = try Tensor([1, 2, 3] as [Int64], shape: [1, 1, 3]).cast(to: dtype)
    let y = try convolve(g, x, w)
    #expect(y.dtype == dtype)
    let exact: [Int64] = [350, 260, 111, 34]
    let expected = try Tensor(exact, shape: [1, 1, 4]).cast(to: dtype)
    #expect(try y.sameBits(as: expected))
  }

  @Test(arguments: [DType.float16, .bfloat16])
  func halvesRoundOnce(dtype: DType) throws {
    var random = RandomSource(seed: 61)
    let g = try ConvolutionGeometry(rank: 1, inChannels: 16, outChannels: 8, kernelSize: 5, padding: 2)
    let x = try tensor([1, 16, 50], dtype, &random)
    let w = try tensor(g.weightShape, dtype, &random)
    let exact = try convolve(g, x.cast(to: .float32), w.cast(to: .float32)).cast(to: dtype)
    #expect(try convolve(g, x, w).sameBits(as: exact))
  }
}
