import ToeplitzOps
import ToeplitzTensor

extension Operands {
  /// Codes, their scale and their zero point, which stand one after the other.
  fileprivate func real(_ index: Int) throws -> Tensor { try real(self(index), self(index + 1), optional(index + 2)) }

  fileprivate func real(_ codes: Tensor, _ scale: Tensor, _ zero: Tensor?) throws -> Tensor {
    try codes.dequantized(
      scale: number(scale, "scale"),
      zeroPoint: zero.map { try number($0, "zero point") } ?? Tensor.full([], 0, dtype: codes.dtype))
  }

  /// Numbers as codes, with the scale and zero point at `index`; uint8 codes if the zero point is left out.
  fileprivate func codes(_ numbers: Tensor, _ index: Int) throws -> Tensor {
    let zero = try optional(index + 1).map { try number($0, "zero point") } ?? Tensor.full([], 0, dtype: .uint8)
    return try numbers.quantized(scale: number(self(index), "scale"), zeroPoint: zero)
  }

  private func number(_ tensor: Tensor, _ what: String) throws -> Tensor {
    guard tensor.count == 1 else { throw refuse(.shape, "a \(what) of one number", got: "shape \(tensor.shape)") }
    return try tensor.reshaped([])
  }
}

/// The operators that ONNX Runtime's quantiser writes (domain `com.microsoft`), as their documentation in `ContribOperators.md`
/// defines them.
extension OperatorTable {
  static let runtimeQuantized: [String: OperatorMaker] = [
    "QLinearAdd": binary { try $0 + $1 },
    "QLinearMul": binary { try $0 * $1 },
    "QLinearSigmoid": { _ in { x in [try x.codes(x.real(0).sigmoid(), 3)] } },
    "QLinearLeakyRelu": { node in
      let operation = LeakyReLUOperation(slope: try node.float("alpha", 0.01))
      return { x in [try x.codes(apply(operation, x.real(0)), 3)] }
    },
    "QLinearSoftmax": { node in
      // The rules of this version of the standard domain's Softmax hold.
      let opset = try node.int("opset", 13)
      let axis = try node.int("axis", opset < 13 ? 1 : -1)
      return { x in
        let real = try x.real(0)
        guard opset < 13 else { return [try x.codes(real.softmax(axis: axis), 3)] }
        let at = axis == real.rank ? axis : try real.shape.normalizedAxis(axis, operation: x.name)
        let rows = try real.reshaped([real.shape[..<at].reduce(1, *), real.shape[at...].reduce(1, *)])
        return [try x.codes(rows.softmax(axis: 1).reshaped(real.shape), 3)]
      }
    },
    "QLinearGlobalAveragePool": { node in
      let isLast = try node.flag("channels_last")
      return { x in
        let real = try x.real(0)
        guard real.rank > 2 else { throw x.refuse(.shape, "at least 3 axes", got: "shape \(real.shape)") }
        let axes = isLast ? Array(1..<(real.rank - 1)) : Array(2..<real.rank)
        return [try x.codes(real.mean(axes, keepsAxes: true), 3)]
      }
    },
    "QLinearAveragePool": { node in
      let isLast = try node.flag("channels_last")
      guard let pool = try pooling["AveragePool"]?(node) else { throw node.refuse("a pooling", got: "none") }
      return { x in
        let real = try x.real(0)
        let pooled = try pool(Operands(name: x.name, values: [.tensor(isLast ? real.channelsFirst() : real)]))
        guard let result = pooled.first ?? nil else { throw x.refuse("a result", got: "none") }
        return [try x.codes(isLast ? result.channelsLast() : result, 3)]
      }
    },
    "QLinearReduceMean": { node in
      let (axes, keeps) = (try node.ints("axes"), try node.flag("keepdims", true))
      return { x in
        let real = try x.real(0)
        return [try x.codes(real.mean(axes ?? Array(0..<real.rank), keepsAxes: keeps), 3)]
      }
    },
    "QLinearConcat": { node in
      guard let axis = try node.int("axis") else { throw node.refuse("an axis", got: "none") }
      return { x in
        guard x.count > 2, (x.count - 2) % 3 == 0 else {
          throw x.refuse("a scale, a zero point and three inputs for each part", got: "\(x.count) inputs")
        }
        return [try x.codes(Tensor.concatenate(stride(from: 2, to: x.count, by: 3).map(x.real), axis: axis), 0)]
      }
    },
    "QLinearWhere": { _ in
      { x in [try x.codes(Tensor.where(x(0), x.real(1), x.real(4)), 7)] }
    },
    "QGemm": { node in
      let alpha = try node.float("alpha", 1)
      let (turnsA, turnsB) = (try node.flag("transA"), try node.flag("transB"))
      return { x in
        guard try x(0).rank == 2, try x(3).rank == 2 else {
          throw x.refuse(.shape, "two matrices", got: "\(try x(0).shape) and \(try x(3).shape)")
        }
        let left = try x(0).centered(x.optional(2), axis: nil)
        let right = try x(3).centered(x.optional(5), axis: turnsB ? 0 : 1)
        var sums = try (turnsA ? left.transposed(0, 1) : left)
          .matmul(turnsB ? right.transposed(0, 1) : right)
        if let bias = x.optional(6) { sums = try sums + bias }
        let factor = try x(1).reshaped([]) * x(4) * alpha
        guard let scale = x.optional(7) else { return [try sums.cast(to: .float32) * factor] }
        return [
          try sums.requantized(
            factor: factor / scale, zeroPoint: x.optional(8) ?? Tensor.full([], 0, dtype: x(0).dtype))
        ]
      }
    },
    "MatMulIntegerToFloat": { _ in
      { x in
        let sums = try x(0).integerProduct(x.optional(4), x(1), x.optional(5))
        let result = try sums.cast(to: .float32) * (x(2).reshaped([]) * x(3))
        return [try x.optional(6).map { try result + $0 } ?? result]
      }
    },
    "DynamicQuantizeMatMul": { node in
      guard let quantize = try quantization["DynamicQuantizeLinear"]?(node) else {
        throw node.refuse("a quantization", got: "none")
      }
      return { x in
        let parts = try quantize(Operands(name: x.name, values: [.tensor(x(0))]))
        guard parts.count == 3, let codes = parts[0], let scale = parts[1], let zero = parts[2] else {
          throw x.refuse("codes, a scale and a zero point", got: "others")
        }
        let result = try codes.integerProduct(zero, x(1), x.optional(3)).cast(to: .float32) * (scale * x(2))
        return [try x.optional(4).map { try result + $0 } ?? result]
      }
    },
    "DynamicQuantizeLSTM": { node in
      guard let layer = try recurrent["LSTM"]?(node) else { throw node.refuse("a recurrence", got: "none") }
      return { x in
        /// Codes `[directions, in, 4 · hidden]` as numbers in the order of the standard LSTM.
        func weights(_ index: Int, _ scale: Int) throws -> Tensor {
          let codes = try x(index)
          guard codes.rank == 3 else { throw x.refuse(.shape, "weights of 3 axes", got: "shape \(codes.shape)") }
          func spread(_ tensor: Tensor) throws -> Tensor {
            try tensor.rank == 2
              ? tensor.reshaped([tensor.shape[0], 1, tensor.shape[1]])
              : tensor.count == 1 ? tensor.reshaped([]) : tensor.reshaped([tensor.count, 1, 1])
          }
          return try codes.dequantized(scale: spread(x(scale)), zeroPoint: spread(x(scale + 1))).transposed(1, 2)
        }
        var operands: [Tensor?] = [try x(0), try weights(1, 8), try weights(2, 10)]
        operands += (3..<8).map(x.optional)
        return try layer(Operands(name: x.name, values: operands.map { $0.map { .tensor($0) } }))
      }
    },
    "MatMulNBits": { node in
      guard let inputs = try node.int("K"), let outputs = try node.int("N"), let block = try node.int("block_size"),
        (1...(1 << 24)).contains(inputs), (1...(1 << 24)).contains(outputs), (1...(1 << 24)).contains(block)
      else { throw node.refuse("K, N and block_size above 0", got: "others") }
      let bits = try node.int("bits", 4)
      guard [2, 4, 8].contains(bits) else { throw node.refuse("2, 4 or 8 bits", got: "\(bits)") }
      return { x in
        if x.optional(4) != nil { throw x.refuse("weights in their own order", got: "a group index") }
        let blocks = (inputs + block - 1) / block
        let perByte = 8 / bits
        let codes = try x(1).unpacked(bits: bits)
        let (scales, padded) = (try x(2), (block + perByte - 1) / perByte * perByte)
        guard codes.count == outputs * blocks * padded, scales.count == outputs * blocks else {
          throw x.refuse(
            .shape, "codes and scales of \(outputs) rows of \(blocks) blocks", got: "\(try x(1).shape), \(scales.shape)"
          )
        }
        var numbers = try codes.reshaped([outputs, blocks, padded]).cast(to: scales.dtype)
        if padded > block { numbers = try numbers.slice(axis: 2, 0..<block) }
        if let zero = x.optional(3), zero.dtype == .uint8 {
          let all = try zero.unpacked(bits: bits)
          guard all.count % outputs == 0, all.count / outputs >= blocks else {
            throw x.refuse(.shape, "zero points of \(outputs) rows of \(blocks) blocks", got: "shape \(zero.shape)")
          }
          let rows = try all.reshaped([outputs, all.count / outputs]).slice(axis: 1, 0..<blocks)
          numbers = try numbers - rows.reshaped([outputs, blocks, 1]).cast(to: scales.dtype)
        } else if let zero = x.optional(3) {
          numbers = try numbers - zero.reshaped([outputs, blocks, 1])
        } else {
          numbers = try numbers - Double(1 << (bits - 1))
        }
        let weight = try (numbers * scales.reshaped([outputs, blocks, 1])).reshaped([outputs, blocks * block])
          .slice(axis: 1, 0..<inputs)
        let result = try x(0).matmul(weight.transposed(0, 1))
        return [try x.optional(5).map { try result + $0 } ?? result]
      }
    },
  ]

