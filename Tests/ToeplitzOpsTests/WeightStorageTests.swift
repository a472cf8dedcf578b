import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Weights in 16 and 8 bits, on every kernel path of this machine.
@Suite struct WeightStorageTests {
  private func tensor(_ shape: TensorShape, _ random: inout RandomSource) throws -> Tensor {
    try Tensor.randomUniform(shape, from: -1, to: 1, using: &random)
  }

  private func compute(_ g: ConvolutionGeometry, _ inputs: [Tensor], _ storage: WeightStorage) throws -> Tensor {
    var operation = FusedConvolution(g)
    operation.weightStorage = storage
    return try applyAll(operation, inputs)[0]
  }

  /// What the weights come to, by other means than the library's.
  private func rounded(_ weight: Tensor, _ g: ConvolutionGeometry, _ storage: WeightStorage) throws -> Tensor {
    var values = try weight.scalars(Float.self)
    let shape = g.weightShape
    let taps = shape.dropFirst(2).reduce(1, *)
    func channel(_ index: Int) -> Int {
      let (i, j) = (index / taps / shape[1], index / taps % shape[1])
      return g.isTransposed ? i / (g.inChannels / g.groups) * shape[1] + j : i
    }
    switch storage {
    case .full: return weight
    case .bfloat16:
      values = values.map {
        let bits = $0.bitPattern
        return Float(bitPattern: (bits &+ 0x7FFF &+ bits >> 16 & 1) & 0xFFFF_0000)
      }
    case .int8:
      var most = [Float](repeating: 0, count: g.outChannels)
      for (index, value) in values.enumerated() { most[channel(index)] = max(most[channel(index)], abs(value)) }
      for index in values.indices {
        let scale = most[channel(index)] / 127
        values[index] = scale == 0 ? 0 : (values[index] / scale).rounded() * scale
      }
    }
    return try Tensor(values, shape: shape)
  }

  /// Few positions and many rows, where weights are streamed, and the opposite, of both directions and all ranks.
  private func generated(_ random: inout RandomSource, _ index: Int) throws -> (ConvolutionGeometry, TensorShape) {
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    while true {
      let rank = index % 4 == 3 ? 2 : 1
      let groups = pick(1...3)
      let stride = pick(1...4)
      let g = try ConvolutionGeometry(
        rank: rank, isTransposed: index % 2 == 0, inChannels: groups * pick(1...30), outChannels: groups * pick(1...70),
        kernelSize: PerAxis(pick(1...5)), stride: PerAxis(stride), padding: .uniform(pick(0...2)), groups: groups)
      let size = (0..<rank).map { _ in pick(index % 5 == 4 ? 100...200 : 1...20) / (rank == 2 ? 3 : 1) + 1 }
      if let output = try? g.outputSize(size), output.allSatisfy({ $0 > 0 }) {
        return (g, TensorShape([pick(1...2), g.inChannels] + size))
      }
    }
  }

