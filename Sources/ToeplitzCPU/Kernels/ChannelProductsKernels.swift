import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension ChannelProducts: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    guard inputs[1].dtype == .float32 || inputs[1].dtype == .float64 else {
      return try applyAll(self, [inputs[0].cast(to: .float32), inputs[1].cast(to: .float32), inputs[2]])
    }
    let (y, x, center) = (try inputs[0].dense(), try inputs[1].dense(), try inputs[2].dense())
    let sums = try Tensor.zeros(outputs[0].shape, dtype: .float64)
    let products = try Tensor.zeros(outputs[0].shape, dtype: .float64)
    let (samples, channels) = (x.shape[0], x.shape[1])
    guard x.count > 0 else { return [sums, products] }
    let width = x.count / (samples * channels)
    let table = tz_rows_kernels(InstructionSet.current.code).pointee
    let (centers, first, second) = (
      center.pointer(Double.self), sums.pointer(Double.self), products.pointer(Double.self)
    )
    // A channel is one chain over the samples, whoever computes it.
    ThreadPool.shared.runRows(channels, width: samples * width) { range in
      for channel in range {
        for sample in 0..<samples {
          let at = (sample * channels + channel) * width
          var (sum, product) = (0.0, 0.0)
          if x.dtype == .float32 {
            table.products(
              y.pointer(Float.self) + at, x.pointer(Float.self) + at, width, centers[channel], &sum, &product)
          } else {
            let (a, b) = (y.pointer(Double.self) + at, x.pointer(Double.self) + at)
            for index in 0..<width {
              sum += a[index]
              product += a[index] * (b[index] - centers[channel])
            }
          }
          first[channel] += sum
          second[channel] += product
        }
      }
    }
    withExtendedLifetime((x, y, center)) {}
    return [sums, products]
  }
}
