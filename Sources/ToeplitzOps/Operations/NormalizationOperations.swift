import ToeplitzTensor

/// Mean and population variance of each group of channels of each sample, as two float64 tensors `[N, groups]`.
///
/// Two passes over rows that are in the cache: the variance of numbers far from zero keeps its digits.
package struct GroupMoments: TensorOperation {
  package var name: String
  /// Parts of the channel axis; each channel alone if nil.
  package var groups: Int?

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let shape = inputs[0].shape
    try require(
      inputs[0].dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(inputs[0].dtype)")
    try require(shape.rank >= 2, expected: "an input [N, C, …]", got: "shape \(shape)")
    let groups = groups ?? shape[1]
    try require(
      groups > 0 && shape[1] % groups == 0 || shape[1] == groups,
      expected: "channels on axis 1 in \(groups) equal groups", got: "\(shape[1])")
    return Array(repeating: TensorSpec([shape[0], groups], .float64), count: 2)
  }

  package var gradient: GradientRule {
    .vjp { call in
      let x = call.x
      let count = groups ?? x.shape[1]
      let type = x.dtype == .float64 ? x.dtype : .float32
      let width = x.count / max(x.shape[0] * count, 1)
      // Channels by themselves keep the input's shape, so that nothing stands between functions of elements.
      let isApart = count == x.shape[1]
      let ones = isApart ? [Int](repeating: 1, count: x.rank - 2) : [1]
      let rows = try x.cast(to: type).reshaped(isApart ? x.shape : [x.shape[0], count, width])
      func column(_ tensor: Tensor) throws -> Tensor {
        try tensor.cast(to: type).reshaped(TensorShape([x.shape[0], count] + ones))
      }
      let centred = try rows - column(call.outputs[0])
      let (mean, variance) = (try call.cotangent(0) / Double(width), try call.cotangent(1) * (2 / Double(width)))
      let dx = try column(mean) + centred * column(variance)
      return [try dx.reshaped(x.shape).cast(to: x.dtype)]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    call.axes[0] == 0 ? .pointwise(axis: 0) : .whole(because: "it measures all positions together")
  }
}

/// `(x − mean) / √(variance + eps) · weight + bias` along axis 1.
///
/// Inputs are x `[N, C, …]`, mean and variance, either `[C]` or `[N, groups]`, then weight and bias `[C]` as far as
/// they exist.
package struct NormalizeChannels: TensorOperation {
  package var name: String
  package var eps: Double
  package var hasWeight: Bool
  package var hasBias: Bool

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 3 + (hasWeight ? 1 : 0) + (hasBias ? 1 : 0))
    let (shape, dtype) = (inputs[0].shape, inputs[0].dtype)
    try require(dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(dtype)")
    try require(shape.rank >= 2, expected: "an input [N, C, …]", got: "shape \(shape)")
    let channels = shape[1]
    for spec in inputs[1...2] {
      let statistics = spec.shape
      try require(
        statistics == [channels]
          || (statistics.rank == 2 && statistics[0] == shape[0]
            && (statistics[1] == channels || (statistics[1] > 0 && channels % statistics[1] == 0))),
        expected: "statistics for \(channels) channels on axis 1", got: "shape \(statistics)")
      try require(
        spec.dtype.isFloatingPoint, .dtype, expected: "floating-point statistics", got: "\(spec.dtype)")
    }
    try require(
      inputs[1].shape == inputs[2].shape, expected: "mean and variance of one shape",
      got: "\(inputs[1].shape) and \(inputs[2].shape)")
    for spec in inputs.dropFirst(3) {
      try require(
        spec.shape == [channels], expected: "weight and bias of shape [\(channels)]", got: "\(spec.shape)")
      try require(
        spec.dtype == dtype, .dtype, expected: "weight and bias of the input's type \(dtype)",
        got: "\(spec.dtype)")
    }
    return [inputs[0]]
  }

  package var gradient: GradientRule { .vjp(cotangents) }

  private func cotangents(_ call: GradientCall) throws -> [Tensor?] {
    let (x, dy) = (call.x, try call.dy)
    let (samples, channels) = (x.shape[0], x.shape[1])
    let ones = [Int](repeating: 1, count: x.rank - 2)
    let statistics = call.inputs[1].shape
    // Statistics of a group, or of a channel for all samples, along the channels of each sample.
    func spread(_ tensor: Tensor) throws -> Tensor {
      let values = try tensor.cast(to: x.dtype)
      guard statistics.rank == 2 else { return try values.reshaped(TensorShape([1, channels] + ones)) }
      return try values.unsqueezed(2).expanded(to: [samples, statistics[1], channels / statistics[1]])
        .reshaped(TensorShape([samples, channels] + ones))
    }
    func collected(_ tensor: Tensor, _ like: Tensor) throws -> Tensor {
      let perChannel = try tensor.summed(to: TensorShape([statistics.rank == 2 ? samples : 1, channels] + ones))
      guard statistics.rank == 2 else { return try perChannel.reshaped(statistics).cast(to: like.dtype) }
      return try perChannel.reshaped([samples, statistics[1], channels / statistics[1]]).sum([2]).cast(to: like.dtype)
    }
    func parameter(_ tensor: Tensor) throws -> Tensor { try tensor.reshaped(TensorShape([1, channels] + ones)) }
    if statistics.rank == 1, call.inputs[1].dtype == .float64 { return try channelCotangents(call) }
    let inverse = try (spread(call.inputs[2]) + eps).sqrt().reciprocal()
    let centred = try x - spread(call.inputs[1])
    let weighted = hasWeight ? try dy * parameter(call.inputs[3]) : dy
    let dx = try weighted * inverse
    var result: [Tensor?] = [
      dx, try collected(dx, call.inputs[1]).negated(),
      try collected(weighted * centred * inverse * inverse * inverse, call.inputs[2]) * -0.5,
    ]
    func sum(_ tensor: Tensor) throws -> Tensor {
      try tensor.summed(to: TensorShape([1, channels] + ones)).reshaped([channels])
    }
    if hasWeight { result.append(try sum(dy * centred * inverse)) }
    if hasBias { result.append(try sum(dy)) }
    return result
  }

  /// With statistics of channels all follows from two sums of each: x and dy are read twice.
  private func channelCotangents(_ call: GradientCall) throws -> [Tensor?] {
    let (x, dy, mean) = (call.x, try call.dy, call.inputs[1])
    let ones = [Int](repeating: 1, count: x.rank - 2)
    let sums = try applyAll(ChannelProducts(), [dy, x, mean])
    let inverse = try (call.inputs[2] + eps).sqrt().reciprocal()
    let scale = hasWeight ? try inverse * call.inputs[3].cast(to: .float64) : inverse
    var result: [Tensor?] = [
      try dy * scale.cast(to: x.dtype).reshaped(TensorShape([1, x.shape[1]] + ones)), try (scale * sums[0]).negated(),
      try scale * inverse * inverse * sums[1] * -0.5,
    ]
    if hasWeight { result.append(try (inverse * sums[1]).cast(to: call.inputs[3].dtype)) }
    if hasBias { result.append(try sums[0].cast(to: call.inputs[hasWeight ? 4 : 3].dtype)) }
    return result
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(
      call, except: call.inputs[1].shape.rank == 2 ? [0, 1] : [1], because: "each channel has statistics of its own")
  }
}

