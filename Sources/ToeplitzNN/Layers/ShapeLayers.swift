import ToeplitzOps
import ToeplitzTensor

/// The input unchanged.
open class Identity: ElementwiseLayer, UnaryLayer {
  /// x.
  open func forward(_ x: Tensor) throws -> Tensor { x }
}

/// In training each element is zero with probability p, the others are divided by 1 − p (Srivastava et al., 2014).
///
/// In evaluation the input is unchanged. Inside `withStepRandom` the numbers are those of the step, else the next of the
/// layer's generator.
open class Dropout: ElementwiseLayer, UnaryLayer {
  /// The probability of zero.
  public let p: Double
  private let generator: Generator

  /// Creates a layer.
  ///
  /// - Parameters:
  ///   - p: the probability of zero.
  ///   - generator: source of the random numbers; one with a seed makes training repeatable.
  /// - Throws: ``ToeplitzError`` of kind `argument` if `p` is not in 0…1.
  public init(p: Double = 0.5, generator: Generator? = nil) throws {
    guard (0...1).contains(p) else {
      throw ToeplitzError(.argument, "Dropout", expected: "a probability p in 0...1", got: "\(p)")
    }
    self.p = p
    self.generator = generator ?? Generator()
  }

  override var dependsOnMode: Bool { p > 0 }

  /// The input with elements dropped.
  open func forward(_ x: Tensor) throws -> Tensor {
    guard x.dtype.isFloatingPoint else {
      throw ToeplitzError(.dtype, "Dropout", expected: "floating-point elements", got: "\(x.dtype)")
    }
    guard isTraining, p > 0 else { return x }
    let drawn =
      try StepRandom.current?.uniform(x.shape) ?? generator.uniform(x.shape, from: 0, to: 1, dtype: .float64)
    let kept = try drawn.greaterOrEqual(Tensor.full([], p, dtype: .float64))
    // For p = 1 nothing is kept and the factor does not matter.
    return try x * (kept.cast(to: x.dtype) * (p < 1 ? 1 / (1 - p) : 0))
  }

  /// PyTorch's options; nothing is ever computed in place.
  open override var extraRepr: String { "p=\(p), inplace=False" }
}

/// Neighbouring axes joined into one.
open class Flatten: Module, UnaryLayer {
  /// The first axis to join.
  public let startDim: Int
  /// The last axis to join.
  public let endDim: Int

  /// A layer that joins axes `startDim` to `endDim`, both included; −1 is the last.
  public init(startDim: Int = 1, endDim: Int = -1) {
    self.startDim = startDim
    self.endDim = endDim
  }

  /// The input with the axes joined.
  open func forward(_ x: Tensor) throws -> Tensor { try x.flattened(from: startDim, to: endDim) }
  /// PyTorch's options.
  open override var extraRepr: String { "start_dim=\(startDim), end_dim=\(endDim)" }
}

/// One axis split into several.
open class Unflatten: Module, UnaryLayer {
  /// The axis.
  public let dim: Int
  /// The sizes it is split into; one may be −1 and is worked out.
  public let unflattenedSize: [Int]

  /// Creates a layer.
  ///
  /// - Parameters:
  ///   - dim: the axis; −1 is the last.
  ///   - unflattenedSize: the sizes it is split into; one may be −1 and is worked out.
  /// - Throws: ``ToeplitzError`` of kind `argument` if the sizes are not legal.
  public init(dim: Int, unflattenedSize: [Int]) throws {
    guard !unflattenedSize.isEmpty, unflattenedSize.allSatisfy({ $0 >= -1 }),
      unflattenedSize.filter({ $0 == -1 }).count <= 1
    else {
      throw ToeplitzError(
        .argument, "Unflatten", expected: "sizes of at least 0 and at most one −1", got: "\(unflattenedSize)")
    }
    self.dim = dim
    self.unflattenedSize = unflattenedSize
  }

  /// The input with the axis split.
  open func forward(_ x: Tensor) throws -> Tensor {
    let axis = try x.shape.normalizedAxis(dim, operation: "Unflatten")
    var sizes = unflattenedSize
    let known = try TensorShape(sizes.filter { $0 != -1 }).elementCount("Unflatten")
    if let unknown = sizes.firstIndex(of: -1), known > 0 { sizes[unknown] = x.shape[axis] / known }
    guard !sizes.contains(-1), try TensorShape(sizes).elementCount("Unflatten") == x.shape[axis] else {
      throw ToeplitzError(
        .shape, "Unflatten", expected: "axis \(axis) to have the size of \(TensorShape(unflattenedSize))",
        got: "\(x.shape[axis]) (shape \(x.shape))")
    }
    return try x.reshaped(TensorShape(x.shape[..<axis] + sizes + x.shape[(axis + 1)...]))
  }

