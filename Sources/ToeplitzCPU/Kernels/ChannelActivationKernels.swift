import CToeplitzKernels
import ToeplitzGraph
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
    if x.count > 0 { computation(x, try inputs[1].cast(to: x.dtype).dense(), y)() }
    return [y]
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    guard call.operands.allSatisfy({ $0.dtype == .float32 }), call.operands[0].count > 0, call.results[0].isContiguous
    else {
      return nil
    }
    let ordered = BoundOperands(call.memory, name: name)
    let (x, trained) = (try ordered.dense(call.operands[0]), try ordered.dense(call.operands[1]))
    return ordered.finished(computation(x, trained, call.results[0]))
  }

  /// What computes the result of contiguous tensors.
  private func computation(_ x: Tensor, _ trained: Tensor, _ y: Tensor) -> () -> Void {
    let rows = isShared(x.shape, trained.shape) ? 1 : x.shape[0] * x.shape[1]
    let width = x.count / rows
    let table = tz_elementwise_kernels(InstructionSet.current.code)
    let kernel: tz_unary = if case .leaky = function { TZ_LEAKY_RELU } else { TZ_SNAKE }
    return ThreadPool.shared.sharingRows(rows, width: width) { range in
      for row in range {
        let at = row % trained.count
        if x.dtype == .float32 {
          let (a, b) = parameters(Double(trained.pointer(Float.self)[at]))
          tz_unary_run(
            table, kernel, x.pointer(Float.self) + row * width, y.pointer(Float.self) + row * width, width,
            Float(a),
            Float(b))
        } else {
          let (a, b) = parameters(trained.pointer(Double.self)[at])
          exact(x.pointer(Double.self) + row * width, y.pointer(Double.self) + row * width, width, a, b)
        }
      }
    }
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
