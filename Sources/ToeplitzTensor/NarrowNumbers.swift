#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The layout of a floating-point number of at most eight bits.
///
/// The formats are those of the Open Compute Project's OFP8 and MX specifications and of Noune et al., 2022 (`FNUZ`).
package struct NarrowFormat: Sendable {
  var exponentBits: Int
  var mantissaBits: Int
  var bias: Int
  /// The largest finite number.
  var largest: Double
  /// The code of infinity, if there is one.
  var infinity: UInt8?
  /// The code of NaN, if there is one.
  var notANumber: UInt8?
  var hasNegativeZero = true
  var isSigned = true

  package static let e4m3fn = NarrowFormat(
    exponentBits: 4, mantissaBits: 3, bias: 7, largest: 448, infinity: nil, notANumber: 0x7F)
  package static let e4m3fnuz = NarrowFormat(
    exponentBits: 4, mantissaBits: 3, bias: 8, largest: 240, infinity: nil, notANumber: 0x80, hasNegativeZero: false)
  package static let e5m2 = NarrowFormat(
    exponentBits: 5, mantissaBits: 2, bias: 15, largest: 57344, infinity: 0x7C, notANumber: 0x7F)
  package static let e5m2fnuz = NarrowFormat(
    exponentBits: 5, mantissaBits: 2, bias: 16, largest: 57344, infinity: nil, notANumber: 0x80, hasNegativeZero: false)
  package static let e2m1 = NarrowFormat(
    exponentBits: 2, mantissaBits: 1, bias: 1, largest: 6, infinity: nil, notANumber: nil)
  package static let e8m0 = NarrowFormat(
    exponentBits: 8, mantissaBits: 0, bias: 127, largest: 0x1p127, infinity: nil, notANumber: 0xFF, isSigned: false)

  private var signBit: UInt8 { isSigned ? 1 << UInt8(exponentBits + mantissaBits) : 0 }

  /// The number that `code` stands for.
  package func decode(_ code: UInt8) -> Double {
    if code == notANumber { return .nan }
    // NaN has a sign where it is the largest pattern of a signed format.
    if let notANumber, notANumber & signBit == 0, isSigned, code == notANumber | signBit { return .nan }
    if let infinity, code & ~signBit == infinity { return code & signBit == 0 ? .infinity : -.infinity }
    if let infinity, code & ~signBit > infinity { return .nan }
    let exponent = Int(code >> UInt8(mantissaBits)) & ((1 << exponentBits) - 1)
    let mantissa = Double(Int(code) & ((1 << mantissaBits) - 1))
    let scale = Double(1 << mantissaBits)
    let value: Double
    if exponent == 0, isSigned {
      value = scalbn(mantissa / scale, 1 - bias)
    } else {
      value = scalbn(1 + mantissa / scale, exponent - bias)
    }
    return code & signBit == 0 ? value : -value
  }

  /// The code of the nearest number, ties to even.
  ///
  /// - Parameter saturates: whether numbers beyond the largest, infinity too, become the largest.
  package func encode(_ value: Double, saturates: Bool = true) -> UInt8 {
    guard isSigned else { return encodePower(value) }
    let sign = value.sign == .minus ? signBit : 0
    if value.isNaN { return notANumber.map { hasNegativeZero ? $0 | sign : $0 } ?? signBit }
    let size = value.magnitude
    let smallest = 1 - bias
    let exponent = size == 0 || size.isInfinite ? smallest : max(Int(size.exponent), smallest)
    let quantum = scalbn(1, exponent - mantissaBits)
    let rounded = size.isInfinite ? size : (size / quantum).rounded(.toNearestOrEven) * quantum
    if rounded > largest {
      if saturates || notANumber == nil { return encode(value < 0 ? -largest : largest) }
      guard let infinity else { return notANumber.map { hasNegativeZero ? $0 | sign : $0 } ?? sign }
      return infinity | sign
    }
    guard rounded > 0 else { return hasNegativeZero ? sign : 0 }
    let top = max(Int(rounded.exponent), smallest)
    let steps = Int(scalbn(rounded, mantissaBits - top))
    // Below the smallest normal number there is no implied bit and the exponent field is 0.
    let field = (top - smallest) << mantissaBits
    return UInt8(truncatingIfNeeded: field + steps) | sign
  }

  /// Powers of two: the next one up, as the MX specification's scale factors want.
  private func encodePower(_ value: Double) -> UInt8 {
    guard !value.isNaN, value >= 0 else { return 0xFF }
    guard value < largest else { return 0xFE }
    guard value > 0x1p-127 else { return 0 }
    let exponent = Int(value.exponent) + (value.significand > 1 ? 1 : 0)
    return UInt8(exponent + bias)
  }
}

