import ToeplitzOps
import ToeplitzTensor

extension ConvolutionWeightGradient: CPUKernel {
  package func evaluate(_ operands: [Tensor], _ specs: [TensorSpec]) throws -> [Tensor] {
    let type = operands[0].dtype.convolutionType
    let x = try convolution.canonical(operands[0].cast(to: type))
    let dy = try convolution.canonical(operands[1].cast(to: type))
    let conv = try geometry.isTransposed ? geometry.adjoint(inputSize: Array(x.shape.dropFirst(2))) : geometry
    // The input and the output of the convolution proper.
    var (read, made) = geometry.isTransposed ? (dy, x) : (x, dy)
    guard !specs[0].shape.contains(0) else { return [try Tensor.zeros(specs[0].shape, dtype: specs[0].dtype)] }
    var padding = conv.paddingLow
    if type != .float32 || conv.paddingMode != .zeros {
      for axis in 0..<conv.rank {
        // Not `padded`, which crops before it wraps around: here an end that is not read is still there.
        let pad = PadAxis(
          axis: axis + 2, low: conv.paddingLow[axis], high: conv.paddingHigh[axis], mode: conv.paddingMode, value: 0)
        read = try apply(pad, read)
      }
      padding = padding.map { _ in 0 }
    }
    if type == .float32 {
      if read.strides[read.rank - 1] != 1, read.shape[read.rank - 1] != 1 { read = try read.copied() }
      made = try made.isContiguous ? made : made.copied()
      let weight = try gradient(read, made, conv, padding)
      return [try weight.reshaped(geometry.weightShape).cast(to: specs[0].dtype)]
    }
    return [try tapByTap(read, made, conv).reshaped(geometry.weightShape).cast(to: specs[0].dtype)]
  }

  /// Float32: group by group, on several threads where there are groups for all.
  private func gradient(_ read: Tensor, _ made: Tensor, _ conv: ConvolutionGeometry, _ padding: [Int]) throws -> Tensor
  {
    let (groups, outputs, inputs) = (conv.groups, conv.outChannels / conv.groups, conv.inChannels / conv.groups)
    func whole(_ read: Tensor, _ made: Tensor) throws -> Tensor {
      WeightGradientRun.suits(conv)
        ? try WeightGradientRun(read, made, conv, padding: padding)()
        : try WeightGradientPanels(read, made, conv, padding: padding)()
    }
    if groups == 1 { return try whole(read, made) }
    let taps = conv.kernelSize.reduce(1, *)
    let result = try Tensor(uninitialized: [groups, outputs, inputs, taps], dtype: .float32, operation: name)
    let failure = Lock<(any Error)?>(nil)
    func one(_ group: Int) {
      do {
        let part = try whole(
          read.slice(axis: 1, (group * inputs)..<((group + 1) * inputs)),
          made.slice(axis: 1, (group * outputs)..<((group + 1) * outputs)))
        result.view(
          shape: [outputs, inputs, taps], strides: Array(result.strides.dropFirst()),
          offset: group * outputs * inputs * taps
        ).fillOnce(from: part)
      } catch {
        failure.withLock { $0 = error }
      }
    }
    if groups < ThreadPool.shared.threadCount {
      for group in 0..<groups { one(group) }
    } else {
      ThreadPool.shared.run(groups) { group, _ in one(group) }
    }
    if let error = failure.withLock({ $0 }) { throw error }
    return result
  }

  /// Other types: a product for each tap.
  private func tapByTap(_ read: Tensor, _ made: Tensor, _ conv: ConvolutionGeometry) throws -> Tensor {
    let (groups, outputs, inputs) = (conv.groups, conv.outChannels / conv.groups, conv.inChannels / conv.groups)
    let positions = made.shape.dropFirst(2).reduce(made.shape[0], *)
    func rows(_ tensor: Tensor, _ channels: Int) throws -> Tensor {
      try tensor.permuted([1, 0] + Array(2..<tensor.rank)).reshaped([groups, channels, positions])
    }
    let left = try rows(made, outputs)
    var taps: [Tensor] = []
    func go(_ window: Tensor, _ axis: Int) throws {
      guard axis < conv.rank else {
        let right = try rows(window, inputs).transposed(1, 2)
        taps.append(try left.matmul(right))
        return
      }
      for index in 0..<conv.kernelSize[axis] {
        let start = index * conv.dilation[axis]
        let end = start + (made.shape[axis + 2] - 1) * conv.stride[axis] + 1
        try go(window.slice(axis: axis + 2, start..<end, step: conv.stride[axis]), axis + 1)
      }
    }
    try go(read, 0)
    return try Tensor.stack(taps, axis: 3)
  }
}
