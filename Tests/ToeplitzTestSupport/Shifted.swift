import ToeplitzTensor

/// Bytes that somebody else owns.
private final class Bytes: Sendable {
  nonisolated(unsafe) let base: UnsafeMutableRawPointer
  init(_ count: Int) { base = .allocate(byteCount: count, alignment: 64) }
  deinit { base.deallocate() }
}

extension Tensor {
  /// The same values `shift` bytes beside where their type wants them, as in a file that aligns nothing.
  package func shifted(by shift: Int) throws -> Tensor {
    let flat = try contiguous()
    let byteCount = count * dtype.byteSize
    let bytes = Bytes(byteCount + shift)
    (bytes.base + shift).copyMemory(from: flat.elements, byteCount: byteCount)
    let storage = Storage(borrowing: bytes.base + shift, byteCount: byteCount, owner: bytes)
    return Tensor(storage: storage, shape: shape, strides: flat.strides, offset: 0, dtype: dtype)
  }
}
