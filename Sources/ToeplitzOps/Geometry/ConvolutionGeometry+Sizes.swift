import ToeplitzTensor

extension ConvolutionGeometry {
  /// The spatial size of the output for an input of the given spatial size.
  ///
  /// Convolution: `floor((L + low + high − d (k − 1) − 1) / s) + 1`. Transposed:
  /// `(L − 1) s − low − high + d (k − 1) + outputPadding + 1`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` naming the axis if a window does not fit, the output would be
  ///   empty, the padding mode cannot fill the padding, or a size does not fit 64 bits.
  public func outputSize(_ inputSize: [Int]) throws -> [Int] {
    guard inputSize.count == rank else {
      throw ToeplitzError(.shape, name, expected: "\(rank) spatial sizes", got: "\(inputSize)")
    }
    return try (0..<rank).map { try outputLength(axis: $0, inputSize[$0]) }
  }

  /// The windows along `axis`: of the input, or those that a transposed convolution adds up in the output.
  package func window(_ axis: Int) -> AxisWindow {
    AxisWindow(
      extent: kernelSize[axis], stride: stride[axis], dilation: dilation[axis], low: paddingLow[axis],
      high: paddingHigh[axis])
  }

  /// The same on one axis.
  package func outputLength(axis: Int, _ length: Int) throws -> Int {
    try outputLength(axis: axis, length, outputPadding[axis])
  }

  private func outputLength(axis: Int, _ length: Int, _ outputPadding: Int) throws -> Int {
    guard length > 0 else {
      throw ToeplitzError(.shape, name, expected: "at least 1 position on axis \(axis)", got: "\(length)")
    }
    let low = paddingLow[axis]
    let high = paddingHigh[axis]
    guard isTransposed else {
      try checkModeReach(axis, length)
      let padded = try (CheckedSize(length) + low + high).get(name, "length \(length) on axis \(axis)")
      guard padded >= extent(axis) else {
        throw ToeplitzError(
          .shape, name,
          expected: "a padded input of at least \(extent(axis)) positions on axis \(axis), the kernel's extent",
          got: "\(padded) (length \(length), padding \(low) and \(high))")
      }
      return window(axis).count(in: length)
    }
    let output = try transposedLength(axis: axis, length, outputPadding)
    guard output > 0 else {
      throw ToeplitzError(
        .shape, name, expected: "an output of at least 1 position on axis \(axis)",
        got: "\(output) (length \(length), padding \(low) and \(high))")
    }
    if paddingMode == .circular { try checkCircularCrop(axis, output) }
    return output
  }

  /// The formula alone; crops may leave nothing or less.
  private func transposedLength(axis: Int, _ length: Int, _ outputPadding: Int) throws -> Int {
    try (CheckedSize(length - 1) * stride[axis] + extent(axis) + outputPadding - paddingLow[axis] - paddingHigh[axis])
      .get(name, "length \(length) on axis \(axis)")
  }

  private func checkModeReach(_ axis: Int, _ length: Int) throws {
    let pad = max(paddingLow[axis], paddingHigh[axis])
    switch paddingMode {
    case .reflect where pad >= length:
      throw ToeplitzError(
        .shape, name, expected: "reflect padding smaller than the input (\(length) on axis \(axis))",
        got: "padding \(pad)")
    case .circular where pad > length:
      throw ToeplitzError(
        .shape, name, expected: "circular padding of at most the input (\(length) on axis \(axis))",
        got: "padding \(pad)")
    default: break
    }
  }

  private func checkCircularCrop(_ axis: Int, _ output: Int) throws {
    let pad = max(paddingLow[axis], paddingHigh[axis])
    guard pad <= output else {
      throw ToeplitzError(
        .shape, name, expected: "circular padding of at most the output (\(output) on axis \(axis))",
        got: "padding \(pad)")
    }
  }

  /// The spatial input sizes that give outputs of `length` on `axis`; empty if none does.
  ///
  /// A strided convolution maps `stride` neighbouring lengths to one; a transposed convolution is the inverse of
  /// a function and has at most one.
  public func inputLengths(for length: Int, axis: Int = 0) -> Range<Int> {
    let none = 0..<0
    guard length > 0, (0..<rank).contains(axis) else { return none }
    let pads = CheckedSize(paddingLow[axis]) + paddingHigh[axis]
    guard isTransposed else {
      // Lengths `first ..< first + stride` fill the last window just so, up to those that nearly fill one more.
      guard let reach = (CheckedSize(length - 1) * stride[axis] + extent(axis) - pads).checked else { return none }
      let first = max(reach, smallestInput(axis))
      guard let end = (CheckedSize(reach) + stride[axis]).checked else { return first..<Int.max }
      return first < end ? first..<end : none
    }
    guard let rest = (CheckedSize(length) + pads - extent(axis) - outputPadding[axis]).checked else { return none }
    guard rest >= 0, rest % stride[axis] == 0, rest / stride[axis] < Int.max - 1 else { return none }
    let input = rest / stride[axis] + 1
    return (try? outputLength(axis: axis, input)) == nil ? none : input..<(input + 1)
  }

  /// The shortest input that the padding mode can pad.
  private func smallestInput(_ axis: Int) -> Int {
    let pad = max(paddingLow[axis], paddingHigh[axis])
    return paddingMode == .reflect ? max(pad, 0) + 1 : paddingMode == .circular ? max(pad, 1) : 1
  }

  /// This transposed geometry with the output padding that makes inputs of `inputSize` give `outputSize`.
  ///
  /// As in PyTorch, the legal sizes on an axis are `min ..< min + stride`, `min` being the size without output
  /// padding.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` that gives the legal range.
  public func withOutputSize(_ outputSize: [Int], inputSize: [Int]) throws -> ConvolutionGeometry {
    guard isTransposed else {
      throw ToeplitzError(
        .argument, name, expected: "outputSize on a transposed convolution only", got: "\(outputSize)")
    }
    guard outputSize.count == rank, inputSize.count == rank else {
      throw ToeplitzError(.shape, name, expected: "an outputSize of \(rank) numbers", got: "\(outputSize)")
    }
    var outputPadding: [Int] = []
    for axis in 0..<rank {
      guard inputSize[axis] > 0 else {
        throw ToeplitzError(.shape, name, expected: "at least 1 position on axis \(axis)", got: "\(inputSize[axis])")
      }
      // The smallest size may be no size at all; those above it that are count.
      let least = try transposedLength(axis: axis, inputSize[axis], 0)
      let (extra, overflow) = outputSize[axis].subtractingReportingOverflow(least)
      guard outputSize[axis] > 0, !overflow, (0..<stride[axis]).contains(extra) else {
        let last = least.addingReportingOverflow(stride[axis] - 1)
        throw ToeplitzError(
          .shape, name,
          expected:
            "an outputSize from \(max(least, 1)) to \(last.overflow ? Int.max : last.partialValue) on axis \(axis)",
          got: "\(outputSize[axis])")
      }
      outputPadding.append(extra)
    }
    return try ConvolutionGeometry(
      rank: rank, isTransposed: true, inChannels: inChannels, outChannels: outChannels,
      kernelSize: PerAxis(kernelSize), stride: PerAxis(stride), padding: padding, outputPadding: PerAxis(outputPadding),
      dilation: PerAxis(dilation), groups: groups, paddingMode: paddingMode)
  }
}
