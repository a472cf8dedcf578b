import ToeplitzTensor

/// The windows of a pooling: which options are legal and how large an output is.
///
/// Semantics are PyTorch's (`torch.nn.MaxPool1d` … `AvgPool3d`). Axes are ordered `[L]`, `[H, W]`, `[D, H, W]`.
public struct PoolGeometry: Sendable, Hashable {
  /// Name for errors, such as `MaxPool1d`.
  public let name: String
  /// Positions in a window, for each axis.
  public let kernelSize: [Int]
  /// Inputs between neighbouring windows.
  public let stride: [Int]
  /// Positions added before each axis.
  public let paddingLow: [Int]
  /// Positions added after each axis.
  public let paddingHigh: [Int]
  /// Inputs between neighbouring positions of a window.
  public let dilation: [Int]
  /// Whether a last window that hangs over the end counts, if it begins inside the input or the low padding.
  public let ceilMode: Bool

  /// The number of spatial axes.
  public var rank: Int { kernelSize.count }

  /// Checks all options and creates a geometry.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` that names the first option that is not legal.
  public init(
    name: String, rank: Int, kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil,
    padding: any PerAxisConvertible = 0, dilation: any PerAxisConvertible = 1, ceilMode: Bool = false
  ) throws {
    func expand(_ option: any PerAxisConvertible, _ label: String, atLeast least: Int) throws -> [Int] {
      let option = option.perAxis
      let values = option.isUniform ? [Int](repeating: option.values[0], count: rank) : option.values
      guard values.count == rank else {
        throw ToeplitzError(
          .argument, name, expected: "\(label) as one number or \(rank)", got: "\(option.values)")
      }
      // The upper limit keeps extents and offsets within 64 bits.
      guard values.allSatisfy({ (least...Int(Int32.max)).contains($0) }) else {
        throw ToeplitzError(
          .argument, name, expected: "\(label) from \(least) to \(Int32.max)", got: "\(label) \(values)")
      }
      return values
    }
    guard (1...3).contains(rank) else {
      throw ToeplitzError(.argument, name, expected: "1 to 3 spatial axes", got: "\(rank)")
    }
    self.name = name
    self.kernelSize = try expand(kernelSize, "kernelSize", atLeast: 1)
    self.stride = try expand(stride ?? kernelSize, "stride", atLeast: 1)
    paddingLow = try expand(padding, "padding", atLeast: 0)
    paddingHigh = paddingLow
    self.dilation = try expand(dilation, "dilation", atLeast: 1)
    self.ceilMode = ceilMode
    for axis in 0..<rank where paddingLow[axis] > extent(axis) / 2 {
      throw ToeplitzError(
        .argument, name,
        expected: "padding of at most half the window's extent \(extent(axis)) on axis \(axis)",
        got: "\(paddingLow[axis])")
    }
  }

  /// Windows with any padding before and after each axis, as ONNX has them.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if an option is not legal.
  package init(
    name: String, kernelSize: [Int], stride: [Int], dilation: [Int], low: [Int], high: [Int], ceilMode: Bool = false
  ) throws {
    let rank = kernelSize.count
    func refuse(_ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(.argument, name, expected: expected, got: got)
    }
    guard (1...3).contains(rank), [stride, dilation, low, high].allSatisfy({ $0.count == rank }) else {
      throw refuse("1 to 3 spatial axes and as many options", "\(kernelSize), \(stride), \(dilation), \(low), \(high)")
    }
    guard (kernelSize + stride + dilation).allSatisfy({ (1...Int(Int32.max)).contains($0) }),
      (low + high).allSatisfy({ (0...Int(Int32.max)).contains($0) })
    else {
      throw refuse(
        "kernel, stride and dilation of at least 1 and padding of at least 0",
        "\(kernelSize), \(stride), \(dilation), \(low), \(high)")
    }
    // A window with more positions than this would be mostly padding.
    let positions = kernelSize.reduce(CheckedSize(1)) { $0 * $1 }.checked ?? .max
    guard positions <= 1 << 24 else { throw refuse("windows of at most 2²⁴ positions", "\(kernelSize)") }
    (self.name, self.kernelSize, self.stride, self.dilation) = (name, kernelSize, stride, dilation)
    (paddingLow, paddingHigh, self.ceilMode) = (low, high, ceilMode)
  }

  /// The windows along `axis`.
  package func window(_ axis: Int) -> AxisWindow {
    AxisWindow(
      extent: kernelSize[axis], stride: stride[axis], dilation: dilation[axis], low: paddingLow[axis],
      high: paddingHigh[axis])
  }

  /// Inputs that one window spans along `axis`: `dilation × (kernel − 1) + 1`.
  public func extent(_ axis: Int) -> Int { dilation[axis] * (kernelSize[axis] - 1) + 1 }

  /// The spatial size of the output: `floor((L + padding − extent) / stride) + 1`, in ceil mode rounded up unless
  /// the last window would begin in the high padding.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` that names the axis if there is no output.
  public func outputSize(_ inputSize: [Int]) throws -> [Int] {
    guard inputSize.count == rank else {
      throw ToeplitzError(.shape, name, expected: "\(rank) spatial sizes", got: "\(inputSize)")
    }
    return try (0..<rank).map { axis in
      guard let length = outputLength(inputSize[axis], axis: axis) else {
        throw ToeplitzError(
          .shape, name, expected: "at least one window of \(extent(axis)) positions on axis \(axis)",
          got: "\(inputSize[axis]) (padding \(paddingLow[axis]) and \(paddingHigh[axis]))")
      }
      return length
    }
  }

