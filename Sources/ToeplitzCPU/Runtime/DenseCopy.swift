import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension Tensor {
  /// The same values, contiguous; this tensor itself if it is.
  ///
  /// As ``Tensor/contiguous()``, on all threads, and through registers where rows become columns.
  func dense() throws -> Tensor {
    if isContiguous { return self }
    guard dtype.byteSize == 4, count >= 1 << 12 else { return try contiguous() }
    let result = try Tensor(uninitialized: shape, dtype: dtype, operation: "copy")
    // Axes that are walked in one stride on both sides are one.
    var axes: [(size: Int, from: Int, to: Int)] = []
    for axis in 0..<rank where shape[axis] != 1 {
      let next = (size: shape[axis], from: strides[axis], to: result.strides[axis])
      if let last = axes.last, last.from == next.from * next.size, last.to == next.to * next.size {
        axes[axes.count - 1] = (last.size * next.size, next.from, next.to)
      } else {
        axes.append(next)
      }
    }
    guard let inner = axes.last, inner.from != 1,
      let other = axes.indices.dropLast().last(where: { axes[$0].from == 1 })
    else {
      result.fillOnceTogether(from: self)
      return result
    }
    // Rows of the source lie along `rows`, and become columns.
    let rows = axes.remove(at: other)
    axes.removeLast()
    let outer = axes
    let (from, to) = (
      elements.assumingMemoryBound(to: UInt32.self), result.elements.assumingMemoryBound(to: UInt32.self)
    )
    let parts = Swift.max(1, (rows.size + 63) / 64)
    ThreadPool.shared.runRows(outer.reduce(parts) { $0 * $1.size }, width: 64 * inner.size) { range in
      for item in range {
        var (rest, source, target) = (item / parts, 0, 0)
        for axis in outer.reversed() {
          source += rest % axis.size * axis.from
          target += rest % axis.size * axis.to
          rest /= axis.size
        }
        let first = item % parts * 64
        tz_words_transpose(
          from + source + first, inner.from, to + target + first * rows.to, rows.to, inner.size,
          Swift.min(64, rows.size - first))
      }
    }
    withExtendedLifetime((self, result)) {}
    return result
  }
}
