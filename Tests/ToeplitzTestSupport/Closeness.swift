import ToeplitzTensor

/// The largest distance between two tensors, element by element, and the largest magnitude of the second.
package struct Distance: CustomStringConvertible {
  package var absolute = 0.0
  package var scale = 0.0
  /// Whether NaN and infinities stand at the same places.
  package var sameSpecials = true

  package var description: String { "distance \(absolute) at scale \(scale), same specials: \(sameSpecials)" }

  package init(_ a: [Double], _ b: [Double]) {
    precondition(a.count == b.count, "unlike counts \(a.count) and \(b.count)")
    for (x, y) in zip(a, b) {
      if x.isFinite, y.isFinite {
        absolute = max(absolute, abs(x - y))
        scale = max(scale, abs(y))
      } else if !(x.isNaN && y.isNaN) && x != y {
        sameSpecials = false
      }
    }
  }
}

extension Tensor {
  /// All elements as doubles.
  package func doubles() throws -> [Double] {
    func read<T: TensorScalar>(_ type: T.Type) throws -> [Double] { try scalars(type).map(\.doubleValue) }
    return try read(dtype.scalarType)
  }

  /// Distance to another tensor of the same shape.
  package func distance(to other: Tensor) throws -> Distance {
    precondition(shape == other.shape, "unlike shapes \(shape) and \(other.shape)")
    return Distance(try doubles(), try other.doubles())
  }

  /// Whether all elements have the same bits (NaN included).
  package func sameBits(as other: Tensor) throws -> Bool {
    guard shape == other.shape, dtype == other.dtype else { return false }
    let size = count * dtype.byteSize
    return try withBytes { a in try other.withBytes { b in a.prefix(size).elementsEqual(b.prefix(size)) } }
  }

  private func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    func go<T: TensorScalar>(_ type: T.Type) throws -> R {
      try withElements(type) { try body(UnsafeRawBufferPointer($0)) }
    }
    return try go(dtype.scalarType)
  }
}
