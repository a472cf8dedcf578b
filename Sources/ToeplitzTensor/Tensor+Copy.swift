extension Tensor {
  /// Writes all elements of `source`, which has this tensor's shape and element type, into this tensor.
  ///
  /// Only for a tensor that was just made and that nobody else has seen yet.
  package func fillOnce(from source: Tensor) { ElementCopy(from: source, to: self).run() }
}

/// A copy of all elements of a tensor to where those of another one lie, which can be made again and again.
///
/// Rows that are contiguous on both sides may overlap with themselves: history moves to the front so.
package struct ElementCopy: Sendable {
  private struct Axis {
    var size: Int
    var from: Int
    var to: Int
  }

  private let source: Tensor
  private let target: Tensor
  private let axes: [Axis]

  /// A copy between tensors of one shape and element type.
  package init(from source: Tensor, to target: Tensor) {
    precondition(source.shape == target.shape && source.dtype == target.dtype, "ElementCopy: unlike tensors")
    (self.source, self.target) = (source, target)
    var axes: [Axis] = []
    for axis in 0..<target.rank where target.shape[axis] != 1 {
      let next = Axis(size: target.shape[axis], from: source.strides[axis], to: target.strides[axis])
      // Neighbouring axes that are walked in one stride on both sides are one axis.
      if let last = axes.last, last.from == next.from * next.size, last.to == next.to * next.size {
        axes[axes.count - 1] = Axis(size: last.size * next.size, from: next.from, to: next.to)
      } else {
        axes.append(next)
      }
    }
    self.axes = axes.isEmpty ? [Axis(size: 1, from: 1, to: 1)] : axes
  }

  /// Whether it changes nothing.
  package var isIdle: Bool { target.count == 0 || target.isSameView(as: source) }

  /// Copies what the source holds now.
  package func run() {
    guard axes.allSatisfy({ $0.size > 0 }) else { return }
    axes.withUnsafeBufferPointer { axes in
      switch target.dtype.byteSize {
      case 1: Self.copy(axes, 0, target.pointer(UInt8.self), source.elements)
      case 2: Self.copy(axes, 0, target.pointer(UInt16.self), source.elements)
      case 4: Self.copy(axes, 0, target.pointer(UInt32.self), source.elements)
      default: Self.copy(axes, 0, target.pointer(UInt64.self), source.elements)
      }
    }
    withExtendedLifetime(self) {}
  }

  /// Copies along the axes from `axis` on; the source may lie anywhere: weights in a file do.
  private static func copy<T: BitwiseCopyable>(
    _ axes: UnsafeBufferPointer<Axis>, _ axis: Int, _ to: UnsafeMutablePointer<T>, _ from: UnsafeRawPointer
  ) {
    let (outer, rest) = (axes[axis], axes.count - axis)
    if rest == 1 {
      copyRow(outer, to, from)
    } else if rest == 2, axes[axis + 1].from != 1 || axes[axis + 1].to != 1 {
      copyTransposed(outer, axes[axis + 1], to, from)
    } else {
      for index in 0..<outer.size {
        copy(axes, axis + 1, to + index * outer.to, from + index * outer.from * MemoryLayout<T>.size)
      }
    }
  }

  private static func copyRow<T: BitwiseCopyable>(
    _ axis: Axis, _ to: UnsafeMutablePointer<T>, _ from: UnsafeRawPointer
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
  private static func copyTransposed<T: BitwiseCopyable>(
    _ outer: Axis, _ inner: Axis, _ to: UnsafeMutablePointer<T>, _ from: UnsafeRawPointer
  ) {
    let side = 16
    for first in stride(from: 0, to: outer.size, by: side) {
      for second in stride(from: 0, to: inner.size, by: side) {
        for i in first..<min(first + side, outer.size) {
          let row = Axis(size: min(side, inner.size - second), from: inner.from, to: inner.to)
          let start = from + (i * outer.from + second * inner.from) * MemoryLayout<T>.size
          copyRow(row, to + i * outer.to + second * inner.to, start)
        }
      }
    }
  }
}
