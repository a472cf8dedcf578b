import ToeplitzTensor

/// How a number becomes a power of two.
public enum PowerRounding: String, Sendable, Hashable {
  /// The next power up.
  case up
  /// The next power down.
  case down
  /// The nearer power; the upper of two equally near.
  case nearest
}

/// The values converted to an 8-bit floating-point type by a rule other than that of ``Cast``.
package struct NarrowCast: TensorOperation {
  package var dtype: DType
  package var saturates: Bool
  package var powerRounding: PowerRounding
  package var name: String { "cast" }
  package var flushesSubnormals: Bool { false }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    return [TensorSpec(inputs[0].shape, dtype)]
  }

  package var gradient: GradientRule {
    .vjp { [$0.x.dtype.isFloatingPoint ? try $0.dy.cast(to: $0.x.dtype) : nil] }
  }

  package func time(_ call: TimeCall) -> TimeRule { .pointwise(call, except: [], because: "") }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].contiguous()
    let result = try Tensor(uninitialized: x.shape, dtype: dtype, operation: name)
    let target = result.pointer(UInt8.self)
    func run<T: TensorScalar>(_ type: T.Type) {
      let source = x.pointer(type)
      for index in 0..<x.count {
        let value = source[index].doubleValue
        switch dtype {
        case .float8E4M3FN: target[index] = NarrowFormat.e4m3fn.encode(value, saturates: saturates)
        case .float8E4M3FNUZ: target[index] = NarrowFormat.e4m3fnuz.encode(value, saturates: saturates)
        case .float8E5M2: target[index] = NarrowFormat.e5m2.encode(value, saturates: saturates)
        case .float8E5M2FNUZ: target[index] = NarrowFormat.e5m2fnuz.encode(value, saturates: saturates)
        default: target[index] = Self.power(value, saturates, powerRounding)
        }
      }
    }
    run(x.dtype.scalarType)
    withExtendedLifetime((x, result)) {}
    return [result]
  }

  /// The code of a power of two near `value`.
  private static func power(_ value: Double, _ saturates: Bool, _ rounding: PowerRounding) -> UInt8 {
    let size = value.magnitude
    guard !value.isNaN, value.sign == .plus || value == 0, !size.isInfinite else { return 0xFF }
    guard size >= 0x1p-127 else { return 0 }
    let isAbove: Bool
    switch rounding {
    case .up: isAbove = size.significand > 1
    case .down: isAbove = false
    case .nearest: isAbove = size.significand >= 1.5
    }
    let exponent = Int(size.exponent) + (isAbove ? 1 : 0)
    if exponent > 127 { return saturates ? 0xFE : 0xFF }
    return UInt8(exponent + 127)
  }
}

extension Tensor {
  /// The values converted to `dtype`.
  ///
  /// - Parameters:
  ///   - saturates: whether numbers beyond the largest of an 8-bit floating-point type become the largest; otherwise
  ///     they become infinite, or NaN where the type has no infinity.
  ///   - powerRounding: how numbers become powers of two.
  public func cast(to dtype: DType, saturates: Bool, powerRounding: PowerRounding = .up) throws -> Tensor {
    let isFloat8: Bool
    switch dtype {
    case .float8E4M3FN, .float8E4M3FNUZ, .float8E5M2, .float8E5M2FNUZ: isFloat8 = !saturates
    case .float8E8M0: isFloat8 = true
    default: isFloat8 = false
    }
    guard isFloat8, dtype != self.dtype else { return try cast(to: dtype) }
    return try apply(NarrowCast(dtype: dtype, saturates: saturates, powerRounding: powerRounding), self)
  }

  /// The same bits as numbers of another type of the same width, neither of them bool or narrow.
  package func reinterpreted(as dtype: DType) -> Tensor {
    Tensor(storage: storage, shape: shape, strides: strides, offset: offset, dtype: dtype)
  }
}
