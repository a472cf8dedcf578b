import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Kernels of float32 against float64, whose operations are computed one element after the other, on every instruction set.
@Suite struct VectorKernelTests {
  private func eachSet(_ body: (InstructionSet) throws -> Void) rethrows {
    for isa in InstructionSet.available { try InstructionSet.$override.withValue(isa) { try body(isa) } }
  }

  private func expectClose(
    _ got: Tensor, _ expected: Tensor, _ tolerance: Double, _ comment: String,
    _ location: SourceLocation = #_sourceLocation
  ) throws {
    #expect(got.shape == expected.shape, "\(comment)", sourceLocation: location)
    let distance = try got.cast(to: .float64).distance(to: expected)
    #expect(
      distance.absolute <= tolerance * max(1, distance.scale) && distance.sameSpecials, "\(comment): \(distance)",
      sourceLocation: location)
  }

  private func random(_ shape: TensorShape, _ seed: UInt64, _ range: ClosedRange<Double> = -1...1) throws -> Tensor {
    var random = RandomSource(seed: seed)
    return try Tensor.randomUniform(
      shape, from: range.lowerBound, to: range.upperBound, dtype: .float32, using: &random)
  }

  // MARK: Products

  @Test func productsAgreeWithDoublePrecisionAndDoNotDependOnTheBatch() throws {
    let cases: [(TensorShape, TensorShape)] = [
      ([1, 5], [5, 3]), ([1, 300], [300, 200]), ([37, 19], [19, 33]), ([3, 4, 7, 9], [3, 4, 9, 65]),
      ([2, 1, 8, 5], [3, 5, 40]),
      ([29, 64], [64, 96]), ([6, 50, 16], [6, 16, 50]), ([4, 100], [100, 31]), ([5, 7, 3], [3, 8]), ([3], [3, 4]),
      ([4, 3], [3]),
    ]
    for (index, (a, b)) in cases.enumerated() {
      let (x, y) = (try random(a, UInt64(index)), try random(b, UInt64(index + 50)))
      let expected = try x.cast(to: .float64).matmul(y.cast(to: .float64))
      try eachSet { isa in
        let product = try x.matmul(y)
        try expectClose(product, expected, 1e-5, "\(isa) \(a) \(b)")
        // Operands that lie otherwise in memory.
        if a.rank >= 2, b.rank >= 2 {
          let turned = try x.transposed(-1, -2).contiguous().transposed(-1, -2)
          let other = try y.transposed(-1, -2).contiguous().transposed(-1, -2)
          #expect(try turned.matmul(other).scalars(Float.self) == product.scalars(Float.self))
        }
        if a.rank == 3, b.rank == 3 {
          let one = try x.select(axis: 0, 1).matmul(y.select(axis: 0, 1))
          #expect(try one.scalars(Float.self) == product.select(axis: 0, 1).scalars(Float.self), "\(isa) \(a)")
        }
      }
    }
  }

  @Test func linearMapsWithEpiloguesAgreeWithDoublePrecision() throws {
    for (index, (rows, inputs, outputs)) in [(1, 40, 300), (3, 7, 5), (30, 33, 70), (100, 16, 32), (15, 3, 128)]
      .enumerated()
    {
      let seed = UInt64(index * 10)
      let (x, weight) = (try random([rows, inputs], seed), try random([outputs, inputs], seed + 1))
      let (bias, residual) = (try random([outputs], seed + 2), try random([rows, outputs], seed + 3))
      var operation = FusedConvolution(try linearMap(from: inputs, to: outputs))
      for activation in [nil, Activation.gelu(approximateTanh: false), .leakyReLU(slope: 0.1)] {
        operation.epilogue = Epilogue(outputScale: 0.7, activation: activation)
        let sums = try x.cast(to: .float64).matmul(weight.cast(to: .float64).transposed(0, 1))
        let shifted = try (sums + bias.cast(to: .float64) + residual.cast(to: .float64)) * 0.7
        let expected = try activation.map { try $0(shifted) } ?? shifted
        try eachSet { isa in
          let y = try operation(x, weight: weight, bias: bias, adding: [residual])
          try expectClose(y, expected, 1e-5, "\(isa) \(rows) \(inputs) \(outputs)")
          // Each row by itself has the same bits.
          let last = try operation(
            x.slice(axis: 0, (rows - 1)..<rows), weight: weight, bias: bias,
            adding: [residual.slice(axis: 0, (rows - 1)..<rows)])
          #expect(try last.scalars(Float.self) == y.slice(axis: 0, (rows - 1)..<rows).scalars(Float.self), "\(isa)")
        }
      }
    }
  }

  // MARK: Elements

  @Test func functionsOfElementsAgreeWithDoublePrecision() throws {
    let functions: [(String, Double, (Tensor) throws -> Tensor)] = [
      ("abs", 0, { try $0.abs() }), ("neg", 0, { try $0.negated() }), ("sign", 0, { try $0.sign() }),
      ("reciprocal", 1e-6, { try $0.reciprocal() }), ("sqrt", 1e-6, { try $0.sqrt() }),
      ("floor", 0, { try $0.floor() }), ("ceil", 0, { try $0.ceil() }),
      ("trunc", 0, { try $0.trunc() }), ("round", 0, { try $0.round() }),
      ("cos", 1e-6, { try $0.cos() }), ("sin", 1e-6, { try $0.sin() }), ("erf", 1e-6, { try $0.erf() }),
      ("tanh", 1e-6, { try $0.tanh() }), ("gelu", 1e-6, { try $0.gelu() }),
      ("square", 1e-6, { try $0.pow(2) }), ("cube", 1e-6, { try $0.pow(3) }), ("root", 1e-6, { try $0.pow(0.5) }),
      ("power", 1e-5, { try $0.pow(1.7) }), ("inverse", 1e-6, { try $0.pow(-1) }),
      ("shrink", 1e-6, { try $0.shrink(lambda: 0.5, bias: 0.25) }),
      ("clamp", 0, { try $0.clip(from: -1, to: 2) }), ("hardswish", 1e-6, { try $0.hardswish() }),
    ]
    let special: [Float] = [0, -0.0, 1, -1, .infinity, -.infinity, .nan, 2.5, -2.5, 0.5, 100, -100, 1e-3]
    let x = try Tensor.concatenate([random([1000], 3, -5...5), Tensor(special, shape: nil, device: .cpu)])
    for (name, tolerance, function) in functions {
      let expected = try function(x.cast(to: .float64))
      try eachSet { isa in try expectClose(function(x), expected, tolerance, "\(name) \(isa)") }
    }
  }

  @Test func broadcastOperandsAreWalkedInAnyOrder() throws {
    let shapes: [(TensorShape, TensorShape)] = [
      ([3, 500], [500]), ([3, 500], [3, 1]), ([7, 5, 3], [5, 1]), ([2, 3, 4, 5], [3, 1, 5]), ([1], [4, 3]),
      ([2000], []),
      ([4, 1, 300], [2, 1]), ([64, 49], [1, 49]),
    ]
    for (index, (a, b)) in shapes.enumerated() {
      let (x, y) = (try random(a, UInt64(index)), try random(b, UInt64(index + 20), 0.5...2))
      let wide = (try x.cast(to: .float64), try y.cast(to: .float64))
      try eachSet { isa in
        try expectClose(x * y, wide.0 * wide.1, 1e-6, "\(isa) \(a) \(b)")
        try expectClose(x / y, wide.0 / wide.1, 1e-6, "\(isa) \(a) \(b)")
        #expect(try x.less(y).scalars(Bool.self) == wide.0.less(wide.1).scalars(Bool.self))
        #expect(
          try Tensor.where(x.less(y), x, y).scalars(Float.self).map(Double.init)
            == Tensor.where(wide.0.less(wide.1), wide.0, wide.1).scalars(Double.self))
        // Channels last in memory, as the results are then.
        if a.rank == 4 {
          let moved = try x.permuted([0, 2, 3, 1]).contiguous().permuted([0, 3, 1, 2])
          let sum = try moved + moved
          #expect(try sum.contiguous().scalars(Float.self) == (x + x).scalars(Float.self))
          #expect(sum.strides == moved.strides)
        }
      }
    }
    for dtype in [DType.float16, .bfloat16] {
      let (x, y) = (try random([3, 333], 1).cast(to: dtype), try random([333], 2).cast(to: dtype))
      let expected = try (x.cast(to: .float32) * y.cast(to: .float32)).cast(to: dtype)
      let wanted = try expected.doubles()
      try eachSet { _ in
        let got = try (x * y).doubles()
        #expect(got == wanted)
      }
    }
  }

  // MARK: Rows

  @Test func reductionsOverAnyAxesAgreeWithDoublePrecision() throws {
    let x = try random([3, 4, 5, 70], 9)
    let wide = try x.cast(to: .float64)
    let reductions: [(String, (Tensor, [Int]) throws -> Tensor)] = [
      ("sum", { try $0.sum($1) }), ("mean", { try $0.mean($1) }), ("maximum", { try $0.max($1) }),
      ("minimum", { try $0.min($1) }), ("variance", { try $0.variance($1) }),
    ]
    for axes in [[0], [1], [2], [3], [0, 1], [1, 2], [2, 3], [0, 3], [1, 3], [0, 2], [0, 2, 3], [0, 1, 2, 3]] {
      for (name, reduce) in reductions {
        let expected = try reduce(wide, axes)
        try eachSet { isa in
          try expectClose(reduce(x, axes), expected, 1e-6, "\(name) \(axes) \(isa)")
          let turned = try x.transposed(1, 3)
          try expectClose(
            reduce(turned, axes), reduce(wide.transposed(1, 3), axes), 1e-6, "\(name) \(axes) \(isa) turned")
        }
      }
    }
    let holed = try Tensor.concatenate([
      random([100], 1), Tensor([Float.nan], shape: nil, device: .cpu), random([77], 2),
    ])
    try eachSet { _ in
      let (most, least) = (try holed.max().item(Float.self), try holed.min().item(Float.self))
      #expect(most.isNaN && least.isNaN)
    }
  }

  @Test func softmaxAlongAnyAxisAgreesWithDoublePrecision() throws {
    let x = try random([3, 21, 4, 37], 5, -30...30)
    let wide = try x.cast(to: .float64)
    for axis in 0..<4 {
      let (expected, logarithms) = (try wide.softmax(axis: axis), try wide.logSoftmax(axis: axis))
      try eachSet { isa in
        try expectClose(x.softmax(axis: axis), expected, 2e-6, "\(isa) \(axis)")
        try expectClose(x.logSoftmax(axis: axis), logarithms, 2e-6, "\(isa) \(axis)")
      }
    }
    for length in [1, 15, 16, 17, 31, 33, 64, 100] {
      let row = try random([length], UInt64(length), -5...5)
      try eachSet { isa in
        try expectClose(row.softmax(axis: 0), row.cast(to: .float64).softmax(axis: 0), 1e-6, "\(isa) \(length)")
      }
    }
  }

  /// A stream may give one position alone, or many.
  @Test func softmaxOfAColumnDoesNotDependOnThoseBesideIt() throws {
    for length in [3, 12, 100] {
      let x = try random([2, length, 37], UInt64(length), -5...5)
      try eachSet { isa in
        for whole in [try x.softmax(axis: 1), try x.logSoftmax(axis: 1)].enumerated() {
          for size in [1, 2, 16, 20] {
            let piece = try x.slice(axis: 2, 9..<(9 + size))
            let alone = whole.offset == 0 ? try piece.softmax(axis: 1) : try piece.logSoftmax(axis: 1)
            #expect(
              try alone.sameBits(as: whole.element.slice(axis: 2, 9..<(9 + size)).copied()), "\(isa) \(length) \(size)")
          }
        }
      }
    }
  }

  // MARK: Recurrent layers

  @Test(arguments: [Recurrence.Cell.simple, .gated(resetsAfter: true), .memory(couplesGates: false)])
  func recurrencesAgreeWithTheirStepsInDoublePrecision(cell: Recurrence.Cell) throws {
    for (units, batch) in [(3, 1), (32, 2), (40, 3), (130, 7)] {
      for isReversed in [false, true] {
        for order in [GateOrder.onnx, .pytorch] {
          var operation = Recurrence(cell, order: order)
          operation.isReversed = isReversed
          operation.hasBias = true
          operation.hasInitialState = true
          let gates = operation.gateCount
          var inputs = [
            try random([6, batch, gates * units], 1), try random([gates * units, units], 2, -0.3...0.3),
            try random([gates * units], 3), try random([batch, units], 4),
          ]
          if operation.hasCell { inputs.append(try random([batch, units], 5)) }
          let expected = try applyAll(operation, inputs.map { try $0.cast(to: .float64) })
          try eachSet { isa in
            let results = try applyAll(operation, inputs)
            for (got, wanted) in zip(results, expected) {
              try expectClose(got, wanted, 5e-6, "\(isa) \(units) \(batch) \(isReversed) \(order)")
            }
            guard !isReversed else { return }
            // In two pieces with carried state: the same bits.
            var (first, second) = (inputs, inputs)
            first[0] = try inputs[0].slice(axis: 0, 0..<4)
            second[0] = try inputs[0].slice(axis: 0, 4..<6)
            let before = try applyAll(operation, first)
            second.replaceSubrange(3..., with: before[1...])
            let after = try applyAll(operation, second)
            let joined = try Tensor.concatenate([before[0], after[0]])
            #expect(try joined.scalars(Float.self) == results[0].scalars(Float.self), "\(isa) \(units)")
          }
        }
      }
    }
  }

  // MARK: Windows

  @Test func resamplingAndPoolingAgreeWithDoublePrecision() throws {
    let x = try random([2, 3, 9, 13], 8)
    let wide = try x.cast(to: .float64)
    for interpolation in Interpolation.allCases {
      for (axis, size) in [(2, 18), (3, 26), (2, 5), (3, 29), (1, 7)] {
        let expected = try wide.resampled(axis: axis, size: size, interpolation)
        try eachSet { isa in
          try expectClose(
            x.resampled(axis: axis, size: size, interpolation), expected, 1e-6,
            "\(isa) \(interpolation) \(axis) \(size)")
        }
      }
    }
    let terms: [[(position: Int, weight: Double)]?] = [
      [(0, 1)], [(1, 0.25), (3, 0.75)], [(2, 0.5), (4, 0.25), (8, 0.25)],
    ]
    let weighted = try wide.resampled(axis: 2, terms: terms)
    try eachSet { isa in try expectClose(x.resampled(axis: 2, terms: terms), weighted, 1e-6, "\(isa) terms") }
    for (kernel, stride, padding, dilation) in [(3, 1, 1, 1), (2, 2, 0, 1), (5, 1, 2, 1), (3, 2, 1, 2), (3, 3, 0, 1)] {
      let geometry = try PoolGeometry(
        name: "MaxPool2d", rank: 2, kernelSize: PerAxis(kernel), stride: PerAxis(stride), padding: PerAxis(padding),
        dilation: PerAxis(dilation), ceilMode: true)
      let expected = try apply(MaxPooling(geometry: geometry), wide)
      try eachSet { isa in
        let pooled = try apply(MaxPooling(geometry: geometry), x)
        try expectClose(pooled, expected, 0, "\(isa) \(kernel) \(stride) \(padding)")
      }
    }
  }
}
