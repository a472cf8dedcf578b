import ToeplitzOps
import ToeplitzTensor

/// A weight that is divided by an estimate of its largest singular value (Miyato et al., *Spectral Normalization for Generative
/// Adversarial Networks*, 2018).
///
/// The weight is seen as a matrix whose rows are those of one axis. Each call in training multiplies the estimates of its first
/// singular vectors by the matrix once more (power iteration); gradients do not flow through that.
final class SpectralParts {
  /// What is divided.
  let original: Parameter
  /// The left singular vector, `[rows]`.
  let u: Parameter
  /// The right singular vector, `[elements / rows]`.
  let v: Parameter
  /// The axis of the rows.
  let axis: Int
  /// How often the vectors are multiplied in a call.
  let iterations: Int
  /// Whether names and order are those of `torch.nn.utils.parametrizations` instead of `torch.nn.utils`.
  let isParametrized: Bool
  /// What keeps a norm from zero: PyTorch's standard.
  private static let eps = 1e-12

  init(
    _ weight: Tensor, axis: Int, iterations: Int = 1, isParametrized: Bool = false, generator: Generator
  ) throws {
    (self.axis, self.iterations, self.isParametrized) = (axis, iterations, isParametrized)
    original = Parameter(weight)
    let rows = weight.shape[axis]
    func direction(_ count: Int) throws -> Parameter {
      Parameter(
        try Self.normalized(generator.normal([count, 1], dtype: weight.dtype)).reshaped([count]), isBuffer: true)
    }
    (u, v) = (try direction(rows), try direction(weight.count / max(1, rows)))
  }

  private static func normalized(_ vector: Tensor) throws -> Tensor {
    try vector / (vector * vector).sum().sqrt().clip(from: eps)
  }

  /// The original as a matrix.
  private func matrix() throws -> Tensor {
    let value = original.value
    let order = [axis] + value.shape.indices.filter { $0 != axis }
    let rows = value.shape[axis]
    return try value.permuted(order).reshaped([rows, value.count / max(1, rows)])
  }

  /// Multiplies the estimates by the matrix once more.
  func iterate() throws {
    let matrix = try matrix().stopGradient()
    var (left, right) = (try column(u), try column(v))
    for _ in 0..<iterations {
      // The two of PyTorch begin at different ends.
      if isParametrized {
        left = try Self.normalized(matrix.matmul(right))
        right = try Self.normalized(matrix.transposed(0, 1).matmul(left))
      } else {
        right = try Self.normalized(matrix.transposed(0, 1).matmul(left))
        left = try Self.normalized(matrix.matmul(right))
      }
    }
    u.value = try left.reshaped(u.value.shape)
    v.value = try right.reshaped(v.value.shape)
  }

  private func column(_ parameter: Parameter) throws -> Tensor {
    try parameter.value.reshaped([parameter.value.count, 1]).stopGradient()
  }

  /// The original divided by the largest singular value as the vectors have it.
  func weight() throws -> Tensor {
    try original.value / (column(u) * matrix().matmul(column(v))).sum()
  }

  /// Parameter and buffers with their names, given the weight's.
  func named(_ name: String) -> [(key: String, parameter: Parameter)] {
    let names = Self.spellings(name)
    let index = isParametrized ? 1 : 0
    return [(names.original[index], original), (names.u[index], u), (names.v[index], v)]
  }

  /// The names of the parts in PyTorch's two spellings, the older one first.
  static func spellings(_ name: String) -> (original: [String], u: [String], v: [String]) {
    (
      [name + "_orig", parametrized(name, "original")], [name + "_u", parametrized(name, "0._u")],
      [name + "_v", parametrized(name, "0._v")]
    )
  }
}

/// The name of a part of a parameter that has a parametrisation, which stands beside the parameter: `conv.weight` has
/// `conv.parametrizations.weight.original`.
func parametrized(_ name: String, _ part: String) -> String {
  let last = name.split(separator: ".").last.map(String.init) ?? name
  return "\(name.dropLast(last.count))parametrizations.\(last).\(part)"
}

extension LayerWeight {
  /// Divides the weight by its largest singular value from now on.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if there is no such axis or no iteration, or the weight is held as parts.
  func normalizeSpectrum(axis: Int, iterations: Int, isParametrized: Bool, generator: Generator) throws {
    guard case .plain(let parameter) = form, iterations >= 1, parameter.value.dtype.isFloatingPoint else {
      throw ToeplitzError(
        .argument, "spectralNorm", expected: "a floating-point weight held as it is, and at least 1 iteration",
        got: "\(self.spec)\(isComposed ? " held as parts" : ""), \(iterations) iterations")
    }
    let axis = try parameter.value.shape.normalizedAxis(axis, operation: "spectralNorm")
    form = .spectral(
      try SpectralParts(
        parameter.value, axis: axis, iterations: iterations, isParametrized: isParametrized, generator: generator))
    forgetProduct()
  }
}

extension WeightedLayer {
  /// The axis of the weight that the output channels are on, before they are divided into groups.
  var rowAxis: Int { (self as? ConvolutionLayer)?.geometry.isTransposed ?? false ? 1 : 0 }

  /// Divides the weight by its largest singular value from now on (`torch.nn.utils.spectral_norm`).
  ///
  /// In training each call estimates the value anew, from buffers `weight_u` and `weight_v` that a checkpoint holds.
  ///
  /// - Parameters:
  ///   - dim: the axis of the weight whose positions are the matrix's rows; nil for that of the output channels, PyTorch's
  ///     standard.
  ///   - iterations: how often the estimates are improved in a call (`n_power_iterations`).
  ///   - parametrized: whether names and order of steps are those of `torch.nn.utils.parametrizations.spectral_norm`.
  ///   - generator: source of the first estimates.
  /// - Returns: This layer.
  /// - Throws: ``ToeplitzError`` of kind `argument` if there is no such axis, or the weight has a norm already.
  @discardableResult
  public func spectralNorm(
    dim: Int? = nil, iterations: Int = 1, parametrized: Bool = false, generator: Generator = Generator()
  ) throws -> Self {
    try weight.normalizeSpectrum(
      axis: dim ?? rowAxis, iterations: iterations, isParametrized: parametrized, generator: generator)
    return self
  }

  /// Divides the weight a last time and holds it as it is from now on.
  @discardableResult
  public func removeSpectralNorm() throws -> Self {
    if weight.isSpectral { try weight.removeNormalization() }
    return self
  }
}
