import ToeplitzCheckpoint
import ToeplitzTensor

/// The files of the MNIST digits and of data sets like them.
///
/// Format: two zero bytes, the element type, the number of axes, the sizes as 32-bit and the elements, all big-endian (LeCun, Cortes
/// and Burges, *The MNIST database*).
public enum IDXFile {
  /// Reads a tensor.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, `format` if it breaks a rule.
  public static func read(contentsOf path: String) throws -> Tensor {
    let file = try MappedFile(path: path)
    return try withExtendedLifetime(file) { try read(file.bytes, FilePlace(file: path)) }
  }

  static func read(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) throws -> Tensor {
    guard bytes.count >= 4, bytes[0] == 0, bytes[1] == 0 else {
      let hint = bytes.starts(with: [0x1F, 0x8B]) ? "a gzip file (unpack it first)" : "other bytes"
      throw place.malformed("an IDX file, which begins with two zero bytes", got: hint)
    }
    let rank = Int(bytes[3])
    let header = 4 + 4 * rank
    guard bytes.count >= header else {
      throw place.malformed("\(rank) sizes", got: "a file of \(bytes.count) bytes")
    }
    let shape = TensorShape(
      (0..<rank).map { Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4 + 4 * $0, as: UInt32.self))) })
    let data = UnsafeRawBufferPointer(rebasing: bytes[header...])
    func integers<T: TensorScalar & FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) throws -> Tensor {
      try elements(MemoryLayout<T>.size) { T(bigEndian: data.loadUnaligned(fromByteOffset: $0, as: T.self)) }
    }
    func elements<T: TensorScalar>(_ size: Int, _ read: (Int) -> T) throws -> Tensor {
      // Before anything is allocated the bytes must be there.
      var count = 1
      for length in shape.dimensions {
        let (product, overflow) = count.multipliedReportingOverflow(by: length)
        guard !overflow, product <= data.count || shape.dimensions.contains(0) else {
          throw place.malformed("the elements of shape \(shape)", got: "\(data.count) bytes")
        }
        count = product
      }
      let (byteCount, overflow) = count.multipliedReportingOverflow(by: size)
      guard !overflow, byteCount == data.count else {
        throw place.malformed("the elements of shape \(shape)", got: "\(data.count) bytes")
      }
      return try Tensor((0..<count).map { read($0 * size) }, shape: shape, device: .cpu)
    }
    switch bytes[2] {
    case 0x08: return try integers(UInt8.self)
    case 0x09: return try integers(Int8.self)
    case 0x0B: return try integers(Int16.self)
    case 0x0C: return try integers(Int32.self)
    case 0x0D:
      return try elements(4) {
        Float(bitPattern: UInt32(bigEndian: data.loadUnaligned(fromByteOffset: $0, as: UInt32.self)))
      }
    case 0x0E:
      return try elements(8) {
        Double(bitPattern: UInt64(bigEndian: data.loadUnaligned(fromByteOffset: $0, as: UInt64.self)))
      }
    default:
      throw place.malformed("an element type of 8, 9, 11, 12, 13 or 14", got: "\(bytes[2])")
    }
  }
}
