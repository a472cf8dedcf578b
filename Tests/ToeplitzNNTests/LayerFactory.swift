import Toeplitz
import ToeplitzTestSupport

/// Makes the layer that a golden case describes.
enum LayerFactory {
  static func layer(_ kind: String, _ o: GoldenValue, dtype: DType) throws -> any UnaryLayer {
    if let layer = try convolution(kind, o, dtype) ?? normalization(kind, o) ?? activation(kind, o)
      ?? pooling(kind, o)
      ?? padding(kind, o) ?? other(kind, o, dtype)
    {
      return layer
    }
    throw ToeplitzError(.argument, "LayerFactory", expected: "a known layer", got: kind)
  }

  private static func axes(_ value: GoldenValue) -> PerAxis { PerAxis(value.ints ?? []) }

  private static func pad(_ value: GoldenValue) -> Padding {
    switch value.string {
    case "same": .same
    case "valid": 0
    default: .symmetric(value.ints ?? [])
    }
  }

  private static func convolution(_ kind: String, _ o: GoldenValue, _ dtype: DType) throws -> (
    any UnaryLayer
  )? {
    func plain<R>(_ type: Conv<R>.Type) throws -> Conv<R> {
      try Conv<R>(
        inChannels: o["inChannels"].int ?? 0, outChannels: o["outChannels"].int ?? 0,
        kernelSize: axes(o["kernelSize"]),
        stride: axes(o["stride"]), padding: pad(o["padding"]), dilation: axes(o["dilation"]),
        groups: o["groups"].int ?? 0, bias: o["bias"].bool ?? true,
        paddingMode: PaddingMode(rawValue: o["paddingMode"].string ?? "") ?? .zeros, dtype: dtype)
    }
    func transposed<R>(_ type: ConvTranspose<R>.Type) throws -> ConvTranspose<R> {
      try ConvTranspose<R>(
        inChannels: o["inChannels"].int ?? 0, outChannels: o["outChannels"].int ?? 0,
        kernelSize: axes(o["kernelSize"]),
        stride: axes(o["stride"]), padding: pad(o["padding"]), outputPadding: axes(o["outputPadding"]),
        dilation: axes(o["dilation"]), groups: o["groups"].int ?? 0, bias: o["bias"].bool ?? true,
        dtype: dtype)
    }
    switch kind {
    case "Conv1d": return try plain(Conv1d.self)
    case "Conv2d": return try plain(Conv2d.self)
    case "Conv3d": return try plain(Conv3d.self)
    case "ConvTranspose1d": return try transposed(ConvTranspose1d.self)
    case "ConvTranspose2d": return try transposed(ConvTranspose2d.self)
    case "ConvTranspose3d": return try transposed(ConvTranspose3d.self)
    default: return nil
    }
  }

  private static func normalization(_ kind: String, _ o: GoldenValue) throws -> (any UnaryLayer)? {
    let eps = o["eps"].double ?? 0
    let (affine, bias) = (o["affine"].bool ?? true, o["bias"].bool ?? true)
    func batch<R>(_ type: BatchNorm<R>.Type) throws -> BatchNorm<R> {
      try BatchNorm<R>(
        numFeatures: o["numFeatures"].int ?? 0, eps: eps, momentum: o["momentum"].double, affine: affine,
        bias: bias,
        trackRunningStats: o["trackRunningStats"].bool ?? true)
    }
    func instance<R>(_ type: InstanceNorm<R>.Type) throws -> InstanceNorm<R> {
      try InstanceNorm<R>(
        numFeatures: o["numFeatures"].int ?? 0, eps: eps, momentum: o["momentum"].double, affine: affine,
        bias: bias,
        trackRunningStats: o["trackRunningStats"].bool ?? true)
    }
    switch kind {
    case "BatchNorm1d": return try batch(BatchNorm1d.self)
    case "BatchNorm2d": return try batch(BatchNorm2d.self)
    case "BatchNorm3d": return try batch(BatchNorm3d.self)
    case "InstanceNorm1d": return try instance(InstanceNorm1d.self)
    case "InstanceNorm2d": return try instance(InstanceNorm2d.self)
    case "InstanceNorm3d": return try instance(InstanceNorm3d.self)
    case "GroupNorm":
      return try GroupNorm(
        numGroups: o["numGroups"].int ?? 0, numChannels: o["numChannels"].int ?? 0, eps: eps, affine: affine,
        bias: bias)
    case "LayerNorm":
      return try LayerNorm(
        normalizedShape: TensorShape(o["normalizedShape"].ints ?? []), eps: eps,
        elementwiseAffine: o["elementwiseAffine"].bool ?? true, bias: bias)
    default: return nil
    }
  }