/// A number of eight bits: 4 exponent and 3 mantissa bits, bias 7, NaN but no infinity.
public struct Float8E4M3FN: TensorScalar {
  /// The bit pattern.
  public var bitPattern: UInt8
  /// The value with the given bits.
  @inlinable public init(bitPattern: UInt8) { self.bitPattern = bitPattern }
  /// ``DType/float8E4M3FN``.
  public static var dtype: DType { .float8E4M3FN }
  /// The exact value as a double.
  public var doubleValue: Double { NarrowFormat.e4m3fn.decode(bitPattern) }
  /// The nearest value; beyond the largest, the largest.
  public init(converting value: Double) { bitPattern = NarrowFormat.e4m3fn.encode(value) }
}

/// A number of eight bits: 4 exponent and 3 mantissa bits, bias 8, one NaN, no infinity, no −0.
public struct Float8E4M3FNUZ: TensorScalar {
  /// The bit pattern.
  public var bitPattern: UInt8
  /// The value with the given bits.
  @inlinable public init(bitPattern: UInt8) { self.bitPattern = bitPattern }
  /// ``DType/float8E4M3FNUZ``.
  public static var dtype: DType { .float8E4M3FNUZ }
  /// The exact value as a double.
  public var doubleValue: Double { NarrowFormat.e4m3fnuz.decode(bitPattern) }
  /// The nearest value; beyond the largest, the largest.
  public init(converting value: Double) { bitPattern = NarrowFormat.e4m3fnuz.encode(value) }
}

/// A number of eight bits: 5 exponent and 2 mantissa bits, bias 15.
public struct Float8E5M2: TensorScalar {
  /// The bit pattern.
  public var bitPattern: UInt8
  /// The value with the given bits.
  @inlinable public init(bitPattern: UInt8) { self.bitPattern = bitPattern }
  /// ``DType/float8E5M2``.
  public static var dtype: DType { .float8E5M2 }
  /// The exact value as a double.
  public var doubleValue: Double { NarrowFormat.e5m2.decode(bitPattern) }
  /// The nearest value; beyond the largest, the largest.
  public init(converting value: Double) { bitPattern = NarrowFormat.e5m2.encode(value) }
}

/// A number of eight bits: 5 exponent and 2 mantissa bits, bias 16, one NaN, no infinity, no −0.
public struct Float8E5M2FNUZ: TensorScalar {
  /// The bit pattern.
  public var bitPattern: UInt8
  /// The value with the given bits.
  @inlinable public init(bitPattern: UInt8) { self.bitPattern = bitPattern }
  /// ``DType/float8E5M2FNUZ``.
  public static var dtype: DType { .float8E5M2FNUZ }
  /// The exact value as a double.
  public var doubleValue: Double { NarrowFormat.e5m2fnuz.decode(bitPattern) }
  /// The nearest value; beyond the largest, the largest.
  public init(converting value: Double) { bitPattern = NarrowFormat.e5m2fnuz.encode(value) }
}

