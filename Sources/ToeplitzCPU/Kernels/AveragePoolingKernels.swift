import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension AveragePooling: CPUKernel {
  package var makesNewResults: Bool { true }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].dense()
    switch x.dtype {
    case .float32: return [try pool(x, Float.self, outputs[0])]
    case .float64: return [try pool(x, Double.self, outputs[0])]
    default: return [try apply(self, x.cast(to: .float32)).cast(to: x.dtype)]
    }
  }

  private func pool<T: BinaryFloatingPoint & TensorScalar>(
    _ x: Tensor, _ type: T.Type, _ output: TensorSpec
  ) throws -> Tensor {
    let y = try Tensor(uninitialized: output.shape, dtype: output.dtype, operation: name)
    guard y.count > 0 else { return y }
    let axes = PoolAxis.three(
      geometry, input: Array(x.shape.suffix(geometry.rank)), output: Array(output.shape.suffix(geometry.rank))
    )
    let inputPlane = axes.reduce(1) { $0 * $1.input }
    let outputPlane = axes.reduce(1) { $0 * $1.output }
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    let kernels = tz_windows_kernels(InstructionSet.current.code).pointee
    ThreadPool.shared.runRows(y.count / outputPlane, width: inputPlane) { range in
      withUnsafeTemporaryAllocation(of: Double.self, capacity: axes[2].output) { sums in
        guard let sums = sums.baseAddress else { return }
        for plane in range {
          average(axes, source + plane * inputPlane, target + plane * outputPlane, sums, kernels)
        }
      }
    }
    withExtendedLifetime((x, y)) {}
    return y
  }

  /// One plane, a row of outputs at a time.
  @inline(__always)
  private func average<T: BinaryFloatingPoint>(
    _ axes: [PoolAxis], _ x: UnsafeMutablePointer<T>, _ y: UnsafeMutablePointer<T>,
    _ sums: UnsafeMutablePointer<Double>, _ kernels: tz_windows_table
  ) {
    let (depth, height, width) = (axes[0], axes[1], axes[2])
    for d in 0..<depth.output {
      for h in 0..<height.output {
        sums.update(repeating: 0, count: width.output)
        for kd in depth.taps(d) {
          for kh in height.taps(h) {
            let at = (depth.start(d) + kd * depth.dilation) * height.input + height.start(h) + kh * height.dilation
            for kw in 0..<width.kernel {
              let from = x + (at * width.input + kw * width.dilation - width.low)
              let range = width.windows(kw)
              if T.self == Float.self {
                kernels.add_taps(
                  UnsafeRawPointer(from + range.lowerBound * width.stride).assumingMemoryBound(to: Float.self),
                  width.stride, sums + range.lowerBound, range.count)
              } else {
                for i in range { sums[i] += Double(from[i * width.stride]) }
              }
            }
          }
        }
        let row = y + (d * height.output + h) * width.output
        let lines = size(depth, d) * size(height, h)
        for i in 0..<width.output { row[i] = T(sums[i] / Double(divisor ?? max(1, lines * size(width, i)))) }
      }
    }
  }

  /// How many elements of window `index` count: with padding, but without what hangs over that in ceil mode.
  @inline(__always)
  private func size(_ axis: PoolAxis, _ index: Int) -> Int {
    guard countsPadding else { return axis.taps(index).count }
    let reach = axis.input + axis.high - axis.start(index)
    return min(axis.kernel, (reach + axis.dilation - 1) / axis.dilation)
  }
}
