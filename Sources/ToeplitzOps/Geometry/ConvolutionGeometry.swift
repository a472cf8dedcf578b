import ToeplitzTensor

/// Everything about a convolution or transposed convolution but its numbers: the one place that knows which
/// options are legal and how large an output is.
///
/// A convolution multiplies by a Toeplitz matrix, a transposed convolution by the transpose of one; both are
/// described by the same fields. Rank 1 to 3; axes are ordered `[L]`, `[H, W]`, `[D, H, W]`. Semantics are
/// PyTorch's (`torch.nn.Conv1d` … `ConvTranspose3d`).
///
/// Immutable; copies share it.
public final class ConvolutionGeometry: Sendable, Hashable {
  /// Name for errors, such as `ConvTranspose1d`.
  public let name: String
  /// Whether this is the transposed convolution.
  public let isTransposed: Bool
  /// Channels of the input.
  public let inChannels: Int
  /// Channels of the output.
  public let outChannels: Int
  /// Into how many independent parts the channels are divided.
  public let groups: Int
  /// Taps along each axis.
  public let kernelSize: [Int]
  /// Step between outputs (convolution) or between inputs (transposed), for each axis.
  public let stride: [Int]
  /// Distance of taps, for each axis.
  public let dilation: [Int]
  /// The padding as asked for.
  public let padding: Padding
  /// Positions added (convolution) or cropped (transposed) before each axis; negative where `.causal` or `.same`
  /// of a kernel shorter than its stride skip or add positions.
  public let paddingLow: [Int]
  /// The same after each axis.
  public let paddingHigh: [Int]
  /// What the padding holds.
  public let paddingMode: PaddingMode
  /// Positions added to the end of a transposed convolution's output, for each axis.
  public let outputPadding: [Int]
  /// The number of spatial axes.
  public let rank: Int
  /// The shape of the weight in PyTorch's order: `[out, in / groups, k…]`, transposed `[in, out / groups, k…]`.
  public let weightShape: TensorShape

  /// Checks all options and creates a geometry.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` that names the first option that is not legal.
  public convenience init(
    rank: Int, isTransposed: Bool = false, inChannels: Int, outChannels: Int, kernelSize: any PerAxisConvertible,
    stride: any PerAxisConvertible = 1, padding: any PaddingConvertible = 0, outputPadding: any PerAxisConvertible = 0,
    dilation: any PerAxisConvertible = 1, groups: Int = 1, paddingMode: PaddingMode = .zeros
  ) throws {
    try self.init(
      rank: rank, isTransposed: isTransposed, inChannels: inChannels, outChannels: outChannels,
      kernelSize: kernelSize.perAxis, stride: stride.perAxis, padding: padding.asPadding,
      outputPadding: outputPadding.perAxis, dilation: dilation.perAxis, groups: groups, paddingMode: paddingMode,
      leastPadding: 0)
  }

  /// - Parameter leastPadding: the least padding that is legal; below zero for adjoints and pieces of a stream, where
  ///   negative padding skips inputs (transposed: adds positions to the output).
  private init(
    rank: Int, isTransposed: Bool, inChannels: Int, outChannels: Int, kernelSize: PerAxis, stride: PerAxis,
    padding: Padding, outputPadding: PerAxis, dilation: PerAxis, groups: Int, paddingMode: PaddingMode,
    leastPadding: Int
  ) throws {
    let name = "Conv\(isTransposed ? "Transpose" : "")\(rank)d"
    let rules = GeometryRules(name: name, rank: rank, isTransposed: isTransposed, leastPadding: leastPadding)
    self.name = name
    self.rank = rank
    self.isTransposed = isTransposed
    self.inChannels = inChannels
    self.outChannels = outChannels
    self.groups = groups
    self.padding = padding
    self.paddingMode = paddingMode
    try rules.checkChannels(inChannels, outChannels, groups)
    self.kernelSize = try rules.expand(kernelSize, "kernelSize", atLeast: 1)
    self.stride = try rules.expand(stride, "stride", atLeast: 1)
    self.dilation = try rules.expand(dilation, "dilation", atLeast: 1)
    self.outputPadding = try rules.expand(outputPadding, "outputPadding", atLeast: 0)
    try rules.checkOutputPadding(self.outputPadding, stride: self.stride, dilation: self.dilation)
    try rules.checkMode(paddingMode)
    let extents = try rules.extents(kernel: self.kernelSize, dilation: self.dilation)
    let pads = try rules.resolve(padding, extents: extents, stride: self.stride)
    paddingLow = pads.map(\.low)
    paddingHigh = pads.map(\.high)
    weightShape = TensorShape(
      (isTransposed ? [inChannels, outChannels / groups] : [outChannels, inChannels / groups]) + self.kernelSize)
  }

