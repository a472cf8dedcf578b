import ToeplitzTensor

/// A number for each window of an input `[N, C, spatial…]`, with any padding, dilation and rank.
///
/// ``MaxPooling`` and ``AveragePooling`` are quicker where their geometry, PyTorch's, is enough.
package struct WindowReduction: TensorOperation {
  package enum Function: Sendable, Hashable {
    /// The largest element; a second output says where it was in the whole input, row-major (or with the last two axes
    /// exchanged).
    case maximum(columnMajor: Bool)
    /// The mean; padding may count.
    case mean(countsPadding: Bool)
    /// The p-th root of the sum of p-th powers.
    case norm(Double)
  }

  package var function: Function
  package var kernel: [Int]
  package var stride: [Int]
  package var dilation: [Int]
  package var low: [Int]
  package var high: [Int]
  package var ceilMode: Bool
  package var name: String

  private func outputSize(_ input: [Int]) throws -> [Int] {
    try input.indices.map { axis in
      let options = [kernel[axis], stride[axis], dilation[axis]]
      try require(
        options.allSatisfy { (1...Int(Int32.max)).contains($0) }
          && [low[axis], high[axis]].allSatisfy { (0...Int(Int32.max)).contains($0) }
          && input[axis] < Int.max / 4,
        .argument, expected: "kernel, stride and dilation of at least 1 and padding of at least 0",
        got: "\(kernel), \(stride), \(dilation), \(low), \(high)")
      let span = input[axis] + low[axis] + high[axis] - (dilation[axis] * (kernel[axis] - 1) + 1)
      try require(
        span >= 0 || (ceilMode && span > -stride[axis]), expected: "at least one window on axis \(axis)",
        got: "\(input[axis]) positions")
      var size = (span + (ceilMode ? stride[axis] - 1 : 0)) / stride[axis] + 1
      // A last window that begins in the high padding does not count.
      if ceilMode, (size - 1) * stride[axis] >= input[axis] + low[axis] { size -= 1 }
      return size
    }
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let shape = inputs[0].shape
    try require(
      inputs[0].dtype.isNumber, .dtype, expected: "numbers", got: "\(inputs[0].dtype)")
    try require(
      shape.rank == kernel.count + 2 && [stride, dilation, low, high].allSatisfy { $0.count == kernel.count },
      expected: "an input of \(kernel.count + 2) dimensions and as many options", got: "shape \(shape)")
    // A window with more positions than this would be mostly padding.
    let positions = kernel.reduce(CheckedSize(1)) { $0 * $1 }.checked ?? .max
    try require(positions <= 1 << 24, .argument, expected: "windows of at most 2²⁴ positions", got: "\(kernel)")
    let result = Shape(shape[..<2] + (try outputSize(Array(shape.dropFirst(2)))))
    _ = try result.elementCount(name)
    if case .maximum = function { return [TensorSpec(result, inputs[0].dtype), TensorSpec(result, .int64)] }
    return [TensorSpec(result, inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let x = call.x
      guard x.dtype.isFloatingPoint, let dy = call.cotangents[0] else { return [nil] }
      let windows = PoolWindows(kernel: kernel, stride: stride, dilation: dilation, low: low)
      switch function {
      case .maximum:
        // Positions are in the whole tensor and row-major: one plane of all elements.
        var own = self
        own.function = .maximum(columnMajor: false)
        let positions = try applyAll(own, [x])[1].reshaped([dy.count])
        let flat = try Tensor.zeros([x.count], dtype: x.dtype)
          .scatteringElements(dy.reshaped([dy.count]), at: positions, reduction: .add)
        return [try flat.reshaped(x.shape)]
      case .mean:
        let sizes = try divisors(x.shape, call.y.shape)
        return [try windows.spread(dy / sizes.cast(to: x.dtype), over: x.shape)]
      case .norm(let p):
        // y is (Σ |x|ᵖ)^(1/p), so its slope is sign(x) |x|^(p−1) / y^(p−1).
        let share = try (dy / call.y.power(p - 1)).masked(by: call.y.notEqual(call.y.number(0)))
        return [try windows.spread(share, over: x.shape) * x.sign() * x.absoluteValue().power(p - 1)]
      }
    }
  }

  /// How many elements of each window count for a mean.
  private func divisors(_ input: Shape, _ output: Shape) throws -> Tensor {
    var result = try Tensor.ones([], dtype: .float64)
    for axis in kernel.indices {
      let (length, count) = (input[axis + 2], output[axis + 2])
      let sizes = (0..<count).map { index in
        (0..<kernel[axis]).count { tap in
          let at = index * stride[axis] - low[axis] + tap * dilation[axis]
          if case .mean(countsPadding: true) = function { return at < length + high[axis] }
          return at >= 0 && at < length
        }
      }
      var shape = [Int](repeating: 1, count: kernel.count)
      shape[axis] = count
      result = try result * Tensor(sizes.map { Double(max($0, 1)) }, shape: Shape(shape), device: .cpu)
    }
    return result
  }

  package func time(_ call: TimeCall) -> TimeRule {
    guard let time = call.axes[0], time != 1 else { return .whole(because: "it treats channels alike") }
    guard time >= 2 else { return .pointwise(axis: time) }
    guard !ceilMode else { return .whole(because: "in ceil mode the length decides about the last window") }
    if case .maximum = function, call.outputs.count > 1 {
      // Positions are counted from the beginning of the whole tensor.
      return .whole(because: "it gives positions in the whole tensor")
    }
    let axis = time - 2
    let window = TimeWindow(
      extent: kernel[axis], stride: stride[axis], dilation: dilation[axis], low: low[axis], high: high[axis])
    return .window(window, axis: time) { before, after in
      var copy = self
      (copy.low[axis], copy.high[axis]) = (before, after)
      return copy
    }
  }
}

/// The windows of a pooling with any padding: one number for each spatial axis.
public struct WindowOptions: Sendable, Hashable {
  /// Positions of a window.
  public var kernel: [Int]
  /// Inputs between neighbouring windows.
  public var stride: [Int]
  /// Inputs between neighbouring positions of a window.
  public var dilation: [Int]
  /// Positions added before.
  public var low: [Int]
  /// Positions added after.
  public var high: [Int]
  /// Whether a last window that hangs over the end counts.
  public var ceilMode: Bool

  /// Windows of the given options.
  public init(kernel: [Int], stride: [Int], dilation: [Int], low: [Int], high: [Int], ceilMode: Bool) {
    self.kernel = kernel
    self.stride = stride
    self.dilation = dilation
    self.low = low
    self.high = high
    self.ceilMode = ceilMode
  }

  /// The same windows in PyTorch's terms, where those are enough.
  func geometry(_ name: String) -> PoolGeometry? {
    guard low == high, (1...3).contains(kernel.count) else { return nil }
    return try? PoolGeometry(
      name: name, rank: kernel.count, kernelSize: PerAxis(kernel), stride: PerAxis(stride), padding: PerAxis(low),
      dilation: PerAxis(dilation), ceilMode: ceilMode)
  }

  func reduction(_ function: WindowReduction.Function, _ name: String) -> WindowReduction {
    WindowReduction(
      function: function, kernel: kernel, stride: stride, dilation: dilation, low: low, high: high, ceilMode: ceilMode,
      name: name)
  }
}

extension Tensor {
  /// The largest element of each window of `[N, C, spatial…]`.
  public func maxPooled(windows: WindowOptions, name: String = "maxPool") throws -> Tensor {
    if let geometry = windows.geometry(name) { return try maxPooled(geometry) }
    return try applyAll(windows.reduction(.maximum(columnMajor: false), name), [self])[0]
  }

  /// The largest element of each window of `[N, C, spatial…]` and where it was in the whole tensor, as int64.
  ///
  /// - Parameter columnMajor: whether positions within a plane count with the first axis fastest.
  public func maxPooledWithPositions(
    windows: WindowOptions, columnMajor: Bool = false, name: String = "maxPool"
  ) throws -> (values: Tensor, positions: Tensor) {
    let results = try applyAll(windows.reduction(.maximum(columnMajor: columnMajor), name), [self])
    return (results[0], results[1])
  }

  /// The mean of each window of `[N, C, spatial…]`.
  public func averagePooled(
    windows: WindowOptions, countIncludePad: Bool, name: String = "averagePool"
  ) throws -> Tensor {
    if windows.dilation.allSatisfy({ $0 == 1 }), dtype.isFloatingPoint, let geometry = windows.geometry(name) {
      return try averagePooled(geometry, countIncludePad: countIncludePad)
    }
    return try apply(windows.reduction(.mean(countsPadding: countIncludePad), name), self)
  }

  /// The p-th root of the sum of the p-th powers of each window of `[N, C, spatial…]`.
  public func normPooled(windows: WindowOptions, p: Double, name: String = "lpPool") throws -> Tensor {
    try apply(windows.reduction(.norm(p), name), self)
  }
}
