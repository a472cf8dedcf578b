import CToeplitzKernels
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
    for axis in 0..<conv.rank {
      read = try read.padded(
        [(axis: axis + 2, low: conv.paddingLow[axis], high: conv.paddingHigh[axis])], mode: conv.paddingMode)
    }
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
        taps.append(try left.matrixMultiplied(by: right))
        return
      }
      for index in 0..<conv.kernelSize[axis] {
        let start = index * conv.dilation[axis]
        let end = start + (made.shape[axis + 2] - 1) * conv.stride[axis] + 1
        try go(window.slice(axis: axis + 2, start..<end, step: conv.stride[axis]), axis + 1)
      }
    }
    try go(read, 0)
    return [try Tensor.stacked(taps, axis: 3).reshaped(geometry.weightShape).cast(to: specs[0].dtype)]
  }
}
