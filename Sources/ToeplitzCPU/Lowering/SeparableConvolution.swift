import ToeplitzOps
import ToeplitzTensor

/// A depthwise convolution of images and the pointwise one after it (Sifre, 2014; Howard et al., 2017), or these two after a
/// pointwise one: the inverted residual of MobileNetV2 (Sandler et al., 2018).
///
/// Inputs are x `[N, C, H, W]`, then for each convolution its weight and, where it has them, its bias and the factors of its
/// weights, then residuals of the last one. All run over one band
/// of the image after the other, so that what lies between them never leaves the cache of a thread, where there are kernels
/// for that. The bits are the same either way.
package struct SeparableConvolution: TensorOperation {
  /// The convolutions in order, two or three.
  package var stages: [ConvolutionStage]

  /// All convolutions in one operation.
  package init(_ stages: [ConvolutionStage]) { self.stages = stages }

  /// Whether convolutions of these geometries, two or three, may be computed together.
  package static func supports(_ geometries: [ConvolutionGeometry]) -> Bool {
    guard (2...3).contains(geometries.count) else { return false }
    let (first, second) = (geometries[geometries.count - 2], geometries[geometries.count - 1])
    return first.rank == 2 && !first.isTransposed && first.groups == first.inChannels
      && first.outChannels == first.inChannels && first.paddingMode == .zeros && first.kernelSize[0] > 1
      && isPointwise(second) && second.inChannels == first.outChannels
      && (geometries.count == 2 || isPointwise(geometries[0]) && geometries[0].outChannels == first.inChannels)
  }

  /// Whether a convolution of images is a linear map of the channels.
  static func isPointwise(_ geometry: ConvolutionGeometry) -> Bool {
    func all(_ values: [Int], are value: Int) -> Bool { values.allSatisfy { $0 == value } }
    return geometry.rank == 2 && !geometry.isTransposed && geometry.groups == 1 && all(geometry.kernelSize, are: 1)
      && all(geometry.stride, are: 1) && all(geometry.paddingLow, are: 0) && all(geometry.paddingHigh, are: 0)
  }

  /// `SeparableConvolution`.
  package var name: String { "SeparableConvolution" }

  /// What the last convolution gives.
  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: stages.reduce(1 + residualCount) { $0 + $1.weightCount })
    return try fold(inputs) { stage, operands in try stage.operation.infer(operands) }
  }

  package var residualCount: Int { stages[stages.count - 1].operation.residualCount }

  /// Hands each convolution the result of the one before it and its own operands.
  package func fold<T>(_ inputs: [T], _ body: (ConvolutionStage, [T]) throws -> [T]) rethrows -> [T] {
    var passing = [inputs[0]]
    var next = 1
    for stage in stages {
      let end = next + stage.weightCount + stage.operation.residualCount
      passing = try body(stage, passing + inputs[next..<end])
      next = end
    }
    return passing
  }

  package var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  package func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension SeparableConvolution: CountedOperation {
  package func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    var sum = 0
    _ = try fold(inputs) { stage, operands in
      sum += try stage.operation.multiplyAdds(operands)
      return try stage.operation.infer(operands)
    }
    return sum
  }
}
