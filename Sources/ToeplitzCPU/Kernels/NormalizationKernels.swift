import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension GroupMoments: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].dense()
    let mean = try Tensor(uninitialized: outputs[0].shape, dtype: .float64, operation: name)
    let variance = try Tensor(uninitialized: outputs[0].shape, dtype: .float64, operation: name)
    switch x.dtype {
    case .float32: measure(x, Float.self, mean, variance)
    case .float64: measure(x, Double.self, mean, variance)
    default: return try applyAll(self, [x.cast(to: .float32)])
    }
    return [mean, variance]
  }

  private func measure<T: BinaryFloatingPoint>(
    _ x: Tensor, _ type: T.Type, _ mean: Tensor, _ variance: Tensor
  ) {
    let rows = mean.count
    guard rows > 0 else { return }
    let width = x.count / rows
    let (source, means, variances) = (
      x.pointer(T.self), mean.pointer(Double.self), variance.pointer(Double.self)
    )
    let table = tz_rows_kernels(InstructionSet.current.code).pointee
    ThreadPool.shared.runRows(rows, width: width) { range in
      for row in range { (means[row], variances[row]) = moments(UnsafePointer(source + row * width), width, table) }
    }
    withExtendedLifetime((x, mean, variance)) {}
  }
}

extension NormalizeChannels: CPUKernel {
  /// The result for float32 numbers, which may then be rectified.
  func normalized(_ inputs: [Tensor], rectifies: Bool) throws -> Tensor {
    try normalize(inputs[0].dense(), Float.self, inputs, rectifies: rectifies)
  }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].dense()
    switch x.dtype {
    case .float32: return [try normalized(inputs, rectifies: false)]
    case .float64: return [try normalize(x, Double.self, inputs)]
    default:
      return [
        try applyAll(self, inputs.map { try $0.cast(to: $0.dtype == .float64 ? .float64 : .float32) })[0]
          .cast(to: x.dtype)
      ]
    }
  }

  /// What is done to one row: `y = (x − center) · scale + shift`.
  private struct Row<T: BinaryFloatingPoint & Sendable> {
    var center: T
    var scale: T
    var shift: T
  }

  /// The rows' numbers; for statistics `[C]` they repeat from sample to sample.
  private func rows<T: BinaryFloatingPoint>(_ type: T.Type, _ inputs: [Tensor]) throws -> [Row<T>] {
    func read(_ index: Int) throws -> [Double] { try inputs[index].cast(to: .float64).scalars(Double.self) }
    let (mean, variance) = (try read(1), try read(2))
    let weight = hasWeight ? try read(3) : nil
    let bias = hasBias ? try read(hasWeight ? 4 : 3) : nil
    let channels = inputs[0].shape[1]
    let perSample = inputs[1].rank == 2
    let count = perSample ? inputs[0].shape[0] * channels : channels
    let share = count == 0 ? 1 : count / mean.count
    return (0..<count).map { row in
      let (at, channel) = (row / share, perSample ? row % channels : row)
      let scale = (weight?[channel] ?? 1) / (variance[at] + eps).squareRoot()
      let center = T(mean[at])
      // What rounding the mean has lost goes into the shift.
      let shift = (bias?[channel] ?? 0) + (Double(center) - mean[at]) * scale
      return Row(center: center, scale: T(scale), shift: T(shift))
    }
  }

  private func normalize<T: BinaryFloatingPoint & TensorScalar>(
    _ x: Tensor, _ type: T.Type, _ inputs: [Tensor], rectifies: Bool = false
  ) throws -> Tensor {
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    guard x.count > 0 else { return y }
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    let functions = tz_elementwise_kernels(InstructionSet.current.code)
    let rowCount = x.shape[0] * x.shape[1]
    let width = x.count / rowCount
    let table = tz_rows_kernels(InstructionSet.current.code).pointee
    try rows(type, inputs).withUnsafeBufferPointer { rows in
      ThreadPool.shared.runRows(rowCount, width: width) { range in
        if width == 1 {
          for at in range {
            let row = rows[at % rows.count]
            target[at] = (source[at] - row.center) * row.scale + row.shift
            if rectifies, target[at] < 0 { target[at] = 0 }
          }
          return
        }
        if T.self == Float.self {
          for at in range {
            let row = rows[at % rows.count]
            table.normalize(
              x.pointer(Float.self) + at * width, y.pointer(Float.self) + at * width, width, Float(row.center),
              Float(row.scale), Float(row.shift))
            let result = y.pointer(Float.self) + at * width
            if rectifies { tz_unary_run(functions, TZ_LEAKY_RELU, result, result, width, 0, 0) }
          }
          return
        }
        for at in range {
          let row = rows[at % rows.count]
          let (from, to) = (source + at * width, target + at * width)
          for i in 0..<width { to[i] = (from[i] - row.center) * row.scale + row.shift }
        }
      }
    }
    withExtendedLifetime((x, y)) {}
    return y
  }
}

