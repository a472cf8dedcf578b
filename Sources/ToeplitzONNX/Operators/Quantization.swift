import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  static let quantization: [String: OperatorMaker] = [
    "QuantizeLinear": { node in
      let (axis, block) = (try node.int("axis", 1), try node.int("block_size", 0))
      let saturates = try node.flag("saturate", true)
      let outputType = try node.dtype("output_dtype")
      return { x in
        let (input, scale) = (try x(0), try x(1))
        let zero = x.optional(2)
        let dtype = zero?.dtype ?? outputType ?? .uint8
        if dtype == .uint8 || dtype == .int8, block == 0, scale.dtype == .float32, input.dtype == .float32 {
          return [
            try input.quantized(
              scale: spread(scale, input, axis, 0),
              zeroPoint: zero.map { try spread($0, input, axis, 0) } ?? Tensor.full([], 0, dtype: dtype))
          ]
        }
        let scaled = try input.cast(to: .float32) / spread(scale.cast(to: .float32), input, axis, block)
        // Floating-point codes are rounded by the conversion.
        guard dtype.isInteger || [.int4, .uint4, .int2, .uint2].contains(dtype) else {
          return [try scaled.cast(to: dtype, saturates: saturates)]
        }
        var codes = try scaled.cast(to: .float64).round()
        if let zero { codes = try codes + spread(zero.cast(to: .float64), input, axis, block) }
        // Conversion to the narrow types takes the lowest bits, so codes are kept within range first.
        let ranges: [DType: (Double, Double)] = [.int4: (-8, 7), .uint4: (0, 15), .int2: (-2, 1), .uint2: (0, 3)]
        if let (low, high) = ranges[dtype] { codes = try codes.clip(from: low, to: high) }
        return [try codes.cast(to: dtype)]
      }
    },
    "DequantizeLinear": { node in
      let (axis, block) = (try node.int("axis", 1), try node.int("block_size", 0))
      let outputType = try node.dtype("output_dtype")
      return { x in
        let (input, scale) = (try x(0), try x(1))
        if [.uint8, .int8, .int32].contains(input.dtype), block == 0, scale.dtype == .float32,
          outputType == nil || outputType == .float32
        {
          return [
            try input.dequantized(
              scale: spread(scale, input, axis, 0),
              zeroPoint: x.optional(2).map { try spread($0, input, axis, 0) } ?? Tensor.full([], 0, dtype: input.dtype))
          ]
        }
        var codes = try input.cast(to: .float64)
        if let zero = x.optional(2) { codes = try codes - spread(zero.cast(to: .float64), input, axis, block) }
        return [
          try (codes * spread(scale.cast(to: .float64), input, axis, block)).cast(to: outputType ?? scale.dtype)
        ]
      }
    },
    "DynamicQuantizeLinear": { node in
      { x in
        let input = try x(0)
        let zero = try Tensor.full([], 0, dtype: input.dtype)
        guard input.count > 0 else { throw x.refuse(.shape, "at least one element", got: "none") }
        let (low, high) = (try input.min().minimum(zero), try input.max().maximum(zero))
        let span = try high - low
        let one = try Tensor.full([], 1, dtype: input.dtype)
        let scale = try Tensor.where(span.equal(zero), one, span / 255)
        let shift = try (zero - low / scale).clip(from: 0, to: 255).round()
        let zeroPoint = try shift.cast(to: .uint8)
        let codes =
          try input.dtype == .float32
          ? input.quantized(scale: scale, zeroPoint: zeroPoint) : ((input / scale).round() + shift).cast(to: .uint8)
        return [codes, scale, zeroPoint]
      }
    },
  ]

  /// Scales or zero points in a shape that broadcasts to the input: one number, one for each slice of the axis, or one
  /// for each block of it.
  private static func spread(_ numbers: Tensor, _ input: Tensor, _ axis: Int, _ block: Int) throws -> Tensor {
    if numbers.count == 1, block == 0 { return try numbers.reshaped([]) }
    let at = try input.shape.normalizedAxis(axis, operation: "QuantizeLinear")
    if numbers.rank == 1, block == 0 {
      guard numbers.count == input.shape[at] else {
        throw ToeplitzError(
          .shape, "QuantizeLinear", expected: "\(input.shape[at]) scales for axis \(at)", got: "\(numbers.count)")
      }
      var shape = [Int](repeating: 1, count: input.rank)
      shape[at] = numbers.count
      return try numbers.reshaped(TensorShape(shape))
    }
    guard block > 0, block <= Int(Int32.max), numbers.rank == input.rank, numbers.shape[at] > 0,
      (input.shape[at] + block - 1) / block == numbers.shape[at]
    else {
      throw ToeplitzError(
        .shape, "QuantizeLinear", expected: "scales for blocks of \(block) on axis \(at) of \(input.shape)",
        got: "shape \(numbers.shape)")
    }
    let places = (0..<input.shape[at]).map { Int64($0 / block) }
    return try numbers.gathered(Tensor(places, shape: nil, device: .cpu), axis: at)
  }
}

// MARK: Export

extension Quantize: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let dtype = inputs[0].dtype
    if dtype == .float32, inputs[1].shape.rank == 0, inputs[2].shape.rank == 0 {
      return [ExportNode("QuantizeLinear", [.input(0), .input(1), .input(2)])]
    }
    // Written out where scales are not single numbers: those may broadcast along any axes.
    let low: Double = inputs[2].dtype == .uint8 ? 0 : -128
    func number(_ value: Double) throws -> ExportNode.Operand { .constant(try Tensor.full([], value, dtype: dtype)) }
    return [
      ExportNode("Div", [.input(0), .input(1)]), ExportNode("Round", [.node(0)]),
      ExportNode("Cast", [.input(2)], ["to": .string(dtype.rawValue)]), ExportNode("Add", [.node(1), .node(2)]),
      ExportNode("Clip", [.node(3), try number(low), try number(low + 255)]),
      ExportNode("Cast", [.node(4)], ["to": .string(inputs[2].dtype.rawValue)]),
    ]
  }
}

extension Dequantize: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let dtype = inputs[1].dtype
    if dtype == .float32, inputs[1].shape.rank == 0, inputs[2].shape.rank == 0 {
      return [ExportNode("DequantizeLinear", [.input(0), .input(1), .input(2)])]
    }
    return [
      ExportNode("Cast", [.input(0)], ["to": .string(dtype.rawValue)]),
      ExportNode("Cast", [.input(2)], ["to": .string(dtype.rawValue)]), ExportNode("Sub", [.node(0), .node(1)]),
      ExportNode("Mul", [.node(2), .input(1)]),
    ]
  }
}