/// A number of eight bits: 8 exponent bits, no sign: powers of two and one NaN.
public struct Float8E8M0: TensorScalar {
  /// The bit pattern.
  public var bitPattern: UInt8
  /// The value with the given bits.
  @inlinable public init(bitPattern: UInt8) { self.bitPattern = bitPattern }
  /// ``DType/float8E8M0``.
  public static var dtype: DType { .float8E8M0 }
  /// The exact value as a double.
  public var doubleValue: Double { NarrowFormat.e8m0.decode(bitPattern) }
  /// The nearest value; beyond the largest, the largest.
  public init(converting value: Double) { bitPattern = NarrowFormat.e8m0.encode(value) }
}

/// A number of four bits: 2 exponent and 1 mantissa bits, bias 1, neither NaN nor infinity.
public struct Float4E2M1: TensorScalar {
  /// The bit pattern.
  public var bitPattern: UInt8
  /// The value with the given bits.
  @inlinable public init(bitPattern: UInt8) { self.bitPattern = bitPattern }
  /// ``DType/float4E2M1``.
  public static var dtype: DType { .float4E2M1 }
  /// The exact value as a double.
  public var doubleValue: Double { NarrowFormat.e2m1.decode(bitPattern) }
  /// The nearest value; beyond the largest, the largest.
  public init(converting value: Double) { bitPattern = NarrowFormat.e2m1.encode(value) }
}

/// A signed whole number of four bits, -8 to 7.
public struct Int4: TensorScalar {
  /// The number.
  public let value: Int8
  /// The number of the lowest bits of `value`.
  @inlinable public init(truncating value: Int) {
    let shift = 4
    self.value = Int8(truncatingIfNeeded: value << shift) >> shift
  }
  /// ``DType/int4``.
  public static var dtype: DType { .int4 }
  /// The number as a double.
  public var doubleValue: Double { Double(value) }
  /// The lowest bits of `value` truncated towards zero; 0 for NaN.
  public init(converting value: Double) { self.init(truncating: Int(Int64(converting: value))) }
}

/// A unsigned whole number of four bits, 0 to 15.
public struct UInt4: TensorScalar {
  /// The number.
  public let value: UInt8
  /// The number of the lowest bits of `value`.
  @inlinable public init(truncating value: Int) {
    let shift = 4
    self.value = UInt8(truncatingIfNeeded: value << shift) >> shift
  }
  /// ``DType/uint4``.
  public static var dtype: DType { .uint4 }
  /// The number as a double.
  public var doubleValue: Double { Double(value) }
  /// The lowest bits of `value` truncated towards zero; 0 for NaN.
  public init(converting value: Double) { self.init(truncating: Int(Int64(converting: value))) }
}

/// A signed whole number of two bits, -2 to 1.
public struct Int2: TensorScalar {
  /// The number.
  public let value: Int8
  /// The number of the lowest bits of `value`.
  @inlinable public init(truncating value: Int) {
    let shift = 6
    self.value = Int8(truncatingIfNeeded: value << shift) >> shift
  }
  /// ``DType/int2``.
  public static var dtype: DType { .int2 }
  /// The number as a double.
  public var doubleValue: Double { Double(value) }
  /// The lowest bits of `value` truncated towards zero; 0 for NaN.
  public init(converting value: Double) { self.init(truncating: Int(Int64(converting: value))) }
}

/// A unsigned whole number of two bits, 0 to 3.
public struct UInt2: TensorScalar {
  /// The number.
  public let value: UInt8
  /// The number of the lowest bits of `value`.
  @inlinable public init(truncating value: Int) {
    let shift = 6
    self.value = UInt8(truncatingIfNeeded: value << shift) >> shift
  }
  /// ``DType/uint2``.
  public static var dtype: DType { .uint2 }
  /// The number as a double.
  public var doubleValue: Double { Double(value) }
  /// The lowest bits of `value` truncated towards zero; 0 for NaN.
  public init(converting value: Double) { self.init(truncating: Int(Int64(converting: value))) }
}
