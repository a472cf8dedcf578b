import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Sums, products and means between codes are computed from codes to codes.
@Suite struct QuantizedFunctionTests {
  private struct Coding {
    var scale: Float
    var zero: Tensor
    func numbers(_ codes: Tensor, _ constant: (Tensor) -> Tensor) throws -> Tensor {
      try codes.dequantized(scale: constant(Tensor(scalar: scale)), zeroPoint: constant(zero))
    }
    func codes(_ numbers: Tensor, _ constant: (Tensor) -> Tensor) throws -> Tensor {
      try numbers.quantized(scale: constant(Tensor(scalar: scale)), zeroPoint: constant(zero))
    }
  }

  private func coding(_ type: DType, _ random: inout RandomSource) throws -> Coding {
    let zero = Int32.random(in: type == .uint8 ? 0...255 : -128...127, using: &random)
    return Coding(scale: Float.random(in: 0.001...0.2, using: &random), zero: try Tensor(scalar: zero).cast(to: type))
  }

  private func codes(_ shape: TensorShape, _ type: DType, _ random: inout RandomSource) throws -> Tensor {
    let bytes = (0..<shape.reduce(1, *)).map { _ in UInt8.random(in: 0...255, using: &random) }
    return type == .uint8
      ? try Tensor(bytes, shape: shape) : try Tensor(bytes.map { Int8(bitPattern: $0) }, shape: shape)
  }

  /// What a function gives as a network, and the names of the operations that it becomes.
  private func run(
    _ operands: [Tensor], _ body: @escaping ([Tensor], (Tensor) -> Tensor) throws -> Tensor
  ) throws -> (result: Tensor, names: [String]) {
    let source = FunctionSource(
      inputs: operands.indices.map { PortDescription(name: "x\($0)") }, outputs: ["y"]
    ) { operands, trace in
      [try body(operands) { trace.weight($0, name: "constant") }]
    }
    // The caller uses its executable alone.
    nonisolated(unsafe) let sent = source
    let executable = Executable(sent)
    return (
      try executable.run(operands)[0],
      try executable.loweredGraph(for: operands.map(\.spec)).nodes.map(\.operation.name)
    )
  }

  /// The same elements with channels last in memory.
  private func channelsLast(_ x: Tensor) throws -> Tensor {
    try x.permuted([0, 2, 3, 1]).contiguous().permuted([0, 3, 1, 2])
  }

  @Test(arguments: InstructionSet.available)
  func sumsAndProductsHaveTheBitsOfTheirDefinition(isa: InstructionSet) throws {
    var random = RandomSource(seed: 31)
    let types: [DType] = [.uint8, .int8]
    let shapes: [(TensorShape, TensorShape)] = [
      ([2, 21, 7, 9], [2, 21, 7, 9]), ([1, 40, 40, 40], [1, 40, 40, 40]), ([2, 33, 5, 4], [2, 33, 1, 1]),
      ([1, 3, 1, 1], [1, 3, 6, 7]), ([4, 5], [5]), ([2, 17], [2, 1]), ([3], []), ([0, 3], [3]),
    ]
    for (index, (first, second)) in shapes.enumerated() {
      for (isProduct, rectifies, isLast) in [(false, false, false), (true, false, true), (false, true, true)] {
        let coded = try (0..<3).map { _ in try coding(types[Int.random(in: 0...1, using: &random)], &random) }
        var x = try codes(first, coded[0].zero.dtype, &random)
        var y = try codes(second, coded[1].zero.dtype, &random)
        if isLast, first.rank == 4, index != 2 { x = try channelsLast(x) }
        if isLast, second.rank == 4 { y = try channelsLast(y) }
        func body(_ operands: [Tensor], _ constant: (Tensor) -> Tensor) throws -> Tensor {
          let (a, b) = (try coded[0].numbers(operands[0], constant), try coded[1].numbers(operands[1], constant))
          let sum = try isProduct ? a * b : a + b
          return try coded[2].codes(rectifies ? sum.relu() : sum, constant)
        }
        try InstructionSet.$override.withValue(isa) {
          let (result, names) = try run([x, y], body)
          #expect(names == [isProduct ? "QuantizedMultiply" : "QuantizedAdd"], "\(first) \(second)")
          #expect(try result.doubles() == body([x, y]) { $0 }.doubles(), "\(isa) \(first) \(second) \(isProduct)")
        }
      }
    }
  }

  @Test(arguments: InstructionSet.available)
  func meansAreExactSumsRoundedOnce(isa: InstructionSet) throws {
    var random = RandomSource(seed: 32)
    for (shape, axes) in [
      ([2, 70, 7, 9], [2, 3]), ([1, 16, 56, 56], [2, 3]), ([3, 5, 4], [2]), ([3, 5, 4], [1]), ([2, 3, 4, 5], [1, 3]),
      ([3, 5, 1], [2]),
    ] as [([Int], [Int])] {
      for type in [DType.uint8, .int8] {
        let (from, to) = (try coding(type, &random), try coding(.uint8, &random))
        let x = try codes(TensorShape(shape), type, &random)
        let sums = try (x.cast(to: .float64) - from.zero.cast(to: .float64)).sum(axes, keepsAxes: true)
        let count = axes.reduce(1) { $0 * shape[$1] }
        let zero = try to.zero.cast(to: .float64).item(Double.self)
        let expected = try sums.contiguous().scalars(Double.self).map { sum in
          let steps = (Float(sum) * (from.scale / (Float(count) * to.scale))).rounded(.toNearestOrEven)
          return min(255, max(0, Double(steps) + zero))
        }
        for operand in shape.count == 4 ? [x, try channelsLast(x)] : [x] {
          try InstructionSet.$override.withValue(isa) {
            let (result, names) = try run([operand]) { operands, constant in
              try to.codes(from.numbers(operands[0], constant).mean(axes, keepsAxes: true), constant)
            }
            #expect(names == ["QuantizedMean"])
            #expect(try result.doubles() == expected, "\(isa) \(shape) \(axes) \(type)")
          }
        }
      }
    }
  }

  /// Scales that are no numbers give no crash, and the bits of the definition.
  @Test func oddScalesGiveCodes() throws {
    for scale in [Float.nan, .infinity, 0, -0.1, .leastNonzeroMagnitude] {
      let coded = Coding(scale: scale, zero: try Tensor(scalar: UInt8(3)))
      let plain = Coding(scale: 0.1, zero: try Tensor(scalar: UInt8(100)))
      let x = try Tensor([0, 1, 128, 255] as [UInt8], shape: [4])
      func body(_ operands: [Tensor], _ constant: (Tensor) -> Tensor) throws -> Tensor {
        let a = try plain.numbers(operands[0], constant)
        return try coded.codes(a + a, constant)
      }
      let (result, names) = try run([x], body)
      #expect(names == ["QuantizedAdd"])
      #expect(try result.doubles() == body([x]) { $0 }.doubles(), "\(scale)")
      _ = try run([x]) { operands, constant in
        try coded.codes(plain.numbers(operands[0], constant).mean([0], keepsAxes: true), constant)
      }
    }
  }
}
