@testable import ToeplitzCPU
@testable import ToeplitzOps
import ToeplitzTensor

/// An operation with operands that suit it.
package struct OperationSample: Sendable, CustomStringConvertible {
  /// The operation.
  package var operation: any TensorOperation
  /// The operands; floating-point ones are float64, away from kinks and ties.
  package var inputs: [Tensor]
  /// Whether it can be differentiated twice along a path that finite differences can follow.
  package var isSmooth = true

  /// The operation's type, name and operands.
  package var description: String {
    "\(type(of: operation)) \(operation.name) of \(inputs.map(\.spec.description).joined(separator: ", "))"
  }
}

/// Samples of all operations: what is checked of one is checked of all.
package enum OperationCatalog {
  /// Every operation at least once; `seed` chooses the numbers.
  package static func samples(seed: UInt64 = 1) throws -> [OperationSample] {
    var maker = Maker(random: RandomSource(seed: seed))
    return try maker.elementwise() + maker.structure() + maker.indexing() + maker.reductions() + maker.norms()
      + maker.pooling() + maker.convolutions() + maker.products() + maker.training()
  }

  struct Maker {
    var random: RandomSource

    /// Numbers of the given shape from an interval.
    mutating func numbers(_ shape: TensorShape, _ range: ClosedRange<Double> = -1...1) throws -> Tensor {
      try Tensor.randomUniform(shape, from: range.lowerBound, to: range.upperBound, dtype: .float64, using: &random)
    }

    /// Different numbers, at least 0.01 apart, in random order.
    mutating func distinct(_ shape: TensorShape) throws -> Tensor {
      let count = shape.reduce(1, *)
      let values = (0..<count).map { (Double($0) + 0.5) * 0.05 - 0.025 * Double(count) }.shuffled(using: &random)
      return try Tensor(values, shape: shape, device: .cpu)
    }

    /// Numbers of both signs whose magnitude lies in an interval.
    mutating func signed(_ shape: TensorShape, _ range: ClosedRange<Double>) throws -> Tensor {
      let magnitudes = try numbers(shape, range).scalars(Double.self)
      let values = magnitudes.map { Bool.random(using: &random) ? $0 : -$0 }
      return try Tensor(values, shape: shape, device: .cpu)
    }

    mutating func indices(_ shape: TensorShape, below limit: Int) throws -> Tensor {
      let count = shape.reduce(1, *)
      return try Tensor(
        (0..<count).map { _ in Int64.random(in: 0..<Int64(limit), using: &random) }, shape: shape, device: .cpu)
    }

    mutating func flags(_ shape: TensorShape) throws -> Tensor {
      try Tensor((0..<shape.reduce(1, *)).map { _ in Bool.random(using: &random) }, shape: shape, device: .cpu)
    }

    mutating func elementwise() throws -> [OperationSample] {
      let shape: TensorShape = [2, 3, 4]
      let any: [any TensorOperation] = [
        Negate(), Exponential(), Sine(), Cosine(), Tangent(), ArcTangent(), HyperbolicSine(), HyperbolicCosine(),
        InverseHyperbolicSine(), ErrorFunction(), GELUOperation(approximateTanh: false),
        GELUOperation(approximateTanh: true), SigmoidOperation(),
        LogSigmoidOperation(), SiLUOperation(), MishOperation(), HyperbolicTangent(),
        SoftplusOperation(beta: 1.5, threshold: 20), SnakeOperation(alpha: 1.3, beta: 0.7),
      ]
      // Kinks at 0, and some at ±0.5.
      let kinked: [any TensorOperation] = [
        Magnitude(), Sign(), SoftsignOperation(), ReLUOperation(), LeakyReLUOperation(slope: 0.2),
        ELUOperation(alpha: 0.7, scale: 1),
        ELUOperation(alpha: Tensor.selu.alpha, scale: Tensor.selu.scale), CELUOperation(alpha: 0.6),
        ThresholdedReLU(alpha: 0.5),
        Shrink(lambda: 0.5, bias: 0.1), Clamp(low: -0.5, high: 0.5), Round(rule: .down), Round(rule: .up),
        Round(rule: .towardZero), Round(rule: .toNearestOrEven), Cast(dtype: .float32), Cast(dtype: .int64),
        NarrowCast(dtype: .float8E4M3FN, saturates: false, powerRounding: .up), Reinterpret(dtype: .int64),
        Classify(question: .isNaN),
        Classify(question: .isInfinite(positive: true, negative: false)), Classify(question: .isZero),
      ]
      let positive: [any TensorOperation] = [SquareRoot(), Logarithm(), Reciprocal()]
      let inside: [any TensorOperation] = [ArcSine(), ArcCosine(), InverseHyperbolicTangent()]
      var samples: [OperationSample] = []
      for operation in any { samples.append(.init(operation: operation, inputs: [try numbers(shape, -2...2)])) }
      for operation in kinked {
        samples.append(.init(operation: operation, inputs: [try signed(shape, 0.1...0.4)]))
        samples.append(.init(operation: operation, inputs: [try signed(shape, 0.6...0.9)]))
      }
      for operation in positive { samples.append(.init(operation: operation, inputs: [try numbers(shape, 0.3...2)])) }
      for operation in inside { samples.append(.init(operation: operation, inputs: [try numbers(shape, -0.8...0.8)])) }
      samples.append(.init(operation: InverseHyperbolicCosine(), inputs: [try numbers(shape, 1.3...3)]))
      for range in [-2.8...2.8, 3.2...5, -5...(-3.2)] {
        samples.append(.init(operation: HardSwish(), inputs: [try numbers(shape, range)]))
        samples.append(.init(operation: HardSigmoid(), inputs: [try numbers(shape, range)]))
      }
      samples.append(.init(operation: ScaledHardSigmoid(alpha: 0.3, beta: 0.4), inputs: [try numbers(shape, -1...1)]))
      samples.append(.init(operation: ScaledHardSigmoid(alpha: 0.3, beta: 0.4), inputs: [try numbers(shape, 3...4)]))
      for function in [Binary.Function.add, .subtract, .multiply, .divide] {
        for shapes in [
          (shape, shape), (shape, TensorShape([3, 1])), (TensorShape([4]), shape), (TensorShape([]), shape),
        ] {
          samples.append(
            .init(
              operation: Binary(function: function), inputs: [try numbers(shapes.0), try signed(shapes.1, 0.4...1.5)]))
        }
      }
      samples.append(
        .init(operation: Binary(function: .power), inputs: [try numbers(shape, 0.3...2), try numbers([4], -2...2)]))
      let zeros: [(Tensor, TensorShape)] = [(try Tensor(scalar: UInt8(7)), []), (try Tensor(scalar: Int8(-3)), [4])]
      for (zero, scale) in zeros {
        samples.append(
          .init(operation: Quantize(), inputs: [try numbers(shape), try numbers(scale, 0.01...0.02), zero]))
      }
      let codes = try indices(shape, below: 100)
      for (type, scale) in [(DType.uint8, TensorShape([])), (.int8, TensorShape([4])), (.int32, TensorShape([]))] {
        let zero = try Tensor(scalar: Int64(5)).cast(to: type)
        samples.append(
          .init(operation: Dequantize(), inputs: [try codes.cast(to: type), try numbers(scale, 0.01...0.02), zero]))
      }
      for function in [
        Binary.Function.minimum, .maximum, .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual,
      ] {
        let both = try distinct([48])
        samples.append(
          .init(
            operation: Binary(function: function),
            inputs: [
              try both.slice(axis: 0, 0..<24).reshaped(shape), try both.slice(axis: 0, 24..<48).reshaped(shape),
            ]))
      }
      for function in [Logical.Function.and, .or, .xor] {
        samples.append(.init(operation: Logical(function: function), inputs: [try flags(shape), try flags([4])]))
      }
      for function in [Bitwise.Function.and, .or, .xor, .shiftLeft, .shiftRight] {
        samples.append(
          .init(
            operation: Bitwise(function: function),
            inputs: [try indices(shape, below: 100), try indices(shape, below: 5)]))
      }
      for truncates in [false, true] {
        samples.append(
          .init(
            operation: Remainder(truncates: truncates),
            inputs: [try numbers(shape, 2.1...2.9), try numbers(shape, 0.96...1.0)]))
      }
      samples.append(.init(operation: Where(), inputs: [try flags([3, 4]), try numbers(shape), try numbers([4])]))
      samples.append(
        .init(
          operation: ChannelActivation(function: .leaky), inputs: [try signed([2, 3, 5], 0.2...1), try numbers([3])]))
      samples.append(
        .init(
          operation: ChannelActivation(function: .leaky), inputs: [try signed([2, 3, 5], 0.2...1), try numbers([1])]))
      for isLogarithm in [false, true] {
        samples.append(
          .init(
            operation: ChannelActivation(function: .snake(isLogarithm: isLogarithm)),
            inputs: [try numbers([2, 3, 5]), try numbers([1, 3, 1], 0.4...1.5)]))
      }
      return samples
    }

    mutating func structure() throws -> [OperationSample] {
      let x: TensorShape = [2, 3, 6]
      var samples: [OperationSample] = []
      for operation: any TensorOperation in [
        Reshape(shape: [3, 2, 6]), Reshape(shape: [2, 18]), Reshape(shape: [2, 3, 1, 6]), Permute(order: [2, 0, 1]),
        Slice(axis: 2, range: 1..<5, step: 1), Slice(axis: 2, range: 1..<6, step: 2),
        Slice(axis: -2, range: 1..<2, step: 1),
        Slice(axis: 2, range: 2..<Int.max, step: 3), Unfold(axis: 2, size: 3, step: 2),
        Unfold(axis: 2, size: 2, step: 3, low: 1, high: 2), Unfold(axis: -2, size: 2, step: 1), Flip(axes: [1]),
        Flip(axes: [0, -1]), Expand(shape: [4, 2, 3, 6]),
        CumulativeSum(axis: 2), CumulativeSum(axis: 0), AxisSoftmax(axis: 1, isLogarithmic: false),
        AxisSoftmax(axis: -1, isLogarithmic: true),
        PadAxis(axis: 2, low: 2, high: 1, mode: .zeros, value: 0.5),
        PadAxis(axis: 2, low: -1, high: 3, mode: .zeros, value: 0),
        PadAxis(axis: -1, low: 2, high: -2, mode: .replicate, value: 0),
        PadAxis(axis: 2, low: 3, high: 2, mode: .reflect, value: 0),
        PadAxis(axis: 1, low: 2, high: 3, mode: .circular, value: 0),
      ] {
        samples.append(.init(operation: operation, inputs: [try numbers(x)]))
      }
      samples.append(.init(operation: Expand(shape: [2, 3, 5]), inputs: [try numbers([3, 1])]))
      samples.append(
        .init(operation: CumulativeSum(axis: 1, carries: true), inputs: [try numbers(x), try numbers([2, 1, 6])]))
      for axis in 0..<3 {
        let shapes = [1, 3].map { x.replacing(axis, by: $0) }
        samples.append(
          .init(operation: Concatenate(axis: axis), inputs: [try numbers(shapes[0]), try numbers(shapes[1])]))
      }
      samples.append(.init(operation: Concatenate(axis: -1), inputs: [try numbers(x)]))
      for (length, parts, inverse, oneSided) in [
        (6, 1, false, true), (6, 2, false, false), (5, 1, false, true), (8, 2, false, true), (6, 2, true, false),
        (7, 2, true, true), (6, 2, true, true), (4, 1, false, false),
      ] {
        let operation = FourierTransform(axis: 1, length: length, isInverse: inverse, isOneSided: oneSided)
        let size = inverse && oneSided ? length / 2 + 1 : length == 8 || length == 4 ? 6 : length
        samples.append(.init(operation: operation, inputs: [try numbers([2, size, parts])]))
      }
      let blend: [[Resample.Term]?] = [
        [.init(position: 0, weight: 0.3), .init(position: 4, weight: -1.2)], nil, [.init(position: 5, weight: 1)], [],
      ]
      samples.append(.init(operation: Resample(axis: 2, .weighted(blend, fill: 0.5)), inputs: [try numbers(x)]))
      for interpolation in Interpolation.allCases {
        for (size, factor, aligned) in [(9, nil, false), (12, 2, false), (4, nil, !interpolation.isNearest)]
          as [(Int, Double?, Bool)]
        {
          samples.append(
            .init(
              operation: Resample(
                axis: 2,
                .interpolated(EvenSamples(size: size, interpolation, factor: factor, alignCorners: aligned))),
              inputs: [try numbers(x)]))
        }
      }
      return samples
    }

    mutating func indexing() throws -> [OperationSample] {
      let x: TensorShape = [3, 4, 5]
      var samples: [OperationSample] = [
        .init(operation: EmbeddingLookup(), inputs: [try indices([2, 3], below: 7), try numbers([7, 4])]),
        .init(operation: TopElements(count: 2, axis: 1, largest: true), inputs: [try distinct(x)]),
        .init(operation: TopElements(count: 3, axis: -1, largest: false), inputs: [try distinct(x)]),
        .init(operation: Gather(kind: .rows(batch: 1)), inputs: [try numbers(x), try indices([3, 6, 2], below: 4)]),
        .init(operation: Gather(kind: .rows(batch: 0)), inputs: [try numbers(x), try indices([2, 2], below: 3)]),
      ]
      for axis in 0..<3 {
        samples.append(
          .init(operation: Gather(kind: .slices(axis: axis)), inputs: [try numbers(x), try indices([2, 2], below: 3)]))
        samples.append(
          .init(
            operation: Gather(kind: .elements(axis: axis)), inputs: [try numbers(x), try indices([3, 4, 5], below: 3)]))
      }
      for reduction in [ScatterReduction.add, .mul, .max, .min] {
        let both = try distinct([60 + 36])
        samples.append(
          .init(
            operation: Scatter(kind: .elements(axis: 1), reduction: reduction),
            inputs: [
              try both.slice(axis: 0, 0..<60).reshaped(x), try indices([3, 4, 3], below: 4),
              try both.slice(axis: 0, 60..<96).reshaped([3, 4, 3]),
            ]))
        samples.append(
          .init(
            operation: Scatter(kind: .rows, reduction: reduction),
            inputs: [
              try both.slice(axis: 0, 0..<60).reshaped(x), try indices([3, 2], below: 3),
              try both.slice(axis: 0, 60..<75).reshaped([3, 5]),
            ]))
      }
      let once = try Tensor([2, 0, 1, 0, 1, 2] as [Int64], shape: [3, 2], device: .cpu)
      samples.append(
        .init(
          operation: Scatter(kind: .rows, reduction: .none), inputs: [try numbers(x), once, try numbers([3, 5])]))
      let column = try Tensor((0..<20).map { Int64($0 / 5) }, shape: [1, 4, 5], device: .cpu)
      samples.append(
        .init(
          operation: Scatter(kind: .elements(axis: 1), reduction: .none),
          inputs: [try numbers(x), column, try numbers([1, 4, 5])]))
      return samples
    }

    mutating func reductions() throws -> [OperationSample] {
      var samples: [OperationSample] = []
      for function in [
        Reduction.Function.sum, .mean, .product, .maximum, .minimum, .variance, .argMaximum, .argMinimum,
      ] {
        for (axes, keeps) in [(nil, false), ([1], true), ([0, -1], false)] as [([Int]?, Bool)] {
          samples.append(
            .init(
              operation: Reduction(function: function, axes: axes, keepsAxes: keeps), inputs: [try distinct([2, 3, 4])])
          )
        }
      }
      samples.append(
        .init(
          operation: Reduction(function: .variance, axes: [1], keepsAxes: false, correction: 0),
          inputs: [try numbers([2, 5])]))
      return samples
    }

    mutating func norms() throws -> [OperationSample] {
      var samples: [OperationSample] = []
      for groups in [nil, 2] {
        samples.append(
          .init(operation: GroupMoments(name: "moments", groups: groups), inputs: [try numbers([2, 4, 5])]))
      }
      for (hasWeight, hasBias) in [(true, true), (false, true), (true, false), (false, false)] {
        for statistics: TensorShape in [[4], [2, 4], [2, 2]] {
          samples.append(
            .init(
              operation: NormalizeChannels(name: "normalize", eps: 1e-3, hasWeight: hasWeight, hasBias: hasBias),
              inputs: [try numbers([2, 4, 5]), try numbers(statistics), try numbers(statistics, 0.5...2)]
                + (hasWeight ? [try numbers([4])] : []) + (hasBias ? [try numbers([4])] : [])))
        }
        samples.append(
          .init(
            operation: LayerNormalize(shape: [3, 4], eps: 1e-3, hasWeight: hasWeight, hasBias: hasBias),
            inputs: [try numbers([2, 3, 4])] + (hasWeight ? [try numbers([3, 4])] : [])
              + (hasBias ? [try numbers([3, 4])] : [])))
      }
      return samples
    }

    mutating func pooling() throws -> [OperationSample] {
      var samples: [OperationSample] = []
      for (stride, padding, ceil) in [(1, 0, false), (2, 1, false), (3, 1, true)] {
        let flat = try PoolGeometry(
          name: "pool", rank: 1, kernelSize: 3, stride: PerAxis(stride), padding: PerAxis(padding), ceilMode: ceil)
        let square = try PoolGeometry(
          name: "pool", rank: 2, kernelSize: [2, 3], stride: PerAxis(stride), padding: [0, padding], ceilMode: ceil)
        for (geometry, shape) in [(flat, TensorShape([2, 2, 11])), (square, TensorShape([1, 2, 6, 8]))] {
          samples.append(
            .init(operation: MaxPooling(geometry: geometry), inputs: [try distinct(shape)]))
          samples.append(
            .init(operation: MaxPooling(geometry: geometry, positions: .plane), inputs: [try distinct(shape)]))
          for counts in [true, false] {
            samples.append(
              .init(operation: AveragePooling(geometry: geometry, countsPadding: counts), inputs: [try numbers(shape)]))
          }
        }
        samples.append(
          .init(
            operation: AveragePooling(geometry: flat, countsPadding: true, divisor: 5), inputs: [try numbers([2, 9])]))
      }
      let dilated = try PoolGeometry(name: "pool", rank: 1, kernelSize: 3, stride: 1, dilation: 2)
      samples.append(
        .init(operation: MaxPooling(geometry: dilated), inputs: [try distinct([1, 2, 9])]))
      for function in [AdaptivePooling.Function.average, .maximum, .maximumWithIndices] {
        samples.append(
          .init(
            operation: AdaptivePooling(function: function, name: "adaptive", outputSize: [3]),
            inputs: [try distinct([2, 2, 7])]))
        samples.append(
          .init(
            operation: AdaptivePooling(function: function, name: "adaptive", outputSize: [nil, 2]),
            inputs: [try distinct([1, 2, 3, 5])]))
      }
      let uneven = try PoolGeometry(
        name: "windows", kernelSize: [2, 3], stride: [2, 1], dilation: [1, 2], low: [1, 0], high: [0, 2])
      let operations: [any TensorOperation] = [
        MaxPooling(geometry: uneven), MaxPooling(geometry: uneven, positions: .plane),
        MaxPooling(geometry: uneven, positions: .tensor(columnMajor: false)),
        MaxPooling(geometry: uneven, positions: .tensor(columnMajor: true)),
        AveragePooling(geometry: uneven, countsPadding: true), AveragePooling(geometry: uneven, countsPadding: false),
      ]
      for operation in operations { samples.append(.init(operation: operation, inputs: [try distinct([1, 2, 5, 7])])) }
      return samples
    }

    mutating func convolutions() throws -> [OperationSample] {
      var samples: [OperationSample] = []
      for layout in [TensorLayout.channelsFirst, .channelsLast] {
        for (rank, transposed, mode) in [
          (1, false, PaddingMode.zeros), (1, false, .reflect), (1, false, .replicate), (1, false, .circular),
          (1, true, .zeros), (1, true, .circular), (2, false, .zeros), (2, true, .zeros), (2, false, .reflect),
          (3, false, .zeros), (3, true, .zeros),
        ] {
          for round in 0..<(rank == 1 ? 4 : 2) {
            let (stride, dilation) = (1 + round % 2, round == 3 ? 2 : 1)
            let g = try ConvolutionGeometry(
              rank: rank, isTransposed: transposed, inChannels: 4, outChannels: 6,
              kernelSize: PerAxis(rank == 3 ? 2 : 3),
              stride: PerAxis(stride), padding: .asymmetric((0..<rank).map { _ in (1, round == 0 ? 1 : 0) }),
              outputPadding: PerAxis(transposed && stride > 1 ? 1 : 0), dilation: PerAxis(dilation),
              groups: round == 1 ? 2 : 1, paddingMode: mode)
            let size = [rank == 1 ? 9 : 5] + [Int](repeating: 4, count: rank - 1)
            let shape = layout == .channelsFirst ? TensorShape([2, 4] + size) : TensorShape([2] + size + [4])
            let x = try numbers(shape)
            let weight = try numbers(g.weightShape)
            let operation = ConvolutionOperation(g, layout: layout)
            samples.append(
              .init(operation: operation, inputs: [x, weight] + (round == 2 ? [] : [try numbers([6])])))
            let output = try operation.infer([x.spec, weight.spec])[0].shape
            samples.append(
              .init(operation: ConvolutionWeightGradient(g, layout: layout), inputs: [x, try numbers(output)]))
          }
        }
      }
      return samples
    }

    mutating func products() throws -> [OperationSample] {
      var samples: [OperationSample] = []
      for (a, b) in [
        ([3, 4], [4, 5]), ([4], [4]), ([4], [4, 5]), ([3, 4], [4]), ([2, 3, 4], [4, 5]), ([3, 4], [2, 4, 5]),
        ([2, 1, 3, 4], [6, 4, 5]), ([2, 3, 4], [4]), ([4], [2, 4, 5]),
      ] as [(TensorShape, TensorShape)] {
        samples.append(.init(operation: MatrixMultiply(), inputs: [try numbers(a), try numbers(b)]))
      }
      for order in [GateOrder.onnx, .pytorch] {
        samples.append(.init(operation: LSTMCell(order: order), inputs: [try numbers([3, 8]), try numbers([3, 2])]))
      }
      return try samples + recurrent() + weightNorms()
    }
  }
}
