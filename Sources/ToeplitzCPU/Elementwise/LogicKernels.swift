import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension Logical: BlockOperation {
  func blockFunction(_ types: [DType]) -> BlockFunction? {
    let pairs: tz_pairs =
      switch function {
      case .and: TZ_AND
      case .or: TZ_OR
      case .xor: TZ_XOR
      }
    return BlockFunction(step: BlockFunction.Step(kind: TZ_STEP_PAIRS, function: pairs.rawValue), type: .bool)
  }
}

extension Classify: BlockOperation {
  func blockFunction(_ types: [DType]) -> BlockFunction? {
    guard types[0].isBlockFloat || types[0] == .bool else { return nil }
    switch question {
    case .isNaN: return BlockFunction(step: BlockFunction.unary(TZ_IS_NAN, 0, 0), type: .bool)
    case .isZero: return BlockFunction(step: BlockFunction.unary(TZ_NOT, 0, 0), type: .bool)
    case .isInfinite: return nil
    }
  }
}

extension Logical: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    guard let result = try inBlocks(inputs, outputs[0]) else {
      throw ToeplitzError(.dtype, name, expected: "bool elements", got: "\(inputs[0].dtype)")
    }
    return [result]
  }
}

extension Bitwise: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: outputs[0].dtype, operation: name)
    let walk = BroadcastWalk(inputs[0], inputs[1], result)
    func run<T: TensorScalar & FixedWidthInteger>(_ type: T.Type) {
      switch function {
      case .and: walk.map(type) { $0 & $1 }
      case .or: walk.map(type) { $0 | $1 }
      case .xor: walk.map(type) { $0 ^ $1 }
      // Shifts by the width or more, and by negative numbers, give zeros (or ones, of a negative number to the right).
      case .shiftLeft: walk.map(type) { $1 < 0 ? 0 : $0 << $1 }
      case .shiftRight: walk.map(type) { $1 < 0 ? $0 >> T(T.bitWidth - 1) : $0 >> $1 }
      }
    }
    withInteger(result.dtype) { run($0) }
    return [result]
  }
}

extension Remainder: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: outputs[0].dtype, operation: name)
    let walk = BroadcastWalk(inputs[0], inputs[1], result)
    let truncates = truncates
    func floating<T: TensorScalar>(_ type: T.Type) {
      walk.map(type) { T(converting: remainder($0.doubleValue, $1.doubleValue, truncates)) }
    }
    if result.dtype.isFloatingPoint {
      floating(result.dtype.scalarType)
      return [result]
    }
    func whole<T: TensorScalar & FixedWidthInteger>(_ type: T.Type) throws {
      try require(
        try !inputs[1].scalars(type).contains(0), .argument, expected: "divisors other than 0", got: "0 (\(T.dtype))")
      walk.map(type) { a, b in
        let rest = a.remainderReportingOverflow(dividingBy: b).partialValue
        return !truncates && rest != 0 && (rest < 0) != (b < 0) ? rest &+ b : rest
      }
    }
    try withInteger(result.dtype) { try whole($0) }
    return [result]
  }
}

extension Classify: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    if let result = try inBlocks(inputs, outputs[0]) { return [result] }
    let x = try inputs[0].dense()
    let result = try Tensor(uninitialized: x.shape, dtype: .bool, operation: name)
    func run<T: TensorScalar>(_ type: T.Type, _ ask: (Double) -> Bool) {
      let (source, target) = (x.pointer(type), result.pointer(Bool.self))
      for index in 0..<x.count { target[index] = ask(source[index].doubleValue) }
    }
    switch question {
    case .isNaN: run(x.dtype.scalarType) { $0.isNaN }
    case .isZero: run(x.dtype.scalarType) { $0 == 0 }
    case .isInfinite(let positive, let negative):
      run(x.dtype.scalarType) { $0.isInfinite && ($0 > 0 ? positive : negative) }
    }
    withExtendedLifetime((x, result)) {}
    return [result]
  }
}

private func remainder(_ a: Double, _ b: Double, _ truncates: Bool) -> Double {
  let rest = a.truncatingRemainder(dividingBy: b)
  guard !truncates else { return rest }
  // Zero takes the divisor's sign too.
  if rest == 0 { return b.sign == .minus ? -0.0 : 0 }
  return (rest < 0) != (b < 0) ? rest + b : rest
}

/// Calls `body` with the Swift type of a whole-number element type.
func withInteger<R>(
  _ dtype: DType, _ body: (any (TensorScalar & FixedWidthInteger).Type) throws -> R
) rethrows -> R {
  switch dtype {
  case .int8: try body(Int8.self)
  case .uint8: try body(UInt8.self)
  case .int16: try body(Int16.self)
  case .uint16: try body(UInt16.self)
  case .int32: try body(Int32.self)
  case .uint32: try body(UInt32.self)
  case .uint64: try body(UInt64.self)
  default: try body(Int64.self)
  }
}
