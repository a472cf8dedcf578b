import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Strides that are not powers of two: panels take inputs apart by their phases, stores put the phases of outputs together.
@Suite struct PhaseTests {
  @Test(arguments: InstructionSet.available)
  func stridesOfEverySizeMatchTheReference(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 307)
      func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
      // More phases than are put together at a time, too.
      for stride in Array(1...17) + [20, 31, 64, 65, 70] {
        for isTransposed in [false, true] {
          let dtype: DType = [.float32, .float32, .float64, .int32, .float16, .bfloat16][pick(0...5)]
          let rank = stride < 10 ? pick(1...2) : 1
          let g = try ConvolutionGeometry(
            rank: rank, isTransposed: isTransposed, inChannels: pick(1...9), outChannels: pick(1...20),
            kernelSize: PerAxis(pick(1...(2 * stride + 2))), stride: PerAxis(stride), padding: .uniform(pick(0...1)))
          let size =
            [isTransposed ? pick(40...60) : pick(40...60) * stride + 2 * stride] + (rank == 2 ? [pick(9...30)] : [])
          guard let output = try? g.outputSize(rank == 2 ? size.reversed() : size) else { continue }
          func tensor(_ shape: TensorShape) throws -> Tensor {
            try Tensor.randomUniform(shape, from: -5, to: 5, using: &random).cast(to: dtype)
          }
          let x = try tensor(TensorShape([pick(1...2), g.inChannels] + (rank == 2 ? size.reversed() : size)))
          let (w, b) = (try tensor(g.weightShape), try tensor([g.outChannels]))
          let residual = try tensor(TensorShape([x.shape[0], g.outChannels] + output))
          var operation = FusedConvolution(g)
          let isWhole = dtype == .int32
          operation.epilogue = Epilogue(
            inputSlope: isWhole ? 1 : 0.25, activation: isWhole ? nil : .leakyReLU(slope: 0.5))
          let y = try operation(x, weight: w, bias: b, adding: [residual])
          func leaky(_ values: [Double], _ slope: Double) -> [Double] { values.map { $0 < 0 ? $0 * slope : $0 } }
          let input = ReferenceConvolution.Array(
            shape: x.shape.dimensions, values: leaky(try x.doubles(), isWhole ? 1 : 0.25))
          let plain = try ReferenceConvolution.forward(g, x: input, weight: .init(w), bias: .init(b)).values
          let expected = leaky(zip(plain, try residual.doubles()).map { $0 + $1 }, isWhole ? 1 : 0.5)
          let distance = Distance(try y.doubles(), expected)
          let precision: Double =
            switch dtype {
            case .float16: 0x1p-10
            case .bfloat16: 0x1p-7
            case .float32: 0x1p-19
            case .float64: 0x1p-46
            default: 0
            }
          #expect(
            distance.absolute <= precision * max(1, distance.scale) && distance.sameSpecials,
            "\(isa) \(dtype) stride \(stride): \(g) \(x.shape) \(distance)")
        }
      }
    }
  }

  /// Rows long enough for kernels to store both phases of a stride of 2 themselves, also those of images.
  @Test(arguments: InstructionSet.available)
  func phasesThatKernelsStoreMatchTheReference(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 61)
      func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
      let endings: [Activation?] = [nil, nil, .clamp(low: 0, high: 2), .leakyReLU(slope: 0.25), .silu, .tanh]
      for index in 0..<40 {
        let dtype: DType = index % 5 == 4 ? .float64 : .float32
        let rank = index % 3 == 2 ? 2 : 1
        func axes(_ w: Int, _ h: Int) -> PerAxis { rank == 1 ? PerAxis(w) : [h, w] }
        let g = try ConvolutionGeometry(
          rank: rank, isTransposed: true, inChannels: 2 * pick(1...12), outChannels: 2 * pick(1...12),
          kernelSize: axes(pick(2...6), pick(1...3)), stride: axes(2, 1),
          padding: .uniform(pick(0...(rank == 1 ? 3 : 0))),
          outputPadding: axes(pick(0...1), 0), groups: pick(1...2))
        let size = (rank == 1 ? [] : [pick(1...5)]) + [pick(100...400)]
        let x = try Tensor.randomUniform(
          TensorShape([pick(1...2), g.inChannels] + size), from: -1, to: 1, using: &random
        )
        .cast(to: dtype)
        let output = TensorShape([x.shape[0], g.outChannels] + (try g.outputSize(size)))
        func tensor(_ shape: TensorShape) throws -> Tensor {
          try Tensor.randomUniform(shape, from: -1, to: 1, using: &random).cast(to: dtype)
        }
        let (w, b) = (try tensor(g.weightShape), try tensor([g.outChannels]))
        var operation = FusedConvolution(g)
        let residuals = try (0..<pick(0...2)).map { _ in try tensor(output) }
        operation.epilogue = Epilogue(
          outputScale: [1, 0.5][pick(0...1)], outputSlope: [1, 1, 0.125][pick(0...2)],
          activation: endings[pick(0...4)])
        let y = try operation(x, weight: w, bias: b, adding: residuals)
        let sums = try ReferenceConvolution.forward(g, x: .init(x), weight: .init(w), bias: .init(b)).values
        let finished = try operation.epilogue.finish(Tensor(sums, shape: output).cast(to: dtype), adding: residuals)
        let distance = Distance(try y.doubles(), try finished.doubles())
        #expect(
          distance.absolute <= (dtype == .float32 ? 0x1p-19 : 0x1p-46) * max(1, distance.scale), "\(g) \(distance)")
      }
    }
  }
}
