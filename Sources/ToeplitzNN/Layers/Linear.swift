import ToeplitzOps
import ToeplitzTensor

/// A linear map of the last axis: `y = x Wᵀ + b`.
///
/// Input `[…, inFeatures]`, output `[…, outFeatures]`. It is computed as a convolution with one tap, whose weight is
/// packed once for each value.
///
/// ```swift
/// let linear = try Linear(inFeatures: 512, outFeatures: 10)
/// let y = try linear(x)  // [N, 512] -> [N, 10]
/// ```
open class Linear: Module, UnaryLayer, WeightedLayer {
  /// The weight `[outFeatures, inFeatures]`.
  public let weight: LayerWeight
  /// One number for each output feature, if the layer has a bias.
  public let bias: Parameter?
  /// Size of the input's last axis.
  public let inFeatures: Int
  /// Size of the output's last axis.
  public let outFeatures: Int

  /// Creates a layer with random initial values (Kaiming uniform with a = √5).
  ///
  /// - Parameters:
  ///   - inFeatures: size of the input's last axis.
  ///   - outFeatures: size of the output's last axis.
  ///   - bias: whether a number is added to each output feature.
  ///   - dtype: element type of the parameters, and so of input and output.
  ///   - device: where the parameters live.
  ///   - generator: source of the initial values.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    inFeatures: Int, outFeatures: Int, bias: Bool = true, dtype: DType = .float32, device: Device = .cpu,
    generator: Generator? = nil
  ) throws {
    try device.requirePresent("Linear")
    for (label, count) in [("inFeatures", inFeatures), ("outFeatures", outFeatures)] where count < 1 {
      throw ToeplitzError(.argument, "Linear", expected: "\(label) of at least 1", got: "\(count)")
    }
    try requireNumbers(dtype, "Linear")
    self.inFeatures = inFeatures
    self.outFeatures = outFeatures
    let generator = generator ?? Generator()
    let bound = 1 / Double(inFeatures).squareRoot()
    weight = LayerWeight(
      try generator.uniform([outFeatures, inFeatures], from: -bound, to: bound, dtype: dtype))
    self.bias =
      bias ? Parameter(try generator.uniform([outFeatures], from: -bound, to: bound, dtype: dtype)) : nil
  }

  override var dependsOnMode: Bool { weight.isSpectral }

  /// `x Wᵀ + b`.
  open func forward(_ x: Tensor) throws -> Tensor {
    guard let last = x.shape.last, last == inFeatures else {
      throw ToeplitzError(
        .shape, "Linear", expected: "a last axis of size \(inFeatures)", got: "shape \(x.shape)")
    }
    let weight = try weight.value(isTraining: isTraining)
    guard x.dtype == weight.dtype else {
      throw ToeplitzError(
        .dtype, "Linear", expected: "an input of the weight's type \(weight.dtype)", got: "\(x.dtype)")
    }
    return try x.linear(weight: weight, bias: bias?.value)
  }

  /// `inFeatures × outFeatures` for each row.
  open override func multiplyAdds(input: TensorShape, output: TensorShape) throws -> Int {
    input.dropLast().reduce(1, *) * inFeatures * outFeatures
  }

  /// PyTorch's options.
  open override var extraRepr: String {
    "in_features=\(inFeatures), out_features=\(outFeatures), bias=\(PythonText.bool(bias != nil))"
  }
}