  @Test(arguments: InstructionSet.available, [WeightStorage.bfloat16, .int8])
  func storedWeightsAreRoundedOnce(isa: InstructionSet, storage: WeightStorage) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 41)
      for index in 0..<120 {
        let (g, shape) = try generated(&random, index)
        var weight = try tensor(g.weightShape, &random)
        if index % 7 == 0 { weight = try weight * Tensor.zeros([1]) }
        let inputs = [try tensor(shape, &random), weight, try tensor([g.outChannels], &random)]
        let got = try compute(g, inputs, storage)
        let expected = try compute(g, [inputs[0], rounded(weight, g, storage), inputs[2]], .full)
        #expect(try got.sameBits(as: expected), "\(isa) \(storage) case \(index): \(g) \(shape)")
        for n in 0..<shape[0] {
          let one = try compute(g, [inputs[0].slice(axis: 0, n..<(n + 1))] + inputs[1...], storage)
          #expect(try one.sameBits(as: got.slice(axis: 0, n..<(n + 1))), "\(isa) \(storage) case \(index)")
        }
      }
    }
  }

  @Test func bitsDoNotDependOnThreads() throws {
    var random = RandomSource(seed: 43)
    let pool = ThreadPool.shared
    let threads = pool.threadCount
    defer { pool.threadCount = threads }
    for storage in [WeightStorage.bfloat16, .int8] {
      let g = try ConvolutionGeometry(
        rank: 1, isTransposed: true, inChannels: 90, outChannels: 50, kernelSize: 16, stride: 8, padding: .uniform(4))
      let inputs = [try tensor([1, 90, 4], &random), try tensor(g.weightShape, &random)]
      pool.threadCount = 1
      let alone = try compute(g, inputs, storage)
      pool.threadCount = 7
      #expect(try compute(g, inputs, storage).sameBits(as: alone))
      let fast = try Numerics.$current.withValue(.fast) { try compute(g, inputs, storage) }
      #expect(try fast.distance(to: alone).absolute < 1e-4)
    }
  }

  @Test func errorsAreThoseOfTheStorage() throws {
    var random = RandomSource(seed: 47)
    let g = try ConvolutionGeometry(rank: 1, inChannels: 256, outChannels: 64, kernelSize: 7)
    let inputs = [try tensor([1, 256, 11], &random), try tensor(g.weightShape, &random)]
    let exact = try compute(g, inputs, .full)
    let scale = try exact.abs().scalars(Float.self).max() ?? 1
    for (storage, bound) in [(WeightStorage.bfloat16, 3e-3), (.int8, 8e-3)] {
      let error = try compute(g, inputs, storage).distance(to: exact).absolute / Double(scale)
      #expect(error > 1e-5 && error < bound, "\(storage): \(error)")
    }
  }

  @Test func weightsThatAreNotFiniteKeepTheirMeaning() throws {
    var random = RandomSource(seed: 53)
    for transposed in [false, true] {
      let g = try ConvolutionGeometry(
        rank: 1, isTransposed: transposed, inChannels: 6, outChannels: 40, kernelSize: 3, padding: .uniform(1))
      for value in [Float.infinity, .nan, -3.4e38] {
        var values = try tensor(g.weightShape, &random).scalars(Float.self)
        values[31] = value
        let inputs = [try tensor([1, 6, 5], &random), try Tensor(values, shape: g.weightShape)]
        for storage in [WeightStorage.bfloat16, .int8] {
          let kept = storage == .bfloat16 ? try rounded(inputs[1], g, storage) : inputs[1]
          guard !value.isNaN || storage == .int8, storage == .bfloat16 || !value.isFinite else { continue }
          let expected = try compute(g, [inputs[0], kept], .full)
          #expect(try compute(g, inputs, storage).distance(to: expected).sameSpecials, "\(storage) \(value)")
        }
      }
    }
  }

  @Test func otherTypesStayAsTheyAre() throws {
    let g = try ConvolutionGeometry(rank: 1, inChannels: 3, outChannels: 40, kernelSize: 3)
    var random = RandomSource(seed: 59)
    let inputs = [try tensor([1, 3, 6], &random), try tensor(g.weightShape, &random)]
    for dtype in [DType.float64, .int32] {
      let cast = try inputs.map { try ($0 * 50).cast(to: dtype) }
      #expect(try compute(g, cast, .int8).sameBits(as: compute(g, cast, .full)))
    }
  }

  @Test func lessMemoryIsHeldAndAnotherStoragePacksAnew() throws {
    let g = try ConvolutionGeometry(rank: 1, inChannels: 64, outChannels: 256, kernelSize: 4)
    var random = RandomSource(seed: 61)
    let inputs = [try tensor([1, 64, 6], &random), try tensor(g.weightShape, &random)]
    var operation = FusedConvolution(g)
    var held: [Int] = []
    for storage in WeightStorage.allCases {
      operation.weightStorage = storage
      let before = inputs[1].storage.preparedByteCount
      _ = try applyAll(operation, inputs)
      held.append(inputs[1].storage.preparedByteCount - before)
    }
    let count = inputs[1].count
    #expect(held[0] >= 4 * count && held[1] >= 2 * count && held[2] >= count)
    #expect(held[1] < 4 * count * 6 / 10 && held[2] < 4 * count * 4 / 10)
  }
}
