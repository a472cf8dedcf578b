import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension AdaptivePooling: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    switch x.dtype {
    case .float32: return try pool(x, Float.self, outputs)
    case .float64: return try pool(x, Double.self, outputs)
    case .int64: return try pool(x, Int64.self, outputs)
    case .int32: return try pool(x, Int32.self, outputs)
    default:
      var results = try applyAll(self, [x.cast(to: .float32)])
      results[0] = try results[0].cast(to: x.dtype)
      return results
    }
  }

  private func pool<T: NumericTensorScalar>(_ x: Tensor, _ type: T.Type, _ outputs: [TensorSpec]) throws
    -> [Tensor]
  {
    let results = try outputs.map { try Tensor(uninitialized: $0.shape, dtype: $0.dtype, operation: name) }
    guard results[0].count > 0 else { return results }
    let rank = outputSize.count
    let (x, distance) = try x.rows(ofLast: rank)
    let missing = [Int](repeating: 1, count: 3 - rank)
    var input = missing + x.shape.suffix(rank)
    let output = missing + outputs[0].shape.suffix(rank)
    // A plane as one window is one long row.
    if function == .average, output == [1, 1, 1] { input = [1, 1, input.reduce(1, *)] }
    let axes = (0..<3).map { windows(output[$0], input[$0]) }
    let (inputPlane, outputPlane) = (input.reduce(1, *), output.reduce(1, *))
    let source = x.pointer(T.self)
    let target = results[0].pointer(T.self)
    let indices = function == .maximumWithIndices ? results[1].pointer(Int64.self) : nil
    let (rows, columns) = (input[1], input[2])
    ThreadPool.shared.runRows(results[0].count / outputPlane, width: max(inputPlane, outputPlane)) { range in
      // Indices instead of iterators, whose reference counts the threads would fight for.
      let (depth, height, width) = (axes[0], axes[1], axes[2])
      for plane in range {
        let from = source + plane * distance
        var at = plane * outputPlane
        for d in 0..<depth.count {
          for h in 0..<height.count {
            for w in 0..<width.count {
              let (d, h, w) = (depth[d], height[h], width[w])
              if function == .average {
                let total = sum(from, rows, columns, d, h, w)
                target[at] = T(converting: total / Double(d.count * h.count * w.count))
              } else {
                let index = largest(from, rows, columns, d, h, w)
                target[at] = from[index]
                if function == .maximumWithIndices { indices?[at] = Int64(index) }
              }
              at += 1
            }
          }
        }
      }
    }
    withExtendedLifetime((x, results)) {}
    return results
  }

  @inline(__always)
  private func sum<T: NumericTensorScalar>(
    _ x: UnsafeMutablePointer<T>, _ rows: Int, _ columns: Int, _ d: Range<Int>, _ h: Range<Int>, _ w: Range<Int>
  ) -> Double {
    var (total, other) = (0.0, 0.0)
    for i in d {
      for j in h {
        let row = x + (i * rows + j) * columns
        var at = w.lowerBound
        // Two sums side by side: one would wait for itself at every addition.
        while at + 1 < w.upperBound {
          total += row[at].doubleValue
          other += row[at + 1].doubleValue
          at += 2
        }
        if at < w.upperBound { total += row[at].doubleValue }
      }
    }
    return total + other
  }

  @inline(__always)
  private func largest<T: NumericTensorScalar>(
    _ x: UnsafeMutablePointer<T>, _ rows: Int, _ columns: Int, _ d: Range<Int>, _ h: Range<Int>, _ w: Range<Int>
  ) -> Int {
    var index = (d.lowerBound * rows + h.lowerBound) * columns + w.lowerBound
    for i in d {
      for j in h {
        let row = (i * rows + j) * columns
        for at in (row + w.lowerBound)..<(row + w.upperBound) where x[at] > x[index] || x[at] != x[at] {
          index = at
        }
      }
    }
    return index
  }
}
