/// One axis of a copy between two strided blocks.
private struct CopyAxis {
  var size: Int
  var from: Int
  var to: Int
}

extension Tensor {
  /// Writes all elements of `source`, which has this tensor's shape and element type, into this tensor.
  ///
  /// Only for a tensor that was just made and that nobody else has seen yet.
  package func fillOnce(from source: Tensor) {
    precondition(source.shape == shape && source.dtype == dtype, "fillOnce: unlike tensors")
    guard count > 0 else { return }
    var axes: [CopyAxis] = []
    for axis in 0..<rank where shape[axis] != 1 {
      let next = CopyAxis(size: shape[axis], from: source.strides[axis], to: strides[axis])
      // Neighbouring axes that are walked in one stride on both sides are one axis.
      if let last = axes.last, last.from == next.from * next.size, last.to == next.to * next.size {
        axes[axes.count - 1] = CopyAxis(size: last.size * next.size, from: next.from, to: next.to)
      } else {
        axes.append(next)
      }
    }
    if axes.isEmpty { axes = [CopyAxis(size: 1, from: 1, to: 1)] }
    switch dtype.byteSize {
    case 1: copy(axes, pointer(UInt8.self), source.elements)
    case 2: copy(axes, pointer(UInt16.self), source.elements)
    case 4: copy(axes, pointer(UInt32.self), source.elements)
    default: copy(axes, pointer(UInt64.self), source.elements)
    }
    withExtendedLifetime((self, source)) {}
  }
}

/// The source may lie anywhere: weights in a file do.
private func copy<T: BitwiseCopyable>(
  _ axes: [CopyAxis], _ to: UnsafeMutablePointer<T>, _ from: UnsafeRawPointer
) {
  let inner = axes[axes.count - 1]
  if axes.count == 1 {
    copyRow(inner, to, from)
  } else if axes.count == 2, inner.from != 1 || inner.to != 1 {
    copyTransposed(axes[0], inner, to, from)
  } else {
    let rest = Array(axes.dropFirst())
    for index in 0..<axes[0].size {
      copy(rest, to + index * axes[0].to, from + index * axes[0].from * MemoryLayout<T>.size)
    }
  }
}

private func copyRow<T: BitwiseCopyable>(
  _ axis: CopyAxis, _ to: UnsafeMutablePointer<T>, _ from: UnsafeRawPointer
) {
  if axis.from == 1, axis.to == 1 {
    UnsafeMutableRawPointer(to).copyMemory(from: from, byteCount: axis.size * MemoryLayout<T>.size)
  } else {
    let step = axis.from * MemoryLayout<T>.size
    for index in 0..<axis.size {
      to[index * axis.to] = from.loadUnaligned(fromByteOffset: index * step, as: T.self)
    }
  }
}

/// Copies a block whose rows are not contiguous on both sides in squares that stay in the cache.
private func copyTransposed<T: BitwiseCopyable>(
  _ outer: CopyAxis, _ inner: CopyAxis, _ to: UnsafeMutablePointer<T>, _ from: UnsafeRawPointer
) {
  let side = 16
  for first in stride(from: 0, to: outer.size, by: side) {
    for second in stride(from: 0, to: inner.size, by: side) {
      for i in first..<min(first + side, outer.size) {
        let row = CopyAxis(size: min(side, inner.size - second), from: inner.from, to: inner.to)
        let start = from + (i * outer.from + second * inner.from) * MemoryLayout<T>.size
        copyRow(row, to + i * outer.to + second * inner.to, start)
      }
    }
  }
}
