extension Tensor {
  // Disfavoured, or it would make float64 of the literal `[1.5, 2]`.
  /// A tensor of the given elements in row-major order; without a shape, a vector.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if the shape does not have as many elements.
  @_disfavoredOverload
  public init<T: TensorScalar>(_ scalars: [T], shape: TensorShape? = nil, device: Device = .cpu) throws {
    try device.requirePresent("Tensor")
    let shape = shape ?? [scalars.count]
    guard try shape.elementCount("Tensor") == scalars.count else {
      throw ToeplitzError(
        .shape, "Tensor", expected: "as many elements as shape \(shape) has", got: "\(scalars.count) elements")
    }
    try self.init(uninitialized: shape, dtype: T.dtype, operation: "Tensor")
    scalars.withUnsafeBufferPointer { source in
      if let first = source.baseAddress { pointer(T.self).update(from: first, count: source.count) }
    }
  }

  /// A float32 tensor of the given elements.
  public init(_ scalars: [Float], shape: TensorShape? = nil) throws {
    try self.init(scalars, shape: shape, device: .cpu)
  }

  /// A tensor without dimensions that holds one element.
  public init<T: TensorScalar>(scalar: T) throws {
    try self.init([scalar], shape: [])
  }

  /// A tensor whose elements all are `value`, converted to the element type.
  public static func full(
    _ shape: TensorShape, _ value: Double, dtype: DType = .float32, device: Device = .cpu
  ) throws -> Tensor {
    try device.requirePresent("full")
    let result = try Tensor(uninitialized: shape, dtype: dtype, operation: "full")
    func fill<T: TensorScalar>(_ type: T.Type) {
      result.pointer(T.self).update(repeating: T(converting: value), count: result.count)
    }
    if dtype == .float32 { fill(Float.self) } else { fill(dtype.scalarType) }
    return result
  }

  /// A tensor of zeros.
  public static func zeros(_ shape: TensorShape, dtype: DType = .float32, device: Device = .cpu) throws -> Tensor {
    try full(shape, 0, dtype: dtype, device: device)
  }

  /// A tensor of ones.
  public static func ones(_ shape: TensorShape, dtype: DType = .float32, device: Device = .cpu) throws -> Tensor {
    try full(shape, 1, dtype: dtype, device: device)
  }

  /// A tensor of zeros with the shape and element type of another.
  public static func zeros(like other: Tensor) throws -> Tensor { try zeros(other.shape, dtype: other.dtype) }

  /// A tensor of ones with the shape and element type of another.
  public static func ones(like other: Tensor) throws -> Tensor { try ones(other.shape, dtype: other.dtype) }

  /// The numbers `start`, `start + step`, … below `end` (above it for a negative step), as `torch.arange`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if `step` is zero or points away from `end`.
  public static func range(
    from start: Double = 0, to end: Double, by step: Double = 1, dtype: DType = .float32
  ) throws -> Tensor {
    let steps = ((end - start) / step).rounded(.up)
    guard step != 0, steps >= 0, steps <= Double(1 << 53) else {
      throw ToeplitzError(
        .argument, "range", expected: "a step that leads from \(start) to \(end)", got: "step \(step)")
    }
    let result = try Tensor(uninitialized: [Int(steps)], dtype: dtype, operation: "range")
    func fill<T: TensorScalar>(_ type: T.Type) {
      let elements = result.pointer(T.self)
      for index in 0..<result.count { elements[index] = T(converting: start + Double(index) * step) }
    }
    fill(dtype.scalarType)
    return result
  }

  /// `count` numbers from `start` to `end`, which belongs to them, evenly spaced, as `numpy.linspace`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if `count` is below 0.
  public static func linspace(
    _ start: Double, _ end: Double, _ count: Int, dtype: DType = .float32
  ) throws -> Tensor {
    guard count >= 0 else {
      throw ToeplitzError(.argument, "linspace", expected: "a count of at least 0", got: "\(count)")
    }
    let result = try Tensor(uninitialized: [count], dtype: dtype, operation: "linspace")
    let step = (end - start) / Double(Swift.max(count - 1, 1))
    func fill<T: TensorScalar>(_ type: T.Type) {
      let elements = result.pointer(T.self)
      for index in 0..<count {
        // The last number is the end, not a sum that was rounded.
        elements[index] = T(converting: index > 0 && index == count - 1 ? end : start + Double(index) * step)
      }
    }
    fill(dtype.scalarType)
    return result
  }

  /// The identity matrix `[size, size]`, as `numpy.eye`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if the size is below 0.
  public static func eye(_ size: Int, dtype: DType = .float32) throws -> Tensor {
    let result = try zeros([size, size], dtype: dtype)
    func fill<T: TensorScalar>(_ type: T.Type) {
      let elements = result.pointer(T.self)
      for index in 0..<size { elements[index * (size + 1)] = T(converting: 1) }
    }
    fill(dtype.scalarType)
    return result
  }

  /// Numbers drawn from the normal distribution, the same for the same state of `random`.
  public static func randomNormal(
    _ shape: TensorShape, mean: Double = 0, standardDeviation: Double = 1, dtype: DType = .float32,
    using random: inout RandomSource
  ) throws -> Tensor {
    try generate(shape, dtype, "randomNormal") { random.nextNormal() * standardDeviation + mean }
  }

  /// Numbers drawn from the normal distribution, others in each call (`torch.randn`).
  public static func randomNormal(
    _ shape: TensorShape, mean: Double = 0, standardDeviation: Double = 1, dtype: DType = .float32
  ) throws -> Tensor {
    var random = RandomSource()
    return try randomNormal(shape, mean: mean, standardDeviation: standardDeviation, dtype: dtype, using: &random)
  }

  /// Numbers drawn evenly from `low..<high`, others in each call (`torch.rand`).
  public static func randomUniform(
    _ shape: TensorShape, from low: Double = 0, to high: Double = 1, dtype: DType = .float32
  ) throws -> Tensor {
    var random = RandomSource()
    return try randomUniform(shape, from: low, to: high, dtype: dtype, using: &random)
  }

  /// Numbers drawn evenly from `low..<high`, the same for the same state of `random`.
  public static func randomUniform(
    _ shape: TensorShape, from low: Double = 0, to high: Double = 1, dtype: DType = .float32,
    using random: inout RandomSource
  ) throws -> Tensor {
    try generate(shape, dtype, "randomUniform") { low + (high - low) * random.nextUnit() }
  }

  @inline(__always)
  private static func generate(
    _ shape: TensorShape, _ dtype: DType, _ operation: String, _ next: () -> Double
  ) throws -> Tensor {
    let result = try Tensor(uninitialized: shape, dtype: dtype, operation: operation)
    func fill<T: TensorScalar>(_ type: T.Type) {
      let elements = result.pointer(T.self)
      for index in 0..<result.count { elements[index] = T(converting: next()) }
    }
    // Spelt out for the usual type, so that it is compiled for it.
    if dtype == .float32 { fill(Float.self) } else { fill(dtype.scalarType) }
    return result
  }
}
