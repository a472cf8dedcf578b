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

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    return [TensorSpec(inputs[0].shape, dtype)]
  }

  package var gradient: GradientRule {
    .vjp { [$0.x.dtype.isFloatingPoint ? try $0.dy.cast(to: $0.x.dtype) : nil] }
  }

  package func time(_ call: TimeCall) -> TimeRule { .pointwise(call, except: [], because: "") }
}

/// The same bits as numbers of another type of the same width.
package struct Reinterpret: TensorOperation {
  package var dtype: DType
  package var name: String { "reinterpret" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let from = inputs[0].dtype
    try require(
      from.byteSize == dtype.byteSize && dtype != .bool && !dtype.isNarrow && !from.isNarrow,
      .unsupported,
      expected: "numbers of the same width", got: "\(from) to \(dtype)")
    return [TensorSpec(inputs[0].shape, dtype)]
  }

  package var gradient: GradientRule { .none(because: "the bits of a number have no slope") }

  package func time(_ call: TimeCall) -> TimeRule { .pointwise(call, except: [], because: "") }
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

  /// The same bits as numbers of another type of the same width.
  ///
  /// - Throws: ``ToeplitzError`` if the widths differ, a type is narrow, or the result would be bool.
  package func reinterpreted(as dtype: DType) throws -> Tensor { try apply(Reinterpret(dtype: dtype), self) }
}