  private func outputLength(_ length: Int, axis: Int) -> Int? {
    guard length > 0, length < Int.max / 4 else { return nil }
    let output = window(axis).count(in: length, ceilMode: ceilMode)
    return output > 0 ? output : nil
  }

  /// The input lengths of `axis` that give an output of `length`; empty if none does.
  public func inputLengths(for length: Int, axis: Int = 0) -> Range<Int> {
    guard length > 0, (0..<rank).contains(axis), length < Int.max / 8 / stride[axis] else { return 0..<0 }
    let most = length * stride[axis] + extent(axis) + 1
    return monotoneInverse(of: length, in: 1..<most) { outputLength($0, axis: axis) ?? 0 }
  }
}

/// The numbers of `range` that the growing function `f` maps to `value`.
package func monotoneInverse(of value: Int, in range: Range<Int>, _ f: (Int) -> Int) -> Range<Int> {
  func first(_ reached: (Int) -> Bool) -> Int {
    var (low, high) = (range.lowerBound, range.upperBound)
    while low < high {
      let middle = low + (high - low) / 2
      if reached(f(middle)) { high = middle } else { low = middle + 1 }
    }
    return low
  }
  let (begin, end) = (first { $0 >= value }, first { $0 > value })
  return begin < end ? begin..<end : 0..<0
}

extension TensorOperation {
  /// The leading axes and spatial sizes of the input of a pooling, whose batch axis may be missing.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` for another number of axes.
  func spatialParts(_ shape: TensorShape, rank: Int) throws -> (leading: [Int], spatial: [Int]) {
    let axes = ["L", "H, W", "D, H, W"][max(0, min(rank - 1, 2))]
    try require(
      shape.rank == rank + 1 || shape.rank == rank + 2,
      expected: "an input of \(rank + 2) dimensions [N, C, \(axes)], or \(rank + 1) without batch",
      got: "shape \(shape)")
    return (Array(shape.dropLast(rank)), Array(shape.suffix(rank)))
  }
}

extension PoolGeometry {
  /// The rule of time of a pooling with these windows; `make` gives the operation for others.
  func time(_ call: TimeCall, padding: Double?, _ make: @escaping @Sendable (PoolGeometry) -> any TensorOperation)
    -> TimeRule
  {
    let shape = call.inputs[0].shape
    guard let time = call.axes[0] else { return .whole(because: "no operand has time") }
    guard time >= shape.rank - rank else { return .pointwise(axis: time) }
    if call.outputs.count > 1 { return .whole(because: "it gives positions in the whole plane or tensor") }
    guard !ceilMode else { return .whole(because: "in ceil mode the length decides about the last window") }
    let axis = time - (shape.rank - rank)
    return .window(window(axis), axis: time, padding: padding) { low, high in
      var (before, after) = (paddingLow, paddingHigh)
      (before[axis], after[axis]) = (low, high)
      return try make(
        PoolGeometry(
          name: name, kernelSize: kernelSize, stride: stride, dilation: dilation, low: before, high: after))
    }
  }
}

extension PoolGeometry {
  /// The adjoint of sums over windows: each window's number added to all of its positions.
  func spread(_ dy: Tensor, over shape: TensorShape) throws -> Tensor {
    let first = shape.rank - rank
    var dx = dy
    // One axis after the other, each a map of that axis alone.
    for axis in 0..<rank {
      let length = shape[first + axis]
      let sums = (0..<dy.shape[first + axis]).map { index in
        (0..<kernelSize[axis]).compactMap { tap -> Resample.Term? in
          let at = index * stride[axis] - paddingLow[axis] + tap * dilation[axis]
          return (0..<length).contains(at) ? Resample.Term(position: at, weight: 1) : nil
        }
      }
      dx = try apply(Resample(axis: first + axis, Resample.Rule.weighted(sums, fill: 0).adjoint(length: length)), dx)
    }
    return dx
  }
}

extension Tensor {
  /// These numbers added up at `positions`, of this shape, in the planes (the last `rank` axes) of a tensor of zeros.
  func scatteredToPlanes(_ positions: Tensor, of shape: TensorShape, rank: Int) throws -> Tensor {
    let plane = shape.suffix(rank).reduce(1, *)
    let planes = shape.dropLast(rank).reduce(1, *)
    let rows = try Tensor.zeros([planes, plane], dtype: dtype)
    let own: TensorShape = [planes, count / Swift.max(planes, 1)]
    return try rows.scatteredElements(reshaped(own), at: positions.reshaped(own), axis: 1, reduction: .add)
      .reshaped(shape)
  }

  /// Rows of indices into the axes after `batch` shared ones, with the coordinates on these put in front.
  func withLeadingCoordinates(_ batch: Int) throws -> Tensor {
    let target = shape.replacing(rank - 1, by: 1)
    let coordinates = try (0..<batch).map { axis in
      var line = [Int](repeating: 1, count: rank)
      line[axis] = shape[axis]
      return try Tensor.range(to: Double(shape[axis]), dtype: dtype).reshaped(TensorShape(line)).expanded(to: target)
    }
    return try Tensor.concatenate(coordinates + [self], axis: rank - 1)
  }
}
