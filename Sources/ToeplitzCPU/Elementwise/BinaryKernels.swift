import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension Binary: BlockOperation {
  func blockFunction(_ types: [DType]) -> BlockFunction? {
    guard types[0].isBlockFloat || types[0] == .bool, types[0] == types[1] else { return nil }
    return BlockFunction(
      step: BlockFunction.Step(kind: TZ_STEP_PAIRS, function: function.pairs.rawValue),
      type: function.isComparison ? .bool : types[0])
  }
}

extension Binary.Function {
  /// The kernels' function.
  var pairs: tz_pairs {
    switch self {
    case .add: TZ_ADD
    case .subtract: TZ_SUBTRACT
    case .multiply: TZ_MULTIPLY
    case .divide: TZ_DIVIDE
    case .power: TZ_POWER
    case .minimum: TZ_MINIMUM
    case .maximum: TZ_MAXIMUM
    case .equal: TZ_EQUAL
    case .notEqual: TZ_NOT_EQUAL
    case .less: TZ_LESS
    case .lessOrEqual: TZ_LESS_OR_EQUAL
    case .greater: TZ_GREATER
    case .greaterOrEqual: TZ_GREATER_OR_EQUAL
    }
  }
}

extension Binary: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    if let result = try inBlocks(inputs, outputs[0]) { return [result] }
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: outputs[0].dtype, operation: name)
    let walk = BroadcastWalk(inputs[0], inputs[1], result)
    switch inputs[0].dtype {
    case .float64: floating(walk)
    case .int8: try integers(Int8.self, walk, inputs[1])
    case .uint8: try integers(UInt8.self, walk, inputs[1])
    case .int16: try integers(Int16.self, walk, inputs[1])
    case .uint16: try integers(UInt16.self, walk, inputs[1])
    case .uint32: try integers(UInt32.self, walk, inputs[1])
    case .uint64: try integers(UInt64.self, walk, inputs[1])
    case .int32: try integers(Int32.self, walk, inputs[1])
    case .int64: try integers(Int64.self, walk, inputs[1])
    // `infer` lets no others through.
    default: break
    }
    return [result]
  }

  private func floating(_ walk: BroadcastWalk) {
    switch function {
    case .power: walk.map(Double.self) { pow($0, $1) }
    // NaN on either side wins, as in PyTorch.
    case .minimum: walk.map(Double.self) { $0.isNaN ? $0 : $1.isNaN ? $1 : Swift.min($0, $1) }
    case .maximum: walk.map(Double.self) { $0.isNaN ? $0 : $1.isNaN ? $1 : Swift.max($0, $1) }
    default: arithmetic(Double.self, walk)
    }
  }

  private func integers<T: NumericTensorScalar & FixedWidthInteger>(
    _ type: T.Type, _ walk: BroadcastWalk, _ divisor: Tensor
  ) throws {
    switch function {
    case .divide:
      try require(
        try !divisor.scalars(type).contains(0), .argument, expected: "divisors other than 0", got: "0 (\(T.dtype))")
      arithmetic(type, walk)
    case .power:
      try require(
        try !divisor.scalars(type).contains { $0 < 0 }, .argument, expected: "exponents of at least 0",
        got: "a negative one (\(T.dtype))")
      walk.map(type) { base, exponent in
        var (result, square, rest) = (T(1), base, exponent)
        while rest > 0 {
          if rest & 1 == 1 { result = result &* square }
          square = square &* square
          rest >>= 1
        }
        return result
      }
    case .minimum: walk.map(type) { Swift.min($0, $1) }
    case .maximum: walk.map(type) { Swift.max($0, $1) }
    default: arithmetic(type, walk)
    }
  }

  private func arithmetic<T: NumericTensorScalar>(_ type: T.Type, _ walk: BroadcastWalk) {
    switch function {
    case .add: walk.map(type) { T.sum($0, $1) }
    case .subtract: walk.map(type) { T.difference($0, $1) }
    case .multiply: walk.map(type) { T.product($0, $1) }
    case .divide: walk.map(type) { T.quotient($0, $1) }
    case .equal: walk.map(type) { $0 == $1 }
    case .notEqual: walk.map(type) { $0 != $1 }
    case .less: walk.map(type) { $0 < $1 }
    case .lessOrEqual: walk.map(type) { $0 <= $1 }
    case .greater: walk.map(type) { $0 > $1 }
    case .greaterOrEqual: walk.map(type) { $0 >= $1 }
    case .power, .minimum, .maximum: break
    }
  }
}

/// Two broadcast operands and a contiguous result, walked row by row.
struct BroadcastWalk {
  private struct Axis {
    var size: Int
    var a: Int
    var b: Int
  }
  private let a: Tensor
  private let b: Tensor
  private let result: Tensor
  private var axes: [Axis] = []

  init(_ a: Tensor, _ b: Tensor, _ result: Tensor) {
    self.a = a
    self.b = b
    self.result = result
    let (left, right) = (a.broadcastStrides(to: result.shape), b.broadcastStrides(to: result.shape))
    for axis in result.shape.indices where result.shape[axis] != 1 {
      let next = Axis(size: result.shape[axis], a: left[axis], b: right[axis])
      if let last = axes.last, last.a == next.a * next.size, last.b == next.b * next.size {
        axes[axes.count - 1] = Axis(size: last.size * next.size, a: next.a, b: next.b)
      } else {
        axes.append(next)
      }
    }
    if axes.isEmpty { axes = [Axis(size: 1, a: 1, b: 1)] }
  }

  /// Sets each element of the result to `f` of the operands' elements.
  @inline(__always)
  func map<T: TensorScalar, R: TensorScalar>(_ type: T.Type, _ f: (T, T) -> R) {
    guard result.count > 0 else { return }
    let inner = axes[axes.count - 1]
    let outer = axes.dropLast()
    let rows = outer.reduce(1) { $0 * $1.size }
    var index = [Int](repeating: 0, count: outer.count)
    var (x, y) = (a.pointer(T.self), b.pointer(T.self))
    var z = result.pointer(R.self)
    for _ in 0..<rows {
      Self.row(inner.size, x, inner.a, y, inner.b, z, f)
      z += inner.size
      for axis in outer.indices.reversed() {
        index[axis] += 1
        x += outer[axis].a
        y += outer[axis].b
        if index[axis] < outer[axis].size { break }
        x -= outer[axis].a * outer[axis].size
        y -= outer[axis].b * outer[axis].size
        index[axis] = 0
      }
    }
    withExtendedLifetime((a, b, result)) {}
  }

  @inline(__always)
  private static func row<T, R>(
    _ count: Int, _ x: UnsafeMutablePointer<T>, _ dx: Int, _ y: UnsafeMutablePointer<T>, _ dy: Int,
    _ z: UnsafeMutablePointer<R>, _ f: (T, T) -> R
  ) {
    // The strides of the usual cases as constants, so that the loops vectorise.
    switch (dx, dy) {
    case (1, 1): for i in 0..<count { z[i] = f(x[i], y[i]) }
    case (1, 0):
      let right = y[0]
      for i in 0..<count { z[i] = f(x[i], right) }
    case (0, 1):
      let left = x[0]
      for i in 0..<count { z[i] = f(left, y[i]) }
    default: for i in 0..<count { z[i] = f(x[i * dx], y[i * dy]) }
    }
  }
}
