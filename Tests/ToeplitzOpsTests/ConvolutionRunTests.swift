import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// What layers keep ready between calls.
@Suite struct ConvolutionRunTests {
  /// A convolution with what it is given, and inputs of several sizes and ways to lie in memory.
  private struct Case {
    var operation: FusedConvolution
    var operands: [Tensor]
    var calls: [Call]
  }

  private struct Call {
    var x: Tensor
    var epilogue: Epilogue
    var residuals: [Tensor]
  }

  private func cases(seed: UInt64) throws -> [Case] {
    var random = RandomSource(seed: seed)
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    func tensor(_ shape: TensorShape) throws -> Tensor {
      try Tensor.randomUniform(shape, from: -1, to: 1, using: &random)
    }
    return try (0..<24).map { index in
      let rank = pick(1...2)
      let groups = [1, 1, 2, 8][pick(0...3)]
      let geometry = try ConvolutionGeometry(
        rank: rank, isTransposed: index % 4 == 3, inChannels: groups * pick(1...12), outChannels: groups * pick(1...24),
        kernelSize: PerAxis([1, 3, 4, 7][pick(0...3)]), stride: PerAxis(pick(1...2)), padding: .uniform(pick(0...1)),
        groups: groups)
      let operation = FusedConvolution(geometry)
      let operands = [try tensor(geometry.weightShape), try tensor([geometry.outChannels])]
      let sizes = (0..<3).map { _ in (0..<rank).map { _ in pick(7...(rank == 1 ? 400 : 40)) } }
      let calls = try (0..<8).map { _ in
        let size = sizes[pick(0...2)]
        var x = try tensor(TensorShape([pick(1...2), geometry.inChannels] + size))
        // The same sizes, but the channels are neighbours in memory.
        if pick(0...2) == 0 { x = try x.transposed(1, rank + 1).copied().transposed(1, rank + 1) }
        let output = try TensorShape(
          [x.shape[0], geometry.outChannels] + geometry.outputSize(Array(x.shape.dropFirst(2))))
        let activations: [Activation?] = [nil, .clamp(low: 0, high: 1), .leakyReLU(slope: 0.1), .silu]
        let epilogue = Epilogue(
          inputSlope: [1, 0.1][pick(0...1)], outputScale: [1, 0.5][pick(0...1)], activation: activations[pick(0...3)])
        return Call(x: x, epilogue: epilogue, residuals: try (0..<pick(0...2)).map { _ in try tensor(output) })
      }
      return Case(operation: operation, operands: operands, calls: calls)
    }
  }

  /// The result with nothing kept.
  private func fresh(_ c: Case, _ call: Call) throws -> Tensor {
    var operation = c.operation
    operation.epilogue = call.epilogue
    return try operation(call.x, weight: c.operands[0].copied(), bias: c.operands[1], adding: call.residuals)
  }

  private func kept(_ c: Case, _ call: Call) throws -> Tensor {
    var operation = c.operation
    operation.epilogue = call.epilogue
    return try operation(call.x, weight: c.operands[0], bias: c.operands[1], adding: call.residuals)
  }

  @Test(arguments: [Numerics.invariant, .fast])
  func callsOfOtherSizesAndEndingsDoNotDisturbEachOther(numerics: Numerics) throws {
    try Numerics.$current.withValue(numerics) {
      for (index, c) in try cases(seed: 107).enumerated() {
        let expected = try c.calls.map { try fresh(c, $0) }
        for round in 0..<2 {
          for (call, value) in zip(c.calls, expected) {
            #expect(try kept(c, call).sameBits(as: value), "\(index), round \(round): \(call.x.shape)")
          }
        }
      }
    }
  }