  /// PyTorch's options.
  open override var extraRepr: String { "dim=\(dim), unflattened_size=\(PythonText.tuple(unflattenedSize))" }
}

/// Channels rearranged into space: `[…, C r², H, W]` → `[…, C, H r, W r]` (Shi et al., 2016).
open class PixelShuffle: Module, UnaryLayer {
  /// The factor r.
  public let upscaleFactor: Int

  /// Creates a layer.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the factor is below 1.
  public init(upscaleFactor: Int) throws {
    guard (1...Int(Int32.max)).contains(upscaleFactor) else {
      throw ToeplitzError(
        .argument, "PixelShuffle", expected: "an upscaleFactor of at least 1", got: "\(upscaleFactor)")
    }
    self.upscaleFactor = upscaleFactor
  }

  /// The rearranged input.
  open func forward(_ x: Tensor) throws -> Tensor {
    let r = upscaleFactor
    guard x.rank >= 3, x.shape[x.rank - 3] % (r * r) == 0 else {
      throw ToeplitzError(
        .shape, "PixelShuffle", expected: "an input […, C, H, W] with a multiple of \(r * r) channels",
        got: "shape \(x.shape)")
    }
    let lead = Array(x.shape.dropLast(3))
    let (c, h, w) = (x.shape[x.rank - 3] / (r * r), x.shape[x.rank - 2], x.shape[x.rank - 1])
    let n = lead.count
    return try x.reshaped(TensorShape(lead + [c, r, r, h, w]))
      .permuted(Array(0..<n) + [n, n + 3, n + 1, n + 4, n + 2])
      .reshaped(TensorShape(lead + [c, h * r, w * r]))
  }

  /// Each size times the factor.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] {
    try inputSize.map { size in
      let (product, overflow) = size.multipliedReportingOverflow(by: upscaleFactor)
      guard !overflow else {
        throw ToeplitzError(.shape, "PixelShuffle", expected: "a size that fits 64 bits", got: "\(size)")
      }
      return product
    }
  }
  /// The length divided by the factor.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    length % upscaleFactor == 0 ? singleLength(length / upscaleFactor) : 0..<0
  }
  /// PyTorch's options.
  open override var extraRepr: String { "upscale_factor=\(upscaleFactor)" }
}

/// Space rearranged into channels: `[…, C, H r, W r]` → `[…, C r², H, W]`, the inverse of ``PixelShuffle``.
open class PixelUnshuffle: Module, UnaryLayer {
  /// The factor r.
  public let downscaleFactor: Int

  /// Creates a layer.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the factor is below 1.
  public init(downscaleFactor: Int) throws {
    guard (1...Int(Int32.max)).contains(downscaleFactor) else {
      throw ToeplitzError(
        .argument, "PixelUnshuffle", expected: "a downscaleFactor of at least 1", got: "\(downscaleFactor)")
    }
    self.downscaleFactor = downscaleFactor
  }

  /// The rearranged input.
  open func forward(_ x: Tensor) throws -> Tensor {
    guard x.rank >= 3 else {
      throw ToeplitzError(
        .shape, "PixelUnshuffle", expected: "an input […, C, H, W]", got: "shape \(x.shape)")
    }
    let r = downscaleFactor
    let size = try outputSize(for: Array(x.shape.suffix(2)))
    let lead = Array(x.shape.dropLast(3))
    let c = x.shape[x.rank - 3]
    let n = lead.count
    return try x.reshaped(TensorShape(lead + [c, size[0], r, size[1], r]))
      .permuted(Array(0..<n) + [n, n + 2, n + 4, n + 1, n + 3])
      .reshaped(TensorShape(lead + [c * r * r] + size))
  }

  /// Each size divided by the factor.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` that names the axis if one is not a multiple of the factor.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] {
    try inputSize.enumerated().map { axis, size in
      guard size % downscaleFactor == 0 else {
        throw ToeplitzError(
          .shape, "PixelUnshuffle", expected: "a multiple of \(downscaleFactor) on spatial axis \(axis)",
          got: "\(size)")
      }
      return size / downscaleFactor
    }
  }
  /// The length times the factor.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    let (product, overflow) = length.multipliedReportingOverflow(by: downscaleFactor)
    return overflow ? 0..<0 : singleLength(product)
  }
  /// PyTorch's options.
  open override var extraRepr: String { "downscale_factor=\(downscaleFactor)" }
}
