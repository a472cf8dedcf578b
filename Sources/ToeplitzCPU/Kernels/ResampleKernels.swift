import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension Resample: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].contiguous()
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    switch rule {
    case .interpolated(let samples):
      if !samples.interpolation.isNearest, x.dtype != .float32, x.dtype != .float64 {
        return [try apply(self, x.cast(to: .float32)).cast(to: x.dtype)]
      }
      return [try samples.taken(from: x, axis, outputs[0], name)]
    case .weighted(let terms, let fill): return [try blend(x, axis, terms, fill, outputs[0])]
    }
  }

  /// Weighted sums of positions, in float64.
  private func blend(_ x: Tensor, _ axis: Int, _ terms: [[Term]?], _ fill: Double, _ output: TensorSpec) throws
    -> Tensor
  {
    let result = try Tensor(uninitialized: output.shape, dtype: x.dtype, operation: name)
    let inner = x.shape.dropFirst(axis + 1).reduce(1, *)
    let outer = x.shape.prefix(axis).reduce(1, *)
    let length = x.shape[axis]
    func run<T: TensorScalar>(_ type: T.Type) {
      ThreadPool.shared.runRows(outer, width: max(1, terms.count * inner)) { range in
        for block in range {
          for (index, sample) in terms.enumerated() {
            let to = result.pointer(type) + (block * terms.count + index) * inner
            guard let sample else {
              to.update(repeating: T(converting: fill), count: inner)
              continue
            }
            let from = x.pointer(type) + block * length * inner
            // A single term moves elements of any type without a change.
            if sample.count == 1, sample[0].weight == 1 {
              to.update(from: from + sample[0].position * inner, count: inner)
              continue
            }
            for i in 0..<inner {
              var sum = 0.0
              for term in sample { sum += from[term.position * inner + i].doubleValue * term.weight }
              to[i] = T(converting: sum)
            }
          }
        }
      }
    }
    if x.dtype == .float32 { run(Float.self) } else { run(x.dtype.scalarType) }
    withExtendedLifetime((x, result)) {}
    return result
  }
}

extension EvenSamples {
  /// The samples of `x` along an axis.
  fileprivate func taken(from x: Tensor, _ axis: Int, _ output: TensorSpec, _ name: String) throws -> Tensor {
    if interpolation.isNearest {
      let y = try Tensor(uninitialized: output.shape, dtype: x.dtype, operation: name)
      switch x.dtype.byteSize {
      case 1: copy(x, y, axis, UInt8.self)
      case 2: copy(x, y, axis, UInt16.self)
      case 4: copy(x, y, axis, UInt32.self)
      default: copy(x, y, axis, UInt64.self)
      }
      return y
    }
    let y = try Tensor(uninitialized: output.shape, dtype: x.dtype, operation: name)
    if x.dtype == .float32 { blend(x, y, axis, Float.self) } else { blend(x, y, axis, Double.self) }
    return y
  }

  // MARK: Nearest

  private func copy<T: BitwiseCopyable>(_ x: Tensor, _ y: Tensor, _ axis: Int, _ type: T.Type) {
    guard y.count > 0 else { return }
    let length = x.shape[axis]
    let inner = x.shape.dropFirst(axis + 1).reduce(1, *)
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    nearest(length).withUnsafeBufferPointer { from in
      ThreadPool.shared.runRows(y.count / (size * inner), width: size * inner) { range in
        for row in range {
          let (a, b) = (source + row * length * inner, target + row * size * inner)
          if inner == 1 {
            for i in 0..<size { b[i] = a[from[i]] }
          } else {
            for i in 0..<size { (b + i * inner).update(from: a + from[i] * inner, count: inner) }
          }
        }
      }
    }
    withExtendedLifetime((x, y)) {}
  }

  // MARK: Linear and cubic

  private func blend<T: BinaryFloatingPoint>(_ x: Tensor, _ y: Tensor, _ axis: Int, _ type: T.Type) {
    guard y.count > 0 else { return }
    let length = x.shape[axis]
    let inner = x.shape.dropFirst(axis + 1).reduce(1, *)
    let isCubic = interpolation == .cubic
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    blends(length).map { SampleBlend<T>($0) }.withUnsafeBufferPointer { blends in
      ThreadPool.shared.runRows(y.count / (size * inner), width: size * inner) { range in
        for row in range {
          let (from, to) = (source + row * length * inner, target + row * size * inner)
          if inner == 1 {
            mix(from, to, blends)
          } else {
            for (index, blend) in blends.enumerated() { mix(from, to + index * inner, blend, inner, isCubic) }
          }
        }
      }
    }
    withExtendedLifetime((x, y)) {}
  }

  /// A row of single elements.
  @inline(__always)
  private func mix<T: BinaryFloatingPoint>(
    _ x: UnsafeMutablePointer<T>, _ y: UnsafeMutablePointer<T>, _ blends: UnsafeBufferPointer<SampleBlend<T>>
  ) {
    if interpolation == .cubic {
      for (index, blend) in blends.enumerated() {
        let (a, b) = (x[blend.at.0] * blend.weight.0, x[blend.at.1] * blend.weight.1)
        y[index] = a + b + x[blend.at.2] * blend.weight.2 + x[blend.at.3] * blend.weight.3
      }
    } else {
      for (index, blend) in blends.enumerated() {
        y[index] = x[blend.at.0] * blend.weight.0 + x[blend.at.1] * blend.weight.1
      }
    }
  }

  /// One position of an axis whose elements are blocks of `count`.
  @inline(__always)
  private func mix<T: BinaryFloatingPoint>(
    _ x: UnsafeMutablePointer<T>, _ y: UnsafeMutablePointer<T>, _ blend: SampleBlend<T>, _ count: Int,
    _ isCubic: Bool
  ) {
    let (a, b) = (x + blend.at.0 * count, x + blend.at.1 * count)
    let (wa, wb) = (blend.weight.0, blend.weight.1)
    if isCubic {
      let (c, d) = (x + blend.at.2 * count, x + blend.at.3 * count)
      let (wc, wd) = (blend.weight.2, blend.weight.3)
      for i in 0..<count { y[i] = a[i] * wa + b[i] * wb + c[i] * wc + d[i] * wd }
    } else {
      for i in 0..<count { y[i] = a[i] * wa + b[i] * wb }
    }
  }
}

/// The samples and weights of one position, in the type of the elements.
private struct SampleBlend<T: BinaryFloatingPoint> {
  var at: (Int, Int, Int, Int)
  var weight: (T, T, T, T)

  init(_ blend: EvenSamples.Blend) {
    at = blend.at
    weight = (T(blend.weight.0), T(blend.weight.1), T(blend.weight.2), T(blend.weight.3))
  }
}
