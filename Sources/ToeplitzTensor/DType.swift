/// The element type of a tensor.
public enum DType: String, Sendable, Hashable, CaseIterable, CustomStringConvertible {
  /// IEEE 754 single precision, the default.
  case float32
  /// IEEE 754 double precision.
  case float64
  /// IEEE 754 half precision.
  case float16
  /// The upper half of a float32: 8 exponent and 7 mantissa bits.
  case bfloat16
  /// Signed 8-bit integer.
  case int8
  /// Unsigned 8-bit integer.
  case uint8
  /// Signed 16-bit integer.
  case int16
  /// Unsigned 16-bit integer.
  case uint16
  /// Signed 32-bit integer.
  case int32
  /// Unsigned 32-bit integer.
  case uint32
  /// Signed 64-bit integer.
  case int64
  /// Unsigned 64-bit integer.
  case uint64
  /// True or false, one byte each.
  case bool
  /// 4 exponent and 3 mantissa bits, no infinity; one byte.
  case float8E4M3FN
  /// 4 exponent and 3 mantissa bits with bias 8, no infinity and no −0; one byte.
  case float8E4M3FNUZ
  /// 5 exponent and 2 mantissa bits; one byte.
  case float8E5M2
  /// 5 exponent and 2 mantissa bits with bias 16, no infinity and no −0; one byte.
  case float8E5M2FNUZ
  /// A power of two from 2⁻¹²⁷ to 2¹²⁷; one byte.
  case float8E8M0
  /// 2 exponent and 1 mantissa bits; one element a byte here, two in files.
  case float4E2M1
  /// Signed 4-bit integer; one element a byte here, two in files.
  case int4
  /// Unsigned 4-bit integer; one element a byte here, two in files.
  case uint4
  /// Signed 2-bit integer; one element a byte here, four in files.
  case int2
  /// Unsigned 2-bit integer; one element a byte here, four in files.
  case uint2

  /// Bytes of one element.
  public var byteSize: Int {
    switch self {
    case .float64, .int64, .uint64: 8
    case .float32, .int32, .uint32: 4
    case .float16, .bfloat16, .int16, .uint16: 2
    case .int8, .uint8, .bool: 1
    case .float8E4M3FN, .float8E4M3FNUZ, .float8E5M2, .float8E5M2FNUZ, .float8E8M0, .float4E2M1: 1
    case .int4, .uint4, .int2, .uint2: 1
    }
  }

  /// Whether elements are floating-point numbers to compute with.
  public var isFloatingPoint: Bool {
    switch self {
    case .float32, .float64, .float16, .bfloat16: true
    default: false
    }
  }

  /// Whether elements are whole numbers to compute with (not bool).
  public var isInteger: Bool {
    switch self {
    case .int8, .uint8, .int16, .uint16, .int32, .uint32, .int64, .uint64: true
    default: false
    }
  }

  /// Whether arithmetic takes elements of this type.
  public var isNumber: Bool { isFloatingPoint || isInteger }

  /// Whether elements are numbers of eight or fewer bits that are only stored, moved and converted.
  package var isNarrow: Bool { !isNumber && self != .bool }

  /// The case's name.
  public var description: String { rawValue }

  /// The Swift type of the elements.
  public var scalarType: any TensorScalar.Type {
    switch self {
    case .float32: Float.self
    case .float64: Double.self
    case .float16: Float16.self
    case .bfloat16: BFloat16.self
    case .int8: Int8.self
    case .uint8: UInt8.self
    case .int16: Int16.self
    case .uint16: UInt16.self
    case .int32: Int32.self
    case .uint32: UInt32.self
    case .int64: Int64.self
    case .uint64: UInt64.self
    case .bool: Bool.self
    case .float8E4M3FN: Float8E4M3FN.self
    case .float8E4M3FNUZ: Float8E4M3FNUZ.self
    case .float8E5M2: Float8E5M2.self
    case .float8E5M2FNUZ: Float8E5M2FNUZ.self
    case .float8E8M0: Float8E8M0.self
    case .float4E2M1: Float4E2M1.self
    case .int4: Int4.self
    case .uint4: UInt4.self
    case .int2: Int2.self
    case .uint2: UInt2.self
    }
  }
}

/// A Swift type that can be the element of a tensor.
public protocol TensorScalar: Sendable, Hashable, BitwiseCopyable {
  /// The element type that stands for this type.
  static var dtype: DType { get }
  /// The value as a double; bool gives 0 or 1.
  var doubleValue: Double { get }
  /// The nearest value to `value`: floats round to even, integers truncate towards zero and saturate at
  /// their range (NaN gives 0), bool is `value != 0`.
  init(converting value: Double)
}

/// A tensor element that can be added and multiplied.
public protocol NumericTensorScalar: TensorScalar, Comparable {
  /// Sum; integers wrap around.
  static func sum(_ a: Self, _ b: Self) -> Self
  /// Difference; integers wrap around.
  static func difference(_ a: Self, _ b: Self) -> Self
  /// Product; integers wrap around.
  static func product(_ a: Self, _ b: Self) -> Self
  /// Quotient; integers truncate towards zero. The caller has excluded integer division by zero.
  static func quotient(_ a: Self, _ b: Self) -> Self
}

extension TensorScalar where Self: BinaryFloatingPoint {
  /// The value as a double.
  @inlinable public var doubleValue: Double { Double(self) }
  /// The nearest representable value.
  @inlinable public init(converting value: Double) { self = Self(value) }
}

