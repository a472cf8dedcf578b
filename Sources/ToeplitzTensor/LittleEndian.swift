extension [UInt8] {
  /// Appends the bytes of `value`, lowest first.
  package mutating func append<T: FixedWidthInteger>(littleEndian value: T) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }
}