  @Test func callsAtOneTimeDoNotDisturbEachOther() async throws {
    let all = try cases(seed: 109)
    let expected = try all.map { c in try c.calls.map { try fresh(c, $0) } }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<4 {
        group.addTask {
          for (c, values) in zip(all, expected) {
            for turn in c.calls.indices {
              let at = (turn + task) % c.calls.count
              let isSame = try self.kept(c, c.calls[at]).sameBits(as: values[at])
              #expect(isSame)
            }
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Test func anotherWeightIsSeen() throws {
    var random = RandomSource(seed: 113)
    let geometry = try ConvolutionGeometry(rank: 1, inChannels: 8, outChannels: 8, kernelSize: 3, padding: 1)
    let x = try Tensor.randomUniform([1, 8, 300], from: -1, to: 1, using: &random)
    let operation = FusedConvolution(geometry)
    var weight = try Tensor.randomUniform(geometry.weightShape, from: -1, to: 1, using: &random)
    let place = weight.storage.base
    for round in 0..<3 {
      for _ in 0..<2 {
        let value = try operation(x, weight: weight)
        #expect(try value.sameBits(as: operation(x, weight: weight.copied())))
      }
      #expect(weight.storage.preparedByteCount > 0)
      // What was packed does not hold the weight, so that it is written where it is, and goes with the old values.
      try weight.withMutableElements(Float.self) { $0[round] += 1 }
      #expect(weight.storage.base == place && weight.storage.preparedByteCount == 0)
    }
  }

  @Test func anotherBiasAndOtherFactorsAreSeen() throws {
    var random = RandomSource(seed: 117)
    let geometry = try ConvolutionGeometry(rank: 1, inChannels: 8, outChannels: 8, kernelSize: 3, padding: 1)
    func tensor(_ shape: TensorShape, _ dtype: DType = .float32) throws -> Tensor {
      try Tensor.randomUniform(shape, from: -1, to: 1, dtype: dtype, using: &random)
    }
    let (x, weight) = (try tensor([1, 8, 300]), try tensor(geometry.weightShape))
    let operation = FusedConvolution(geometry)
    for round in 0..<4 {
      let bias = round == 3 ? nil : try tensor([8])
      let factors = round % 2 == 0 ? nil : try tensor([8], .float64)
      let value = try operation(x, weight: weight, bias: bias, factors: factors)
      #expect(try value.sameBits(as: operation(x, weight: weight.copied(), bias: bias, factors: factors)))
    }
  }

  /// A bias that shares the weight's memory would keep it alive for ever if what is packed held it.
  @Test func whatIsPackedGoesWithTheWeight() throws {
    final class Watch { weak var storage: Storage? }
    let geometry = try ConvolutionGeometry(rank: 1, inChannels: 4, outChannels: 4, kernelSize: 3)
    let watch = Watch()
    do {
      let all = try Tensor.ones([4 * 4 * 3 + 4])
      let weight = try all.slice(axis: 0, 0..<48).reshaped(geometry.weightShape)
      let bias = try all.slice(axis: 0, 48..<52)
      watch.storage = weight.storage
      for _ in 0..<2 {
        let y = try ConvolutionOperation(geometry)(Tensor.ones([1, 4, 9]), weight: weight, bias: bias)
        #expect(try y.scalars(Float.self).allSatisfy { $0 == 13 })
      }
      #expect(weight.storage.preparedByteCount > 0)
    }
    #expect(watch.storage == nil)
  }

  @Test func threadsShareTheRowsOfATile() throws {
    let pool = ThreadPool.shared
    let threads = pool.threadCount
    defer { pool.threadCount = threads }
    var random = RandomSource(seed: 127)
    // Few tiles of many rows, whose panels are kept, and which threads take from both ends.
    for numerics in [Numerics.invariant, .fast] {
      for (channels, kernel, length) in [(64, 7, 400), (96, 3, 900), (128, 1, 300), (40, 11, 130)] {
        let geometry = try ConvolutionGeometry(
          rank: 1, inChannels: channels, outChannels: 256, kernelSize: PerAxis(kernel),
          padding: .uniform(kernel / 2))
        let x = try Tensor.randomUniform([2, channels, length], from: -1, to: 1, using: &random)
        let weight = try Tensor.randomUniform(geometry.weightShape, from: -1, to: 1, using: &random)
        func result(_ count: Int) throws -> Tensor {
          pool.threadCount = count
          return try Numerics.$current.withValue(numerics) {
            try ToomCookPlan.$always.withValue(numerics == .fast) {
              try applyAll(ConvolutionOperation(geometry), [x, weight])[0]
            }
          }
        }
        let alone = try result(1)
        for count in [2, 3, 5] { #expect(try result(count).sameBits(as: alone), "\(numerics) \(channels) \(count)") }
      }
    }
  }

  @Test func idleObjectsAreTakenOnce() {
    final class Thing { let number: Int; init(_ number: Int) { self.number = number } }
    let idle = IdleObjects<Thing>(limit: 2)
    #expect(idle.take { _ in true } == nil)
    for number in 0..<3 { idle.give(Thing(number)) }
    #expect(idle.take { $0.number == 0 } == nil, "the oldest has gone")
    #expect(idle.take { $0.number == 1 }?.number == 1)
    #expect(idle.take { $0.number == 1 } == nil)
    #expect(idle.take { _ in true }?.number == 2)
  }

  @Test func largeTensorsAreJoinedAsSmallOnes() throws {
    var random = RandomSource(seed: 131)
    for axis in 0..<3 {
      let shapes = [5, 0, 300].map { TensorShape([4, 130, 170]).replacing(axis, by: $0) }
      var parts = try shapes.map { try Tensor.randomUniform($0, from: -1, to: 1, using: &random) }
      parts.append(try Tensor.randomUniform([170, 130, 4], from: -1, to: 1, using: &random).transposed(0, 2))
      let whole = try Tensor.concatenate(parts, axis: axis)
      var start = 0
      for part in parts {
        let piece = try whole.slice(axis: axis, start..<(start + part.shape[axis]))
        #expect(try piece.copied().sameBits(as: part.copied()), "axis \(axis)")
        start += part.shape[axis]
      }
    }
  }
}