  /// Whether both describe the same convolution.
  public static func == (one: ConvolutionGeometry, other: ConvolutionGeometry) -> Bool {
    one === other
      || one.isTransposed == other.isTransposed && one.inChannels == other.inChannels
        && one.outChannels == other.outChannels && one.groups == other.groups && one.kernelSize == other.kernelSize
        && one.stride == other.stride && one.dilation == other.dilation && one.padding == other.padding
        && one.paddingMode == other.paddingMode && one.outputPadding == other.outputPadding
  }

  /// Feeds what ``==(_:_:)`` compares, but for what rarely differs.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(isTransposed)
    hasher.combine(inChannels)
    hasher.combine(outChannels)
    hasher.combine(groups)
    hasher.combine(kernelSize)
    hasher.combine(stride)
  }

  /// The same convolution with other paddings on one axis, which may be negative; of a transposed one negative padding
  /// after the axis becomes output padding as far as that may be.
  package func padded(axis: Int, _ low: Int, _ high: Int, mode: PaddingMode? = nil) throws -> ConvolutionGeometry {
    var pads = Array(zip(paddingLow, paddingHigh).map { (low: $0, high: $1) })
    var outputPadding = outputPadding
    pads[axis] = (low, high)
    if isTransposed { outputPadding[axis] = 0 }
    return try ConvolutionGeometry(
      rank: rank, isTransposed: isTransposed, inChannels: inChannels, outChannels: outChannels,
      kernelSize: PerAxis(kernelSize), stride: PerAxis(stride), padding: .asymmetric(pads),
      outputPadding: PerAxis(outputPadding), dilation: PerAxis(dilation), groups: groups,
      paddingMode: mode ?? paddingMode, leastPadding: -Int.max / 4)
  }

  /// The adjoint with the same weight: the transposed convolution of a convolution, and the other way round.
  ///
  /// - Parameters:
  ///   - inputSize: the spatial size of this one's input, which is what the adjoint of a convolution gives.
  ///   - paddingMode: that of the adjoint; reflected and replicated padding is no part of it.
  package func adjoint(inputSize: [Int]) throws -> ConvolutionGeometry {
    let output = try outputSize(inputSize)
    var pads = Array(zip(paddingLow, paddingHigh).map { (low: $0, high: $1) })
    var extra = [Int](repeating: 0, count: rank)
    for axis in 0..<rank {
      if isTransposed {
        // Output padding is more of the high end, which the adjoint does not read.
        pads[axis].high -= outputPadding[axis]
      } else {
        extra[axis] =
          inputSize[axis] - ((output[axis] - 1) * stride[axis] + extent(axis) - pads[axis].low - pads[axis].high)
      }
    }
    return try ConvolutionGeometry(
      rank: rank, isTransposed: !isTransposed, inChannels: outChannels, outChannels: inChannels,
      kernelSize: PerAxis(kernelSize), stride: PerAxis(stride), padding: .asymmetric(pads),
      outputPadding: PerAxis(extra), dilation: PerAxis(dilation), groups: groups,
      paddingMode: paddingMode == .circular ? .circular : .zeros, leastPadding: -Int.max / 4)
  }

  /// Inputs (outputs, transposed) that one window spans along `axis`: `dilation × (kernel − 1) + 1`.
  public func extent(_ axis: Int) -> Int { dilation[axis] * (kernelSize[axis] - 1) + 1 }

  /// Multiply-adds for one sample of the given input size.
  public func multiplyAdds(inputSize: [Int]) throws -> Int {
    // Also refuses a wrong number of sizes.
    let output = try outputSize(inputSize)
    let positions = isTransposed ? inputSize : output
    var count = CheckedSize(inChannels) * (outChannels / groups)
    for axis in 0..<rank { count = count * kernelSize[axis] * positions[axis] }
    return try count.get(name, "input size \(inputSize)")
  }
}

/// The rules for options, separate from the values they make.
private struct GeometryRules {
  let name: String
  let rank: Int
  let isTransposed: Bool
  let leastPadding: Int

  func refuse(_ expected: String, _ got: String) -> ToeplitzError {
    ToeplitzError(.argument, name, expected: expected, got: got)
  }

