import ToeplitzTensor

/// Makes tensors of bytes that came out of a file.
package enum ElementBytes {
  /// As many dimensions as NumPy (`NPY_MAXDIMS`) and PyTorch can have.
  package static let maximumRank = 64

  /// The bytes that a tensor of these sizes takes.
  ///
  /// Sizes of zero count as one in the overflow check, so that strides and products of any part of the
  /// shape are safe to compute later.
  package static func byteCount(_ sizes: [Int], itemSize: Int, _ place: FilePlace) throws -> Int {
    guard sizes.count <= maximumRank else {
      throw place.malformed("at most \(maximumRank) dimensions", got: "\(sizes.count)")
    }
    var bytes = itemSize
    for size in sizes {
      guard size >= 0 else { throw place.malformed("sizes of at least 0", got: "shape \(TensorShape(sizes))") }
      let (product, overflow) = bytes.multipliedReportingOverflow(by: max(size, 1))
      guard !overflow else {
        throw place.malformed("a shape of at most \(Int.max) bytes", got: "shape \(TensorShape(sizes))")
      }
      bytes = product
    }
    return sizes.contains(0) ? 0 : bytes
  }

  /// A tensor over native elements; the caller has checked that `bytes` is as long as the shape asks.
  ///
  /// The tensor borrows the bytes if `owner` is given and they are aligned, otherwise they are copied.
  /// Booleans are always copied: their bytes have to be checked and must not change afterwards, as any value
  /// but 0 and 1 is undefined behaviour in a Swift `Bool`.
  ///
  /// - Parameter anywhere: whether they are borrowed also where they are not aligned; see ``Tensor/isAligned``.
  package static func tensor(
    _ bytes: UnsafeRawBufferPointer, _ dtype: DType, _ sizes: [Int],
    owner: (any AnyObject & Sendable)?, anywhere: Bool = false, _ place: FilePlace
  ) throws -> Tensor {
    let shape = TensorShape(sizes)
    if let owner, let base = bytes.baseAddress, dtype != .bool,
      anywhere || Int(bitPattern: base) % dtype.byteSize == 0
    {
      let storage = Storage(borrowing: base, byteCount: bytes.count, owner: owner)
      return Tensor(
        storage: storage, shape: shape, strides: shape.contiguousStrides, offset: 0, dtype: dtype)
    }
    let result = try Tensor(uninitialized: shape, dtype: dtype, operation: place.file)
    let target = UnsafeMutableRawBufferPointer(start: result.elements, count: bytes.count)
    target.copyMemory(from: bytes)
    if dtype == .bool, let wrong = target.first(where: { $0 > 1 }) {
      throw place.malformed("booleans stored as 0 or 1", got: "a byte of \(wrong)")
    }
    return result
  }

  /// A tensor of elements stored with their highest byte first, each as wide as `T`; as many as `sizes` say.
  static func swapped<T: FixedWidthInteger & BitwiseCopyable>(
    _ bytes: UnsafeRawBufferPointer, _ type: T.Type, _ dtype: DType, _ sizes: [Int], _ place: FilePlace
  ) throws -> Tensor {
    let result = try Tensor(uninitialized: TensorShape(sizes), dtype: dtype, operation: place.file)
    let elements = result.pointer(T.self)
    for index in 0..<bytes.count / MemoryLayout<T>.size {
      elements[index] = bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<T>.size, as: T.self).byteSwapped
    }
    withExtendedLifetime(result) {}
    return result
  }
}

extension Tensor {
  /// Calls `body` with the bytes of all elements in row-major order.
  package func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    let flat = try contiguous()
    return try withExtendedLifetime(flat) {
      try body(UnsafeRawBufferPointer(start: flat.elements, count: flat.count * dtype.byteSize))
    }
  }
}
