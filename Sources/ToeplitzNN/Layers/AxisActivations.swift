import ToeplitzOps
import ToeplitzTensor

/// Exponentials along one axis divided by their sum.
open class Softmax: ElementwiseLayer, UnaryLayer {
  /// The axis.
  public let dim: Int

  /// A layer over axis `dim`; −1 is the last.
  public init(dim: Int) { self.dim = dim }

  /// The softmax along the axis.
  open func forward(_ x: Tensor) throws -> Tensor { try x.softmax(axis: dim) }
  /// The axis.
  open override var extraRepr: String { "dim=\(dim)" }
}

/// The logarithm of the softmax along one axis.
open class LogSoftmax: ElementwiseLayer, UnaryLayer {
  /// The axis.
  public let dim: Int

  /// A layer over axis `dim`; −1 is the last.
  public init(dim: Int) { self.dim = dim }

  /// The logarithm of the softmax along the axis.
  open func forward(_ x: Tensor) throws -> Tensor { try x.logSoftmax(axis: dim) }
  /// The axis.
  open override var extraRepr: String { "dim=\(dim)" }
}

/// The first half of an axis times the sigmoid of the second (Dauphin et al., 2017).
open class GLU: Module, UnaryLayer {
  /// The axis.
  public let dim: Int

  /// A layer over axis `dim`; −1 is the last.
  public init(dim: Int = -1) { self.dim = dim }

  /// The first half times the sigmoid of the second.
  open func forward(_ x: Tensor) throws -> Tensor { try x.glu(axis: dim) }

  /// The same size where the channels of `[N, C, …]` are halved; other axes depend on the input's rank.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] {
    dim == 1 ? inputSize : try super.outputSize(for: inputSize)
  }
  /// The same length where the channels of `[N, C, …]` are halved.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    dim == 1 ? singleLength(length) : super.inputLengths(for: length, axis: axis)
  }
  /// The axis.
  open override var extraRepr: String { "dim=\(dim)" }
}

/// x + sin²(αx) / (α + 1e-9) with a trained α for each channel (Ziyin et al., 2020).
///
/// Input `[N, C, …]`. The two forms of α are those of common audio models: `[1, C, 1]` as in the Descript audio codec
/// (Kumar et al., 2023), or, with `logScale`, its logarithm `[C]` as in BigVGAN (Lee et al., 2022).
open class Snake: ElementwiseLayer, UnaryLayer {
  /// α, or its logarithm.
  public let alpha: Parameter
  /// Whether ``alpha`` holds the logarithm.
  public let logScale: Bool

  /// Creates a layer with α = 1.
  ///
  /// - Parameters:
  ///   - channels: channels of the input.
  ///   - logScale: whether the logarithm of α is trained.
  ///   - dtype: element type of α, and so of input and output.
  ///   - device: where α lives.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(channels: Int, logScale: Bool = false, dtype: DType = .float32, device: Device = .cpu) throws {
    guard channels > 0 else {
      throw ToeplitzError(.argument, "Snake", expected: "channels of at least 1", got: "\(channels)")
    }
    guard dtype.isFloatingPoint else {
      throw ToeplitzError(.dtype, "Snake", expected: "a floating-point type", got: "\(dtype)")
    }
    self.logScale = logScale
    alpha = Parameter(
      try Tensor.full(
        logScale ? [channels] : [1, channels, 1], logScale ? 0 : 1, dtype: dtype, device: device))
  }

  /// x + sin²(αx) / (α + 1e-9).
  open func forward(_ x: Tensor) throws -> Tensor { try x.snake(alpha: alpha.value, isLogarithm: logScale) }
  /// Channels and form.
  open override var extraRepr: String { "\(alpha.value.count), log_scale=\(PythonText.bool(logScale))" }
}
