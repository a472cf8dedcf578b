import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension UnaryLayer {
  /// The plan for streaming the model piece by piece, in evaluation mode, with the weights as they are now.
  ///
  /// ```swift
  /// let plan = try decoder.streamPlan(shape: [1, 64, nil])
  /// var stream = try plan.makeStream()
  /// let pieces = try [stream.push(x), stream.finish()]
  /// ```
  ///
  /// - Parameters:
  ///   - shape: the input's sizes, nil for time, such as `[1, 80, nil]`.
  ///   - dtype: the input's element type.
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that names the operation and its layer if one needs all of time, such as
  ///   circular padding or a normalisation over time.
  public func streamPlan(shape: [Int?], dtype: DType = .float32) throws -> StreamPlan {
    try requireVisibleState()
    let values = ModuleValues(self)
    let folded = FoldedConstants()
    return try evaluating {
      try StreamPlan(shape: shape, dtype: dtype) { spec in
        var graph = try values.recorded(spec, "x", "y") { try self($0) }
        graph.foldConstants(folded)
        graph.mergeEqualNodes()
        graph.removeDeadNodes()
        return graph
      }
    }
  }
}

extension UnaryLayer {
  /// How many input positions lie between the first and the last that an output position depends on, both included.
  ///
  /// ```swift
  /// let net = try Sequential(Conv1d(1, 8, kernelSize: 7), Conv1d(8, 1, kernelSize: 3, dilation: 4))
  /// try net.receptiveField()  // 15
  /// ```
  ///
  /// The layer is traced in evaluation mode; nothing is computed.
  ///
  /// - Parameters:
  ///   - axis: the spatial axis, 0 for the first.
  ///   - inputSize: the sizes of all spatial axes, of which the others count; 64 each if nil.
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that names the operation and its layer if one reads all positions, of
  ///   kind `argument` if no layer inside tells the number of channels (see ``receptiveField(shape:dtype:)``).
  public func receptiveField(axis: Int = 0, inputSize: [Int]? = nil) throws -> Int {
    guard let first = firstChannels else {
      throw ToeplitzError(
        .argument, displayName, expected: "a convolution inside, or a shape: receptiveField(shape: [1, 8, nil])",
        got: "a layer that does not tell its input's channels", path: path)
    }
    let sizes = inputSize ?? [Int](repeating: 64, count: first.rank)
    guard sizes.count == first.rank, sizes.indices.contains(axis) else {
      throw ToeplitzError(
        .argument, displayName, expected: "an axis in 0..<\(first.rank) and as many sizes",
        got: "axis \(axis), sizes \(sizes)", path: path)
    }
    let spatial = sizes.enumerated().map { $0.offset == axis ? nil : $0.element }
    return try receptiveField(
      shape: first.layout == .channelsFirst ? [1, first.count] + spatial : [1] + spatial + [first.count],
      dtype: first.dtype)
  }

  /// As ``receptiveField(axis:inputSize:)``, for inputs of the given sizes, of which the axis asked for is nil.
  ///
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that names the operation and its layer if one reads all positions.
  public func receptiveField(shape: [Int?], dtype: DType = .float32) throws -> Int {
    try streamPlan(shape: shape, dtype: dtype).receptiveField
  }
}
