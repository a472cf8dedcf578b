import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension ChannelActivation: CPUKernel {
  package var makesNewResults: Bool { true }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].dense()
    guard x.dtype == .float32 || x.dtype == .float64 else {
      return [try applyAll(self, inputs.map { try $0.cast(to: .float32) })[0].cast(to: x.dtype)]
    }
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    guard x.count > 0 else { return [y] }
    let numbers = try inputs[1].cast(to: .float64).scalars(Double.self).map(parameters)
    let rows = isShared(x.shape, inputs[1].shape) ? 1 : x.shape[0] * x.shape[1]
    let width = x.count / rows
    let table = tz_elementwise_kernels(InstructionSet.current.code)
    let kernel: tz_unary = if case .leaky = function { TZ_LEAKY_RELU } else { TZ_SNAKE }
    ThreadPool.shared.runRows(rows, width: width) { range in
      for row in range {
        let (a, b) = numbers[row % numbers.count]
        if x.dtype == .float32 {
          tz_unary_run(
            table, kernel, x.pointer(Float.self) + row * width, y.pointer(Float.self) + row * width, width,
            Float(a),
            Float(b))
        } else {
          exact(x.pointer(Double.self) + row * width, y.pointer(Double.self) + row * width, width, a, b)
        }
      }
    }
    withExtendedLifetime((x, y)) {}
    return [y]
  }

  /// The kernel's two parameters for one trained number.
  private func parameters(_ number: Double) -> (a: Double, b: Double) {
    switch function {
    case .leaky: return (number, 0)
    case .snake(let isLogarithm):
      let alpha = isLogarithm ? number.exponential() : number
      return (alpha, 1 / (alpha + 1e-9))
    }
  }

  private func exact(
    _ from: UnsafeMutablePointer<Double>, _ to: UnsafeMutablePointer<Double>, _ count: Int, _ a: Double,
    _ b: Double
  ) {
    if case .leaky = function {
      for i in 0..<count { to[i] = from[i] < 0 ? from[i] * a : from[i] }
    } else {
      for i in 0..<count {
        let sine = (a * from[i]).sine()
        to[i] = from[i] + b * (sine * sine)
      }
    }
  }
}