extension LayerNormalize: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].dense()
    switch x.dtype {
    case .float32: return [try normalize(x, Float.self, inputs)]
    case .float64: return [try normalize(x, Double.self, inputs)]
    default: return [try applyAll(self, inputs.map { try $0.cast(to: .float32) })[0].cast(to: x.dtype)]
    }
  }

  private func normalize<T: BinaryFloatingPoint & TensorScalar>(
    _ x: Tensor, _ type: T.Type, _ inputs: [Tensor]
  ) throws -> Tensor {
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    guard x.count > 0 else { return y }
    let weight = hasWeight ? try inputs[1].dense() : nil
    let bias = hasBias ? try inputs[hasWeight ? 2 : 1].dense() : nil
    computation(x, type, weight, bias, y)()
    return y
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    guard call.operands[0].dtype == .float32, call.operands[0].count > 0, call.results[0].isContiguous else {
      return nil
    }
    let ordered = BoundOperands(call.memory, name: name)
    let dense = try call.operands.map { try ordered.dense($0) }
    return ordered.finished(
      computation(
        dense[0], Float.self, hasWeight ? dense[1] : nil, hasBias ? dense[hasWeight ? 2 : 1] : nil, call.results[0]))
  }

  /// What computes the result of contiguous tensors.
  private func computation<T: BinaryFloatingPoint & TensorScalar>(
    _ x: Tensor, _ type: T.Type, _ weight: Tensor?, _ bias: Tensor?, _ y: Tensor
  ) -> () -> Void {
    let width = shape.reduce(1, *)
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    let (weights, biases) = (weight?.pointer(T.self), bias?.pointer(T.self))
    let table = tz_rows_kernels(InstructionSet.current.code).pointee
    return ThreadPool.shared.sharingRows(x.count / width, width: width) { range in
      for row in range {
        let (from, to) = (source + row * width, target + row * width)
        let (mean, variance) = moments(UnsafePointer(from), width, table)
        let inverse = 1 / (variance + eps).squareRoot()
        let center = T(mean)
        let (scale, shift) = (T(inverse), T((Double(center) - mean) * inverse))
        if T.self == Float.self {
          table.normalize_features(
            x.pointer(Float.self) + row * width, y.pointer(Float.self) + row * width, width, Float(center),
            Float(scale), Float(shift), weight?.pointer(Float.self), bias?.pointer(Float.self))
          continue
        }
        for i in 0..<width { to[i] = (from[i] - center) * scale + shift }
        if let weights { for i in 0..<width { to[i] *= weights[i] } }
        if let biases { for i in 0..<width { to[i] += biases[i] } }
      }
      withExtendedLifetime((x, y, weight, bias)) {}
    }
  }
}

/// Mean and population variance of `count` numbers.
private func moments<T: BinaryFloatingPoint>(
  _ x: UnsafePointer<T>, _ count: Int, _ table: tz_rows_table
) -> (mean: Double, variance: Double) {
  if T.self == Float.self {
    let x = UnsafeRawPointer(x).assumingMemoryBound(to: Float.self)
    let mean = table.sum(x, count) / Double(count)
    return (mean, table.squares(x, count, mean) / Double(count))
  }
  // Four sums side by side: one would wait for itself at every addition.
  let whole = count & ~3
  var sums = SIMD4<Double>(repeating: 0)
  for i in stride(from: 0, to: whole, by: 4) {
    sums += SIMD4(Double(x[i]), Double(x[i + 1]), Double(x[i + 2]), Double(x[i + 3]))
  }
  var sum = sums.sum()
  for i in whole..<count { sum += Double(x[i]) }
  let mean = sum / Double(count)
  var squares = SIMD4<Double>(repeating: 0)
  for i in stride(from: 0, to: whole, by: 4) {
    let distance = SIMD4(Double(x[i]), Double(x[i + 1]), Double(x[i + 2]), Double(x[i + 3])) - mean
    squares += distance * distance
  }
  var total = squares.sum()
  for i in whole..<count {
    let distance = Double(x[i]) - mean
    total += distance * distance
  }
  return (mean, total / Double(count))
}