  private static func activation(_ kind: String, _ o: GoldenValue) throws -> (any UnaryLayer)? {
    switch kind {
    case "ReLU": return ReLU()
    case "ReLU6": return ReLU6()
    case "LeakyReLU": return LeakyReLU(negativeSlope: o["negativeSlope"].double ?? 0)
    case "PReLU": return try PReLU(numParameters: o["numParameters"].int ?? 0)
    case "ELU": return ELU(alpha: o["alpha"].double ?? 0)
    case "SELU": return SELU()
    case "CELU": return try CELU(alpha: o["alpha"].double ?? 0)
    case "GELU": return GELU(approximate: .init(rawValue: o["approximate"].string ?? "") ?? .none)
    case "SiLU": return SiLU()
    case "Mish": return Mish()
    case "Sigmoid": return Sigmoid()
    case "LogSigmoid": return LogSigmoid()
    case "Tanh": return Tanh()
    case "Softplus": return try Softplus(beta: o["beta"].double ?? 0, threshold: o["threshold"].double ?? 0)
    case "Softsign": return Softsign()
    case "Hardswish": return Hardswish()
    case "Hardsigmoid": return Hardsigmoid()
    case "Hardtanh": return try Hardtanh(minVal: o["minVal"].double ?? 0, maxVal: o["maxVal"].double ?? 0)
    case "Softmax": return Softmax(dim: o["dim"].int ?? 99)
    case "LogSoftmax": return LogSoftmax(dim: o["dim"].int ?? 99)
    case "GLU": return GLU(dim: o["dim"].int ?? 99)
    case "Snake": return try Snake(channels: o["channels"].int ?? 0, logScale: o["logScale"].bool ?? false)
    default: return nil
    }
  }

  private static func pooling(_ kind: String, _ o: GoldenValue) throws -> (any UnaryLayer)? {
    func largest<R>(_ type: MaxPool<R>.Type) throws -> MaxPool<R> {
      try MaxPool<R>(
        kernelSize: axes(o["kernelSize"]), stride: axes(o["stride"]), padding: axes(o["padding"]),
        dilation: axes(o["dilation"]), ceilMode: o["ceilMode"].bool ?? false)
    }
    func average<R>(_ type: AvgPool<R>.Type) throws -> AvgPool<R> {
      try AvgPool<R>(
        kernelSize: axes(o["kernelSize"]), stride: axes(o["stride"]), padding: axes(o["padding"]),
        ceilMode: o["ceilMode"].bool ?? false, countIncludePad: o["countIncludePad"].bool ?? true,
        divisorOverride: o["divisorOverride"].int)
    }
    let size = AdaptiveSize((o["outputSize"].array ?? []).map(\.int))
    switch kind {
    case "MaxPool1d": return try largest(MaxPool1d.self)
    case "MaxPool2d": return try largest(MaxPool2d.self)
    case "MaxPool3d": return try largest(MaxPool3d.self)
    case "AvgPool1d": return try average(AvgPool1d.self)
    case "AvgPool2d": return try average(AvgPool2d.self)
    case "AvgPool3d": return try average(AvgPool3d.self)
    case "AdaptiveAvgPool1d": return try AdaptiveAvgPool1d(outputSize: size)
    case "AdaptiveAvgPool2d": return try AdaptiveAvgPool2d(outputSize: size)
    case "AdaptiveAvgPool3d": return try AdaptiveAvgPool3d(outputSize: size)
    case "AdaptiveMaxPool1d": return try AdaptiveMaxPool1d(outputSize: size)
    case "AdaptiveMaxPool2d": return try AdaptiveMaxPool2d(outputSize: size)
    case "AdaptiveMaxPool3d": return try AdaptiveMaxPool3d(outputSize: size)
    default: return nil
    }
  }