extension NumericTensorScalar where Self: BinaryFloatingPoint {
  /// Sum.
  @inlinable public static func sum(_ a: Self, _ b: Self) -> Self { a + b }
  /// Difference.
  @inlinable public static func difference(_ a: Self, _ b: Self) -> Self { a - b }
  /// Product.
  @inlinable public static func product(_ a: Self, _ b: Self) -> Self { a * b }
  /// Quotient.
  @inlinable public static func quotient(_ a: Self, _ b: Self) -> Self { a / b }
}

extension TensorScalar where Self: FixedWidthInteger {
  /// The value as a double.
  @inlinable public var doubleValue: Double { Double(self) }
  /// `value` truncated towards zero and clamped to the type's range; 0 for NaN.
  @inlinable public init(converting value: Double) {
    if value.isNaN {
      self = 0
    } else if value <= Double(Self.min) {
      self = Self.min
    } else if value >= Double(Self.max) {
      self = Self.max
    } else {
      self = Self(value)
    }
  }
}

extension NumericTensorScalar where Self: FixedWidthInteger {
  /// Sum, wrapping around.
  @inlinable public static func sum(_ a: Self, _ b: Self) -> Self { a &+ b }
  /// Difference, wrapping around.
  @inlinable public static func difference(_ a: Self, _ b: Self) -> Self { a &- b }
  /// Product, wrapping around.
  @inlinable public static func product(_ a: Self, _ b: Self) -> Self { a &* b }
  /// Quotient, truncated towards zero; the smallest value divided by −1 stays itself.
  @inlinable public static func quotient(_ a: Self, _ b: Self) -> Self {
    a.dividedReportingOverflow(by: b).partialValue
  }
}

extension Float: NumericTensorScalar {
  /// ``DType/float32``.
  public static var dtype: DType { .float32 }
}
extension Double: NumericTensorScalar {
  /// ``DType/float64``.
  public static var dtype: DType { .float64 }
}
extension Float16: NumericTensorScalar {
  /// ``DType/float16``.
  public static var dtype: DType { .float16 }
}
extension Int8: NumericTensorScalar {
  /// ``DType/int8``.
  public static var dtype: DType { .int8 }
}
extension UInt8: NumericTensorScalar {
  /// ``DType/uint8``.
  public static var dtype: DType { .uint8 }
}
extension Int16: NumericTensorScalar {
  /// ``DType/int16``.
  public static var dtype: DType { .int16 }
}
extension UInt16: NumericTensorScalar {
  /// ``DType/uint16``.
  public static var dtype: DType { .uint16 }
}
extension UInt32: NumericTensorScalar {
  /// ``DType/uint32``.
  public static var dtype: DType { .uint32 }
}
extension UInt64: NumericTensorScalar {
  /// ``DType/uint64``.
  public static var dtype: DType { .uint64 }
}
extension Int32: NumericTensorScalar {
  /// ``DType/int32``.
  public static var dtype: DType { .int32 }
}
extension Int64: NumericTensorScalar {
  /// ``DType/int64``.
  public static var dtype: DType { .int64 }
}
extension Int: NumericTensorScalar {
  /// ``DType/int64``.
  public static var dtype: DType { .int64 }
}
extension Bool: TensorScalar {
  /// ``DType/bool``.
  public static var dtype: DType { .bool }
  /// 1 for true, 0 for false.
  @inlinable public var doubleValue: Double { self ? 1 : 0 }
  /// True unless `value` is zero.
  @inlinable public init(converting value: Double) { self = value != 0 }
}

/// A float32 cut to its upper 16 bits, rounded to nearest even.
public struct BFloat16: NumericTensorScalar {
  /// The bit pattern: sign, 8 exponent bits, 7 mantissa bits.
  public var bitPattern: UInt16

  /// The value with the given bits.
  @inlinable public init(bitPattern: UInt16) { self.bitPattern = bitPattern }

  /// The nearest bfloat16; ties go to even, NaN stays NaN.
  @inlinable public init(_ value: Float) {
    let bits = value.bitPattern
    if value.isNaN {
      bitPattern = UInt16(truncatingIfNeeded: bits >> 16) | 0x40
    } else {
      bitPattern = UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
    }
  }

  /// The exact value as a float32.
  @inlinable public var floatValue: Float { Float(bitPattern: UInt32(bitPattern) << 16) }
  /// ``DType/bfloat16``.
  public static var dtype: DType { .bfloat16 }
  /// The exact value as a double.
  @inlinable public var doubleValue: Double { Double(floatValue) }
  /// The nearest bfloat16 to `value` (rounded through float32).
  @inlinable public init(converting value: Double) { self.init(Float(value)) }
  /// Equality of the values: both zeros are equal, NaN equals nothing.
  @inlinable public static func == (a: BFloat16, b: BFloat16) -> Bool { a.floatValue == b.floatValue }
  /// Hashes the value.
  @inlinable public func hash(into hasher: inout Hasher) { hasher.combine(floatValue) }
  /// Order of the values.
  @inlinable public static func < (a: BFloat16, b: BFloat16) -> Bool { a.floatValue < b.floatValue }
  /// Sum, rounded once.
  @inlinable public static func sum(_ a: BFloat16, _ b: BFloat16) -> BFloat16 { .init(a.floatValue + b.floatValue) }
  /// Difference, rounded once.
  @inlinable public static func difference(_ a: BFloat16, _ b: BFloat16) -> BFloat16 {
    .init(a.floatValue - b.floatValue)
  }
  /// Product, rounded once.
  @inlinable public static func product(_ a: BFloat16, _ b: BFloat16) -> BFloat16 {
    .init(a.floatValue * b.floatValue)
  }
  /// Quotient, rounded once.
  @inlinable public static func quotient(_ a: BFloat16, _ b: BFloat16) -> BFloat16 {
    .init(a.floatValue / b.floatValue)
  }
}
