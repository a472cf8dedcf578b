import ToeplitzTensor

/// Functions made of a few additions and comparisons, which the compiler vectorises without a kernel.
struct Piecewise: Operation {
  enum Function: Sendable {
    case clamp(low: Double, high: Double)
    case negate, magnitude, hardswish, hardsigmoid, softsign
  }

  var function: Function
  var name: String

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    try require(
      inputs[0].dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(inputs[0].dtype)")
    return inputs
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].contiguous()
    switch x.dtype {
    case .float32: return [try compute(x, Float.self)]
    case .float64: return [try compute(x, Double.self)]
    default: return [try apply(self, x.cast(to: .float32)).cast(to: x.dtype)]
    }
  }

  private func compute<T: BinaryFloatingPoint & TensorScalar>(_ x: Tensor, _ type: T.Type) throws -> Tensor {
    switch function {
    case .clamp(let low, let high):
      let (low, high) = (T(low), T(high))
      // NaN is neither below nor above and stays.
      return try map(x, type) { $0 < low ? low : $0 > high ? high : $0 }
    case .negate: return try map(x, type) { -$0 }
    case .magnitude: return try map(x, type) { $0.magnitude }
    case .hardswish: return try map(x, type) { $0 <= -3 ? 0 : $0 >= 3 ? $0 : $0 * ($0 + 3) / 6 }
    case .hardsigmoid: return try map(x, type) { $0 <= -3 ? 0 : $0 >= 3 ? 1 : ($0 + 3) / 6 }
    case .softsign: return try map(x, type) { $0 / (1 + $0.magnitude) }
    }
  }

  @inline(__always)
  private func map<T: BinaryFloatingPoint & TensorScalar>(_ x: Tensor, _ type: T.Type, _ f: (T) -> T) throws
    -> Tensor
  {
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    withoutActuallyEscaping(f) { f in
      ThreadPool.shared.runRows(x.count, width: 1) { range in
        for i in range { target[i] = f(source[i]) }
      }
    }
    withExtendedLifetime((x, y)) {}
    return y
  }
}

extension Tensor {
  /// Each element kept within `low...high`; NaN stays.
  public func clamped(from low: Double = -.infinity, to high: Double = .infinity) throws -> Tensor {
    try apply(Piecewise(function: .clamp(low: low, high: high), name: "clamp"), self)
  }
  /// x / (1 + |x|).
  public func softsign() throws -> Tensor {
    try apply(Piecewise(function: .softsign, name: "Softsign"), self)
  }
  /// x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).
  public func hardswish() throws -> Tensor {
    try apply(Piecewise(function: .hardswish, name: "Hardswish"), self)
  }
  /// min(max(x + 3, 0), 6) / 6.
  public func hardsigmoid() throws -> Tensor {
    try apply(Piecewise(function: .hardsigmoid, name: "Hardsigmoid"), self)
  }
  /// The first half of `axis` times the sigmoid of the second (Dauphin et al., 2017).
  ///
  /// - Throws: ``ToeplitzError`` if the axis does not exist or its size is odd.
  public func glu(axis: Int = -1) throws -> Tensor {
    let axis = try shape.normalizedAxis(axis, operation: "GLU")
    let half = shape[axis] / 2
    guard shape[axis] % 2 == 0 else {
      throw ToeplitzError(
        .shape, "GLU", expected: "an even size on axis \(axis)", got: "\(shape[axis]) (shape \(shape))")
    }
    return try slice(axis: axis, 0..<half) * slice(axis: axis, half..<2 * half).sigmoid()
  }
}