  func checkChannels(_ inChannels: Int, _ outChannels: Int, _ groups: Int) throws {
    guard (1...3).contains(rank) else { throw refuse("1 to 3 spatial axes", "\(rank)") }
    guard groups > 0 else { throw refuse("groups of at least 1", "groups \(groups)") }
    for (label, channels) in [("inChannels", inChannels), ("outChannels", outChannels)] {
      guard channels > 0 else { throw refuse("\(label) of at least 1", "\(channels)") }
      guard channels % groups == 0 else {
        throw refuse("\(label) to be a multiple of groups \(groups)", "\(label) \(channels)")
      }
    }
  }

  func expand(_ option: PerAxis, _ label: String, atLeast least: Int) throws -> [Int] {
    guard option.values.count == (option.isUniform ? 1 : rank) else {
      throw refuse(
        "\(label) as one number or \(rank), one for each spatial axis",
        "\(option.values)" + equivalent(option.values, neutral: least))
    }
    let values = option.isUniform ? [Int](repeating: option.values[0], count: rank) : option.values
    guard values.allSatisfy({ $0 >= least }) else {
      throw refuse(
        "\(label) of at least \(least)", "\(label) \(values.map(String.init).joined(separator: ", "))")
    }
    return values
  }

  /// What to write instead of numbers for two axes of which the first, as in the rank-extended options of Modular MAX's
  /// one-dimensional layers, is there for the form.
  private func equivalent(_ values: [Int], neutral: Int) -> String {
    let own = [values.count - rank, values.count - 2 * rank].first { extra in
      extra > 0 && values.prefix(extra).allSatisfy { $0 == neutral }
    }
    guard let own else { return "" }
    let rest = values.dropFirst(own)
    return rest.count == 1 ? "; write \(rest[own])" : "; write \(Array(rest))"
  }

  func checkOutputPadding(_ values: [Int], stride: [Int], dilation: [Int]) throws {
    for axis in 0..<rank where values[axis] > 0 {
      guard isTransposed else { throw refuse("no outputPadding in a convolution", "\(values)") }
      let limit = max(stride[axis], dilation[axis])
      guard values[axis] < limit else {
        throw refuse(
          "outputPadding smaller than stride or dilation (below \(limit)) on axis \(axis)", "\(values[axis])")
      }
    }
  }

  func checkMode(_ mode: PaddingMode) throws {
    guard isTransposed, mode == .reflect || mode == .replicate else { return }
    throw refuse("paddingMode zeros or circular in a transposed convolution", "\(mode)")
  }

  func extents(kernel: [Int], dilation: [Int]) throws -> [Int] {
    try (0..<rank).map { axis in
      try (CheckedSize(kernel[axis] - 1) * dilation[axis] + 1).get(
        name, "kernelSize \(kernel[axis]) with dilation \(dilation[axis])")
    }
  }

  func resolve(_ padding: Padding, extents: [Int], stride: [Int]) throws -> [(low: Int, high: Int)] {
    let pairs: [(low: Int, high: Int)]
    switch padding {
    case .uniform(let value): pairs = Array(repeating: (value, value), count: rank)
    case .symmetric(let values) where values.count == 2 * rank:
      pairs = (0..<rank).map { (values[2 * $0], values[2 * $0 + 1]) }
    case .symmetric(let values):
      guard values.count == rank else {
        throw refuse(
          "padding as one number, \(rank) (one for each spatial axis) or \(2 * rank) (before and after each axis)",
          "\(values)" + equivalent(values, neutral: 0))
      }
      pairs = values.map { ($0, $0) }
    case .asymmetric(let values): pairs = values
    case .same:
      guard isTransposed || stride.allSatisfy({ $0 == 1 }) else {
        throw refuse("stride 1 with padding same", "stride \(stride)")
      }
      return (0..<rank).map { axis in
        Padding.halves(of: extents[axis] - stride[axis])
      }
    case .causal:
      return (0..<rank).map { axis in
        let total = extents[axis] - stride[axis]
        return isTransposed ? (0, total) : (total, 0)
      }
    }
    guard pairs.count == rank else { throw refuse("padding as \(rank) pairs", "\(pairs.count)") }
    // Half the range leaves room for sums of two paddings and a size.
    let legal = leastPadding...(Int.max / 4)
    guard pairs.allSatisfy({ legal.contains($0.low) && legal.contains($0.high) }) else {
      throw refuse("padding of at least 0 and at most \(Int.max / 4)", "\(pairs.map { [$0.low, $0.high] })")
    }
    return pairs
  }
}
