import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// The sum or product of two tensors of codes, as codes: dequantised, computed and quantised again, with the bits that these
/// operations give one after the other.
///
/// Operands are both tensors of codes, which broadcast, then scale and zero point of each and of the result.
struct QuantizedArithmetic: TensorOperation {
  enum Function: Sendable {
    case sum, product
  }

  let function: Function
  /// What bounds numbers before they are quantised.
  let epilogue: Epilogue
  /// What the last call read of the scales.
  private let scales = KeptValue<[CodeScale]>()

  init(_ function: Function, epilogue: Epilogue) { (self.function, self.epilogue) = (function, epilogue) }

  var name: String { function == .sum ? "QuantizedAdd" : "QuantizedMultiply" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 8)
    return [
      TensorSpec(try TensorShape.broadcast(inputs[0].shape, inputs[1].shape, operation: name), inputs[7].dtype)
    ]
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension QuantizedArithmetic: CPUKernel {
  var makesNewResults: Bool { true }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let scales = try scales.value(of: inputs[2...]) {
      try [0, 1].map { try CodeScale(inputs[$0].dtype, scale: inputs[2 + 2 * $0], zero: inputs[3 + 2 * $0]) }
        + [CodeScale(outputs[0].dtype, scale: inputs[6], zero: inputs[7])]
    }
    return [
      try RowWalk.inMemoryOrder(Array(inputs[..<2]), outputs[0].shape) { operands, shape in
        try computed(operands, shape, outputs[0].dtype, scales)
      }
    ]
  }

  private func computed(
    _ given: [Tensor], _ shape: TensorShape, _ type: DType, _ scales: [CodeScale]
  ) throws -> Tensor {
    let result = try Tensor(uninitialized: shape, dtype: type, operation: name)
    guard result.count > 0 else { return result }
    var (operands, walk) = (given, RowWalk(given, shape))
    if operands.indices.contains(where: { !(0...1).contains(walk.innerStride($0)) }) {
      operands = try given.map { try $0.contiguous() }
      walk = RowWalk(operands, shape)
    }
    // The second may be one number for a whole row.
    let order = walk.innerStride(0) == 0 ? [1, 0] : [0, 1]
    let bases = operands.map { $0.elements.assumingMemoryBound(to: UInt8.self) }
    let to = result.elements.assumingMemoryBound(to: UInt8.self)
    let bounds = scales[2].bounds(epilogue)
    guard let table = tz_elementwise_kernels(InstructionSet.current.code)?.pointee,
      let kernel = function == .sum ? table.coded_sum : table.coded_product
    else { return result }
    func compute(_ row: Int, _ columns: Range<Int>) {
      func operand(_ index: Int) -> tz_coded {
        let scale = scales[index]
        let start = bases[index] + walk.offset(index, row) + columns.lowerBound * walk.innerStride(index)
        return tz_coded(codes: start, flip: scale.flip, zero: Float(scale.zero), scale: scale.scale)
      }
      var task = tz_coded_pairs(
        x: operand(order[0]), y: operand(order[1]), is_single: walk.innerStride(order[1]) == 0,
        z: to + row * walk.length + columns.lowerBound, count: columns.count, flip: scales[2].flip,
        zero: scales[2].zero, low: bounds.low, high: bounds.high, scale: scales[2].scale)
      kernel(&task)
    }
    if walk.rows == 1 {
      ThreadPool.shared.runRows(walk.length, width: 1) { compute(0, $0) }
    } else {
      ThreadPool.shared.runRows(walk.rows, width: walk.length) { rows in
        for row in rows { compute(row, 0..<walk.length) }
      }
    }
    withExtendedLifetime((operands, result)) {}
    return result
  }
}