  /// A function of two numbers, applied to codes.
  private static func binary(_ body: @escaping @Sendable (Tensor, Tensor) throws -> Tensor) -> OperatorMaker {
    { _ in { x in [try x.codes(body(x.real(0), x.real(3)), 6)] } }
  }
}

extension Tensor {
  /// The numbers of 2, 4 or 8 bits in bytes, lowest bits first, along the last axis.
  fileprivate func unpacked(bits: Int) throws -> Tensor {
    guard dtype == .uint8 else {
      throw ToeplitzError(.dtype, "MatMulNBits", expected: "uint8 codes", got: "\(dtype)")
    }
    guard bits < 8 else { return self }
    let wide = try cast(to: .uint32)
    let mask = try Tensor(scalar: UInt32(1) << UInt32(bits) - 1)
    let parts = try (0..<(8 / bits)).map { part in
      try wide.shiftedRight(Tensor(scalar: UInt32(part * bits))).bitwiseAnd(mask)
    }
    return try Tensor.stack(parts, axis: rank).reshaped(TensorShape(shape.dropLast() + [(shape.last ?? 1) * 8 / bits]))
  }

  /// `[N, …, C]` as `[N, C, …]`.
  fileprivate func channelsFirst() throws -> Tensor { try permuted([0, rank - 1] + Array(1..<(rank - 1))) }

  /// `[N, C, …]` as `[N, …, C]`.
  fileprivate func channelsLast() throws -> Tensor { try permuted([0] + Array(2..<rank) + [1]) }
}
