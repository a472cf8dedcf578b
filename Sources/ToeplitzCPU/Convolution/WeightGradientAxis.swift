import ToeplitzOps
import ToeplitzTensor

/// One of three spatial axes of a weight's gradient, the missing ones first with size 1.
struct WeightGradientAxis {
  var input = 1
  var inputStride = 0
  var output = 1
  var outputStride = 0
  var kernel = 1
  var stride = 1
  var dilation = 1
  var low = 0

  /// The axes of a convolution of x `[N, C, …]` whose result has the cotangent dy `[N, O, …]`.
  static func three(_ x: Tensor, _ dy: Tensor, _ conv: ConvolutionGeometry, padding: [Int]) -> [WeightGradientAxis] {
    let missing = Array(repeating: WeightGradientAxis(), count: 3 - conv.rank)
    return missing
      + (0..<conv.rank).map { axis in
        WeightGradientAxis(
          input: x.shape[axis + 2], inputStride: x.strides[axis + 2], output: dy.shape[axis + 2],
          outputStride: dy.strides[axis + 2], kernel: conv.kernelSize[axis], stride: conv.stride[axis],
          dilation: conv.dilation[axis], low: padding[axis])
      }
  }

  /// Positions of the input, padding included, that the outputs of a part read.
  func extent(_ outputs: Int) -> Int { (outputs - 1) * stride + (kernel - 1) * dilation + 1 }
  /// How far behind `output · stride` a tap reads.
  func offset(_ tap: Int) -> Int { tap * dilation - low }
  /// Those of some outputs for which a tap reads the input.
  func inside(_ outputs: Range<Int>, tap: Int) -> Range<Int> {
    let first = max(outputs.lowerBound, ceilDivide(-offset(tap), stride))
    return first..<max(first, min(outputs.upperBound, ceilDivide(input - offset(tap), stride)))
  }
  /// What the taps of some outputs read of the input.
  func read(_ outputs: Range<Int>) -> Range<Int> {
    let first = min(input, max(0, outputs.lowerBound * stride - low))
    return first..<max(first, min(input, (outputs.upperBound - 1) * stride + offset(kernel - 1) + 1))
  }
}