/// Normalisation of all elements of the last axes together, with a weight and bias for each of them.
///
/// Inputs are x, then weight and bias of the normalised shape as far as they exist.
package struct LayerNormalize: TensorOperation {
  package var shape: TensorShape
  package var eps: Double
  package var hasWeight: Bool
  package var hasBias: Bool
  package var name: String { "LayerNorm" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1 + (hasWeight ? 1 : 0) + (hasBias ? 1 : 0))
    let x = inputs[0]
    try require(x.dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(x.dtype)")
    try require(
      x.shape.rank >= shape.rank && TensorShape(Array(x.shape.suffix(shape.rank))) == shape,
      expected: "an input whose last axes are \(shape)", got: "shape \(x.shape)")
    for spec in inputs.dropFirst() {
      try require(spec.shape == shape, expected: "weight and bias of shape \(shape)", got: "\(spec.shape)")
      try require(
        spec.dtype == x.dtype, .dtype, expected: "weight and bias of the input's type \(x.dtype)",
        got: "\(spec.dtype)")
    }
    return [x]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (x, dy) = (call.x, try call.dy)
      let axes = Array((x.rank - shape.rank)..<x.rank)
      let centred = try x - x.mean(axes, keepsAxes: true)
      let inverse = try ((centred * centred).mean(axes, keepsAxes: true) + eps).sqrt().reciprocal()
      let normalized = try centred * inverse
      let weighted = hasWeight ? try dy * call.inputs[1] : dy
      let middle = try weighted - weighted.mean(axes, keepsAxes: true)
      let dx = try (middle - normalized * (weighted * normalized).mean(axes, keepsAxes: true)) * inverse
      var result: [Tensor?] = [dx]
      if hasWeight { result.append(try (dy * normalized).summed(to: shape)) }
      if hasBias { result.append(try dy.summed(to: shape)) }
      return result
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(
      call, except: Array((-shape.rank)..<0), because: "it measures all positions of the normalised axes together")
  }
}

extension Tensor {
  /// Mean and population variance over all axes but the first two, `[N, C]` each, in float64.
  ///
  /// - Parameter groups: parts of the channel axis to measure together; each channel alone if nil.
  /// - Throws: ``ToeplitzError`` if this is not a floating-point tensor `[N, C, …]`.
  package func channelMoments(groups: Int? = nil, name: String = "channelMoments") throws -> (
    mean: Tensor, variance: Tensor
  ) {
    let both = try applyAll(GroupMoments(name: name, groups: groups), [self])
    return (both[0], both[1])
  }

  /// `(x − mean) / √(variance + eps) · weight + bias` for each channel of `[N, C, …]`.
  ///
  /// - Parameters:
  ///   - mean: `[C]`, or `[N, groups]` for statistics of each sample's groups of channels.
  ///   - variance: of the same shape.
  ///   - weight: `[C]`; ones if nil.
  ///   - bias: `[C]`; zeros if nil.
  /// - Throws: ``ToeplitzError`` if shapes or element types do not fit.
  package func normalizedChannels(
    mean: Tensor, variance: Tensor, weight: Tensor? = nil, bias: Tensor? = nil, eps: Double = 1e-5,
    name: String = "normalizedChannels"
  ) throws -> Tensor {
    try applyAll(
      NormalizeChannels(name: name, eps: eps, hasWeight: weight != nil, hasBias: bias != nil),
      [self, mean, variance] + [weight, bias].compactMap { $0 })[0]
  }

  /// The tensor normalised over its last axes, which have the given shape.
  ///
  /// - Throws: ``ToeplitzError`` if shapes or element types do not fit.
  public func layerNorm(
    _ shape: TensorShape, weight: Tensor? = nil, bias: Tensor? = nil, eps: Double = 1e-5
  ) throws -> Tensor {
    try applyAll(
      LayerNormalize(shape: shape, eps: eps, hasWeight: weight != nil, hasBias: bias != nil),
      [self] + [weight, bias].compactMap { $0 })[0]
  }
}
