import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzTensor

extension TensorStream {
  /// The state as the bytes of a safetensors file, from which a stream of the same model goes on, in another process too.
  ///
  /// ```swift
  /// var stream = try decoder.streamPlan(shape: [1, 1, nil]).makeStream()
  /// let bytes = try stream.snapshot()
  /// try stream.restore(bytes)
  /// ```
  ///
  /// - Throws: ``ToeplitzError`` if the state has an element type that the format does not have.
  public func snapshot() throws -> [UInt8] {
    let state = try state()
    return try Safetensors.bytes(state.tensors, metadata: state.metadata)
  }

  /// Goes on where the stream was that gave a snapshot.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if it is of another model or other weights, of kind `format` if it is damaged; the
  ///   stream is as it was then.
  public mutating func restore(_ snapshot: [UInt8]) throws {
    let file = try Safetensors.read(bytes: snapshot)
    try restore(StreamState(tensors: file.tensors, metadata: file.metadata))
  }
}
