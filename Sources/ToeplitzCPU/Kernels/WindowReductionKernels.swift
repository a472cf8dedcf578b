import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension WindowReduction: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].contiguous()
    let results = try outputs.map { try Tensor(uninitialized: $0.shape, dtype: $0.dtype, operation: name) }
    func run<T: TensorScalar>(_ type: T.Type) { walk(x, results, type) }
    if x.dtype == .float32 { run(Float.self) } else { run(x.dtype.scalarType) }
    withExtendedLifetime((x, results)) {}
    return results
  }

  private func walk<T: TensorScalar>(_ x: Tensor, _ results: [Tensor], _ type: T.Type) {
    let input = Array(x.shape.dropFirst(2))
    let output = Array(results[0].shape.dropFirst(2))
    let (inputPlane, outputPlane) = (input.reduce(1, *), output.reduce(1, *))
    guard outputPlane > 0, results[0].count > 0 else { return }
    let strides = Shape(input).contiguousStrides
    ThreadPool.shared.runRows(results[0].count / outputPlane, width: inputPlane) { range in
      for plane in range {
        let source = x.pointer(type) + plane * inputPlane
        var walk = IndexWalk(Shape(output), strides: [Int](repeating: 0, count: output.count))
        var tap = [Int](repeating: 0, count: input.count)
        for at in 0..<outputPlane {
          let start = input.indices.map { walk.index[$0] * stride[$0] - low[$0] }
          reduce(source, start, &tap, input, strides, results, plane, plane * outputPlane + at)
          walk.advance()
        }
      }
    }
  }

  /// The next position of a window, row-major; false after the last, when it is the first again.
  @inline(__always)
  private func advance(_ tap: inout [Int]) -> Bool {
    for axis in tap.indices.reversed() {
      tap[axis] += 1
      if tap[axis] < kernel[axis] { return true }
      tap[axis] = 0
    }
    return false
  }

  /// - Parameter tap: zeros, and zeros again afterwards.
  @inline(__always)
  private func reduce<T: TensorScalar>(
    _ x: UnsafeMutablePointer<T>, _ start: [Int], _ tap: inout [Int], _ input: [Int], _ strides: [Int],
    _ results: [Tensor], _ plane: Int, _ at: Int
  ) {
    var (best, place, sum, count) = (0.0, -1, 0.0, 0)
    repeat {
      var offset = 0
      var (inside, padded) = (true, true)
      for axis in input.indices {
        let here = start[axis] + tap[axis] * dilation[axis]
        inside = inside && here >= 0 && here < input[axis]
        padded = padded && here < input[axis] + high[axis]
        offset += here * strides[axis]
      }
      if case .mean(countsPadding: true) = function, padded { count += 1 }
      guard inside else { continue }
      let value = x[offset].doubleValue
      switch function {
      case .maximum: if place < 0 || value > best || value.isNaN && !best.isNaN { (best, place) = (value, offset) }
      case .mean(let countsPadding):
        sum += value
        if !countsPadding { count += 1 }
      case .norm(let p): sum += p == 2 ? value * value : p == 1 ? abs(value) : power(abs(value), p)
      }
    } while advance(&tap)
    switch function {
    case .maximum(let columnMajor):
      results[0].pointer(T.self)[at] = place < 0 ? T(converting: -.infinity) : x[place]
      var flat = place
      if columnMajor, input.count > 1, place >= 0 {
        flat = 0
        var (rest, step) = (place, 1)
        var index = [Int](repeating: 0, count: input.count)
        for axis in input.indices.reversed() {
          index[axis] = rest % input[axis]
          rest /= input[axis]
        }
        for axis in input.indices {
          flat += index[axis] * step
          step *= input[axis]
        }
      }
      results[1].pointer(Int64.self)[at] = Int64(plane * input.reduce(1, *) + flat)
    case .mean: results[0].pointer(T.self)[at] = T(converting: sum / Double(max(count, 1)))
    case .norm(let p):
      results[0].pointer(T.self)[at] = T(converting: p == 2 ? sum.squareRoot() : p == 1 ? sum : power(sum, 1 / p))
    }
  }

  private func power(_ base: Double, _ exponent: Double) -> Double {
    base == 0 ? 0 : (base.logarithm() * exponent).exponential()
  }
}
