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