  private static func padding(_ kind: String, _ o: GoldenValue) throws -> (any UnaryLayer)? {
    let amounts = axes(o["padding"])
    switch kind {
    case "ConstantPad1d": return try ConstantPad1d(padding: amounts, value: o["value"].double ?? 0)
    case "ConstantPad2d": return try ConstantPad2d(padding: amounts, value: o["value"].double ?? 0)
    case "ConstantPad3d": return try ConstantPad3d(padding: amounts, value: o["value"].double ?? 0)
    case "ZeroPad1d": return try ZeroPad1d(padding: amounts)
    case "ZeroPad2d": return try ZeroPad2d(padding: amounts)
    case "ZeroPad3d": return try ZeroPad3d(padding: amounts)
    case "ReflectionPad1d": return try ReflectionPad1d(padding: amounts)
    case "ReflectionPad2d": return try ReflectionPad2d(padding: amounts)
    case "ReflectionPad3d": return try ReflectionPad3d(padding: amounts)
    case "ReplicationPad1d": return try ReplicationPad1d(padding: amounts)
    case "ReplicationPad2d": return try ReplicationPad2d(padding: amounts)
    case "ReplicationPad3d": return try ReplicationPad3d(padding: amounts)
    case "CircularPad1d": return try CircularPad1d(padding: amounts)
    case "CircularPad2d": return try CircularPad2d(padding: amounts)
    case "CircularPad3d": return try CircularPad3d(padding: amounts)
    default: return nil
    }
  }

  private static func other(_ kind: String, _ o: GoldenValue, _ dtype: DType) throws -> (any UnaryLayer)? {
    switch kind {
    case "Linear":
      return try Linear(
        inFeatures: o["inFeatures"].int ?? 0, outFeatures: o["outFeatures"].int ?? 0,
        bias: o["bias"].bool ?? true,
        dtype: dtype)
    case "Upsample":
      return try Upsample(
        size: o["size"].ints.map { PerAxis($0) },
        scaleFactor: o["scaleFactor"].array.map { ScaleFactor($0.compactMap(\.double)) },
        mode: .init(rawValue: o["mode"].string ?? "") ?? .nearest, alignCorners: o["alignCorners"].bool,
        recomputeScaleFactor: o["recomputeScaleFactor"].bool)
    case "Dropout": return try Dropout(p: o["p"].double ?? -1)
    case "Flatten": return Flatten(startDim: o["startDim"].int ?? 99, endDim: o["endDim"].int ?? 99)
    case "Unflatten":
      return try Unflatten(dim: o["dim"].int ?? 99, unflattenedSize: o["unflattenedSize"].ints ?? [])
    case "Embedding":
      return try Embedding(
        numEmbeddings: o["numEmbeddings"].int ?? 0, embeddingDim: o["embeddingDim"].int ?? 0,
        paddingIdx: o["paddingIdx"].int)
    case "PixelShuffle": return try PixelShuffle(upscaleFactor: o["upscaleFactor"].int ?? 0)
    case "PixelUnshuffle": return try PixelUnshuffle(downscaleFactor: o["downscaleFactor"].int ?? 0)
    default: return nil
    }
  }
}

/// The max poolings, which have a second result.
protocol IndexPool {
  func withIndices(_ x: Tensor) throws -> (values: Tensor, indices: Tensor)
}
extension MaxPool: IndexPool {}
extension AdaptiveMaxPool: IndexPool {}

/// Calls a transposed convolution with a wanted output size.
protocol SizedLayer {
  func callAsFunction(_ x: Tensor, outputSize: [Int]) throws -> Tensor
}
extension ConvTranspose: SizedLayer {}
